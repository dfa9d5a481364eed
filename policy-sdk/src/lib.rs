//! Write Sluice policies in Rust.

pub use policy::{Error, NoSettings, Policy};
#[doc(inline)]
pub use sluice_policy_macros::policy;

pub use ask::Ask;
pub use bindings::host::sluice::policy::types::{
    Admission, Budget, Certificate, ConnackOverrides, ConnectPurpose, ConnectedEvent, Denial,
    DisconnectedEvent, Event, Grant, GrantAction, GrantVerdict, Message, OverLimitAction, Overflow, Peer,
    ProtocolVersion, Rate, RefreshCause, TlsPeer, Will,
};
pub use connect::{Connect, ConnectRequest, Password, Refresh, RefreshRequest};
pub use content::{Content, ContentRequest};
pub use publish::{Publish, PublishRequest};
pub use reason::{QoS, Reason};
pub use serde;
pub use subscribe::{RetainHandling, Subscribe, SubscribeRequest};

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
#[doc(hidden)]
pub mod export;
mod grant;
pub mod host;
pub mod log;
mod policy;
mod publish;
mod reason;
mod settings;
mod subscribe;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod verdict;

/// Everything a policy usually needs: `use sluice_policy::prelude::*;`
pub mod prelude {
    pub use crate::{
        Admission, Ask, Budget, Connect, ConnectRequest, Content, ContentRequest, Denial, Error, Event,
        Grant, Policy, Publish, PublishRequest, QoS, Rate, Reason, Refresh, RefreshRequest, Subscribe,
        SubscribeRequest, log, policy,
    };
}
