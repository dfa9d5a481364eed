//! Challenges clients to send its words back reversed, and knows a few users by what they are told.
//!
//! Authentication methods: `echo` takes one round, `echo-twice` two, others are refused; clients without a method are
//! let in. User names: `wordy` is told a lot in CONNACK, `brisk` has to use a keep alive of one second, `banned` is
//! turned away with many words, `misnamed` for its client identifier, `seen` is called what its encryption is, `whence`
//! where it comes from and `certified` what its certificate says; any other client with a certificate is called by its
//! user name. Topics under `forbidden/`, and under what the settings close, are refused.

use serde::Deserialize;
use sluice_policy::Peer;
use sluice_policy::prelude::*;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AuthEcho {
    /// Prefixes of topics that are refused, besides `forbidden/`.
    closed: Vec<String>,
}

#[policy]
impl Policy for AuthEcho {
    type Settings = Self;

    async fn on_connect(&self, request: &ConnectRequest, ask: &Ask) -> Connect {
        let rounds = match request.auth_method.as_deref() {
            None => return welcome(request),
            Some("echo") => 1,
            Some("echo-twice") => 2,
            Some(_) => return Connect::deny(Reason::BadAuthenticationMethod),
        };
        for round in 0..rounds {
            let mut words = format!("round {round}: ").into_bytes();
            words.extend(ask.nonce());
            let answer = ask.challenge(words.clone()).await;
            words.reverse();
            if answer != Some(words) {
                return Connect::deny(Reason::NotAuthorized.because("that is not what was said"));
            }
        }
        Connect::admit(Admission::new().auth_data("well said"))
    }

    fn on_refresh(&self, _: &RefreshRequest) -> Refresh {
        Refresh::keep()
    }

    fn on_publish(&self, request: &PublishRequest) -> Publish {
        if self.is_closed(&request.topic) {
            Publish::deny()
        } else {
            Publish::allow()
        }
    }

    fn on_subscribe(&self, request: &SubscribeRequest) -> Subscribe {
        if self.is_closed(&request.filter) {
            Subscribe::deny()
        } else {
            Subscribe::allow()
        }
    }
}

impl AuthEcho {
    fn is_closed(&self, topic: &str) -> bool {
        topic.starts_with("forbidden/")
            || self
                .closed
                .iter()
                .any(|prefix| topic.starts_with(prefix.as_str()))
    }
}

fn welcome(request: &ConnectRequest) -> Connect {
    let terms = Admission::new();
    match request.username.as_deref() {
        Some("wordy") => Connect::admit(
            terms
                .reason_string("r".repeat(200))
                .user_property("name", "v".repeat(300))
                .response_information("answers/"),
        ),
        Some("brisk") => Connect::admit(terms.keep_alive_seconds(1)),
        Some("banned") => Connect::deny(Reason::Banned.because("b".repeat(200))),
        Some("seen") => Connect::admit(terms.principal(match &request.peer.tls {
            Some(tls) => format!("{} {} {:?}", tls.version, tls.cipher, tls.sni),
            None => "plain".to_owned(),
        })),
        Some("whence") => Connect::admit(terms.principal(whence(&request.peer))),
        Some("certified") => Connect::admit(terms.principal(match request.peer.certificate() {
            Some(of) => format!(
                "{:?} {:?} {:?} {:?} {:?} {} {} {} {} {}",
                of.subject_cn,
                of.san_dns,
                of.san_uri,
                of.san_email,
                of.san_ip,
                of.issuer,
                of.serial,
                of.fingerprint_sha256,
                of.not_before_unix_seconds,
                of.not_after_unix_seconds
            ),
            None => "no certificate".to_owned(),
        })),
        Some("misnamed") => Connect::deny(Reason::ClientIdentifierNotValid),
        Some(name) if request.peer.certificate().is_some() => Connect::admit(terms.principal(name)),
        _ => Connect::admit(terms),
    }
}

fn whence(peer: &Peer) -> String {
    let proxy = peer.proxied_by.as_deref().unwrap_or("nobody");
    let name = peer
        .certificate()
        .and_then(|certificate| certificate.subject_cn.as_deref());
    let (address, port, name) = (&peer.address, peer.port, name.unwrap_or("nothing"));
    format!(
        "{address} {port} by {proxy} named {name}, local: {}",
        peer.is_local()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_policy::testing;

    use super::*;

    #[test]
    fn whoever_does_not_echo_is_refused() {
        let gate = testing::policy::<AuthEcho>(json!({}))
            .unwrap()
            .responses(["something else"]);
        assert!(matches!(
            gate.connect(&testing::client("a").auth("echo", "")),
            Connect::Deny(_)
        ));
    }

    #[test]
    fn topics_that_the_settings_close_are_refused() {
        let gate = testing::policy::<AuthEcho>(json!({ "closed": ["attic/"] })).unwrap();
        let session = gate.admit(&testing::client("a"));
        assert!(session.may_publish("cellar/x") && !session.may_publish("attic/x"));
        assert!(!session.may_subscribe("forbidden/x"));
    }
}
