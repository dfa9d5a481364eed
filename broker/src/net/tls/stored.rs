//! Sessions that are kept for clients of TLS 1.2 that resume without a ticket: so many, and none that is large. A session
//! holds the certificates of its client.

use std::sync::Arc;
use tokio_rustls::rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, StoresServerSessions};

/// A store of at most so many sessions.
pub(super) fn sessions(most: usize) -> Arc<dyn StoresServerSessions> {
    if most == 0 {
        Arc::new(NoServerSessionStorage {})
    } else {
        Arc::new(Bounded(ServerSessionMemoryCache::new(most)))
    }
}

#[derive(Debug)]
struct Bounded(Arc<ServerSessionMemoryCache>);

impl StoresServerSessions for Bounded {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        session.len() <= SESSION_BYTES_MAX && self.0.put(id, session)
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.0.get(id)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.0.take(id)
    }

    fn can_cache(&self) -> bool {
        self.0.can_cache()
    }
}

/// Room for a chain of two or three.
const SESSION_BYTES_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_in_number_and_size() {
        let kept = sessions(4);
        assert!(kept.put(vec![0], vec![7; SESSION_BYTES_MAX]));
        assert!(!kept.put(vec![1], vec![7; SESSION_BYTES_MAX + 1]));
        assert_eq!(kept.get(&[1]), None);
        for id in 0..100_u8 {
            kept.put(vec![id], vec![id]);
        }
        let left = (0..100_u8).filter(|id| kept.get(&[*id]).is_some()).count();
        assert!((1..=8).contains(&left), "{left}");
        assert!(!sessions(0).put(vec![0], vec![0]));
    }
}
