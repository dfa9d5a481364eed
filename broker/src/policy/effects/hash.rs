//! Password hashes in the forms that files of other brokers and of common tools have.
//!
//! The hash names its own cost, and the hash comes from a policy: without bounds one CONNECT could ask for hours.

use argon2::password_hash::{PasswordHash, PasswordVerifier as _};
use argon2::{Argon2, Params};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::pbkdf2;
use std::num::NonZeroU32;

/// Memory of one check with Argon2, in KiB. 64 MiB is more than the 19 to 46 MiB that OWASP recommends.
const MEMORY_KIB_MAX: u32 = 64 * 1024;
/// Memory times passes: about a quarter of a second.
const COST_KIB_MAX: u64 = 256 * 1024;
/// Lanes.
const PARALLELISM_MAX: u32 = 8;
/// Logarithm of bcrypt's rounds: about a second. 10 to 12 are usual.
const BCRYPT_COST_MAX: u32 = 14;
/// Rounds of PBKDF2: about half a second. OWASP recommends 210,000 of SHA-512 and 600,000 of SHA-256.
const ROUNDS_MAX: u32 = 1_000_000;
/// Longest hash as text.
const HASH_BYTES_MAX: usize = 512;
/// Longest password; MQTT allows 64 KiB.
const PASSWORD_BYTES_MAX: usize = 65_535;
/// A derived key that is shorter is no proof of anything.
const KEY_BYTES_MIN: usize = 16;
const KEY_BYTES_MAX: usize = 64;

/// Takes base64 with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether the password fits the hash.
///
/// # Errors
/// When the hash is of no known form or costs too much; the text does not repeat it.
pub(super) fn verify(hash: &str, password: &[u8]) -> Result<bool, String> {
    if hash.len() > HASH_BYTES_MAX || password.len() > PASSWORD_BYTES_MAX {
        return Err("the hash or password is too long".into());
    }
    let parts: Vec<&str> = hash.split('$').collect();
    match parts.as_slice() {
        ["", "argon2id" | "argon2i" | "argon2d", ..] => verify_argon2(hash, password),
        ["", "2a" | "2b" | "2x" | "2y", cost, _] => verify_bcrypt(hash, cost, password),
        ["", "7", rounds, salt, key] => pbkdf2_base64("sha512", rounds, salt, key, password),
        ["", "pbkdf2-sha512", costs, salt, key] => {
            pbkdf2_base64("sha512", rounds(costs), salt, key, password)
        }
        ["", "pbkdf2-sha256", costs, salt, key] => {
            pbkdf2_base64("sha256", rounds(costs), salt, key, password)
        }
        ["PBKDF2", digest, rounds, salt, key] => pbkdf2_base64(digest, rounds, salt, key, password),
        ["emqx", "pbkdf2", digest, rounds, salt, key] => {
            let key = from_hex(key).ok_or("the hash is not hexadecimal")?;
            verify_pbkdf2(digest, rounds, salt.as_bytes(), &key, password)
        }
        _ => Err("the form of the hash is not known; `sluice passwd` makes argon2id".into()),
    }
}

fn verify_argon2(hash: &str, password: &[u8]) -> Result<bool, String> {
    let hash = PasswordHash::new(hash).map_err(|error| format!("not a PHC string: {error}"))?;
    let params = Params::try_from(&hash).map_err(|error| format!("the parameters of the hash: {error}"))?;
    let cost = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > MEMORY_KIB_MAX || cost > COST_KIB_MAX || params.p_cost() > PARALLELISM_MAX {
        return Err(format!(
            "the hash costs too much: at most m={MEMORY_KIB_MAX}, m*t={COST_KIB_MAX}, p={PARALLELISM_MAX}"
        ));
    }
    match Argon2::default().verify_password(password, &hash) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::Password) => Ok(false),
        Err(error) => Err(format!("the hash cannot be checked: {error}")),
    }
}

