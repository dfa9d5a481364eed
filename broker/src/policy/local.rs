//! Each thread's own instances: the way from a gate to a policy without a lock.

use super::Host;
use super::notice::{Fault, FaultKind, Hook};
use super::set::{Policy, PolicySet};
use super::wasm::{Instance, thread_cpu_time};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Hosts one thread keeps instances for. A broker has one; tests have several.
const BENCHES_MAX: usize = 2;
/// Calls after which an instance adds to its policy's total.
const CALLS_PER_COUNT: u32 = 64;

thread_local! {
    static BENCHES: RefCell<Vec<Bench>> = const { RefCell::new(Vec::new()) };
}

/// The instances of one thread for the set it last saw.
pub(super) struct Bench {
    host: u64,
    pub(super) set: Arc<PolicySet>,
    /// One place per policy of the set; filled at the first call.
    instances: Vec<Option<Instance>>,
}

/// Runs `work` with this thread's instances for the set in force. One atomic load tells whether they still are.
///
/// `None` when called from inside a policy's call, which an observer must not do.
pub(super) fn with_bench<R>(host: &Host, work: impl FnOnce(&mut Bench) -> R) -> Option<R> {
    BENCHES.with(|benches| {
        let mut benches = benches.try_borrow_mut().ok()?;
        let index = match benches.iter().position(|bench| bench.host == host.id) {
            Some(index) => index,
            None => {
                if benches.len() >= BENCHES_MAX {
                    benches.remove(0);
                }
                let set = host.current.load_full();
                benches.push(Bench {
                    host: host.id,
                    instances: places(&set),
                    set,
                });
                benches.len() - 1
            }
        };
        let bench = benches.get_mut(index)?;
        if bench.set.generation != host.generation.load(Ordering::Acquire) {
            bench.follow(host.current.load_full());
        }
        Some(work(bench))
    })
}

fn places(set: &PolicySet) -> Vec<Option<Instance>> {
    set.policies.iter().map(|_| None).collect()
}

impl Bench {
    /// Moves to a newer set. Instances of modules that stay are kept.
    #[cold]
    fn follow(&mut self, set: Arc<PolicySet>) {
        let mut instances = places(&set);
        for (policy, instance) in self.set.policies.iter().zip(&mut self.instances) {
            let same = set.policies.iter().position(|other| other.id == policy.id);
            if let Some(place) = same.and_then(|index| instances.get_mut(index)) {
                *place = instance.take();
            }
        }
        self.set = set;
        self.instances = instances;
    }

    /// Calls one policy of the set. Any error costs the instance its life and is reported.
    pub(super) fn call<R>(
        &mut self,
        host: &Host,
        index: usize,
        hook: Hook,
        call: impl FnOnce(&mut Instance) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let (Some(policy), Some(place)) = (self.set.policies.get(index), self.instances.get_mut(index))
        else {
            return Err(Fault::new(FaultKind::Host, "no such policy"));
        };
        let generation = self.set.generation;
        if !policy.health.may_be_called() {
            return Err(resting());
        }
        let instance = match place {
            Some(instance) => instance,
            None => match take_instance(host, policy, generation) {
                Ok(instance) => place.insert(instance),
                Err(fault) => return Err(fault),
            },
        };
        let result = call(instance);
        let is_spent = settle(host, policy, generation, hook, instance, &result);
        if is_spent {
            *place = None;
        }
        result
    }

