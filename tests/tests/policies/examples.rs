//! The example policies that ask: `http-auth` beside a service as EMQX and mosquitto-go-auth users have it, and `scram`.

use crate::{gated_config, may_publish, try_join};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use serde_json::json;
use sluice_tests::broker::Broker;
use sluice_tests::guests;
use sluice_tests::http::{Answer, Request, Service, ok};
use sluice_tests::packet::{Connect, V5, V311, Version, auth, connect};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::{self, AuthData, AuthMethod};
use sluice_tests::unique;
use std::num::NonZeroU32;

/// A broker with the policy `http-auth` and this service.
fn http_auth(service: &Service, settings: &str) -> Broker {
    let config = gated_config(settings).replace(
        "file = \"gate.wasm\"",
        "file = \"gate.wasm\"\ncapabilities = [\"http:accounts\", \"clock\"]",
    );
    let service = format!(
        "[[service]]\nname = \"accounts\"\nurl = \"http://{}/mqtt\"\n",
        service.address()
    );
    let module = guests::wasm("http-auth");
    Broker::with_files(&format!("{config}\n{service}"), &[("gate.wasm", &module)])
}

fn ada(version: Version, password: &str) -> Connect {
    connect(version, "dev-1").username("ada").password(password)
}

#[test]
fn a_service_made_for_emqx_decides_who_comes_in_and_what_it_may_do() {
    let service = Service::start(|request| {
        let fields: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
        if fields["username"] != "ada" || fields["password"] != "lovelace" {
            return ok(json!({ "result": "deny" }).to_string());
        }
        let acl = json!([{ "permission": "allow", "action": "all", "topic": "t/${clientid}/#" }]);
        ok(json!({ "result": "allow", "is_superuser": false, "acl": acl }).to_string())
    });
    let broker = http_auth(&service, "{ service = \"accounts\" }");
    let (mut peer, connack) = try_join(&broker, "gate", &ada(V5, "lovelace"));
    peer.assert(connack.code == 0, "the service knows it");
    assert!(may_publish(&mut peer, "t/dev-1/x") && !may_publish(&mut peer, "t/dev-2/x"));
    for version in [V311, V5] {
        let (_, connack) = try_join(&broker, "gate", &ada(version, "wrong"));
        assert_eq!(connack.code, if version == V5 { 0x86 } else { 4 });
    }
    let request = &service.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/mqtt/auth")
    );
    assert_eq!(request.header("content-type"), Some("application/json"));
}

/// What mosquitto-go-auth asks: `user`, `superuser` and `acl`, by form.
fn go_auth(request: &Request) -> Answer {
    let fields = request.text();
    let has = |field: &str| fields.split('&').any(|part| part == field);
    let is_yes = match request.target.as_str() {
        "/mqtt/user" => has("username=ada") && has("password=lovelace"),
        "/mqtt/superuser" => false,
        "/mqtt/acl" => has("clientid=dev-1") && has("topic=devices%2Fdev-1%2F%23") && has("acc=2"),
        _ => return Answer::Say(404, String::new()),
    };
    ok(json!({ "Ok": is_yes, "Error": "" }).to_string())
}

#[test]
fn a_service_made_for_mosquitto_go_auth_is_asked_about_each_filter() {
    let service = Service::start(go_auth);
    let settings = "{ service = \"accounts\", format = \"form\", user_path = \"user\", superuser_path = \"superuser\", \
                    acl_path = \"acl\", topics = [\"devices/%c/#\", \"news/#\"], reuse_seconds = 60 }";
    let broker = http_auth(&service, settings);
    let (mut peer, connack) = try_join(&broker, "gate", &ada(V5, "lovelace"));
    peer.assert(connack.code == 0, "the service knows it");
    assert!(may_publish(&mut peer, "devices/dev-1/x") && !may_publish(&mut peer, "news/x"));
    let asked = service.requests().len();
    assert_eq!(asked, 2 + 4);
    let (_, connack) = try_join(&broker, "gate", &ada(V5, "lovelace"));
    assert_eq!(
        (connack.code, service.requests().len()),
        (0, asked),
        "nothing is asked twice"
    );
    let (_, connack) = try_join(&broker, "gate", &ada(V5, "wrong"));
    assert_eq!(connack.code, 0x86);
}

