//! Counters and gauges of one broker: named atomics, rendered as Prometheus text.
//!
//! Every label value comes from a closed set in this file or from the configuration, so no client can add a time series.
//! Refusals, faults and protocol errors are counted by [`crate::event::Events`]; traffic by whoever moves it.

mod exposition;
mod policy_bans;
mod shed;
mod storage;
mod tls;

pub use exposition::Exposition;
pub use policy_bans::PolicyBanMetrics;
pub use shed::{Shed, ShedCounter};
pub use storage::StoreMetrics;
pub use tls::{ExpiryByFile, HandshakeFailure, TlsMetrics};

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Counters only grow; a rate is for the reader to compute. Increments from several threads touch different cache
/// lines, reading adds them up.
#[derive(Debug, Default)]
pub struct Counter {
    shards: [Shard; SHARDS],
}

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds a time in microseconds; the text shows seconds.
    pub fn add_duration(&self, duration: Duration) {
        if !duration.is_zero() {
            self.add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        if let Some(shard) = self.shards.get(shard_of_this_thread()) {
            shard.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Everything counted since the start.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.shards
            .iter()
            .fold(0, |sum, shard| sum.wrapping_add(shard.0.load(Ordering::Relaxed)))
    }
}

/// One counter per QoS.
#[derive(Debug, Default)]
pub struct QosCounter {
    levels: [Counter; 3],
}

impl QosCounter {
    /// Adds one message of this QoS; anything above 2 counts as 2.
    pub fn inc(&self, qos: u8) {
        let [zero, one, two] = &self.levels;
        match qos {
            0 => zero.inc(),
            1 => one.inc(),
            _ => two.inc(),
        }
    }

    /// Messages of all QoS.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.levels.iter().map(Counter::get).sum()
    }

    /// Messages of one QoS; 0 for a QoS above 2.
    #[must_use]
    pub fn get(&self, qos: u8) -> u64 {
        self.levels.get(usize::from(qos)).map_or(0, Counter::get)
    }
}

/// A value that rises and falls. One atomic: for what changes less often than messages do.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Subtracts one.
    pub fn dec(&self) {
        self.sub(1);
    }

    /// Subtracts `n`. Additions and subtractions may arrive in any order; together they must not go below zero.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything one broker counts. Fields marked *event* are counted by `Events::emit`; do not count them twice.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    /// Open sockets, those included that are not let in yet.
    pub connections_current: Gauge,
    /// Sockets accepted.
    pub connections_total: Counter,
    /// *event*: connections closed before a byte of MQTT was looked at.
    pub connections_shed: ShedCounter,
    /// *event*: bans for failing or coming too often.
    pub automatic_bans: Counter,
    /// *event*: bans that policies set.
    pub policy_bans: PolicyBanMetrics,
    /// Addresses and names that the guard has something to remember of.
    pub guard_entries: Gauge,
    /// Connections that a proxy opened to see whether somebody answers.
    pub proxy_checks: Counter,
    /// Encryption.
    pub tls: TlsMetrics,
    /// *event*: CONNECTs refused.
    pub connects_refused: Counter,
    /// *event*: PUBLISHes refused.
    pub publishes_refused: Counter,
    /// *event*: filters refused.
    pub subscribes_refused: Counter,
    /// *event*: connections closed for a malformed packet or a protocol error.
    pub protocol_errors: Counter,
    /// PUBLISH packets received.
    pub messages_received: QosCounter,
    /// PUBLISH packets sent.
    pub messages_sent: QosCounter,
    /// Messages that a full session queue did not keep.
    pub messages_dropped_queue_full: Counter,
    /// Messages whose expiry interval passed while they waited.
    pub messages_dropped_expired: Counter,
    /// Messages larger than the client's Maximum Packet Size.
    pub messages_dropped_too_large: Counter,
    /// Messages refused or dropped because memory is short.
    pub messages_dropped_memory: Counter,
    /// Messages a policy acknowledged and forgot.
    pub messages_dropped_policy: Counter,
    /// What the store does.
    pub store: StoreMetrics,
    /// *event*: connections that were made to wait at least once.
    pub clients_throttled: Counter,
    /// Time for which sockets were left unread because of a limit.
    pub throttled_in: Counter,
    /// Time for which messages were held back because of a limit.
    pub throttled_out: Counter,
    /// *event*: packets refused because a client sent faster than it may.
    pub over_limit_refused: Counter,
    /// *event*: messages dropped because a client sent faster than it may.
    pub over_limit_dropped: Counter,
    /// *event*: clients disconnected because they sent faster than they may.
    pub over_limit_disconnected: Counter,
    /// Bytes read from clients.
    pub bytes_received: Counter,
    /// Bytes written to clients.
    pub bytes_sent: Counter,
    /// Sessions, connected or not.
    pub sessions_current: Gauge,
    /// Bans in force.
    pub bans_current: Gauge,
    /// Subscriptions of all sessions.
    pub subscriptions_current: Gauge,
    /// Retained messages.
    pub retained_current: Gauge,
    /// Bytes of the retained messages.
    pub retained_bytes: Gauge,
    /// Messages waiting in session queues.
    pub queue_messages_current: Gauge,
    /// Bytes waiting in session queues.
    pub queue_bytes_current: Gauge,
    /// Bytes that the allocator has given out.
    pub memory_used: Gauge,
    /// Bytes the broker keeps to; 0: no limit.
    pub memory_limit: Gauge,
    /// *event*: policy calls that failed.
    pub policy_faults: Counter,
    /// *event*: policy sets that were refused.
    pub policy_rejections: Counter,
    /// *event*: times that what policies know of a session was too much to be remembered.
    pub policy_sessions_forgotten: Counter,
    /// *event*: number of the policy set in force.
    pub policy_generation: Gauge,
    /// *event*: log lines that the rate limit kept back.
    pub log_lines_suppressed: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            connections_current: Gauge::default(),
            connections_total: Counter::default(),
            connections_shed: ShedCounter::default(),
            automatic_bans: Counter::default(),
            policy_bans: PolicyBanMetrics::default(),
            guard_entries: Gauge::default(),
            proxy_checks: Counter::default(),
            tls: TlsMetrics::default(),
            connects_refused: Counter::default(),
            publishes_refused: Counter::default(),
            subscribes_refused: Counter::default(),
            protocol_errors: Counter::default(),
            messages_received: QosCounter::default(),
            messages_sent: QosCounter::default(),
            messages_dropped_queue_full: Counter::default(),
            messages_dropped_expired: Counter::default(),
            messages_dropped_too_large: Counter::default(),
            messages_dropped_memory: Counter::default(),
            messages_dropped_policy: Counter::default(),
            store: StoreMetrics::default(),
            clients_throttled: Counter::default(),
            throttled_in: Counter::default(),
            throttled_out: Counter::default(),
            over_limit_refused: Counter::default(),
            over_limit_dropped: Counter::default(),
            over_limit_disconnected: Counter::default(),
            bytes_received: Counter::default(),
            bytes_sent: Counter::default(),
            sessions_current: Gauge::default(),
            bans_current: Gauge::default(),
            subscriptions_current: Gauge::default(),
            retained_current: Gauge::default(),
            retained_bytes: Gauge::default(),
            queue_messages_current: Gauge::default(),
            queue_bytes_current: Gauge::default(),
            memory_used: Gauge::default(),
            memory_limit: Gauge::default(),
            policy_faults: Counter::default(),
            policy_rejections: Counter::default(),
            policy_sessions_forgotten: Counter::default(),
            policy_generation: Gauge::default(),
            log_lines_suppressed: Counter::default(),
        }
    }
}

