//! Users with password hashes and topic rules from the settings. This policy is built into `sluice`.
//!
//! ```toml
//! [policy.users.settings]
//! # Who may come without a user name: "never", "loopback" (clients on this machine) or "anyone". They may do
//! # everything. Unset, it is "loopback" while there are no users and "never" once there are.
//! anonymous = "never"
//! # For every user, after the user's own. The first rule that matches decides; no rule that matches refuses.
//! # `%u` is the user name, `%c` the client id; the verdict is `allow` or `deny`, of `publish`, `subscribe` or `all`.
//! rules = [
//!   { allow = "publish", topic = "sensors/%u/#", qos_max = 1, retain = false },
//!   { allow = "subscribe", topic = "commands/%u/%c" },
//! ]
//!
//! [[policy.users.settings.users]]
//! name = "ada"
//! password = "$argon2id$v=19$..." # made by `sluice passwd`
//! rules = [{ allow = "all", topic = "lab/#" }]
//! ```
//!
//! With `by_certificate`, who comes with a certificate that says its user name needs no password, and need not be among
//! the users: the rules of everyone hold. It says where in the certificate the name is: "cn", "san-dns", "san-uri",
//! "san-email" or "fingerprint", as a listener's `identity` does. Users that come so only may go without a password.
//!
//! After a change of the settings every live session is judged again: a user that is gone, or whose password hash has
//! changed, must leave; for the others the new rules hold at once.

mod certificate;

use std::collections::BTreeMap;

use certificate::Field;
use serde::Deserialize;
use sluice_policy::prelude::*;
use sluice_policy::{GRANTS_MAX, Peer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    users: Vec<User>,
    #[serde(default)]
    rules: Vec<Grant>,
    anonymous: Option<Anonymous>,
    by_certificate: Option<Field>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    name: String,
    password: Option<String>,
    #[serde(default)]
    rules: Vec<Grant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Anonymous {
    Never,
    Loopback,
    Anyone,
}

struct StaticUsers {
    users: BTreeMap<String, User>,
    rules: Vec<Grant>,
    anonymous: Anonymous,
    by_certificate: Option<Field>,
}

/// The tag of sessions that were let in by their certificate: no password's.
const BY_CERTIFICATE: u64 = 0;

#[policy]
impl Policy for StaticUsers {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        let mut users = BTreeMap::new();
        for user in settings.users {
            check(&user, settings.rules.len(), settings.by_certificate)?;
            if let Some(twin) = users.insert(user.name.clone(), user) {
                return Err(format!("`users`: `{}` is there twice", twin.name).into());
            }
        }
        if settings.rules.len() > GRANTS_MAX {
            return Err(format!("`rules`: there are more than {GRANTS_MAX}").into());
        }
        let unset = if users.is_empty() && settings.by_certificate.is_none() {
            Anonymous::Loopback
        } else {
            Anonymous::Never
        };
        let anonymous = settings.anonymous.unwrap_or(unset);
        match anonymous {
            Anonymous::Never => {}
            Anonymous::Loopback => {
                log::info!("clients on this machine need no user name and may do everything")
            }
            Anonymous::Anyone => log::warn!("clients from anywhere need no user name and may do everything"),
        }
        Ok(Self {
            users,
            rules: settings.rules,
            anonymous,
            by_certificate: settings.by_certificate,
        })
    }

    async fn on_connect(&self, request: &ConnectRequest, ask: &Ask) -> Connect {
        if request.auth_method.is_some() {
            return Connect::deny(Reason::BadAuthenticationMethod);
        }
        let name = match &request.username {
            Some(name) if self.is_named(name, &request.peer) => {
                return Connect::admit(self.terms(name).tag(BY_CERTIFICATE));
            }
            Some(name) if !self.users.is_empty() => name,
            _ if self.admits_anonymous(&request.peer) => return Connect::admit(everything()),
            _ => return Connect::deny(Reason::NotAuthorized),
        };
        let Some(password) = &request.password else {
            return Connect::deny(Reason::BadUserNameOrPassword);
        };
        let hash = self.password_of(name);
        // For a user that does not exist some hash is checked all the same: the time must not tell.
        let mut all = self.users.values().filter_map(|user| user.password.as_deref());
        let Some(checked) = hash.or(all.next()) else {
            return Connect::deny(Reason::NotAuthorized);
        };
        let fits = ask.verify_password(checked, password).await;
        match hash {
            Some(hash) if fits => Connect::admit(self.terms(name).tag(fingerprint(hash))),
            _ => Connect::deny(Reason::BadUserNameOrPassword),
        }
    }

    fn on_refresh(&self, request: &RefreshRequest) -> Refresh {
        let Some(name) = &request.principal else {
            return match self.admits_anonymous(&request.peer) {
                true => Refresh::admit(everything()),
                false => Refresh::deny(Reason::NotAuthorized),
            };
        };
        if request.tag == BY_CERTIFICATE {
            return match self.is_named(name, &request.peer) {
                true => Refresh::admit(self.terms(name).tag(BY_CERTIFICATE)),
                false => Refresh::deny(Reason::NotAuthorized.because("certificates count no longer")),
            };
        }
        match self.password_of(name).map(fingerprint) {
            Some(tag) if tag == request.tag => Refresh::admit(self.terms(name).tag(tag)),
            Some(_) => Refresh::deny(Reason::NotAuthorized.because("the password was changed")),
            None => Refresh::deny(Reason::NotAuthorized.because("the user was removed")),
        }
    }
}

