//! Refuses every connection, and so every message and subscription. Put it at the end of a listener's chain to close
//! that listener, or load it over a policy to lock everyone out at once: live sessions are refused, too.
//!
//! It has no settings.

use sluice_policy::prelude::*;

#[derive(Default)]
struct DenyAll;

#[policy]
impl Policy for DenyAll {
    async fn on_connect(&self, _: &ConnectRequest, _: &Ask) -> Connect {
        Connect::deny(Reason::NotAuthorized)
    }

    fn on_refresh(&self, _: &RefreshRequest) -> Refresh {
        Refresh::deny(Reason::AdministrativeAction)
    }

    fn on_publish(&self, _: &PublishRequest) -> Publish {
        Publish::deny()
    }

    fn on_subscribe(&self, _: &SubscribeRequest) -> Subscribe {
        Subscribe::deny()
    }
}
