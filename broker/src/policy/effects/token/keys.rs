//! The keys of an issuer, from files: public keys in PEM, JSON Web Key Sets (RFC 7517), and a shared secret.
//!
//! A key is good for the algorithms of its own kind only. So a public key, which everybody knows, is never taken for the
//! secret of an HMAC.

use super::super::spec::{IssuerSpec, read_file};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use std::path::Path;
use tokio_rustls::rustls::pki_types::SubjectPublicKeyInfoDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Most keys of one issuer: each that fits a token is tried.
const KEYS_MAX: usize = 64;
/// A shared secret that can be guessed is none (RFC 7518 section 3.2).
const SECRET_BYTES_MIN: usize = 32;

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

/// A key and what it is good for.
pub(super) struct Key {
    /// The `kid` of a key set.
    pub(super) id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
}

/// All keys of an issuer, for the algorithms that it may use.
pub(super) fn load(spec: &IssuerSpec) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    for path in &spec.keys {
        let text = read_file(path)?;
        let found = if text.trim_start().starts_with('{') {
            from_set(&text)
        } else {
            from_pem(&text)
        };
        keys.extend(found.map_err(|wrong| format!("{}: {wrong}", path_text(path)))?);
    }
    if let Some(secret) = &spec.secret {
        keys.push(shared(secret.read()?.as_bytes(), None, HMAC)?);
    }
    if !spec.algorithms.is_empty() {
        let accepted: Vec<Algorithm> = spec
            .algorithms
            .iter()
            .map(|name| name.parse().map_err(|_| format!("`{name}` is not an algorithm")))
            .collect::<Result<_, _>>()?;
        for key in &mut keys {
            key.algorithms.retain(|algorithm| accepted.contains(algorithm));
        }
        keys.retain(|key| !key.algorithms.is_empty());
    }
    match keys.len() {
        0 => Err("there is no key for any of its algorithms: no token could be right".into()),
        1..=KEYS_MAX => Ok(keys),
        more => Err(format!("there are {more} keys, at most {KEYS_MAX} are taken")),
    }
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}

fn from_pem(text: &str) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    for der in SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes()) {
        let der = der.map_err(|error| format!("not PEM: {error}"))?;
        keys.push(from_der(&der)?);
    }
    match keys.is_empty() {
        true => Err("neither a JSON Web Key Set nor a public key in PEM (-----BEGIN PUBLIC KEY-----)".into()),
        false => Ok(keys),
    }
}

/// From what RFC 5280 section 4.1.2.7 calls SubjectPublicKeyInfo.
fn from_der(der: &[u8]) -> Result<Key, String> {
    let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| "not a public key")?;
    let key = &*info.subject_public_key.data;
    let parameters = info.algorithm.parameters.as_ref();
    let curve = parameters
        .and_then(|curve| curve.as_oid().ok())
        .map(|curve| curve.to_id_string());
    let (algorithms, decoding) = match (info.algorithm.algorithm.to_id_string().as_str(), curve.as_deref()) {
        ("1.2.840.113549.1.1.1", _) => (RSA, DecodingKey::from_rsa_der(key)),
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => {
            (&[Algorithm::ES256][..], DecodingKey::from_ec_der(key))
        }
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => {
            (&[Algorithm::ES384][..], DecodingKey::from_ec_der(key))
        }
        ("1.3.101.112", _) => (&[Algorithm::EdDSA][..], DecodingKey::from_ed_der(key)),
        _ => {
            return Err("a public key of a kind that is not known: RSA, P-256, P-384 and Ed25519 are".into());
        }
    };
    Ok(Key {
        id: None,
        algorithms: algorithms.to_vec(),
        decoding,
    })
}

/// Keys of a set that are not for signatures, or of kinds that are not known, are left out: RFC 7517 section 5.
fn from_set(text: &str) -> Result<Vec<Key>, String> {
    let set: JwkSet =
        serde_json::from_str(text).map_err(|error| format!("not a JSON Web Key Set: {error}"))?;
    set.keys
        .iter()
        .filter_map(|key| from_jwk(key).transpose())
        .collect()
}

fn from_jwk(jwk: &Jwk) -> Result<Option<Key>, String> {
    if jwk
        .common
        .public_key_use
        .as_ref()
        .is_some_and(|is_for| *is_for != PublicKeyUse::Signature)
    {
        return Ok(None);
    }
    let algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        AlgorithmParameters::OctetKey(_) => HMAC,
        _ => return Ok(None),
    };
    let algorithms = match jwk.common.key_algorithm {
        None => algorithms.to_vec(),
        Some(only) => named(only, algorithms).into_iter().collect(),
    };
    if algorithms.is_empty() {
        return Ok(None);
    }
    let id = jwk.common.key_id.clone();
    let decoding =
        DecodingKey::from_jwk(jwk).map_err(|error| format!("the key {id:?} of the set: {error}"))?;
    if let AlgorithmParameters::OctetKey(_) = &jwk.algorithm {
        let secret = decoding.try_get_as_bytes().unwrap_or_default();
        return shared(secret, id, &algorithms).map(Some);
    }
    Ok(Some(Key {
        id,
        algorithms,
        decoding,
    }))
}

/// The algorithm that a key of a set is for, if it is one of its kind.
fn named(name: KeyAlgorithm, of_kind: &[Algorithm]) -> Option<Algorithm> {
    let name: Algorithm = name.to_string().parse().ok()?;
    of_kind.contains(&name).then_some(name)
}

fn shared(secret: &[u8], id: Option<String>, algorithms: &[Algorithm]) -> Result<Key, String> {
    if secret.len() < SECRET_BYTES_MIN {
        return Err(format!("a shared secret has at least {SECRET_BYTES_MIN} bytes"));
    }
    Ok(Key {
        id,
        algorithms: algorithms.to_vec(),
        decoding: DecodingKey::from_secret(secret),
    })
}
