//! Who a client is by its certificate, where the listener says that this is what counts.

use super::terms;
use crate::config::{IdentityField, IdentityRule};
use crate::policy::verdict::{Certificate, Peer, Refusal};
use sluice_mqtt::packet::Connect;
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::text::Text;

/// Puts the name that the certificate gives into the place of the user name, for policies and bans; what the client
/// says itself counts for nothing. Under a rule that says so, the client identifier must be that name as well: a client
/// that leaves the choice to the broker is given it.
///
/// # Errors
/// Without exactly one name, or with another client identifier, the client is refused.
pub(super) fn assume(
    rule: Option<IdentityRule>,
    peer: &Peer,
    connect: &mut Connect,
    assigned: &mut Option<String>,
) -> Result<(), Refusal> {
    let Some(rule) = rule else { return Ok(()) };
    let refuse = |text: &str| terms::refusal(ReasonCode::NOT_AUTHORIZED, text);
    let certificate = peer.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
    let certificate = certificate.ok_or_else(|| refuse("a client certificate is needed here"))?;
    let name = name(rule.field, certificate).map_err(|text| refuse(&text))?;
    if rule.is_client_id {
        if connect.client_id.is_empty() {
            *assigned = Some(name.to_string());
        } else if *connect.client_id != *name {
            let text = "the client identifier must be the name in the certificate";
            return Err(terms::refusal(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, text));
        }
    }
    connect.username = Some(name);
    Ok(())
}

/// The only name in a field.
fn name(field: IdentityField, certificate: &Certificate) -> Result<Text, String> {
    let names = match field {
        IdentityField::CommonName => certificate.subject_cn.as_slice(),
        IdentityField::SanDns => &certificate.san_dns,
        IdentityField::SanUri => &certificate.san_uri,
        IdentityField::SanEmail => &certificate.san_email,
        IdentityField::Fingerprint => std::slice::from_ref(&certificate.fingerprint_sha256),
    };
    let field = field.name();
    let Some((name, others)) = names.split_first() else {
        return Err(format!(
            "the certificate has no name to go by ({field}), or several"
        ));
    };
    if others.iter().any(|other| other != name) {
        return Err(format!("the certificate has several names to go by ({field})"));
    }
    // What cannot be seen in a log is no name for it.
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(format!(
            "the name in the certificate ({field}) is empty or cannot be shown"
        ));
    }
    Text::try_from(name.as_str())
        .map_err(|_| format!("the name in the certificate ({field}) is no text for MQTT"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::verdict::TlsPeer;
    use sluice_mqtt::packet::Version;

    const RULE: IdentityRule = IdentityRule {
        field: IdentityField::CommonName,
        is_client_id: false,
    };

    fn certificate() -> Certificate {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Certificate {
            subject_cn: Some("pump-1".to_owned()),
            san_dns: texts(&["pump-1.example", "pump-1.example"]),
            san_uri: texts(&["spiffe://plant/1", "spiffe://plant/2"]),
            san_email: texts(&["a\nb"]),
            fingerprint_sha256: "ab".repeat(32),
            ..Certificate::default()
        }
    }

    fn peer(certificate: Option<Certificate>) -> Peer {
        let tls = TlsPeer {
            certificate,
            ..TlsPeer::default()
        };
        Peer {
            tls: Some(Box::new(tls)),
            ..Peer::default()
        }
    }

    fn connect(client_id: &str) -> Connect {
        let text = |text| Text::try_from(text).expect("a text");
        Connect {
            username: Some(text("admin")),
            ..Connect::new(Version::V5, true, text(client_id))
        }
    }

    fn reason(refusal: Result<(), Refusal>) -> u8 {
        refusal.expect_err("a refusal").reason
    }

    #[test]
    fn the_certificate_goes_before_what_the_client_says() {
        let mut told = connect("any");
        let mut assigned = None;
        assume(Some(RULE), &peer(Some(certificate())), &mut told, &mut assigned).expect("a name");
        assert_eq!(told.username.as_deref(), Some("pump-1"));
        assert_eq!((&*told.client_id, assigned), ("any", None));
        let mut told = connect("any");
        assume(None, &peer(Some(certificate())), &mut told, &mut None).expect("no rule");
        assert_eq!(told.username.as_deref(), Some("admin"));
    }

    #[test]
    fn a_field_names_somebody_if_all_in_it_is_one_name() {
        let of = |field| name(field, &certificate()).map(|name| name.to_string());
        assert_eq!(of(IdentityField::SanDns), Ok("pump-1.example".to_owned()));
        assert_eq!(of(IdentityField::Fingerprint), Ok("ab".repeat(32)));
        let several = "the certificate has several names to go by (san-uri)";
        assert_eq!(of(IdentityField::SanUri), Err(several.to_owned()));
        let hidden = "the name in the certificate (san-email) is empty or cannot be shown";
        assert_eq!(of(IdentityField::SanEmail), Err(hidden.to_owned()));
        let nobody = name(IdentityField::CommonName, &Certificate::default());
        let none = "the certificate has no name to go by (cn), or several";
        assert_eq!(nobody.expect_err("no name"), none);
    }

    #[test]
    fn without_a_name_there_is_no_entry() {
        let refused = |peer: &Peer| reason(assume(Some(RULE), peer, &mut connect("any"), &mut None));
        assert_eq!(refused(&peer(None)), 0x87);
        assert_eq!(refused(&Peer::default()), 0x87);
        assert_eq!(refused(&peer(Some(Certificate::default()))), 0x87);
    }

    #[test]
    fn the_client_identifier_can_be_bound_to_the_name() {
        let rule = IdentityRule {
            is_client_id: true,
            ..RULE
        };
        let assume = |client_id: &str| {
            let mut assigned = Some("made up".to_owned()).filter(|_| client_id.is_empty());
            let done = assume(
                Some(rule),
                &peer(Some(certificate())),
                &mut connect(client_id),
                &mut assigned,
            );
            done.map(|()| assigned)
        };
        assert_eq!(assume("pump-1"), Ok(None));
        assert_eq!(assume(""), Ok(Some("pump-1".to_owned())));
        assert_eq!(reason(assume("pump-2").map(|_| ())), 0x85);
    }
}
