//! The configuration as operators meet it.

use super::table::Document;
use super::*;
use crate::policy::budget::Rate;

/// What is written, and what is said of it.
const WRONG_VALUES: &[(&str, &str)] = &[
    (
        "sys_interval = 10",
        "sys_interval: 10 has no unit: write it with a unit in quotes, for example \"10 s\", or write \"off\"",
    ),
    (
        "sys_interval = \"2 h\"",
        "sys_interval: \"2 h\" is out of range: use \"1 s\" to \"1 h\", or write \"off\"",
    ),
    (
        "data_dir = true",
        "data_dir: is of the wrong type (boolean): write a path in quotes",
    ),
    (
        "data_dir = \"\"",
        "data_dir: is empty: write a path, or remove the key",
    ),
    (
        "policies = \"users\"",
        "policies: is of the wrong type (string): write a list of texts, such as [\"users\"]",
    ),
    (
        "policies = []",
        "policies: an empty chain lets nobody in: name at least one policy; \"users\" is built in",
    ),
    (
        "policies = [\"x\"]",
        "policies: there is no policy \"x\": add [policy.x], or correct the name",
    ),
    (
        "policies = [\"users\", \"users\"]",
        "policies: names \"users\" twice: name each policy once",
    ),
    ("limits = 3", "limits: is not a table: write [limits]"),
    (
        "listener = 3",
        "listener: is not a list of tables: write [[listener]], once for each",
    ),
    (
        "listener = []",
        "listener: nobody could connect: add a [[listener]], or remove the key",
    ),
    (
        "limits.keep_alive_max = \"1500 ms\"",
        "limits.keep_alive_max: MQTT counts whole seconds here: use a whole number of seconds, or write \"unlimited\"",
    ),
    (
        "limits.queue_bytes_max = \"1 MB\"",
        "limits.queue_bytes_max: \"MB\" is not a unit of size; use B, KiB, MiB or GiB",
    ),
    (
        "total.bytes_in_per_second = 100",
        "total.bytes_in_per_second: 100 has no unit: write it with a unit in quotes, for example \"100 B\", or \
         { per_second = ..., burst = ... }, or write \"unlimited\"",
    ),
    (
        "limits.messages_in_per_second = { burst = 3 }",
        "limits.messages_in_per_second: has no per_second: write { per_second = ..., burst = ... }, or write \"unlimited\"",
    ),
    (
        "total.packet_bytes_max = \"1 KiB\"",
        "total.packet_bytes_max: unknown key: known keys here: bytes_in_per_second, bytes_out_per_second, \
         messages_in_per_second, messages_out_per_second, subscribes_per_second",
    ),
    (
        "limits.over_limit = \"wait\"",
        "limits.over_limit: \"wait\" is not known here: use one of \"delay\", \"refuse\", \"drop\", \"disconnect\"",
    ),
    (
        "limits.qos_max = 3",
        "limits.qos_max: 3 is out of range: use 0 to 2",
    ),
    (
        "limits.retain_available = \"yes\"",
        "limits.retain_available: is of the wrong type (string): write true or false, without quotes",
    ),
    (
        "limits.payload_bytes_max = \"2 MiB\"",
        "limits.payload_bytes_max: is larger than packet_bytes_max: raise packet_bytes_max, or lower this to at most that",
    ),
    (
        "policy.x = {}",
        "policy.x: names no usable module: add file = \"NAME.wasm\", or builtin = \"static-users\"",
    ),
    (
        "policy.users = { builtin = \"static-users\", capabilities = [\"files\"] }",
        "policy.users.capabilities: `files` is not a capability; there are clock, random, metrics, kv, sessions, http:SERVICE and jwt:ISSUER",
    ),
    (
        "policy.users = { builtin = \"static-users\", settings = 3 }",
        "policy.users.settings: is of the wrong type (integer): write a table",
    ),
    (
        "colour = 3",
        "colour: unknown key: known keys here: data_dir, store, policy_dir, policies, sys_interval, confine, workers, listener, limits, total, memory_limit, policy, service, jwt, guard, admin, health, log",
    ),
];

const SAMPLE: &str = include_str!("../../../sluice.toml");

fn parse(text: &str) -> Result<Config, Vec<String>> {
    let lines = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
    Config::parse(Path::new("/etc/sluice.toml"), text).map_err(lines)
}

