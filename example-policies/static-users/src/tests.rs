//! The policy at work on the host.

use serde_json::{Value, json};
use sluice_policy::testing::{self, Tested};

use super::*;

const ADA: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$YWRh";
const BOB: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$Ym9i";

fn settings() -> Value {
    json!({
        "users": [
            { "name": "ada", "password": ADA, "rules": [
                { "deny": "all", "topic": "lab/private/#" },
                { "allow": "all", "topic": "lab/#" },
            ]},
            { "name": "bob", "password": BOB },
        ],
        "rules": [
            { "allow": "publish", "topic": "sensors/%u/#", "qos_max": 1, "retain": false },
            { "allow": "subscribe", "topic": "commands/%c" },
        ],
    })
}

fn gate(settings: Value) -> Tested<StaticUsers> {
    let fits =
        |hash: &str, password: &[u8]| matches!((hash, password), (ADA, b"lovelace") | (BOB, b"builder"));
    testing::policy(settings).unwrap().passwords(fits)
}

fn ada() -> testing::Client {
    testing::client("dev-1").username("ada").password("lovelace")
}

fn refusal(connect: &Connect) -> Option<u8> {
    match connect {
        Connect::Deny(denial) => Some(denial.reason),
        _ => None,
    }
}

#[test]
fn a_user_with_the_right_password_enters_under_its_own_name() {
    let gate = gate(settings());
    assert_eq!(gate.admit(&ada()).terms().principal.as_deref(), Some("ada"));
}

#[test]
fn a_wrong_password_an_unknown_user_and_no_user_at_all_are_refused() {
    let gate = gate(settings());
    let bad = Some(Reason::BadUserNameOrPassword.code());
    let guest = testing::client("dev-1");
    assert_eq!(refusal(&gate.connect(&ada().password("wrong"))), bad);
    assert_eq!(refusal(&gate.connect(&ada().password("builder"))), bad);
    assert_eq!(refusal(&gate.connect(&guest.clone().username("ada"))), bad);
    assert_eq!(
        refusal(&gate.connect(&guest.clone().username("eve").password("x"))),
        bad
    );
    assert_eq!(
        refusal(&gate.connect(&guest.address("127.0.0.1"))),
        Some(Reason::NotAuthorized.code())
    );
}

#[test]
fn an_unknown_user_costs_a_password_check_and_no_password_opens_it() {
    let gate = gate(settings());
    for password in ["lovelace", "builder", ""] {
        let eve = testing::client("dev-1").username("eve").password(password);
        assert_eq!(
            refusal(&gate.connect(&eve)),
            Some(Reason::BadUserNameOrPassword.code())
        );
    }
    assert_eq!(gate.passwords_checked(), 3);
}

#[test]
fn a_method_of_authentication_it_does_not_know_is_refused() {
    let near = testing::client("dev-1")
        .address("127.0.0.1")
        .auth("SCRAM-SHA-256", "n,,n=ada");
    for (gate, client) in [
        (gate(json!({})), near),
        (gate(settings()), ada().auth("x", "").reauthenticating()),
    ] {
        assert_eq!(
            gate.connect(&client),
            Connect::deny(Reason::BadAuthenticationMethod)
        );
    }
}

#[test]
fn a_password_that_cannot_be_checked_lets_nobody_in() {
    let gate = gate(settings()).failing("the queue is full");
    assert_eq!(
        refusal(&gate.connect(&ada())),
        Some(Reason::ServerUnavailable.code())
    );
    assert_eq!(
        gate.log(),
        ["warn: the broker could not do what was asked: the queue is full"]
    );
}

#[test]
fn the_rules_of_the_user_come_before_those_of_everyone() {
    let gate = gate(settings());
    let ada = gate.admit(&ada());
    assert!(ada.may_publish("lab/door"));
    assert!(!ada.may_publish("lab/private/diary"));
    assert!(!ada.may_subscribe("lab/#"), "it would see what is private");
    assert!(ada.may_publish("sensors/ada/t"));
    assert!(!ada.may_publish("sensors/bob/t"));
    assert!(ada.may_subscribe("commands/dev-1"));
    assert!(!ada.may_publish("commands/dev-1"));
    assert!(!ada.may_subscribe("$SYS/#"));

    let mut retained = testing::publish("sensors/ada/t");
    retained.retain = true;
    assert_eq!(
        ada.publish(retained),
        Publish::deny_with(Reason::RetainNotSupported)
    );
}

