//! The trait a policy implements.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::ask::Ask;
use crate::bindings::host::sluice::policy::types::Event;
use crate::connect::{Connect, ConnectRequest, Refresh, RefreshRequest};
use crate::content::{Content, ContentRequest};
use crate::publish::{Publish, PublishRequest};
use crate::subscribe::{Subscribe, SubscribeRequest};

/// Why a policy refuses to be loaded. Every error type and every string converts into it, so `?` works.
pub type Error = Box<dyn std::error::Error>;

/// A policy: made once from its settings, then asked.
///
/// Put [`#[policy]`](crate::policy) on the `impl`. It exports the hooks that are written there; the broker does not
/// call the others. So a policy that does not judge subscriptions has no `on_subscribe`, and abstains.
///
/// The broker keeps several instances of a policy and replaces them at will: a policy must answer the same on a
/// fresh one. What it wants to remember of a client goes into [`Admission::tag`](crate::Admission::tag), the
/// attributes, or [`host::kv`](crate::host::kv).
///
/// With `#[policy]`, `new` may be left out: without `Settings` it is `Default::default()`, with `Settings` it is
/// `From<Settings>` (which `type Settings = Self` has for free).
pub trait Policy: Sized + Send + Sync + 'static {
    /// Read from the policy's settings in the broker's configuration. With `#[policy]`, [`NoSettings`] if left out.
    type Settings: DeserializeOwned;

    /// Makes an instance, and rejects settings that make no sense: the policy is not loaded then.
    ///
    /// # Errors
    /// The text is shown to the operator; name the setting.
    fn new(settings: Self::Settings) -> Result<Self, Error>;

    /// The policy's own check of itself, run before it is used for the first time.
    ///
    /// # Errors
    /// The policy is not loaded; the text is shown to the operator.
    fn self_test(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Judges a client that connects, or re-authenticates.
    fn on_connect(&self, request: &ConnectRequest, ask: &Ask) -> impl Future<Output = Connect> {
        let _ = (request, ask);
        async { Connect::abstain() }
    }

    /// Judges a client again, after a swap of the policy or when its refresh time is over.
    ///
    /// It decides at once, from the request and the capabilities ([`crate::host`]): it keeps the terms, replaces them, or
    /// ends the connection. It gets no [`Ask`]: it cannot ask a service, check a password or a token, or challenge the
    /// client, and credentials are not kept for it. Written `async` it does not compile. To have a service asked again,
    /// bound the life of the connection with [`Budget::connection_seconds_max`](crate::Budget): who connects again is
    /// judged by `on_connect`. A panic, or a call that takes too long, ends the connection.
    fn on_refresh(&self, request: &RefreshRequest) -> Refresh {
        let _ = request;
        Refresh::keep()
    }

    /// Judges a message that no grant decides.
    fn on_publish(&self, request: &PublishRequest) -> Publish {
        let _ = request;
        Publish::abstain()
    }

    /// Judges a subscription that no grant decides.
    fn on_subscribe(&self, request: &SubscribeRequest) -> Subscribe {
        let _ = request;
        Subscribe::abstain()
    }

    /// Looks into a message that was allowed. Costs a copy of each message.
    fn on_message(&self, request: ContentRequest) -> Content {
        let _ = request;
        Content::keep()
    }

    /// Is told what happened to a session. Nothing waits for it.
    fn on_event(&self, session: u64, tag: u64, event: &Event) {
        let _ = (session, tag, event);
    }
}

/// The settings of a policy that has none: any key is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}
