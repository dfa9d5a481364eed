//! The inputs that fuzzing has kept, and the examples: what the fuzz target does with them, by plain `cargo test`.

use crate::{ALL, examples, packet};
use sluice_mqtt::packet::Version;
use std::path::Path;

// The fuzz crate needs a fuzzer to link; its targets are plain functions, so they are taken from where they are.
#[path = "../../../fuzz/src/decode.rs"]
#[allow(unreachable_pub, reason = "public where it comes from")]
mod target;

#[test]
fn every_kept_input_is_judged() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/decode");
    let mut inputs = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display()); // Shown with a failure.
        target::run(&std::fs::read(&path).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 10, "only {inputs} inputs");
}

#[test]
fn every_example_is_judged_in_every_portion_and_version() {
    for version in ALL {
        let stream = examples::all(*version).concat();
        for picked in 0..4 {
            for portion in [0, 1, 2, 3, 7, 50] {
                target::run(&[&[picked, portion], stream.as_slice()].concat());
            }
        }
    }
}

/// The seeds of the corpus: conversations a client could have, and what other codecs choked on.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for version in ALL {
        let picked = match version {
            Version::V31 => 0,
            Version::V311 => 1,
            Version::V5 => 2,
        };
        let name = format!("{version:?}").to_lowercase();
        for (index, bytes) in examples::all(*version).iter().enumerate() {
            seeds.push((
                format!("{name}-{index:02}"),
                [&[picked, 1], bytes.as_slice()].concat(),
            ));
        }
        let stream = examples::all(*version).concat();
        seeds.push((format!("{name}-all"), [&[3, 5], stream.as_slice()].concat()));
    }
    let panics: [(&str, &[u8]); 4] = [
        (
            "alias-maximum-0",
            b"\x03\x00\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x03\x22\x00\x00\x00\x01a",
        ),
        ("packet-id-0", b"\x02\x00\x32\x07\x00\x03a/b\x00\x00"),
        ("no-property-length", b"\x02\x00\x30\x02\x00\x00"),
        ("short-connack", b"\x01\x00\x20\x00"),
    ];
    seeds.extend(panics.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())));
    let parted = packet(
        0x30,
        &[b"\x00\x01a\x0C\x01\x01\x23\x00\x01\x26\x00\x01k\x00\x01v"],
    );
    seeds.push((
        "forwarded-in-two-runs".to_owned(),
        [b"\x02\x03", parted.as_slice()].concat(),
    ));
    seeds
}

#[test]
fn the_corpus_holds_the_seeds() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/decode");
    for (name, bytes) in seeds() {
        let path = dir.join(&name);
        if std::env::var_os("WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        let kept = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}; set WRITE_SEEDS=1"));
        assert_eq!(kept, bytes, "{name} is outdated; set WRITE_SEEDS=1");
    }
}
