//! Limits the size of packets and payloads by client class.
//!
//! It does not ask who a client is and grants no topics: put it into a chain after policies that do.
//!
//! ```toml
//! [policy.sizes.settings]
//! # The first class that fits a client counts. A pattern may have one `*`, for any text; what is left out fits all.
//! # Sizes are bytes: of whole packets as they come over the wire, and of payloads alone.
//! classes = [
//!   { client_id = "cam-*", listener = "plant", packet_bytes_max = 1048576 },
//!   { username = "*@trial", packet_bytes_max = 4096, payload_bytes_max = 2048 },
//! ]
//! # For all others.
//! default = { packet_bytes_max = 65536 }
//! ```
//!
//! After a change of the settings the new limits hold for live sessions, too.

use serde::Deserialize;
use sluice_policy::prelude::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SizeCap {
    #[serde(default)]
    classes: Vec<Class>,
    #[serde(default)]
    default: Class,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Class {
    client_id: Option<String>,
    username: Option<String>,
    listener: Option<String>,
    packet_bytes_max: Option<u32>,
    payload_bytes_max: Option<u32>,
}

/// The smallest packet limit that lets a client disconnect, ping and publish something short.
const PACKET_BYTES_MIN: u32 = 64;

#[policy]
impl Policy for SizeCap {
    type Settings = Self;

    fn new(settings: Self) -> Result<Self, Error> {
        let default = &settings.default;
        if default.client_id.is_some() || default.username.is_some() || default.listener.is_some() {
            return Err("`default` is for all others: it has no pattern".into());
        }
        for class in settings.classes.iter().chain([default]) {
            if class
                .packet_bytes_max
                .is_some_and(|bytes| bytes < PACKET_BYTES_MIN)
            {
                return Err(format!("`packet_bytes_max` is at least {PACKET_BYTES_MIN}").into());
            }
        }
        Ok(settings)
    }

    async fn on_connect(&self, request: &ConnectRequest, _: &Ask) -> Connect {
        Connect::admit(self.terms(
            &request.client_id,
            request.username.as_deref(),
            &request.peer.listener,
        ))
    }

    fn on_refresh(&self, request: &RefreshRequest) -> Refresh {
        Refresh::admit(self.terms(
            &request.client_id,
            request.username.as_deref(),
            &request.peer.listener,
        ))
    }
}

impl SizeCap {
    fn terms(&self, client_id: &str, username: Option<&str>, listener: &str) -> Admission {
        let fits = |class: &&Class| {
            matches(class.client_id.as_deref(), Some(client_id))
                && matches(class.username.as_deref(), username)
                && matches(class.listener.as_deref(), Some(listener))
        };
        let class = self.classes.iter().find(fits).unwrap_or(&self.default);
        Admission::new().budget(Budget {
            packet_bytes_max: class.packet_bytes_max,
            payload_bytes_max: class.payload_bytes_max,
            ..Budget::default()
        })
    }
}

fn matches(pattern: Option<&str>, text: Option<&str>) -> bool {
    let Some(pattern) = pattern else { return true };
    let Some(text) = text else { return false };
    match pattern.split_once('*') {
        Some((before, after)) => text
            .strip_prefix(before)
            .is_some_and(|rest| rest.ends_with(after)),
        None => pattern == text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_policy::testing::{self, Client, Tested};

    use super::*;

    fn gate() -> Tested<SizeCap> {
        testing::policy(json!({
            "classes": [
                { "client_id": "cam-*", "listener": "plant", "packet_bytes_max": 1_048_576 },
                { "username": "*@trial", "packet_bytes_max": 4096, "payload_bytes_max": 2048 },
            ],
            "default": { "packet_bytes_max": 65_536 },
        }))
        .unwrap()
    }

    fn caps(client: &Client) -> (Option<u32>, Option<u32>) {
        let gate = gate();
        let session = gate.admit(client);
        let budget = &session.terms().budget;
        (budget.packet_bytes_max, budget.payload_bytes_max)
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        let camera = testing::client("cam-1").username("x@trial");
        assert_eq!(caps(&camera.clone().listener("plant")), (Some(1_048_576), None));
        assert_eq!(caps(&camera), (Some(4096), Some(2048)));
        assert_eq!(
            caps(&testing::client("x").username("@trial")),
            (Some(4096), Some(2048))
        );
    }

    #[test]
    fn whoever_fits_no_class_has_the_default() {
        for client in [
            testing::client("x"),
            testing::client("scam-1").listener("plant").username("trial"),
        ] {
            assert_eq!(caps(&client), (Some(65_536), None));
        }
    }

    #[test]
    fn new_limits_reach_live_sessions() {
        let before = gate();
        let session = before.admit(&testing::client("x"));
        let after = testing::policy::<SizeCap>(json!({ "default": { "payload_bytes_max": 100 } })).unwrap();
        let Refresh::Admit(terms) = after.refresh(&session.refresh_request()) else {
            panic!("it may stay")
        };
        assert_eq!(terms.budget, Budget::default().payload_bytes_max(100));
    }

    #[test]
    fn settings_that_make_no_sense_are_errors() {
        for settings in [
            json!({ "default": { "listener": "plant" } }),
            json!({ "default": { "packet_bytes_max": 2 } }),
            json!({ "classes": [{ "packet_bytes": 100 }] }),
        ] {
            assert!(
                testing::policy::<SizeCap>(settings.clone()).is_err(),
                "{settings}"
            );
        }
    }
}
