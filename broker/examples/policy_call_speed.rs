//! What a decision costs: on a publish by rules, from the cache and by a call of the policy, and on a CONNECT; what it
//! costs to count in the policy's store, and to remember a gate and recall it.
//!
//! CPU time of the whole process, so that others on a busy machine disturb less; of the batches believe the fastest.
//!
//! `cargo run --release -p sluice --example policy_call_speed`

use rustix::time::{ClockId, clock_gettime};
use sluice::policy::verdict::{
    ConnectPurpose, ConnectRequest, Decision, Peer, ProtocolVersion, PublishVerdict,
};
use sluice::policy::{
    Capability, Gate, KeyValueJournal, Policies, PoliciesConfig, PolicyNotice, PolicyObserver, PolicySource,
    PolicySpec, Step,
};
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// 40 bytes.
const TOPIC: &str = "factory/line-7/machine-23/sensor/pressure";
const CALLS: u32 = 1_000_000;
const CONNECTS: u32 = 20_000;
const BATCHES: usize = 7;

/// A component whose `on-publish` returns these bits at once.
fn publisher(bits: u64) -> Result<Vec<u8>, Box<dyn Error>> {
    let text = format!(
        r#"(component
          (core module $m
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "ok") (param i32 i32) (result i32) (i32.const 0))
            (func (export "self-test") (result i32) (i32.const 0))
            (func (export "on-publish") (param i64 i64 i32 i32 i32 i32 i32) (result i64) (i64.const {bits:#x})))
          (core instance $i (instantiate $m))
          (func $configure (param "settings" string) (result (result (error string)))
            (canon lift (core func $i "ok") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
          (func $self-test (result (result (error string)))
            (canon lift (core func $i "self-test") (memory (core memory $i "memory"))))
          (func $on-publish (param "session" u64) (param "tag" u64) (param "topic" string) (param "qos" u8)
            (param "retain" bool) (param "payload-bytes" u32) (result u64)
            (canon lift (core func $i "on-publish") (memory (core memory $i "memory"))
              (realloc (core func $i "realloc"))))
          (instance $setup (export "configure" (func $configure)) (export "self-test" (func $self-test)))
          (instance $publish (export "on-publish" (func $on-publish)))
          (export "sluice:policy/setup@0.1.0" (instance $setup))
          (export "sluice:policy/publish@0.1.0" (instance $publish)))"#
    );
    Ok(wat::parse_str(text)?)
}

/// A component that counts each publish under one key of its store, and allows it.
fn counter() -> Result<Vec<u8>, Box<dyn Error>> {
    let text = r#"(component
      (import "sluice:policy/kv@0.1.0" (instance $kv
        (export "increment" (func (param "key" string) (param "delta" s64) (param "ttl-seconds" u32)
          (result (option s64))))))
      (core module $heap
        (memory (export "memory") 1)
        (data (i32.const 64) "n")
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
      (core instance $h (instantiate $heap))
      (core func $increment (canon lower (func $kv "increment") (memory (core memory $h "memory"))))
      (core module $m
        (import "kv" "increment" (func $increment (param i32 i32 i64 i32 i32)))
        (func (export "ok") (param i32 i32) (result i32) (i32.const 0))
        (func (export "self-test") (result i32) (i32.const 0))
        (func (export "on-publish") (param i64 i64 i32 i32 i32 i32 i32) (result i64)
          (call $increment (i32.const 64) (i32.const 1) (i64.const 1) (i32.const 0) (i32.const 128))
          (i64.const 1)))
      (core instance $i (instantiate $m
        (with "kv" (instance (export "increment" (func $increment))))))
      (func $configure (param "settings" string) (result (result (error string)))
        (canon lift (core func $i "ok") (memory (core memory $h "memory")) (realloc (core func $h "realloc"))))
      (func $self-test (result (result (error string)))
        (canon lift (core func $i "self-test") (memory (core memory $h "memory"))))
      (func $on-publish (param "session" u64) (param "tag" u64) (param "topic" string) (param "qos" u8)
        (param "retain" bool) (param "payload-bytes" u32) (result u64)
        (canon lift (core func $i "on-publish") (memory (core memory $h "memory"))
          (realloc (core func $h "realloc"))))
      (instance $setup (export "configure" (func $configure)) (export "self-test" (func $self-test)))
      (instance $publish (export "on-publish" (func $on-publish)))
      (export "sluice:policy/setup@0.1.0" (instance $setup))
      (export "sluice:policy/publish@0.1.0" (instance $publish)))"#;
    Ok(wat::parse_str(text)?)
}

/// Remembers the last word on each key until it is written down, as a store does.
#[derive(Default)]
struct Coalescing(Mutex<HashMap<String, Words>>);

type Words = HashMap<String, Option<Vec<u8>>>;

impl KeyValueJournal for Coalescing {
    fn changed(&self, policy: &str, key: &str, value: Option<&[u8]>) {
        let Ok(mut policies) = self.0.lock() else { return };
        let keys = match policies.get_mut(policy) {
            Some(keys) => keys,
            None => policies.entry(policy.to_owned()).or_default(),
        };
        match (keys.get_mut(key), value) {
            (Some(Some(last)), Some(value)) => {
                last.clear();
                last.extend_from_slice(value);
            }
            (Some(last), value) => *last = value.map(<[u8]>::to_vec),
            (None, value) => drop(keys.insert(key.to_owned(), value.map(<[u8]>::to_vec))),
        }
    }
}

struct Silent;

impl PolicyObserver for Silent {
    fn observe(&self, _: &PolicyNotice) {}
}

fn request() -> ConnectRequest {
    ConnectRequest {
        purpose: ConnectPurpose::Connect,
        session: 1,
        client_id: "machine-23".into(),
        assigned_client_id: None,
        username: None,
        password: None,
        protocol: ProtocolVersion::V5_0,
        clean_start: true,
        keep_alive_seconds: 60,
        session_expiry_seconds: 0,
        will: None,
        user_properties: Vec::new(),
        auth_method: None,
        auth_data: None,
        peer: Arc::new(Peer {
            address: "127.0.0.1".into(),
            port: 4711,
            ..Peer::default()
        }),
        nonce: [0; 32],
    }
}

/// The built-in policy admits and has rules; `more` comes after it in the chain.
async fn gate(more: Option<Vec<u8>>) -> Result<(Policies, Gate), Box<dyn Error>> {
    gate_with(more, None).await
}

async fn gate_with(
    more: Option<Vec<u8>>,
    journal: Option<Arc<dyn KeyValueJournal>>,
) -> Result<(Policies, Gate), Box<dyn Error>> {
    let mut policies = vec![PolicySpec::new("users", PolicySource::Embedded)];
    policies.extend(more.map(|wasm| PolicySpec {
        capabilities: [Capability::Kv].into_iter().collect(),
        ..PolicySpec::new("publisher", PolicySource::Bytes(wasm.into()))
    }));
    let default_chain = policies.iter().map(|spec| spec.name.clone()).collect();
    let config = PoliciesConfig {
        policies,
        default_chain,
        ..PoliciesConfig::default()
    };
    let observer = Arc::new(Silent);
    let policies = match journal {
        None => Policies::start(config, observer),
        Some(journal) => Policies::resume(config, observer, journal, []),
    };
    let policies = policies.map_err(|errors| format!("{errors:?}"))?;
    match policies.connect(Arc::new(request())).step().await {
        Step::Decided(Decision::Admit { gate, .. }) => Ok((policies, *gate)),
        other => Err(format!("{other:?}").into()),
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Median and range of the batches, in nanoseconds per call.
fn measure(what: &str, mut call: impl FnMut() -> bool) {
    let batches = (0..BATCHES)
        .map(|_| {
            let started = cpu_time();
            for _ in 0..CALLS {
                assert!(std::hint::black_box(call()));
            }
            (cpu_time() - started).as_secs_f64() * 1e9 / f64::from(CALLS)
        })
        .collect();
    conclude(what, batches);
}

#[allow(clippy::print_stdout, reason = "an example reports on stdout")]
fn conclude(what: &str, mut batches: Vec<f64>) {
    batches.sort_by(f64::total_cmp);
    if let [least, .., most] = batches[..] {
        let median = batches.get(BATCHES / 2).copied().unwrap_or(most);
        println!("{what:<44} {median:8.1} ns  [{least:.1} .. {most:.1}]");
    }
}

fn allows(gate: &mut Gate, topic: &str) -> bool {
    matches!(gate.publish(topic, 0, false, 100), PublishVerdict::Allow { .. })
}

async fn connects(policies: &Policies, request: &Arc<ConnectRequest>) -> Result<(), Box<dyn Error>> {
    let mut batches = Vec::new();
    for _ in 0..BATCHES {
        let started = cpu_time();
        for _ in 0..CONNECTS {
            let step = policies.connect(Arc::clone(request)).step().await;
            let Step::Decided(Decision::Admit { .. }) = step else {
                return Err("not admitted".into());
            };
        }
        batches.push((cpu_time() - started).as_secs_f64() * 1e9 / f64::from(CONNECTS));
    }
    conclude("CONNECT (built-in policy, no password)", batches);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (_policies, mut rules) = gate(None).await?;
    measure("rule (one grant)", || allows(&mut rules, TOPIC));
    measure("whether content is looked at", || !rules.has_content());

    // As many topics as a session's cache holds, told apart by their last byte.
    let topics: Vec<String> = (0..8).map(|n| format!("{TOPIC}{n}")).collect();
    let (_policies, mut cached) = gate(Some(publisher(1 | 0xFFFF << 48)?)).await?;
    let mut turns = topics.iter().cycle();
    measure("cached verdict, eight topics in turn", || {
        turns.next().is_some_and(|topic| allows(&mut cached, topic))
    });

    let (_policies, mut called) = gate(Some(publisher(1)?)).await?;
    measure("call (after one grant), verdict not cached", || {
        allows(&mut called, TOPIC)
    });

    let (_policies, mut counted) = gate(Some(counter()?)).await?;
    measure("call that counts in its store", || allows(&mut counted, TOPIC));
    let journal = Arc::new(Coalescing::default());
    let (_policies, mut told) = gate_with(Some(counter()?), Some(journal)).await?;
    measure("call that counts, and a journal is told", || {
        allows(&mut told, TOPIC)
    });

    let (policies, gate) = gate(None).await?;
    measure("a gate remembered", || !gate.remember().is_empty());
    let bytes = gate.remember();
    measure("a gate recalled", || policies.recall(&bytes, 1).is_ok());
    connects(&policies, &Arc::new(request())).await
}
