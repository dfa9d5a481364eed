//! Who an encrypted broker is: a certificate made for one run, the same kind for every broker.

use crate::failure::{During, Result};
use crate::load::Encryption;
use rcgen::{CertificateParams, KeyPair};

/// File of the certificate, in the broker's directory.
pub(super) const CERTIFICATE: &str = "certificate.pem";
/// File of its key.
pub(super) const KEY: &str = "key.pem";
/// Who the broker says it is.
const NAME: &str = "localhost";

/// An ECDSA P-256 certificate that signs itself.
pub(super) struct Identity {
    /// Names and contents for the broker's directory.
    pub(super) files: [(&'static str, String); 2],
    /// How clients speak to whoever has it.
    pub(super) encryption: Encryption,
}

impl Identity {
    /// A new one.
    pub(super) fn new() -> Result<Self> {
        const FAILED: &str = "a certificate cannot be made";
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).during(FAILED)?;
        let params = CertificateParams::new(vec![NAME.to_owned()]).during(FAILED)?;
        let certificate = params.self_signed(&key).during(FAILED)?;
        Ok(Self {
            files: [(CERTIFICATE, certificate.pem()), (KEY, key.serialize_pem())],
            encryption: Encryption::trusting(certificate.der(), NAME)?,
        })
    }
}
