//! The files of a listener, as operators leave them. (Those about clients: `clients/tests.rs`.)

use super::*;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, date_time_ymd};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use tempfile::TempDir;

/// 2026-07-01, in the middle of the validity of [`Files::new`]'s certificate.
const NOW: u64 = 1_782_864_000;
const DAY: u64 = 24 * 3600;

struct Files {
    dir: TempDir,
    certificate: String,
    key: String,
}

impl Files {
    /// A certificate for the whole of 2026 and its key.
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        let files = Self {
            dir: tempfile::tempdir().expect("a directory"),
            certificate: params.self_signed(&key).expect("a certificate").pem(),
            key: key.serialize_pem(),
        };
        files.write("chain.pem", &files.certificate);
        files.write("key.pem", &files.key);
        files.protect("key.pem", 0o600);
        files
    }

    fn protect(&self, name: &str, mode: u32) {
        let permissions = Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(name), permissions).expect("the mode is set");
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the file is written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> Config {
        let text = "[[listener]]\nname = \"plain\"\naddress = \"127.0.0.1:0\"\n[[listener]]\nname = \"secure\"\n\
                    address = \"127.0.0.1:0\"\ntls = { certificate = \"chain.pem\", key = \"key.pem\" }\n";
        Config::parse(&self.path("sluice.toml"), text).expect("a configuration")
    }

    /// What is found `days` after [`NOW`], without the directory.
    fn found(&self, days: u64) -> Result<Vec<String>, Vec<String>> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + days * DAY);
        let dir = format!("{}/", self.dir.path().display());
        let lines = |found: Vec<Problem>| -> Vec<String> {
            let line = |problem: &Problem| problem.to_string().replace(&dir, "");
            found.iter().map(line).collect()
        };
        match load(&self.config(), now) {
            Ok(acceptors) => Ok(lines(acceptors.warnings)),
            Err(problems) => Err(lines(problems)),
        }
    }

    fn problem(&self) -> String {
        let mut problems = self.found(0).expect_err("a problem");
        assert_eq!(problems.len(), 1, "{problems:#?}");
        problems.remove(0)
    }
}

fn load(config: &Config, now: SystemTime) -> Result<Acceptors, Vec<Problem>> {
    Acceptors::load(config, now, &Acceptors::default()).complete()
}

fn at(days: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + days * DAY)
}

fn assert_begins(text: &str, beginning: &str) {
    assert!(text.starts_with(beginning), "{text}");
}

#[test]
fn a_certificate_with_its_key_is_taken() {
    let files = Files::new();
    assert_eq!(files.found(0), Ok(Vec::new()));
    let acceptors = load(&files.config(), at(0)).expect("no problems");
    assert!(acceptors.get("plain").is_none());
    let secure = acceptors.get("secure").expect("it encrypts");
    let file = files.path("chain.pem").display().to_string();
    let expiries: Vec<_> = secure.certificates_expire().collect();
    assert_eq!(expiries, [(file.as_str(), NOW + 184 * DAY)]);
}

#[test]
fn both_may_be_in_one_file_with_others() {
    let files = Files::new();
    let both = format!(
        "{}\ncomment\n{}\n{}",
        files.key, files.certificate, files.certificate
    );
    files.write("chain.pem", &both);
    files.write("key.pem", &both);
    assert_eq!(files.found(0), Ok(Vec::new()));
}

#[test]
fn files_that_are_missing_are_named_both() {
    let files = Files::new();
    for name in ["chain.pem", "key.pem"] {
        std::fs::remove_file(files.path(name)).expect("the file was there");
    }
    let problems = files.found(0).expect_err("problems");
    assert_eq!(
        problems,
        [
            "sluice.toml:7: listener[1].tls.certificate: chain.pem cannot be read: No such file or directory (os error \
             2): check the path, and whether the broker's user may read it",
            "sluice.toml:7: listener[1].tls.key: key.pem cannot be read: No such file or directory (os error 2): check \
             the path, and whether the broker's user may read it",
        ]
    );
}

#[test]
fn files_without_what_they_should_hold_say_what_is_missing() {
    let files = Files::new();
    files.write("chain.pem", &files.key);
    assert_begins(
        &files.problem(),
        "sluice.toml:7: listener[1].tls.certificate: chain.pem has no certificate in it: it needs a block \
         -----BEGIN CERTIFICATE-----; ",
    );
    let files = Files::new();
    files.write("key.pem", &files.certificate);
    assert_eq!(
        files.problem(),
        "sluice.toml:7: listener[1].tls.key: key.pem has no private key in it: it needs a block -----BEGIN PRIVATE \
         KEY-----"
    );
}

