//! One packet from the client, in the phase the connection is in.

use super::content::Content;
use super::received::{Received, TooLarge};
use super::{Breach, CloseCause, Connection, Event, Phase, Reauth};
use crate::packet::{Packet, PacketType};
use crate::wire::{self, Header, Incoming, Layout};
use bytes::BytesMut;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Connection {
    /// The way of a PUBLISH, apart from that of all else: it is the packet that comes in thousands, and built in its
    /// place. `None`: something else is next.
    #[inline]
    pub(super) fn next_publish(
        &mut self,
        input: &mut BytesMut,
        now: Instant,
    ) -> Option<Result<Received, CloseCause>> {
        if !self.is_established() || !matches!(self.may_read(now), Ok(true)) {
            return None;
        }
        let version = self.hello.version;
        let header = match wire::peek(input, version, &self.limits) {
            Ok(Some(header)) if header.packet_type == PacketType::Publish => header,
            _ => return None,
        };
        self.packet_bytes = bytes(header);
        let frame = wire::take_frame(input, header);
        let (layout, copied) = match Layout::read(header.flags, &frame, version) {
            Ok(read) => read,
            Err(error) => return Some(Err(CloseCause::Wire(error))),
        };
        let (aliased, number) = match self.inbound.receive(&layout, &frame) {
            Ok(received) => received,
            Err(breach) => return Some(Err(CloseCause::Breach(breach))),
        };
        self.keep_alive.heard(now);
        self.unanswered += 1;
        let too_large = TooLarge {
            payload: layout.payload_bytes(&frame) > self.payload_bytes_max as usize,
            packet: self.packet_bytes > self.packet_bytes_max,
        };
        let witness = match self.witness.take().or_else(|| self.witnesses.pop()) {
            Some(witness) => witness,
            None => Arc::clone(&self.unjudged),
        };
        let packet = Incoming {
            frame,
            layout,
            copied,
        };
        Some(Ok(Received::new(
            Content::new(packet, aliased),
            number,
            too_large,
            witness,
        )))
    }

    /// Any packet but PUBLISH.
    #[inline(never)]
    pub(super) fn receive(
        &mut self,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<Option<Event>, CloseCause> {
        loop {
            match self.phase {
                Phase::AwaitingConnect => {
                    let before = input.len();
                    let connect = wire::decode_connect(input, &self.limits);
                    self.packet_bytes = u32::try_from(before - input.len()).unwrap_or(u32::MAX);
                    let connect = connect.map_err(CloseCause::Connect)?;
                    return connect.map_or(Ok(None), |connect| self.greet(connect));
                }
                Phase::Deciding | Phase::Closed => return Ok(None),
                Phase::Challenged => {
                    let Some(header) = self.peek(input)? else {
                        return Ok(None);
                    };
                    self.packet_bytes = bytes(header);
                    let event = match self.take(input, header)? {
                        Packet::Auth(auth) => self.continue_handshake(auth),
                        Packet::Disconnect(disconnect) => self.client_disconnects(disconnect),
                        _ => Err(Breach::BeforeConnAck), // [MQTT-3.1.2-30]
                    };
                    return event.map(Some).map_err(CloseCause::Breach);
                }
                Phase::Established(reauth) => {
                    if !self.may_read(now)? {
                        return Ok(None);
                    }
                    let Some(header) = self.peek(input)? else {
                        return Ok(None);
                    };
                    if header.packet_type == PacketType::Publish {
                        return match self.next_publish(input, now) {
                            Some(Ok(received)) => Ok(Some(Event::Publish(received))),
                            Some(Err(cause)) => Err(cause),
                            None => Ok(None),
                        };
                    }
                    let before = std::mem::replace(&mut self.packet_bytes, bytes(header));
                    let packet = self.take(input, header)?;
                    self.keep_alive.heard(now);
                    if let Some(event) = self.dispatch(packet, reauth).map_err(CloseCause::Breach)? {
                        return Ok(Some(event));
                    }
                    self.packet_bytes = before;
                }
            }
        }
    }

    /// The fixed header of the next packet, once all of the packet is there.
    fn peek(&mut self, input: &BytesMut) -> Result<Option<Header>, CloseCause> {
        wire::peek(input, self.hello.version, &self.limits).map_err(|error| {
            self.packet_bytes = 0;
            CloseCause::Wire(error)
        })
    }

    fn take(&mut self, input: &mut BytesMut, header: Header) -> Result<Packet, CloseCause> {
        let packet = wire::take(input, header, self.hello.version).map_err(CloseCause::Wire)?;
        wire::check_from_client(&packet).map_err(|violation| CloseCause::Wire(violation.into()))?;
        Ok(packet)
    }

    /// Whether the next packet may be looked at.
    fn may_read(&mut self, now: Instant) -> Result<bool, CloseCause> {
        let unjudged = self.unjudged.load(Ordering::Relaxed);
        debug_assert!(
            unjudged == 0,
            "{unjudged} PUBLISHes were dropped without a verdict"
        );
        if unjudged > 0 {
            return Err(CloseCause::Unjudged);
        }
        if self.inbound.is_full() {
            self.held_back = true;
            return Ok(false);
        }
        if std::mem::take(&mut self.held_back) {
            // It was us who did not listen.
            self.keep_alive.heard(now);
        }
        Ok(true)
    }

    /// `None`: answered already.
    fn dispatch(&mut self, packet: Packet, reauth: Reauth) -> Result<Option<Event>, Breach> {
        let event = match packet {
            Packet::PubAck(ack) => Event::PubAck {
                packet_id: ack.packet_id,
                reason: ack.reason,
            },
            Packet::PubRec(ack) => Event::PubRec {
                packet_id: ack.packet_id,
                reason: ack.reason,
            },
            Packet::PubRel(ack) => Event::PubRel(ack.packet_id),
            Packet::PubComp(ack) => Event::PubComp {
                packet_id: ack.packet_id,
                reason: ack.reason,
            },
            Packet::Subscribe(subscribe) => Event::Subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => Event::Unsubscribe(unsubscribe),
            Packet::PingReq => {
                self.write(Packet::PingResp); // [MQTT-3.12.4-1]
                return Ok(None);
            }
            Packet::Disconnect(disconnect) => self.client_disconnects(disconnect)?,
            Packet::Auth(auth) => self.reauthenticate(auth, reauth)?,
            Packet::Connect(_) => return Err(Breach::SecondConnect),
            // A PUBLISH does not come this way, and `take` let no packet of a server pass.
            Packet::Publish(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => {
                return Ok(None);
            }
        };
        Ok(Some(event))
    }
}

/// What [`Connection::packet_bytes`] says of a packet.
fn bytes(header: Header) -> u32 {
    u32::try_from(header.packet_bytes).unwrap_or(u32::MAX)
}
