//! What names a session.

use std::sync::Arc;

/// What names a session: two tenants may use the same client id without meeting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// Prefix of all topics of the client; empty without a mount point.
    pub mountpoint: Arc<str>,
    /// Client identifier.
    pub client_id: Arc<str>,
}