#[test]
fn without_users_clients_of_this_machine_do_everything_and_others_nothing() {
    let gate = gate(json!({}));
    for address in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", ""] {
        let client = testing::client("dev-1").address(address);
        let session = gate.admit(&client);
        assert!(
            session.may_publish("any/thing") && session.may_subscribe("#") && session.may_subscribe("$SYS/#")
        );
        assert!(!session.may_publish("$SYS/broker/uptime"));
        gate.admit(&client.username("someone").password("x"));
    }
    for client in [
        testing::client("dev-1"),
        testing::client("dev-1")
            .address("127.0.0.1")
            .proxied_by("10.0.0.1"),
    ] {
        assert_eq!(
            refusal(&gate.connect(&client)),
            Some(Reason::NotAuthorized.code())
        );
        assert_eq!(
            refusal(&gate.connect(&client.username("ada").password("x"))),
            Some(Reason::NotAuthorized.code())
        );
    }
    assert_eq!(
        gate.log(),
        ["info: clients on this machine need no user name and may do everything"]
    );
}

#[test]
fn anonymous_decides_who_needs_no_user_name() {
    let with = |anonymous: &str, client: testing::Client| {
        let mut settings = settings();
        settings["anonymous"] = json!(anonymous);
        matches!(gate(settings).connect(&client), Connect::Admit(_))
    };
    let (near, far) = (testing::client("a").address("::1"), testing::client("a"));
    assert!(!with("never", near.clone()) && !with("never", far.clone()));
    assert!(with("loopback", near.clone()) && !with("loopback", far.clone()));
    assert!(with("anyone", near.clone()) && with("anyone", far));
    assert!(
        !with("anyone", near.username("ada").password("wrong")),
        "a user name must be proved"
    );
}

#[test]
fn a_change_of_the_settings_reaches_live_sessions() {
    let before = gate(settings());
    let ada = before.admit(&ada());

    let mut changed = settings();
    changed["users"][0]["rules"] = json!([]);
    match gate(changed).refresh(&ada.refresh_request()) {
        Refresh::Admit(terms) => assert_eq!(terms.grants.map(|grants| grants.len()), Some(2)),
        other => panic!("{other:?}"),
    }

    let mut password = settings();
    password["users"][0]["password"] = json!(BOB);
    let mut removed = settings();
    removed["users"] = json!([{ "name": "bob", "password": BOB }]);
    for settings in [password, removed, json!({ "anonymous": "anyone" })] {
        assert!(matches!(
            gate(settings).refresh(&ada.refresh_request()),
            Refresh::Deny(_)
        ));
    }
}

#[test]
fn a_guest_leaves_when_guests_are_no_longer_welcome() {
    let guest = testing::client("a").address("127.0.0.1");
    let mut session_gate = gate(json!({}));
    let mut session = session_gate.admit(&guest);
    assert!(matches!(session.refresh(), Refresh::Admit(_)));
    let request = session.refresh_request();
    session_gate = gate(settings());
    assert!(matches!(session_gate.refresh(&request), Refresh::Deny(_)));
}

#[test]
fn settings_that_make_no_sense_are_errors_that_name_the_key() {
    let error = |settings: Value| testing::policy::<StaticUsers>(settings).map(|_| ()).unwrap_err();
    let plain = json!({ "users": [{ "name": "ada", "password": "lovelace" }] });
    assert_eq!(
        error(plain),
        "`users`: the password of `ada` is not a hash made by `sluice passwd`"
    );
    let twice = json!({ "users": [{ "name": "ada", "password": ADA }, { "name": "ada", "password": BOB }] });
    assert_eq!(error(twice), "`users`: `ada` is there twice");
    let rule = json!({ "users": [{ "name": "ada", "password": ADA, "rules": [{ "allow": "all", "topic": "a#" }] }] });
    let place = "settings: `users[0].rules`: `a#` is not a topic filter";
    assert!(error(rule.clone()).starts_with(place), "{}", error(rule));
    assert!(
        error(json!({ "anonymous": "maybe" })).starts_with("settings: `anonymous`: unknown variant `maybe`")
    );
    assert!(error(json!({ "user": [] })).starts_with("settings: unknown field `user`"));
}

