//! One packet from the client, in the phase the connection is in.

use super::received::Received;
use super::{Breach, CloseCause, Connection, Event, Phase, Reauth};
use crate::packet::{Packet, Publish, Version};
use crate::wire;
use bytes::BytesMut;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Connection {
    pub(super) fn receive(
        &mut self,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<Option<Event>, CloseCause> {
        loop {
            match self.phase {
                Phase::AwaitingConnect => {
                    let before = input.len();
                    let connect = wire::decode_connect(input, &self.limits).map_err(CloseCause::Connect);
                    self.count(&connect, before - input.len());
                    return connect?.map_or(Ok(None), |connect| self.greet(connect));
                }
                Phase::Deciding | Phase::Closed => return Ok(None),
                Phase::Challenged => {
                    let Some(packet) = self.decode(input)? else {
                        return Ok(None);
                    };
                    let event = match packet {
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
                    let Some(packet) = self.decode(input)? else {
                        return Ok(None);
                    };
                    self.keep_alive.heard(now);
                    if let Some(event) = self.dispatch(packet, reauth).map_err(CloseCause::Breach)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Packet>, CloseCause> {
        let before = input.len();
        let packet = wire::decode(input, self.hello.version, &self.limits).map_err(CloseCause::Wire);
        self.count(&packet, before - input.len());
        let packet = packet?;
        if let Some(packet) = &packet {
            wire::check_from_client(packet).map_err(|violation| CloseCause::Wire(violation.into()))?;
        }
        Ok(packet)
    }

    /// Notes the size of a packet, unless it is not complete yet.
    fn count<P>(&mut self, packet: &Result<Option<P>, CloseCause>, bytes: usize) {
        if !matches!(packet, Ok(None)) {
            self.packet_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
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
            Packet::Publish(publish) => self.receive_publish(publish)?,
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
            // `decode` let no packet of a server pass.
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                return Ok(None);
            }
        };
        Ok(Some(event))
    }

    fn receive_publish(&mut self, publish: Publish) -> Result<Event, Breach> {
        debug_assert!(self.hello.version == Version::V5 || publish.properties.topic_alias.is_none());
        let mut arrival = self.inbound.receive(publish, self.payload_bytes_max)?;
        arrival.packet_too_large = self.packet_bytes > self.packet_bytes_max;
        self.unanswered += 1;
        Ok(Event::Publish(Received::new(arrival, &self.unjudged)))
    }
}
