//! Checking passwords, on a bounded pool.

use super::hash;
use crate::policy::question::Answer;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::available_parallelism;
use tokio::sync::Semaphore;

/// Checks that wait for their turn; further ones fail at once rather than after the client has gone.
const WAITING_MAX: usize = 1024;

/// Checks passwords, as many at a time as there are cores.
#[derive(Debug)]
pub(super) struct PasswordPool {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    checked: AtomicU64,
    shed: AtomicU64,
}

/// What the pool has done and has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasswordChecks {
    /// Passwords checked.
    pub checked: u64,
    /// Checks refused because too many waited.
    pub shed: u64,
    /// Checks that wait for their turn.
    pub waiting: u64,
}

impl PasswordPool {
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(cores)),
            waiting: AtomicUsize::new(0),
            checked: AtomicU64::new(0),
            shed: AtomicU64::new(0),
        }
    }

    pub(super) fn checks(&self) -> PasswordChecks {
        PasswordChecks {
            checked: self.checked.load(Ordering::Relaxed),
            shed: self.shed.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed) as u64,
        }
    }

    /// Whether the password fits the hash.
    pub(super) async fn verify(&self, hash: String, password: Vec<u8>) -> Answer {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.shed.fetch_add(1, Ordering::Relaxed);
            return Answer::Failed("too many passwords wait to be checked".into());
        }
        let waiting = Waiting(&self.waiting);
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        drop(waiting);
        let Ok(turn) = turn else {
            return Answer::Failed("the broker is shutting down".into());
        };
        self.checked.fetch_add(1, Ordering::Relaxed);
        let checked = tokio::task::spawn_blocking(move || {
            let fits = hash::verify(&hash, &password);
            drop(turn);
            fits
        });
        match checked.await {
            Ok(Ok(fits)) => Answer::Password(fits),
            Ok(Err(problem)) => Answer::Failed(problem),
            Err(_) => Answer::Failed("the check was interrupted".into()),
        }
    }
}

/// Counts down also when the client goes away while waiting.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `secret`, cheap.
    const HASH: &str = "$7$1$c2FsdHNhbHQ=$lf9lleCRJ/VvS26dnZZJn+8llX+QBYzSPPYWsvBsszhTLOC1jtR02ovh4DDedWVTCKCMtyNLGthkxhu71GzU8w==";

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let pool = PasswordPool::new();
        let verify = |password: &[u8]| pool.verify(HASH.to_owned(), password.to_vec());
        assert_eq!(verify(b"secret").await, Answer::Password(true));
        assert_eq!(verify(b"wrong").await, Answer::Password(false));
        assert_eq!(verify(b"").await, Answer::Password(false));
        assert_eq!(pool.checks().checked, 3);
    }

    #[tokio::test]
    async fn a_check_too_many_fails_at_once_and_is_counted() {
        let pool = PasswordPool::new();
        pool.waiting.store(WAITING_MAX, Ordering::Relaxed);
        let answer = pool.verify(HASH.to_owned(), b"secret".to_vec()).await;
        assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
        let checks = pool.checks();
        assert_eq!(
            (checks.checked, checks.shed, checks.waiting),
            (0, 1, WAITING_MAX as u64)
        );
    }
}
