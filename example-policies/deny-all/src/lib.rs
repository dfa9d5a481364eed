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

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_policy::testing;

    #[test]
    fn nothing_is_allowed_not_even_to_stay() {
        let policy = testing::policy::<DenyAll>(serde_json::json!({})).unwrap();
        let client = testing::client("alice").username("alice").password("secret");
        assert_eq!(policy.connect(&client), Connect::deny(Reason::NotAuthorized));
        let live = client.refresh(&Admission::new());
        assert_eq!(policy.refresh(&live), Refresh::deny(Reason::AdministrativeAction));
        assert_eq!(policy.publish("news"), Publish::deny());
        assert_eq!(policy.subscribe("news"), Subscribe::deny());
    }
}
