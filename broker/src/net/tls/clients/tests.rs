//! Bundles of authorities and revocation lists, as operators leave them.

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring;

/// 2026-07-01.
const NOW: u64 = 1_782_864_000;
const DAY: u64 = 24 * 3600;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Valid for the whole of 2026.
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// An empty list for July 2026, with this number.
    fn list(&self, number: u8) -> rcgen::CertificateRevocationList {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 6, 30),
            next_update: date_time_ymd(2026, 7, 31),
            crl_number: SerialNumber::from_slice(&[number]),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).expect("a list")
    }
}

struct Files {
    dir: TempDir,
    config: ClientCertificates,
}

impl Files {
    fn new(authorities: &str, lists: &[&[u8]]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, bytes: &[u8]| -> PathBuf {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).expect("the file is written");
            path
        };
        let crls = lists.iter().enumerate();
        let config = ClientCertificates {
            is_required: true,
            authorities: write("ca.pem", authorities.as_bytes()),
            crls: crls
                .map(|(index, list)| write(&format!("{index}.crl"), list))
                .collect(),
            crl_check: CrlCheck::Chain,
        };
        Self { dir, config }
    }

    fn read(&self, days: u64, before: Option<&Clients>) -> Result<Clients, Vec<String>> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + days * DAY);
        let provider = Arc::new(ring::default_provider());
        let clients = Clients::read(&self.config, &provider, now, before);
        clients.map_err(|found| self.lines(&found))
    }

    fn lines(&self, found: &[Finding]) -> Vec<String> {
        let dir = format!("{}/", self.dir.path().display());
        let line = |finding: &Finding| format!("{}: {}", finding.key, finding.what).replace(&dir, "");
        found.iter().map(line).collect()
    }

    fn warnings(&self, days: u64) -> Vec<String> {
        self.lines(&self.read(days, None).expect("no problems").warnings)
    }
}

#[test]
fn authorities_and_lists_are_taken_in_either_form() {
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let both = one.list(1).pem().expect("PEM") + &two.list(1).pem().expect("PEM");
    let files = Files::new(&(one.pem() + &two.pem()), &[both.as_bytes(), one.list(2).der()]);
    let clients = files.read(0, None).expect("no problems");
    assert_eq!(clients.warnings, []);
    assert_eq!(clients.lists.len(), 3);
    assert_eq!(clients.verifier.root_hint_subjects().len(), 2);
    assert_eq!(clients.authorities_expire.unix_seconds, NOW + 184 * DAY);
    let ends: Vec<_> = clients
        .lists_expire
        .iter()
        .map(|expiry| expiry.unix_seconds)
        .collect();
    assert_eq!(ends, [NOW + 30 * DAY, NOW + 30 * DAY]);
}

#[test]
fn a_client_is_no_authority() {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "pump-1");
    let own = params.self_signed(&KeyPair::generate().expect("a key"));
    let files = Files::new(
        &(Authority::new("one").pem() + &own.expect("a certificate").pem()),
        &[],
    );
    let found = files.read(0, None).expect_err("a problem");
    assert_eq!(
        found,
        ["client_ca: certificate 2 in ca.pem, CN=pump-1, is not of an authority"]
    );
}

#[test]
fn files_that_hold_something_else_say_so() {
    let authority = Authority::new("one");
    let pem = authority.pem();
    let files = Files::new("", &[b"", b"0 rubbish", pem.as_bytes()]);
    let found = files.read(0, None).expect_err("problems");
    assert_eq!(found[0], "client_ca: ca.pem has no certificate in it");
    assert_eq!(found[1], "crls: 0.crl has no revocation list in it");
    assert!(
        found[2].starts_with("crls: a revocation list in 1.crl is damaged: "),
        "{found:?}"
    );
    assert_eq!(found[3], "crls: 2.crl has no revocation list in it");
}

#[test]
fn an_authority_that_ends_is_announced_and_then_does_not_count() {
    let mut late = CertificateParams::default();
    late.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let late = late
        .self_signed(&KeyPair::generate().expect("a key"))
        .expect("a certificate");
    let files = Files::new(&(Authority::new("one").pem() + &late.pem()), &[]);
    let warning = "client_ca: CN=one in ca.pem expires in 12 d, on 2027-01-01";
    assert_eq!(files.warnings(184 - 12), [warning]);
    let warning = "client_ca: CN=one in ca.pem expired on 2027-01-01: its clients are refused";
    assert_eq!(files.warnings(185), [warning]);
}

#[test]
fn without_a_valid_authority_there_is_no_start_but_what_is_in_force_stays_for_nobody() {
    let files = Files::new(&Authority::new("one").pem(), &[]);
    let expected = ["client_ca: ca.pem has no authority in it that is valid now".to_owned()];
    assert_eq!(files.read(185, None).map(|_| ()), Err(expected.to_vec()));
    let in_force = files.read(0, None).expect("no problems");
    let later = files.read(185, Some(&in_force)).expect("no problems");
    assert_eq!(later.digest, in_force.digest);
    let other = Files::new(&Authority::new("one").pem(), &[]);
    assert_eq!(
        other.read(185, Some(&in_force)).map(|_| ()),
        Err(expected.to_vec())
    );
}

#[test]
fn a_list_that_ends_is_announced_and_no_expired_one_takes_the_place_of_another() {
    let authority = Authority::new("one");
    let files = Files::new(&authority.pem(), &[authority.list(1).der()]);
    assert_eq!(files.warnings(29), Vec::<String>::new());
    let warning = "crls: the revocation list of CN=one in 0.crl ends within a day";
    assert_eq!(files.warnings(30), [warning]);
    let expired = "crls: the revocation list of CN=one in 0.crl expired on 2026-07-31";
    assert_eq!(files.warnings(31), [expired], "at the start");
    let in_force = files.read(0, None).expect("no problems");
    let later = files.read(31, Some(&in_force)).expect("no problems");
    assert_eq!(files.lines(&later.warnings), [expired], "while it is in force");
    std::fs::write(files.dir.path().join("0.crl"), authority.list(2).der()).expect("the file is written");
    let other = files.read(31, Some(&in_force)).map(|_| ());
    assert_eq!(other, Err(vec![expired.to_owned()]), "instead of another");
    assert_ne!(files.read(0, None).expect("no problems").digest, in_force.digest);
}
