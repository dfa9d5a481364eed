//! OpenSSL's own client: what is agreed on, and what a client is told that is not let in.

use crate::agent::{REMEDY, Tls};
use crate::encrypted::Plant;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// All that `openssl s_client` says. It asks for the end of the connection once it has one, and gives up after a while.
fn s_client(plant: &Plant, files: &Tls, options: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args(["60", "openssl", "s_client", "-connect"]);
    command.arg(plant.broker.address().to_string());
    command.args(["-servername", "localhost", "-verify_return_error", "-CAfile"]);
    command.arg(&files.authority).args(options);
    for (option, path) in [("-cert", &files.certificate), ("-key", &files.key)] {
        command.args(path.iter().flat_map(|path| [option.as_ref(), path.as_os_str()]));
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not run ({error}); {REMEDY}"));
    // CONNECT of a client that leaves its name to the broker: the answer, or the end, comes after all of TLS.
    let connect = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0, 0, 0, 0];
    let mut input = child.stdin.take().expect("the input is piped");
    // A client that was turned away may have ended already.
    let _ = input
        .write_all(&connect)
        .and_then(|()| input.write_all(b"\xE0\0"));
    let output = child.wait_with_output().expect("it ends");
    drop(input);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn both_versions_are_spoken_and_sessions_resumed() {
    let plant = Plant::guarded();
    let files = plant.issue("pump-1");
    for (version, protocol) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = plant.path(&format!("session{version}"));
        let session = session.to_str().expect("UTF-8");
        let first = s_client(&plant, &files, &[version, "-alpn", "mqtt", "-sess_out", session]);
        for expected in [
            &format!("New, {protocol}"),
            "Verify return code: 0 (ok)",
            "ALPN protocol: mqtt",
            "CN = Fleet",
        ] {
            assert!(first.contains(expected), "{expected} is not in: {first}");
        }
        let again = s_client(&plant, &files, &[version, "-sess_in", session]);
        assert!(again.contains(&format!("Reused, {protocol}")), "{again}");
    }
}

#[test]
fn a_client_is_told_what_is_wrong_with_its_certificate() {
    let plant = Plant::guarded();
    for version in ["-tls1_2", "-tls1_3"] {
        for (files, alert) in [
            (plant.revoked(), "certificate revoked"),
            (plant.expired("pump-1"), "certificate expired"),
        ] {
            let told = s_client(&plant, &files, &[version]);
            assert!(
                told.contains(&format!("alert {alert}")),
                "{alert}, {version}: {told}"
            );
        }
    }
    let told = s_client(&plant, &plant.none(), &["-tls1_3"]);
    assert!(told.contains("alert certificate required"), "{told}");
    let told = s_client(&plant, &plant.none(), &["-tls1_2"]);
    assert!(told.contains("alert"), "{told}");
}

#[test]
fn what_is_not_safe_any_more_is_refused() {
    let plant = Plant::with("");
    for options in [
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"],
    ] {
        let told = s_client(&plant, &plant.none(), options);
        assert!(told.contains("Cipher is (NONE)"), "{options:?}: {told}");
    }
}
