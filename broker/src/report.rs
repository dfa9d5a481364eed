//! From what the parts know to what [`crate::event`] tells: the parts themselves do not know each other.

use crate::event::{Client, Origin, Refusal};
use crate::policy::verdict;

/// A client with its address.
pub(crate) fn client<'a>(id: &'a str, peer: &'a verdict::Peer) -> Client<'a> {
    Client {
        id,
        origin: Some(origin(peer)),
    }
}

/// A session without a connection.
pub(crate) fn session(id: &str) -> Client<'_> {
    Client { id, origin: None }
}

/// Where a connection comes from.
pub(crate) fn origin(peer: &verdict::Peer) -> Origin<'_> {
    Origin {
        address: &peer.address,
        port: peer.port,
        listener: &peer.listener,
        proxy: peer.proxied_by.as_deref().map(|proxy| match proxy {
            "" => "local",
            address => address,
        }),
        unique_id: peer.unique_id.as_deref(),
    }
}

/// A refusal of a policy, or of the broker itself (see [`by_broker`]).
pub(crate) fn refusal(refusal: &verdict::Refusal) -> Refusal<'_> {
    Refusal {
        policy: Some(&*refusal.policy).filter(|policy| *policy != BROKER),
        generation: refusal.generation,
        reason: refusal.reason,
        text: refusal.text.as_deref(),
        fault: refusal.fault,
    }
}

/// Stands for the policy's name where a limit of the broker refused; no policy can be called so.
const BROKER: &str = "(broker)";

/// A refusal by a limit of the broker.
pub(crate) fn by_broker(reason: u8, text: &str) -> verdict::Refusal {
    verdict::Refusal {
        policy: BROKER.into(),
        generation: 0,
        reason,
        text: Some(text.to_string()),
        server_reference: None,
        fault: false,
    }
}
