//! `on_connect` as the broker runs it: once for each answer, from its start.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test and its policy fail by panicking"
)]

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use serde_json::json;
use sluice_policy::prelude::*;
use sluice_policy::testing::{self, Client, Tested};
use sluice_policy::{NoSettings, host};

/// Does what the client id says, and counts how often it is run.
#[derive(Default)]
struct Curious {
    runs: AtomicUsize,
}

#[policy]
impl Policy for Curious {
    async fn on_connect(&self, request: &ConnectRequest, ask: &Ask) -> Connect {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let Some(password) = &request.password else {
            return Connect::abstain();
        };
        let admitted = match request.client_id.as_str() {
            "one-then-another" => {
                ask.verify_password("first", password).await && ask.verify_password("second", password).await
            }
            "both-at-once" => {
                let mut first = pin!(ask.verify_password("first", password));
                let mut second = pin!(ask.verify_password("second", password));
                let (mut one, mut other) = (None, None);
                poll_fn(|context| {
                    one = one.or_else(|| ready(first.as_mut().poll(context)));
                    other = other.or_else(|| ready(second.as_mut().poll(context)));
                    match (one, other) {
                        (Some(one), Some(other)) => Poll::Ready(one && other),
                        _ => Poll::Pending,
                    }
                })
                .await
            }
            "challenge" => {
                let nonce = ask.nonce().to_vec();
                ask.challenge(nonce.as_slice()).await == Some(nonce)
            }
            "forever" => loop {
                ask.verify_password("again", password).await;
            },
            "stuck" => std::future::pending().await,
            other => panic!("no such test: {other}"),
        };
        match admitted {
            true => Connect::admit(Admission::new()),
            false => Connect::deny(Reason::BadUserNameOrPassword),
        }
    }
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn curious() -> Tested<Curious> {
    testing::policy(json!({})).unwrap()
}

fn client(what: &str) -> Client {
    testing::client(what).password("p")
}

fn runs(gate: &Tested<Curious>) -> usize {
    gate.within(|policy| policy.runs.load(Ordering::Relaxed))
}

#[test]
fn each_thing_that_is_awaited_is_one_more_run() {
    let gate = curious().passwords(|_, password| password == b"p");
    gate.admit(&client("one-then-another"));
    assert_eq!((runs(&gate), gate.passwords_checked()), (3, 2));
}

#[test]
fn what_comes_after_a_refusal_is_not_asked() {
    let gate = curious().passwords(|hash, _| hash == "second");
    let refused = Connect::deny(Reason::BadUserNameOrPassword);
    assert_eq!(gate.connect(&client("one-then-another")), refused);
    assert_eq!(gate.passwords_checked(), 1);
}

#[test]
fn things_asked_together_take_one_round_and_keep_their_order() {
    for (fits, expected) in [("first", false), ("second", false), ("", true)] {
        let gate = curious().passwords(move |hash, _| hash == fits || fits.is_empty());
        let admitted = matches!(gate.connect(&client("both-at-once")), Connect::Admit(_));
        assert_eq!(admitted, expected, "{fits}");
        assert_eq!((runs(&gate), gate.passwords_checked()), (2, 2));
    }
}

#[test]
fn a_challenge_is_answered_by_the_client() {
    curious().responses([[7; 32]]).admit(&client("challenge"));
    let wrong = curious().responses([[8; 32]]);
    assert!(matches!(wrong.connect(&client("challenge")), Connect::Deny(_)));
}

#[test]
fn what_the_broker_cannot_do_refuses_the_client() {
    let gate = curious().failing("the pool is full");
    let Connect::Deny(denial) = gate.connect(&client("one-then-another")) else {
        panic!("it was let in");
    };
    assert_eq!(denial.reason, Reason::ServerUnavailable.code());
    assert_eq!(
        denial.reason_string.as_deref(),
        Some("the credentials could not be checked")
    );
    assert_eq!(
        gate.log(),
        ["warn: the broker could not do what was asked: the pool is full"]
    );
}

#[test]
fn a_policy_without_a_question_is_run_once() {
    let gate = curious();
    assert_eq!(gate.connect(&testing::client("any")), Connect::abstain());
    assert_eq!(runs(&gate), 1);
}

/// The text of the panic that connecting causes.
fn panic_of(what: &str) -> String {
    let client = client(what);
    let caught = std::thread::spawn(move || drop(curious().connect(&client))).join();
    *caught.unwrap_err().downcast::<String>().unwrap()
}

#[test]
fn questions_without_end_are_an_error() {
    assert_eq!(
        panic_of("forever"),
        "on_connect has not decided after 8 rounds of questions"
    );
}

#[test]
fn awaiting_what_the_broker_does_not_know_is_an_error_that_says_so() {
    let caught = std::thread::spawn(|| drop(curious().connect(&client("stuck")))).join();
    let text = *caught.unwrap_err().downcast::<&str>().unwrap();
    assert!(
        text.contains("awaits something that is not a method of `Ask`"),
        "{text}"
    );
}

/// Uses everything the broker offers.
struct Busy;

#[policy]
impl Policy for Busy {
    fn new(_: NoSettings) -> Result<Self, Error> {
        log::info!("made with {} settings", 0);
        Ok(Self)
    }

