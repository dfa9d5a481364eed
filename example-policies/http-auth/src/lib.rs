//! Asks an HTTP service who may come in and what they may do, as EMQX and mosquitto-go-auth do.
//!
//! The service gets `clientid`, `username`, `password` and `ipaddress` by POST, and answers 200 with
//! `{ "result": "allow" }` (EMQX: also `is_superuser`, `client_attrs`, `acl`, `expire_at`) or `{ "Ok": true }`
//! (mosquitto-go-auth), or just 200. What clients may do is asked when they connect: while a message waits there is no
//! time for a service. So the answer is a list of rules (`acl`), or the service is asked about each of the topic filters
//! in `topics`; the broker applies what comes out by itself. `recheck_seconds` bounds how long that holds.
//!
//! ```toml
//! [policy.accounts]
//! file = "http-auth.wasm"
//! capabilities = ["http:accounts", "clock"]
//!
//! [policy.accounts.settings]
//! service = "accounts"          # name of the [[service]]
//! format = "json"               # or "form"
//! answer = "json"               # or "status": 2xx is yes, whatever else it says
//! user_path = "auth"            # below the service's URL; mosquitto-go-auth: "user"
//! # superuser_path = "superuser"  # asked as well; mosquitto-go-auth
//! # acl_path = "acl"              # asked once per filter and action, with `topic` and `acc` (2 publish, 4 subscribe)
//! # topics = ["devices/%c/#"]     # %c and %u stand for client id and user name; at most 8
//! # rules = [{ allow = "subscribe", topic = "news/#" }]   # for everybody, after those of the service
//! # reuse_seconds = 60            # a client that comes back within this time is not asked about again
//! # recheck_seconds = 3600        # a client is disconnected after this time, comes back and is asked about again
//! ```

use std::time::Duration;

use serde::Deserialize;
use sluice_policy::prelude::*;
use sluice_policy::serde_json::{Map, Value};
use sluice_policy::{emqx, host};

mod answer;

use answer::{Answer, Verdict};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpAuth {
    service: String,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    answer: Answer,
    #[serde(default = "default_user_path")]
    user_path: String,
    superuser_path: Option<String>,
    acl_path: Option<String>,
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    rules: Vec<Grant>,
    #[serde(default)]
    reuse_seconds: u32,
    recheck_seconds: Option<u32>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Form,
}

/// Two questions about each, eight questions at a time, and a round for the user: the broker allows eight rounds.
const TOPICS_MAX: usize = 8;
/// `acc` of mosquitto-go-auth.
const PUBLISH: &str = "2";
const SUBSCRIBE: &str = "4";

fn default_user_path() -> String {
    "auth".to_owned()
}

#[policy]
impl Policy for HttpAuth {
    type Settings = Self;

    fn new(settings: Self) -> Result<Self, Error> {
        if settings.topics.len() > TOPICS_MAX {
            return Err(format!("`topics`: at most {TOPICS_MAX}").into());
        }
        if settings.acl_path.is_some() == settings.topics.is_empty() {
            return Err("`acl_path` and `topics` belong together".into());
        }
        Ok(settings)
    }

    async fn on_connect(&self, request: &ConnectRequest, ask: &Ask) -> Connect {
        let (Some(username), Some(password)) = (&request.username, &request.password) else {
            return Connect::deny(Reason::NotAuthorized.because("a user name and a password are needed"));
        };
        let Ok(password) = std::str::from_utf8(password.as_bytes()) else {
            return Connect::deny(Reason::BadUserNameOrPassword);
        };
        let client = [
            ("clientid", request.client_id.as_str()),
            ("username", username.as_str()),
            ("ipaddress", request.peer.address.as_str()),
        ];
        let with_password = [&client[..], &[("password", password)]].concat();
        let response = ask.http(self.question(&self.user_path, &with_password)).await;
        let said = match self.answer.read(&response) {
            (Verdict::Yes, said) => said,
            (Verdict::No, _) => return Connect::deny(Reason::BadUserNameOrPassword),
            (Verdict::NoOpinion, _) => return Connect::abstain(),
        };
        let mut grants = Vec::new();
        if self.is_superuser(&client, &said, ask).await {
            // The broker's own topics begin with `$`, which `#` does not reach.
            grants.extend([Grant::allow("#"), Grant::allow("$SYS/#").subscribe()]);
        } else {
            match said.get("acl").map(emqx::grants) {
                None => {}
                Some(Ok(rules)) => grants.extend(rules),
                Some(Err(why)) => {
                    log::warn!("the service's rules for {username:?} are not understood: {why}");
                    return Connect::deny(Reason::NotAuthorized);
                }
            }
            grants.extend(self.granted_topics(request, &client, ask).await);
            grants.extend(self.rules.iter().cloned());
        }
        match self.terms(username, &said, grants) {
            Some(terms) => Connect::admit(terms),
            None => Connect::deny(Reason::NotAuthorized.because("the account has expired")),
        }
    }
}