#[test]
fn damaged_files_say_so() {
    let files = Files::new();
    files.write("chain.pem", files.certificate.trim_end().trim_end_matches('-'));
    assert_eq!(
        files.problem(),
        "sluice.toml:7: listener[1].tls.certificate: chain.pem is damaged: a block has no end: was it copied as a \
         whole?"
    );
    let cut: Vec<_> = files.certificate.lines().collect();
    files.write(
        "chain.pem",
        &[&cut[..3], &cut[cut.len() - 1..]].concat().join("\n"),
    );
    assert_begins(
        &files.problem(),
        "sluice.toml:7: listener[1].tls.certificate: the first certificate in chain.pem is damaged: ",
    );
    files.write("chain.pem", &"x".repeat(2 << 20));
    assert_begins(
        &files.problem(),
        "sluice.toml:7: listener[1].tls.certificate: chain.pem is larger than 1 MiB",
    );
}

#[test]
fn an_encrypted_key_says_how_to_decrypt_it() {
    for text in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
         -----END RSA PRIVATE KEY-----\n",
    ] {
        let files = Files::new();
        files.write("key.pem", text);
        let problem = files.problem();
        assert_begins(
            &problem,
            "sluice.toml:7: listener[1].tls.key: key.pem is encrypted: nobody is there to enter its passphrase; `openssl pkey",
        );
    }
}

