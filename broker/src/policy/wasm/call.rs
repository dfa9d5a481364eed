//! One instance of a policy and the calls into it, each with its deadline.

use super::bindings::exports::sluice::policy as exported;
use super::bindings::sluice::policy::types as wit;
use super::engine::HOSTCALL_BYTES_MAX;
use super::host::{DeadlineExceeded, HostState, NEXT_TICK};
use super::load::{ConnectIndices, Program, wrong_type};
use super::{convert, convert_asking};
use crate::policy::actions::Actions;
use crate::policy::holdings::Holdings;
use crate::policy::notice::{Fault, FaultKind, PolicyErrorKind};
use crate::policy::spec::PolicyLimits;
use crate::policy::verdict::{
    Answer, ConnectOutcome, ConnectRequest, ContentMessage, ContentOutcome, Peer, RefreshCause,
    RefreshOutcome, SessionEvent,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{Store, Trap, WasmBacktrace};

/// A policy ready to be called: one store with one instance, used by one thread at a time.
///
/// After any error it must be dropped: its memory is in an unknown state, and wasmtime would refuse further calls.
pub(in crate::policy) struct Instance {
    store: Store<HostState>,
    setup: exported::setup::Guest,
    connect: Option<Connect>,
    publish: Option<exported::publish::Guest>,
    publish_many: Option<exported::publish_many::Guest>,
    subscribe: Option<exported::subscribe::Guest>,
    content: Option<exported::content::Guest>,
    events: Option<exported::events::Guest>,
    /// How long calls may take.
    limits: PolicyLimits,
    /// Calls until it is replaced.
    pub(in crate::policy) calls_left: u32,
    /// Calls since they were last added to the policy's total.
    pub(in crate::policy) calls_uncounted: u32,
}

/// The connect hooks, of either kind.
enum Connect {
    Plain(exported::connect::Guest),
    Asking(exported::asking::Guest),
}

/// What an instance is made with, beyond its program.
pub(in crate::policy) struct Surroundings {
    pub(in crate::policy) holdings: Arc<Holdings>,
    pub(in crate::policy) actions: Arc<Actions>,
    pub(in crate::policy) limits: PolicyLimits,
}

/// How long `on-connect` may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Patience {
    /// Its whole deadline.
    Whole,
    /// No longer than `on-publish`: other clients of this thread wait.
    OfPublish,
}

/// A session as its refresh shows it.
pub(in crate::policy) struct RefreshSubject<'a> {
    pub(in crate::policy) session: u64,
    pub(in crate::policy) tag: u64,
    pub(in crate::policy) cause: RefreshCause,
    pub(in crate::policy) client_id: &'a str,
    pub(in crate::policy) username: Option<&'a str>,
    pub(in crate::policy) principal: Option<&'a str>,
    pub(in crate::policy) attributes: &'a [(String, String)],
    pub(in crate::policy) peer: &'a Peer,
}

type CallResult<R> = Result<R, Fault>;

