//! Plots for documents: SVG files with a few lines, readable on light and dark pages.

use std::path::Path;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

const SIZE: (u32, u32) = (720, 360);
const INK: RGBColor = RGBColor(110, 118, 129);
const COLORS: [RGBColor; 5] = [
    RGBColor(31, 111, 235),
    RGBColor(219, 109, 40),
    RGBColor(46, 160, 67),
    RGBColor(163, 113, 247),
    RGBColor(139, 148, 158),
];

/// A named line of points.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// The title and the names of the axes.
pub(crate) struct Labels<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
}

/// Draws lines over a logarithmic x axis.
pub(crate) fn draw_log(path: &Path, labels: &Labels<'_>, lines: &[Line]) -> anyhow::Result<()> {
    let (least, greatest) = extent(lines, |point| point.0);
    draw(
        path,
        labels,
        lines,
        (least.max(1e-9)..greatest).log_scale(),
        0.0..top(lines),
        SeriesLabelPosition::UpperLeft,
    )
}

/// Draws lines over two logarithmic axes.
pub(crate) fn draw_log_both(
    path: &Path,
    labels: &Labels<'_>,
    lines: &[Line],
) -> anyhow::Result<()> {
    let (least, greatest) = extent(lines, |point| point.0);
    let (lowest, _) = extent(lines, |point| point.1);
    draw(
        path,
        labels,
        lines,
        (least.max(1e-9)..greatest).log_scale(),
        (lowest.max(1e-9) / 1.5..top(lines) * 1.5).log_scale(),
        SeriesLabelPosition::UpperLeft,
    )
}

/// Draws lines over a linear x axis.
pub(crate) fn draw_linear(path: &Path, labels: &Labels<'_>, lines: &[Line]) -> anyhow::Result<()> {
    let (least, greatest) = extent(lines, |point| point.0);
    // Lines over time are flat and leave the lower left corner free.
    draw(
        path,
        labels,
        lines,
        least..greatest,
        0.0..top(lines),
        SeriesLabelPosition::LowerLeft,
    )
}

fn extent(lines: &[Line], of: impl Fn((f64, f64)) -> f64) -> (f64, f64) {
    let values = lines
        .iter()
        .flat_map(|line| line.points.iter().copied().map(&of));
    values.fold((f64::MAX, f64::MIN), |(least, greatest), value| {
        (least.min(value), greatest.max(value))
    })
}

/// A little more than the greatest value.
fn top(lines: &[Line]) -> f64 {
    extent(lines, |point| point.1).1 * 1.1
}

fn draw<X, Y>(
    path: &Path,
    labels: &Labels<'_>,
    lines: &[Line],
    x: X,
    y: Y,
    names: SeriesLabelPosition,
) -> anyhow::Result<()>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let failed =
        |error: &dyn std::fmt::Display| anyhow::anyhow!("cannot draw {}: {error}", path.display());
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .caption(labels.title, ("sans-serif", 18).into_font().color(&INK))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .x_desc(labels.x)
        .y_desc(labels.y)
        .axis_style(INK)
        .bold_line_style(INK.mix(0.25))
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()
        .map_err(|error| failed(&error))?;
    for (line, color) in lines.iter().zip(COLORS.into_iter().cycle()) {
        let series =
            LineSeries::new(line.points.iter().copied(), color.stroke_width(2)).point_size(3);
        chart
            .draw_series(series)
            .map_err(|error| failed(&error))?
            .label(line.name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(names)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .border_style(TRANSPARENT)
        .draw()
        .map_err(|error| failed(&error))?;
    area.present().map_err(|error| failed(&error))
}
