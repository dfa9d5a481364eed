//! From a document to a [`Config`]: every key by name, then what the keys must be to each other.

use super::problem::Problem;
use super::table::{Document, Table, Wrong};
use super::{
    AdminSocket, Config, Limits, LogFormat, PolicyConfig, PolicySource, budget, guard, listener, services,
    store, value,
};
use sluice_mqtt::packet::QoS;
use std::path::Path;
use std::time::Duration;
use tracing::Level;

/// Everything wrong with the text, or the configuration it describes.
pub(super) fn parse(file: &Path, text: &str) -> Result<Config, Vec<Problem>> {
    let (document, root) = Document::new(file, text);
    let config = read(&document, file, document.root(root));
    let problems = document.into_problems();
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems)
    }
}

pub(super) fn read(document: &Document<'_>, file: &Path, mut root: Table<'_, '_>) -> Config {
    let base = file.parent().unwrap_or(Path::new(""));
    let mut config = Config {
        file: Some(file.to_owned()),
        policies: Vec::new(),
        ..Config::default()
    };
    config.data_dir = root.value("data_dir", value::path(base));
    if let Some(table) = root.table("store") {
        config.store = store::read(table);
    }
    config.policy_dir = root.value("policy_dir", value::path(base));
    root.read("policies", &mut config.default_chain, value::texts);
    root.read(
        "sys_interval",
        &mut config.sys_interval,
        value::or_word("off", value::duration(SECOND..=HOUR)),
    );
    root.read("confine", &mut config.confine, value::boolean);
    if let Some(workers) = root.value("workers", value::integer::<usize>(0..=1_024)) {
        config.workers = (workers > 0).then_some(workers);
    }
    if let Some(tables) = root.tables("listener") {
        if tables.is_empty() {
            root.problem(
                "listener",
                Wrong::new("nobody could connect", "add a [[listener]], or remove the key"),
            );
        }
        let tables = tables.into_iter();
        config.listeners = tables.filter_map(|table| listener::read(table, base)).collect();
    }
    all_limits(&mut root, &mut config);
    if let Some(mut table) = root.table("policy") {
        let policies = table.named_tables().into_iter();
        config.policies = policies.map(|(name, table)| policy(name, table, base)).collect();
    }
    services::read(&mut root, &mut config, base);
    if let Some(table) = root.table("guard") {
        guard::read(table, &mut config.guard);
    }
    if let Some(mut table) = root.table("admin") {
        table.read("socket", &mut config.admin.socket, |value| match value.as_str() {
            Some("off") => Ok(AdminSocket::Off),
            _ => value::path(base)(value).map(AdminSocket::Path),
        });
        table.finish();
    }
    if let Some(mut table) = root.table("health") {
        table.read(
            "address",
            &mut config.health,
            value::or_word("off", value::address),
        );
        table.finish();
    }
    if let Some(mut table) = root.table("log") {
        table.read("level", &mut config.log.level, value::choice(&LEVELS));
        table.read("format", &mut config.log.format, value::choice(&FORMATS));
        table.finish();
    }
    relations(&root, &mut config);
    services::relations(&root, &config);
    root.finish();
    config.warnings = warnings(document, &config);
    config.lines = document.lines();
    for warning in &mut config.warnings {
        warning.line = warning.line.or_else(|| config.lines.of(&warning.key));
    }
    config
}

/// What clients may use: each of them, all together, those of a listener.
pub(super) fn all_limits(root: &mut Table<'_, '_>, config: &mut Config) {
    if let Some(table) = root.table("limits") {
        limits(table, &mut config.limits);
    }
    if let Some(mut table) = root.table("total") {
        budget::rates(&mut table, &mut config.total);
        table.finish();
    }
    let memory = value::or_word("unlimited", value::size(64 << 20..=1 << 44));
    root.read("memory_limit", &mut config.memory_limit, memory);
}

fn limits(mut table: Table<'_, '_>, limits: &mut Limits) {
    connection_limits(&mut table, limits);
    session_limits(&mut table, limits);
    let t = &mut table;
    t.read(
        "retained_messages_max",
        &mut limits.retained_messages_max,
        value::integer(0..=U32),
    );
    t.read(
        "retained_bytes_max",
        &mut limits.retained_bytes_max,
        value::size(0..=1 << 44),
    );
    t.read(
        "topic_levels_max",
        &mut limits.topic_levels_max,
        value::integer(1..=U16),
    );
    t.read("qos_max", &mut limits.qos_max, |value| {
        let qos = value::integer::<u8>(0..=2)(value)?;
        QoS::new(qos).ok_or_else(|| Wrong::new("is no QoS", "use 0, 1 or 2"))
    });
    t.read("retain_available", &mut limits.retain_available, value::boolean);
    t.read(
        "policy_kv_bytes_max",
        &mut limits.policy_kv_bytes_max,
        value::size(0..=1 << 32),
    );
    table.finish();
}

