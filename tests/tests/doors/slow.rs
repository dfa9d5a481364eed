//! Thousands of clients that hardly say anything.
//!
//! `SLUICE_SLOW_CLIENTS=19900 cargo test -p sluice-tests --test doors slow_and -- --nocapture` tries more of them than
//! the usual run and prints what each costs. The test and the broker each need 100 files more than clients: see
//! `ulimit -Hn`.

use crate::{broker_with, metric, shed};
use sluice_tests::broker::Broker;
use sluice_tests::packet::{Encode, V5, connect, publish};
use sluice_tests::peer::Peer;
use sluice_tests::tls::Identity;
use sluice_tests::transport::{Transport, tcp};
use sluice_tests::websocket::upgrade;
use sluice_tests::{eventually, unique};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// How many, unless `SLUICE_SLOW_CLIENTS` says otherwise.
const CLIENTS: usize = 2_000;
/// More than any of them may cost while it is not let in.
const BYTES_EACH: u64 = 12 * 1024;
/// Less than any of them can cost.
const BYTES_EACH_MIN: u64 = 500;

fn listeners(connect_timeout: &str) -> String {
    let tls = "{ certificate = \"chain.pem\", key = \"key.pem\", handshake_timeout = \"TIMEOUT\" }";
    format!(
        "memory_limit = \"16384 GiB\"\n[[listener]]\nname = \"plain\"\naddress = \"127.0.0.1:0\"\nconnect_timeout = \"TIMEOUT\"\n\
         [[listener]]\nname = \"secure\"\naddress = \"127.0.0.1:0\"\ntls = {tls}\n\
         [[listener]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\nconnect_timeout = \"TIMEOUT\"\nwebsocket = {{}}\n\
         [[listener]]\nname = \"balanced\"\naddress = \"127.0.0.1:0\"\nconnect_timeout = \"TIMEOUT\"\n\
         proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]\n"
    )
    .replace("TIMEOUT", connect_timeout)
}

fn start(connect_timeout: &str) -> Broker {
    let identity = Identity::new();
    let files: &[(&str, &[u8])] = &[
        ("chain.pem", identity.certificate_pem.as_bytes()),
        ("key.pem", identity.key_pem.as_bytes()),
    ];
    broker_with(&listeners(connect_timeout), files)
}

fn memory(broker: &Broker) -> u64 {
    metric(broker, "sluice_memory_bytes").expect("the memory in use")
}

fn wanted() -> usize {
    let said = std::env::var("SLUICE_SLOW_CLIENTS").ok();
    said.map_or(CLIENTS, |text| text.parse().expect("a number of clients"))
}

/// Both ends of each connection are files; the broker is a child and gets the same limit.
fn raise_file_limit(files: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let files = files as u64 + 100;
    if limit.current.is_some_and(|current| current < files) {
        let raised = Rlimit {
            current: Some(files),
            maximum: limit.maximum.map(|most| most.max(files)),
        };
        setrlimit(Resource::Nofile, raised).expect("so many files may be open; see `ulimit -n`");
    }
}