/// The only problem of a text.
fn problem(text: &str) -> String {
    let mut problems = parse(text).expect_err("a problem");
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

#[test]
fn the_sample_says_what_holds_without_a_file() {
    let sample = parse(SAMPLE).expect("no problems");
    assert_eq!(
        sample,
        Config {
            file: sample.file.clone(),
            ..Config::default()
        }
    );
    assert_eq!(sample.warnings, []);
}

#[test]
fn the_sample_mentions_every_key() {
    let (document, root) = Document::new(Path::new("sluice.toml"), SAMPLE);
    read::read(&document, Path::new("sluice.toml"), document.root(root));
    let keys = document.asked();
    assert!(keys.len() > 45, "{keys:?}");
    for key in keys {
        let last = key.rsplit('.').next().expect("a key");
        let heads = [
            format!("{last} = "),
            format!("# {last} = "),
            format!("[[{last}]]"),
            // Of these there are none by default; `services` has a test of its own.
            format!("# [[{last}]]"),
            format!("[{last}]"),
            format!("[{last}."),
        ];
        let mentioned = SAMPLE
            .lines()
            .any(|line| heads.iter().any(|head| line.starts_with(head)));
        assert!(mentioned, "sluice.toml does not mention {key}");
    }
}

#[test]
fn an_empty_file_is_the_default() {
    let empty = parse("").expect("no problems");
    assert_eq!(
        empty,
        Config {
            file: empty.file.clone(),
            ..Config::default()
        }
    );
}

#[test]
fn every_problem_is_reported_with_its_line() {
    let problems = parse(
        "workers = -1\n\n[limits]\npacket_bytes_max = 1048576\nrecieve_max = 3\ninflight_max = 0\n\n[log]\nlevel = \"loud\"\n",
    )
    .expect_err("problems");
    assert_eq!(
        problems,
        [
            "/etc/sluice.toml:1: workers: -1 is out of range: use 0 to 1024",
            "/etc/sluice.toml:4: limits.packet_bytes_max: 1048576 has no unit: write it with a unit in quotes, for \
             example \"1 MiB\"",
            "/etc/sluice.toml:5: limits.recieve_max: unknown key: did you mean `receive_max`? Known keys here: \
             bytes_in_per_second, bytes_out_per_second, messages_in_per_second, messages_out_per_second, \
             subscribes_per_second, packet_bytes_max, payload_bytes_max, inflight_max, queue_messages_max, \
             queue_bytes_max, queue_overflow, subscriptions_max, session_expiry_max, connection_lifetime_max, \
             over_limit, connect_bytes_max, connections_max, receive_max, topic_alias_max, keep_alive_max, \
             will_delay_max, backpressure_max, sessions_max, retained_messages_max, retained_bytes_max, topic_levels_max, qos_max, \
             retain_available, policy_kv_bytes_max",
            "/etc/sluice.toml:6: limits.inflight_max: 0 is out of range: use 1 to 65535",
            "/etc/sluice.toml:9: log.level: \"loud\" is not known here: use one of \"error\", \"warn\", \"info\", \
             \"debug\", \"trace\"",
        ]
    );
}

#[test]
fn values_that_are_wrong_are_told_how_to_be_right() {
    for (text, expected) in WRONG_VALUES {
        let found = problem(text);
        let plain = found
            .strip_prefix("/etc/sluice.toml:1: ")
            .or(found.strip_prefix("/etc/sluice.toml: "));
        assert_eq!(plain, Some(*expected), "{text}");
    }
}

#[test]
fn a_listener_that_lacks_something_says_so_once() {
    let missing =
        problem("[[listener]]\nname = \"a\"\n[[listener]]\nname = \"b\"\naddress = \"127.0.0.1:1\"\n");
    assert_eq!(
        missing,
        "/etc/sluice.toml:1: listener[0].address: is missing: it must be set here"
    );
    let wrong = problem(
        "[[listener]]\nname = \"a\"\naddress = \"localhost:1883\"\n[[listener]]\nname=\"b\"\naddress = \"127.0.0.1:1\"\n",
    );
    assert_eq!(
        wrong,
        "/etc/sluice.toml:3: listener[0].address: \"localhost:1883\" is not an address: write an IP address and a \
         port, such as \"127.0.0.1:1883\", or \"0.0.0.0:1883\" for every address of this machine"
    );
}

#[test]
fn listeners_differ_in_name_and_address() {
    let listener = |name, address| format!("[[listener]]\nname = \"{name}\"\naddress = \"{address}\"\n");
    let same_name = problem(&(listener("a", "127.0.0.1:1") + &listener("a", "127.0.0.1:2")));
    assert!(
        same_name.contains(":5: listener[1].name: the name \"a\" is taken"),
        "{same_name}"
    );
    let same_address = problem(&(listener("a", "127.0.0.1:1") + &listener("b", "127.0.0.1:1")));
    assert!(
        same_address.contains(":6: listener[1].address: the address 127.0.0.1:1 is taken"),
        "{same_address}"
    );
    assert!(
        parse(&(listener("a", "127.0.0.1:0") + &listener("b", "127.0.0.1:0"))).is_ok(),
        "the system chooses"
    );
    let forged = problem(&listener("a\\nb", "127.0.0.1:1"));
    assert!(forged.contains("\"a\\nb\" is not a name"), "{forged}");
}

#[test]
fn a_policy_has_its_module_its_settings_and_its_limits() {
    let config = parse(
        "policies = [\"plan\"]\n[policy.plan]\nfile = \"plan.wasm\"\ncapabilities = [\"kv\", \"clock\"]\n\
         publish_deadline = \"4 ms\"\nsettings = { rate = 5, since = 2026-01-02, nested = { on = true } }\n",
    )
    .expect("no problems");
    let [policy] = &config.policies[..] else {
        panic!("{:?}", config.policies)
    };
    assert_eq!(policy.source, PolicySource::File("/etc/plan.wasm".into()));
    let wanted = serde_json::json!({ "rate": 5, "since": "2026-01-02", "nested": { "on": true } });
    assert_eq!(policy.settings, wanted);
    assert_eq!(
        policy.limits,
        PolicyLimits {
            publish_deadline: Duration::from_millis(4),
            ..Default::default()
        }
    );
    assert!(policy.capabilities.contains(crate::policy::Capability::Kv));
    assert!(!policy.capabilities.contains(crate::policy::Capability::Sessions));
}

#[test]
fn what_is_odd_but_right_is_a_warning() {
    let config = parse(
        "[policy.spare]\nfile = \"x.wasm\"\n[[listener]]\nname = \"all\"\naddress = \"0.0.0.0:1883\"\n\
         [limits]\nsessions_max = 1\n",
    )
    .expect("no problems");
    let warnings: Vec<_> = config
        .warnings
        .iter()
        .map(|warning| warning.key.as_str())
        .collect();
    assert_eq!(warnings, ["policy.spare", "limits.sessions_max", "listener[0]"]);
    let users = "[[policy.users.settings.users]]\nname = \"ada\"\npassword = \"x\"\n[policy.users]\n\
                 builtin = \"static-users\"\n[[listener]]\nname = \"all\"\naddress = \"0.0.0.0:1883\"\n";
    assert_eq!(parse(users).expect("no problems").warnings, []);
}

#[test]
fn broken_syntax_is_reported_with_its_line() {
    let problems = parse("workers = 2\n[limits\nreceive_max = 3\n").expect_err("problems");
    assert!(problems[0].starts_with("/etc/sluice.toml:2: "), "{problems:?}");
}

#[test]
fn a_problem_that_shows_later_still_has_its_line() {
    let config = parse(
        "workers = 2\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\n[listener.tls]\ncertificate = \"c\"\n\
         key = \"k\"\n[policy.users]\nsettings = { users = [] }\n",
    )
    .expect("no problems");
    for (key, line) in [
        ("workers", Some(1)),
        ("listener[0].tls.key", Some(7)),
        ("listener[0].tls.crls", Some(5)),
        ("policy.users", Some(8)),
        ("policy.users.settings.users", Some(9)),
        ("policy.absent.file", None),
        ("data_dir", None),
    ] {
        assert_eq!(config.lines.of(key), line, "{key}");
    }
}

#[test]
fn a_file_that_is_no_text_says_so() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), b"\xFF\xFE").expect("it is written");
    let problems = Config::load(file.path()).expect_err("problems");
    assert!(problems[0].remedy.contains("UTF-8"), "{problems:?}");
}

