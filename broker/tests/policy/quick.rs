//! Where connect hooks are asked: those that have proven quick on the thread of the connection, the others elsewhere.

use crate::guest::{ADMIT, ALLOW, Guest, publisher};
use crate::support::{ALLOWED, Host, config, publish, request, spec, start};
use rustix::time::{ClockId, clock_gettime};
use sluice::policy::notice::FaultKind;
use sluice::policy::verdict::{ConnectRequest, Decision};
use sluice::policy::{Capability, PolicyNotice, PolicySpec, Step};
use std::sync::Arc;
use std::time::Duration;

/// More quick answers in a row than a module has to give, also after the few overruns of these tests.
const PROOF: usize = 100;

/// Counts its calls, then is quick for clients without a user name; for others it does `evil`.
fn counting(evil: &str) -> PolicySpec {
    // The case of the option of the user name is at 24 of the request.
    let body = format!(
        "(local $n i32)
         (call $count (i32.const 16384) (i32.const 5) (i64.const 1))
         (if (i64.ne (i64.load offset=8 (local.get $request)) (i64.const 0))
           (then (if (i32.eq (i32.load8_u offset=24 (local.get $request)) (i32.const 1)) (then {evil}))))
         {ADMIT}"
    );
    let guest = Guest::new()
        .importing("metrics", "increment", "count", "(param i32 i32 i64)")
        .with("(data (i32.const 16384) \"calls\")")
        .connect(&body);
    let mut spec = spec("p", guest.build());
    spec.capabilities = [Capability::Metrics].into_iter().collect();
    spec.limits.publish_deadline = Duration::from_millis(1);
    spec
}

