//! Policies that ask a service: what it says decides, and when it says nothing nobody gets in.

use crate::{gated_config, sluice, try_join};
use sluice_tests::broker::Broker;
use sluice_tests::guests;
use sluice_tests::http::{Answer, Service, deaf, nobody, ok};
use sluice_tests::packet::{Connect, V5, connect};
use sluice_tests::property::Property;
use sluice_tests::reply::ConnAck;
use sluice_tests::tls::Identity;
use sluice_tests::unique;

/// A broker with the guest `asker`, which may ask the service `accounts` at this URL; `more` is about the service.
pub fn asking(url: &str, more: &str, files: &[(&str, &[u8])]) -> Broker {
    asking_all(&[("accounts", url.to_owned(), more)], files)
}

/// The same with several services: their names, URLs, and what else is said of them.
pub fn asking_all(services: &[(&str, String, &str)], files: &[(&str, &[u8])]) -> Broker {
    let granted: Vec<String> = services
        .iter()
        .map(|(name, ..)| format!("\"http:{name}\""))
        .collect();
    let capabilities = format!("file = \"gate.wasm\"\ncapabilities = [{}]", granted.join(", "));
    let mut config = gated_config("{}").replace("file = \"gate.wasm\"", &capabilities);
    for (name, url, more) in services {
        config += &format!("\n[[service]]\nname = \"{name}\"\nurl = \"{url}\"\n{more}\n");
    }
    let module = guests::wasm("asker");
    let files: Vec<(&str, &[u8])> = files.iter().copied().chain([("gate.wasm", &*module)]).collect();
    Broker::with_files(&config, &files)
}

fn at(service: &Service, more: &str) -> Broker {
    asking(&format!("http://{}/base", service.address()), more, &[])
}

/// A client whose user name says what is asked.
fn who(what: &str) -> Connect {
    connect(V5, unique("asking")).username(what)
}

fn answer(broker: &Broker, what: &str) -> ConnAck {
    try_join(broker, "gate", &who(what)).1
}

/// The value of a metric with this label.
pub fn metric(broker: &Broker, name: &str, label: &str) -> u64 {
    let text = sluice(broker, &["metrics"]).expect("the metrics");
    let sample = text
        .lines()
        .find(|line| line.starts_with(name) && line.contains(label));
    let sample = sample.unwrap_or_else(|| panic!("no {name} with {label} in:\n{text}"));
    sample
        .rsplit(' ')
        .next()
        .and_then(|value| value.parse().ok())
        .expect("a number")
}

fn outcome(broker: &Broker, outcome: &str) -> u64 {
    metric(
        broker,
        "sluice_service_requests_total",
        &format!("outcome=\"{outcome}\""),
    )
}

/// A client about which this service is asked.
pub fn asked_about(broker: &Broker, service: &str) -> ConnAck {
    try_join(broker, "gate", &who("http").password(service)).1
}

/// The client is refused with Server unavailable, and the log says why.
pub fn is_denied(broker: &Broker, service: &str, why: &str) {
    assert_eq!(asked_about(broker, service).code, 0x88, "{service}: {why}");
    broker.wait_for_log(why, |line| {
        line.is("service_failed") && line.has("service", service) && line.text.contains(why)
    });
}

#[test]
fn what_the_service_says_decides() {
    let service = Service::start(|request| match request.target.as_str() {
        "/base/clients/mallory" => ok("no"),
        "/base/clients/nobody" => Answer::Say(404, "yes".to_owned()),
        _ => ok("yes"),
    });
    let broker = at(&service, "");
    let (_, connack) = try_join(&broker, "gate", &connect(V5, "a/b c?").username("http"));
    assert_eq!(connack.code, 0);
    assert!(
        connack
            .properties
            .contains(&Property::User("said".into(), "yes".into()))
    );
    for id in ["mallory", "nobody"] {
        let (_, connack) = try_join(&broker, "gate", &connect(V5, id).username("http"));
        assert_eq!(connack.code, 0x87, "{id}");
    }
    let requests = service.requests();
    assert_eq!(requests[0].target, "/base/clients/a%2Fb%20c%3F");
    assert_eq!(requests[0].method, "GET");
    assert_eq!(outcome(&broker, "answered"), 3);
}

#[test]
fn several_questions_are_asked_side_by_side() {
    // Neither is answered before both have come.
    let both = std::sync::Arc::new(std::sync::Barrier::new(2));
    let service = Service::start(move |_| {
        both.wait();
        ok("yes")
    });
    assert_eq!(answer(&at(&service, ""), "twice").code, 0);
}

#[test]
fn only_a_service_that_was_granted_is_asked_and_only_below_its_url() {
    let service = Service::start(|_| ok("yes"));
    let broker = at(&service, "");
    assert_eq!(answer(&broker, "nowhere").code, 0x88);
    assert_eq!(asked_about(&broker, "strangers").code, 0x88);
    broker.wait_for_log("what was not granted", |line| {
        line.is("policy_log") && line.text.contains("`http:strangers` is not granted")
    });
    assert!(service.requests().is_empty());
}

