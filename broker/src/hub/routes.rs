//! Who receives what: subscriptions in, copies out.

use super::Hub;
use super::Routes;
use super::cell::{Copy, Offered, Route, SessionCell};
use super::filing::Filing;
use super::retained::Replay;
use crate::event::Event;
use crate::report;
use sluice_mqtt::message::Message;
use sluice_mqtt::packet::{QoS, RetainHandling, SubscriptionOptions};
use sluice_mqtt::session::SubscriptionIds;
use sluice_mqtt::text::Text;
use sluice_mqtt::topic::{RecentTopics, SharedGroup, Subscribers, TopicFilter, levels};
use sluice_store::Ticket;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

/// A subscription that is now in force.
pub struct Subscribed {
    /// The retained messages the client is to be sent, if any.
    pub replay: Option<Replay>,
    /// When this is durable, the client may be told.
    pub ticket: Ticket,
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

thread_local! {
    /// Where the latest topics of this worker's clients led.
    static RECENT: Cell<RecentTopics> = Cell::default();
}

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
        if levels(filter.filter().as_bytes()) > usize::from(limits.topic_levels_max) {
            return Err(SubscribeError::FilterTooLong);
        }
        let full = mounted(filter, &cell.key.mountpoint).ok_or(SubscribeError::FilterTooLong)?;
        let is_new = {
            let mut state = cell.lock();
            if state.ended || state.connection != connection {
                return Err(SubscribeError::Gone);
            }
            let is_new = !state.subscriptions.contains(filter.as_str());
            if is_new {
                if state.subscriptions.len() >= state.subscriptions_max as usize {
                    return Err(SubscribeError::TooMany);
                }
                state.subscriptions.insert(filter.as_str().into());
            }
            is_new
        };
        let route = Route {
            cell: Arc::clone(cell),
            options,
            id,
        };
        self.change_routes(|routes| routes.insert(&full, cell.number, route));
        // The session may have ended between the two locks; its clean-up did not see this route.
        if cell.lock().ended {
            self.change_routes(|routes| routes.remove(&full, cell.number));
            return Err(SubscribeError::Gone);
        }
        let ticket = self.save_subscription(cell, filter.as_str(), Some((options, id)));
        let wanted = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::Never => false,
        };
        let replay = (wanted && full.share().is_none())
            .then(|| self.replay(&full, options, id))
            .flatten();
        Ok(Subscribed { replay, ticket })
    }

    /// Ends the subscription with exactly this filter [MQTT-3.10.4-1]; when the result is durable, the client may be
    /// told. `None` if there was none.
    pub fn unsubscribe(&self, cell: &SessionCell, filter: &TopicFilter) -> Option<Ticket> {
        if !cell.lock().subscriptions.remove(filter.as_str()) {
            return None;
        }
        if let Some(full) = mounted(filter, &cell.key.mountpoint) {
            self.change_routes(|routes| routes.remove(&full, cell.number));
        }
        Some(self.save_subscription(cell, filter.as_str(), None))
    }

    /// Ends what a session that has ended was subscribed to.
    pub(super) fn unsubscribe_all(&self, cell: &SessionCell, filters: BTreeSet<Box<str>>) {
        for filter in filters {
            let filter = parse_filter(&filter);
            let full = filter
                .as_ref()
                .and_then(|filter| mounted(filter, &cell.key.mountpoint));
            if let Some(full) = full {
                self.change_routes(|routes| routes.remove(&full, cell.number));
            }
        }
    }

    /// What the routes know of a session's subscription.
    pub(super) fn subscription_options(
        &self,
        cell: &SessionCell,
        filter: &TopicFilter,
    ) -> Option<SubscriptionOptions> {
        let full = mounted(filter, &cell.key.mountpoint)?;
        let routes = self.inner.routes.read();
        routes.get(&full, cell.number).map(|route| route.options)
    }

    pub(super) fn change_routes<T>(&self, change: impl FnOnce(&mut Routes) -> T) {
        let mut routes = self.inner.routes.write();
        // What was replaced or removed may be the last reference to a session: it is dropped without the lock.
        let old = change(&mut routes);
        let subscriptions = &self.inner.metrics.subscriptions_current;
        subscriptions.set(routes.len() as u64);
        drop(routes);
        drop(old);
    }

    /// Gives every matching session its copy.
    pub(super) fn dispatch<'a>(&'a self, message: &Message, filing: &mut Filing<'a>) -> Routed {
        let routes = self.inner.routes.read();
        let mut round = Round {
            hub: self,
            message,
            filing,
            routed: Routed::default(),
        };
        // One matching node, the usual case, needs neither memory nor a search for overlaps.
        let mut first: Option<Plain<'_>> = None;
        let mut more: Vec<Plain<'_>> = Vec::new();
        let mut recent = RECENT.take();
        routes.matches_recent(message.topic_bytes(), &mut recent, &mut |found: Subscribers<
            '_,
            u64,
            Route,
        >| {
            for group in found.shared {
                round.offer_shared(group);
            }
            match first {
                _ if found.plain.is_empty() => {}
                None => first = Some(found.plain),
                Some(_) => more.push(found.plain),
            }
        });
        RECENT.set(recent);
        let Some(first) = first else {
            return round.routed;
        };
        if more.is_empty() {
            for (_, route) in first {
                round.offer_one(route);
            }
            return round.routed;
        }
        let mut overlapping: Vec<&(u64, Route)> = first.iter().chain(more.into_iter().flatten()).collect();
        overlapping.sort_by_key(|(number, _)| *number);
        for routes in overlapping.chunk_by(|left, right| left.0 == right.0) {
            round.offer_overlapping(routes);
        }
        round.routed
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Routed {
    /// Sessions that took it, or had no room for it.
    pub(super) sessions: usize,
    /// Percent, of the fullest queue it joined that is more than half full and has a connection; else 0.
    pub(super) crowding: u8,
    /// When this is durable, so is all that was routed.
    pub(super) ticket: Ticket,
}