    fn on_publish(&self, request: &PublishRequest) -> Publish {
        let day = std::time::Duration::from_secs(60);
        host::metrics::increment("messages", 1);
        match host::kv::increment(&request.topic, 1, Some(day)) {
            Some(1..=2) => Publish::allow(),
            Some(_) => {
                host::sessions::disconnect(request.session, Reason::QuotaExceeded);
                Publish::deny_with(Reason::QuotaExceeded)
            }
            None => Publish::deny(),
        }
    }
}

#[test]
fn the_brokers_part_is_played_for_each_policy_apart() {
    let gate = testing::policy::<Busy>(json!({})).unwrap();
    assert!(gate.publish("a").is_allowed() && gate.publish("a").is_allowed());
    assert!(gate.publish("b").is_allowed());
    assert_eq!(gate.publish("a"), Publish::deny_with(Reason::QuotaExceeded));
    assert_eq!(gate.counter("messages"), 4);
    let ended = testing::SessionAction::Disconnect(1, Reason::QuotaExceeded.code());
    assert_eq!(gate.actions(), [ended]);
    assert_eq!(gate.log(), ["info: made with 0 settings"]);

    gate.advance(std::time::Duration::from_secs(60));
    assert!(gate.publish("a").is_allowed(), "the counter's time is over");

    let other = testing::policy::<Busy>(json!({})).unwrap();
    assert!(other.publish("a").is_allowed());
    assert_eq!(other.counter("messages"), 1);
}

/// Bans for ten seconds what the topic names, and takes back what the topic `back/...` names.
#[derive(Default)]
struct Bouncer;

#[policy]
impl Policy for Bouncer {
    fn on_publish(&self, request: &PublishRequest) -> Publish {
        let target = |text: &str| match text.split_once('/') {
            Some(("client", id)) => host::bans::Target::ClientId(id.to_owned()),
            Some(("user", name)) => host::bans::Target::UserName(name.to_owned()),
            _ => host::bans::Target::Address(text.to_owned()),
        };
        let time = std::time::Duration::from_millis(9_001);
        let is_done = match request.topic.strip_prefix("back/") {
            Some(text) => host::bans::unban(&target(text)),
            None => host::bans::ban(&target(&request.topic), time, "a topic says so"),
        };
        if is_done {
            Publish::allow()
        } else {
            Publish::deny()
        }
    }
}

#[test]
fn bans_are_kept_and_refused_as_the_broker_would() {
    let gate = testing::policy::<Bouncer>(json!({})).unwrap();
    for target in [
        "client/c",
        "user/u",
        "192.0.2.1",
        "10.1.0.0/16",
        "::1",
        "2001:db8::/32",
    ] {
        assert!(gate.publish(target).is_allowed(), "{target}");
    }
    let long = format!("client/{}", "x".repeat(1025));
    for target in [
        "client/",
        &long,
        "x",
        "10.0.0.0/15",
        "10.1.0.1/16",
        "10.0.0.0/33",
        "::/31",
        "2001:db8::1/64",
    ] {
        assert!(!gate.publish(target).is_allowed(), "{target}");
    }
    let bans = gate.bans();
    assert_eq!(bans.len(), 6);
    assert_eq!(bans[0].target, host::bans::Target::ClientId("c".to_owned()));
    assert_eq!(
        (bans[0].why.as_str(), bans[0].until_unix_milliseconds),
        ("a topic says so", 10_000)
    );

    assert!(gate.publish("back/user/u").is_allowed());
    assert!(!gate.publish("back/user/u").is_allowed());
    gate.advance(std::time::Duration::from_secs(5));
    assert!(gate.publish("client/c").is_allowed(), "it is banned for longer");
    gate.advance(std::time::Duration::from_secs(5));
    assert_eq!(gate.bans().len(), 1);
    assert!(!gate.publish("back/192.0.2.1").is_allowed(), "it is over");
}
