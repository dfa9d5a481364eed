//! Who may know whom: between packages, and between the modules of the broker.

use crate::guests::dependencies;
use crate::nothing;
use crate::source::{self, Source, lines_with_word};

#[test]
fn the_protocol_depends_on_bytes_only() {
    let package = source::root().join("mqtt");
    assert_eq!(dependencies(&package, "dependencies"), ["bytes"]);
    assert!(dependencies(&package, "build-dependencies").is_empty());
}

#[test]
fn the_protocol_knows_no_clock_no_socket_and_no_thread() {
    const OUTSIDE: &[&str] = &["SystemTime", "fs", "net", "thread", "process", "env", "tokio"];
    let mut found = Vec::new();
    for source in source::rust().filter(|source| source.path.starts_with("mqtt/src/")) {
        let code = source.code();
        for (index, line) in code.lines().enumerate() {
            let named =
                |what: &&&str| line.contains(&format!("std::{what}")) || line.contains("Instant::now");
            let outside = OUTSIDE.iter().any(|what| named(&what));
            if outside && !in_tests(source, code, index) && !source.path.starts_with("mqtt/src/testing/") {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    nothing("time and bytes are arguments there", found);
}

fn in_tests(source: &Source, code: &str, index: usize) -> bool {
    source.is_test()
        || code
            .lines()
            .position(|line| line.contains("#[cfg(test)]"))
            .is_some_and(|tests| index > tests)
}

#[test]
fn the_store_knows_messages_and_neither_the_broker_nor_a_runtime() {
    let known = dependencies(&source::root().join("store"), "dependencies");
    let outside = known.iter().find(|name| {
        let ours = name.starts_with("sluice") && *name != "sluice-mqtt";
        ours || ["tokio", "wasmtime"].contains(&name.as_str())
    });
    assert_eq!(outside, None, "whoever waits brings a waker");
}

#[test]
fn the_sdk_does_not_know_the_broker() {
    const BROKER: &[&str] = &["sluice", "sluice-mqtt", "tokio", "wasmtime"];
    for package in ["policy-sdk", "policy-sdk/macros"] {
        let known = dependencies(&source::root().join(package), "dependencies");
        assert!(
            !known.iter().any(|name| BROKER.contains(&name.as_str())),
            "{package}: {known:?}"
        );
    }
}

#[test]
fn the_benchmark_does_not_know_the_broker() {
    let known = dependencies(&source::root().join("bench"), "dependencies");
    assert!(
        !known.iter().any(|name| name.starts_with("sluice")),
        "it measures processes, one like the other: {known:?}"
    );
}

#[test]
fn every_version_stands_in_the_workspace_table() {
    let mut found = Vec::new();
    let manifests = source::all()
        .iter()
        .filter(|source| source.path.ends_with("Cargo.toml"));
    // Fuzzing is outside the workspace: it needs another compiler.
    for source in manifests.filter(|source| !source.path.starts_with("fuzz/") && source.path != "Cargo.toml")
    {
        let manifest: toml::Table = source.text.parse().expect("a manifest is TOML");
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let table = manifest.get(table).and_then(toml::Value::as_table);
            for (name, dependency) in table.into_iter().flatten() {
                if dependency.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    found.push(format!("{}: {name}", source.path));
                }
            }
        }
    }
    nothing(
        "write `workspace = true`, and the version into the workspace's table",
        found,
    );
}

/// A crate or type, and the only places that may name it.
struct Confined {
    words: &'static [&'static str],
    to: &'static [&'static str],
    because: &'static str,
}

const CONFINED: &[Confined] = &[
    Confined {
        words: &["wasmtime", "wit_component", "wit_parser"],
        to: &["broker/src/policy/wasm"],
        because: "the rest of the broker sees policies without an engine",
    },
    Confined {
        words: &["rustls", "tokio_rustls", "x509_parser"],
        to: &["broker/src/net/tls", "broker/src/policy/effects/"],
        because: "one place decides how connections are encrypted; services that policies ask have their own keys",
    },
    Confined {
        words: &["hyper", "hyper_rustls", "hyper_util", "http_body_util"],
        to: &["broker/src/policy/effects/", "broker/src/net/health.rs"],
        because: "policies ask services, load balancers ask for health; nothing else of the broker speaks HTTP",
    },
    Confined {
        words: &["jsonwebtoken"],
        to: &["broker/src/policy/effects/token/"],
        because: "tokens are checked in one place",
    },
    Confined {
        words: &[
            "TcpListener",
            "TcpStream",
            "TcpSocket",
            "UdpSocket",
            "UnixListener",
            "UnixStream",
            "UnixDatagram",
            "socket2",
        ],
        to: &["broker/src/net/", "broker/src/admin"],
        because: "only these two talk to the outside",
    },
    Confined {
        words: &["landlock"],
        to: &["broker/src/confinement"],
        because: "one place decides what the process gives up",
    },
    Confined {
        words: &["tungstenite"],
        to: &["broker/src/net/websocket"],
        because: "one place knows how frames look",
    },
    Confined {
        words: &["tikv_jemalloc_ctl", "tikv_jemallocator"],
        to: &["broker/src/memory"],
        because: "the allocator can be replaced",
    },
    Confined {
        words: &["redb"],
        to: &[
            "store/src/engine/",
            "store/src/recovery",
            "store/src/care/",
            "store/src/testing/",
            "store/src/lib.rs",
        ],
        because: "the store's engine can be replaced",
    },
];

