//! The signatures of tokens, verified by the cryptography that TLS uses already.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::{hmac, signature as public};

static PROVIDER: CryptoProvider = CryptoProvider {
    // The broker never signs.
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        rsa_pub_components_from_public_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ec_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ed_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        compute_digest: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    },
};

/// Makes this the cryptography of all tokens of the process.
pub(super) fn install() {
    // A second call finds it done.
    let _ = PROVIDER.install_default();
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if algorithm.family() != key.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(SignedBy {
        algorithm: *algorithm,
        key: key.clone(),
    }))
}

/// Checks that something was signed with one key and algorithm.
struct SignedBy {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for SignedBy {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for SignedBy {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        let fits = match self.key.kind() {
            DecodingKeyKind::SecretOrDer(key) => verify_bytes(self.algorithm, key, message, signature),
            DecodingKeyKind::RsaModulusExponent { n, e } => rsa(self.algorithm).and_then(|algorithm| {
                let key = public::RsaPublicKeyComponents { n, e };
                key.verify(algorithm, message, signature).ok()
            }),
        };
        fits.ok_or_else(signature::Error::new)
    }
}

fn verify_bytes(algorithm: Algorithm, key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let algorithm: &dyn public::VerificationAlgorithm = match algorithm {
        Algorithm::HS256 => return verify_hmac(hmac::HMAC_SHA256, key, message, signature),
        Algorithm::HS384 => return verify_hmac(hmac::HMAC_SHA384, key, message, signature),
        Algorithm::HS512 => return verify_hmac(hmac::HMAC_SHA512, key, message, signature),
        Algorithm::ES256 => &public::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &public::ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDSA => &public::ED25519,
        other => rsa(other)?,
    };
    public::UnparsedPublicKey::new(algorithm, key)
        .verify(message, signature)
        .ok()
}

fn verify_hmac(algorithm: hmac::Algorithm, key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    hmac::verify(&hmac::Key::new(algorithm, key), message, signature).ok()
}

/// RSA with keys of 2048 to 8192 bits.
fn rsa(algorithm: Algorithm) -> Option<&'static public::RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&public::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&public::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&public::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&public::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&public::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&public::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}
