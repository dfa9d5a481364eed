//! The same over TLS, which a relay in front of the broker speaks.

use super::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};
use std::net::Shutdown;

const NAME: &str = "broker.test";

/// Decrypts for a broker that speaks no TLS, and notes how long each record from a client is: one list a connection.
#[derive(Clone)]
struct Relay {
    config: Arc<ServerConfig>,
    behind: Door,
    records: Arc<Mutex<Vec<Vec<usize>>>>,
}

impl Relay {
    /// A relay and the way in.
    fn before(behind: Door) -> (Self, Door) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Door {
            address: listener.local_addr().unwrap(),
            encryption: Some(Encryption::trusting_pem(certificate.pem().as_bytes(), NAME).unwrap()),
            ..behind.clone()
        };
        let relay = Self {
            config: Arc::new(config),
            behind,
            records: Arc::default(),
        };
        let accepting = relay.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let relay = accepting.clone();
                std::thread::spawn(move || relay.serve(socket));
            }
        });
        (relay, door)
    }

    fn serve(&self, client: TcpStream) -> std::io::Result<()> {
        let number = {
            let mut records = self.records.lock().unwrap();
            records.push(Vec::new());
            records.len() - 1
        };
        let tls = Arc::new(Mutex::new(
            ServerConnection::new(Arc::clone(&self.config)).unwrap(),
        ));
        client.set_nodelay(true)?;
        let broker = TcpStream::connect(self.behind.address)?;
        broker.set_nodelay(true)?;
        let (inwards, outwards) = (client.try_clone()?, client);
        let answers = (Arc::clone(&tls), broker.try_clone()?, outwards.try_clone()?);
        std::thread::spawn(move || encrypt(&answers.0, answers.1, answers.2));
        let decrypted = self.decrypt(number, &tls, inwards, &broker, &outwards);
        let _ = (broker.shutdown(Shutdown::Both), outwards.shutdown(Shutdown::Both));
        decrypted
    }

    /// From the client to the broker, record by record.
    fn decrypt(
        &self,
        number: usize,
        tls: &Mutex<ServerConnection>,
        mut client: TcpStream,
        mut broker: &TcpStream,
        mut answers: &TcpStream,
    ) -> std::io::Result<()> {
        loop {
            let mut record = vec![0; 5];
            client.read_exact(&mut record)?;
            let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
            self.records.lock().unwrap()[number].push(length);
            record.resize(5 + length, 0);
            client.read_exact(&mut record[5..])?;
            let mut tls = tls.lock().unwrap();
            let mut rest = &record[..];
            while !rest.is_empty() {
                tls.read_tls(&mut rest)?;
                tls.process_new_packets().map_err(std::io::Error::other)?;
            }
            while tls.wants_write() {
                tls.write_tls(&mut answers)?;
            }
            let mut plain = Vec::new();
            // There is no more for now, which is an error to it.
            let _ = tls.reader().read_to_end(&mut plain);
            broker.write_all(&plain)?;
        }
    }
}

/// From the broker to the client; a piece of what the broker wrote is a record.
fn encrypt(
    tls: &Mutex<ServerConnection>,
    mut broker: TcpStream,
    mut client: TcpStream,
) -> std::io::Result<()> {
    let mut bytes = [0; 1000];
    loop {
        let length = broker.read(&mut bytes)?;
        if length == 0 {
            return client.shutdown(Shutdown::Both);
        }
        let mut tls = tls.lock().unwrap();
        tls.writer().write_all(&bytes[..length])?;
        while tls.wants_write() {
            tls.write_tls(&mut client)?;
        }
    }
}

#[test]
fn every_delivery_is_counted_once_over_tls_too() {
    for qos in [0, 1] {
        let (_, door) = Relay::before(Tiny::listen(None));
        let (delivered, lost, latencies) = run(door, flow(fan(3, 2), qos, window(5, Batch::All)));
        assert!(delivered > 0);
        assert_eq!((lost, latencies), (0, delivered), "QoS {qos}");
    }
}

#[test]
fn messages_longer_than_a_record_arrive_whole() {
    let (_, door) = Relay::before(Tiny::listen(None));
    let long = Flow {
        payload_bytes: 40_000,
        ..flow(fan(2, 1), 0, window(3, Batch::All))
    };
    let (delivered, lost, _) = run(door, long);
    assert!(delivered > 0);
    assert_eq!(lost, 0);
}

/// Lengths of all records with messages, and how long one with so many messages is.
fn records_of(batch: Batch, messages: usize) -> (Vec<usize>, usize) {
    let (relay, door) = Relay::before(Tiny::listen(None));
    run(door, flow(fan(2, 1), 0, window(6, batch)));
    let mut message = Vec::new();
    crate::wire::Message::new(Version::V311, &fan(2, 1).topic(0), 0, 64, 0).append_to(&mut message, 0, 0);
    let records = relay.records.lock().unwrap();
    // The first connection is the subscriber's. Of a publisher: hello, change of cipher, end of the handshake, CONNECT.
    let records = records[1..].iter().flat_map(|records| &records[4..]).copied();
    (records.collect(), messages * message.len() + 17)
}

#[test]
fn a_batch_is_a_record() {
    let (records, expected) = records_of(Batch::Exactly(4), 4);
    assert!(!records.is_empty());
    assert!(records.iter().all(|length| *length == expected), "{records:?}");
}

#[test]
fn a_record_ends_with_every_message_if_it_shall() {
    let (records, expected) = records_of(Batch::Records(4), 1);
    assert!(!records.is_empty() && records.len().is_multiple_of(4));
    assert!(records.iter().all(|length| *length == expected), "{records:?}");
}

#[test]
fn a_broker_with_another_certificate_is_not_spoken_to() {
    let (_, door) = Relay::before(Tiny::listen(None));
    let (_, other) = Relay::before(Tiny::listen(None));
    let mut fleet = Fleet::new(Door {
        address: door.address,
        ..other
    })
    .unwrap();
    assert!(arrive(&mut fleet, "c", 1, None).is_err());
}
