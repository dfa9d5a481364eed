//! Whose turn it is on a worker to compute its part of a handshake.
//!
//! That takes up to some milliseconds, and after a restart, or in an attack, thousands come at once. With one turn per
//! round of the worker, those that are connected already wait for one computation at most.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use tokio::sync::{Notify, Semaphore};

/// The turns of a worker; clones share them.
#[derive(Clone)]
pub(in crate::net) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(in crate::net) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// Computes something in a turn.
    pub(super) async fn compute<T>(&self, work: impl FnOnce() -> T) -> T {
        let turn = self.0.acquire().await;
        let done = work();
        // Everybody else on this worker, before the next one has the turn.
        tokio::task::yield_now().await;
        drop(turn);
        done
    }

    /// Completes a future, each step of which is computed in a turn. None is held while it waits.
    pub(super) async fn complete<F: Future + Unpin>(&self, mut future: F) -> F::Output {
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        loop {
            let step = || Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
            match self.compute(step).await {
                Poll::Ready(output) => return output,
                Poll::Pending => bell.0.notified().await,
            }
        }
    }
}

/// Tells that a future can go on. One ring is kept until somebody listens.
#[derive(Default)]
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn whoever_waits_holds_no_turn() {
        let turns = Turns::new();
        let (sender, receiver) = oneshot::channel::<u8>();
        let stalled = tokio::spawn({
            let turns = turns.clone();
            async move { turns.complete(receiver).await }
        });
        for _ in 0..3 {
            // A turn that is held makes the test fail, not wait for ever.
            let other = turns.complete(std::future::ready(1));
            let done = tokio::time::timeout(std::time::Duration::from_secs(30), other).await;
            assert_eq!(done, Ok(1));
        }
        assert!(!stalled.is_finished());
        sender.send(2).expect("somebody listens");
        assert_eq!(stalled.await.expect("it completes"), Ok(2));
    }

    #[tokio::test]
    async fn others_are_served_between_two_turns() {
        let turns = Turns::new();
        let story = Arc::<Mutex<Vec<char>>>::default();
        let tell = |what| {
            let story = Arc::clone(&story);
            move || story.lock().push(what)
        };
        let handshakes = "abc".chars().map(|name| {
            let (turns, work) = (turns.clone(), tell(name));
            tokio::spawn(async move { turns.compute(work).await })
        });
        let handshakes: Vec<_> = handshakes.collect();
        let other = tell('-');
        let client = tokio::spawn(async move {
            for _ in 0..3 {
                other();
                tokio::task::yield_now().await;
            }
        });
        for task in handshakes.into_iter().chain([client]) {
            task.await.expect("it completes");
        }
        let story: String = story.lock().iter().collect();
        let in_a_row = story.split('-').any(|turns| turns.len() > 1);
        assert!(!in_a_row, "each turn is followed by everybody else: {story}");
    }
}
