//! `$SYS` topics: the broker's figures as retained messages, under the names operators know from other brokers.

use super::Hub;
use super::filing::Filing;
use bytes::Bytes;
use sluice_mqtt::message::Message;
use sluice_mqtt::packet::QoS;
use std::collections::HashMap;
use std::time::{Duration, Instant};

impl Hub {
    /// Publishes the `$SYS` topics for ever, those that changed since the last round.
    pub async fn publish_sys(&self, every: Duration) {
        let started = Instant::now();
        let mut last: HashMap<&'static str, String> = HashMap::new();
        loop {
            self.measure();
            for (topic, value) in self.sys_values(started.elapsed()) {
                if last.get(topic) != Some(&value) {
                    self.publish_own(topic, &value);
                    last.insert(topic, value);
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    fn publish_own(&self, topic: &str, value: &str) {
        let now = Instant::now();
        let payload = Bytes::copy_from_slice(value.as_bytes());
        let message = Message::own(topic, payload, QoS::AtMostOnce, true);
        self.keep_own(&message, now);
        self.dispatch(&message, &mut Filing::new(&self.inner.store));
    }

    fn sys_values(&self, uptime: Duration) -> Vec<(&'static str, String)> {
        let metrics = &self.inner.metrics;
        let (online, all) = (metrics.connections_current.get(), metrics.sessions_current.get());
        vec![
            (
                "$SYS/broker/version",
                format!("sluice {}", env!("CARGO_PKG_VERSION")),
            ),
            ("$SYS/broker/uptime", format!("{} seconds", uptime.as_secs())),
            ("$SYS/broker/clients/connected", online.to_string()),
            (
                "$SYS/broker/clients/disconnected",
                all.saturating_sub(online).to_string(),
            ),
            ("$SYS/broker/clients/total", all.to_string()),
            (
                "$SYS/broker/subscriptions/count",
                metrics.subscriptions_current.get().to_string(),
            ),
            (
                "$SYS/broker/retained messages/count",
                metrics.retained_current.get().to_string(),
            ),
            (
                "$SYS/broker/messages/received",
                metrics.messages_received.total().to_string(),
            ),
            (
                "$SYS/broker/messages/sent",
                metrics.messages_sent.total().to_string(),
            ),
            (
                "$SYS/broker/messages/dropped",
                metrics.messages_dropped_queue_full.get().to_string(),
            ),
            (
                "$SYS/broker/bytes/received",
                metrics.bytes_received.get().to_string(),
            ),
            ("$SYS/broker/bytes/sent", metrics.bytes_sent.get().to_string()),
            (
                "$SYS/broker/policies/generation",
                metrics.policy_generation.get().to_string(),
            ),
            (
                "$SYS/broker/policies/faults",
                metrics.policy_faults.get().to_string(),
            ),
        ]
    }
}
