//! A client's certificate as policies see it.

use super::distinguished_name::{common_name, rfc4514};
use super::finding::unix_seconds;
use crate::policy::verdict::Certificate;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Everything of a certificate that has been verified.
///
/// # Errors
/// What cannot be read of it: whoever has such a certificate is better refused than half understood.
pub(super) fn read(der: &CertificateDer<'_>) -> Result<Certificate, String> {
    let (rest, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    if !rest.is_empty() {
        return Err("something follows it".to_owned());
    }
    let mut certificate = Certificate {
        subject_cn: common_name(parsed.subject()),
        issuer: rfc4514(parsed.issuer()),
        serial: serial(&parsed),
        fingerprint_sha256: hex(&Sha256::digest(der)),
        not_before_unix_seconds: unix_seconds(parsed.validity().not_before),
        not_after_unix_seconds: unix_seconds(parsed.validity().not_after),
        ..Certificate::default()
    };
    let names = parsed.subject_alternative_name();
    let names = names.map_err(|error| format!("its subjectAltName: {error}"))?;
    for name in names.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => certificate.san_dns.push((*name).to_owned()),
            GeneralName::URI(uri) => certificate.san_uri.push((*uri).to_owned()),
            GeneralName::RFC822Name(address) => certificate.san_email.push((*address).to_owned()),
            GeneralName::IPAddress(bytes) => certificate.san_ip.push(ip_text(bytes)?),
            GeneralName::Invalid(tag, _) => {
                return Err(format!(
                    "its subjectAltName has an entry of kind {} that is no text",
                    tag.0
                ));
            }
            // Nothing that a policy is told of.
            _ => {}
        }
    }
    Ok(certificate)
}

/// What tells a certificate from others, for the log; it need not be valid.
pub(super) fn describe(der: &CertificateDer<'_>) -> String {
    match X509Certificate::from_der(der) {
        Ok((_, parsed)) => {
            let (subject, issuer) = (rfc4514(parsed.subject()), rfc4514(parsed.issuer()));
            let serial = serial(&parsed);
            // A long name must not hide the others: the log cuts what is too long.
            let (subject, issuer) = (beginning(&subject), beginning(&issuer));
            format!("subject \"{subject}\", serial {serial}, issuer \"{issuer}\"")
        }
        Err(_) => "it cannot be read".to_owned(),
    }
}

/// Whether its issuer is itself, by name.
pub(super) fn is_self_issued(der: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(der)
        .is_ok_and(|(_, parsed)| parsed.subject().as_raw() == parsed.issuer().as_raw())
}

fn beginning(name: &str) -> &str {
    const NAME_BYTES_MAX: usize = 64;
    name.get(..name.floor_char_boundary(NAME_BYTES_MAX))
        .unwrap_or_default()
}

/// Of the number without its sign, as `openssl x509 -serial` shows it, in lower case.
fn serial(parsed: &X509Certificate<'_>) -> String {
    match parsed.raw_serial() {
        [0, rest @ ..] if !rest.is_empty() => hex(rest),
        whole => hex(whole),
    }
}

fn ip_text(bytes: &[u8]) -> Result<String, String> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        Ok(Ipv4Addr::from(octets).to_string())
    } else if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        Ok(Ipv6Addr::from(octets).to_string())
    } else {
        Err(format!(
            "its subjectAltName has an address of {} bytes",
            bytes.len()
        ))
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        CertificateParams, CustomExtension, DistinguishedName, DnType, Issuer, KeyPair, SanType,
        SerialNumber, date_time_ymd,
    };

    fn named(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    fn issued(mut params: CertificateParams) -> CertificateDer<'static> {
        let authority = Issuer::new(named("Fleet, CA"), KeyPair::generate().expect("a key"));
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &authority).expect("a certificate");
        certificate.der().clone()
    }

    #[test]
    fn policies_are_told_everything() {
        let mut params = named("pump-1");
        params.serial_number = Some(SerialNumber::from_slice(&[0x8F, 0, 1]));
        let ia5 = |text: &str| text.try_into().expect("ASCII");
        params.subject_alt_names = vec![
            SanType::DnsName(ia5("pump-1.example")),
            SanType::URI(ia5("spiffe://plant/pump/1")),
            SanType::Rfc822Name(ia5("pump@example")),
            SanType::IpAddress("192.0.2.7".parse().expect("an address")),
            SanType::IpAddress("2001:db8::1".parse().expect("an address")),
            SanType::DnsName(ia5("second.example")),
        ];
        let der = issued(params);
        let expected = Certificate {
            subject_cn: Some("pump-1".into()),
            san_dns: vec!["pump-1.example".into(), "second.example".into()],
            san_uri: vec!["spiffe://plant/pump/1".into()],
            san_email: vec!["pump@example".into()],
            san_ip: vec!["192.0.2.7".into(), "2001:db8::1".into()],
            issuer: "CN=Fleet\\, CA".into(),
            serial: "8f0001".into(),
            fingerprint_sha256: hex(&Sha256::digest(&der)),
            not_before_unix_seconds: 1_767_225_600,
            not_after_unix_seconds: 1_798_761_600,
        };
        assert_eq!(read(&der), Ok(expected));
        assert_eq!(
            describe(&der),
            "subject \"CN=pump-1\", serial 8f0001, issuer \"CN=Fleet\\, CA\""
        );
        assert!(!is_self_issued(&der));
    }

    #[test]
    fn two_common_names_are_none() {
        let mut params = named("pump-1");
        let second = DnType::CustomDnType(vec![2, 5, 4, 3]);
        params.distinguished_name.push(second, "admin");
        let certificate = read(&issued(params)).expect("it can be read");
        assert_eq!(certificate.subject_cn, None);
    }

    #[test]
    fn what_is_only_half_understood_is_an_error() {
        let with_names = |der: &[u8]| {
            let mut params = named("pump-1");
            let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], der.to_vec());
            params.custom_extensions.push(extension);
            read(&issued(params)).expect_err("an error")
        };
        let address = with_names(&[0x30, 5, 0x87, 3, 1, 2, 3]);
        assert_eq!(address, "its subjectAltName has an address of 3 bytes");
        let bytes = with_names(&[0x30, 3, 0x82, 1, 0xFF]);
        assert!(bytes.ends_with("an entry of kind 2 that is no text"), "{bytes}");
        let rubbish = with_names(&[0x30, 9, 0x82]);
        assert!(rubbish.starts_with("its subjectAltName: "), "{rubbish}");
        assert!(read(&CertificateDer::from(vec![0x30, 0])).is_err());
    }

    #[test]
    fn a_long_name_does_not_hide_the_rest() {
        let text = describe(&issued(named(&"ü".repeat(500))));
        assert!(
            text.len() < 256 && text.ends_with("issuer \"CN=Fleet\\, CA\""),
            "{text}"
        );
        assert_eq!(describe(&CertificateDer::from(vec![1])), "it cannot be read");
    }
}
