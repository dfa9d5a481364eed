//! `[listener.tls]` as operators write it.

use super::*;
use crate::config::Config;

const LISTENER: &str = "[[listener]]\nname = \"secure\"\naddress = \"127.0.0.1:8883\"\n";
const REQUIRED: &str = "client_certificates = \"required\"\nclient_ca = \"ca.pem\"\n";

fn parse(tls: &str) -> Result<Option<Tls>, Vec<String>> {
    let text = format!("{LISTENER}{tls}\n");
    match Config::parse(Path::new("/etc/sluice.toml"), &text) {
        Ok(mut config) => Ok(config.listeners.remove(0).tls),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

/// With the keys that must be there, and these.
fn with(keys: &str) -> Result<Tls, Vec<String>> {
    let tls = parse(&format!(
        "[listener.tls]\ncertificate = \"c\"\nkey = \"k\"\n{keys}"
    ))?;
    Ok(tls.expect("encryption"))
}

#[test]
fn files_are_sought_beside_the_configuration_and_the_rest_has_defaults() {
    let expected = Tls {
        certificates: vec![CertificateFiles {
            certificate: "/etc/chain.pem".into(),
            key: "/run/key.pem".into(),
        }],
        versions: vec![TlsVersion::V12, TlsVersion::V13],
        handshake_timeout: Duration::from_secs(10),
        handshakes_max: 1_024,
        stored_sessions_max: 4_096,
        serve_expired: false,
        clients: None,
        identity: None,
    };
    let inline = parse("tls = { certificate = \"chain.pem\", key = \"/run/key.pem\" }");
    assert_eq!(inline, Ok(Some(expected.clone())));
    let table = parse("[listener.tls]\nkey = \"/run/key.pem\"\ncertificate = \"chain.pem\"");
    assert_eq!(table, Ok(Some(expected)));
    assert_eq!(parse(""), Ok(None));
}

#[test]
fn versions_and_limits_can_be_chosen() {
    let tls = with(
        "versions = [\"1.3\"]\nhandshake_timeout = \"3 s\"\nhandshakes_max = 7\nstored_sessions_max = 0\nserve_expired = true",
    );
    let tls = tls.expect("no problems");
    assert_eq!(tls.versions, [TlsVersion::V13]);
    assert_eq!(tls.handshake_timeout, Duration::from_secs(3));
    assert_eq!((tls.handshakes_max, tls.stored_sessions_max), (7, 0));
    assert!(tls.serve_expired);
}

#[test]
fn certificates_for_other_names_follow_the_one_for_all() {
    let tls = with("sni = [{ certificate = \"c1\", key = \"k1\" }, { certificate = \"c2\", key = \"k2\" }]");
    let tls = tls.expect("no problems");
    let names: Vec<_> = tls.files().map(|file| file.display().to_string()).collect();
    assert_eq!(
        names,
        ["/etc/c", "/etc/k", "/etc/c1", "/etc/k1", "/etc/c2", "/etc/k2"]
    );
}

#[test]
fn certificates_of_clients_are_asked_for_and_name_them() {
    let tls = with(&format!(
        "{REQUIRED}crls = [\"a.crl\", \"/b.crl\"]\ncrl_check = \"leaf\"\nidentity = \"san-uri\"\nclient_id = \"identity\""
    ));
    let tls = tls.expect("no problems");
    let expected = ClientCertificates {
        is_required: true,
        authorities: "/etc/ca.pem".into(),
        crls: vec!["/etc/a.crl".into(), "/b.crl".into()],
        crl_check: CrlCheck::Leaf,
    };
    assert_eq!(tls.clients, Some(expected));
    let rule = IdentityRule {
        field: IdentityField::SanUri,
        is_client_id: true,
    };
    assert_eq!(tls.identity, Some(rule));
    assert_eq!(tls.files().count(), 5);

    let tls = with("client_certificates = \"optional\"\nclient_ca = \"ca.pem\"").expect("no problems");
    let clients = tls.clients.expect("they are asked");
    assert!(!clients.is_required);
    assert_eq!((clients.crls.len(), clients.crl_check), (0, CrlCheck::Chain));
    let tls = with("client_certificates = \"none\"").expect("no problems");
    assert_eq!((tls.clients, tls.identity), (None, None));
}

#[test]
fn what_is_wrong_is_said_with_line_and_remedy() {
    let of =
        |line: &str| parse(&format!("[listener.tls]\ncertificate = \"c\"\n{line}")).expect_err("a problem");
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
            "/etc/sluice.toml:7: listener[0].tls.versions: no client could connect: use a list of \"1.2\" and \"1.3\"",
        ),
        (
            "key = \"k\"\nhandshake_timeout = \"1 h\"",
            "/etc/sluice.toml:7: listener[0].tls.handshake_timeout: \"1 h\" is out of range: use \"100 ms\" to \
             \"10 min\"",
        ),
        (
            "key = \"k\"\nhandshakes_max = 0",
            "/etc/sluice.toml:7: listener[0].tls.handshakes_max: 0 is out of range: use 1 to 1000000",
        ),
        (
            "key = \"k\"\nca = \"x\"",
            "/etc/sluice.toml:7: listener[0].tls.ca: unknown key: known keys here: certificate, key, sni, versions, \
             handshake_timeout, handshakes_max, stored_sessions_max, serve_expired, client_certificates, client_ca, \
             crls, crl_check, identity, client_id",
        ),
        (
            "key = \"k\"\nsni = [{ certificate = \"d\" }]",
            "/etc/sluice.toml:7: listener[0].tls.sni[0].key: is missing: it must be set here",
        ),
        (
            "key = \"k\"\nclient_ca = \"x\"",
            "/etc/sluice.toml:4: listener[0].tls.client_ca: clients are not asked for a certificate: set \
             client_certificates to \"optional\" or \"required\", or remove this",
        ),
        (
            "key = \"k\"\nclient_certificates = \"required\"",
            "/etc/sluice.toml:4: listener[0].tls.client_ca: is missing: name a PEM file with the certificates of the \
             authorities that clients have theirs from",
        ),
        (
            "key = \"k\"\nclient_certificates = \"optional\"\nclient_ca = \"x\"\nidentity = \"cn\"",
            "/etc/sluice.toml:4: listener[0].tls.identity: not every client has a certificate: set \
             client_certificates = \"required\"",
        ),
        (
            "key = \"k\"\nclient_id = \"identity\"",
            "/etc/sluice.toml:4: listener[0].tls.client_id: there is no identity: say with `identity` where it is in \
             the certificate",
        ),
    ] {
        assert_eq!(of(line), [expected], "{line}");
    }
}

