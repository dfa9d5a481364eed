//! Between the generated bindings and the [`Policy`] trait. Used by the `#[policy]` attribute, not by authors.

use std::marker::PhantomData;
use std::sync::OnceLock;

use crate::ask::Ask;
use crate::bindings::host::sluice::policy::{services, types as wit};
use crate::bindings::{asking, content, events, publish, setup, subscribe};
use crate::content::ContentRequest;
use crate::policy::Policy;
use crate::publish::PublishRequest;
use crate::reason::QoS;
use crate::settings;
use crate::subscribe::SubscribeRequest;

/// The one policy of a component, empty until it is configured.
#[derive(Debug)]
pub struct Slot<P>(OnceLock<P>);

impl<P> Slot<P> {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "only ever the value of a static")]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }
}

/// Says where a component keeps its policy.
pub trait Exported: Policy {
    /// The slot.
    fn slot() -> &'static Slot<Self>;
}

/// Implements every hook of the interface with the policy of the component; only those that `#[policy]` names are
/// exported.
#[derive(Debug)]
pub struct Hooks<P>(PhantomData<P>);

#[expect(
    clippy::expect_used,
    reason = "the broker configures before it asks; a trap denies"
)]
fn policy<P: Exported>() -> &'static P {
    P::slot().0.get().expect("a hook was called before `configure`")
}

impl<P: Exported> setup::exports::sluice::policy::setup::Guest for Hooks<P> {
    fn configure(settings: String) -> Result<(), String> {
        std::panic::set_hook(Box::new(|panic| crate::host::log::panic(&panic.to_string())));
        let policy = configure::<P>(&settings)?;
        P::slot()
            .0
            .set(policy)
            .map_err(|_| "the instance is configured already".to_owned())
    }

    fn self_test() -> Result<(), String> {
        policy::<P>().self_test().map_err(|error| error.to_string())
    }
}

/// Makes a policy from its settings as JSON.
pub(crate) fn configure<P: Policy>(settings: &str) -> Result<P, String> {
    P::new(settings::parse(settings)?).map_err(|error| error.to_string())
}

impl<P: Exported> asking::exports::sluice::policy::asking::Guest for Hooks<P> {
    fn on_connect(request: wit::ConnectRequest, answers: Vec<services::Answer>) -> services::ConnectOutcome {
        on_connect(policy::<P>(), request, answers)
    }

    fn on_refresh(request: wit::RefreshRequest) -> wit::RefreshOutcome {
        policy::<P>().on_refresh(&request.into()).into()
    }
}

/// One round of `on_connect`.
pub(crate) fn on_connect<P: Policy>(
    policy: &P,
    mut request: wit::ConnectRequest,
    answers: Vec<services::Answer>,
) -> services::ConnectOutcome {
    let ask = Ask::new(std::mem::take(&mut request.nonce), answers);
    ask.run(async |ask| policy.on_connect(&request.into(), ask).await)
}

impl<P: Exported> publish::exports::sluice::policy::publish::Guest for Hooks<P> {
    fn on_publish(session: u64, tag: u64, topic: String, qos: u8, retain: bool, payload_bytes: u32) -> u64 {
        let qos = QoS::from_level(qos);
        let request = PublishRequest {
            session,
            tag,
            topic,
            qos,
            retain,
            payload_bytes,
        };
        policy::<P>().on_publish(&request).pack()
    }
}

impl<P: Exported> subscribe::exports::sluice::policy::subscribe::Guest for Hooks<P> {
    fn on_subscribe(session: u64, tag: u64, filter: String, options: u32) -> u64 {
        policy::<P>()
            .on_subscribe(&SubscribeRequest::new(session, tag, filter, options))
            .pack()
    }
}

impl<P: Exported> content::exports::sluice::policy::content::Guest for Hooks<P> {
    fn on_message(session: u64, tag: u64, message: wit::Message) -> wit::MessageOutcome {
        policy::<P>()
            .on_message(ContentRequest {
                session,
                tag,
                message,
            })
            .into()
    }
}

impl<P: Exported> events::exports::sluice::policy::events::Guest for Hooks<P> {
    fn on_event(session: u64, tag: u64, event: wit::Event) {
        policy::<P>().on_event(session, tag, &event);
    }
}