/// One message on its way to everybody.
struct Round<'a, 'hub> {
    hub: &'hub Hub,
    message: &'a Message,
    filing: &'a mut Filing<'hub>,
    routed: Routed,
}

impl Round<'_, '_> {
    fn offer_one(&mut self, route: &Route) {
        if route.options.no_local && self.message.publisher() == route.cell.number {
            return;
        }
        let ids = route
            .id
            .map_or(SubscriptionIds::None, |id| SubscriptionIds::One(id.get()));
        let copy = Copy {
            qos: route.options.qos,
            retain_as_published: route.options.retain_as_published,
            ids,
        };
        self.offer(&route.cell, &copy);
    }

    /// Several subscriptions of one session: one copy at the highest QoS with all identifiers
    /// [MQTT-3.3.4-2], [MQTT-3.3.4-4].
    fn offer_overlapping(&mut self, routes: &[&(u64, Route)]) {
        let message = self.message;
        let local = |route: &Route| route.options.no_local && message.publisher() == route.cell.number;
        let mut wanted = routes
            .iter()
            .map(|(_, route)| route)
            .filter(|route| !local(route));
        let Some(first) = wanted.next() else { return };
        let mut qos = first.options.qos;
        let mut retain_as_published = first.options.retain_as_published;
        let mut ids: Vec<u32> = first.id.iter().map(|id| id.get()).collect();
        for route in wanted {
            qos = qos.max(route.options.qos);
            retain_as_published |= route.options.retain_as_published;
            ids.extend(route.id.map(NonZeroU32::get));
        }
        let ids = SubscriptionIds::from(ids);
        let copy = Copy {
            qos,
            retain_as_published,
            ids,
        };
        self.offer(&first.cell, &copy);
    }

    /// One member of the group takes the message: the next connected one, else the next that can keep it.
    fn offer_shared(&mut self, group: &SharedGroup<u64, Route>) {
        let message = self.message;
        let members = group.members();
        if members.is_empty() {
            return;
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
            if route.cell.lock().is_online() && self.offer(&route.cell, &copy(route)) {
                return;
            }
        }
        let keeps = |route: &Route| route.options.qos.min(message.qos()) > QoS::AtMostOnce;
        for (_, route) in turn() {
            if keeps(route) && self.offer(&route.cell, &copy(route)) {
                return;
            }
        }
    }

    /// False: the session does not take it.
    fn offer(&mut self, cell: &SessionCell, copy: &Copy) -> bool {
        let qos = copy.qos.min(self.message.qos());
        let seq = self.filing.seq(cell, qos);
        let (offered, place) = cell.offer(self.message, copy, seq);
        if let Some(place) = place {
            let retain = copy.retain_as_published && self.message.retain();
            self.filing.taken(cell, copy, qos, retain, place);
        }
        match offered {
            Offered::NotTaken => return false,
            Offered::Queued { crowding } => self.routed.crowding = self.routed.crowding.max(crowding),
            Offered::Dropped(count) => {
                self.hub.save_offline_changes(cell);
                self.hub
                    .inner
                    .metrics
                    .messages_dropped_queue_full
                    .add(u64::from(count));
                let client = report::session(&cell.key.client_id);
                self.hub.inner.events.emit(Event::QueueOverflow {
                    client,
                    messages: u64::from(count),
                });
            }
        }
        self.routed.sessions += 1;
        true
    }
}

/// A filter that was accepted before.
pub(super) fn parse_filter(text: &str) -> Option<TopicFilter> {
    TopicFilter::new(Text::try_from(text).ok()?).ok()
}

/// The filter behind its mount point: `$share/g/t` under `a/` is `$share/g/a/t`.
pub(super) fn mounted<'a>(filter: &'a TopicFilter, mountpoint: &str) -> Option<Cow<'a, TopicFilter>> {
    if mountpoint.is_empty() {
        return Some(Cow::Borrowed(filter));
    }
    let text = match filter.share() {
        None => format!("{mountpoint}{}", filter.filter()),
        Some(share) => format!("$share/{share}/{mountpoint}{}", filter.filter()),
    };
    let full = TopicFilter::new(Text::try_from(text).ok()?).ok()?;
    Some(Cow::Owned(full))
}
