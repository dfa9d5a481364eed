//! Bans whom the topic of a message names, to see bans of policies.
//!
//! * `ban/client/SECONDS/ID`, `ban/user/SECONDS/NAME`, `ban/address/SECONDS/ADDRESS[/LENGTH]`; whoever sends it.
//! * `unban/client/ID` and so on takes it back.
//!
//! Such a message is allowed if that worked, and refused if not. Everything else is allowed.

use std::time::Duration;

use sluice_policy::host::bans::{self, Target};
use sluice_policy::prelude::*;

#[derive(Default)]
struct Bouncer;

#[policy]
impl Policy for Bouncer {
    async fn on_connect(&self, _: &ConnectRequest, _: &Ask) -> Connect {
        Connect::admit(Admission::new())
    }

    fn on_publish(&self, request: &PublishRequest) -> Publish {
        let is_done = match request.topic.split_once('/') {
            Some(("ban", order)) => ban(order),
            Some(("unban", order)) => order
                .split_once('/')
                .and_then(|(kind, name)| target(kind, name))
                .is_some_and(|target| bans::unban(&target)),
            _ => true,
        };
        if is_done {
            Publish::allow()
        } else {
            Publish::deny()
        }
    }

    fn on_subscribe(&self, _: &SubscribeRequest) -> Subscribe {
        Subscribe::allow()
    }
}

fn ban(order: &str) -> bool {
    let mut parts = order.splitn(3, '/');
    let (Some(kind), Some(seconds), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let (Some(target), Ok(seconds)) = (target(kind, name), seconds.parse()) else {
        return false;
    };
    bans::ban(&target, Duration::from_secs(seconds), "a message says so")
}

fn target(kind: &str, name: &str) -> Option<Target> {
    let name = name.to_owned();
    match kind {
        "client" => Some(Target::ClientId(name)),
        "user" => Some(Target::UserName(name)),
        "address" => Some(Target::Address(name)),
        _ => None,
    }
}
