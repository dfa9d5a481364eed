//! A certificate authority: certificates for clients, those of authorities below it, and revocation lists.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Of this one and those above it, without the root; and the same as PEM.
    chain: Vec<CertificateDer<'static>>,
    chain_pem: String,
}

/// What a client proves itself with.
pub struct Credentials {
    /// Its certificate, then those of the authorities below the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The same as PEM.
    pub chain_pem: String,
    /// Its key.
    pub key_pem: String,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    key: Vec<u8>,
    number: u64,
}

/// What a certificate says, besides who issued it.
#[derive(Default)]
pub struct Wanted {
    params: CertificateParams,
}

/// A certificate with this common name, for clients, from 1975 to 4096.
#[must_use]
pub fn wanted(name: &str) -> Wanted {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Wanted { params }
}

impl Wanted {
    /// From the first day of a year to the first day of another.
    #[must_use]
    pub fn valid(mut self, from: i32, until: i32) -> Self {
        self.params.not_before = date_time_ymd(from, 1, 1);
        self.params.not_after = date_time_ymd(until, 1, 1);
        self
    }

    /// For so many seconds from now, and the hour before.
    #[must_use]
    pub fn valid_for(mut self, seconds: u64) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        self.params.not_before = at(now.saturating_sub(3600));
        self.params.not_after = at(now + seconds);
        self
    }

    /// Not for clients but for servers.
    #[must_use]
    pub fn for_servers(mut self) -> Self {
        self.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self
    }

    /// Also known by this DNS name.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn dns(self, name: &str) -> Self {
        self.also(SanType::DnsName(name.try_into().expect("a name")))
    }

    /// Also known by this URI.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn uri(self, uri: &str) -> Self {
        self.also(SanType::URI(uri.try_into().expect("a URI")))
    }

    /// Also known by this e-mail address.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn email(self, address: &str) -> Self {
        self.also(SanType::Rfc822Name(address.try_into().expect("an address")))
    }

    /// Also known by this IP address.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn ip(self, address: &str) -> Self {
        self.also(SanType::IpAddress(address.parse().expect("an address")))
    }

    fn also(mut self, name: SanType) -> Self {
        self.params.subject_alt_names.push(name);
        self
    }

    /// Signed by itself.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn self_signed(self) -> Credentials {
        let key = KeyPair::generate().expect("a key");
        let certificate = self.params.self_signed(&key).expect("a certificate");
        Credentials::new(&certificate, &key, 0)
    }
}

impl Authority {
    /// A root of its own.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(authority(name), key).expect("a certificate");
        Self {
            issuer,
            chain: Vec::new(),
            chain_pem: String::new(),
        }
    }

    /// One that this one has signed.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::signed_by(authority(name), key, &self.issuer).expect("a certificate");
        let mut chain = vec![issuer.der().clone()];
        chain.extend(self.chain.iter().cloned());
        Self {
            chain,
            chain_pem: issuer.pem() + &self.chain_pem,
            issuer,
        }
    }

    /// For the broker: `client_ca`.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate and its key, with a serial number of its own.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn issue(&self, wanted: Wanted) -> Credentials {
        static NEXT: AtomicU64 = AtomicU64::new(0x1000);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut params = wanted.params;
        params.serial_number = Some(SerialNumber::from(number));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let mut credentials = Credentials::new(&certificate, &key, number);
        credentials.chain.extend(self.chain.iter().cloned());
        credentials.chain_pem += &self.chain_pem;
        credentials
    }

    /// For the broker, in `crls`: a list of these certificates that is good until the first day of a year.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn revocation_list(&self, revoked: &[&Credentials], until: i32) -> String {
        let entry = |credentials: &&Credentials| RevokedCertParams {
            serial_number: SerialNumber::from(credentials.number),
            revocation_time: date_time_ymd(2000, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2000, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a list");
        list.pem().expect("PEM")
    }
}

impl Credentials {
    fn new(certificate: &Certificate, key: &KeyPair, number: u64) -> Self {
        let bytes = number.to_be_bytes();
        let significant = bytes.iter().skip_while(|byte| **byte == 0);
        let serial = significant.map(|byte| format!("{byte:02x}")).collect();
        Self {
            chain: vec![certificate.der().clone()],
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key: key.serialize_der(),
            serial,
            number,
        }
    }

    /// Its key, for rustls.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone().try_into().expect("a key")
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
