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
    use serde_json::json;
    use sluice_policy::testing;

    use super::*;

    #[test]
    fn nobody_enters_and_nobody_stays() {
        let gate = testing::policy::<DenyAll>(json!({})).unwrap();
        let client = testing::client("a").address("127.0.0.1");
        assert_eq!(gate.connect(&client), Connect::deny(Reason::NotAuthorized));
        assert!(matches!(
            gate.refresh(&client.refresh(&Admission::new())),
            Refresh::Deny(_)
        ));
        assert_eq!(gate.publish("a"), Publish::deny());
        assert_eq!(gate.subscribe("a"), Subscribe::deny());
    }

    #[test]
    fn it_has_no_settings() {
        let error = testing::policy::<DenyAll>(json!({ "except": "me" }))
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error, "settings: unknown field `except`, there are no fields");
    }
}
