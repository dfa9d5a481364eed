//! What the tests of the policy host share.

use sluice::policy::notice::{FaultKind, Hook};
use sluice::policy::verdict::{
    Admission, ConnectPurpose, ConnectRequest, Decision, Peer, ProtocolVersion, PublishVerdict, Refusal,
    SubscribeVerdict,
};
use sluice::policy::{
    Gate, Policies, PoliciesConfig, PolicyErrorKind, PolicyNotice, PolicyObserver, PolicySource, PolicySpec,
    Step,
};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longest wait for something that happens on another thread.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps what the host reports.
#[derive(Default)]
pub(crate) struct Recorder {
    notices: Mutex<Vec<PolicyNotice>>,
    arrived: Condvar,
}

impl PolicyObserver for Recorder {
    fn observe(&self, notice: &PolicyNotice) {
        self.notices.lock().unwrap().push(notice.clone());
        self.arrived.notify_all();
    }
}

impl Recorder {
    pub(crate) fn notices(&self) -> Vec<PolicyNotice> {
        self.notices.lock().unwrap().clone()
    }

    /// Waits for the first notice of which `pick` makes something.
    pub(crate) fn wait_for<R>(&self, pick: impl Fn(&PolicyNotice) -> Option<R>) -> R {
        let deadline = Instant::now() + PATIENCE;
        let mut notices = self.notices.lock().unwrap();
        loop {
            if let Some(found) = notices.iter().find_map(&pick) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not reported: {notices:#?}");
            notices = self.arrived.wait_timeout(notices, left).unwrap().0;
        }
    }

    pub(crate) fn faults(&self) -> Vec<(Hook, FaultKind, String)> {
        let fault = |notice: PolicyNotice| match notice {
            PolicyNotice::Fault { hook, fault, .. } => Some((hook, fault.kind, fault.detail)),
            _ => None,
        };
        self.notices().into_iter().filter_map(fault).collect()
    }
}

/// A host with its recorder.
pub(crate) struct Host {
    pub(crate) policies: Policies,
    pub(crate) recorder: Arc<Recorder>,
}

pub(crate) fn spec(name: &str, wasm: Vec<u8>) -> PolicySpec {
    PolicySpec::new(name, PolicySource::Bytes(wasm.into()))
}

/// All policies in one chain, in this order.
pub(crate) fn config(policies: Vec<PolicySpec>) -> PoliciesConfig {
    let default_chain = policies.iter().map(|spec| spec.name.clone()).collect();
    PoliciesConfig {
        policies,
        default_chain,
        ..PoliciesConfig::default()
    }
}

pub(crate) fn start(config: PoliciesConfig) -> Host {
    let recorder = Arc::new(Recorder::default());
    match Policies::start(config, Arc::clone(&recorder) as _) {
        Ok(policies) => Host { policies, recorder },
        Err(errors) => panic!(
            "{}",
            errors
                .iter()
                .map(|error| format!("{error}\n"))
                .collect::<String>()
        ),
    }
}

/// A host with one policy.
pub(crate) fn start_one(wasm: Vec<u8>) -> Host {
    start(config(vec![spec("p", wasm)]))
}

/// Why a policy cannot be loaded.
pub(crate) fn start_error(spec: PolicySpec) -> PolicyErrorKind {
    let errors =
        Policies::start(config(vec![spec]), Arc::new(Recorder::default())).expect_err("it was loaded");
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.into_iter().next().unwrap().kind
}

pub(crate) fn request(client_id: &str) -> ConnectRequest {
    ConnectRequest {
        purpose: ConnectPurpose::Connect,
        session: 7,
        client_id: client_id.into(),
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
            address: "192.0.2.7".into(),
            port: 4711,
            listener: "main".into(),
            ..Peer::default()
        }),
        nonce: [7; 32],
    }
}

impl Host {
    pub(crate) fn decide(&self, request: ConnectRequest) -> Decision {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut judging = self.policies.connect(Arc::new(request));
        match runtime.block_on(judging.step()) {
            Step::Decided(decision) => decision,
            Step::Challenge(data) => panic!("challenged with {data:?}"),
        }
    }

    pub(crate) fn admit_with(&self, request: ConnectRequest) -> (Gate, Admission) {
        match self.decide(request) {
            Decision::Admit { gate, admission } => (*gate, *admission),
            Decision::Deny(refusal) => panic!("{refusal:?}, {:#?}", self.recorder.notices()),
        }
    }

    pub(crate) fn admit(&self, client_id: &str) -> Gate {
        self.admit_with(request(client_id)).0
    }

    pub(crate) fn deny(&self, client_id: &str) -> Refusal {
        match self.decide(request(client_id)) {
            Decision::Admit { gate, .. } => panic!("{gate:?}"),
            Decision::Deny(refusal) => refusal,
        }
    }
}

pub(crate) fn publish(gate: &mut Gate, topic: &str) -> PublishVerdict {
    gate.publish(topic, 0, false, 10)
}

pub(crate) const ALLOWED: PublishVerdict = PublishVerdict::Allow { throttle_ms: 0 };

#[track_caller]
pub(crate) fn denied(verdict: PublishVerdict) -> Refusal {
    match verdict {
        PublishVerdict::Deny(refusal) => *refusal,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn subscription_denied(verdict: SubscribeVerdict) -> Refusal {
    match verdict {
        SubscribeVerdict::Deny(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}
