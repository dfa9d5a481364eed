//! Every input of the corpora, once.

use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(dir).expect("the target has a corpus") {
        let path = entry.expect("an entry can be read").path();
        println!("{}", path.display()); // Shown with a failure.
        run(&std::fs::read(&path).expect("an input can be read"));
        inputs += 1;
    }
    assert!(inputs > 0, "no inputs for {target}");
}

#[test]
fn decode() {
    replay("decode", sluice_fuzz::decode::run);
}

#[test]
fn session() {
    replay("session", sluice_fuzz::session::run);
}

#[test]
fn topic() {
    replay("topic", sluice_fuzz::topic::run);
}