#[test]
fn a_key_of_another_certificate_is_told_from_an_unusable_one() {
    let files = Files::new();
    files.write("key.pem", &Files::new().key);
    assert_begins(
        &files.problem(),
        "sluice.toml:7: listener[1].tls.key: key.pem does not belong to the certificate in chain.pem: ",
    );
    files.write(
        "key.pem",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    assert_begins(
        &files.problem(),
        "sluice.toml:7: listener[1].tls.key: key.pem cannot be used: ",
    );
}

#[test]
fn a_certificate_is_taken_in_its_time_only_and_its_end_is_announced() {
    let files = Files::new();
    assert_eq!(files.found(184 - 31), Ok(Vec::new()));
    let warning = "sluice.toml:7: listener[1].tls.certificate: the certificate in chain.pem expires in 12 d, on \
                   2027-01-01: renew it and reload";
    assert_eq!(files.found(184 - 12), Ok(vec![warning.to_owned()]));
    let expired = "sluice.toml:7: listener[1].tls.certificate: the certificate in chain.pem expired on 2027-01-01: renew \
                   it, or set serve_expired if no client of yours minds";
    assert_eq!(files.found(185), Err(vec![expired.to_owned()]));
    let early = load(&files.config(), SystemTime::UNIX_EPOCH).expect_err("too early");
    assert!(
        early[0]
            .to_string()
            .ends_with("is not valid before 2026-01-01: is the clock of this machine right?"),
        "{early:?}"
    );
}

#[test]
fn a_reload_of_the_same_files_lets_clients_resume() {
    let files = Files::new();
    let load = |config: &Config| {
        let acceptors = load(config, at(0)).expect("no problems");
        acceptors.get("secure").expect("it encrypts").clone()
    };
    let mut config = files.config();
    let first = load(&config);
    if let Some(tls) = &mut config.listeners[1].tls {
        tls.handshake_timeout = Duration::from_secs(1);
    }
    let same = load(&config).after(Some(&first));
    assert!(Arc::ptr_eq(&same.config, &first.config));
    assert_eq!(same.handshake_timeout, Duration::from_secs(1));
    let renewed = Files::new();
    files.write("chain.pem", &renewed.certificate);
    files.write("key.pem", &renewed.key);
    let renewed = load(&config).after(Some(&same));
    assert!(!Arc::ptr_eq(&renewed.config, &first.config));
    assert!(Arc::ptr_eq(&renewed.under_way, &first.under_way));
}

#[test]
fn what_has_expired_since_it_was_taken_does_not_keep_other_changes_back() {
    let files = Files::new();
    let in_force = load(&files.config(), at(0)).expect("no problems");
    let later = Acceptors::load(&files.config(), at(185), &in_force);
    assert_eq!(later.problems, []);
    let warnings = &later.acceptors.warnings;
    assert!(
        warnings[0].what.ends_with("expired on 2027-01-01"),
        "{warnings:?}"
    );
    assert_eq!(later.acceptors.changed_from(&in_force), Vec::<&str>::new());
    let other = Files::new();
    files.write("chain.pem", &other.certificate);
    files.write("key.pem", &other.key);
    let other = Acceptors::load(&files.config(), at(185), &in_force);
    assert_eq!(other.problems.len(), 1, "another that has expired is not taken");
    let renewed = Acceptors::load(&files.config(), at(0), &in_force);
    assert_eq!(renewed.acceptors.changed_from(&in_force), ["secure"]);
}

#[test]
fn an_expired_certificate_can_be_served_by_those_who_say_so() {
    let files = Files::new();
    let mut config = files.config();
    if let Some(tls) = &mut config.listeners[1].tls {
        tls.serve_expired = true;
    }
    let acceptors = load(&config, at(185)).expect("no problems");
    assert!(acceptors.warnings[0].what.ends_with("expired on 2027-01-01"));
}

#[test]
fn a_key_that_everybody_may_read_or_write_is_a_warning() {
    let files = Files::new();
    for (mode, is_exposed) in [(0o400, false), (0o640, false), (0o644, true), (0o602, true)] {
        files.protect("key.pem", mode);
        let found = files.found(0).expect("no problems");
        assert_eq!(!found.is_empty(), is_exposed, "{mode:o}: {found:?}");
        if let Some(warning) = found.first() {
            assert_begins(
                warning,
                "sluice.toml:7: listener[1].tls.key: key.pem is open to every user of this machine: make it the \
                 broker's: `chmod 600 key.pem`",
            );
        }
    }
}

#[test]
fn an_authority_in_the_chain_that_ends_is_a_warning_and_no_more() {
    let files = Files::new();
    let mut params = CertificateParams::new(vec!["authority".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2020, 1, 1);
    let key = KeyPair::generate().expect("a key");
    for (end, expected) in [
        (
            date_time_ymd(2026, 6, 1),
            "certificate 2 in chain.pem expired on 2026-06-01",
        ),
        (
            date_time_ymd(2026, 7, 11),
            "certificate 2 in chain.pem expires in 10 d, on 2026-07-11",
        ),
    ] {
        params.not_after = end;
        let authority = params.self_signed(&key).expect("a certificate").pem();
        files.write("chain.pem", &(files.certificate.clone() + &authority));
        let found = files.found(0).expect("no problems");
        let [warning] = &found[..] else {
            panic!("{found:?}")
        };
        assert_begins(
            warning,
            &format!("sluice.toml:7: listener[1].tls.certificate: {expected}: "),
        );
    }
}

/// A certificate for these names with a key of this kind.
fn material(names: &[&str], kind: &'static rcgen::SignatureAlgorithm) -> Material {
    let files = Files::new();
    let key = KeyPair::generate_for(kind).expect("a key");
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).expect("names").self_signed(&key);
    files.write("chain.pem", &certificate.expect("a certificate").pem());
    files.write("key.pem", &key.serialize_pem());
    let config = files.config();
    let tls = config.listeners[1].tls.as_ref().expect("it encrypts");
    Material::read(&tls.certificates[0], "", &ring::default_provider(), at(0), |_| {
        false
    })
    .expect("no problems")
}

#[test]
fn certificates_are_chosen_by_the_name_that_is_asked_for() {
    let ecdsa = &rcgen::PKCS_ECDSA_P256_SHA256;
    let certificates = [
        material(&["a.example"], ecdsa),
        material(&["b.example", "*.B.example"], ecdsa),
        material(&["x.b.example"], ecdsa),
        material(&["a.example", "b.example"], &PKCS_ED25519),
    ];
    let (by_name, warnings) = ByName::new(&certificates);
    assert_eq!(warnings, []);
    let tried = |name: Option<&str>| -> Vec<usize> {
        let index = |certified: &Arc<rustls::sign::CertifiedKey>| {
            let same = |material: &Material| Arc::ptr_eq(&material.certified, certified);
            certificates.iter().position(same).expect("one of these")
        };
        by_name.candidates(name).map(index).collect()
    };
    assert_eq!(tried(None), [0, 3], "the first, and those of the same host");
    assert_eq!(tried(Some("unknown.example")), [0, 3]);
    assert_eq!(tried(Some("A.Example")), [0, 3, 0, 3]);
    assert_eq!(tried(Some("b.example")), [1, 3, 0, 3]);
    assert_eq!(tried(Some("y.b.example")), [1, 0, 3], "one label");
    assert_eq!(tried(Some("z.y.b.example")), [0, 3], "not two");
    assert_eq!(
        tried(Some("x.b.example")),
        [2, 1, 0, 3],
        "the whole name goes first"
    );
}

#[test]
fn a_certificate_that_nobody_will_ever_get_is_a_warning() {
    let ecdsa = &rcgen::PKCS_ECDSA_P256_SHA256;
    let certificates = [
        material(&["a.example", "b.example"], ecdsa),
        material(&["b.example"], ecdsa),
        material(&["b.example"], &PKCS_ED25519),
    ];
    let (_, warnings) = ByName::new(&certificates);
    let keys: Vec<_> = warnings.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(keys, ["sni[0].certificate"]);
}
