//! Counters of the store.

use super::exposition::Exposition;
use super::{Counter, Gauge};
use std::time::Duration;

/// What the store does. All stay 0 without a `data_dir`.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    /// Batches that were written and synced.
    pub commits: Counter,
    /// Time they took, from closing a batch until it was durable.
    pub commit_time: Counter,
    /// Messages in them.
    pub messages: Counter,
    /// Bytes of rows in them.
    pub bytes: Counter,
    /// Times that writing began to fail.
    pub failures: Counter,
    /// 1 while the store cannot write, else 0.
    pub failing: Gauge,
    /// Bytes that wait to be written.
    pub backlog_bytes: Gauge,
    /// Messages refused because the store could not write.
    pub refused: Counter,
    /// Messages that could not be read any more.
    pub unreadable: Counter,
}

impl StoreMetrics {
    pub(super) fn render(&self, text: &mut Exposition) {
        for (name, help, counter) in [
            (
                "sluice_store_commits_total",
                "Batches written and synced.",
                &self.commits,
            ),
            ("sluice_store_messages_total", "Messages written.", &self.messages),
            ("sluice_store_bytes_total", "Bytes of rows written.", &self.bytes),
            (
                "sluice_store_failures_total",
                "Times that writing began to fail.",
                &self.failures,
            ),
            (
                "sluice_store_refused_total",
                "Messages refused because the store could not write.",
                &self.refused,
            ),
            (
                "sluice_store_unreadable_total",
                "Stored messages that could not be read any more.",
                &self.unreadable,
            ),
        ] {
            text.counter(name, help, &[], counter.get());
        }
        text.seconds(
            "sluice_store_commit_seconds_total",
            "Time from closing a batch until it was durable, all added up.",
            &[],
            Duration::from_micros(self.commit_time.get()),
        );
        text.gauge(
            "sluice_store_failing",
            "1 while the store cannot write: nothing that has to be stored is acknowledged.",
            &[],
            self.failing.get(),
        );
        text.gauge(
            "sluice_store_backlog_bytes",
            "Bytes that wait to be written.",
            &[],
            self.backlog_bytes.get(),
        );
    }
}