/// User `user` with the password `pencil`, from RFC 7677.
const USERS: &str = "{ users = [{ name = \"user\", rules = [{ allow = \"all\", topic = \"home/%a{user}/#\" }], secret = \
                     \"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                     wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\" }] }";
const METHOD: &str = "SCRAM-SHA-256";

fn data(properties: &[Property]) -> String {
    let found = properties.iter().find_map(|property| match property {
        AuthData(data) => Some(String::from_utf8(data.clone()).expect("text")),
        _ => None,
    });
    found.unwrap_or_default()
}

/// The last message of a client that knows this password (RFC 5802 section 3).
fn client_final(password: &str, server_first: &str) -> Vec<u8> {
    let part = |name: &str| {
        let found = server_first.split(',').find_map(|part| part.strip_prefix(name));
        found.unwrap_or_else(|| panic!("no {name} in {server_first}"))
    };
    let rounds: NonZeroU32 = part("i=").parse().expect("rounds");
    let salt = STANDARD.decode(part("s=")).expect("base64");
    let mut salted = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        rounds,
        &salt,
        password.as_bytes(),
        &mut salted,
    );
    let sign =
        |key: &[u8], message: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
    let client_key = sign(&salted, "Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let without_proof = format!("c=biws,r={}", part("r="));
    let signature = sign(
        stored_key.as_ref(),
        &format!("n=user,r=abc,{server_first},{without_proof}"),
    );
    let proof: Vec<u8> = client_key
        .as_ref()
        .iter()
        .zip(signature.as_ref())
        .map(|(a, b)| a ^ b)
        .collect();
    format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes()
}

fn answer_challenge(peer: &mut Peer, password: &str) {
    let challenge = peer.expect_auth();
    peer.assert(challenge.reason == 0x18, "the client is challenged");
    let server_first = data(&challenge.properties);
    peer.assert(server_first.starts_with("r=abc"), "with its own nonce in front");
    peer.send(auth(0x18, METHOD).property(AuthData(client_final(password, &server_first))));
}

#[test]
fn a_password_is_proven_by_auth_packets_and_again_on_the_live_connection() {
    let broker = Broker::with_files(&gated_config(USERS), &[("gate.wasm", &guests::wasm("scram"))]);
    let hello = || AuthData(b"n,,n=user,r=abc".to_vec());
    let packet = || {
        connect(V5, unique("scram"))
            .property(AuthMethod(METHOD.into()))
            .property(hello())
    };
    let mut peer = Peer::open(broker.listener("gate"), V5);
    peer.send(packet());
    answer_challenge(&mut peer, "pencil");
    let connack = peer.expect_connack();
    peer.assert(connack.code == 0, "the proof is right");
    peer.assert(
        data(&connack.properties).starts_with("v="),
        "the broker proves itself too",
    );
    assert!(may_publish(&mut peer, "home/user/x") && !may_publish(&mut peer, "home/ada/x"));

    peer.send(auth(0x19, METHOD).property(hello()));
    answer_challenge(&mut peer, "pencil");
    let done = peer.expect_auth();
    peer.assert(
        done.reason == 0 && data(&done.properties).starts_with("v="),
        "once more",
    );
    assert!(may_publish(&mut peer, "home/user/x"));

    peer.send(auth(0x19, METHOD).property(hello()));
    answer_challenge(&mut peer, "crayon");
    peer.expect_disconnected(&[0x87]);

    let mut stranger = Peer::open(broker.listener("gate"), V5);
    stranger.send(packet());
    answer_challenge(&mut stranger, "crayon");
    let connack = stranger.expect_connack();
    stranger.assert(connack.code == 0x87, "the proof is wrong");
}