impl Instance {
    /// Instantiates the program; its start functions run, `configure` does not.
    pub(in crate::policy) fn new(program: &Program, around: &Surroundings) -> Result<Self, PolicyErrorKind> {
        use crate::policy::notice::Hook;
        let state = HostState::new(
            Arc::clone(&around.holdings),
            Arc::clone(&around.actions),
            Arc::clone(&program.ticker),
            around.limits.memory_bytes_max,
        );
        let mut store = Store::new(program.pre.engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        store.epoch_deadline_callback(|mut store| store.data_mut().deadline.look());
        let instance = run(&mut store, around.limits.configure_deadline, |store| {
            program.pre.instantiate(store)
        })
        .map_err(|fault| PolicyErrorKind::Fault(Hook::Instantiate, fault))?;
        macro_rules! hook {
            ($name:ident) => {
                program
                    .$name
                    .as_ref()
                    .map(|indices| indices.load(&mut store, &instance).map_err(wrong_type))
                    .transpose()?
            };
        }
        let connect = match &program.connect {
            None => None,
            Some(ConnectIndices::Plain(indices)) => Some(Connect::Plain(
                indices.load(&mut store, &instance).map_err(wrong_type)?,
            )),
            Some(ConnectIndices::Asking(indices)) => Some(Connect::Asking(
                indices.load(&mut store, &instance).map_err(wrong_type)?,
            )),
        };
        Ok(Self {
            setup: program.setup.load(&mut store, &instance).map_err(wrong_type)?,
            connect,
            publish: hook!(publish),
            publish_many: hook!(publish_many),
            subscribe: hook!(subscribe),
            content: hook!(content),
            events: hook!(events),
            store,
            limits: around.limits,
            calls_left: u32::MAX,
            calls_uncounted: 0,
        })
    }

    /// Whether its log lines are swallowed.
    pub(in crate::policy) fn mute(&mut self, is_muted: bool) {
        self.store.data_mut().is_muted = is_muted;
    }

    pub(in crate::policy) fn configure(&mut self, settings: &str) -> CallResult<Result<(), String>> {
        let setup = &self.setup;
        run(&mut self.store, self.limits.configure_deadline, |store| {
            setup.call_configure(store, settings)
        })
    }

    pub(in crate::policy) fn self_test(&mut self) -> CallResult<Result<(), String>> {
        let setup = &self.setup;
        run(&mut self.store, self.limits.configure_deadline, |store| {
            setup.call_self_test(store)
        })
    }

    pub(in crate::policy) fn connect(
        &mut self,
        request: &ConnectRequest,
        answers: &[Answer],
        patience: Patience,
    ) -> CallResult<ConnectOutcome> {
        let Some(connect) = &self.connect else {
            return Err(not_exported());
        };
        let allowed = match patience {
            Patience::Whole => self.limits.connect_deadline,
            Patience::OfPublish => self.limits.connect_deadline.min(self.limits.publish_deadline),
        };
        let request = convert::connect_request(request);
        let store = &mut self.store;
        match connect {
            Connect::Plain(connect) => {
                let answers: Vec<_> = answers.iter().map(convert::answer).collect();
                let ask = |store: &mut _| connect.call_on_connect(store, &request, &answers);
                run(store, allowed, ask).map(convert::connect_outcome)
            }
            Connect::Asking(connect) => {
                let answers: Vec<_> = answers.iter().map(convert_asking::answer).collect();
                let ask = |store: &mut _| connect.call_on_connect(store, &request, &answers);
                run(store, allowed, ask).map(convert_asking::connect_outcome)
            }
        }
    }

    pub(in crate::policy) fn refresh(&mut self, subject: &RefreshSubject<'_>) -> CallResult<RefreshOutcome> {
        let Some(connect) = &self.connect else {
            return Err(not_exported());
        };
        let request = wit::RefreshRequest {
            session: subject.session,
            tag: subject.tag,
            cause: convert::refresh_cause(subject.cause),
            client_id: subject.client_id.to_owned(),
            username: subject.username.map(str::to_owned),
            principal: subject.principal.map(str::to_owned),
            attributes: subject.attributes.to_vec(),
            peer: convert::peer(subject.peer),
        };
        run(
            &mut self.store,
            self.limits.connect_deadline,
            |store| match connect {
                Connect::Plain(connect) => connect.call_on_refresh(store, &request),
                Connect::Asking(connect) => connect.call_on_refresh(store, &request),
            },
        )
        .map(convert::refresh_outcome)
    }

    /// The packed verdict, see `wit/hooks.wit`.
    pub(in crate::policy) fn publish(
        &mut self,
        session: u64,
        tag: u64,
        topic: &str,
        (qos, retain, payload_bytes): (u8, bool, u32),
    ) -> CallResult<u64> {
        let Some(publish) = &self.publish else {
            return Err(not_exported());
        };
        run(&mut self.store, self.limits.publish_deadline, |store| {
            publish.call_on_publish(store, session, tag, topic, qos, retain, payload_bytes)
        })
    }

    /// The packed verdicts on packed messages, see `wit/hooks.wit`: as many as the policy gave.
    pub(in crate::policy) fn publish_many(
        &mut self,
        session: u64,
        tag: u64,
        topics: &str,
        messages: &[u64],
    ) -> CallResult<Vec<u64>> {
        let Some(publish_many) = &self.publish_many else {
            return Err(not_exported());
        };
        run(&mut self.store, self.limits.publish_deadline, |store| {
            publish_many.call_on_publish_many(store, session, tag, topics, messages)
        })
    }

    /// The packed verdict, see `wit/hooks.wit`.
    pub(in crate::policy) fn subscribe(
        &mut self,
        session: u64,
        tag: u64,
        filter: &str,
        options: u32,
    ) -> CallResult<u64> {
        let Some(subscribe) = &self.subscribe else {
            return Err(not_exported());
        };
        run(&mut self.store, self.limits.subscribe_deadline, |store| {
            subscribe.call_on_subscribe(store, session, tag, filter, options)
        })
    }

    pub(in crate::policy) fn content(
        &mut self,
        session: u64,
        tag: u64,
        message: &ContentMessage,
        result_bytes_max: usize,
    ) -> CallResult<ContentOutcome> {
        let Some(content) = &self.content else {
            return Err(not_exported());
        };
        let message = convert::message(message);
        // The one call whose result may be large: as large as the messages this client may publish.
        self.store
            .set_hostcall_fuel(result_bytes_max.saturating_add(HOSTCALL_BYTES_MAX));
        let outcome = run(&mut self.store, self.limits.content_deadline, |store| {
            content.call_on_message(store, session, tag, &message)
        });
        self.store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        outcome.map(convert::message_outcome)
    }

    pub(in crate::policy) fn event(
        &mut self,
        session: u64,
        tag: u64,
        event: &SessionEvent<'_>,
    ) -> CallResult<()> {
        let Some(events) = &self.events else {
            return Err(not_exported());
        };
        let event = convert::event(event);
        run(&mut self.store, self.limits.event_deadline, |store| {
            events.call_on_event(store, session, tag, &event)
        })
    }
}

/// Callers look at the program's exports first.
fn not_exported() -> Fault {
    Fault::new(FaultKind::Host, "the hook is not exported")
}

/// The one place where guest code runs.
fn run<R>(
    store: &mut Store<HostState>,
    allowed: Duration,
    call: impl FnOnce(&mut Store<HostState>) -> wasmtime::Result<R>,
) -> CallResult<R> {
    store.data().ticker.call_begins();
    store.set_epoch_deadline(NEXT_TICK);
    store.data_mut().deadline.start(allowed);
    match catch_unwind(AssertUnwindSafe(|| call(store))) {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(explain(&error, store.data())),
        Err(_) => Err(Fault::new(FaultKind::Host, "the WebAssembly engine panicked")),
    }
}

#[cold]
fn explain(error: &wasmtime::Error, state: &HostState) -> Fault {
    if let Some(exceeded) = error.downcast_ref::<DeadlineExceeded>() {
        return Fault::new(FaultKind::Deadline, format!("{exceeded}{}", place(error)));
    }
    if let Some(text) = &state.panic_text {
        return Fault::new(FaultKind::Trap, format!("panicked: {text}"));
    }
    let cause = error.root_cause().to_string();
    if cause.contains("fuel allocated for hostcalls") {
        return Fault::new(
            FaultKind::ResultTooLarge,
            "handed over more than the host takes at once",
        );
    }
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::StackOverflow) {
        return Fault::new(FaultKind::Stack, format!("{cause}{}", place(error)));
    }
    if let Some(bytes) = state.limiter.refused {
        return Fault::new(
            FaultKind::Memory,
            format!(
                "wanted {} KiB of memory, which is more than it may have{}",
                bytes / 1024,
                place(error)
            ),
        );
    }
    // What is no trap happened on the way in or out: text that is no UTF-8, a pointer that leads out of memory, an
    // unknown case.
    let is_trap = trap.is_some() || error.downcast_ref::<WasmBacktrace>().is_some();
    let kind = if is_trap {
        FaultKind::Trap
    } else {
        FaultKind::BadVerdict
    };
    Fault::new(kind, format!("{cause}{}", place(error)))
}

/// ` in inner < outer`, where names are known.
fn place(error: &wasmtime::Error) -> String {
    let names: Vec<_> = error
        .downcast_ref::<WasmBacktrace>()
        .into_iter()
        .flat_map(|backtrace| backtrace.frames().iter().take(4))
        .filter_map(|frame| frame.func_name())
        .collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" in {}", names.join(" < "))
    }
}
