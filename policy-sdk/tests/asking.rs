//! Questions to services and about tokens, as a policy asks them and as its tests answer.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test and its policy fail by panicking"
)]

use serde_json::json;
use sluice_policy::prelude::*;
use sluice_policy::testing::{self, Tested};

/// Asks what the client id says.
#[derive(Default)]
struct Asking;

#[policy]
impl Policy for Asking {
    async fn on_connect(&self, request: &ConnectRequest, ask: &Ask) -> Connect {
        let about = |what: &str| {
            HttpRequest::post("accounts")
                .path([what])
                .json(&json!({ "of": what }))
        };
        let admitted = match request.client_id.as_str() {
            "one" => ask.http(about("a")).await.is_success(),
            "three" => {
                let answers = ask.http_all(["a", "b", "c"].map(about)).await;
                answers.iter().map(|answer| answer.status).eq([200, 404, 200])
            }
            "spare" => match ask.try_http(about("a")).await {
                Ok(response) => response.is_success(),
                Err(_) => ask.verify_jwt("issuer", "the spare key").await.is_ok(),
            },
            "token" => {
                return match ask.verify_jwt("issuer", "good").await {
                    Ok(token) => Connect::admit(
                        Admission::new()
                            .principal(token.text("sub").unwrap_or_default())
                            .until(&token),
                    ),
                    Err(why) => Connect::deny(Reason::NotAuthorized.because(why)),
                };
            }
            other => panic!("no such test: {other}"),
        };
        match admitted {
            true => Connect::admit(Admission::new()),
            false => Connect::deny(Reason::NotAuthorized),
        }
    }
}

fn asking() -> Tested<Asking> {
    testing::policy::<Asking>(json!({})).unwrap().services(|request| {
        let status = if request.path == ["b"] { 404 } else { 200 };
        Ok(testing::response(status, json!({})))
    })
}

fn paths(gate: &Tested<Asking>) -> Vec<String> {
    gate.http_requests()
        .iter()
        .map(|request| request.path.join("/"))
        .collect()
}

#[test]
fn a_service_is_asked_once_and_its_answer_kept_for_every_later_run() {
    let gate = asking();
    gate.admit(&testing::client("one"));
    assert_eq!(paths(&gate), ["a"]);
    let [request] = &gate.http_requests()[..] else {
        panic!("one request");
    };
    assert_eq!(request.body, br#"{"of":"a"}"#);
    assert_eq!(request.content_type.as_deref(), Some("application/json"));
}

#[test]
fn several_requests_at_once_are_answered_in_their_order() {
    let gate = asking();
    gate.admit(&testing::client("three"));
    assert_eq!(paths(&gate), ["a", "b", "c"]);
}

#[test]
fn a_service_that_cannot_be_reached_refuses_the_client_unless_the_policy_knows_better() {
    let down = || {
        testing::policy::<Asking>(json!({}))
            .unwrap()
            .services(|_| Err("it is down".to_owned()))
    };
    let gate = down();
    let Connect::Deny(denial) = gate.connect(&testing::client("one")) else {
        panic!("it was let in");
    };
    assert_eq!(denial.reason, Reason::ServerUnavailable.code());
    assert_eq!(
        gate.log(),
        ["warn: the broker could not do what was asked: it is down"]
    );

    let refused = Connect::deny(Reason::NotAuthorized);
    assert_eq!(down().connect(&testing::client("spare")), refused);
    down()
        .tokens(|_, token| match token {
            b"the spare key" => Ok((json!({}), 60)),
            _ => Err("wrong".to_owned()),
        })
        .admit(&testing::client("spare"));
}

#[test]
fn a_token_bounds_the_connection_and_a_bad_one_says_what_is_wrong() {
    let gate = asking().tokens(|issuer, token| match (issuer, token) {
        ("issuer", b"good") => Ok((json!({ "sub": "ada" }), 90)),
        _ => Err("nobody signed it".to_owned()),
    });
    let session = gate.admit(&testing::client("token"));
    assert_eq!(session.terms().principal.as_deref(), Some("ada"));
    assert_eq!(session.budget().connection_seconds_max, Some(90));

    let expired = asking().tokens(|_, _| Err("it has expired".to_owned()));
    assert_eq!(
        expired.connect(&testing::client("token")),
        Connect::deny(Reason::NotAuthorized.because("it has expired"))
    );
}

#[test]
fn a_stricter_limit_than_the_tokens_stays() {
    let gate = asking().tokens(|_, _| Ok((json!({}), 90)));
    let session = gate.admit(&testing::client("token"));
    assert_eq!(session.budget().connection_seconds_max, Some(90));
    let token = Token::from_claims(json!({ "sub": "ada" }), 90);
    assert_eq!(
        Budget::default()
            .connection_seconds_max(5)
            .until(&token)
            .connection_seconds_max,
        Some(5)
    );
}