fn saying(bytes: impl Into<Vec<u8>>) -> Service {
    let bytes = bytes.into();
    Service::start(move |_| Answer::Bytes(bytes.clone()))
}

#[test]
fn a_service_that_is_down_slow_or_talks_nonsense_lets_nobody_in() {
    let (_listener, deaf) = deaf();
    let services = [
        ("greeting", saying("SSH-2.0-OpenSSH_9.2\r\n")),
        (
            "short",
            saying("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nyes"),
        ),
        (
            "negative",
            saying("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nyes"),
        ),
        ("silent", Service::start(|_| Answer::Hangup)),
    ];
    let mut all = vec![
        ("deaf", format!("http://{deaf}"), "timeout = \"300 ms\""),
        ("down", format!("http://{}", nobody()), ""),
    ];
    all.extend(
        services
            .iter()
            .map(|(name, service)| (*name, format!("http://{}", service.address()), "")),
    );
    let broker = asking_all(&all, &[]);
    is_denied(&broker, "deaf", "did not answer within 300ms");
    is_denied(&broker, "down", "refused");
    for (name, _) in services {
        is_denied(&broker, name, "");
    }
    let of = |service: &str, outcome: &str| {
        let labels = format!("service=\"{service}\",outcome=\"{outcome}\"");
        metric(&broker, "sluice_service_requests_total", &labels)
    };
    assert_eq!(
        (
            of("deaf", "timed-out"),
            of("down", "failed"),
            of("silent", "failed")
        ),
        (1, 1, 1)
    );
}

