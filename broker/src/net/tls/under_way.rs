//! How many handshakes may be under way at the same time, and which one gives way.
//!
//! A client that is honest is through in a few round trips; one that wants to keep others out begins and says no more.
//! So the oldest gives way to the newest: others come in however many of those there are.

use crate::metrics::Metrics;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// The handshakes of a listener, on all workers.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    /// In the order in which they began.
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// One handshake; it is over when this is dropped.
pub(super) struct Place {
    number: u64,
    under_way: Arc<UnderWay>,
    given_away: Arc<Notify>,
    metrics: Arc<Metrics>,
}

impl UnderWay {
    /// Begins one. Of `most` others the oldest is told to end.
    pub(super) fn begin(self: &Arc<Self>, most: usize, metrics: &Arc<Metrics>) -> Place {
        let given_away = Arc::new(Notify::new());
        let mut queue = self.0.lock();
        while queue.waiting.len() >= most.max(1) {
            let Some((_, oldest)) = queue.waiting.pop_first() else {
                break;
            };
            oldest.notify_one();
        }
        let number = queue.next;
        queue.next += 1;
        queue.waiting.insert(number, Arc::clone(&given_away));
        drop(queue);
        metrics.tls.handshakes_under_way.inc();
        Place {
            number,
            under_way: Arc::clone(self),
            given_away,
            metrics: Arc::clone(metrics),
        }
    }
}

impl Place {
    /// Returns when another one has taken the place.
    pub(super) async fn given_away(&self) {
        self.given_away.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way.0.lock().waiting.remove(&self.number);
        self.metrics.tls.handshakes_under_way.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    fn is_given_away(place: &Place) -> bool {
        let mut given_away = std::pin::pin!(place.given_away());
        let mut cx = Context::from_waker(Waker::noop());
        given_away.as_mut().poll(&mut cx) == Poll::Ready(())
    }

    #[test]
    fn the_oldest_gives_way_to_the_newest() {
        let (under_way, metrics) = (Arc::<UnderWay>::default(), Arc::<Metrics>::default());
        let begin = || under_way.begin(2, &metrics);
        let (first, second) = (begin(), begin());
        assert!(!is_given_away(&first) && !is_given_away(&second));
        let third = begin();
        assert!(is_given_away(&first));
        assert!(!is_given_away(&second) && !is_given_away(&third));
        assert_eq!(metrics.tls.handshakes_under_way.get(), 3);
        drop((first, second));
        let fourth = begin();
        assert!(!is_given_away(&third) && !is_given_away(&fourth));
        drop((third, fourth));
        assert_eq!(metrics.tls.handshakes_under_way.get(), 0);
        assert!(under_way.0.lock().waiting.is_empty());
    }
}
