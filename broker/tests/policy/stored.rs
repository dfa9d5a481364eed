//! Key-value data of policies that outlives the process, and the policies.

use crate::guest::{ADMIT, ALLOW, Guest, ZERO, publisher};
use crate::support::{ALLOWED, Host, Recorder, config, denied, publish, spec};
use sluice::policy::{Capability, KeyValueJournal, Policies, PoliciesConfig, PolicyNotice, PolicySpec};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

type Stored = BTreeMap<(String, String), Vec<u8>>;

/// Stands for the store: the last word on each key.
#[derive(Default)]
struct Disk(Mutex<Stored>);

impl KeyValueJournal for Disk {
    fn changed(&self, policy: &str, key: &str, value: Option<&[u8]>) {
        let mut stored = self.0.lock().unwrap();
        let at = (policy.to_owned(), key.to_owned());
        match value {
            Some(value) => drop(stored.insert(at, value.to_vec())),
            None => drop(stored.remove(&at)),
        }
    }
}

impl Disk {
    /// A host that finds on the disk what the one before has left there.
    fn start(self: &Arc<Self>, config: PoliciesConfig) -> Host {
        let recorder = Arc::new(Recorder::default());
        let stored = self.0.lock().unwrap().clone();
        let stored = stored
            .into_iter()
            .map(|((policy, key), value)| (policy, key, value));
        let policies = Policies::resume(config, Arc::clone(&recorder) as _, Arc::clone(self) as _, stored);
        let policies = policies.unwrap_or_else(|errors| panic!("{errors:?}"));
        Host { policies, recorder }
    }

    fn stored(&self) -> Stored {
        self.0.lock().unwrap().clone()
    }
}

/// Imports the counter `n`, which `(call $count)` raises and returns.
fn counter() -> Guest {
    Guest::new()
        .importing("kv", "increment", "increment", "(param i32 i32 i64 i32 i32)")
        .with("(data (i32.const 16384) \"n\")")
        .with(
            "(func $count (result i64)
               (call $increment (i32.const 16384) (i32.const 1) (i64.const 1) (i32.const 0) (i32.const 20000))
               (i64.load (i32.const 20008)))",
        )
}

fn granted(name: &str, guest: Guest) -> PolicySpec {
    let mut spec = spec(name, guest.build());
    spec.capabilities = [Capability::Kv].into_iter().collect();
    spec
}

/// Allows the first publish of all times.
fn once(name: &str) -> PolicySpec {
    let first = "(i64.extend_i32_u (i64.eq (call $count) (i64.const 1)))";
    granted(name, counter().connect(ADMIT).publish(first))
}

/// With other policies, or none.
fn bystander() -> PolicySpec {
    spec("other", publisher(ALLOW).build())
}

#[test]
fn what_a_policy_has_counted_it_knows_after_a_restart() {
    let disk = Arc::new(Disk::default());
    let host = disk.start(config(vec![once("p")]));
    assert!(disk.stored().is_empty(), "what a trial stores is forgotten");
    assert_eq!(publish(&mut host.admit("c"), "t"), ALLOWED);
    drop(host);
    let host = disk.start(config(vec![once("p")]));
    denied(publish(&mut host.admit("c"), "t"));
}

#[test]
fn an_instance_finds_the_data_when_it_is_configured() {
    let disk = Arc::new(Disk::default());
    let counting = || {
        granted(
            "p",
            counter()
                .connect(ADMIT)
                .configure(&format!("(drop (call $count)) {ZERO}")),
        )
    };
    let count = |disk: &Disk| {
        let stored = disk.stored();
        let value = &stored[&("p".to_owned(), "n".to_owned())];
        i64::from_le_bytes(*value.last_chunk().unwrap())
    };
    drop(disk.start(config(vec![counting()])));
    let instances = count(&disk);
    assert!(instances > 0);
    drop(disk.start(config(vec![counting()])));
    assert!(count(&disk) > instances, "it began anew");
}

#[test]
fn a_policy_that_is_away_for_a_while_finds_its_data_when_it_is_back() {
    let disk = Arc::new(Disk::default());
    let both = || config(vec![once("p"), bystander()]);
    let host = disk.start(both());
    assert_eq!(publish(&mut host.admit("c"), "t"), ALLOWED);
    host.policies.reload(config(vec![bystander()])).unwrap();
    host.policies.reload(both()).unwrap();
    denied(publish(&mut host.admit("c"), "t"));
    drop(host);
    // Nor does it matter that it is missing when the broker starts.
    let host = disk.start(config(vec![bystander()]));
    host.policies.reload(both()).unwrap();
    denied(publish(&mut host.admit("c"), "t"));
    // Another policy never had any.
    host.policies.reload(config(vec![once("q")])).unwrap();
    assert_eq!(publish(&mut host.admit("c"), "t"), ALLOWED);
}

#[test]
fn what_cannot_be_restored_is_reported_and_forgotten() {
    let disk = Arc::new(Disk::default());
    let damaged = ("p".to_owned(), "n".to_owned());
    disk.0.lock().unwrap().insert(damaged, b"?".to_vec());
    let host = disk.start(config(vec![once("p")]));
    assert!(disk.stored().is_empty());
    let told = host.recorder.notices().into_iter().any(|notice| {
        matches!(notice, PolicyNotice::Host { message } if message.contains("0 entries find no room")
            && message.contains("1 are damaged"))
    });
    assert!(told);
    assert_eq!(publish(&mut host.admit("c"), "t"), ALLOWED);
}

#[test]
fn of_names_that_have_gone_only_so_many_are_remembered_but_those_that_are_there() {
    let disk = Arc::new(Disk::default());
    // A counter of 7, for more names than the host remembers.
    let seven = [[1, 1, 0, 0, 0, 0, 0, 0, 0, 0].as_slice(), &7i64.to_le_bytes()].concat();
    let names = (0..600).map(|n| format!("gone-{n:03}")).chain(["p".to_owned()]);
    for name in names {
        disk.0
            .lock()
            .unwrap()
            .insert((name, "n".to_owned()), seven.clone());
    }
    let host = disk.start(config(vec![once("p")]));
    assert_eq!(disk.stored().len(), 512);
    denied(publish(&mut host.admit("c"), "t"));
    // One that is new takes the place of one that is gone.
    host.policies.reload(config(vec![once("new")])).unwrap();
    assert_eq!(publish(&mut host.admit("c"), "t"), ALLOWED);
    assert_eq!(disk.stored().len(), 512);
}
