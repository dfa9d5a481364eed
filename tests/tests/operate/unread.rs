//! A client that does not read what it is sent is not read either, and loses nothing when it reads on.

use crate::{broker, obeyed, told};
use sluice_tests::eventually;
use sluice_tests::packet::{Encode as _, V311, connect, publish};
use std::io::{Read as _, Write as _};

/// Messages in one write.
const MESSAGES: usize = 5_001;
/// What the broker holds of a client that does not read, before it stops reading it.
const OUTPUT_BYTES: u64 = 256 * 1024;

#[test]
fn what_was_read_of_a_client_is_answered_once_it_reads_on() {
    let broker = broker("");
    let (mut client, _) = broker.join(&connect(V311, "one"));
    let mut socket = client.transport().socket().try_clone().expect("a second handle");
    let shown = |key: &str| {
        let answer = told(&broker, &["client", "show", "one"]);
        let value = answer.pointer(&format!("/sessions/0/connection/{key}"));
        value.and_then(serde_json::Value::as_u64).expect("a number")
    };
    let read = || {
        let metrics = obeyed(&broker, &["metrics"]);
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix("sluice_bytes_received_total "));
        value
            .and_then(|value| value.parse::<usize>().ok())
            .expect("a number")
    };
    let before = read();
    let message = publish("t", "").qos(1).id(7).bytes(V311);
    let mut sent = 0;
    // Until the sockets take no more answers, and the broker leaves unanswered what it has read.
    while shown("write_buffer_bytes") < OUTPUT_BYTES {
        socket.write_all(&message.repeat(MESSAGES)).expect("it is read");
        sent += MESSAGES;
        eventually("the messages are read, or no more are", || {
            read() - before >= message.len() * sent || shown("write_buffer_bytes") >= OUTPUT_BYTES
        });
    }
    assert!(shown("read_buffer_bytes") > 0, "everything is answered already");
    let mut answers = vec![0; 4 * sent];
    socket
        .read_exact(&mut answers)
        .expect("every message is answered");
    assert!(answers.chunks(4).all(|answer| answer == [0x40, 2, 0, 7]));
}
