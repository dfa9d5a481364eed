//! Lets clients in by their certificate, and grants topics by what is in it.
//!
//! For listeners that ask clients for a certificate; one without is refused.
//!
//! ```toml
//! [policy.certificates.settings]
//! # Which field names the client: "cn", "dns", "uri" or "email". Of several the first is taken that matches.
//! field = "uri"
//! # Certificates to refuse, by SHA-256 fingerprint (lower-case hexadecimal).
//! revoked = []
//!
//! # The first group whose pattern matches. `*` stands for at least one character, none of them `/`; what it stands
//! # for is `%a{id}` in the rules (without `*`, the whole name is).
//! [[policy.certificates.settings.groups]]
//! names = "spiffe://plant-7/sensor/*"
//! rules = [{ allow = "publish", topic = "plant-7/%a{id}/#" }]
//! ```
//!
//! After a change of the settings every live session is judged again by its certificate.

use serde::Deserialize;
use sluice_policy::prelude::*;
use sluice_policy::{Certificate, Peer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByCertificate {
    field: Field,
    #[serde(default)]
    revoked: Vec<String>,
    groups: Vec<Group>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Field {
    Cn,
    Dns,
    Uri,
    Email,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    names: String,
    rules: Vec<Grant>,
}

#[policy]
impl Policy for ByCertificate {
    type Settings = Self;

    fn new(settings: Self) -> Result<Self, Error> {
        for fingerprint in &settings.revoked {
            if fingerprint.len() != 64
                || !fingerprint
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            {
                return Err(
                    "`revoked` is a list of SHA-256 fingerprints: 64 digits, lower-case hexadecimal".into(),
                );
            }
        }
        match settings
            .groups
            .iter()
            .find(|group| group.names.matches('*').count() > 1)
        {
            Some(group) => Err(format!("`groups`: `{}` has more than one `*`", group.names).into()),
            None => Ok(settings),
        }
    }

    async fn on_connect(&self, request: &ConnectRequest, _: &Ask) -> Connect {
        match self.terms(&request.peer) {
            Ok(terms) => Connect::admit(terms),
            Err(denial) => Connect::deny(denial),
        }
    }

    fn on_refresh(&self, request: &RefreshRequest) -> Refresh {
        match self.terms(&request.peer) {
            Ok(terms) => Refresh::admit(terms),
            Err(denial) => Refresh::deny(denial),
        }
    }
}

impl ByCertificate {
    fn terms(&self, peer: &Peer) -> Result<Admission, Denial> {
        let certificate = peer
            .certificate()
            .ok_or(Reason::NotAuthorized.because("a client certificate is needed"))?;
        if self.revoked.contains(&certificate.fingerprint_sha256) {
            return Err(Reason::Banned.because("the certificate was revoked"));
        }
        let names = self.field.of(certificate);
        let matching = self.groups.iter().find_map(|group| {
            names
                .iter()
                .find_map(|name| Some((group, name, matched(&group.names, name)?)))
        });
        let (group, name, id) =
            matching.ok_or(Reason::NotAuthorized.because("no group for this certificate"))?;
        Ok(Admission::new()
            .principal(*name)
            .attribute("id", id)
            .grants(group.rules.iter().cloned()))
    }
}

impl Field {
    fn of(self, certificate: &Certificate) -> Vec<&str> {
        let names = match self {
            Self::Cn => return certificate.subject_cn.as_deref().into_iter().collect(),
            Self::Dns => &certificate.san_dns,
            Self::Uri => &certificate.san_uri,
            Self::Email => &certificate.san_email,
        };
        names.iter().map(String::as_str).collect()
    }
}

/// What `*` stands for, or the whole name when there is none.
fn matched<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    let Some((before, after)) = pattern.split_once('*') else {
        return (pattern == name).then_some(name);
    };
    let id = name.strip_prefix(before)?.strip_suffix(after)?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sluice_policy::testing::{self, Client, Tested};

    use super::*;

    fn settings() -> Value {
        json!({
            "field": "uri",
            "revoked": ["ab".repeat(32)],
            "groups": [
                { "names": "spiffe://plant/sensor/*", "rules": [{ "allow": "publish", "topic": "plant/%a{id}/#" }] },
                { "names": "spiffe://plant/console", "rules": [{ "allow": "subscribe", "topic": "plant/#" }] },
            ],
        })
    }

    fn gate(settings: Value) -> Tested<ByCertificate> {
        testing::policy(settings).unwrap()
    }

    fn client(uris: &[&str]) -> Client {
        let san_uri = uris.iter().map(|uri| (*uri).to_owned()).collect();
        testing::client("dev-1").certificate(Certificate {
            san_uri,
            ..testing::certificate("unused")
        })
    }

    #[test]
    fn the_group_of_the_certificate_decides_what_is_granted() {
        let gate = gate(settings());
        let sensor = gate.admit(&client(&["https://other", "spiffe://plant/sensor/7"]));
        assert_eq!(
            sensor.terms().principal.as_deref(),
            Some("spiffe://plant/sensor/7")
        );
        assert!(sensor.may_publish("plant/7/t") && !sensor.may_publish("plant/8/t"));
        assert!(!sensor.may_subscribe("plant/7/t"));
        assert!(
            gate.admit(&client(&["spiffe://plant/console"]))
                .may_subscribe("plant/+/t")
        );
    }

    #[test]
    fn without_a_fitting_certificate_there_is_no_entry() {
        let gate = gate(settings());
        for stranger in [
            testing::client("dev-1"),
            testing::client("dev-1").tls(),
            client(&[]),
            client(&["spiffe://plant/sensor/"]),
            client(&["spiffe://plant/sensor/7/8"]),
            client(&["spiffe://plant/console/"]),
            client(&["xspiffe://plant/console"]),
        ] {
            assert!(
                matches!(gate.connect(&stranger), Connect::Deny(_)),
                "{stranger:?}"
            );
        }
    }

    #[test]
    fn a_revoked_certificate_is_refused_and_its_live_session_ends() {
        let client = client(&["spiffe://plant/console"]);
        let session_gate = gate(settings());
        let session = session_gate.admit(&client);
        let mut revoked = settings();
        revoked["revoked"] = json!(["00".repeat(32)]);
        let gate = gate(revoked);
        assert_eq!(
            gate.connect(&client),
            Connect::deny(Reason::Banned.because("the certificate was revoked"))
        );
        assert!(matches!(
            gate.refresh(&session.refresh_request()),
            Refresh::Deny(_)
        ));
    }

    #[test]
    fn settings_that_make_no_sense_are_errors() {
        let mut colons = settings();
        colons["revoked"] = json!(["AB:CD"]);
        let mut stars = settings();
        stars["groups"][0]["names"] = json!("*/*");
        for settings in [colons, stars, json!({})] {
            assert!(
                testing::policy::<ByCertificate>(settings.clone()).is_err(),
                "{settings}"
            );
        }
    }
}
