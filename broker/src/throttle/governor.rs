//! All limits of one connection, in both directions.

use super::{Bucket, Rate, Share, SharedBucket, SharedRates, whole};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes moved at once at most, whatever the limits.
const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// Bytes moved at once at least: a system call for less costs more than it evens out.
const CHUNK_BYTES_MIN: usize = 512;
/// A client alone moves what it may in an eighth of a second at a time: smooth, and quick to answer its pings.
const CHUNKS_PER_SECOND: u64 = 8;
/// Messages after which the shared limits are told, rather than after each.
const SETTLE_MESSAGES: u32 = 16;

/// Rates in every direction; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Wire bytes from the client, everything included, after decryption.
    pub bytes_in: Option<Rate>,
    /// PUBLISH packets from the client.
    pub messages_in: Option<Rate>,
    /// Filters in SUBSCRIBE packets.
    pub subscribes: Option<Rate>,
    /// Wire bytes to the client, everything included, before encryption.
    pub bytes_out: Option<Rate>,
    /// PUBLISH packets to the client.
    pub messages_out: Option<Rate>,
}

/// What is done with a client that sends faster than it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverLimit {
    /// Its socket is not read until the rate is kept again.
    #[default]
    Delay,
    /// What is too much is refused with 0x97.
    Refuse,
    /// What is too much is acknowledged and forgotten.
    Drop,
    /// The client is disconnected with 0x96.
    Disconnect,
}

/// Whether a packet is within the client's own limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Take {
    /// It is, or the client is made to wait for it.
    Pass,
    /// It is not.
    Over(Over),
}

/// Which limit a packet exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// [`Rates::bytes_in`].
    BytesIn,
    /// [`Rates::messages_in`].
    MessagesIn,
    /// [`Rates::subscribes`].
    Subscribes,
}

/// For how long a connection has been made to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// Its socket was not read.
    pub inward: Duration,
    /// What it was to be sent was held back.
    pub outward: Duration,
}

/// Enforces the limits of one connection: its own, its listener's and the broker's.
///
/// A connection without limits holds no buckets, and every question costs a comparison.
#[derive(Debug)]
pub struct Governor {
    levels: [Arc<SharedRates>; 2],
    action: OverLimit,
    bytes_in: Option<Box<Lane>>,
    messages_in: Option<Box<Lane>>,
    subscribes: Option<Box<Lane>>,
    bytes_out: Option<Box<Lane>>,
    messages_out: Option<Box<Lane>>,
    /// Messages the shared limits have not been told of.
    unsettled: u32,
    throttled: Throttled,
    /// Since when it waits.
    inward_since: Option<Instant>,
    outward_since: Option<Instant>,
}

/// One kind of thing in one direction, on all levels.
#[derive(Debug)]
struct Lane {
    own: Option<Own>,
    shares: [Share; 2],
}

#[derive(Debug)]
struct Own {
    bucket: Bucket,
    chunk: u64,
}

impl Governor {
    /// For a connection that shares these limits with others; without limits of its own before
    /// [`Governor::apply`].
    #[must_use]
    pub fn new(listener: Arc<SharedRates>, broker: Arc<SharedRates>) -> Self {
        Self {
            levels: [listener, broker],
            action: OverLimit::Delay,
            bytes_in: None,
            messages_in: None,
            subscribes: None,
            bytes_out: None,
            messages_out: None,
            unsettled: 0,
            throttled: Throttled::default(),
            inward_since: None,
            outward_since: None,
        }
    }

    /// Puts limits in force: the client's own, and whatever the shared ones are now. To be called again when either
    /// has changed. Debts stay.
    pub fn apply(&mut self, own: &Rates, action: OverLimit, now: Instant) {
        self.settle(now);
        self.action = action;
        let [listener, broker] = &self.levels;
        let shared = |which: fn(&SharedRates) -> &Arc<SharedBucket>| [which(listener), which(broker)];
        Lane::apply(
            &mut self.bytes_in,
            own.bytes_in,
            shared(|level| &level.bytes_in),
            now,
        );
        Lane::apply(
            &mut self.messages_in,
            own.messages_in,
            shared(|level| &level.messages_in),
            now,
        );
        Lane::apply(
            &mut self.subscribes,
            own.subscribes,
            shared(|level| &level.subscribes),
            now,
        );
        Lane::apply(
            &mut self.bytes_out,
            own.bytes_out,
            shared(|level| &level.bytes_out),
            now,
        );
        Lane::apply(
            &mut self.messages_out,
            own.messages_out,
            shared(|level| &level.messages_out),
            now,
        );
    }

