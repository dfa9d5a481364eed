//! What follows from failing too often: a ban for a while. The operator sees it in the log and in the list of bans, and
//! can take it back.

use super::Sentence;
use crate::config::Threshold;
use crate::config::quantity::duration_text;
use crate::event::Event;
use crate::hub::{Ban, BanError, BannedBy, Placed, Subject};
use crate::net::Shared;
use crate::policy::verdict::{Peer, Refusal};
use crate::report;
use sluice_mqtt::reason::ReasonCode;
use std::time::SystemTime;

impl Shared {
    /// A connection came to nothing, and it was the client's doing.
    pub(in crate::net) fn failed(&self, peer: &Peer, what: &str) {
        let Ok(address) = peer.address.parse() else {
            return;
        };
        if let Some(sentence) = self.guard.failed(address)
            && let Some(source) = sentence.source
        {
            let Threshold { count, window } = sentence.threshold;
            let what = what
                .get(..what.floor_char_boundary(WHAT_BYTES_MAX))
                .unwrap_or_default();
            let why = format!(
                "{count} failures within {}, the last: {what}",
                duration_text(window)
            );
            self.keep_out(peer, Subject::Address(source), &sentence, why);
        }
    }

    /// The same for a CONNECT that was refused, if it was for who the client says it is.
    pub(in crate::net) fn refused(&self, peer: &Peer, refusal: &Refusal) {
        const WRONG: [ReasonCode; 4] = [
            ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            ReasonCode::BAD_USER_NAME_OR_PASSWORD,
            ReasonCode::NOT_AUTHORIZED,
            ReasonCode::BAD_AUTHENTICATION_METHOD,
        ];
        let is_clients = WRONG.iter().any(|reason| reason.code() == refusal.reason);
        if is_clients && !refusal.fault && report::refusal(refusal).policy.is_some() {
            self.failed(peer, "a CONNECT that was refused");
        }
    }

    /// A client came in. A name behind a mount point is never banned: the ban would hold for the clients of that name
    /// behind all others.
    pub(in crate::net) fn came_in(&self, peer: &Peer, client_id: &str, is_mounted: bool) {
        if !is_mounted && let Some(sentence) = self.guard.came(client_id) {
            let Threshold { count, window } = sentence.threshold;
            let why = format!("it came in {count} times within {}", duration_text(window));
            self.keep_out(peer, Subject::Client(client_id.to_owned()), &sentence, why);
        }
    }

    fn keep_out(&self, peer: &Peer, subject: Subject, sentence: &Sentence, reason: String) {
        let ban_for = duration_text(sentence.ban_for);
        let since = SystemTime::now();
        let ban = Ban {
            subject: subject.clone(),
            reason: reason.clone(),
            by: BannedBy::Broker,
            since,
            until: since.checked_add(sentence.ban_for),
        };
        let (outcome, is_kept) = match self.hub.keep_out(ban) {
            Ok(Placed::Begun) => (format!("{subject} is banned for {ban_for}: {reason}"), true),
            Ok(Placed::Kept) => (format!("{subject} is banned already: {reason}"), false),
            Err(BanError::TooMany) => (
                format!("{subject} is not banned, the list is full: {reason}"),
                false,
            ),
            Err(error) => (format!("{subject} is not banned, {error}: {reason}"), false),
        };
        self.events.emit(Event::AutomaticBan {
            origin: report::origin(peer),
            is_kept,
            text: &outcome,
        });
    }
}

/// What is kept of the last failure: the reason of a ban has its own limit.
const WHAT_BYTES_MAX: usize = 128;
