//! Small plots in SVG.

use std::fmt::Write;

use maud::{Markup, html};

/// Stacked bars: two counts for each place, the second on top of the first.
pub(super) fn plot_bars(values: &[(u64, u64)], title: &str) -> Markup {
    let most = values
        .iter()
        .map(|(first, second)| first + second)
        .max()
        .unwrap_or(0);
    let width = 1000.0 / values.len().max(1) as f64;
    let height = |value: u64| 98.0 * value as f64 / most.max(1) as f64;
    let bars = values.iter().enumerate().flat_map(|(place, values)| {
        let (low, high) = (height(values.0), height(values.1));
        let x = place as f64 * width + width * 0.1;
        [
            ("bar", x, 99.0 - low, low),
            ("bar2", x, 99.0 - low - high, high),
        ]
    });
    let bars = bars.filter(|(_, _, _, height)| *height > 0.0);
    let width = format!("{:.1}", width * 0.8);
    html! {
        span.top { "most " (super::number(most)) }
        (svg(title, html! {
            @for (class, x, y, height) in bars {
                rect class=(class) x=(tenths(x)) y=(tenths(y)) width=(width)
                    height=(tenths(height)) {}
            }
        }))
    }
}

/// Lines over the same places, with a gap where a value is 0.
pub(super) fn plot_lines(lines: &[&[u64]], title: &str) -> Markup {
    let values = lines.iter().flat_map(|values| values.iter()).copied();
    let most = values.filter(|value| *value < u64::MAX).max().unwrap_or(0);
    svg(
        title,
        html! {
            @for (number, values) in lines.iter().enumerate() {
                @let class = if lines.len() == 1 { "only".to_owned() } else { format!("l{number}") };
                path class=(class) d=(path(values, most)) {}
            }
        },
    )
}

fn path(values: &[u64], most: u64) -> String {
    let step = 1000.0 / values.len().saturating_sub(1).max(1) as f64;
    let mut path = String::new();
    let mut is_on = false;
    for (place, value) in values.iter().enumerate() {
        if *value == 0 {
            is_on = false;
            continue;
        }
        let x = place as f64 * step;
        let y = 97.0 - 94.0 * (*value).min(most) as f64 / most.max(1) as f64;
        if !is_on {
            // A single value becomes a short line, so that it can be seen.
            write!(path, "M{:.1} {y:.1}", (x - 4.0).max(0.0))
                .expect("writing to a String never fails");
        }
        write!(path, "L{x:.1} {y:.1}").expect("writing to a String never fails");
        is_on = true;
    }
    path
}

fn svg(title: &str, content: Markup) -> Markup {
    html! {
        svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label=(title) {
            line.base x1="0" y1="99.5" x2="1000" y2="99.5" {}
            (content)
        }
    }
}

fn tenths(value: f64) -> String {
    format!("{value:.1}")
}
