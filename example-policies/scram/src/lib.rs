//! SCRAM-SHA-256 (RFC 5802, RFC 7677): clients prove that they know a password without sending it, and the broker that
//! it knows them, by AUTH packets (MQTT 5.0 section 4.12).
//!
//! What is kept of a password cannot be used to log in. `sluice passwd --scram --user ada` makes it; PostgreSQL keeps the
//! same in `pg_authid`.
//!
//! ```toml
//! [policy.scram.settings]
//! [[policy.scram.settings.users]]
//! name = "ada"
//! secret = "SCRAM-SHA-256$4096:SALT$STORED_KEY:SERVER_KEY"
//! # `%a{user}` is the name that was proven; `%u` would be the user name of CONNECT, which nobody checks.
//! rules = [{ allow = "all", topic = "lab/%a{user}/#" }]
//! ```
//!
//! A client may prove itself again on the live connection, as somebody else too: then that one's rules hold.

use serde::Deserialize;
use sluice_policy::prelude::*;

mod exchange;
mod message;
mod secret;

use exchange::Exchange;
use message::ClientFirst;
use secret::Secret;

const METHOD: &str = "SCRAM-SHA-256";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    users: Vec<User>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    name: String,
    secret: Secret,
    rules: Vec<Grant>,
}

struct Scram {
    users: Vec<User>,
}

#[policy]
impl Policy for Scram {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        for (index, user) in settings.users.iter().enumerate() {
            if settings
                .users
                .iter()
                .take(index)
                .any(|other| other.name == user.name)
            {
                return Err(format!("`users`: {:?} is there twice", user.name).into());
            }
        }
        Ok(Self {
            users: settings.users,
        })
    }

    async fn on_connect(&self, request: &ConnectRequest, ask: &Ask) -> Connect {
        match request.auth_method.as_deref() {
            Some(METHOD) => {}
            Some(_) => return Connect::deny(Reason::BadAuthenticationMethod),
            None => return Connect::abstain(),
        }
        let Some(first) = request.auth_data.as_deref().and_then(ClientFirst::read) else {
            return Connect::deny(Reason::NotAuthorized.because("this is no SCRAM message"));
        };
        let user = self.users.iter().find(|user| user.name == first.user);
        let secret = match user {
            Some(user) => user.secret.clone(),
            // Strangers learn nothing about who exists: they get a salt, always the same, and fail at the end.
            None => Secret::nobodys(self.users.iter().map(|user| &user.secret), &first.user),
        };
        let exchange = Exchange::new(&first, &secret, ask.nonce());
        let Some(last) = ask.challenge(exchange.server_first()).await else {
            return Connect::deny(Reason::NotAuthorized);
        };
        match (user, exchange.verify(&last)) {
            (Some(user), Some(server_final)) => Connect::admit(
                Admission::new()
                    .principal(&user.name)
                    .attribute("user", &user.name)
                    .grants(user.rules.iter().cloned())
                    .auth_data(server_final),
            ),
            _ => Connect::deny(Reason::NotAuthorized),
        }
    }
}

#[cfg(test)]
mod tests;