    /// How many bytes may be read now; `usize::MAX`: any number.
    ///
    /// # Errors
    /// When to ask again, if none.
    pub fn may_read(&mut self, now: Instant) -> Result<usize, Instant> {
        let waits = self.action == OverLimit::Delay;
        allowance(&mut self.bytes_in, waits, now)
    }

    /// So many bytes were read.
    pub fn received(&mut self, bytes: usize, now: Instant) {
        if let (Some(lane), 1..) = (&mut self.bytes_in, bytes) {
            // Whoever is not made to wait is charged packet by packet.
            lane.charge(tokens(bytes), self.action == OverLimit::Delay, now);
        }
    }

    /// When the next packet may be looked at; `None`: now.
    pub fn next_packet_at(&mut self, now: Instant) -> Option<Instant> {
        if self.messages_in.is_none() && self.subscribes.is_none() {
            return None;
        }
        if (1..SETTLE_MESSAGES).contains(&self.unsettled) {
            return self.own_packet_at(now);
        }
        self.settle(now);
        let lanes = [self.messages_in.as_deref_mut(), self.subscribes.as_deref_mut()];
        let shared = lanes
            .into_iter()
            .flatten()
            .filter_map(|lane| lane.shared_ready_at(now))
            .max();
        self.own_packet_at(now).max(shared)
    }

    fn own_packet_at(&mut self, now: Instant) -> Option<Instant> {
        if self.action != OverLimit::Delay {
            return None;
        }
        let lanes = [self.messages_in.as_deref_mut(), self.subscribes.as_deref_mut()];
        lanes
            .into_iter()
            .flatten()
            .filter_map(|lane| lane.own_ready_at(1.0, now))
            .max()
    }

    /// A PUBLISH of so many bytes came.
    pub fn publish(&mut self, packet_bytes: u32, now: Instant) -> Take {
        let polices = self.action != OverLimit::Delay;
        if let Some(lane) = &mut self.messages_in {
            self.unsettled += 1;
            if !lane.take_own(1.0, polices, now) {
                return Take::Over(Over::MessagesIn);
            }
        }
        if let Some(lane) = &mut self.bytes_in
            && polices
            && !lane.take_own(f64::from(packet_bytes), true, now)
        {
            return Take::Over(Over::BytesIn);
        }
        Take::Pass
    }

    /// A SUBSCRIBE with so many filters and bytes came.
    pub fn subscribe(&mut self, filters: usize, packet_bytes: u32, now: Instant) -> Take {
        self.packets(packet_bytes as usize, now);
        let polices = self.action != OverLimit::Delay;
        match &mut self.subscribes {
            Some(lane) => {
                lane.charge(tokens(filters), false, now);
                match lane.take_own(tokens(filters), polices, now) {
                    true => Take::Pass,
                    false => Take::Over(Over::Subscribes),
                }
            }
            None => Take::Pass,
        }
    }

    /// So many bytes of packets came that are never refused.
    pub fn packets(&mut self, bytes: usize, now: Instant) {
        if self.action != OverLimit::Delay
            && let (Some(lane), 1..) = (&mut self.bytes_in, bytes)
        {
            lane.take_own(tokens(bytes), false, now);
        }
    }

    /// Tells the shared limits of messages they have not been told of; at the end of each batch.
    pub fn settle(&mut self, now: Instant) {
        if let (Some(lane), 1..) = (&mut self.messages_in, self.unsettled) {
            lane.charge(f64::from(self.unsettled), false, now);
        }
        self.unsettled = 0;
    }

    /// How many bytes may be written now; `usize::MAX`: any number.
    ///
    /// # Errors
    /// When to ask again, if none.
    pub fn may_write(&mut self, now: Instant) -> Result<usize, Instant> {
        allowance(&mut self.bytes_out, true, now)
    }