    /// Puts `questions` at once to one policy of the set. `None`: that failed, and each is to be put alone.
    ///
    /// The failure does not count, for it may be the fault of one question, or only of their number: what it is shows, and
    /// counts, when each is put alone.
    pub(super) fn call_many<R>(
        &mut self,
        host: &Host,
        index: usize,
        questions: u32,
        call: impl FnOnce(&mut Instance) -> Result<R, Fault>,
    ) -> Option<R> {
        let (policy, place) = self.set.policies.get(index).zip(self.instances.get_mut(index))?;
        if policy.health.is_resting() {
            return None;
        }
        let instance = match place {
            Some(instance) => instance,
            None => place.insert(take_instance(host, policy, self.set.generation).ok()?),
        };
        let result = call(instance);
        if result.is_err() {
            policy.health.count_calls(instance.calls_uncounted);
            *place = None;
            return None;
        }
        instance.calls_uncounted += questions - 1;
        let is_spent = settle(
            host,
            policy,
            self.set.generation,
            Hook::PublishMany,
            instance,
            &result,
        );
        if is_spent {
            *place = None;
        }
        result.ok()
    }

    /// Lets a policy whose connect hook has proven quick answer on this thread. `None`: nothing has happened that
    /// counts; ask on the pool.
    ///
    /// Not even an overrun counts: the policy has had less than its time, and will have all of it on the pool.
    pub(super) fn connect<R>(
        &mut self,
        host: &Host,
        policy: &Arc<Policy>,
        generation: u64,
        call: impl FnOnce(&mut Instance) -> Result<R, Fault>,
    ) -> Option<Result<R, Fault>> {
        // Whoever has exhausted deadlines shows on the pool whether it has recovered.
        if !policy.pace.is_quick() || policy.health.is_resting() {
            return None;
        }
        // The set of a CONNECT may be older than this thread's; most modules of it are the same.
        let index = self.set.policies.iter().position(|other| other.id == policy.id)?;
        let place = self.instances.get_mut(index)?;
        let instance = match place {
            Some(instance) => instance,
            // Making one may take long.
            None => place.insert(spare(host, policy)?),
        };
        let started = thread_cpu_time();
        let result = call(instance);
        let took = thread_cpu_time().saturating_sub(started);
        if matches!(&result, Err(fault) if fault.kind == FaultKind::Deadline) {
            policy.health.count_calls(instance.calls_uncounted);
            policy.pace.overran();
            *place = None;
            return None;
        }
        policy.pace.answered(took);
        let is_spent = settle(host, policy, generation, Hook::Connect, instance, &result);
        if is_spent {
            *place = None;
        }
        Some(result)
    }
}

#[cold]
pub(super) fn resting() -> Fault {
    Fault::new(
        FaultKind::Resting,
        "it exhausted its deadlines and is not called for a while",
    )
}

/// A spare or fresh instance; the house keeper is asked to make the next spare.
#[cold]
pub(super) fn take_instance(host: &Host, policy: &Arc<Policy>, generation: u64) -> Result<Instance, Fault> {
    let taken = policy.instance();
    request_refill(host, policy);
    taken.map_err(|(hook, fault)| {
        host.fault(policy, generation, hook, &fault);
        fault
    })
}

#[cold]
fn spare(host: &Host, policy: &Arc<Policy>) -> Option<Instance> {
    let spare = policy.spare();
    request_refill(host, policy);
    spare
}

fn request_refill(host: &Host, policy: &Arc<Policy>) {
    if policy.wants_refill() {
        host.request_refill(policy);
    }
}

/// Accounts for a call; true when the instance must be dropped.
#[inline]
pub(super) fn settle<R>(
    host: &Host,
    policy: &Arc<Policy>,
    generation: u64,
    hook: Hook,
    instance: &mut Instance,
    result: &Result<R, Fault>,
) -> bool {
    instance.calls_uncounted += 1;
    instance.calls_left = instance.calls_left.saturating_sub(1);
    let is_spent = result.is_err() || instance.calls_left == 0;
    if is_spent || instance.calls_uncounted >= CALLS_PER_COUNT {
        policy.health.count_calls(instance.calls_uncounted);
        instance.calls_uncounted = 0;
    }
    match result {
        Ok(_) => policy.health.succeeded(),
        Err(fault) => host.fault(policy, generation, hook, fault),
    }
    is_spent
}
