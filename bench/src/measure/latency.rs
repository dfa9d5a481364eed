//! How long messages took.

use crate::clock::Nanos;
use hdrhistogram::Histogram;
use std::fmt;

/// The longest latency that is told from longer ones.
const NANOS_MAX: Nanos = 600_000_000_000;

/// A histogram with three significant digits.
pub struct Latencies(Option<Histogram<u64>>);

/// Without any.
impl Default for Latencies {
    fn default() -> Self {
        // These bounds are in order, which is all it could object to.
        Self(Histogram::new_with_bounds(1, NANOS_MAX, 3).ok())
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, nanos: Nanos) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(nanos);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// The latency in microseconds that this share of all (0 to 1) did not exceed.
    pub fn quantile_micros(&self, share: f64) -> f64 {
        self.0
            .as_ref()
            .map_or(0.0, |histogram| micros(histogram.value_at_quantile(share)))
    }

    /// The longest, in microseconds.
    pub fn max_micros(&self) -> f64 {
        self.0.as_ref().map_or(0.0, |histogram| micros(histogram.max()))
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} latencies", self.count())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a latency has three digits")]
fn micros(nanos: Nanos) -> f64 {
    nanos as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!(
            (value / expected - 1.0).abs() < 0.002,
            "{value} is not {expected}"
        );
    }

    #[test]
    fn quantiles_are_good_to_three_digits() {
        let mut latencies = Latencies::default();
        (1..=10_000).for_each(|micros| latencies.record(micros * 1000));
        near(latencies.quantile_micros(0.5), 5000.0);
        near(latencies.quantile_micros(0.99), 9900.0);
        near(latencies.quantile_micros(0.999), 9990.0);
        near(latencies.max_micros(), 10_000.0);
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest() {
        let mut latencies = Latencies::default();
        latencies.record(u64::MAX);
        assert_eq!(latencies.count(), 1);
        assert!(latencies.max_micros() >= 600e6);
    }
}
