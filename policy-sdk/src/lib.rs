//! The SDK for policies. Its guide is the README, which follows.
//!
#![doc = include_str!("../README.md")]

pub use policy::{Error, NoSettings, Policy};
/// Makes an `impl Policy for …` the policy of the component: exports the hooks that are written in it, and no others.
///
/// `type Settings` may be left out for [`NoSettings`]; `fn new` for `Default`, or for `From<Settings>` where there are
/// settings. There is one policy in a component:
///
/// ```
/// # use sluice_policy::prelude::*;
/// #[derive(Default)]
/// struct ReadOnly;
///
/// #[policy]
/// impl Policy for ReadOnly {
///     fn on_publish(&self, _: &PublishRequest) -> Publish {
///         Publish::deny()
///     }
/// }
/// ```
///
/// It goes on the `impl`, which must be for one type:
///
/// ```compile_fail
/// # use sluice_policy::prelude::*;
/// #[policy]
/// struct Gate;
/// ```
///
/// ```compile_fail
/// # use sluice_policy::prelude::*;
/// # #[derive(Default)] struct Gate<T>(T);
/// #[policy]
/// impl<T> Policy for Gate<T> {}
/// ```
///
/// A hook that does not exist is an error, as in any trait:
///
/// ```compile_fail,E0407
/// # use sluice_policy::prelude::*;
/// # #[derive(Default)] struct Gate;
/// #[policy]
/// impl Policy for Gate {
///     fn on_publishh(&self, _: &PublishRequest) -> Publish {
///         Publish::deny()
///     }
/// }
/// ```
///
/// Only `on_connect` can wait for anything; `on_refresh` says where it says how to have a service asked again:
///
/// ```compile_fail
/// # use sluice_policy::prelude::*;
/// # #[derive(Default)] struct Gate;
/// #[policy]
/// impl Policy for Gate {
///     async fn on_refresh(&self, _: &RefreshRequest) -> Refresh {
///         Refresh::keep()
///     }
/// }
/// ```
///
/// A policy that would remember something between calls does not compile:
///
/// ```compile_fail,E0277
/// # use sluice_policy::prelude::*;
/// #[derive(Default)]
/// struct Counter(std::cell::Cell<u32>);
///
/// #[policy]
/// impl Policy for Counter {}
/// ```
pub use sluice_policy_macros::policy;

pub use ask::Ask;
pub use bindings::host::sluice::policy::services::{HttpMethod, HttpRequest, HttpResponse};
pub use bindings::host::sluice::policy::types::{
    Admission, Budget, Certificate, ConnackOverrides, ConnectPurpose, ConnectedEvent, Denial,
    DisconnectedEvent, Event, Grant, GrantAction, GrantVerdict, Limit, LimitHitEvent, Message,
    OverLimitAction, Overflow, Peer, ProtocolVersion, Rate, RefreshCause, TlsPeer, Will,
};
pub use connect::{Connect, ConnectRequest, Password, Refresh, RefreshRequest};
pub use content::{Content, ContentRequest};
pub use grant::GRANTS_MAX;
pub use publish::{Publish, PublishRequest};
pub use reason::{QoS, Reason};
pub use serde;
pub use serde_json;
pub use subscribe::{RetainHandling, Subscribe, SubscribeRequest};
pub use token::Token;

mod admission;
mod ask;
#[doc(hidden)]
#[allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    reason = "generated: the documentation is in the WIT files, the unsafe code is the canonical ABI"
)]
pub mod bindings;
mod budget;
mod connect;
mod content;
pub mod emqx;
#[doc(hidden)]
pub mod export;
mod grant;
pub mod host;
mod http;
pub mod log;
mod policy;
mod publish;
mod reason;
mod settings;
mod subscribe;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod token;
mod verdict;

/// The policy that the README of the repository begins with, which must build, too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct FirstPolicy;

/// Everything a policy usually needs: `use sluice_policy::prelude::*;`
pub mod prelude {
    pub use crate::{
        Admission, Ask, Budget, Connect, ConnectRequest, Content, ContentRequest, Denial, Error, Event,
        Grant, HttpRequest, HttpResponse, OverLimitAction, Overflow, Policy, Publish, PublishRequest, QoS,
        Rate, Reason, Refresh, RefreshRequest, Subscribe, SubscribeRequest, Token, log, policy,
    };
}
