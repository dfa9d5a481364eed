//! What is to flow, between whom, and how fast.

use std::time::Duration;

/// A load of messages.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Who sends to whom.
    pub shape: Shape,
    /// QoS of publishes and of subscriptions, 0 or 1.
    pub qos: u8,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// How fast.
    pub pace: Pace,
    /// Flows before anything is measured.
    pub warm_up: Duration,
    /// Is measured.
    pub measured: Duration,
}

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Every publisher's messages go to every subscriber.
    Fan {
        /// Clients that publish, each to a topic of its own.
        publishers: usize,
        /// Clients that subscribe to all of these.
        subscribers: usize,
    },
    /// Each publisher has a subscriber of its own.
    Pairs(usize),
}

/// How long a message holds its publisher's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until all subscribers have it and, at QoS 1, it is acknowledged: nothing has to be dropped.
    Delivered,
    /// Until it is acknowledged; the subscribers may do as they like.
    Acknowledged,
}

/// How fast messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as the broker can, each publisher within a window.
    Window {
        /// What is in the window.
        until: Until,
        /// Messages of one publisher that may be in it.
        outstanding: u64,
        /// Most messages in one write; all that the window allows if `None`.
        burst: Option<u64>,
    },
    /// So many in a second, all publishers together, whatever becomes of them.
    PerSecond(f64),
}

impl Shape {
    /// Clients that publish.
    pub fn publishers(self) -> usize {
        match self {
            Self::Fan { publishers, .. } => publishers,
            Self::Pairs(pairs) => pairs,
        }
    }

    /// Clients that subscribe.
    pub fn subscribers(self) -> usize {
        match self {
            Self::Fan { subscribers, .. } => subscribers,
            Self::Pairs(pairs) => pairs,
        }
    }

    /// How often each message is delivered.
    pub fn deliveries_per_message(self) -> u64 {
        match self {
            Self::Fan { subscribers, .. } => subscribers as u64,
            Self::Pairs(_) => 1,
        }
    }

    /// What a publisher publishes to.
    pub fn topic(self, publisher: usize) -> String {
        format!("bench/{publisher}/t")
    }

    /// What a subscriber subscribes to.
    pub fn filter(self, subscriber: usize) -> String {
        match self {
            Self::Pairs(_) => self.topic(subscriber),
            Self::Fan { publishers: 1, .. } => self.topic(0),
            Self::Fan { .. } => "bench/+/t".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_publisher_is_subscribed_to_by_name() {
        let fan_out = Shape::Fan {
            publishers: 1,
            subscribers: 100,
        };
        assert_eq!(fan_out.filter(7), fan_out.topic(0));
        assert_eq!(fan_out.deliveries_per_message(), 100);
    }

    #[test]
    fn a_pair_shares_a_topic_with_nobody() {
        let pairs = Shape::Pairs(10);
        assert_eq!(pairs.filter(3), pairs.topic(3));
        assert_ne!(pairs.filter(3), pairs.topic(4));
        assert_eq!(pairs.deliveries_per_message(), 1);
    }
}