fn pump(san_dns: &[&str]) -> sluice_policy::Certificate {
    sluice_policy::Certificate {
        san_dns: san_dns.iter().map(|name| (*name).to_owned()).collect(),
        ..testing::certificate("pump-1")
    }
}

fn with(changes: Value) -> Value {
    let mut settings = settings();
    for (key, value) in changes.as_object().expect("an object") {
        settings[key] = value.clone();
    }
    settings
}

#[test]
fn a_certificate_that_says_the_user_name_stands_for_a_password() {
    let by_password_only = gate(settings());
    let gate = gate(with(json!({ "by_certificate": "cn" })));
    let client = testing::client("dev-1").certificate(pump(&[]));
    let session = gate.admit(&client.clone().username("pump-1"));
    assert_eq!(session.terms().principal.as_deref(), Some("pump-1"));
    assert!(session.may_publish("sensors/pump-1/t") && !session.may_publish("sensors/ada/t"));
    let bad = Some(Reason::BadUserNameOrPassword.code());
    assert_eq!(refusal(&gate.connect(&client.clone().username("ada"))), bad);
    assert_eq!(
        refusal(&gate.connect(&client)),
        Some(Reason::NotAuthorized.code())
    );
    assert_eq!(
        refusal(&gate.connect(&testing::client("dev-1").username("pump-1"))),
        bad
    );
    // Its own rules, when it is among the users, and a password as before.
    let ada = testing::client("dev-1")
        .certificate(testing::certificate("ada"))
        .username("ada");
    assert!(gate.admit(&ada).may_publish("lab/x"));
    assert_eq!(refusal(&by_password_only.connect(&ada)), bad);
    gate.admit(&client.username("ada").password("lovelace"));
}

#[test]
fn a_certificate_with_two_names_says_none() {
    let gate = gate(with(json!({ "by_certificate": "san-dns" })));
    let client = |names: &[&str]| {
        testing::client("dev-1")
            .certificate(pump(names))
            .username("a.test")
    };
    gate.admit(&client(&["a.test", "a.test"]));
    for names in [&["a.test", "b.test"][..], &[], &["b.test"]] {
        assert!(refusal(&gate.connect(&client(names))).is_some(), "{names:?}");
    }
}

#[test]
fn with_certificates_alone_nobody_comes_without_and_users_need_no_password() {
    let only = json!({
        "by_certificate": "cn",
        "users": [{ "name": "pump-1", "rules": [{ "allow": "all", "topic": "pumps/#" }] }],
    });
    let gate = gate(only);
    let pump = testing::client("dev-1").certificate(pump(&[])).username("pump-1");
    assert!(gate.admit(&pump).may_publish("pumps/1"));
    let local = testing::client("dev-1").address("127.0.0.1");
    assert!(refusal(&gate.connect(&local)).is_some());
    assert!(refusal(&gate.connect(&local.username("pump-1").password("x"))).is_some());
    let without = json!({ "users": [{ "name": "pump-1" }] });
    assert!(testing::policy::<StaticUsers>(without).is_err());
}

#[test]
fn who_came_by_certificate_stays_as_long_as_certificates_count() {
    let settings_now = with(json!({ "by_certificate": "cn" }));
    let before = gate(settings_now.clone());
    let client = testing::client("dev-1").certificate(pump(&[])).username("pump-1");
    let session = before.admit(&client);
    let refresh = |settings| gate(settings).refresh(&session.refresh_request());
    assert!(matches!(refresh(settings_now), Refresh::Admit(_)));
    assert!(matches!(refresh(settings()), Refresh::Deny(_)));
    let elsewhere = with(json!({ "by_certificate": "san-uri" }));
    assert!(matches!(refresh(elsewhere), Refresh::Deny(_)));
}
