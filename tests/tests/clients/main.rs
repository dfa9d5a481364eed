//! Real clients against the broker: every client in every version it speaks does everything in `plain.rs` and
//! `judged.rs`, and those that have TLS what is in `encrypted.rs`; `openssl` and sslyze look at TLS alone.
//!
//! Run with `cargo test -p sluice-tests --features real-clients --test clients`; `.ci/clients` installs what is needed.

mod agent;
mod encrypted;
mod judged;
mod mosquitto;
mod openssl;
mod plain;
mod profile;
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

macro_rules! every_client_with_tls {
    ($($client:ident: $kind:ident $version:literal;)+) => {
        $(
            mod $client {
                use crate::{Case, agent::Kind};
                every_scenario! { Case { kind: Kind::$kind, version: $version };
                    encrypted: a_client_is_named_by_its_certificate
                        a_client_without_a_certificate_gets_nowhere a_client_that_was_revoked_gets_nowhere;
                }
            }
        )+
    };
}

every_client_with_tls! {
    mosquitto_v311_tls: Mosquitto "3.1.1";
    mosquitto_v5_tls: Mosquitto "5.0";
    paho_v311_tls: Paho "3.1.1";
    paho_v5_tls: Paho "5.0";
    mqttjs_v311_tls: MqttJs "3.1.1";
    mqttjs_v5_tls: MqttJs "5.0";
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
