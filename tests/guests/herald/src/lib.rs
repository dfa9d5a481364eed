//! Decides on each message by the first level of its topic, to see bursts judged.
//!
//! `allow`, `deny`, `drop`, `slow` (allow, then read nothing for a while), `end` (disconnect), `panic`; anything else is
//! allowed, and so is every subscription. It writes into the log how often a client has come up against a limit.

use std::time::Duration;

use sluice_policy::log;
use sluice_policy::prelude::*;

/// How long a client is not read after a message to `slow`.
const PAUSE: Duration = Duration::from_millis(400);

#[derive(Default)]
struct Herald;

#[policy]
impl Policy for Herald {
    async fn on_connect(&self, _: &ConnectRequest, _: &Ask) -> Connect {
        Connect::admit(Admission::new())
    }

    #[expect(clippy::panic, reason = "it is there to break")]
    fn on_publish(&self, request: &PublishRequest) -> Publish {
        match request.topic.split('/').next() {
            Some("deny") => Publish::deny(),
            Some("drop") => Publish::drop(),
            Some("slow") => Publish::throttle(PAUSE),
            Some("end") => Publish::disconnect(Reason::AdministrativeAction),
            Some("panic") => panic!("as the topic says"),
            _ => Publish::allow(),
        }
    }

    fn on_event(&self, _: u64, _: u64, event: &Event) {
        if let Event::LimitHit(hit) = event {
            log::info!("{:?} {}", hit.limit, hit.times);
        }
    }

    fn on_subscribe(&self, _: &SubscribeRequest) -> Subscribe {
        Subscribe::allow()
    }
}
