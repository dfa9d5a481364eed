//! What clients make of a policy that says no, limits them, or is replaced under them.

use crate::{Case, Options};
use sluice_tests::broker::Broker;
use sluice_tests::{guests, unique};
use std::net::SocketAddr;
use std::sync::OnceLock;

/// Of the user `ada` with the password `correct horse`; cheap, because it guards nothing.
const HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$gcAVIdkozpx7Y/rB1AtENQ$oL9UuM6iFrch/zk+mIbuA2I0DHx0nlXGderaxtHZV+I";
const PAYLOAD_BYTES_MAX: usize = 100;
const PACKET_BYTES_MAX: usize = 1000;

fn config() -> String {
    format!(
        r##"
        [[listener]]
        name = "rules"
        address = "127.0.0.1:0"
        policies = ["rules"]

        [[listener]]
        name = "sizes"
        address = "127.0.0.1:0"
        policies = ["users", "sizes"]

        [policy.rules]
        builtin = "static-users"
        [policy.rules.settings]
        anonymous = "never"
        [[policy.rules.settings.users]]
        name = "ada"
        password = "{HASH}"
        rules = [
            {{ allow = "publish", topic = "+/open" }},
            {{ deny = "subscribe", topic = "hidden/#" }},
            {{ allow = "subscribe", topic = "#" }},
        ]

        [policy.sizes]
        file = "size_cap.wasm"
        [policy.sizes.settings]
        default = {{ packet_bytes_max = {PACKET_BYTES_MAX}, payload_bytes_max = {PAYLOAD_BYTES_MAX} }}
        "##
    )
}

/// One broker for the tests that do not change it; its listener of this name.
fn address(listener: &str) -> SocketAddr {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    let broker =
        BROKER.get_or_init(|| Broker::with_files(&config(), &[("size_cap.wasm", &guests::wasm("size-cap"))]));
    broker.listener(listener)
}

fn ada(options: Options) -> Options {
    options.credentials("ada", "correct horse")
}

pub fn a_wrong_password_is_refused_and_the_client_says_so(case: Case) {
    let subscriber = case.subscriber(address("rules"), "open");
    case.start(&ada(subscriber.clone())).listening(1).leave();
    for options in [
        subscriber.clone().credentials("ada", "wrong"),
        subscriber.credentials("bob", "correct horse"),
    ] {
        // 0x86 Bad user name or password: 4 before 5.0.
        let code = case.start(&options).refused();
        assert!([4, 0x86].contains(&code), "refused with {code}");
    }
}

pub fn a_client_without_a_name_is_refused(case: Case) {
    // 0x87 Not authorized: 5 before 5.0.
    let code = case.start(&case.subscriber(address("rules"), "open")).refused();
    assert!([5, 0x87].contains(&code), "refused with {code}");
}

pub fn a_publish_that_is_denied_reaches_nobody(case: Case) {
    let place = unique("place");
    let address = address("rules");
    let mut subscriber = case
        .start(&ada(case.subscriber(address, &format!("{place}/#"))))
        .listening(1);
    for qos in 0..=2 {
        let denied = ada(case.publisher(address, &format!("{place}/closed"))).qos(qos);
        let mut publisher = case.start(&denied).connected();
        let code = publisher.publish("denied");
        if case.is_v5() && qos > 0 {
            assert!(
                code.is_some_and(|code| code >= 0x80),
                "QoS {qos}: the client was told {code:?}"
            );
        } else {
            // Before 5.0 there is no other answer [MQTT-3.3.5-2].
            assert_eq!(code, Some(0), "QoS {qos}");
        }
        publisher.leave();
    }
    let mut publisher = case
        .start(&ada(case.publisher(address, &format!("{place}/open"))))
        .connected();
    publisher.published("allowed");
    subscriber.expect_message("allowed");
    publisher.leave();
    subscriber.leave();
}

pub fn a_subscription_that_is_denied_is_answered_so(case: Case) {
    let mut subscriber = case
        .start(&ada(case.subscriber(address("rules"), "hidden/x")))
        .connected();
    let code = subscriber.subscription();
    assert!(code >= 0x80, "the client was told {code}");
}

pub fn a_message_that_is_too_large_is_refused(case: Case) {
    let topic = unique("sizes/");
    let address = address("sizes");
    let mut subscriber = case.start(&case.subscriber(address, &topic)).listening(1);
    let mut publisher = case.start(&case.publisher(address, &topic)).connected();
    let fits = "f".repeat(PAYLOAD_BYTES_MAX);
    publisher.published(&fits);
    // The payload alone is too large.
    let code = publisher.publish(&"x".repeat(PAYLOAD_BYTES_MAX + 1));
    assert!(
        !case.is_v5() || code.is_none_or(|code| code >= 0x80),
        "the client was told {code:?}"
    );
    // The packet is.
    let mut large = case.start(&case.publisher(address, &topic)).connected();
    let code = large.publish(&"x".repeat(PACKET_BYTES_MAX));
    assert!(
        code.is_none_or(|code| code >= 0x80),
        "the client was told {code:?}"
    );
    drop(large);

    subscriber.expect_message(&fits);
    let mut publisher = case.start(&case.publisher(address, &topic)).connected();
    publisher.published("small");
    subscriber.expect_message("small");
    publisher.leave();
    subscriber.leave();
}

pub fn a_swap_holds_at_once_and_disconnects_nobody(case: Case) {
    const CONFIG: &str = r#"
        policies = ["gate"]
        [[listener]]
        name = "gate"
        address = "127.0.0.1:0"
        [policy.gate]
        file = "gate.wasm"
    "#;
    let broker = Broker::with_files(CONFIG, &[("gate.wasm", &guests::wasm("marker"))]);
    let address = broker.address();
    let mut subscribers =
        ["v1/news", "both/news"].map(|filter| case.start(&case.subscriber(address, filter)).listening(1));
    let mut publishers =
        ["v1/news", "both/news"].map(|topic| case.start(&case.publisher(address, topic)).connected());
    for (subscriber, publisher) in subscribers.iter_mut().zip(&mut publishers) {
        publisher.published("before");
        subscriber.expect_message("before");
    }

    broker.wait_for_log("the admin socket", |line| line.is("admin_listening"));
    let module = guests::path("marker-v2");
    let loaded = broker.command(&["policy", "load", "gate", module.to_str().expect("UTF-8")]);
    assert!(
        loaded.status.success(),
        "{}",
        String::from_utf8_lossy(&loaded.stderr)
    );
    broker.wait_for_log("the removal of the subscription", |line| {
        line.is("subscription_removed") && line.has("filter", "v1/news")
    });
    let [old, both] = &mut publishers;
    let code = old.publish("after");
    let told = code.is_some_and(|code| (code >= 0x80) == case.is_v5());
    assert!(told, "the client was told {code:?}");
    both.published("after");
    subscribers[1].expect_message("after");

    let back = broker.command(&["policy", "rollback", "gate"]);
    assert!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    for publisher in &mut publishers {
        publisher.published("again");
    }
    subscribers[1].expect_message("again");
    // The first subscription was removed; both connections lived all the time.
    for subscriber in subscribers {
        subscriber.leave();
    }
    for publisher in publishers {
        publisher.leave();
    }
}