    /// So many bytes were written.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        if let (Some(lane), 1..) = (&mut self.bytes_out, bytes) {
            lane.charge(tokens(bytes), true, now);
        }
    }

    /// How many messages may be delivered now.
    ///
    /// # Errors
    /// When to ask again, if none.
    pub fn may_deliver(&mut self, now: Instant) -> Result<u32, Instant> {
        let Some(lane) = &mut self.messages_out else {
            return Ok(u32::MAX);
        };
        if let Some(at) = lane.own_ready_at(1.0, now).max(lane.shared_ready_at(now)) {
            return Err(at);
        }
        let shared = lane.shared_chunk().max(1);
        let own = lane
            .own
            .as_mut()
            .map_or(u64::MAX, |own| whole(own.bucket.tokens(now)));
        Ok(u32::try_from(own.max(1).min(shared)).unwrap_or(u32::MAX))
    }

    /// So many messages were delivered.
    pub fn delivered(&mut self, messages: u32, now: Instant) {
        if let (Some(lane), 1..) = (&mut self.messages_out, messages) {
            lane.charge(f64::from(messages), true, now);
        }
    }

    /// Whether nothing is limited: then no bucket is held.
    #[must_use]
    pub fn is_free(&self) -> bool {
        let lanes = [
            &self.bytes_in,
            &self.messages_in,
            &self.subscribes,
            &self.bytes_out,
            &self.messages_out,
        ];
        lanes.iter().all(|lane| lane.is_none())
    }

    /// What is done about too much.
    #[must_use]
    pub fn action(&self) -> OverLimit {
        self.action
    }

    /// Notes whether the connection waits, to account for the time.
    pub fn note(&mut self, inward: bool, outward: bool, now: Instant) {
        let note = |since: &mut Option<Instant>, total: &mut Duration, waits: bool| {
            if let Some(began) = since.take() {
                *total += now.saturating_duration_since(began);
            }
            *since = waits.then_some(now);
        };
        note(&mut self.inward_since, &mut self.throttled.inward, inward);
        note(&mut self.outward_since, &mut self.throttled.outward, outward);
    }

    /// For how long it has waited, up to the last [`Governor::note`].
    #[must_use]
    pub fn throttled(&self) -> Throttled {
        self.throttled
    }
}

impl Lane {
    fn apply(
        place: &mut Option<Box<Self>>,
        own: Option<Rate>,
        shared: [&Arc<SharedBucket>; 2],
        now: Instant,
    ) {
        if own.is_none() && !shared.iter().any(|bucket| bucket.is_limited()) {
            *place = None;
            return;
        }
        let lane = place.get_or_insert_with(|| {
            Box::new(Self {
                own: None,
                shares: shared.map(|bucket| Share::new(Arc::clone(bucket))),
            })
        });
        let Some(rate) = own else {
            lane.own = None;
            return;
        };
        let chunk = rate.per_second / CHUNKS_PER_SECOND;
        match &mut lane.own {
            Some(own) => {
                own.bucket.set_rate(rate, now);
                own.chunk = chunk;
            }
            None => {
                lane.own = Some(Own {
                    bucket: Bucket::new(rate, now),
                    chunk,
                });
            }
        }
    }

    fn charge(&mut self, n: f64, with_own: bool, now: Instant) {
        if let Some(own) = self.own.as_mut().filter(|_| with_own) {
            own.bucket.charge(n, now);
        }
        for share in &mut self.shares {
            share.charge(n, now);
        }
    }

    /// Takes from the client's own bucket; false only if it polices.
    fn take_own(&mut self, n: f64, polices: bool, now: Instant) -> bool {
        match &mut self.own {
            Some(own) if polices => own.bucket.take(n, now),
            Some(own) => {
                own.bucket.charge(n, now);
                true
            }
            None => true,
        }
    }

    fn own_ready_at(&mut self, n: f64, now: Instant) -> Option<Instant> {
        self.own.as_mut()?.bucket.ready_at(n, now)
    }

    fn shared_ready_at(&mut self, now: Instant) -> Option<Instant> {
        let [listener, broker] = &mut self.shares;
        listener.ready_at(now).max(broker.ready_at(now))
    }

    fn shared_chunk(&self) -> u64 {
        let [listener, broker] = &self.shares;
        listener.chunk().min(broker.chunk())
    }
}

/// How many bytes may move through a lane now, or when to ask again.
fn allowance(lane: &mut Option<Box<Lane>>, own_waits: bool, now: Instant) -> Result<usize, Instant> {
    let Some(lane) = lane else {
        return Ok(usize::MAX);
    };
    let own_at = if own_waits {
        lane.own_ready_at(1.0, now)
    } else {
        None
    };
    if let Some(at) = own_at.max(lane.shared_ready_at(now)) {
        return Err(at);
    }
    let own = match &mut lane.own {
        Some(own) if own_waits => whole(own.bucket.tokens(now)).max(own.chunk),
        _ => u64::MAX,
    };
    let bytes = usize::try_from(own.min(lane.shared_chunk())).unwrap_or(usize::MAX);
    Ok(bytes.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX))
}

#[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn tokens(count: usize) -> f64 {
    count as f64
}
