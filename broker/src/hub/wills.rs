//! Wills that are due.

use super::Hub;
use super::cell::SessionCell;
use crate::content;
use crate::event::Event;
use crate::policy::Gate;
use crate::policy::verdict::{ContentMessage, ContentVerdict, PublishVerdict, Refusal};
use crate::report;
use sluice_mqtt::message::Message;
use sluice_mqtt::packet::{PublishProperties, Will};
use sluice_store::Change;
use std::borrow::Cow;
use std::time::Instant;

impl Hub {
    /// Judges a will that is due and routes it; true if it was published.
    ///
    /// Wills were judged at CONNECT; what was allowed then may be forbidden by now. `with` is what the store is told in
    /// the same breath, so that a crash neither loses the will nor repeats it.
    pub(crate) fn publish_will(
        &self,
        will: &Will,
        gate: &mut Gate,
        cell: &SessionCell,
        with: Option<Change>,
        now: Instant,
    ) -> bool {
        match judge(will, gate) {
            Ok(will) => {
                let message = Message::from_will(&will, &cell.key.mountpoint, cell.number, now);
                self.route(&message, None, with, now);
                true
            }
            Err(refusal) => {
                if let Some(change) = with {
                    self.inner.store.submit(change);
                }
                self.inner.events.emit(Event::WillRefused {
                    client: report::session(&cell.key.client_id),
                    topic: &will.topic,
                    refusal: report::refusal(&refusal),
                });
                false
            }
        }
    }
}

/// The will as it is to be published. Content policies change it here and not at CONNECT, so once.
fn judge<'a>(will: &'a Will, gate: &mut Gate) -> Result<Cow<'a, Will>, Refusal> {
    may_publish(will, gate)?;
    if !gate.has_content() {
        return Ok(Cow::Borrowed(will));
    }
    match gate.content(content::of_will(will)) {
        ContentVerdict::Keep => Ok(Cow::Borrowed(will)),
        ContentVerdict::Drop(refusal) | ContentVerdict::Deny(refusal) => Err(refusal),
        ContentVerdict::Replace(message) => {
            let replaced = replace(will, *message)?;
            if *replaced.topic != *will.topic {
                may_publish(&replaced, gate)?;
            }
            Ok(Cow::Owned(replaced))
        }
    }
}

fn may_publish(will: &Will, gate: &mut Gate) -> Result<(), Refusal> {
    let payload_bytes = u32::try_from(will.payload.len()).unwrap_or(u32::MAX);
    match gate.publish(&will.topic, will.qos as u8, will.retain, payload_bytes) {
        PublishVerdict::Allow { .. } => Ok(()),
        PublishVerdict::Drop(refusal)
        | PublishVerdict::Deny(refusal)
        | PublishVerdict::Disconnect(refusal) => Err(*refusal),
    }
}

fn replace(will: &Will, message: ContentMessage) -> Result<Will, Refusal> {
    let (topic, forwarded) = content::parts(&message, &will.properties.forwarded)?;
    Ok(Will {
        topic,
        payload: message.payload,
        retain: message.retain,
        properties: PublishProperties {
            forwarded,
            ..will.properties.clone()
        },
        ..will.clone()
    })
}
