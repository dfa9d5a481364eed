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

/// How many messages a publisher writes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// All that its window allows.
    All,
    /// At most so many.
    AtMost(u64),
    /// So many, and none before its window has room for them; never more than a window. However quick a broker is,
    /// what it reads has been cut into the same pieces. With TLS they are one record.
    Exactly(u64),
    /// The same, and with TLS each message is a record of its own.
    Records(u64),
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
        /// How many of them a publisher writes at once.
        batch: Batch,
    },
    /// So many in a second, all publishers together, whatever becomes of them.
    PerSecond(f64),
}

impl Batch {
    /// How many messages to write when the window has room for `may_send` of its `outstanding`; 0: none yet.
    pub fn of(self, may_send: u64, outstanding: u64) -> u64 {
        match self {
            Self::All => may_send,
            Self::AtMost(most) => may_send.min(most),
            Self::Exactly(batch) | Self::Records(batch) => {
                let batch = batch.clamp(1, outstanding.max(1));
                if may_send < batch { 0 } else { batch }
            }
        }
    }

    /// Whether a record ends with every message.
    pub fn ends_records(self) -> bool {
        matches!(self, Self::Records(_))
    }
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
    fn a_whole_batch_waits_for_its_room() {
        assert_eq!((Batch::All.of(7, 20), Batch::AtMost(5).of(7, 20)), (7, 5));
        let of = |may_send, outstanding| Batch::Exactly(10).of(may_send, outstanding);
        assert_eq!((of(9, 20), of(10, 20), of(20, 20)), (0, 10, 10));
        assert_eq!(
            (of(3, 4), of(4, 4)),
            (0, 4),
            "a window that is smaller is a batch"
        );
    }

    #[test]
    fn a_pair_shares_a_topic_with_nobody() {
        let pairs = Shape::Pairs(10);
        assert_eq!(pairs.filter(3), pairs.topic(3));
        assert_ne!(pairs.filter(3), pairs.topic(4));
        assert_eq!(pairs.deliveries_per_message(), 1);
    }
}
