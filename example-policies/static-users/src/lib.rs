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
//! After a change of the settings every live session is judged again: a user that is gone, or whose password hash has
//! changed, must leave; for the others the new rules hold at once.

use std::collections::BTreeMap;

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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    name: String,
    password: String,
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
}

#[policy]
impl Policy for StaticUsers {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        let mut users = BTreeMap::new();
        for user in settings.users {
            check(&user, settings.rules.len())?;
            if let Some(twin) = users.insert(user.name.clone(), user) {
                return Err(format!("`users`: `{}` is there twice", twin.name).into());
            }
        }
        let unset = if users.is_empty() {
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
        })
    }

    async fn on_connect(&self, request: &ConnectRequest, ask: &Ask) -> Connect {
        if request.auth_method.is_some() {
            return Connect::deny(Reason::BadAuthenticationMethod);
        }
        let name = match &request.username {
            Some(name) if !self.users.is_empty() => name,
            _ if self.admits_anonymous(&request.peer) => return Connect::admit(everything()),
            _ => return Connect::deny(Reason::NotAuthorized),
        };
        let Some(password) = &request.password else {
            return Connect::deny(Reason::BadUserNameOrPassword);
        };
        let user = self.users.get(name);
        // For a user that does not exist some hash is checked all the same: the time must not tell.
        let Some(checked) = user.or(self.users.values().next()) else {
            return Connect::deny(Reason::NotAuthorized);
        };
        let fits = ask.verify_password(&checked.password, password).await;
        match user {
            Some(user) if fits => Connect::admit(self.terms(user)),
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
        match self.users.get(name) {
            Some(user) if fingerprint(&user.password) == request.tag => Refresh::admit(self.terms(user)),
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

    fn terms(&self, user: &User) -> Admission {
        let rules = user.rules.iter().chain(&self.rules).cloned();
        Admission::new()
            .principal(&user.name)
            .tag(fingerprint(&user.password))
            .grants(rules)
    }
}

/// `#` does not reach topics that begin with `$`.
fn everything() -> Admission {
    Admission::new().grants([Grant::allow("#"), Grant::allow("$SYS/#").subscribe()])
}

fn check(user: &User, rules_of_everyone: usize) -> Result<(), Error> {
    let name = user.name.escape_debug();
    if user.name.is_empty() {
        return Err("`users`: a name is empty".into());
    }
    if !(user.password.starts_with("$argon2id$") && user.password.split('$').count() == 6) {
        return Err(
            format!("`users`: the password of `{name}` is not a hash made by `sluice passwd`").into(),
        );
    }
    if user.rules.len() + rules_of_everyone > GRANTS_MAX {
        return Err(
            format!("`rules`: `{name}` has more than {GRANTS_MAX}, those of everyone included").into(),
        );
    }
    Ok(())
}

/// Tells whether a password was changed (FNV-1a). Of the hash, which is not secret from the broker.
fn fingerprint(password_hash: &str) -> u64 {
    password_hash.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests;
