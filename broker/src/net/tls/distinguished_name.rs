//! Names of subjects and issuers as text.

use std::fmt::Write as _;
use x509_parser::asn1_rs::{Any, Class, Tag, ToDer as _};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The string representation of RFC 4514: the most particular part first. Attributes outside the table of its section 3
/// have their object identifier as name and the DER of their value.
pub(super) fn rfc4514(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (index, part) in parts.into_iter().rev().enumerate() {
        if index > 0 {
            text.push(',');
        }
        for (index, attribute) in part.iter().enumerate() {
            if index > 0 {
                text.push('+');
            }
            write_attribute(&mut text, attribute);
        }
    }
    text
}

/// The common name, if there is one and no other beside it.
pub(super) fn common_name(name: &X509Name<'_>) -> Option<String> {
    let mut found: Option<String> = None;
    for attribute in name.iter_common_name() {
        let text = text_of(attribute.attr_value())?;
        if found.as_ref().is_some_and(|found| *found != text) {
            return None;
        }
        found = Some(text);
    }
    found
}

fn write_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let oid = attribute.attr_type().to_id_string();
    let short = SHORT_NAMES.iter().find(|(known, _)| *known == oid);
    let value = attribute.attr_value();
    match (short, text_of(value)) {
        (Some((_, short)), Some(value)) => {
            text.push_str(short);
            text.push('=');
            write_escaped(text, &value);
        }
        _ => {
            text.push_str(short.map_or(&*oid, |(_, short)| short));
            text.push_str("=#");
            for byte in value.to_der_vec().unwrap_or_default() {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
            }
        }
    }
}

/// RFC 4514 section 2.4, and characters that cannot be seen, which it leaves to the writer.
fn write_escaped(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        let is_special = matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
            || (index == 0 && matches!(character, ' ' | '#'))
            || (index == last && character == ' ');
        if character.is_control() {
            let mut utf8 = [0; 4];
            for byte in character.encode_utf8(&mut utf8).bytes() {
                let _ = write!(text, "\\{byte:02x}");
            }
        } else if is_special {
            text.push('\\');
            text.push(character);
        } else {
            text.push(character);
        }
    }
}

/// The characters of a string type of ASN.1; `None`: it is none, or what is in it is not what the type says.
fn text_of(value: &Any<'_>) -> Option<String> {
    if value.class() != Class::Universal {
        return None;
    }
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String => std::str::from_utf8(bytes).ok().map(str::to_owned),
        // What T.61 means beyond ASCII depends on whom one asks.
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString | Tag::T61String => {
            let text = std::str::from_utf8(bytes).ok()?;
            text.is_ascii().then(|| text.to_owned())
        }
        Tag::BmpString => {
            let (units, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = units.iter().copied().map(u16::from_be_bytes).collect();
            rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
        }
        Tag::UniversalString => {
            let (units, rest) = bytes.as_chunks::<4>();
            let characters = units
                .iter()
                .copied()
                .map(|unit| char::from_u32(u32::from_be_bytes(unit)));
            rest.is_empty()
                .then(|| characters.collect::<Option<String>>())
                .flatten()
        }
        _ => None,
    }
}

/// RFC 4514 section 3.
const SHORT_NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::string::BmpString;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};
    use x509_parser::prelude::{FromDer, X509Certificate};

    /// The subject of a certificate with these attributes: its text and its common name.
    fn names(attributes: &[(DnType, DnValue)]) -> (String, Option<String>) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        let certificate = params.self_signed(&key).expect("a certificate");
        let (_, parsed) = X509Certificate::from_der(certificate.der()).expect("it can be read");
        (rfc4514(parsed.subject()), common_name(parsed.subject()))
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn the_most_particular_part_comes_first() {
        let domain = DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]);
        let (text, common) = names(&[
            (DnType::CountryName, utf8("DE")),
            (DnType::OrganizationName, utf8("Werk 7")),
            (domain, utf8("example")),
            (DnType::CommonName, utf8("pump-1")),
        ]);
        assert_eq!(text, "CN=pump-1,DC=example,O=Werk 7,C=DE");
        assert_eq!(common.as_deref(), Some("pump-1"));
    }

    #[test]
    fn what_could_be_taken_for_another_part_is_escaped() {
        for (value, expected) in [
            ("James \"Jim\" Smith, III", "CN=James \\\"Jim\\\" Smith\\, III"),
            ("a,CN=admin", "CN=a\\,CN=admin"),
            ("#1+2;<3>\\", "CN=\\#1\\+2\\;\\<3\\>\\\\"),
            (" a b ", "CN=\\ a b\\ "),
            ("two\nlines\0", "CN=two\\0alines\\00"),
            ("Lučić", "CN=Lučić"),
        ] {
            assert_eq!(names(&[(DnType::CommonName, utf8(value))]).0, expected);
        }
    }

    #[test]
    fn an_attribute_that_is_not_in_the_table_is_written_as_der() {
        let email = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        let (text, common) = names(&[(email, utf8("a@b"))]);
        assert_eq!(text, "1.2.840.113549.1.9.1=#0c03614062");
        assert_eq!(common, None);
    }

    #[test]
    fn every_kind_of_string_is_read() {
        let value = DnValue::BmpString(BmpString::try_from("Zür").expect("characters"));
        let (text, common) = names(&[(DnType::CommonName, value)]);
        assert_eq!((text.as_str(), common.as_deref()), ("CN=Zür", Some("Zür")));
        let any = |tag, bytes| Any::from_tag_and_data(tag, bytes);
        for (tag, bytes, expected) in [
            (Tag::T61String, &b"plain"[..], Some("plain")),
            (Tag::T61String, &b"Z\xFCr"[..], None),
            (Tag::Utf8String, &b"\xFF"[..], None),
            (Tag::UniversalString, &b"\0\0\0Z"[..], Some("Z")),
            (Tag::UniversalString, &b"\0\0\0"[..], None),
            (Tag::BmpString, &b"\xD8\0"[..], None),
            (Tag::OctetString, &b"x"[..], None),
        ] {
            assert_eq!(text_of(&any(tag, bytes)).as_deref(), expected, "{tag} {bytes:?}");
        }
    }
}
