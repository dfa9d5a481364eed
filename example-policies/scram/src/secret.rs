//! What is kept of a password (RFC 5802 section 3): enough to check a proof, not enough to make one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub(crate) type Key = [u8; 32];

/// Fewer rounds than RFC 7677 demands would make guessing cheap.
const ROUNDS_MIN: u32 = 4_096;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Secret {
    pub(crate) rounds: u32,
    pub(crate) salt: Vec<u8>,
    pub(crate) stored_key: Key,
    pub(crate) server_key: Key,
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        read(&text).ok_or(
            "it is not SCRAM-SHA-256$ROUNDS:SALT$STORED_KEY:SERVER_KEY with at least 4096 rounds; `sluice passwd \
             --scram` makes one",
        )
    }
}

fn read(text: &str) -> Option<Secret> {
    let (head, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let (rounds, salt) = head.split_once(':')?;
    let (stored_key, server_key) = keys.split_once(':')?;
    let rounds = rounds.parse().ok().filter(|rounds| *rounds >= ROUNDS_MIN)?;
    let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?;
    let key = |text: &str| Key::try_from(STANDARD.decode(text).ok()?).ok();
    Some(Secret {
        rounds,
        salt,
        stored_key: key(stored_key)?,
        server_key: key(server_key)?,
    })
}

impl Secret {
    /// For a name that nobody has: always the same, and nothing that could be told from another. It depends on what only
    /// the settings know.
    pub(crate) fn nobodys<'s>(known: impl Iterator<Item = &'s Self>, name: &str) -> Self {
        let mut digest = Sha256::new();
        let (mut rounds, mut salt_bytes) = (ROUNDS_MIN, 16);
        for secret in known {
            digest.update(secret.server_key);
            (rounds, salt_bytes) = (secret.rounds, secret.salt.len());
        }
        let secret: Key = digest.finalize().into();
        let of = |what: &str| hmac(&secret, &[what.as_bytes(), b" ", name.as_bytes()].concat());
        let salt = of("salt").into_iter().cycle().take(salt_bytes).collect();
        Self {
            rounds,
            salt,
            stored_key: of("stored"),
            server_key: of("server"),
        }
    }
}

pub(crate) fn hmac(key: &Key, message: &[u8]) -> Key {
    // Hmac takes keys of every length; without a result nobody could get in.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Key::default();
    };
    mac.update(message);
    mac.finalize().into_bytes().into()
}
