//! After a restart: sessions, subscriptions and retained messages as the store has them.

use super::Hub;
use super::bans::Caller;
use super::cell::{Offline, Phase, Route, SessionCell};
use super::key::SessionKey;
use super::registry::after;
use super::routes::{mounted, parse_filter};
use crate::event::Event;
use crate::policy::{Gate, Policies};
use crate::report;
use bytes::Bytes;
use sluice_mqtt::message::Message;
use sluice_mqtt::packet::{PacketId, PublishProperties, QoS, SubscriptionOptions, Will};
use sluice_mqtt::session::{Awaits, Exchange, Overflow, Place, Restored, Session, SessionLimits, Stored};
use sluice_mqtt::text::Text;
use sluice_mqtt::topic::TopicName;
use sluice_mqtt::will::{self, Ending, Fate};
use sluice_store as store;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

impl Hub {
    /// Numbers of sessions and CONNECTs start here. To be called before any is given.
    pub fn number_from(&self, first: u64) {
        self.inner.numbers.fetch_max(first.max(1), Ordering::Relaxed);
    }

    /// Takes in a retained message of an earlier process.
    pub fn recover_retained(&self, message: &Message, now: Instant) {
        self.keep_own(message, now);
    }

    /// Takes in a session of an earlier process. Whoever was connected then has lost its connection now.
    pub fn recover_session(&self, found: store::RecoveredSession, policies: &Policies, now: Instant) {
        let record = found.record;
        let judged = self.new_number();
        let gate = match policies.recall(&record.gate, judged) {
            Ok(gate) => gate,
            Err(error) => {
                self.inner.events.emit(Event::SessionNotRecovered {
                    client: report::session(&record.client_id),
                    error: &error.to_string(),
                });
                let session = record.number;
                self.inner.store.submit(store::Change::SessionEnded { session });
                return;
            }
        };
        let restored = Restored {
            queue: found.queue.into_iter().filter_map(stored).collect(),
            inflight: found.inflight.into_iter().filter_map(exchange).collect(),
            received: found.received.into_iter().filter_map(PacketId::new).collect(),
            next_position: found.next_position,
        };
        let key = SessionKey {
            mountpoint: record.mountpoint.as_str().into(),
            client_id: record.client_id.as_str().into(),
        };
        let session = Session::durable(limits(&record.limits), restored);
        let cell = Arc::new(SessionCell::new(record.number, key, session));
        self.place(&cell, &record, gate, judged, now);
        for (filter, options, id) in found.subscriptions {
            self.subscribe_again(&cell, filter, options, id);
        }
    }

    /// Puts the session where the others are, as one without a connection.
    fn place(
        &self,
        cell: &Arc<SessionCell>,
        record: &store::SessionRecord,
        gate: Gate,
        judged: u64,
        now: Instant,
    ) {
        let offline = Box::new(offline(record, gate, now));
        {
            let mut state = cell.lock();
            state.judged = judged;
            state.subscriptions_max = record.limits.subscriptions_max;
            state.ends_with_connection = false;
            state.caller = Caller {
                username: record.username.as_deref().map(Into::into),
                principal: offline.gate.principal().map(Into::into),
                address: record.address.as_ref().and_then(|text| text.parse().ok()),
            };
            if let Some(at) = offline.deadline() {
                self.inner.timers.schedule(at, cell.number);
            }
            if record.phase == store::Phase::Online {
                // Or its time would begin anew with the next start.
                self.save_offline(cell, &state, &offline);
            }
            state.phase = Phase::Offline(Some(offline));
        }
        let mut registry = self.inner.registry.lock();
        if let Some(discarded) = registry.by_key(&cell.key) {
            self.end_soon(&discarded, now);
        }
        registry.insert(cell);
        registry.judge(judged, cell);
        self.inner.metrics.sessions_current.set(registry.len() as u64);
    }