fn connection_limits(table: &mut Table<'_, '_>, limits: &mut Limits) {
    budget::client(table, &mut limits.client);
    table.read(
        "connect_bytes_max",
        &mut limits.connect_bytes_max,
        value::size(128..=16 << 20),
    );
    table.read(
        "connections_max",
        &mut limits.connections_max,
        value::integer(1..=U32),
    );
    table.read("receive_max", &mut limits.receive_max, value::integer(1..=U16));
    table.read(
        "topic_alias_max",
        &mut limits.topic_alias_max,
        value::integer(0..=U16),
    );
    let keep_alive = value::or_word("unlimited", value::seconds(SECOND..=Duration::from_secs(U16)));
    table.read("keep_alive_max", &mut limits.keep_alive_max, keep_alive);
}

fn session_limits(table: &mut Table<'_, '_>, limits: &mut Limits) {
    let delay = value::seconds(Duration::ZERO..=Duration::from_secs(U32 - 1));
    table.read("will_delay_max", &mut limits.will_delay_max, delay);
    let pause = value::duration(Duration::from_millis(1)..=Duration::from_secs(10));
    table.read(
        "backpressure_max",
        &mut limits.backpressure_max,
        value::or_word("off", pause),
    );
    table.read("sessions_max", &mut limits.sessions_max, value::integer(1..=U32));
}

fn policy(name: String, mut table: Table<'_, '_>, base: &Path) -> PolicyConfig {
    if let Err(wrong) = value::check_name(&name) {
        table.problem("", wrong);
    }
    let builtin = table.value("builtin", value::choice(&BUILTINS));
    let file = table.value("file", value::path(base)).map(PolicySource::File);
    let both = builtin.is_some() && file.is_some();
    let usual = (name == PolicyConfig::builtin().name).then(|| PolicyConfig::builtin().source);
    let source = builtin.or(file).or(usual);
    if both {
        table.problem(
            "",
            Wrong::new("has both `builtin` and `file`", "keep one of them"),
        );
    } else if source.is_none() {
        let remedy = "add file = \"NAME.wasm\", or builtin = \"static-users\"";
        table.problem("", Wrong::new("names no usable module", remedy));
    }
    let mut policy = PolicyConfig {
        name,
        ..PolicyConfig::builtin()
    };
    table.read("settings", &mut policy.settings, value::json_object);
    let granted = table.value("capabilities", services::capabilities);
    (policy.capabilities, policy.resources) = granted.unwrap_or_default();
    policy_limits(&mut table, &mut policy);
    table.finish();
    // Without one there is a problem, and the configuration is not used; its name still counts for the chains.
    PolicyConfig {
        source: source.unwrap_or(policy.source),
        ..policy
    }
}

fn policy_limits(table: &mut Table<'_, '_>, policy: &mut PolicyConfig) {
    let limits = &mut policy.limits;
    table.read(
        "memory_bytes_max",
        &mut limits.memory_bytes_max,
        value::size(64 << 10..=1 << 30),
    );
    table.read(
        "module_bytes_max",
        &mut limits.module_bytes_max,
        value::size(1 << 10..=16 << 20),
    );
    for (key, place) in [
        ("publish_deadline", &mut limits.publish_deadline),
        ("subscribe_deadline", &mut limits.subscribe_deadline),
        ("content_deadline", &mut limits.content_deadline),
        ("event_deadline", &mut limits.event_deadline),
        ("connect_deadline", &mut limits.connect_deadline),
        ("configure_deadline", &mut limits.configure_deadline),
    ] {
        table.read(
            key,
            place,
            value::duration(Duration::from_millis(1)..=Duration::from_secs(30)),
        );
    }
}

