//! What the broker does for policies between two rounds of a CONNECT: checking passwords, on a bounded pool.

use super::verdict::Answer;
use argon2::password_hash::{PasswordHash, PasswordVerifier as _};
use argon2::{Argon2, Params};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use tokio::sync::Semaphore;

/// Memory of one check, in KiB. The hash names its own cost, and the hash comes from a policy: without a bound one
/// CONNECT could ask for 4 GiB. 64 MiB is more than the 19 to 46 MiB that OWASP recommends.
const MEMORY_KIB_MAX: u32 = 64 * 1024;
/// Memory times passes: about a quarter of a second.
const COST_KIB_MAX: u64 = 256 * 1024;
/// Lanes.
const PARALLELISM_MAX: u32 = 8;
/// Longest PHC string.
const HASH_BYTES_MAX: usize = 512;
/// Longest password; MQTT allows 64 KiB.
const PASSWORD_BYTES_MAX: usize = 65_535;
/// Checks that wait for their turn; further ones fail at once rather than after the client has gone.
const WAITING_MAX: usize = 1024;

/// Checks passwords, as many at a time as there are cores.
#[derive(Debug)]
pub(super) struct PasswordPool {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl PasswordPool {
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(cores)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Whether the password fits the hash.
    pub(super) async fn verify(&self, hash: String, password: Vec<u8>) -> Answer {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Answer::Failed("too many passwords wait to be checked".into());
        }
        let waiting = Waiting(&self.waiting);
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        drop(waiting);
        let Ok(turn) = turn else {
            return Answer::Failed("the broker is shutting down".into());
        };
        let checked = tokio::task::spawn_blocking(move || {
            let fits = verify(&hash, &password);
            drop(turn);
            fits
        });
        match checked.await {
            Ok(Ok(fits)) => Answer::Password(fits),
            Ok(Err(problem)) => Answer::Failed(problem),
            Err(_) => Answer::Failed("the check was interrupted".into()),
        }
    }
}

/// Counts down also when the client goes away while waiting.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn verify(hash: &str, password: &[u8]) -> Result<bool, String> {
    if hash.len() > HASH_BYTES_MAX || password.len() > PASSWORD_BYTES_MAX {
        return Err("the hash or password is too long".into());
    }
    let hash = PasswordHash::new(hash).map_err(|error| format!("not a PHC string: {error}"))?;
    if !matches!(hash.algorithm.as_str(), "argon2id" | "argon2i" | "argon2d") {
        return Err(format!("`{}` is not supported; use argon2id", hash.algorithm));
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::{PasswordHasher as _, SaltString};
    use argon2::{Algorithm, Version};

    fn hash(m: u32, t: u32) -> String {
        let argon2 = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(m, t, 1, None).unwrap(),
        );
        let salt = SaltString::from_b64("c29tZXNhbHQ").unwrap();
        argon2.hash_password(b"secret", &salt).unwrap().to_string()
    }

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let pool = PasswordPool::new();
        let hash = hash(64, 1);
        assert_eq!(
            pool.verify(hash.clone(), b"secret".to_vec()).await,
            Answer::Password(true)
        );
        assert_eq!(
            pool.verify(hash.clone(), b"wrong".to_vec()).await,
            Answer::Password(false)
        );
        assert_eq!(pool.verify(hash, Vec::new()).await, Answer::Password(false));
    }

    #[test]
    fn a_hash_that_asks_for_too_much_is_not_computed() {
        let cheap = hash(64, 1);
        for costly in [
            "m=4194304,t=1,p=1",
            "m=65536,t=5,p=1",
            "m=64,t=4294967295,p=1",
            "m=512,t=1,p=64",
        ] {
            let costly = cheap.replace("m=64,t=1,p=1", costly);
            assert!(
                verify(&costly, b"secret").unwrap_err().contains("costs too much"),
                "{costly}"
            );
        }
    }

    #[test]
    fn what_is_no_argon2_hash_fails() {
        for hash in [
            "",
            "secret",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$argon2id$",
            "$scrypt$ln=17$c2FsdA$aGFzaA",
        ] {
            assert!(verify(hash, b"secret").is_err(), "{hash}");
        }
    }
}