    /// The process ended between the two halves of a clean start: the session that was to go is there, too. What ends
    /// with it, a will above all, waits until all sessions are in place.
    fn end_soon(&self, discarded: &SessionCell, now: Instant) {
        if let Phase::Offline(Some(offline)) = &mut discarded.lock().phase {
            offline.expires_at = Some(now);
            self.inner.timers.schedule(now, discarded.number);
        }
    }

    fn subscribe_again(&self, cell: &Arc<SessionCell>, filter: String, options: u8, id: u32) {
        let (Some(parsed), Some(options)) = (parse_filter(&filter), SubscriptionOptions::from_byte(options))
        else {
            return;
        };
        let Some(full) = mounted(&parsed, &cell.key.mountpoint) else {
            return;
        };
        cell.lock().subscriptions.insert(filter.into());
        let route = Route {
            cell: Arc::clone(cell),
            options,
            id: NonZeroU32::new(id),
        };
        self.change_routes(|routes| routes.insert(&full, cell.number, route));
    }
}

fn offline(record: &store::SessionRecord, gate: Gate, now: Instant) -> Offline {
    let will = record.will.as_ref().and_then(will_of);
    match &record.phase {
        store::Phase::Offline { expires_at } => Offline {
            gate,
            will_at: record
                .will
                .as_ref()
                .and_then(|will| will.due_at)
                .map(|at| moment(at, now)),
            will,
            expires_at: expires_at.map(|at| moment(at, now)),
        },
        store::Phase::Online => {
            let expires_at = after(now, record.expiry_seconds);
            let fate = will
                .as_ref()
                .map(|will| will::fate(will.delay_seconds, Ending::Lost, record.expiry_seconds, now));
            let will_at = match fate {
                Some(Fate::PublishNow) => Some(now),
                Some(Fate::PublishAt(at)) => Some(at),
                Some(Fate::Discard) | None => None,
            };
            Offline {
                gate,
                will: will.filter(|_| will_at.is_some()),
                will_at,
                expires_at,
            }
        }
    }
}

fn will_of(record: &store::WillRecord) -> Option<Will> {
    Some(Will {
        topic: TopicName::new(Text::try_from(record.topic.clone()).ok()?).ok()?,
        payload: Bytes::from(record.payload.clone()),
        qos: QoS::new(record.qos)?,
        retain: record.retain,
        delay_seconds: record.delay_seconds,
        properties: PublishProperties {
            forwarded: Bytes::from(record.forwarded.clone()),
            message_expiry_seconds: record.expiry_seconds,
            ..PublishProperties::default()
        },
    })
}

fn limits(kept: &store::QueueLimits) -> SessionLimits {
    let overflow = [Overflow::DropNew, Overflow::DropOldest, Overflow::Disconnect]
        .into_iter()
        .find(|overflow| *overflow as u8 == kept.overflow);
    SessionLimits {
        queue_messages_max: kept.messages_max,
        queue_bytes_max: kept.bytes_max,
        overflow: overflow.unwrap_or(Overflow::DropNew),
        inflight_max: kept.inflight_max,
    }
}

fn stored(found: store::Stored) -> Option<Stored> {
    Some(Stored {
        place: Place {
            seq: NonZeroU64::new(found.seq)?,
            position: found.position,
        },
        bytes: found.bytes,
        qos: QoS::new(found.qos)?,
        expires_at: found.expires_at,
    })
}

fn exchange(found: store::Exchange) -> Option<Exchange> {
    Some(Exchange {
        packet_id: PacketId::new(found.packet_id)?,
        awaits: match found.awaits {
            store::Awaits::Ack => Awaits::Ack,
            store::Awaits::Rec => Awaits::Rec,
            store::Awaits::Comp => Awaits::Comp,
        },
        stored: found.stored.and_then(stored),
    })
}

/// A moment on the wall's clock; one that has passed is now.
fn moment(at: SystemTime, now: Instant) -> Instant {
    now + at.duration_since(SystemTime::now()).unwrap_or_default()
}
