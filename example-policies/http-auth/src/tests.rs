use serde_json::json;
use sluice_policy::testing::{self, Client, Tested, response};

use super::*;

/// The policy with these settings and a service that answers so.
fn gate(
    settings: Value,
    answer: impl Fn(&HttpRequest) -> Result<HttpResponse, String> + 'static,
) -> Tested<HttpAuth> {
    let mut all = json!({ "service": "accounts" });
    all.as_object_mut()
        .unwrap()
        .extend(settings.as_object().unwrap().clone());
    testing::policy(all).unwrap().services(answer)
}

fn ada() -> Client {
    testing::client("dev-1").username("ada").password("lovelace")
}

fn fields(request: &HttpRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[test]
fn the_service_is_told_who_comes_and_its_yes_lets_in() {
    let gate = gate(json!({}), |_| Ok(response(200, json!({ "result": "allow" }))));
    let session = gate.admit(&ada());
    assert_eq!(session.terms().principal.as_deref(), Some("ada"));
    assert!(!session.may_publish("anything"), "it was granted nothing");
    let [request] = &gate.http_requests()[..] else {
        panic!("one question");
    };
    assert_eq!(
        (request.service.as_str(), request.path.join("/").as_str()),
        ("accounts", "auth")
    );
    let expected =
        json!({ "clientid": "dev-1", "username": "ada", "password": "lovelace", "ipaddress": "192.0.2.1" });
    assert_eq!(fields(request), expected);
}

#[test]
fn everything_but_a_yes_refuses() {
    for (answer, reason) in [
        (
            Ok(response(200, json!({ "result": "deny" }))),
            Reason::BadUserNameOrPassword,
        ),
        (Ok(response(401, json!({}))), Reason::BadUserNameOrPassword),
        (Ok(response(200, json!("what?"))), Reason::BadUserNameOrPassword),
        (Err("it is down".to_owned()), Reason::ServerUnavailable),
    ] {
        let shown = format!("{answer:?}");
        let gate = gate(json!({}), move |_| answer.clone());
        match gate.connect(&ada()) {
            Connect::Deny(denial) => assert_eq!(denial.reason, reason.code(), "{shown}"),
            other => panic!("{shown}: {other:?}"),
        }
    }
    let ignoring = gate(json!({}), |_| Ok(response(200, json!({ "result": "ignore" }))));
    assert_eq!(ignoring.connect(&ada()), Connect::abstain());
}

#[test]
fn who_shows_nothing_is_refused_without_a_question() {
    let gate = gate(json!({}), |_| Ok(response(200, json!({ "result": "allow" }))));
    for nobody in [
        testing::client("a"),
        testing::client("a").username("ada"),
        ada().password([0xff, 0xfe]),
    ] {
        assert!(matches!(gate.connect(&nobody), Connect::Deny(_)));
    }
    assert!(gate.http_requests().is_empty());
}

#[test]
fn the_rules_attributes_and_time_of_an_emqx_service_hold() {
    let gate = gate(json!({ "recheck_seconds": 3_600 }), |_| {
        let acl = json!([
            { "permission": "deny", "action": "all", "topic": "t/secret" },
            { "permission": "allow", "action": "all", "topic": "t/${clientid}/#" },
        ]);
        let attributes = json!({ "role": "sensor" });
        let said = json!({ "result": "allow", "acl": acl, "client_attrs": attributes, "expire_at": 90 });
        Ok(response(200, said))
    });
    let session = gate.admit(&ada());
    assert!(session.may_publish("t/dev-1/x") && session.may_subscribe("t/dev-1/#"));
    assert!(!session.may_publish("t/secret") && !session.may_publish("t/dev-2/x"));
    assert_eq!(
        session.terms().attributes,
        [("role".to_owned(), "sensor".to_owned())]
    );
    assert_eq!(session.budget().connection_seconds_max, Some(90));
    gate.advance(Duration::from_secs(91));
    assert!(
        matches!(gate.connect(&ada()), Connect::Deny(_)),
        "the account has expired"
    );
}

#[test]
fn rules_that_are_not_understood_refuse() {
    let gate = gate(json!({}), |_| {
        Ok(response(
            200,
            json!({ "result": "allow", "acl": [{ "permission": "allow" }] }),
        ))
    });
    assert_eq!(gate.connect(&ada()), Connect::deny(Reason::NotAuthorized));
}

/// As mosquitto-go-auth is configured.
fn go_auth() -> Value {
    json!({
        "format": "form", "user_path": "user", "superuser_path": "superuser", "acl_path": "acl",
        "topics": ["devices/%c/#", "news/#", "users/%u/in"], "reuse_seconds": 60,
    })
}

#[test]
fn a_mosquitto_go_auth_service_is_asked_about_every_filter_and_action() {
    let gate = gate(go_auth(), |request| {
        let body = String::from_utf8(request.body.clone()).unwrap();
        let is_yes = match request.path.join("/").as_str() {
            "user" => body.contains("password=lovelace"),
            "superuser" => false,
            _ => body.contains("topic=devices%2Fdev-1%2F%23") || body.contains("topic=news%2F%23&acc=4"),
        };
        Ok(response(200, json!({ "Ok": is_yes, "Error": "" })))
    });
    let session = gate.admit(&ada());
    assert!(session.may_publish("devices/dev-1/t") && session.may_subscribe("devices/dev-1/#"));
    assert!(session.may_subscribe("news/today") && !session.may_publish("news/today"));
    assert!(!session.may_publish("users/ada/in") && !session.may_subscribe("users/ada/in"));
    assert_eq!(gate.http_requests().len(), 2 + 6);
    let is_reused =
        |request: &HttpRequest| request.reuse_success_seconds == 60 && request.reuse_other_seconds == 60;
    assert!(gate.http_requests().iter().all(is_reused));
}

#[test]
fn a_superuser_may_do_everything_and_is_not_asked_about() {
    let gate = gate(go_auth(), |_| Ok(response(200, json!({ "Ok": true }))));
    let session = gate.admit(&ada());
    assert!(
        session.may_publish("any/thing")
            && session.may_subscribe("#")
            && session.may_subscribe("$SYS/broker/#")
    );
    assert!(!session.may_publish("$SYS/broker/x"));
    assert_eq!(gate.http_requests().len(), 2);
}

#[test]
fn settings_that_contradict_each_other_are_errors() {
    let refused = |settings: Value| testing::policy::<HttpAuth>(settings).is_err();
    assert!(refused(json!({})));
    assert!(refused(json!({ "service": "a", "acl_path": "acl" })));
    assert!(refused(json!({ "service": "a", "topics": ["a"] })));
    assert!(refused(
        json!({ "service": "a", "acl_path": "acl", "topics": vec!["a"; 9] })
    ));
}