#[test]
fn the_sample_mentions_every_key() {
    let sample = include_str!("../../../../sluice.toml").lines();
    let block = sample
        .skip_while(|line| *line != "# [listener.tls]")
        .take_while(|line| line.starts_with('#'));
    let block: Vec<_> = block.filter_map(|line| line.strip_prefix("# ")).collect();
    let is_setting = |line: &&&str| {
        let key = line.split_once(" = ").map_or("", |(key, _)| key);
        line.starts_with('[') || (!key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    let settings: Vec<&str> = block.iter().filter(is_setting).copied().collect();
    let tls = parse(&settings.join("\n"))
        .expect("no problems")
        .expect("encryption");
    let defaults = with("").expect("no problems");
    assert_eq!(tls.versions, defaults.versions);
    assert_eq!(tls.handshake_timeout, defaults.handshake_timeout);
    assert_eq!(tls.handshakes_max, defaults.handshakes_max);
    assert_eq!(tls.stored_sessions_max, defaults.stored_sessions_max);
    assert_eq!(tls.serve_expired, defaults.serve_expired);
    let unknown = with("colour = 1").expect_err("a problem").remove(0);
    let (_, known) = unknown.split_once("known keys here: ").expect("they are listed");
    for key in known.split(", ") {
        let is_mentioned = settings.iter().any(|line| line.starts_with(&format!("{key} = ")));
        assert!(is_mentioned, "sluice.toml does not mention {key}");
    }
}
