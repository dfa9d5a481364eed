//! Who receives what: subscriptions in, copies out.

use super::Hub;
use super::cell::{Copy, Offered, Route, SessionCell, Subscription};
use super::retained::Replay;
use crate::event::Event;
use crate::report;
use crate::store::Record;
use sluice_mqtt::message::Message;
use sluice_mqtt::packet::{QoS, RetainHandling, SubscriptionOptions};
use sluice_mqtt::session::SubscriptionIds;
use sluice_mqtt::text::Text;
use sluice_mqtt::topic::{SharedGroup, Subscribers, TopicFilter, levels};
use std::num::NonZeroU32;
use std::sync::Arc;

/// A subscription that is now in force.
pub struct Subscribed {
    /// The retained messages the client is to be sent, if any.
    pub replay: Option<Replay>,
}

/// Why a subscription was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// The session already has as many as it may.
    TooMany,
    /// More levels than allowed, or too long behind its mount point.
    FilterTooLong,
    /// Another connection has taken the session over, or it ended.
    Gone,
}

type Plain<'a> = &'a [(u64, Route)];

impl Hub {
    /// Subscribes a session, replacing an identical subscription [MQTT-3.8.4-3].
    ///
    /// # Errors
    /// See [`SubscribeError`]; nothing is changed then.
    pub fn subscribe(
        &self,
        cell: &Arc<SessionCell>,
        connection: u64,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        id: Option<NonZeroU32>,
    ) -> Result<Subscribed, SubscribeError> {
        let limits = self.limits();
        if levels(filter.filter()) > usize::from(limits.topic_levels_max) {
            return Err(SubscribeError::FilterTooLong);
        }
        let full = mounted(filter, &cell.key.mountpoint).ok_or(SubscribeError::FilterTooLong)?;
        let is_new = {
            let mut state = cell.lock();
            if state.ended || state.connection != connection {
                return Err(SubscribeError::Gone);
            }
            let is_new = !state.subscriptions.contains_key(filter.text());
            if is_new && state.subscriptions.len() >= state.subscriptions_max as usize {
                return Err(SubscribeError::TooMany);
            }
            let subscription = Subscription {
                full: full.clone(),
                options,
                id,
            };
            state.subscriptions.insert(filter.text().detach(), subscription);
            is_new
        };
        let route = Route {
            cell: Arc::clone(cell),
            options,
            id,
        };
        self.inner.routes.write().insert(&full, cell.number, route);
        // The session may have ended between the two locks; its clean-up did not see this route.
        if cell.lock().ended {
            self.inner.routes.write().remove(&full, cell.number);
            return Err(SubscribeError::Gone);
        }
        self.inner.store.append(Record::Subscribed(&cell.key, filter));
        self.report_subscriptions();
        let wanted = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::Never => false,
        };
        let replay = (wanted && full.share().is_none())
            .then(|| self.replay(&full, options, id))
            .flatten();
        Ok(Subscribed { replay })
    }

    /// Ends one subscription; false if there was none.
    pub fn unsubscribe(&self, cell: &SessionCell, filter: &TopicFilter) -> bool {
        self.unsubscribe_text(cell, filter.text())
    }

    /// Ends the subscription with exactly this filter [MQTT-3.10.4-1].
    pub fn unsubscribe_text(&self, cell: &SessionCell, filter: &Text) -> bool {
        let Some(subscription) = cell.lock().subscriptions.remove(filter) else {
            return false;
        };
        self.inner.routes.write().remove(&subscription.full, cell.number);
        self.inner.store.append(Record::Unsubscribed(&cell.key, filter));
        self.report_subscriptions();
        true
    }

    pub(super) fn unsubscribe_all(&self, number: u64, subscriptions: impl Iterator<Item = Subscription>) {
        for subscription in subscriptions {
            self.inner.routes.write().remove(&subscription.full, number);
        }
        self.report_subscriptions();
    }

    fn report_subscriptions(&self) {
        self.inner
            .metrics
            .subscriptions_current
            .set(self.inner.routes.read().len() as u64);
    }

    /// Gives every matching session its copy; returns how many took one.
    pub(super) fn dispatch(&self, message: &Arc<Message>) -> usize {
        let routes = self.inner.routes.read();
        let mut delivered = 0;
        // One matching node, the usual case, needs neither memory nor a search for overlaps.
        let mut first: Option<Plain<'_>> = None;
        let mut more: Vec<Plain<'_>> = Vec::new();
        routes.matches(message.topic(), &mut |found: Subscribers<'_, u64, Route>| {
            for group in found.shared {
                delivered += usize::from(self.offer_shared(group, message));
            }
            match first {
                _ if found.plain.is_empty() => {}
                None => first = Some(found.plain),
                Some(_) => more.push(found.plain),
            }
        });
        let Some(first) = first else { return delivered };
        if more.is_empty() {
            for (_, route) in first {
                delivered += usize::from(self.offer_one(route, message));
            }
            return delivered;
        }
        let mut overlapping: Vec<&(u64, Route)> = first.iter().chain(more.into_iter().flatten()).collect();
        overlapping.sort_by_key(|(number, _)| *number);
        for routes in overlapping.chunk_by(|left, right| left.0 == right.0) {
            delivered += usize::from(self.offer_overlapping(routes, message));
        }
        delivered
    }

    fn offer_one(&self, route: &Route, message: &Arc<Message>) -> bool {
        if route.options.no_local && message.publisher() == route.cell.number {
            return false;
        }
        let ids = route
            .id
            .map_or(SubscriptionIds::None, |id| SubscriptionIds::One(id.get()));
        let copy = Copy {
            qos: route.options.qos,
            retain_as_published: route.options.retain_as_published,
            ids,
        };
        self.offer(&route.cell, message, copy)
    }

    /// Several subscriptions of one session: one copy at the highest QoS with all identifiers
    /// [MQTT-3.3.4-2], [MQTT-3.3.4-4].
    fn offer_overlapping(&self, routes: &[&(u64, Route)], message: &Arc<Message>) -> bool {
        let local = |route: &Route| route.options.no_local && message.publisher() == route.cell.number;
        let mut wanted = routes
            .iter()
            .map(|(_, route)| route)
            .filter(|route| !local(route));
        let Some(first) = wanted.next() else { return false };
        let mut qos = first.options.qos;
        let mut retain_as_published = first.options.retain_as_published;
        let mut ids: Vec<u32> = first.id.iter().map(|id| id.get()).collect();
        for route in wanted {
            qos = qos.max(route.options.qos);
            retain_as_published |= route.options.retain_as_published;
            ids.extend(route.id.map(NonZeroU32::get));
        }
        self.offer(
            &first.cell,
            message,
            Copy {
                qos,
                retain_as_published,
                ids: SubscriptionIds::from(ids),
            },
        )
    }

    /// One member of the group takes the message: the next connected one, else the next that can keep it.
    fn offer_shared(&self, group: &SharedGroup<u64, Route>, message: &Arc<Message>) -> bool {
        let members = group.members();
        if members.is_empty() {
            return false;
        }
        let start = group.next_cursor() % members.len();
        let turn = || members.iter().cycle().skip(start).take(members.len());
        let copy = |route: &Route| Copy {
            qos: route.options.qos,
            retain_as_published: route.options.retain_as_published,
            ids: route
                .id
                .map_or(SubscriptionIds::None, |id| SubscriptionIds::One(id.get())),
        };
        for (_, route) in turn() {
            if route.cell.lock().is_online() && self.offer(&route.cell, message, copy(route)) {
                return true;
            }
        }
        let keeps = |route: &Route| route.options.qos.min(message.qos()) > QoS::AtMostOnce;
        turn().any(|(_, route)| keeps(route) && self.offer(&route.cell, message, copy(route)))
    }

    fn offer(&self, cell: &SessionCell, message: &Arc<Message>, copy: Copy) -> bool {
        match cell.offer(message, copy) {
            Offered::Queued => true,
            Offered::NotTaken => false,
            Offered::Dropped(count) => {
                self.inner
                    .metrics
                    .messages_dropped_queue_full
                    .add(u64::from(count));
                let client = report::session(&cell.key.client_id);
                self.inner.events.emit(Event::QueueOverflow {
                    client,
                    messages: u64::from(count),
                });
                true
            }
        }
    }
}

/// The filter behind its mount point: `$share/g/t` under `a/` is `$share/g/a/t`.
pub(super) fn mounted(filter: &TopicFilter, mountpoint: &str) -> Option<TopicFilter> {
    if mountpoint.is_empty() {
        return Some(filter.detach());
    }
    let text = match filter.share() {
        None => format!("{mountpoint}{}", filter.filter()),
        Some(share) => format!("$share/{share}/{mountpoint}{}", filter.filter()),
    };
    TopicFilter::new(Text::try_from(text).ok()?).ok()
}
