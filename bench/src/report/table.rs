//! The table for people, in Markdown.

use super::goals::goals;
use super::{Results, Summary};
use crate::broker::Kind;
use crate::measure::{Figures, Measure};
use std::fmt::Write as _;

/// What brokers are compared by, in each case by the first that it measures. Less is better.
const COMPARED: &[Measure] = &[
    Measure::CpuMicrosPerMessage,
    Measure::BytesPerConnection,
    Measure::CpuMicrosPerConnect,
    Measure::BytesPerSubscription,
    Measure::BytesPerRetained,
];
/// Variants of a case are named after it, with a colon between, and compared with the same broker's variant of this
/// name.
pub(super) const PLAIN: &str = "plain";

/// Everything worth reading of a run.
pub fn markdown(results: &Results) -> String {
    let brokers: Vec<Kind> = results.brokers.iter().map(|broker| broker.broker).collect();
    let mut text = String::from("# Benchmark\n\n");
    head(&mut text, results);
    text.push_str("\n| case |");
    for broker in &brokers {
        let _ = write!(text, " {broker} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(brokers.len()));
    text.push('\n');
    for case in results.cases() {
        let _ = write!(text, "| {case} |");
        for broker in &brokers {
            let cell = results
                .summary(case, *broker)
                .map_or_else(|| "–".into(), |summary| cell(results, summary));
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text.push_str(LEGEND);
    text.push_str(&goals(results));
    text
}

const LEGEND: &str = "
Medians. µs: processor time of the broker, user and system, for each message delivered (`/conn`: for each connection).
**×**: that figure (or, where there is none, the memory) divided by Mosquitto's in the same run; less is better. In the
rows `…:…`: divided by the same broker's `plain`. p99 of a saturating case reflects its window, not the broker.
`durable-…`: /s, µs and p50 are of messages acknowledged; Mosquitto acknowledges without having written anything to disk,
so there is no ratio to it.
";

fn head(text: &mut String, results: &Results) {
    let (machine, settings) = (&results.machine, &results.settings);
    let gib = float(machine.memory_bytes) / f64::from(1 << 30);
    let _ = writeln!(
        text,
        "{}, {} cores, {gib:.0} GiB, {}; load average before: {:.1}.",
        machine.cpu, machine.cores, machine.kernel, settings.load_average
    );
    let pinned = match (settings.broker_core, settings.load_core) {
        (Some(broker), Some(load)) => format!("broker on core {broker}, load on core {load}"),
        _ => "nothing pinned".into(),
    };
    let _ = writeln!(
        text,
        "{} run(s) of {} s after {} s of warm-up, MQTT {}, {pinned}.",
        settings.repeat, settings.seconds, settings.warm_up_seconds, settings.mqtt
    );
    if settings.divisor > 1 {
        let _ = writeln!(
            text,
            "**Smoke run**: all numbers divided by {}; not for comparing.",
            settings.divisor
        );
    }
    text.push('\n');
    for broker in &results.brokers {
        let _ = writeln!(text, "- {}: {}", broker.broker, broker.version);
    }
    for absent in &results.absent {
        let _ = writeln!(text, "- {} is absent: {}", absent.broker, absent.because);
    }
}

fn cell(results: &Results, summary: &Summary) -> String {
    let figures = figures_text(&summary.figures);
    let mut text = match (&summary.failed, figures.is_empty()) {
        (Some(failed), true) => return format!("failed: {}", failed.replace('|', "/")),
        (Some(_), false) => format!("{figures} (some runs failed)"),
        (None, _) => figures,
    };
    if let Some(ratio) = ratio(results, summary) {
        let _ = write!(text, ", **×{ratio:.2}**");
    }
    text
}

/// How it compares; `None` for what others are compared with.
fn ratio(results: &Results, summary: &Summary) -> Option<f64> {
    let (case, broker) = match summary.case.split_once(':') {
        Some((case, variant)) if variant != PLAIN => (format!("{case}:{PLAIN}"), summary.broker),
        _ => (summary.case.clone(), Kind::Mosquitto),
    };
    let other = results.summary(&case, broker)?;
    if std::ptr::eq(other, summary) {
        return None;
    }
    let measure = COMPARED
        .iter()
        .find(|measure| summary.figures.get(**measure).is_some())?;
    let ratio = summary.figures.get(*measure)? / other.figures.get(*measure)?;
    ratio.is_finite().then_some(ratio)
}

/// The figures that matter, in a line.
pub fn figures_text(figures: &Figures) -> String {
    let mut parts = Vec::new();
    for (measure, value) in figures.iter() {
        parts.extend(part(measure, value));
    }
    // Where it is all there is to say.
    if figures.get(Measure::MessagesAcknowledged).is_some()
        && let Some(peak) = figures.get(Measure::ResidentPeakBytes)
    {
        parts.push(format!("peak {}", size(peak)));
    }
    parts.join(", ")
}

fn part(measure: Measure, value: f64) -> Option<String> {
    let text = match measure {
        Measure::MessagesPerSecond => format!("{}/s", count(value)),
        Measure::CpuMicrosPerMessage => format!("{value:.2} µs"),
        Measure::LatencyP50Micros => format!("p50 {}", time(value)),
        Measure::LatencyP99Micros => format!("p99 {}", time(value)),
        Measure::ConnectsPerSecond => format!("{}/s", count(value)),
        Measure::CpuMicrosPerConnect => format!("{value:.0} µs/conn"),
        Measure::BytesPerConnection => format!("{} each", size(value)),
        Measure::BytesPerSubscription => format!("{} each", size(value)),
        Measure::BytesPerRetained => format!("{} each", size(value)),
        Measure::SubscribeSeconds => format!("in {value:.1} s"),
        Measure::CpuRatioWithSubscriptions => format!("{value:.2} times alone"),
        Measure::RetainedReadBack => format!("read back {}", count(value)),
        Measure::ReadBackSeconds => format!("in {value:.1} s"),
        Measure::MessagesAcknowledged => format!("acknowledged {}", count(value)),
        Measure::MessagesDeliveredLater => format!("delivered later {}", count(value)),
        Measure::AcknowledgedPerSecond => format!("{}/s", count(value)),
        Measure::CpuMicrosPerAcknowledged => format!("{value:.2} µs"),
        Measure::AcknowledgedP50Micros => format!("p50 {}", time(value)),
        Measure::AcknowledgedP99Micros => format!("p99 {}", time(value)),
        Measure::AcknowledgedPerFlush => format!("{value:.1} per flush"),
        Measure::DiskBytesPerAcknowledged => format!("{} to disk each", size(value)),
        Measure::LogPerSecond => format!("raw log {}/s", count(value)),
        Measure::LogRatio => format!("{value:.2} times this"),
        Measure::LogAtFlushesPerSecond => format!("at as many flushes {}/s", count(value)),
        Measure::SwapSeconds => format!("swapped in {value:.2} s"),
        Measure::LatencyMaxBeforeSwapMicros => format!("longest delay before {}", time(value)),
        Measure::LatencyMaxDuringSwapMicros => format!("during {}", time(value)),
        Measure::Disconnects => format!("{value:.0} disconnects"),
        Measure::MessagesLost => format!("{} lost", count(value)),
        Measure::UserMicrosPerMessage
        | Measure::SystemMicrosPerMessage
        | Measure::LoadMicrosPerMessage
        | Measure::LatencyP999Micros
        | Measure::LatencyMaxMicros
        | Measure::ResidentBeforeBytes
        | Measure::ResidentAfterBytes
        | Measure::ResidentPeakBytes => return None,
    };
    // As it should be, so it goes without saying.
    let is_expected = matches!(measure, Measure::Disconnects | Measure::MessagesLost) && value == 0.0;
    (!is_expected).then_some(text)
}

fn count(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.2}M", value / 1e6),
        value if value >= 1e4 => format!("{:.1}k", value / 1e3),
        value => format!("{value:.0}"),
    }
}

pub(super) fn time(micros: f64) -> String {
    match micros {
        micros if micros >= 1e6 => format!("{:.2} s", micros / 1e6),
        micros if micros >= 1e3 => format!("{:.1} ms", micros / 1e3),
        micros => format!("{micros:.0} µs"),
    }
}

pub(super) fn size(bytes: f64) -> String {
    const KIB: f64 = 1024.0;
    match bytes.abs() {
        size if size >= KIB * KIB => format!("{:.1} MiB", bytes / KIB / KIB),
        size if size >= KIB => format!("{:.1} KiB", bytes / KIB),
        _ => format!("{bytes:.0} B"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory is less than 2^53 bytes")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests;
