//! How a listener encrypts: which files, which versions. `net::tls` reads and checks what is in the files.

use super::table::{Parsed, Table, Wrong};
use super::value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeValue;

/// The encryption of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the listener's certificate, then those of the authorities between it and the root.
    pub certificate: PathBuf,
    /// PEM file with the private key of the first certificate, not encrypted.
    pub key: PathBuf,
    /// Versions it speaks, in ascending order, never empty.
    pub versions: Vec<TlsVersion>,
    /// From the accept to the end of the handshake.
    pub handshake_timeout: Duration,
}

/// A version of TLS that is still considered safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

impl Tls {
    /// From the accept to the end of the handshake, unless it is configured.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
}

/// `None`: a problem was noted.
pub(super) fn read(mut table: Table<'_, '_>, base: &Path) -> Option<Tls> {
    let certificate = table.required("certificate", value::path(base));
    let key = table.required("key", value::path(base));
    let mut accepted = vec![TlsVersion::V12, TlsVersion::V13];
    table.read("versions", &mut accepted, versions);
    let mut handshake_timeout = Tls::HANDSHAKE_TIMEOUT;
    table.read(
        "handshake_timeout",
        &mut handshake_timeout,
        value::duration(HANDSHAKE_TIMEOUT_MIN..=HANDSHAKE_TIMEOUT_MAX),
    );
    table.finish();
    Some(Tls {
        certificate: certificate?,
        key: key?,
        versions: accepted,
        handshake_timeout,
    })
}

fn versions(list: &DeValue<'_>) -> Parsed<Vec<TlsVersion>> {
    let remedy = "use a list of \"1.2\" and \"1.3\"";
    let mut accepted = BTreeSet::new();
    for text in value::texts(list)? {
        accepted.insert(match text.as_str() {
            "1.2" => TlsVersion::V12,
            "1.3" => TlsVersion::V13,
            "1.0" | "1.1" => return Err(Wrong::new(format!("TLS {text} is not safe"), remedy)),
            _ => return Err(Wrong::new(format!("\"{text}\" is not a version of TLS"), remedy)),
        });
    }
    if accepted.is_empty() {
        return Err(Wrong::new("no client could connect", remedy));
    }
    Ok(accepted.into_iter().collect())
}

const HANDSHAKE_TIMEOUT_MIN: Duration = Duration::from_millis(100);
const HANDSHAKE_TIMEOUT_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const LISTENER: &str = "[[listener]]\nname = \"secure\"\naddress = \"127.0.0.1:8883\"\n";

    fn parse(tls: &str) -> Result<Option<Tls>, Vec<String>> {
        let text = format!("{LISTENER}{tls}\n");
        match Config::parse(Path::new("/etc/sluice.toml"), &text) {
            Ok(mut config) => Ok(config.listeners.remove(0).tls),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn files_are_sought_beside_the_configuration_and_the_rest_has_defaults() {
        let expected = Tls {
            certificate: "/etc/chain.pem".into(),
            key: "/run/key.pem".into(),
            versions: vec![TlsVersion::V12, TlsVersion::V13],
            handshake_timeout: Duration::from_secs(10),
        };
        let inline = parse("tls = { certificate = \"chain.pem\", key = \"/run/key.pem\" }");
        assert_eq!(inline, Ok(Some(expected.clone())));
        let table = parse("[listener.tls]\nkey = \"/run/key.pem\"\ncertificate = \"chain.pem\"");
        assert_eq!(table, Ok(Some(expected)));
        assert_eq!(parse(""), Ok(None));
    }

    #[test]
    fn versions_and_the_timeout_can_be_chosen() {
        let tls = parse(
            "[listener.tls]\ncertificate = \"c\"\nkey = \"k\"\nversions = [\"1.3\"]\nhandshake_timeout = \"3 s\"",
        );
        let tls = tls.expect("no problems").expect("encryption");
        assert_eq!(tls.versions, [TlsVersion::V13]);
        assert_eq!(tls.handshake_timeout, Duration::from_secs(3));
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_remedy() {
        let of = |line: &str| {
            parse(&format!("[listener.tls]\ncertificate = \"c\"\n{line}")).expect_err("a problem")
        };
        for (line, expected) in [
            (
                "",
                "/etc/sluice.toml:4: listener[0].tls.key: is missing: it must be set here",
            ),
            (
                "key = \"k\"\nversions = [\"1.1\"]",
                "/etc/sluice.toml:7: listener[0].tls.versions: TLS 1.1 is not safe: use a list of \"1.2\" and \"1.3\"",
            ),
            (
                "key = \"k\"\nversions = []",
                "/etc/sluice.toml:7: listener[0].tls.versions: no client could connect: use a list of \"1.2\" and \
                 \"1.3\"",
            ),
            (
                "key = \"k\"\nhandshake_timeout = \"1 h\"",
                "/etc/sluice.toml:7: listener[0].tls.handshake_timeout: \"1 h\" is out of range: use \"100 ms\" to \
                 \"10 min\"",
            ),
            (
                "key = \"k\"\nca = \"x\"",
                "/etc/sluice.toml:7: listener[0].tls.ca: unknown key: known keys here: certificate, key, versions, \
                 handshake_timeout",
            ),
        ] {
            assert_eq!(of(line), [expected], "{line}");
        }
    }
}