/// Some hundred milliseconds: far more than a publish may take.
const SLOW: &str = "(local.set $n (i32.const 300000000))
    (loop $more (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
const SPIN: &str = "(loop $forever (br $forever))";

fn slow_client() -> ConnectRequest {
    ConnectRequest {
        username: Some("slow".into()),
        ..request("c")
    }
}

/// Calls since the module is in force, those of the trial not included.
fn calls(host: &Host) -> u64 {
    let status = host.policies.list().remove(0);
    status.counters.iter().map(|(_, count)| count).sum()
}

fn prove_quick(host: &Host) {
    (0..PROOF).for_each(|_| drop(host.admit("c")));
}

/// Whether a client that the policy is slow about was asked about twice: here, then on the pool.
fn overruns(host: &Host) -> bool {
    let before = calls(host);
    host.admit_with(slow_client());
    match calls(host) - before {
        1 => false,
        2 => true,
        more => panic!("{more} calls"),
    }
}

/// The machine may be so busy that a quick answer is taken for a slow one; not always.
fn overruns_once_proven(host: &Host) -> bool {
    (0..10).any(|_| {
        prove_quick(host);
        overruns(host)
    })
}

#[test]
fn a_slow_answer_is_asked_for_again_on_the_pool_with_its_whole_deadline() {
    let mut spec = counting(SLOW);
    spec.limits.connect_deadline = Duration::from_secs(60);
    let host = start(config(vec![spec]));
    assert!(
        !overruns(&host),
        "not known to be quick, it is asked on the pool only"
    );
    for time in 1..=3 {
        assert!(overruns_once_proven(&host), "time {time}");
        assert!(!overruns(&host), "time {time}: it has lost its good name");
    }
    // None of this is a fault of the policy.
    assert_eq!(host.recorder.faults(), []);
    let status = host.policies.list().remove(0);
    assert!(status.faults == 0 && !status.quarantined);
}

#[test]
fn a_module_that_takes_the_place_of_a_quick_one_has_to_prove_itself() {
    let mut spec = counting(SLOW);
    spec.limits.connect_deadline = Duration::from_secs(60);
    let host = start(config(vec![spec.clone()]));
    prove_quick(&host);
    // The same module with other limits.
    spec.limits.connect_deadline = Duration::from_secs(61);
    host.policies.reload(config(vec![spec])).unwrap();
    assert!(!overruns(&host));
}

#[test]
fn an_endless_answer_is_one_fault_wherever_it_was_first_asked_for() {
    let host = start(config(vec![counting(SPIN)]));
    for faults in 1..=5 {
        // A success in between: faults in a row are for the next step.
        prove_quick(&host);
        let Decision::Deny(refusal) = host.decide(slow_client()) else {
            panic!("admitted")
        };
        assert!(refusal.fault);
        assert_eq!(host.recorder.faults().len(), faults);
    }
    assert!(!host.policies.list()[0].quarantined);
    // Four more in a row, with the last of the five, quarantine it; then it rests.
    for _ in 0..4 {
        assert!(matches!(host.decide(slow_client()), Decision::Deny(refusal) if refusal.fault));
    }
    let faults = host.recorder.faults();
    assert_eq!(faults.len(), 9);
    assert!(faults.iter().all(|(_, kind, _)| *kind == FaultKind::Deadline));
    host.recorder
        .wait_for(|notice| matches!(notice, PolicyNotice::Quarantined { .. }).then_some(()));
    let Decision::Deny(refusal) = host.decide(request("c")) else {
        panic!("admitted")
    };
    assert!(refusal.text.unwrap().starts_with("resting"));
}

#[test]
fn a_policy_that_rests_is_not_asked_on_the_thread_of_the_connection_either() {
    let body = format!("(if (i64.ne (local.get $session) (i64.const 0)) (then {SPIN})) (i64.const 1)");
    let host = start(config(vec![spec(
        "p",
        Guest::new().connect(ADMIT).publish(&body).build(),
    )]));
    prove_quick(&host);
    let mut gate = host.admit("c");
    for _ in 0..5 {
        publish(&mut gate, "t");
    }
    let refusal = host.deny("c");
    assert!(refusal.fault && refusal.text.unwrap().starts_with("resting"));
}

#[test]
fn an_answer_that_traps_is_a_refusal_on_the_thread_of_the_connection_too() {
    let host = start(config(vec![counting("unreachable")]));
    prove_quick(&host);
    let before = calls(&host);
    let Decision::Deny(refusal) = host.decide(slow_client()) else {
        panic!("admitted")
    };
    assert!(refusal.fault);
    assert_eq!(calls(&host) - before, 1, "a trap is final");
    assert!(matches!(host.recorder.faults()[..], [(_, FaultKind::Trap, _)]));
    host.admit("c");
}

#[test]
fn while_a_connect_hook_spins_other_clients_of_its_thread_publish() {
    const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
    let mut spinner = counting(SPIN);
    spinner.limits.connect_deadline = CONNECT_DEADLINE;
    let mut config = config(vec![spinner, spec("kind", publisher(ALLOW).build())]);
    config.default_chain = vec!["p".into()];
    config.chains.insert("other".into(), vec!["kind".into()]);
    let host = start(config);
    prove_quick(&host);
    let mut elsewhere = request("c");
    Arc::make_mut(&mut elsewhere.peer).listener = "other".into();
    let (mut gate, _) = host.admit_with(elsewhere);
    // One thread, as a worker of the broker is.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut judging = host.policies.connect(Arc::new(slow_client()));
    runtime.block_on(async {
        let started = thread_cpu_time();
        let mut published = 0;
        let step = std::pin::pin!(judging.step());
        let decided = tokio::select! {
            biased;
            step = step => step,
            // The spinner has had its time on this thread and goes on elsewhere.
            () = async { published = (0..100).filter(|_| publish(&mut gate, "t") == ALLOWED).count() } => {
                let held_up = thread_cpu_time() - started;
                assert!(held_up < CONNECT_DEADLINE / 4, "for {held_up:?}");
                assert_eq!(published, 100);
                return;
            }
        };
        panic!("nobody else had a turn before {decided:?}");
    });
    // It is still not let in.
    let Step::Decided(Decision::Deny(refusal)) = runtime.block_on(judging.step()) else {
        panic!("admitted")
    };
    assert!(refusal.fault);
}

fn thread_cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}
