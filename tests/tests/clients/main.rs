//! Real clients against the broker: every client in every version it speaks does everything in `plain.rs` and
//! `judged.rs`.
//!
//! Run with `cargo test -p sluice-tests --features real-clients --test clients`; `.ci/clients` installs what is needed.

mod agent;
mod judged;
mod mosquitto;
mod plain;
mod web;

use agent::{Agent, Kind, Options, Role};
use std::net::SocketAddr;

/// One client in one version.
#[derive(Clone, Copy)]
pub struct Case {
    kind: Kind,
    version: &'static str,
}

impl Case {
    fn is_v5(self) -> bool {
        self.version == "5.0"
    }

    fn subscriber(self, address: SocketAddr, filter: &str) -> Options {
        Options::new(Role::Subscriber, address, self.version, filter)
    }

    fn publisher(self, address: SocketAddr, topic: &str) -> Options {
        Options::new(Role::Publisher, address, self.version, topic)
    }

    fn start(self, options: &Options) -> Agent {
        Agent::start(self.kind, options)
    }
}

macro_rules! every_scenario {
    ($case:expr; $($module:ident: $($name:ident)+;)+) => {
        $($(
            #[test]
            fn $name() {
                crate::$module::$name($case);
            }
        )+)+
    };
}

macro_rules! every_client {
    ($($client:ident: $kind:ident $version:literal;)+) => {
        $(
            mod $client {
                use crate::{Case, agent::Kind};
                every_scenario! { Case { kind: Kind::$kind, version: $version };
                    plain: messages_arrive_with_each_quality a_retained_message_waits_for_subscribers
                        a_will_tells_that_a_client_vanished a_will_is_not_sent_for_a_client_that_leaves
                        a_shared_subscription_deals_messages_out;
                    judged: a_wrong_password_is_refused_and_the_client_says_so a_client_without_a_name_is_refused
                        a_publish_that_is_denied_reaches_nobody a_subscription_that_is_denied_is_answered_so
                        a_message_that_is_too_large_is_refused a_swap_holds_at_once_and_disconnects_nobody;
                }
            }
        )+
    };
}

every_client! {
    mosquitto_v31: Mosquitto "3.1";
    mosquitto_v311: Mosquitto "3.1.1";
    mosquitto_v5: Mosquitto "5.0";
    paho_v311: Paho "3.1.1";
    paho_v5: Paho "5.0";
    mqttjs_v311: MqttJs "3.1.1";
    mqttjs_v5: MqttJs "5.0";
    rumqttc_v311: Rumqttc "3.1.1";
    rumqttc_v5: Rumqttc "5.0";
}
