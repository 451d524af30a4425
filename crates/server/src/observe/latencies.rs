//! The durations of many exchanges in little memory, with quantiles that are within about 3 % of
//! the true ones.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Shorter durations count as this one, in microseconds.
const MICROS_MIN: u64 = 100;
/// Longer durations count as this one, in microseconds.
const MICROS_MAX: u64 = 120_000_000;
/// Significant decimal digits that are kept. One digit takes 1.4 KiB.
const DIGITS: u8 = 1;

/// A histogram that takes no memory until the first duration.
#[derive(Debug, Clone, Default)]
pub(super) struct Latencies(Option<Histogram<u32>>);

impl Latencies {
    pub(super) fn add(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.histogram().saturating_record(micros);
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        if let Some(other) = &other.0 {
            let added = self.histogram().add(other);
            added.expect("all histograms have the same bounds");
        }
    }

    /// The duration that this share of all durations does not exceed, in microseconds. `None`: there
    /// was none.
    pub(super) fn quantile(&self, share: f64) -> Option<u64> {
        let histogram = self.0.as_ref()?;
        Some(histogram.value_at_quantile(share))
    }

    fn histogram(&mut self) -> &mut Histogram<u32> {
        self.0.get_or_insert_with(|| {
            Histogram::new_with_bounds(MICROS_MIN, MICROS_MAX, DIGITS)
                .expect("the bounds are constants that the histogram accepts")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        for millis in millis {
            latencies.add(Duration::from_millis(millis));
        }
        latencies
    }

    #[track_caller]
    fn about(micros: Option<u64>, millis: f64) {
        let micros = micros.unwrap() as f64;
        assert!((micros / 1000.0 / millis - 1.0).abs() < 0.07, "{micros}");
    }

    #[test]
    fn quantiles_tell_3_ms_from_20() {
        let latencies = of([3; 90].into_iter().chain([20; 10]));
        about(latencies.quantile(0.5), 3.0);
        about(latencies.quantile(0.99), 20.0);
        assert_eq!(Latencies::default().quantile(0.5), None);
    }

    #[test]
    fn quantiles_are_near_the_true_ones() {
        let latencies = of(1..=1000);
        for (share, millis) in [(0.1, 100.0), (0.5, 500.0), (0.9, 900.0), (0.99, 990.0)] {
            about(latencies.quantile(share), millis);
        }
    }

    #[test]
    fn sums_and_extremes_are_counted() {
        let mut latencies = of([1]);
        latencies.add_all(&of([1000, 1000]));
        latencies.add_all(&Latencies::default());
        about(latencies.quantile(0.5), 1000.0);
        latencies.add(Duration::ZERO);
        latencies.add(Duration::MAX);
        about(latencies.quantile(1.0), 120_000.0);
    }
}