impl Metrics {
    /// Seconds since this broker was created.
    #[must_use]
    pub fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// The Prometheus text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Exposition::default();
        text.gauge(
            "sluice_build_info",
            "Always 1.",
            &[("version", env!("CARGO_PKG_VERSION"))],
            1,
        );
        text.gauge(
            "sluice_uptime_seconds",
            "Seconds since the start.",
            &[],
            self.uptime_seconds(),
        );
        self.render_clients(&mut text);
        self.render_traffic(&mut text);
        self.render_limits(&mut text);
        self.render_state(&mut text);
        self.store.render(&mut text);
        self.render_policies(&mut text);
        text.into_string()
    }

    fn render_clients(&self, text: &mut Exposition) {
        text.gauge(
            "sluice_connections",
            "Open connections.",
            &[],
            self.connections_current.get(),
        );
        text.counter(
            "sluice_connections_total",
            "Sockets accepted.",
            &[],
            self.connections_total.get(),
        );
        self.connections_shed.render(text);
        text.counter(
            "sluice_proxy_checks_total",
            "Connections that a proxy opened for itself, to see whether somebody answers.",
            &[],
            self.proxy_checks.get(),
        );
        self.tls.render(text);
        text.counter(
            "sluice_connects_refused_total",
            "CONNECTs refused.",
            &[],
            self.connects_refused.get(),
        );
        text.counter(
            "sluice_publishes_refused_total",
            "PUBLISHes refused.",
            &[],
            self.publishes_refused.get(),
        );
        text.counter(
            "sluice_subscribes_refused_total",
            "Filters refused.",
            &[],
            self.subscribes_refused.get(),
        );
        text.counter(
            "sluice_protocol_errors_total",
            "Connections closed for a malformed packet or a protocol error.",
            &[],
            self.protocol_errors.get(),
        );
    }

    fn render_traffic(&self, text: &mut Exposition) {
        for (name, help, counter) in [
            (
                "sluice_messages_received_total",
                "PUBLISH packets received.",
                &self.messages_received,
            ),
            (
                "sluice_messages_sent_total",
                "PUBLISH packets sent.",
                &self.messages_sent,
            ),
        ] {
            for (qos, label) in ["0", "1", "2"].into_iter().enumerate() {
                let value = counter.levels.get(qos).map_or(0, Counter::get);
                text.counter(name, help, &[("qos", label)], value);
            }
        }
        for (reason, counter) in [
            ("expired", &self.messages_dropped_expired),
            ("memory", &self.messages_dropped_memory),
            ("policy", &self.messages_dropped_policy),
            ("queue_full", &self.messages_dropped_queue_full),
            ("too_large", &self.messages_dropped_too_large),
        ] {
            let help = "Messages accepted but not delivered.";
            text.counter(
                "sluice_messages_dropped_total",
                help,
                &[("reason", reason)],
                counter.get(),
            );
        }
        text.counter(
            "sluice_bytes_received_total",
            "Bytes read.",
            &[],
            self.bytes_received.get(),
        );
        text.counter(
            "sluice_bytes_sent_total",
            "Bytes written.",
            &[],
            self.bytes_sent.get(),
        );
    }

    fn render_limits(&self, text: &mut Exposition) {
        text.counter(
            "sluice_clients_throttled_total",
            "Connections that were made to wait at least once.",
            &[],
            self.clients_throttled.get(),
        );
        for (direction, counter) in [("in", &self.throttled_in), ("out", &self.throttled_out)] {
            text.seconds(
                "sluice_throttled_seconds_total",
                "Time that clients were made to wait because of a limit, all added up.",
                &[("direction", direction)],
                Duration::from_micros(counter.get()),
            );
        }
        for (action, counter) in [
            ("refuse", &self.over_limit_refused),
            ("drop", &self.over_limit_dropped),
            ("disconnect", &self.over_limit_disconnected),
        ] {
            text.counter(
                "sluice_over_limit_total",
                "What was done about clients that send faster than they may, other than making them wait.",
                &[("action", action)],
                counter.get(),
            );
        }
    }

    fn render_state(&self, text: &mut Exposition) {
        text.gauge("sluice_bans", "Bans in force.", &[], self.bans_current.get());
        text.counter(
            "sluice_automatic_bans_total",
            "Bans for failing or coming in too often.",
            &[],
            self.automatic_bans.get(),
        );
        self.policy_bans.render(text);
        text.gauge(
            "sluice_guard_entries",
            "Addresses and client identifiers that the guard remembers something of.",
            &[],
            self.guard_entries.get(),
        );
        text.gauge(
            "sluice_sessions",
            "Sessions, connected or not.",
            &[],
            self.sessions_current.get(),
        );
        text.gauge(
            "sluice_subscriptions",
            "Subscriptions.",
            &[],
            self.subscriptions_current.get(),
        );
        text.gauge(
            "sluice_retained_messages",
            "Retained messages.",
            &[],
            self.retained_current.get(),
        );
        text.gauge(
            "sluice_retained_bytes",
            "Bytes of retained messages.",
            &[],
            self.retained_bytes.get(),
        );
        text.gauge(
            "sluice_queued_messages",
            "Messages in queues.",
            &[],
            self.queue_messages_current.get(),
        );
        text.gauge(
            "sluice_queued_bytes",
            "Bytes in queues.",
            &[],
            self.queue_bytes_current.get(),
        );
        text.gauge(
            "sluice_memory_bytes",
            "Bytes that the allocator has given out.",
            &[],
            self.memory_used.get(),
        );
        text.gauge(
            "sluice_memory_limit_bytes",
            "Bytes the broker keeps to; 0: no limit.",
            &[],
            self.memory_limit.get(),
        );
        text.counter(
            "sluice_log_lines_suppressed_total",
            "Log lines kept back by the rate limit.",
            &[],
            self.log_lines_suppressed.get(),
        );
    }

    fn render_policies(&self, text: &mut Exposition) {
        text.gauge(
            "sluice_policy_generation",
            "Policy set in force.",
            &[],
            self.policy_generation.get(),
        );
        text.counter(
            "sluice_policy_faults_total",
            "Policy calls that failed.",
            &[],
            self.policy_faults.get(),
        );
        text.counter(
            "sluice_policy_rejections_total",
            "Policy sets that were refused at load.",
            &[],
            self.policy_rejections.get(),
        );
        text.counter(
            "sluice_policy_sessions_forgotten_total",
            "Times that what policies know of a session was too much to be remembered.",
            &[],
            self.policy_sessions_forgotten.get(),
        );
    }
}

/// Threads that count at the same time without sharing a cache line; more threads share.
const SHARDS: usize = 8;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(AtomicU64);

fn shard_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
    }
    SHARD.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_adds_up_what_many_threads_counted() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| (0..1_000).for_each(|_| counter.inc()));
            }
        });
        assert_eq!(counter.get(), 2 * SHARDS as u64 * 1_000);
    }

    #[test]
    fn the_text_names_each_metric_once_and_lists_its_labels() {
        let metrics = Metrics::default();
        metrics.messages_received.inc(1);
        metrics.messages_received.inc(1);
        let text = metrics.render();
        assert!(
            text.contains("\nsluice_messages_received_total{qos=\"1\"} 2\n"),
            "{text}"
        );
        let mut described: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let all = described.len();
        described.sort_unstable();
        described.dedup();
        assert_eq!(described.len(), all, "samples of one metric must be together");
    }
}
