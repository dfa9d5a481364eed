//! Implements every hook, each with an effect that a client or the metrics show.
//!
//! * A client says in its user name what the policy should see of it, `LISTENER ADDRESS ENCRYPTION by PROXY`, and is
//!   refused when it sees something else. The authentication method `echo` takes one round.
//! * Topics and filters under `refused/` are refused; filters under `lowered/` get QoS 0.
//! * The payload `poison` is refused, and `water` becomes `wine`.
//! * From edition 2 on topics under `souring/` and the payload `souring` are refused as well.
//! * Client identifiers that begin with `small` and `hasty` have budgets; those with `leaver` must leave when the policy
//!   is replaced.
//! * What happens to clients whose identifier begins with `witness` is counted as `connected_CLIENT` and
//!   `disconnected_CLIENT`, a refresh of anybody as `refreshed_CLIENT`: a policy has names for 64 counters.

use serde::Deserialize;
use sluice_policy::prelude::*;
use sluice_policy::{Peer, host};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Usher {
    /// Another one makes a replacement.
    edition: u32,
}

#[policy]
impl Policy for Usher {
    type Settings = Self;

    async fn on_connect(&self, request: &ConnectRequest, ask: &Ask) -> Connect {
        if request.username.as_deref() != Some(&seen(&request.peer)) {
            return Connect::deny(Reason::NotAuthorized);
        }
        if request.auth_method.is_some() {
            let mut words = ask.nonce().to_vec();
            let answer = ask.challenge(words.clone()).await;
            words.reverse();
            if answer != Some(words) {
                return Connect::deny(Reason::NotAuthorized);
            }
        }
        Connect::admit(Admission::new().budget(budget(&request.client_id)))
    }

    fn on_refresh(&self, request: &RefreshRequest) -> Refresh {
        count("refreshed", &request.client_id);
        if request.client_id.starts_with("leaver") {
            return Refresh::deny(Reason::NotAuthorized);
        }
        Refresh::keep()
    }

    fn on_publish(&self, request: &PublishRequest) -> Publish {
        match request.topic.split_once('/') {
            Some(("refused", _)) => Publish::deny(),
            Some(("souring", _)) if self.edition > 1 => Publish::deny(),
            _ => Publish::allow(),
        }
    }

    fn on_subscribe(&self, request: &SubscribeRequest) -> Subscribe {
        match request.filter.split_once('/') {
            Some(("refused", _)) => Subscribe::deny(),
            Some(("lowered", _)) => Subscribe::allow_at(QoS::AtMostOnce),
            _ => Subscribe::allow(),
        }
    }

    fn on_message(&self, request: ContentRequest) -> Content {
        let mut message = request.message;
        match message.payload.as_slice() {
            b"poison" => Content::deny(Reason::PayloadFormatInvalid),
            b"souring" if self.edition > 1 => Content::deny(Reason::PayloadFormatInvalid),
            b"water" => {
                message.payload = b"wine".to_vec();
                Content::replace(message)
            }
            _ => Content::keep(),
        }
    }

    fn on_event(&self, _: u64, _: u64, event: &Event) {
        match event {
            Event::Connected(of) if is_witness(&of.client_id) => count("connected", &of.client_id),
            Event::Disconnected(of) if is_witness(&of.client_id) => count("disconnected", &of.client_id),
            _ => {}
        }
    }
}

fn seen(peer: &Peer) -> String {
    let encryption = peer.tls.as_ref().map_or("plain", |tls| tls.version.as_str());
    let proxy = peer.proxied_by.as_deref().unwrap_or("nobody");
    format!("{} {} {encryption} by {proxy}", peer.listener, peer.address)
}

fn budget(client_id: &str) -> Budget {
    let none = Budget::default();
    if client_id.starts_with("small") {
        none.packet_bytes_max(512)
    } else if client_id.starts_with("hasty") {
        none.messages_in_per_second(Rate::new(1, 1))
            .over_limit(OverLimitAction::Disconnect)
    } else {
        none
    }
}

fn is_witness(client_id: &str) -> bool {
    client_id.starts_with("witness")
}

fn count(what: &str, client_id: &str) {
    host::metrics::increment(&format!("{what}_{client_id}"), 1);
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_policy::testing;

    use super::*;

    #[test]
    fn clients_that_say_what_is_seen_of_them_are_let_in_and_counted() {
        let gate = testing::policy::<Usher>(json!({ "edition": 2 })).unwrap();
        let client = testing::client("a").listener("door").address("192.0.2.1");
        assert!(matches!(
            gate.connect(&client.clone().username("door 192.0.2.2 plain by nobody")),
            Connect::Deny(_)
        ));
        let mut session = gate.admit(&client.username("door 192.0.2.1 plain by nobody"));
        assert!(session.may_publish("a") && !session.may_publish("refused/a"));
        assert!(!session.may_publish("souring/a"));
        assert!(session.may_subscribe("a") && !session.may_subscribe("refused/a"));
        assert_eq!(
            gate.content(0, testing::message("a", "poison")),
            Content::deny(Reason::PayloadFormatInvalid)
        );
        let _ = session.refresh();
        assert_eq!(gate.counter("refreshed_a"), 1);
    }
}
