//! A module is tried before it judges anyone: configured, asked to test itself, and every hook called once.

use crate::policy::actions::Actions;
use crate::policy::gate::many::check;
use crate::policy::holdings::Holdings;
use crate::policy::notice::{Fault, Hook, PolicyErrorKind, printable};
use crate::policy::packed::Packed;
use crate::policy::shared::Shared;
use crate::policy::spec::PolicySpec;
use crate::policy::terms::{Subject, Terms};
use crate::policy::verdict::{
    ConnectOutcome, ConnectPurpose, ConnectRequest, ContentMessage, Peer, ProtocolVersion as Protocol,
    RefreshCause, RefreshOutcome, SessionEvent,
};
use crate::policy::wasm::{Instance, Patience, Program, RefreshSubject, Surroundings};
use bytes::Bytes;
use std::sync::Arc;

/// The session that trial calls speak of; real sessions have other numbers.
const SESSION: u64 = 0;
const CLIENT: &str = "sluice-trial";
const TOPIC: &str = "sluice/trial";

/// Runs the trial. What the policy stores, counts and does meanwhile is forgotten: `scratch` is its own.
pub(super) fn run(
    program: &Program,
    spec: &PolicySpec,
    scratch: Arc<Holdings>,
) -> Result<(), PolicyErrorKind> {
    let around = Surroundings {
        holdings: scratch,
        actions: Arc::new(Actions::default()),
        limits: spec.limits,
    };
    let mut instance = Instance::new(program, &around)?;
    refused(Hook::Configure, instance.configure(&spec.settings.to_string()))?;
    refused(Hook::SelfTest, instance.self_test())?;
    let hooks = &program.inspection.hooks;
    let fault = |hook| move |fault| PolicyErrorKind::Fault(hook, fault);
    if hooks.contains(&"connect") {
        connect(&mut instance).map_err(fault(Hook::Connect))?;
        refresh(&mut instance).map_err(fault(Hook::Refresh))?;
    }
    if hooks.contains(&"publish") {
        let bits = instance
            .publish(SESSION, 0, TOPIC, (0, false, 0))
            .map_err(fault(Hook::Publish))?;
        Packed::publish(bits).map_err(fault(Hook::Publish))?;
    }
    if program.inspection.judges_many {
        let message = u64::try_from(TOPIC.len()).unwrap_or(0);
        let verdicts = instance
            .publish_many(SESSION, 0, TOPIC, &[message])
            .map_err(fault(Hook::PublishMany))?;
        check(&verdicts, 1).map_err(fault(Hook::PublishMany))?;
    }
    if hooks.contains(&"subscribe") {
        let bits = instance
            .subscribe(SESSION, 0, TOPIC, 0)
            .map_err(fault(Hook::Subscribe))?;
        Packed::subscribe(bits).map_err(fault(Hook::Subscribe))?;
    }
    if hooks.contains(&"content") {
        instance
            .content(SESSION, 0, &message(), 0)
            .map_err(fault(Hook::Content))?;
    }
    if hooks.contains(&"events") {
        let event = SessionEvent::Connected {
            client_id: CLIENT,
            principal: None,
            resumed: false,
        };
        instance.event(SESSION, 0, &event).map_err(fault(Hook::Event))?;
    }
    Ok(())
}

fn refused(hook: Hook, answer: Result<Result<(), String>, Fault>) -> Result<(), PolicyErrorKind> {
    match answer {
        Ok(Ok(())) => Ok(()),
        Ok(Err(text)) => Err(PolicyErrorKind::Refused {
            hook,
            text: printable(&text),
        }),
        Err(fault) => Err(PolicyErrorKind::Fault(hook, fault)),
    }
}

fn connect(instance: &mut Instance) -> Result<(), Fault> {
    let request = ConnectRequest {
        purpose: ConnectPurpose::Connect,
        session: SESSION,
        client_id: CLIENT.into(),
        assigned_client_id: None,
        username: Some(CLIENT.into()),
        password: Some(Bytes::from_static(b"no password")),
        protocol: Protocol::V5_0,
        clean_start: true,
        keep_alive_seconds: 60,
        session_expiry_seconds: 0,
        will: None,
        user_properties: Vec::new(),
        auth_method: None,
        auth_data: None,
        peer: Arc::new(peer()),
        nonce: [0; 32],
    };
    if let ConnectOutcome::Admit(admission) = instance.connect(&request, &[], Patience::Whole)? {
        Terms::compile(*admission, &Subject::of(&request), &Shared::new())?;
    }
    Ok(())
}

fn refresh(instance: &mut Instance) -> Result<(), Fault> {
    let subject = Subject {
        session: SESSION,
        client_id: CLIENT.into(),
        username: None,
        peer: Arc::new(peer()),
    };
    let outcome = instance.refresh(&RefreshSubject {
        session: SESSION,
        tag: 0,
        cause: RefreshCause::Swap,
        client_id: CLIENT,
        username: None,
        principal: None,
        attributes: &[],
        peer: &subject.peer,
    })?;
    if let RefreshOutcome::Admit(admission) = outcome {
        Terms::compile(*admission, &subject, &Shared::new())?;
    }
    Ok(())
}

/// From a documentation address (RFC 5737).
fn peer() -> Peer {
    Peer {
        address: "192.0.2.1".into(),
        port: 1883,
        listener: "trial".into(),
        ..Peer::default()
    }
}

fn message() -> ContentMessage {
    ContentMessage {
        topic: TOPIC.into(),
        payload: Bytes::new(),
        qos: 0,
        retain: false,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    }
}
