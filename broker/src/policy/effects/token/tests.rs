use super::super::spec::Secret;
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::json;
use tempfile::TempDir;

const SECRET: &str = "a secret that is long enough to be one";

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

fn in_an_hour() -> Value {
    json!({ "sub": "ada", "exp": now() + 3_600 })
}

/// A token in its compact form; `sign` makes the signature.
fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}").into_bytes()
}

fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message)
        .as_ref()
        .to_vec()
}

/// Signed with [`SECRET`].
fn shared(claims: &Value) -> Vec<u8> {
    token(&json!({ "alg": "HS256", "typ": "JWT" }), claims, |message| {
        hs256(SECRET.as_bytes(), message)
    })
}

fn spec() -> IssuerSpec {
    IssuerSpec {
        secret: Some(Secret::Text(SECRET.into())),
        ..IssuerSpec::new("i")
    }
}

fn issuer() -> Issuer {
    Issuer::load(&spec()).unwrap()
}

/// An issuer with these files.
fn with_files(files: &[&str]) -> Result<Issuer, String> {
    let dir = TempDir::new().unwrap();
    let mut spec = IssuerSpec::new("i");
    for (index, text) in files.iter().enumerate() {
        let path = dir.path().join(index.to_string());
        std::fs::write(&path, text).unwrap();
        spec.keys.push(path);
    }
    Issuer::load(&spec)
}

fn pem(spki: &[u8]) -> String {
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(spki)
    )
}

/// Before a key, what says that it is one for Ed25519 (RFC 8410) or P-256 (RFC 5480).
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

fn ed25519() -> (Ed25519KeyPair, String) {
    let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
    let pem = pem(&[ED25519, key.public_key().as_ref()].concat());
    (key, pem)
}

fn es256() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap()
}

#[test]
fn a_right_token_gives_its_claims_and_the_time_it_has_left() {
    let verified = issuer().verify(&shared(&in_an_hour())).unwrap();
    let claims: Value = serde_json::from_str(&verified.claims).unwrap();
    assert_eq!(claims["sub"], "ada");
    assert!(
        (3_590..=3_600).contains(&verified.expires_in_seconds),
        "{verified:?}"
    );
    let far = issuer().verify(&shared(&json!({ "exp": u64::MAX - 1 }))).unwrap();
    assert_eq!(far.expires_in_seconds, u32::MAX);
}

#[test]
fn a_token_in_which_anything_is_changed_is_wrong() {
    let good = shared(&in_an_hour());
    for index in 0..good.len() {
        let mut changed = good.clone();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        if changed != good {
            assert!(issuer().verify(&changed).is_err(), "byte {index}");
        }
    }
    let other = token(&json!({ "alg": "HS256" }), &in_an_hour(), |message| {
        hs256(b"another secret that is long enough too", message)
    });
    assert_eq!(issuer().verify(&other).unwrap_err(), "the signature is wrong");
}

#[test]
fn time_issuer_and_audience_must_be_right() {
    let issuer = Issuer::load(&IssuerSpec {
        issuers: vec!["https://id.example".into()],
        audiences: vec!["mqtt".into()],
        ..spec()
    })
    .unwrap();
    let good = json!({ "exp": now() + 60, "iss": "https://id.example", "aud": ["web", "mqtt"] });
    issuer.verify(&shared(&good)).unwrap();
    for (claim, value, why) in [
        ("exp", json!(now() - 2), "the token has expired"),
        ("exp", json!("2999-01-01"), "the token does not say `exp`"),
        (
            "exp",
            json!((now() + 60).to_string()),
            "the token does not say `exp`",
        ),
        ("exp", Value::Null, "the token does not say `exp`"),
        ("nbf", json!(now() + 60), "the token is not valid yet"),
        ("nbf", json!("soon"), "`nbf` of the token is not what it must be"),
        (
            "iss",
            json!("https://evil.example"),
            "the token is of another issuer",
        ),
        ("iss", Value::Null, "the token does not say `iss`"),
        ("aud", json!("web"), "the token is for another audience"),
        ("aud", json!({ "mqtt": 1 }), "the token does not say `aud`"),
    ] {
        let mut claims = good.clone();
        claims[claim] = value;
        assert_eq!(issuer.verify(&shared(&claims)).unwrap_err(), why, "{claims}");
    }
}

#[test]
fn leeway_is_for_clocks_that_differ() {
    let leeway = Duration::from_secs(30);
    let issuer = Issuer::load(&IssuerSpec { leeway, ..spec() }).unwrap();
    let late = json!({ "exp": now() - 10, "nbf": now() + 10 });
    let verified = issuer.verify(&shared(&late)).unwrap();
    assert!((15..=20).contains(&verified.expires_in_seconds), "{verified:?}");
    assert!(issuer.verify(&shared(&json!({ "exp": now() - 40 }))).is_err());
}

#[test]
fn public_keys_verify_what_their_owner_signed() {
    let (ed, ed_pem) = ed25519();
    let ec = es256();
    let ec_pem = pem(&[P256, ec.public_key().as_ref()].concat());
    let issuer = with_files(&[&format!("{ed_pem}{ec_pem}")]).unwrap();
    let by_ed = token(&json!({ "alg": "EdDSA" }), &in_an_hour(), |m| {
        ed.sign(m).as_ref().to_vec()
    });
    let by_ec = token(&json!({ "alg": "ES256" }), &in_an_hour(), |m| {
        ec.sign(&SystemRandom::new(), m).unwrap().as_ref().to_vec()
    });
    issuer.verify(&by_ed).unwrap();
    issuer.verify(&by_ec).unwrap();
    let (other, _) = ed25519();
    let forged = token(&json!({ "alg": "EdDSA" }), &in_an_hour(), |m| {
        other.sign(m).as_ref().to_vec()
    });
    assert_eq!(issuer.verify(&forged).unwrap_err(), "the signature is wrong");
}