fn is_closed(mut socket: &TcpStream) -> bool {
    match socket.read(&mut [0; 64]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// What each of the slow clients costs, once all have come.
fn cost_each(broker: &Broker, clients: usize, before: u64) -> u64 {
    // Of those who begin a TLS handshake and do not go on, the oldest make room for the newest.
    let displaced = "sluice_tls_handshakes_failed_total{reason=\"displaced\"}";
    eventually("all have come", || {
        let there = metric(broker, "sluice_connections").unwrap_or(0);
        there + metric(broker, displaced).unwrap_or(0) == clients as u64 + 1
    });
    let there = metric(broker, "sluice_connections").unwrap_or(1);
    let mut each = 0;
    // The broker looks at its memory now and then: a reading from before they came says nothing of them.
    eventually("what they cost is seen", || {
        each = memory(broker).saturating_sub(before) / there;
        each >= BYTES_EACH_MIN
    });
    each
}

#[test]
fn slow_and_half_open_clients_cost_little_and_are_gone_at_their_deadline() {
    let clients = wanted();
    raise_file_limit(clients);
    // Nobody's deadline comes before all are there and have been looked at.
    let broker = start(&format!("{} s", 8 + clients / 1_000));
    let mut bystander = Peer::open(broker.listener("plain"), V5);
    bystander.send(connect(V5, "bystander"));
    assert_eq!(bystander.expect_connack().code, 0);
    let before = memory(&broker);
    let mqtt = connect(V5, unique("slow")).username("x".repeat(6_000)).bytes(V5);
    let beginnings: [(&str, &[u8]); 4] = [
        ("plain", &mqtt),
        ("secure", &[0x16, 3, 1, 2, 0, 1, 0]),
        ("web", b"GET /mqtt HTTP/1.1\r\n"),
        ("balanced", b"PROXY TCP4 192.0.2.1 "),
    ];
    let addresses: Vec<(SocketAddr, &[u8])> = beginnings
        .map(|(listener, beginning)| (broker.listener(listener), beginning))
        .into();
    let sockets: Vec<(TcpStream, &[u8])> = (0..clients)
        .map(|number| {
            let (address, beginning) = addresses[number % addresses.len()];
            let socket = tcp(address);
            socket.set_nonblocking(true).expect("it can be so");
            (socket, beginning)
        })
        .collect();
    // One byte at a time; every fifth says nothing at all, and a CONNECT that is long begins with a good part of it.
    let is_speaking = |(number, _): &(usize, &(TcpStream, &[u8]))| number % 5 > 0;
    for at in 0..4 {
        for (_, (socket, beginning)) in sockets.iter().enumerate().filter(is_speaking) {
            let begun = if beginning.len() > 5_000 { 5_000 } else { 1 };
            let bytes = match at {
                0 => &beginning[..begun],
                _ => &beginning[begun + at - 1..begun + at],
            };
            let mut socket = socket;
            let _ = socket.write(bytes);
        }
        bystander.ping();
        let mut newcomer = Peer::open(broker.listener("plain"), V5);
        newcomer.send(connect(V5, unique("newcomer")));
        assert_eq!(newcomer.expect_connack().code, 0, "others are let in meanwhile");
        newcomer.publish(publish("news", "x").qos(1));
        newcomer.leave();
    }
    let each = cost_each(&broker, clients, before);
    assert!(each < BYTES_EACH, "{each} B each");
    let mut left: Vec<_> = sockets.iter().map(|(socket, _)| socket).collect();
    eventually("all are gone", || {
        left.retain(|socket| !is_closed(socket));
        left.is_empty()
    });
    eventually("and forgotten", || {
        metric(&broker, "sluice_connections") == Some(1)
    });
    assert!(shed(&broker, "websocket") > 0 && shed(&broker, "proxy_header") > 0);
    bystander.ping();
    let after = memory(&broker).saturating_sub(before) / clients as u64;
    assert!(
        after < each.max(2 * 1024),
        "what they cost is given back: {after} B of {each} B each"
    );
    println!("{clients} slow clients: {each} B each at most, {after} B each afterwards");
}

#[test]
fn idle_clients_cost_little_over_tcp_and_websocket_also_in_the_middle_of_a_packet() {
    const IDLE: usize = 400;
    let broker = start("30 s");
    let join = |transport: Transport| {
        let mut peer = Peer::over(transport, V5);
        peer.send(connect(V5, unique("idle")));
        assert_eq!(peer.expect_connack().code, 0);
        peer
    };
    let each = |open: &dyn Fn() -> Transport| {
        let warm = join(open());
        let before = memory(&broker);
        let mut peers: Vec<_> = (0..IDLE).map(|_| join(open())).collect();
        let each = memory(&broker).saturating_sub(before) / IDLE as u64;
        peers.iter_mut().for_each(Peer::ping);
        let received =
            |broker: &Broker| metric(broker, "sluice_bytes_received_total").expect("it is counted");
        let heard = received(&broker);
        peers.iter_mut().for_each(|peer| peer.send([0x30]));
        eventually("every byte has come", || received(&broker) >= heard + IDLE as u64);
        let halfway = memory(&broker).saturating_sub(before) / IDLE as u64;
        drop(warm);
        (each, halfway)
    };
    let plain = each(&|| Transport::plain(broker.listener("plain")));
    let web = each(&|| upgrade(Transport::plain(broker.listener("web")), "/mqtt", &[]).expect("an upgrade"));
    println!("idle, and in the middle of a packet: {plain:?} B plain, {web:?} B over WebSocket");
    let most = [plain.0, plain.1, web.0, web.1].into_iter().max();
    assert!(
        most < Some(BYTES_EACH),
        "{plain:?} B each plain, {web:?} B over WebSocket"
    );
}
