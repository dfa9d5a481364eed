use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sluice_policy::testing::{self, Client, Tested};

use super::*;
use crate::secret::{Key, hmac};

/// RFC 5802 section 3: `Hi`, which is PBKDF2.
fn salted(password: &str, salt: &[u8], rounds: u32) -> Key {
    let mac = |message: &[u8]| {
        use ::hmac::{Hmac, Mac as _};
        let mut mac = Hmac::<Sha256>::new_from_slice(password.as_bytes()).unwrap();
        mac.update(message);
        Key::from(mac.finalize().into_bytes())
    };
    let mut last = mac(&[salt, &[0, 0, 0, 1]].concat());
    let mut sum = last;
    for _ in 1..rounds {
        last = mac(&last);
        sum.iter_mut().zip(last).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

fn secret(password: &str) -> String {
    let salted = salted(password, b"salt of a user..", 4_096);
    let stored: Key = Sha256::digest(hmac(&salted, b"Client Key")).into();
    let encode = |bytes: &[u8]| STANDARD.encode(bytes);
    let (salt, server) = (encode(b"salt of a user.."), encode(&hmac(&salted, b"Server Key")));
    format!("SCRAM-SHA-256$4096:{salt}${}:{server}", encode(&stored))
}

fn settings() -> Value {
    json!({ "users": [
        { "name": "ada", "secret": secret("lovelace"), "rules": [{ "allow": "all", "topic": "lab/%a{user}/#" }] },
        { "name": "bob", "secret": secret("builder"), "rules": [] },
    ] })
}

/// The policy, and a client that knows this user's name and this password.
fn gate(user: &'static str, password: &'static str) -> Tested<Scram> {
    testing::policy::<Scram>(settings())
        .unwrap()
        .responding(move |challenge| {
            let server_first = std::str::from_utf8(challenge).unwrap();
            let part = |name: &str| {
                server_first
                    .split(',')
                    .find_map(|part| part.strip_prefix(name))
                    .unwrap()
            };
            let salt = STANDARD.decode(part("s=")).unwrap();
            let client_key = hmac(
                &salted(password, &salt, part("i=").parse().unwrap()),
                b"Client Key",
            );
            let stored: Key = Sha256::digest(client_key).into();
            let without_proof = format!("c=biws,r={}", part("r="));
            let signed = format!("n={user},r=abc,{server_first},{without_proof}");
            let mut proof = hmac(&stored, signed.as_bytes());
            proof
                .iter_mut()
                .zip(client_key)
                .for_each(|(proof, key)| *proof ^= key);
            Some(format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes())
        })
}

fn client(user: &str) -> Client {
    testing::client("dev-1").auth("SCRAM-SHA-256", format!("n,,n={user},r=abc"))
}

#[test]
fn whoever_knows_the_password_comes_in_and_is_shown_that_the_broker_knows_it_too() {
    let gate = gate("ada", "lovelace");
    let session = gate.admit(&client("ada"));
    assert_eq!(session.terms().principal.as_deref(), Some("ada"));
    assert!(session.may_publish("lab/ada/x") && !session.may_publish("lab/bob/x"));
    let proof = session.terms().connack.auth_data.clone().unwrap();
    assert!(proof.starts_with(b"v="), "{proof:?}");
}

#[test]
fn a_client_may_prove_itself_again_on_the_live_connection() {
    gate("ada", "lovelace").admit(&client("ada").reauthenticating());
    let refused = gate("ada", "wrong").connect(&client("ada").reauthenticating());
    assert_eq!(refused, Connect::deny(Reason::NotAuthorized));
}

#[test]
fn nobody_comes_in_without_the_password() {
    for (user, password) in [("ada", "builder"), ("ada", ""), ("eve", "lovelace")] {
        let outcome = gate(user, password).connect(&client(user));
        assert_eq!(outcome, Connect::deny(Reason::NotAuthorized), "{user} {password}");
    }
    let silent = testing::policy::<Scram>(settings()).unwrap();
    assert!(matches!(silent.connect(&client("ada")), Connect::Deny(_)));
}

#[test]
fn a_stranger_is_challenged_like_a_user_and_always_alike() {
    let challenge = |user: &'static str| {
        let gate = gate(user, "guess");
        let _ = gate.connect(&client(user));
        String::from_utf8(gate.challenges().remove(0)).unwrap()
    };
    let (ada, eve, eva) = (challenge("ada"), challenge("eve"), challenge("eva"));
    assert_eq!(eve, challenge("eve"));
    assert_ne!(eve, eva);
    assert_eq!(ada.len(), eve.len());
}

#[test]
fn other_methods_are_refused_and_clients_without_one_left_to_other_policies() {
    let gate = gate("ada", "lovelace");
    let other = testing::client("dev-1").auth("SCRAM-SHA-1", "n,,n=ada,r=abc");
    assert_eq!(
        gate.connect(&other),
        Connect::deny(Reason::BadAuthenticationMethod)
    );
    assert_eq!(
        gate.connect(&testing::client("dev-1").username("ada")),
        Connect::abstain()
    );
    let garbage = testing::client("dev-1").auth("SCRAM-SHA-256", [0xff, 0]);
    assert!(matches!(gate.connect(&garbage), Connect::Deny(_)));
}

#[test]
fn secrets_that_are_none_are_errors() {
    for wrong in [
        "lovelace",
        "SCRAM-SHA-256$1:c2FsdA==$AAAA:AAAA",
        &secret("x").replace("$4096:", "$4095:"),
    ] {
        let settings = json!({ "users": [{ "name": "a", "secret": wrong, "rules": [] }] });
        assert!(testing::policy::<Scram>(settings).is_err(), "{wrong}");
    }
    let user = json!({ "name": "a", "secret": secret("x"), "rules": [] });
    assert!(testing::policy::<Scram>(json!({ "users": [user.clone(), user] })).is_err());
}