#[test]
fn a_file_that_is_not_there_names_itself() {
    let problems = Config::load(Path::new("/nonexistent/sluice.toml")).expect_err("problems");
    let text = problems[0].to_string();
    assert!(
        text.starts_with("/nonexistent/sluice.toml: cannot be read: "),
        "{text}"
    );
}

#[test]
fn addresses_of_the_command_line_replace_the_listeners() {
    let mut config = Config::default();
    config.listen_on(&[]).expect("nothing to do");
    assert_eq!(config.listeners, Config::default().listeners);
    config
        .listen_on(&["127.0.0.1:0".to_owned(), "[::1]:0".to_owned()])
        .expect("two addresses");
    let names: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| listener.name.as_str())
        .collect();
    assert_eq!(names, ["listen-1", "listen-2"]);
    let problems = config
        .listen_on(&["1883".to_owned(), "x".to_owned()])
        .expect_err("two problems");
    assert_eq!(problems.len(), 2);
    assert!(
        problems[0]
            .to_string()
            .starts_with("--listen: \"1883\" is not an address")
    );
}

#[test]
fn a_rate_is_an_amount_or_an_amount_with_its_burst() {
    let text = "[limits]\nbytes_in_per_second = \"10 KiB\"\nmessages_in_per_second = { per_second = 5, burst = 50 }\n\
                [[listener]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\nlimits = { packet_bytes_max = \"1 KiB\" }\n\
                total.subscribes_per_second = { per_second = 7 }";
    let config = parse(text).expect("no problems");
    let rate = |per_second, burst| Some(Rate { per_second, burst });
    assert_eq!(config.limits.client.bytes_in_per_second, rate(10_240, 10_240));
    assert_eq!(config.limits.client.messages_in_per_second, rate(5, 50));
    let listener = &config.listeners[0];
    let expected = Budget {
        packet_bytes_max: Some(1_024),
        ..Budget::default()
    };
    assert_eq!(listener.limits, expected);
    assert_eq!(listener.total.subscribes_per_second, rate(7, 7));
}

