//! Figures of a run, by what they measure.

use super::{CpuTime, Memory};
use crate::load::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a figure measures; its unit is in its name. In this order they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Deliveries.
    MessagesPerSecond,
    /// Processor time of the broker for each delivery.
    CpuMicrosPerMessage,
    /// Of that, in its own code.
    UserMicrosPerMessage,
    /// Of that, in the kernel.
    SystemMicrosPerMessage,
    /// Processor time of the load for each delivery: the rate cannot exceed one by this.
    LoadMicrosPerMessage,
    /// Median of the latencies.
    LatencyP50Micros,
    /// 99 of 100 are shorter.
    LatencyP99Micros,
    /// 999 of 1,000 are shorter.
    LatencyP999Micros,
    /// The longest.
    LatencyMaxMicros,
    /// Connections let in.
    ConnectsPerSecond,
    /// Processor time of the broker for each of them.
    CpuMicrosPerConnect,
    /// Resident memory for each idle connection.
    BytesPerConnection,
    /// Resident memory for each subscription.
    BytesPerSubscription,
    /// Time until all were granted.
    SubscribeSeconds,
    /// CPU per message with the subscriptions in place, by that without.
    CpuRatioWithSubscriptions,
    /// Resident memory for each retained message.
    BytesPerRetained,
    /// Retained messages that a new subscriber was sent.
    RetainedReadBack,
    /// How long that took.
    ReadBackSeconds,
    /// QoS 1 messages the broker took over.
    MessagesAcknowledged,
    /// Of those, how many reached the subscriber in the end.
    MessagesDeliveredLater,
    /// Messages acknowledged to publishers that have one on the way each.
    AcknowledgedPerSecond,
    /// Processor time of the broker for each of them.
    CpuMicrosPerAcknowledged,
    /// Median of the times from PUBLISH to PUBACK.
    AcknowledgedP50Micros,
    /// 99 of 100 are shorter.
    AcknowledgedP99Micros,
    /// Messages acknowledged for each time the disk emptied its cache, for anybody.
    AcknowledgedPerFlush,
    /// Bytes the broker had written to disk for each message it acknowledged.
    DiskBytesPerAcknowledged,
    /// Records per second of a log on the same disk, synced whenever it holds one of each publisher.
    LogPerSecond,
    /// That, by the acknowledged messages.
    LogRatio,
    /// The same log, synced as often as the disk was told to empty its cache under the broker.
    LogAtFlushesPerSecond,
    /// Connections the broker closed.
    Disconnects,
    /// How long a swap took, from the command to its end.
    SwapSeconds,
    /// Before the swap.
    LatencyMaxBeforeSwapMicros,
    /// During the swap and just after it.
    LatencyMaxDuringSwapMicros,
    /// Deliveries that never came.
    MessagesLost,
    /// Resident memory with all clients connected, before the load.
    ResidentBeforeBytes,
    /// After the load.
    ResidentAfterBytes,
    /// At most.
    ResidentPeakBytes,
}

/// The figures of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures(BTreeMap<Measure, f64>);

impl Figures {
    /// Sets a figure.
    #[must_use]
    pub fn with(mut self, measure: Measure, value: f64) -> Self {
        self.0.insert(measure, value);
        self
    }

    /// Sets a figure that is a number of things.
    #[must_use]
    pub fn with_count(self, measure: Measure, count: u64) -> Self {
        self.with(measure, float(count))
    }

    /// Leaves a figure out.
    #[must_use]
    pub fn without(mut self, measure: Measure) -> Self {
        self.0.remove(&measure);
        self
    }

    /// A figure.
    pub fn get(&self, measure: Measure) -> Option<f64> {
        self.0.get(&measure).copied()
    }

    /// All figures, in the order of [`Measure`].
    pub fn iter(&self) -> impl Iterator<Item = (Measure, f64)> {
        self.0.iter().map(|(measure, value)| (*measure, *value))
    }

    /// Sets the figures of a flow of messages.
    #[must_use]
    pub fn with_outcome(self, outcome: &Outcome) -> Self {
        let delivered = float(outcome.delivered);
        let micros = |seconds: f64| seconds * 1e6 / delivered;
        let CpuTime {
            user_seconds,
            system_seconds,
        } = outcome.cpu;
        let latencies = &outcome.latencies;
        self.with(Measure::MessagesPerSecond, delivered / outcome.seconds)
            .with(Measure::CpuMicrosPerMessage, micros(outcome.cpu.seconds()))
            .with(Measure::UserMicrosPerMessage, micros(user_seconds))
            .with(Measure::SystemMicrosPerMessage, micros(system_seconds))
            .with(Measure::LoadMicrosPerMessage, micros(outcome.load_cpu.seconds()))
            .with(Measure::LatencyP50Micros, latencies.quantile_micros(0.5))
            .with(Measure::LatencyP99Micros, latencies.quantile_micros(0.99))
            .with(Measure::LatencyP999Micros, latencies.quantile_micros(0.999))
            .with(Measure::LatencyMaxMicros, latencies.max_micros())
            .with_count(Measure::MessagesLost, outcome.lost)
            .with_count(Measure::Disconnects, outcome.disconnects)
    }

    /// Sets what was resident before and after.
    #[must_use]
    pub fn with_memory(self, before: Memory, after: Memory) -> Self {
        self.with_count(Measure::ResidentBeforeBytes, before.resident)
            .with_count(Measure::ResidentAfterBytes, after.resident)
            .with_count(Measure::ResidentPeakBytes, after.peak)
    }

    /// For each measure the median of all runs that have it.
    pub fn medians<'a>(runs: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut values: BTreeMap<Measure, Vec<f64>> = BTreeMap::new();
        for (measure, value) in runs.into_iter().flat_map(Self::iter) {
            values.entry(measure).or_default().push(value);
        }
        let medians = values
            .into_iter()
            .filter_map(|(measure, values)| Some((measure, median(values)?)));
        Self(medians.collect())
    }
}

/// The middle value, or the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(values.len() / 2 - 1)?;
    Some(f64::midpoint(lower, upper))
}

/// Counts here are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn medians_are_taken_by_measure() {
        let runs = [1.0, 5.0, 2.0].map(|value| Figures::default().with(Measure::SwapSeconds, value));
        let more = Figures::default().with_count(Measure::Disconnects, 7);
        let medians = Figures::medians(runs.iter().chain([&more]));
        assert_eq!(medians.get(Measure::SwapSeconds), Some(2.0));
        assert_eq!(medians.get(Measure::Disconnects), Some(7.0));
        assert_eq!(medians.get(Measure::MessagesLost), None);
    }

    #[test]
    fn figures_are_named_with_their_units_in_json() {
        let figures = Figures::default().with(Measure::CpuMicrosPerMessage, 1.5);
        let json = serde_json::to_string(&figures).unwrap();
        assert_eq!(json, r#"{"cpu_micros_per_message":1.5}"#);
        assert_eq!(serde_json::from_str::<Figures>(&json).unwrap(), figures);
    }
}
