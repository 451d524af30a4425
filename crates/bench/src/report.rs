//! Figures, each with its baseline of the same round and its goal.

use serde::Serialize;

/// The goal of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "is", content = "bound", rename_all = "snake_case")]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// No goal: the figure is only reported.
    Report,
}

impl Goal {
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(bound) => Some(value <= bound),
            Self::AtLeast(bound) => Some(value >= bound),
            Self::Report => None,
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::Report => f.write_str("report"),
        }
    }
}

/// One round: the measured value and its baseline (1 if the figure is absolute).
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    pub(crate) value: f64,
    pub(crate) baseline: f64,
}

impl Sample {
    pub(crate) fn ratio(self) -> f64 {
        self.value / self.baseline
    }
}

/// A figure over all rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// Number or name in the table of goals.
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    /// Unit of `value` and `baseline`; empty for plain numbers.
    pub(crate) unit: &'static str,
    pub(crate) goal: Goal,
    pub(crate) samples: Vec<Sample>,
}

impl Figure {
    pub(crate) fn new(
        id: &'static str,
        name: &'static str,
        unit: &'static str,
        goal: Goal,
    ) -> Self {
        Self {
            id,
            name,
            unit,
            goal,
            samples: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, value: f64, baseline: f64) {
        self.samples.push(Sample { value, baseline });
    }

    fn sorted(&self, of: impl Fn(Sample) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.samples.iter().map(|sample| of(*sample)).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// Median, least and greatest ratio.
    pub(crate) fn spread(&self) -> Option<(f64, f64, f64)> {
        let ratios = self.sorted(Sample::ratio);
        Some((median(&ratios)?, *ratios.first()?, *ratios.last()?))
    }
}

pub(crate) fn median(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// The figures as a Markdown table.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut table = String::from(
        "| # | figure | goal | median (least–greatest) | value | baseline | reached |\n",
    );
    table.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for figure in figures {
        let Some((middle, least, greatest)) = figure.spread() else {
            continue;
        };
        let value = median(&figure.sorted(|sample| sample.value)).unwrap_or(f64::NAN);
        let baseline = median(&figure.sorted(|sample| sample.baseline)).unwrap_or(f64::NAN);
        let reached = match figure.goal.is_met(middle) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        let is_absolute = figure
            .samples
            .iter()
            .all(|sample| sample.baseline.to_bits() == 1f64.to_bits());
        let baseline = if is_absolute {
            "–".to_owned()
        } else {
            format!("{} {}", short(baseline), figure.unit)
        };
        table.push_str(&format!(
            "| {} | {} | {} | {} ({}–{}) | {} {} | {baseline} | {reached} |\n",
            figure.id,
            figure.name,
            figure.goal,
            short(middle),
            short(least),
            short(greatest),
            short(value),
            figure.unit,
        ));
    }
    table
}

/// A number with about three significant digits.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 0.1 || small == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_of_its_ratios() {
        let mut figure = Figure::new("1", "x", "µs", Goal::AtMost(1.5));
        for (value, baseline) in [(10.0, 10.0), (300.0, 100.0), (2.0, 1.0)] {
            figure.add(value, baseline);
        }
        assert_eq!(figure.spread(), Some((2.0, 1.0, 3.0)));
        assert!(table(&[figure]).contains("**no**"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.01234, 0.5, 12.34, 1234.5].map(short),
            ["0.0123", "0.50", "12.3", "1234"]
        );
    }
}