fn assignments(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn limits_are_set_one_by_one_over_what_is_there() {
    let config =
        parse("limits.receive_max = 7\nlimits.bytes_in_per_second = \"1 KiB\"").expect("no problems");
    let set = [
        "limits.packet_bytes_max=64 KiB",
        "limits.bytes_in_per_second = unlimited",
        "total.messages_in_per_second={ per_second = 10, burst = 20 }",
        "listener.default.limits.over_limit=\"refuse\"",
        "memory_limit=1 GiB",
        "limits.qos_max=1",
    ];
    let changed = config.with_limits(&assignments(&set)).expect("no problems");
    let mut expected = config.clone();
    expected.limits.client.packet_bytes_max = Some(65_536);
    expected.limits.client.payload_bytes_max = Some(65_536);
    expected.limits.client.bytes_in_per_second = None;
    expected.total.messages_in_per_second = Some(Rate {
        per_second: 10,
        burst: 20,
    });
    expected.listeners[0].limits.over_limit = Some(OverLimitAction::Refuse);
    expected.memory_limit = Some(1 << 30);
    expected.limits.qos_max = QoS::AtLeastOnce;
    assert_eq!(changed, expected);
}

#[test]
fn what_cannot_be_set_says_why_and_changes_nothing() {
    let config = Config::default();
    for (assignment, expected) in [
        (
            "limits.packet_bytes_max",
            "limits.packet_bytes_max: has no value: write limits.packet_bytes_max=VALUE",
        ),
        (
            "listener.tls.limits.over_limit=drop",
            "listener.tls: there is no such listener: see `sluice limits show`",
        ),
        (
            "workers=3",
            "workers: unknown key: known keys here: limits, total, memory_limit, listener",
        ),
        (
            "limits.packet_bytes_max=7",
            "limits.packet_bytes_max: 7 has no unit: write it with a unit in quotes, for example \"7 B\"",
        ),
        (
            "limits.receive_max=1\nworkers = 3",
            "limits.receive_max: is of the wrong type (string): write a whole number without quotes and unit",
        ),
    ] {
        let problems = config
            .with_limits(&assignments(&[assignment]))
            .expect_err(assignment);
        let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(problems, [expected], "{assignment}");
    }
}

#[test]
fn the_limits_of_one_client_are_said_in_the_same_words() {
    let said = parse_client_limits(&assignments(&["bytes_out_per_second=1 MiB", "inflight_max=3"]));
    let expected = Budget {
        bytes_out_per_second: Some(Rate {
            per_second: 1 << 20,
            burst: 1 << 20,
        }),
        inflight_max: Some(3),
        ..Budget::default()
    };
    assert_eq!(said.expect("no problems"), expected);
    assert!(parse_client_limits(&assignments(&["connections_max=3"])).is_err());
}
