//! Misbehaves on demand, to see the broker contain it.
//!
//! A client whose id is `hostile-ATTACK`, a publish to or a subscription of `hostile/ATTACK`, and the content of a
//! message to `content/ATTACK` set off an [`Attack`]; so do the settings, in the hook they name. Everything else is
//! allowed, so that its neighbours can be watched.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use sluice_policy::Message;
use sluice_policy::prelude::*;

mod attack;

use attack::Attack;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    configure: Option<Attack>,
    self_test: Option<Attack>,
    connect: Option<Attack>,
    refresh: Option<Attack>,
    publish: Option<Attack>,
    subscribe: Option<Attack>,
    content: Option<Attack>,
    event: Option<Attack>,
    /// Panics on this call of a hook, counted from 1 in each instance.
    panic_on_call: Option<u64>,
}

struct Hostile {
    settings: Settings,
    calls: AtomicU64,
}

#[policy]
impl Policy for Hostile {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        attack::run(settings.configure);
        Ok(Self {
            settings,
            calls: AtomicU64::new(0),
        })
    }

    fn self_test(&self) -> Result<(), Error> {
        match self.settings.self_test {
            Some(Attack::Refuse) => Err("the self-test fails on demand".into()),
            attack => {
                attack::run(attack);
                Ok(())
            }
        }
    }

    async fn on_connect(&self, request: &ConnectRequest, ask: &Ask) -> Connect {
        self.count();
        let attack = request
            .client_id
            .strip_prefix("hostile-")
            .and_then(Attack::named)
            .or(self.settings.connect);
        match attack {
            Some(Attack::Refuse) => return Connect::deny(Reason::Banned),
            Some(Attack::HugeList) => return Connect::admit(attack::huge_terms()),
            Some(Attack::EndlessQuestions) => loop {
                ask.challenge(b"again".as_slice()).await;
            },
            Some(Attack::StuckFuture) => std::future::pending().await,
            attack => attack::run(attack),
        }
        Connect::admit(Admission::new())
    }

    fn on_refresh(&self, _: &RefreshRequest) -> Refresh {
        self.count();
        match self.settings.refresh {
            Some(Attack::Refuse) => return Refresh::deny(Reason::Banned),
            Some(Attack::HugeList) => return Refresh::admit(attack::huge_terms()),
            attack => attack::run(attack),
        }
        Refresh::keep()
    }

    fn on_publish(&self, request: &PublishRequest) -> Publish {
        self.count();
        match request
            .topic
            .strip_prefix("hostile/")
            .and_then(Attack::named)
            .or(self.settings.publish)
        {
            Some(Attack::Refuse) => return Publish::deny(),
            attack => attack::run(attack),
        }
        Publish::allow()
    }

    fn on_subscribe(&self, request: &SubscribeRequest) -> Subscribe {
        self.count();
        match request
            .filter
            .strip_prefix("hostile/")
            .and_then(Attack::named)
            .or(self.settings.subscribe)
        {
            Some(Attack::Refuse) => return Subscribe::deny(),
            attack => attack::run(attack),
        }
        Subscribe::allow()
    }

    fn on_message(&self, request: ContentRequest) -> Content {
        self.count();
        let topic = &request.message.topic;
        match topic
            .strip_prefix("content/")
            .and_then(Attack::named)
            .or(self.settings.content)
        {
            Some(Attack::Refuse) => return Content::deny(Reason::PayloadFormatInvalid),
            Some(Attack::HugeList) => {
                let user_properties = attack::huge_list();
                return Content::replace(Message {
                    user_properties,
                    ..request.message
                });
            }
            attack => attack::run(attack),
        }
        Content::keep()
    }

    fn on_event(&self, session: u64, _: u64, _: &Event) {
        self.count();
        attack::run(self.settings.event);
        if cfg!(feature = "greedy") {
            let _ = sluice_policy::host::kv::increment("events", 1, None);
            sluice_policy::host::sessions::disconnect(session, Reason::AdministrativeAction);
        }
    }
}

impl Hostile {
    #[expect(clippy::panic, reason = "it is hostile")]
    fn count(&self) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if self.settings.panic_on_call == Some(call) {
            panic!("call {call} panics on demand");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_policy::testing;

    use super::*;

    #[test]
    fn it_behaves_until_it_is_told_not_to() {
        let gate = testing::policy::<Hostile>(json!({})).unwrap();
        let session = gate.admit(&testing::client("hostile-sounding"));
        assert!(session.may_publish("hostile/") && session.may_publish("a") && session.may_subscribe("#"));
        assert_eq!(gate.content(0, testing::message("content", "x")), Content::keep());
    }

    #[test]
    fn an_attack_is_chosen_by_the_client_the_topic_and_the_settings() {
        let gate = testing::policy::<Hostile>(json!({ "subscribe": "refuse" })).unwrap();
        assert!(matches!(
            gate.connect(&testing::client("hostile-refuse")),
            Connect::Deny(_)
        ));
        assert_eq!(gate.publish("hostile/refuse"), Publish::deny());
        assert_eq!(gate.subscribe("a"), Subscribe::deny());
        assert!(testing::policy::<Hostile>(json!({ "self_test": "refuse" })).is_err());
        assert_eq!(gate.publish("hostile/forged-log"), Publish::allow());
        assert_eq!(gate.log().len(), 1);
    }

    #[test]
    fn names_are_as_in_the_settings() {
        assert_eq!(Attack::named("bulk-memory"), Some(Attack::BulkMemory));
        assert_eq!(Attack::named("BulkMemory"), None);
    }
}
