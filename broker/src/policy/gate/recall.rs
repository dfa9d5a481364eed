//! A gate as bytes, for a session that outlives the process.
//!
//! One byte for the format, eight of a SHA-256 over the rest, then [`Written`] as postcard. The digest is against
//! accidents: a flipped bit must not become another filter. Whoever can write to the store can also compute it.

use super::judge::seats;
use super::{Gate, MayAsk, Sitting};
use crate::policy::Host;
use crate::policy::notice::PolicyNotice;
use crate::policy::terms::{Subject, Terms};
use crate::policy::verdict::Peer;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Most bytes of a gate. One admission is at most 64 KiB when a policy makes it, placeholders not yet replaced; real
/// ones are some hundred bytes.
const BYTES_MAX: usize = 64 * 1024;
/// Of what is written now. Any change of [`Written`] or what it consists of takes a new number.
const FORMAT: u8 = 1;
/// Stands alone: there was too much to remember.
const NOTHING: u8 = 0;
const DIGEST_BYTES: usize = 8;

/// Why a gate cannot be recalled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecallError {
    /// Another version of the broker wrote it, in the format of this number.
    Format(u8),
    /// The bytes are not those that were written.
    Damaged,
    /// There was too much to be remembered.
    TooLarge,
    /// What was written breaks a rule that this broker has for policies.
    Invalid(String),
}

impl fmt::Display for RecallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(format) => write!(
                f,
                "what policies know of the session has format {format}; this broker knows format {FORMAT}"
            ),
            Self::Damaged => f.write_str("what policies know of the session is damaged"),
            Self::TooLarge => write!(
                f,
                "the names of the client have more than {BYTES_MAX} bytes and were not remembered"
            ),
            Self::Invalid(why) => write!(f, "what policies know of the session is not valid: {why}"),
        }
    }
}

impl std::error::Error for RecallError {}

/// All that is remembered. Credentials are not part of it: no gate has them.
#[derive(Serialize, Deserialize)]
struct Written<'a> {
    client_id: Cow<'a, str>,
    username: Option<Cow<'a, str>>,
    peer: Cow<'a, Peer>,
    /// The policies of the chain that admitted, in order, each with its terms.
    seats: Vec<(Cow<'a, str>, Cow<'a, Terms>)>,
    /// What these amounted to, without attributes; `None`: there is one, and to that.
    combined: Option<Cow<'a, Terms>>,
}

impl Gate {
    /// What [`super::super::Policies::recall`] makes the gate of again, in at most 64 KiB.
    ///
    /// When that is not enough, the terms of the policies are left out, and they have to admit the session anew; when
    /// even the names are too long, nothing can be recalled. Both are reported.
    #[must_use]
    pub fn remember(&self) -> Vec<u8> {
        let sitting = &self.sitting;
        if let Some(whole) = bytes(&sitting.written()) {
            return whole;
        }
        self.host.observer.observe(&PolicyNotice::Forgotten {
            client_id: sitting.subject.client_id.to_string(),
        });
        let names = Written {
            seats: Vec::new(),
            combined: Some(Cow::Owned(outline(&sitting.combined))),
            ..sitting.written()
        };
        bytes(&names).unwrap_or_else(|| vec![NOTHING])
    }

    pub(in crate::policy) fn recall(
        host: Arc<Host>,
        bytes: &[u8],
        session: u64,
    ) -> Result<Self, RecallError> {
        let written = read(bytes)?;
        let mut known = Vec::with_capacity(written.seats.len());
        for (policy, terms) in written.seats {
            let terms = terms.into_owned().recalled(&host.shared);
            known.push((policy, terms.map_err(RecallError::Invalid)?));
        }
        let combined = match (written.combined, known.as_slice()) {
            (Some(combined), _) => {
                let outline = combined.into_owned().recalled(&host.shared);
                let all = known.iter().flat_map(|(_, terms)| terms.attributes.iter());
                host.shared.terms.share(Terms {
                    attributes: all.cloned().collect(),
                    ..Arc::unwrap_or_clone(outline.map_err(RecallError::Invalid)?)
                })
            }
            (None, [(_, terms)]) => Arc::clone(terms),
            (None, _) => return Err(RecallError::Damaged),
        };
        let text = |text: Cow<'_, str>| text.into_owned().into_boxed_str();
        let subject = Subject {
            session,
            client_id: text(written.client_id),
            username: written.username.map(text),
            peer: Arc::new(written.peer.into_owned()),
        };
        let set = host.current.load();
        let seats = seats(&set, &subject.peer.listener, |policy| {
            let (_, terms) = known.iter().find(|(name, _)| *name == policy)?;
            // Modules are numbered anew in each process: none of these has judged the session.
            Some((0, Some(Arc::clone(terms))))
        });
        let sitting = Sitting {
            subject: Arc::new(subject),
            may_ask: MayAsk::of(&seats),
            seats,
            seated: set.generation,
            judged: 0,
            combined,
            cache: None,
        };
        drop(set);
        Ok(Self { host, sitting })
    }
}

impl Sitting {
    fn written(&self) -> Written<'_> {
        let seats: Vec<_> = self
            .seats
            .iter()
            .filter_map(|seat| Some((Cow::Borrowed(&*seat.policy), seat.terms.as_ref()?)))
            .collect();
        let combined = match seats.as_slice() {
            [(_, terms)] if Arc::ptr_eq(terms, &self.combined) => None,
            _ => Some(Cow::Owned(outline(&self.combined))),
        };
        Written {
            client_id: Cow::Borrowed(&self.subject.client_id),
            username: self.subject.username.as_deref().map(Cow::Borrowed),
            peer: Cow::Borrowed(&self.subject.peer),
            seats: seats
                .into_iter()
                .map(|(policy, terms)| (policy, Cow::Borrowed(&**terms)))
                .collect(),
            combined,
        }
    }
}

/// Terms without what follows from those of the policies, or means nothing in those of all together.
fn outline(combined: &Terms) -> Terms {
    Terms {
        attributes: Box::default(),
        tag: 0,
        grants: None,
        ..combined.clone()
    }
}

/// `None`: too many.
fn bytes(written: &Written<'_>) -> Option<Vec<u8>> {
    let head = vec![FORMAT; 1 + DIGEST_BYTES];
    let mut bytes = postcard::to_extend(written, head).ok()?;
    if bytes.len() > BYTES_MAX {
        return None;
    }
    let digest = digest(bytes.get(1 + DIGEST_BYTES..)?);
    bytes.get_mut(1..=DIGEST_BYTES)?.copy_from_slice(&digest);
    Some(bytes)
}

fn read(bytes: &[u8]) -> Result<Written<'_>, RecallError> {
    let (format, rest) = bytes.split_first().ok_or(RecallError::Damaged)?;
    match *format {
        FORMAT => {}
        NOTHING if rest.is_empty() => return Err(RecallError::TooLarge),
        format => return Err(RecallError::Format(format)),
    }
    let (expected, body) = rest.split_at_checked(DIGEST_BYTES).ok_or(RecallError::Damaged)?;
    if bytes.len() > BYTES_MAX || *expected != digest(body) {
        return Err(RecallError::Damaged);
    }
    match postcard::take_from_bytes(body) {
        Ok((written, [])) => Ok(written),
        Ok(_) | Err(_) => Err(RecallError::Damaged),
    }
}

fn digest(body: &[u8]) -> [u8; DIGEST_BYTES] {
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(body));
    [a, b, c, d, e, f, g, h]
}