impl HttpAuth {
    /// Fields of a client, sent as the settings say.
    fn question(&self, path: &str, fields: &[(&str, &str)]) -> HttpRequest {
        let request = HttpRequest::post(&self.service).path(path.split('/').filter(|part| !part.is_empty()));
        let request = match self.format {
            Format::Form => request.form(fields.iter().copied()),
            Format::Json => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
                request.json(&fields.collect::<Map<_, _>>())
            }
        };
        let time = Duration::from_secs(self.reuse_seconds.into());
        request.reuse_for(time).reuse_refusal_for(time)
    }

    async fn is_superuser(&self, client: &[(&str, &str)], said: &Map<String, Value>, ask: &Ask) -> bool {
        if ["is_superuser", "superuser"]
            .iter()
            .any(|key| said.get(*key) == Some(&Value::Bool(true)))
        {
            return true;
        }
        match &self.superuser_path {
            Some(path) => matches!(
                self.answer.read(&ask.http(self.question(path, client)).await),
                (Verdict::Yes, _)
            ),
            None => false,
        }
    }

    /// Asks about every filter of the settings, for publishing and for subscribing.
    async fn granted_topics(
        &self,
        request: &ConnectRequest,
        client: &[(&str, &str)],
        ask: &Ask,
    ) -> Vec<Grant> {
        let Some(path) = &self.acl_path else {
            return Vec::new();
        };
        let username = request.username.as_deref().unwrap_or_default();
        let mut grants = Vec::new();
        for some in self.topics.chunks(4) {
            let topics: Vec<String> = some
                .iter()
                .map(|topic| topic.replace("%c", &request.client_id).replace("%u", username))
                .collect();
            let questions = topics.iter().flat_map(|topic| {
                [PUBLISH, SUBSCRIBE].map(|acc| {
                    let fields = [client, &[("topic", topic.as_str()), ("acc", acc)]].concat();
                    self.question(path, &fields)
                })
            });
            let answers = ask.http_all(questions).await;
            let may = |response: &HttpResponse| matches!(self.answer.read(response), (Verdict::Yes, _));
            for (topic, answers) in some.iter().zip(answers.chunks(2)) {
                match answers {
                    [publish, subscribe] if may(publish) && may(subscribe) => {
                        grants.push(Grant::allow(topic))
                    }
                    [publish, _] if may(publish) => grants.push(Grant::allow(topic).publish()),
                    [_, subscribe] if may(subscribe) => grants.push(Grant::allow(topic).subscribe()),
                    _ => {}
                }
            }
        }
        grants
    }

    /// `None`: the account's time is over.
    fn terms(&self, username: &str, said: &Map<String, Value>, grants: Vec<Grant>) -> Option<Admission> {
        let mut seconds = self.recheck_seconds;
        if let Some(expires) = said.get("expire_at") {
            let left = expires
                .as_u64()?
                .checked_sub(host::clock::now_unix_milliseconds() / 1_000)?;
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            seconds = Some(seconds.map_or(left, |seconds| seconds.min(left)));
        }
        let mut budget = Budget::default();
        if let Some(seconds) = seconds {
            budget = budget.connection_seconds_max(seconds);
        }
        let mut terms = Admission::new().principal(username).grants(grants).budget(budget);
        let attributes = said.get("client_attrs").and_then(Value::as_object);
        for (name, value) in attributes.into_iter().flatten() {
            terms = terms.attribute(name, value.as_str().unwrap_or_default());
        }
        Some(terms)
    }
}

#[cfg(test)]
mod tests;
