//! What is spoken inside the encryption, as clients may ask by ALPN (RFC 7301).

use super::Acceptor;
use std::sync::Arc;

/// Of an MQTT listener.
pub(in crate::net) const MQTT: &[u8] = b"mqtt";
/// Of a WebSocket listener: browsers ask for it.
pub(in crate::net) const HTTP: &[u8] = b"http/1.1";

impl Acceptor {
    /// The same for clients that ask for this protocol, or for none. What it knows of earlier sessions stays.
    pub(in crate::net) fn speaking(mut self, protocol: &[u8]) -> Self {
        if self.config.alpn_protocols != [protocol] {
            Arc::make_mut(&mut self.config).alpn_protocols = vec![protocol.to_vec()];
        }
        self
    }
}