#[test]
fn redirects_server_errors_and_huge_answers_count_as_none() {
    let elsewhere = Service::start(|_| ok("yes"));
    let location = elsewhere.address();
    let redirect = format!("HTTP/1.1 302 X\r\nlocation: http://{location}/\r\ncontent-length: 0\r\n\r\n");
    // The length is not believed, either.
    let mut endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    (0..100).for_each(|_| endless.extend(b"200\r\n".iter().chain(&[b'y'; 0x200]).chain(b"\r\n")));
    let services = [
        (
            "redirecting",
            saying(redirect),
            "302, and redirects are not followed",
        ),
        (
            "failing",
            Service::start(|_| Answer::Say(503, "yes".to_owned())),
            "it answered 503",
        ),
        (
            "huge",
            Service::start(|_| ok("y".repeat(20_000))),
            "longer than 16384 bytes",
        ),
        ("endless", saying(endless), "longer than 16384 bytes"),
        (
            "long-head",
            saying(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100_000))),
            "",
        ),
    ];
    let all: Vec<_> = services
        .iter()
        .map(|(name, service, _)| (*name, format!("http://{}", service.address()), ""))
        .collect();
    let broker = asking_all(&all, &[]);
    for (name, _, why) in services {
        is_denied(&broker, name, why);
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn the_certificate_of_a_service_must_be_the_one_that_is_expected() {
    let right = Identity::of_name("127.0.0.1", 4096);
    let over_tls = |identity: &Identity| {
        Service::over_tls((&identity.certificate_pem, &identity.key_pem), |_| ok("yes"))
    };
    let services = [
        ("right", over_tls(&right)),
        ("other-authority", over_tls(&Identity::of_name("127.0.0.1", 4096))),
        ("other-name", over_tls(&Identity::of_name("broker.test", 4096))),
        ("expired", over_tls(&Identity::of_name("127.0.0.1", 2001))),
        ("plain", Service::start(|_| ok("yes"))),
    ];
    let ca = "ca = \"ca.pem\"";
    let all: Vec<_> = services
        .iter()
        .map(|(name, service)| (*name, format!("https://{}", service.address()), ca))
        .collect();
    let broker = asking_all(&all, &[("ca.pem", right.certificate_pem.as_bytes())]);
    for (name, service) in services {
        match name {
            "right" => assert_eq!(asked_about(&broker, name).code, 0),
            "plain" => is_denied(&broker, name, "service_failed"),
            _ => {
                is_denied(&broker, name, "certificate");
                assert!(service.requests().is_empty(), "nothing was said to it");
            }
        }
    }
}

#[test]
fn a_name_does_not_lead_to_this_machine_unless_the_operator_says_so() {
    let service = Service::start(|_| ok("yes"));
    let url = format!("http://localhost:{}", service.address().port());
    let elsewhere = ("elsewhere", url.clone(), "allow_addresses = [\"10.0.0.0/8\"]");
    let here = ("here", url, "allow_addresses = [\"127.0.0.0/8\"]");
    let broker = asking_all(&[elsewhere, here], &[]);
    is_denied(&broker, "elsewhere", "which allow_addresses does not allow");
    assert!(service.requests().is_empty());
    assert_eq!(asked_about(&broker, "here").code, 0);
}

#[test]
fn secrets_are_added_by_the_broker_and_read_again_with_sighup() {
    let service = Service::start(|_| ok("yes"));
    let headers = "headers = [{ name = \"Authorization\", file = \"token.txt\" }, { name = \"x-who\", value = \"sluice\" }]";
    let broker = asking(
        &format!("http://{}", service.address()),
        headers,
        &[("token.txt", b"Bearer one\n")],
    );
    assert_eq!(answer(&broker, "http").code, 0);
    std::fs::write(broker.dir().join("token.txt"), "Bearer two\n").expect("the file is written");
    broker.signal(sluice_tests::broker::Signal::HUP);
    broker.wait_for_log("the reload", |line| line.is("config_reloaded"));
    assert_eq!(answer(&broker, "http").code, 0);
    let shown: Vec<_> = service
        .requests()
        .iter()
        .map(|request| {
            (
                request.header("authorization").map(str::to_owned),
                request.header("x-who").map(str::to_owned),
            )
        })
        .collect();
    let with = |token: &str| (Some(token.to_owned()), Some("sluice".to_owned()));
    assert_eq!(shown, [with("Bearer one"), with("Bearer two")]);
    assert!(!broker.log_text().contains("Bearer"));
    std::fs::remove_file(broker.dir().join("token.txt")).expect("the file is removed");
    broker.signal(sluice_tests::broker::Signal::HUP);
    let rejected = broker.wait_for_log("the refusal", |line| line.is("config_rejected"));
    assert!(
        rejected
            .text
            .contains("service `accounts`: header `Authorization`"),
        "{}",
        rejected.text
    );
    assert_eq!(answer(&broker, "http").code, 0, "what was in force goes on");
}

#[test]
fn an_answer_is_asked_for_once_while_the_policy_says_it_may_be_reused() {
    let (kept, forgotten) = (Service::start(|_| ok("yes")), Service::start(|_| ok("yes")));
    let at = |service: &Service| format!("http://{}", service.address());
    let off = ("forgotten", at(&forgotten), "cache_bytes_max = \"0 B\"");
    let broker = asking_all(&[("accounts", at(&kept), ""), off], &[]);
    for _ in 0..5 {
        assert_eq!(answer(&broker, "cached").code, 0);
    }
    assert_eq!(kept.requests().len(), 1);
    assert_eq!((outcome(&broker, "answered"), outcome(&broker, "reused")), (1, 4));
    for _ in 0..2 {
        assert_eq!(
            try_join(&broker, "gate", &who("cached").password("forgotten"))
                .1
                .code,
            0
        );
    }
    assert_eq!(forgotten.requests().len(), 2);
}

#[test]
fn a_service_that_keeps_failing_is_left_alone_and_asked_again_later() {
    let is_well = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = std::sync::Arc::clone(&is_well);
    let service = Service::start(move |_| match told.load(std::sync::atomic::Ordering::SeqCst) {
        true => ok("yes"),
        false => Answer::Say(500, String::new()),
    });
    let broker = at(&service, "failures_max = 3\nretry_after = \"200 ms\"");
    for _ in 0..3 {
        assert_eq!(answer(&broker, "http").code, 0x88);
    }
    broker.wait_for_log("the pause", |line| {
        line.is("service_left_alone") && line.has("service", "accounts")
    });
    is_well.store(true, std::sync::atomic::Ordering::SeqCst);
    sluice_tests::eventually("the service is asked again", || answer(&broker, "http").code == 0);
    broker.wait_for_log("its return", |line| line.is("service_back"));
    assert_eq!(metric(&broker, "sluice_service_left_alone", "accounts"), 0);
}

#[test]
fn a_policy_may_know_better_than_to_refuse_when_there_is_no_answer() {
    let broker = asking(&format!("http://{}", nobody()), "", &[]);
    let connack = answer(&broker, "fallback");
    assert_eq!(connack.code, 0);
    let why = connack.properties.iter().find_map(|property| match property {
        Property::User(name, why) if name == "why" => Some(why.clone()),
        _ => None,
    });
    assert!(why.expect("the reason").contains("service `accounts`"));
}

#[test]
fn a_configuration_that_cannot_work_is_refused_before_it_is_used() {
    let broker = asking(&format!("http://{}", nobody()), "", &[]);
    let check = |more: &str| {
        let config = format!(
            "[[service]]\nname = \"a\"\nurl = \"https://192.0.2.1\"\n{more}\n[policy.users]\nbuiltin = \"static-users\"\n"
        );
        std::fs::write(broker.dir().join("other.toml"), config).expect("the file is written");
        sluice(&broker, &["check", "--config", "other.toml"]).expect_err(more)
    };
    assert!(check("ca = \"missing.pem\"").contains("the service `a`: cannot read"));
    assert!(check("headers = [{ name = \"host\", value = \"x\" }]").contains("is the broker's own"));
    assert!(check("headers = [{ name = \"x\", env = \"SLUICE_NOT_SET\" }]").contains("SLUICE_NOT_SET"));
}