fn verify_bcrypt(hash: &str, cost: &str, password: &[u8]) -> Result<bool, String> {
    let is_cheap = cost.parse::<u32>().is_ok_and(|cost| cost <= BCRYPT_COST_MAX);
    if !is_cheap {
        return Err(format!("the hash costs too much: at most {BCRYPT_COST_MAX}"));
    }
    bcrypt::verify(password, hash).map_err(|error| format!("not a bcrypt hash: {error}"))
}

/// The rounds of `i=10000,l=64`, or of a bare number.
fn rounds(costs: &str) -> &str {
    let named = costs.split(',').find_map(|cost| cost.strip_prefix("i="));
    named.unwrap_or(costs)
}

fn pbkdf2_base64(digest: &str, rounds: &str, salt: &str, key: &str, password: &[u8]) -> Result<bool, String> {
    // Python's passlib writes `.` for `+`.
    let decode = |text: &str| BASE64.decode(text.replace('.', "+"));
    match (decode(salt), decode(key)) {
        (Ok(salt), Ok(key)) => verify_pbkdf2(digest, rounds, &salt, &key, password),
        _ => Err("salt and hash are not base64".into()),
    }
}

fn verify_pbkdf2(
    digest: &str,
    rounds: &str,
    salt: &[u8],
    key: &[u8],
    password: &[u8],
) -> Result<bool, String> {
    let algorithm = match digest {
        "sha512" => pbkdf2::PBKDF2_HMAC_SHA512,
        "sha256" => pbkdf2::PBKDF2_HMAC_SHA256,
        _ => return Err("PBKDF2 is known with sha512 and sha256 only".into()),
    };
    let rounds: NonZeroU32 = rounds.parse().map_err(|_| "the rounds are no number")?;
    if rounds.get() > ROUNDS_MAX {
        return Err(format!("the hash costs too much: at most {ROUNDS_MAX} rounds"));
    }
    if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) || salt.is_empty() {
        return Err(format!(
            "a hash has {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes, and a salt"
        ));
    }
    Ok(pbkdf2::verify(algorithm, rounds, salt, password, key).is_ok())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digits = text.as_bytes().chunks_exact(2);
    digits
        .map(|pair| {
            let [high, low] = pair else { return None };
            let digit = |byte: u8| {
                char::from(byte)
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            };
            Some(digit(*high)? << 4 | digit(*low)?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::{PasswordHasher as _, SaltString};
    use argon2::{Algorithm, Version};

    fn argon2id() -> String {
        let params = Params::new(64, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let salt = SaltString::from_b64("c29tZXNhbHQ").unwrap();
        argon2.hash_password(b"secret", &salt).unwrap().to_string()
    }

    /// Of the password `secret`, each made by another implementation than ours: Python's hashlib and bcrypt.
    const SECRET: &[&str] = &[
        "$7$101$AAECAwQFBgcICQoL$Xr99N9ym9ys8TWxis5ajETJq6EVYzmc6nb8t3pUYnPBbCAbICS4xejTltonXWCtJNBvA+By+TXUqU6qCblO00w==",
        "$pbkdf2-sha512$i=1000,l=64$8PHy8/T19vf4+fr7/P3+/w$A4MkPncwC4BPhY5CAR6W1fMLKIYKKDDGTx6GvBhlC1BObzupuPut/5qxalPTg5o6QEmgXFmARv1qN8ML6c32xw",
        "$pbkdf2-sha512$1000$8PHy8/T19vf4.fr7/P3./w$A4MkPncwC4BPhY5CAR6W1fMLKIYKKDDGTx6GvBhlC1BObzupuPut/5qxalPTg5o6QEmgXFmARv1qN8ML6c32xw",
        "$pbkdf2-sha256$i=1000,l=32$8PHy8/T19vf4+fr7/P3+/w$ih6/7sfh96XKhTsclmBCMnf1g9O/RBZ9U4Hw7jK+M5Q",
        "PBKDF2$sha512$1000$8PHy8/T19vf4+fr7/P3+/w==$A4MkPncwC4BPhY5CAR6W1fMLKIYKKDDGTx6GvBhlC1A=",
        "emqx$pbkdf2$sha512$1000$a1b2c3d4e5f60718293a4b5c6d7e8f90$7c93abb6097d644e2e1b9e5b78d22d01181f65e7394313c22c4f46b371e2907abf7e04f9024541b757091791c2eba7bce52deb1ec15f400ab94d95e72cc4d58a",
        "emqx$pbkdf2$sha256$1000$a1b2c3d4e5f60718293a4b5c6d7e8f90$32014F3457DC32AF5609ACBCDF0F4F5BEEE8BC79CC56F669EB92AA5E4D8BC680",
        "$2a$04$yEf16BT6rc3/zx6A.IC8b.X4hTOWN6rym2PBKSpMY5r.N.RfDrFI.",
        "$2b$04$RgJ2DdrAvp2iVkRI95f2W.hFjntuEIcE.6YfZ81rpyxC8OK62w1YC",
        "$2y$04$RgJ2DdrAvp2iVkRI95f2W.hFjntuEIcE.6YfZ81rpyxC8OK62w1YC",
    ];

    #[test]
    fn every_form_fits_the_right_password_only() {
        let argon2id = argon2id();
        for hash in SECRET.iter().copied().chain([argon2id.as_str()]) {
            assert_eq!(verify(hash, b"secret"), Ok(true), "{hash}");
            for wrong in [&b""[..], b"Secret", b"secrets", b"secre"] {
                assert_eq!(verify(hash, wrong), Ok(false), "{hash} {wrong:?}");
            }
        }
    }

    #[test]
    fn a_hash_that_asks_for_too_much_is_not_computed() {
        let argon2id = argon2id();
        let costly = [
            argon2id.replace("m=64,t=1,p=1", "m=4194304,t=1,p=1"),
            argon2id.replace("m=64,t=1,p=1", "m=65536,t=5,p=1"),
            argon2id.replace("m=64,t=1,p=1", "m=64,t=4294967295,p=1"),
            argon2id.replace("m=64,t=1,p=1", "m=512,t=1,p=64"),
            "$2b$15$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234".to_owned(),
            "$2b$31$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234".to_owned(),
            "$7$1000001$c2FsdA==$AAAAAAAAAAAAAAAAAAAAAA==".to_owned(),
            "emqx$pbkdf2$sha256$4294967295$ab$00000000000000000000000000000000".to_owned(),
        ];
        for hash in costly {
            assert!(
                verify(&hash, b"secret").unwrap_err().contains("costs too much"),
                "{hash}"
            );
        }
    }

    #[test]
    fn what_is_no_hash_fails_and_never_fits() {
        for hash in [
            "",
            "secret",
            "$argon2id$",
            "$scrypt$ln=17$c2FsdA$aGFzaA",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$2b$1\u{e4}$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234",
            "$7$101$c2FsdA==$",
            "$7$101$c2FsdA==$AAAA",
            "$7$101$$AAAAAAAAAAAAAAAAAAAAAA==",
            "$7$0$c2FsdA==$AAAAAAAAAAAAAAAAAAAAAA==",
            "$7$-1$c2FsdA==$AAAAAAAAAAAAAAAAAAAAAA==",
            "$7$101$!$AAAAAAAAAAAAAAAAAAAAAA==",
            "PBKDF2$md5$101$c2FsdA==$AAAAAAAAAAAAAAAAAAAAAA==",
            "emqx$pbkdf2$sha256$1$ab$0",
            "emqx$pbkdf2$sha256$1$ab$+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1",
        ] {
            assert!(verify(hash, b"secret").is_err(), "{hash}");
            assert!(verify(hash, b"").is_err(), "{hash}");
        }
        let long = format!("$7$101$c2FsdA==${}", "A".repeat(HASH_BYTES_MAX));
        assert!(verify(&long, b"secret").is_err());
    }
}
