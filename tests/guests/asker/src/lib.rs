//! Asks the broker what its clients' user names say, and tells them the answer.
//!
//! `http` asks the service that the password names, or `accounts`, about the client id, and lets in when it says `yes`;
//! `cached` asks what may be asked once for all, `twice` two things at once; `nowhere` asks where the path leads out;
//! `fallback` lets in whoever the service is silent about. `password 0` has the first hash of the settings checked,
//! `jwt` the token of the password by the issuer `identity`. Nobody else is let in but `plain`, and clients with an
//! authentication method, about whom the service is asked when they authenticate again. Everything may be published
//! and subscribed.

use std::time::Duration;

use serde::Deserialize;
use sluice_policy::ConnectPurpose;
use sluice_policy::prelude::*;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asker {
    /// For `password 0`, `password 1` and so on.
    hashes: Vec<String>,
}

#[policy]
impl Policy for Asker {
    type Settings = Self;

    async fn on_connect(&self, request: &ConnectRequest, ask: &Ask) -> Connect {
        let password = request.password.as_ref().map(|password| password.as_bytes());
        let service = password
            .and_then(|name| std::str::from_utf8(name).ok())
            .unwrap_or("accounts");
        let about = |id: &str| HttpRequest::get(service).path(["clients", id]);
        let id = &request.client_id;
        if request.auth_method.is_some() {
            return match request.purpose {
                ConnectPurpose::Connect => Connect::admit(terms()),
                ConnectPurpose::Reauthenticate => said(&ask.http(about(id)).await),
            };
        }
        match request.username.as_deref() {
            Some("plain") => Connect::admit(terms()),
            Some("http") => said(&ask.http(about(id)).await),
            Some("cached") => {
                let question = HttpRequest::get(service).path(["cached"]);
                let time = Duration::from_secs(60);
                said(&ask.http(question.reuse_for(time)).await)
            }
            Some("twice") => {
                let answers = ask.http_all([about(id), about("other")]).await;
                match answers.iter().all(is_yes) {
                    true => Connect::admit(terms()),
                    false => Connect::deny(Reason::NotAuthorized),
                }
            }
            Some("nowhere") => said(&ask.http(HttpRequest::get("accounts").path([".."])).await),
            Some("fallback") => match ask.try_http(about(id)).await {
                Ok(response) => said(&response),
                Err(why) => Connect::admit(terms().user_property("why", why)),
            },
            Some("jwt") => match ask.verify_jwt("identity", password.unwrap_or_default()).await {
                Ok(token) => Connect::admit(terms().until(&token)),
                Err(why) => Connect::deny(Reason::NotAuthorized.because(why)),
            },
            Some(name) => match (self.hash(name), &request.password) {
                (Some(hash), Some(password)) if ask.verify_password(hash, password).await => {
                    Connect::admit(terms())
                }
                _ => Connect::deny(Reason::BadUserNameOrPassword),
            },
            None => Connect::deny(Reason::NotAuthorized),
        }
    }
}

impl Asker {
    fn hash(&self, name: &str) -> Option<&str> {
        let index: usize = name.strip_prefix("password ")?.parse().ok()?;
        self.hashes.get(index).map(String::as_str)
    }
}

fn terms() -> Admission {
    Admission::new().grants([Grant::allow("#")])
}

fn is_yes(response: &HttpResponse) -> bool {
    response.is_success() && response.text() == "yes"
}

fn said(response: &HttpResponse) -> Connect {
    match is_yes(response) {
        true => Connect::admit(terms().user_property("said", response.text())),
        false => Connect::deny(Reason::NotAuthorized.because(format!("it said {}", response.status))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_policy::testing;

    use super::*;

    #[test]
    fn only_a_yes_lets_in() {
        for (status, body, is_let_in) in [(200, "yes", true), (200, "no", false), (404, "yes", false)] {
            let gate = testing::policy::<Asker>(json!({}))
                .unwrap()
                .services(move |request| {
                    assert_eq!(request.path, ["clients", "a"]);
                    Ok(HttpResponse {
                        status,
                        content_type: None,
                        body: body.as_bytes().to_vec(),
                    })
                });
            let outcome = gate.connect(&testing::client("a").username("http"));
            assert_eq!(matches!(outcome, Connect::Admit(_)), is_let_in, "{status} {body}");
        }
    }
}