#[test]
fn what_is_confined_stays_where_it_belongs() {
    let mut found = Vec::new();
    let ours = ["broker/src/", "store/src/"];
    for source in source::rust().filter(|source| ours.iter().any(|src| source.path.starts_with(src))) {
        let code = source.code();
        for confined in CONFINED {
            if confined.to.iter().any(|place| source.path.starts_with(place)) {
                continue;
            }
            for word in confined.words {
                for line in lines_with_word(code, word).filter(|line| !in_tests(source, code, line - 1)) {
                    found.push(format!("{}:{line}: {word}: {}", source.path, confined.because));
                }
            }
        }
    }
    nothing("these belong elsewhere", found);
}

/// Single lines that are allowed all the same, each with its reason.
const EDGE_EXCEPTIONS: &[(&str, &str)] = &[(
    "use crate::hub::SessionKey;",
    "records of the store are about sessions, and this is how one is named",
)];

/// What a module of the broker may name of the others. Those not listed here wire things together and may name all.
const MAY_KNOW: &[(&str, &[&str])] = &[
    // Events are counted and logged where they are declared.
    ("event", &["log", "metrics"]),
    // A configuration names capabilities, which the host declares.
    ("config", &["network", "policy"]),
    ("content", &["policy", "report"]),
    ("network", &[]),
    ("policy", &["event", "network"]),
    ("store", &["event"]),
    ("cluster", &["event"]),
    ("throttle", &["event"]),
    ("log", &["event"]),
    ("metrics", &[]),
    ("memory", &[]),
    ("pulse", &[]),
    // `report` turns what the parts know into events, so that those need not know the parts.
    (
        "hub",
        &[
            "cluster", "config", "content", "event", "metrics", "network", "policy", "report", "store",
        ],
    ),
    (
        "net",
        &[
            "config", "content", "event", "hub", "memory", "metrics", "network", "policy", "pulse", "report",
            "throttle",
        ],
    ),
];

#[test]
fn modules_of_the_broker_know_only_whom_they_may() {
    let mut found = Vec::new();
    for source in source::rust() {
        let Some((module, depth)) = source.module_in("broker/src/") else {
            continue;
        };
        let Some((_, may_know)) = MAY_KNOW.iter().find(|(name, _)| *name == module) else {
            continue;
        };
        let code = source.code();
        for (line, known) in names_after_crate(code) {
            let text = source.text.lines().nth(line - 1).unwrap_or_default().trim();
            if EDGE_EXCEPTIONS.iter().any(|(allowed, _)| *allowed == text) {
                continue;
            }
            if known != module && !may_know.contains(&known.as_str()) && !in_tests(source, code, line - 1) {
                found.push(format!("{}:{line}: {module} must not know {known}", source.path));
            }
        }
        let to_root = "super::".repeat(depth.max(2));
        for (index, line) in code.lines().enumerate() {
            if line.contains(&to_root) {
                found.push(format!(
                    "{}:{}: write `crate::`, it says who is known",
                    source.path,
                    index + 1
                ));
            }
        }
    }
    nothing("layout of the broker (see ARCHITECTURE.md)", found);
}

/// Every module named as `crate::name` or in `crate::{name, other::Thing}`, with its line.
fn names_after_crate(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        let line = code.get(..at).unwrap_or_default().matches('\n').count() + 1;
        let rest = code.get(at + path.len()..).unwrap_or_default();
        if code.get(..at).is_some_and(|before| before.ends_with("$")) {
            continue;
        }
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(group_names(group).into_iter().map(|name| (line, name)));
        } else {
            found.push((line, first_name(rest)));
        }
    }
    found
}

fn first_name(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// The first names of the paths in a group whose opening brace was taken already.
fn group_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0usize;
    let mut begins = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                names.push(first_name(group.get(at..).unwrap_or_default()));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

/// Where the broker may ask for a client's version, each with its reason.
const VERSION_EXCEPTIONS: &[(&str, &str)] = &[
    (
        "broker/src/net/terms.rs",
        "when a session ends, and what policies are told",
    ),
    (
        "broker/src/net/enforced.rs",
        "who may be told another keep alive than its own",
    ),
    (
        "broker/src/config/",
        "the operator says which versions a listener speaks",
    ),
];

#[test]
fn versions_meet_below_the_session() {
    const PLACES: &[&str] = &[
        "mqtt/src/wire/",
        "mqtt/src/conn/",
        "mqtt/src/packet.rs",
        "mqtt/src/testing/",
        "mqtt/src/reason.rs",
    ];
    let mut found = Vec::new();
    for source in source::rust() {
        let ours = source.path.starts_with("mqtt/src/") || source.path.starts_with("broker/src/");
        let allowed = PLACES.iter().any(|place| source.path.starts_with(place))
            || VERSION_EXCEPTIONS
                .iter()
                .any(|(place, _)| source.path.starts_with(place));
        if !ours || allowed {
            continue;
        }
        let code = source.code();
        for line in lines_with_word(code, "Version").filter(|line| !in_tests(source, code, line - 1)) {
            let text = code.lines().nth(line - 1).unwrap_or_default();
            if text.match_indices("Version::").any(|(at, _)| {
                let variant = text.get(at + "Version::".len()..).unwrap_or_default();
                !text.get(..at).unwrap_or_default().ends_with("Protocol") && variant.starts_with('V')
            }) {
                found.push(format!("{}:{line}: {}", source.path, text.trim()));
            }
        }
    }
    found.sort();
    found.dedup();
    nothing("let `mqtt` decide how a version says it", found);
}

#[test]
fn groups_of_modules_are_seen() {
    let code = "use crate::{event::{Event, Sink}, hub::Hub};\nfn f() { crate::net::run($crate::x) }";
    let names: Vec<String> = names_after_crate(code)
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(names, ["event", "hub", "net"]);
}
