//! The load and its counting, against a broker of a few lines in this process.

mod encrypted;

use super::*;
use crate::measure::CpuTime;
use crate::wire::Version;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Sends every message to all subscribers, whatever they subscribed to, except every so many-th.
#[derive(Clone)]
struct Tiny {
    subscribers: Arc<Mutex<Vec<TcpStream>>>,
    seen: Arc<Mutex<u64>>,
    drops_every: Option<u64>,
}

impl Tiny {
    fn listen(drops_every: Option<u64>) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let broker = Self {
            subscribers: Arc::default(),
            seen: Arc::default(),
            drops_every,
        };
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let broker = broker.clone();
                std::thread::spawn(move || broker.serve(socket));
            }
        });
        Door {
            address,
            version: Version::V311,
            encryption: None,
        }
    }

    fn serve(&self, mut socket: TcpStream) -> Option<()> {
        socket.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        loop {
            let packet = packet(&mut reader)?;
            let body = packet.len() - length_of_body(&packet);
            match packet[0] >> 4 {
                1 => socket.write_all(&[0x20, 2, 0, 0]).ok()?,
                8 => {
                    self.subscribers.lock().unwrap().push(socket.try_clone().unwrap());
                    socket
                        .write_all(&[0x90, 3, packet[body], packet[body + 1], 1])
                        .ok()?;
                }
                3 => {
                    if packet[0] & 0x06 != 0 {
                        let id = body + 2 + usize::from(packet[body + 1]);
                        socket.write_all(&[0x40, 2, packet[id], packet[id + 1]]).ok()?;
                    }
                    self.publish(&packet);
                }
                _ => {}
            }
        }
    }

    fn publish(&self, packet: &[u8]) {
        let mut seen = self.seen.lock().unwrap();
        *seen += 1;
        if self.drops_every.is_some_and(|every| seen.is_multiple_of(every)) {
            return;
        }
        for subscriber in self.subscribers.lock().unwrap().iter_mut() {
            let _ = subscriber.write_all(packet);
        }
    }
}

/// The next packet as a whole; `None` at the end.
fn packet(reader: &mut impl Read) -> Option<Vec<u8>> {
    let mut packet = vec![0; 2];
    reader.read_exact(&mut packet).ok()?;
    while packet.last()? & 0x80 != 0 {
        let mut next = [0];
        reader.read_exact(&mut next).ok()?;
        packet.push(next[0]);
    }
    let head = packet.len();
    packet.resize(head + length_of_body(&packet), 0);
    reader.read_exact(&mut packet[head..]).ok()?;
    Some(packet)
}

fn length_of_body(packet: &[u8]) -> usize {
    let mut length = 0;
    for (index, byte) in packet[1..].iter().enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            break;
        }
    }
    length
}

fn flow(shape: Shape, qos: u8, pace: Pace) -> Flow {
    Flow {
        shape,
        qos,
        payload_bytes: 64,
        pace,
        warm_up: Duration::from_millis(5),
        measured: Duration::from_millis(50),
    }
}

fn window(outstanding: u64, batch: Batch) -> Pace {
    Pace::Window {
        until: Until::Delivered,
        outstanding,
        batch,
    }
}

fn fan(publishers: usize, subscribers: usize) -> Shape {
    Shape::Fan {
        publishers,
        subscribers,
    }
}

/// Lets a flow run to its end: messages delivered and lost, latencies counted.
fn run(door: Door, flow: Flow) -> (u64, u64, u64) {
    let mut fleet = Fleet::new(door).unwrap();
    let mut traffic = Traffic::prepare(&mut fleet, flow, None).unwrap();
    let outcome = traffic.run(&mut fleet, &|| Ok(CpuTime::default())).unwrap();
    assert_eq!(outcome.disconnects, 0);
    (outcome.delivered, outcome.lost, outcome.latencies.count())
}

#[test]
fn every_delivery_is_counted_once() {
    for qos in [0, 1] {
        for batch in [Batch::All, Batch::AtMost(1), Batch::Exactly(4), Batch::Exactly(9)] {
            let (delivered, lost, latencies) =
                run(Tiny::listen(None), flow(fan(3, 2), qos, window(5, batch)));
            assert!(delivered > 0);
            assert_eq!((lost, latencies), (0, delivered), "QoS {qos}, {batch:?}");
        }
    }
}

#[test]
fn a_paced_load_does_not_wait_for_deliveries() {
    let (delivered, lost, _) = run(Tiny::listen(None), flow(fan(2, 1), 0, Pace::PerSecond(2000.0)));
    assert!(delivered > 0);
    assert_eq!(lost, 0);
}

#[test]
fn what_never_comes_is_lost() {
    let address = Tiny::listen(Some(10));
    let (delivered, lost, _) = run(address, flow(fan(1, 1), 0, Pace::PerSecond(2000.0)));
    assert!(delivered > 0 && lost > 0, "{delivered} delivered, {lost} lost");
}

#[test]
fn a_subscriber_that_does_not_read_holds_back_nothing_but_itself() {
    let pace = Pace::Window {
        until: Until::Acknowledged,
        outstanding: 10,
        batch: Batch::All,
    };
    let mut fleet = Fleet::new(Tiny::listen(None)).unwrap();
    let mut traffic = Traffic::prepare(&mut fleet, flow(fan(1, 1), 1, pace), None).unwrap();
    fleet.set_reading(0, false);
    traffic.start();
    let enough = 100;
    while traffic.acknowledged() < enough {
        traffic
            .flow_until(&mut fleet, crate::clock::now() + 1_000_000)
            .unwrap();
    }
    assert_eq!(traffic.delivered(), 0);
    traffic.stop();
    fleet.set_reading(0, true);
    traffic.drain(&mut fleet).unwrap();
    assert_eq!(traffic.missing(), 0);
    assert!(traffic.delivered() >= enough);
}