/// What the parts must be to each other.
fn relations(root: &Table<'_, '_>, config: &mut Config) {
    for (index, listener) in config.listeners.iter().enumerate() {
        let key = format!("listener[{index}]");
        let mut earlier = config.listeners.iter().take(index);
        if earlier.clone().any(|other| other.name == listener.name) {
            let what = format!("the name \"{}\" is taken", listener.name);
            root.problem(
                &format!("{key}.name"),
                Wrong::new(what, "every listener has its own"),
            );
        }
        if earlier.any(|other| other.address.collides(&listener.address)) {
            let what = format!("the address {} is taken", listener.address);
            root.problem(
                &format!("{key}.address"),
                Wrong::new(what, "every listener has its own"),
            );
        }
    }
    let builtin = PolicyConfig::builtin();
    let uses_builtin = chains(config).any(|(_, chain)| chain.contains(&builtin.name));
    if uses_builtin && !config.policies.iter().any(|policy| policy.name == builtin.name) {
        config.policies.push(builtin);
    }
    for (key, chain) in chains(config) {
        if chain.is_empty() {
            let remedy = "name at least one policy; \"users\" is built in";
            root.problem(&key, Wrong::new("an empty chain lets nobody in", remedy));
        }
        for (index, name) in chain.iter().enumerate() {
            if !config.policies.iter().any(|policy| policy.name == *name) {
                let what = format!("there is no policy \"{name}\"");
                root.problem(
                    &key,
                    Wrong::new(what, format!("add [policy.{name}], or correct the name")),
                );
            }
            if chain.iter().take(index).any(|earlier| earlier == name) {
                root.problem(
                    &key,
                    Wrong::new(format!("names \"{name}\" twice"), "name each policy once"),
                );
            }
        }
    }
}

fn warnings(document: &Document<'_>, config: &Config) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let mut warn = |key: &str, wrong| warnings.push(document.make_problem(None, key, wrong));
    for policy in &config.policies {
        if !chains(config).any(|(_, chain)| chain.contains(&policy.name)) {
            let remedy = "name it in `policies` or in a listener's, or remove it";
            warn(
                &format!("policy.{}", policy.name),
                Wrong::new("no chain uses it", remedy),
            );
        }
    }
    if config.limits.sessions_max < config.limits.connections_max {
        let remedy = "every connection needs a session; raise sessions_max";
        warn(
            "limits.sessions_max",
            Wrong::new("is less than connections_max", remedy),
        );
    }
    for (index, listener) in config.listeners.iter().enumerate() {
        let packet_bytes_max = config.limits.client.strictest(&listener.limits).packet_bytes_max;
        let message_bytes_max = listener
            .websocket
            .as_ref()
            .map(|websocket| websocket.message_bytes_max);
        if message_bytes_max
            .zip(packet_bytes_max)
            .is_some_and(|(message, packet)| message < packet.into())
        {
            let what = "is less than packet_bytes_max";
            let remedy = "many clients send each packet in one message: raise it, or lower packet_bytes_max";
            warn(
                &format!("listener[{index}].websocket.message_bytes_max"),
                Wrong::new(what, remedy),
            );
        }
        let chain = listener.policies.as_ref().unwrap_or(&config.default_chain);
        let admits_here_only = |name: &String| {
            config
                .policies
                .iter()
                .any(|p| p.name == *name && !p.admits_others())
        };
        if !listener.address.is_local() && chain.iter().all(admits_here_only) {
            let what = format!(
                "{} can be reached from other machines, but no users are configured",
                listener.address
            );
            let remedy = "only clients of this machine will be let in; add users to [policy.users.settings]";
            warn(&format!("listener[{index}]"), Wrong::new(what, remedy));
        }
    }
    warnings
}

/// Every chain with its key.
fn chains(config: &Config) -> impl Iterator<Item = (String, &Vec<String>)> {
    let own = config.listeners.iter().enumerate();
    let own = own.filter_map(|(index, listener)| {
        Some((format!("listener[{index}].policies"), listener.policies.as_ref()?))
    });
    std::iter::once(("policies".to_owned(), &config.default_chain)).chain(own)
}

pub(super) const U16: u64 = u16::MAX as u64;
pub(super) const U32: u64 = u32::MAX as u64;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
/// MQTT's own limit: four bytes of remaining length and five of fixed header.
pub(super) const PACKET_BYTES_MAX: u64 = 268_435_455 + 5;
const BUILTINS: [(&str, PolicySource); 1] = [("static-users", PolicySource::StaticUsers)];
const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];
const FORMATS: [(&str, LogFormat); 3] = [
    ("auto", LogFormat::Auto),
    ("human", LogFormat::Human),
    ("json", LogFormat::Json),
];