impl StaticUsers {
    fn admits_anonymous(&self, peer: &Peer) -> bool {
        match self.anonymous {
            Anonymous::Never => false,
            Anonymous::Loopback => peer.is_local(),
            Anonymous::Anyone => true,
        }
    }

    /// Whether the certificate says that this is the client's name.
    fn is_named(&self, name: &str, peer: &Peer) -> bool {
        let certificate = self.by_certificate.zip(peer.certificate());
        certificate.is_some_and(|(field, certificate)| field.name_in(certificate) == Some(name))
    }

    fn password_of(&self, name: &str) -> Option<&str> {
        self.users.get(name)?.password.as_deref()
    }

    fn terms(&self, name: &str) -> Admission {
        let own = self.users.get(name).map_or(&[][..], |user| &user.rules);
        let rules = own.iter().chain(&self.rules).cloned();
        Admission::new().principal(name).grants(rules)
    }
}

/// `#` does not reach topics that begin with `$`.
fn everything() -> Admission {
    Admission::new().grants([Grant::allow("#"), Grant::allow("$SYS/#").subscribe()])
}

fn check(user: &User, rules_of_everyone: usize, by_certificate: Option<Field>) -> Result<(), Error> {
    let name = user.name.escape_debug();
    if user.name.is_empty() {
        return Err("`users`: a name is empty".into());
    }
    if user.rules.len() + rules_of_everyone > GRANTS_MAX {
        return Err(
            format!("`rules`: `{name}` has more than {GRANTS_MAX}, those of everyone included").into(),
        );
    }
    let Some(password) = &user.password else {
        return match by_certificate {
            Some(_) => Ok(()),
            None => Err(format!("`users`: `{name}` has no password").into()),
        };
    };
    if !(password.starts_with("$argon2id$") && password.split('$').count() == 6) {
        return Err(
            format!("`users`: the password of `{name}` is not a hash made by `sluice passwd`").into(),
        );
    }
    Ok(())
}

/// Tells whether a password was changed (FNV-1a), and is never [`BY_CERTIFICATE`]. Of the hash, which is not secret from
/// the broker.
fn fingerprint(password_hash: &str) -> u64 {
    let hash = password_hash.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    hash.max(BY_CERTIFICATE + 1)
}

#[cfg(test)]
mod tests;