#[test]
fn a_public_key_is_never_taken_for_a_secret_and_no_signature_for_one() {
    let (_, pem) = ed25519();
    let issuer = with_files(&[&pem]).unwrap();
    let confused = token(&json!({ "alg": "HS256" }), &in_an_hour(), |m| {
        hs256(pem.as_bytes(), m)
    });
    assert!(issuer.verify(&confused).is_err());
    for alg in ["none", "None", "", "HS256", "RS256"] {
        let unsigned = token(&json!({ "alg": alg }), &in_an_hour(), |_| Vec::new());
        assert!(issuer.verify(&unsigned).is_err(), "{alg}");
    }
    let critical = json!({ "alg": "HS256", "crit": ["exp"] });
    let critical = token(&critical, &in_an_hour(), |m| hs256(SECRET.as_bytes(), m));
    assert!(
        super::tests::issuer()
            .verify(&critical)
            .unwrap_err()
            .contains("critical")
    );
}

#[test]
fn a_key_set_chooses_by_key_id_and_leaves_out_what_it_does_not_know() {
    let (first, _) = ed25519();
    let (second, _) = ed25519();
    let jwk = |id: &str, key: &Ed25519KeyPair| json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": URL_SAFE_NO_PAD.encode(key.public_key()) });
    let set = json!({ "keys": [
        jwk("one", &first), jwk("two", &second),
        { "kty": "OKP", "crv": "Ed448", "kid": "three", "x": "AAAA" },
        { "kty": "RSA", "use": "enc", "n": "AAAA", "e": "AQAB" },
        { "kty": "lattice", "z": 7 },
    ] });
    let issuer = with_files(&[&set.to_string()]).unwrap();
    let by = |id: Value, key: &Ed25519KeyPair| {
        token(&json!({ "alg": "EdDSA", "kid": id }), &in_an_hour(), |m| {
            key.sign(m).as_ref().to_vec()
        })
    };
    issuer.verify(&by(json!("one"), &first)).unwrap();
    issuer.verify(&by(json!("two"), &second)).unwrap();
    issuer.verify(&by(Value::Null, &second)).unwrap();
    assert_eq!(
        issuer.verify(&by(json!("one"), &second)).unwrap_err(),
        "the signature is wrong"
    );
    let unknown = issuer.verify(&by(json!("four"), &first)).unwrap_err();
    assert!(unknown.contains("no key of the issuer fits"), "{unknown}");
}

/// RFC 7515 appendix A.2. Its time is over since 2011, which is only looked at when the signature is right.
#[test]
fn the_rsa_example_of_the_specification_is_signed_well_but_has_expired() {
    let set = json!({ "keys": [{ "kty": "RSA", "e": "AQAB", "n":
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-\
         yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-\
         UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
            .replace(' ', "") }] });
    let issuer = with_files(&[&set.to_string()]).unwrap();
    let token = "eyJhbGciOiJSUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4\
        BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv\
        hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    assert_eq!(
        issuer.verify(token.as_bytes()).unwrap_err(),
        "the token has expired"
    );
    let changed = token.replace("cC4hiUPoj9", "cC4hiUPoj8");
    assert_eq!(
        issuer.verify(changed.as_bytes()).unwrap_err(),
        "the signature is wrong"
    );
}

#[test]
fn what_is_no_token_is_refused_without_repeating_it() {
    for nonsense in [
        &b""[..],
        b".",
        b"..",
        b"a.b.c",
        b"a.b.c.d",
        &[0xff; 64],
        b"eyJhbGciOiJIUzI1NiJ9..",
        &vec![b'.'; TOKEN_BYTES_MAX],
        &vec![b'A'; TOKEN_BYTES_MAX + 1],
    ] {
        assert!(issuer().verify(nonsense).is_err(), "{nonsense:?}");
    }
    let array = token(&json!({ "alg": "HS256" }), &json!([1]), |m| {
        hs256(SECRET.as_bytes(), m)
    });
    assert!(issuer().verify(&array).is_err());
}

#[test]
fn keys_that_could_verify_nothing_or_be_guessed_are_refused() {
    let refused = |result: Result<Issuer, String>| result.err().unwrap();
    let short = IssuerSpec {
        secret: Some(Secret::Text("short".into())),
        ..IssuerSpec::new("i")
    };
    assert!(refused(Issuer::load(&short)).contains("at least 32 bytes"));
    let none = IssuerSpec {
        algorithms: vec!["ES256".into()],
        ..spec()
    };
    assert!(refused(Issuer::load(&none)).contains("no key for any of its algorithms"));
    assert!(refused(with_files(&["nothing"])).contains("neither"));
    assert!(refused(with_files(&["{\"keys\": 7}"])).contains("not a JSON Web Key Set"));
    assert!(refused(with_files(&["{\"keys\": []}"])).contains("no key"));
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(refused(with_files(&[private])).contains("neither"));
    let missing = IssuerSpec {
        keys: vec!["/nonexistent/key.pem".into()],
        ..IssuerSpec::new("i")
    };
    assert!(refused(Issuer::load(&missing)).contains("/nonexistent/key.pem"));
}
