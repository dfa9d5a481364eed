//! `sluice passwd`: the hash of a password, and with a name the whole entry of a user.

use super::terminal::say;
use super::{Failure, Outcome};
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, SaltString};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use ring::{digest, hmac, pbkdf2};
use std::io::{BufRead, IsTerminal, Read};
use std::num::NonZeroU32;

#[derive(Args)]
pub(super) struct PasswdArguments {
    /// Print the entry of this user, ready for the configuration.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Make what the example policy `scram` keeps of a password, instead of a hash.
    #[arg(long)]
    scram: bool,
}

pub(super) fn passwd(arguments: &PasswdArguments) -> Outcome {
    let password = if std::io::stdin().is_terminal() {
        ask_twice()?
    } else {
        read_line()?
    };
    if password.is_empty() {
        return Err(Failure::because("the password is empty; anyone could guess it"));
    }
    let made = match arguments.scram {
        true => scram(password.as_bytes(), &salt()?),
        false => hash(password.as_bytes())?,
    };
    match &arguments.user {
        None => say(&made),
        Some(name) if arguments.scram => say(&scram_entry(name, &made)),
        Some(name) => say(&entry(name, &made)),
    }
    Ok(())
}

fn ask_twice() -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::because(format!("the password cannot be read: {error}"));
    let first = rpassword::prompt_password("Password: ").map_err(failed)?;
    let second = rpassword::prompt_password("Again: ").map_err(failed)?;
    if first == second {
        Ok(first)
    } else {
        Err(Failure::because("the two are not the same; nothing was made"))
    }
}

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    let read = std::io::stdin()
        .lock()
        .take(PASSWORD_BYTES_MAX + 2)
        .read_line(&mut line);
    read.map_err(|error| Failure::because(format!("the password cannot be read: {error}")))?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.len() as u64 > PASSWORD_BYTES_MAX {
        return Err(Failure::because(
            "the password is longer than MQTT allows, 65535 bytes",
        ));
    }
    Ok(password.to_owned())
}

/// Argon2id with the parameters OWASP recommends: 19 MiB, 2 rounds.
fn hash(password: &[u8]) -> Result<String, Failure> {
    let failed =
        |error: argon2::password_hash::Error| Failure::because(format!("no hash can be made: {error}"));
    let salt = SaltString::encode_b64(&salt()?).map_err(failed)?;
    Ok(Argon2::default()
        .hash_password(password, &salt)
        .map_err(failed)?
        .to_string())
}

fn salt() -> Result<[u8; 16], Failure> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)
        .map_err(|error| Failure::because(format!("the system gives no random numbers: {error}")))?;
    Ok(salt)
}

/// What a server keeps for SCRAM-SHA-256 (RFC 5802 section 3), written as PostgreSQL does.
fn scram(password: &[u8], salt: &[u8]) -> String {
    let mut salted = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        SCRAM_ROUNDS,
        salt,
        password,
        &mut salted,
    );
    let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client_key = hmac::sign(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&salted, b"Server Key");
    let [salt, stored_key, server_key] =
        [salt, stored_key.as_ref(), server_key.as_ref()].map(|bytes| STANDARD.encode(bytes));
    format!("SCRAM-SHA-256${SCRAM_ROUNDS}:{salt}${stored_key}:{server_key}")
}

fn scram_entry(name: &str, secret: &str) -> String {
    let name = toml::Value::from(name);
    format!(
        "[[policy.scram.settings.users]]\n\
         name = {name}\n\
         secret = \"{secret}\"\n\
         # What this user may do; `%a{{user}}` stands for its name.\n\
         rules = [{{ allow = \"all\", topic = \"%a{{user}}/#\" }}]\n"
    )
}

fn entry(name: &str, hash: &str) -> String {
    let name = toml::Value::from(name);
    format!(
        "[[policy.users.settings.users]]\n\
         name = {name}\n\
         password = \"{hash}\"\n\
         # What this user may do; `%u` stands for its name.\n\
         rules = [{{ allow = \"all\", topic = \"%u/#\" }}]\n"
    )
}

/// A password is binary data of MQTT.
const PASSWORD_BYTES_MAX: u64 = 65_535;
/// The client computes them at each login. RFC 7677 asks for 4096 at least, of which small devices are capable.
const SCRAM_ROUNDS: NonZeroU32 = match NonZeroU32::new(10_000) {
    Some(rounds) => rounds,
    None => NonZeroU32::MIN,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use argon2::password_hash::{PasswordHash, PasswordVerifier};
    use std::path::Path;

    #[test]
    fn the_hash_fits_its_password_only() {
        let Ok(made) = hash(b"secret") else {
            panic!("no hash")
        };
        assert!(made.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{made}");
        let parsed = PasswordHash::new(&made).expect("a hash");
        assert!(Argon2::default().verify_password(b"secret", &parsed).is_ok());
        assert!(Argon2::default().verify_password(b"Secret", &parsed).is_err());
        let Ok(again) = hash(b"secret") else {
            panic!("no hash")
        };
        assert_ne!(made, again, "the salt differs");
    }

    /// Made by Python's hashlib.
    #[test]
    fn what_is_kept_for_scram_is_what_the_specification_says() {
        let made = scram(b"pencil", b"0123456789abcdef");
        assert_eq!(
            made,
            "SCRAM-SHA-256$10000:MDEyMzQ1Njc4OWFiY2RlZg==$mofocBAC1vWokUhFTbiikgjtbWT5OBb+pcl/CdQ/OUc=:Yo2GQtQnfSUJqv7PC2p0NqCkWJ9Jng38wiPAa66DUTs="
        );
    }

    #[test]
    fn the_entry_of_a_scram_user_is_a_configuration() {
        let text = format!(
            "[policy.scram]\nfile = \"scram.wasm\"\n{}",
            scram_entry("a \"b\"", "x")
        );
        let config = Config::parse(Path::new("sluice.toml"), &text).expect("no problems");
        assert_eq!(config.policies[0].settings["users"][0]["name"], "a \"b\"");
    }

    #[test]
    fn the_entry_of_a_user_is_a_configuration() {
        for name in ["ada", "a \"quoted\"\nname", "x]\n[limits]\nqos_max = 0"] {
            let config =
                Config::parse(Path::new("sluice.toml"), &entry(name, "$argon2id$x")).expect("no problems");
            assert_eq!(config.policies[0].settings["users"][0]["name"], name);
            assert_eq!(config.limits, Config::default().limits);
        }
    }
}
