//! What a session's gate holds, and what it shares.

use super::*;
use crate::policy::grant::Grants;
use crate::policy::set::Policy;
use crate::policy::verdict::{ConnectPurpose, ConnectRequest, Decision, Peer, ProtocolVersion};
use crate::policy::{Policies, PoliciesConfig, PolicyNotice, PolicyObserver, PolicySource, PolicySpec, Step};
use std::mem::size_of;

pub(super) struct Silent;

impl PolicyObserver for Silent {
    fn observe(&self, _: &PolicyNotice) {}
}

/// The built-in policy, with everybody let in.
fn policies() -> Policies {
    let mut users = PolicySpec::new("users", PolicySource::Embedded);
    users.settings = serde_json::json!({ "anonymous": "anyone" });
    let config = PoliciesConfig {
        policies: vec![users],
        default_chain: vec!["users".into()],
        ..PoliciesConfig::default()
    };
    Policies::start(config, Arc::new(Silent)).unwrap()
}

fn admit(policies: &Policies, client_id: &str) -> Box<Gate> {
    let request = ConnectRequest {
        purpose: ConnectPurpose::Connect,
        session: 1,
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
        peer: Arc::new(Peer::default()),
        nonce: [0; 32],
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    match runtime.block_on(policies.connect(Arc::new(request)).step()) {
        Step::Decided(Decision::Admit { gate, .. }) => gate,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sessions_on_the_same_terms_share_them_and_leave_nothing_behind() {
    let policies = policies();
    let gates: Vec<_> = (0..100).map(|n| admit(&policies, &n.to_string())).collect();
    let first = &gates[0].sitting;
    let terms = first.seats[0].terms.as_ref().unwrap();
    for gate in &gates {
        assert!(Arc::ptr_eq(gate.sitting.seats[0].terms.as_ref().unwrap(), terms));
        assert!(Arc::ptr_eq(&gate.sitting.combined, terms));
    }
    let terms = Arc::downgrade(terms);
    let rules: std::sync::Weak<Grants> = Arc::downgrade(first.combined.grants.as_ref().unwrap());
    let budget = Arc::downgrade(&first.combined.budget);
    drop(gates);
    assert!(terms.upgrade().is_none() && rules.upgrade().is_none() && budget.upgrade().is_none());
}

#[test]
fn a_gate_with_one_policy_is_small() {
    const ARC_COUNTS: usize = 2 * size_of::<usize>();
    let subject = ARC_COUNTS + size_of::<Subject>();
    let own = size_of::<Gate>() + size_of::<Seat>() + subject;
    assert!(own <= 256, "{own} bytes and the names");
    // Were no other client on the same terms.
    let alone = own + ARC_COUNTS + size_of::<Terms>();
    assert!(alone <= 400, "{alone} bytes, the names and the rules");
}

#[test]
fn a_gate_follows_a_swap_before_it_says_whether_content_is_looked_at() {
    let policies = policies();
    let mut gate = admit(&policies, "c");
    assert!(!gate.has_content());
    // The same set once more, as if the policy had come to export the hook.
    let set = policies.host.current.load_full();
    let mut policy = Policy::revived(&set.policies[0]);
    policy.exports.content = true;
    policies.host.swap(PolicySet {
        generation: set.generation + 1,
        policies: vec![Arc::new(policy)],
        chains: set.chains.clone(),
        default_chain: Arc::clone(&set.default_chain),
    });
    assert!(gate.has_content());
}
