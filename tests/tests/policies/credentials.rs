//! Passwords in the forms of other brokers, and tokens: what the broker checks for a policy.

use crate::{gated_config, try_join};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use sluice_tests::broker::{Broker, Signal};
use sluice_tests::guests;
use sluice_tests::packet::{Connect, V5, auth, connect};
use sluice_tests::property::Property::{AuthData, AuthMethod};
use sluice_tests::unique;
use std::time::{SystemTime, UNIX_EPOCH};

/// Of the password `secret`.
const HASHES: &[&str] = &[
    "$7$101$AAECAwQFBgcICQoL$Xr99N9ym9ys8TWxis5ajETJq6EVYzmc6nb8t3pUYnPBbCAbICS4xejTltonXWCtJNBvA+By+TXUqU6qCblO00w==",
    "$2b$04$RgJ2DdrAvp2iVkRI95f2W.hFjntuEIcE.6YfZ81rpyxC8OK62w1YC",
    "emqx$pbkdf2$sha512$1000$a1b2c3d4e5f60718293a4b5c6d7e8f90$7c93abb6097d644e2e1b9e5b78d22d01181f65e7394313c22c4f46b371e2907abf7e04f9024541b757091791c2eba7bce52deb1ec15f400ab94d95e72cc4d58a",
];

#[test]
fn password_files_of_other_brokers_can_be_kept() {
    let hashes: Vec<String> = HASHES.iter().map(|hash| format!("\"{hash}\"")).collect();
    let config = gated_config(&format!("{{ hashes = [{}] }}", hashes.join(", ")));
    let broker = Broker::with_files(&config, &[("gate.wasm", &guests::wasm("asker"))]);
    for (index, hash) in HASHES.iter().enumerate() {
        let code = |password: &str| {
            let packet = connect(V5, unique("c"))
                .username(format!("password {index}"))
                .password(password);
            try_join(&broker, "gate", &packet).1.code
        };
        assert_eq!((code("secret"), code("Secret")), (0, 0x86), "{hash}");
    }
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer of tokens with a key of its own.
struct Issuer(KeyPair);

impl Issuer {
    fn new() -> Self {
        Self(KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key"))
    }

    fn pem(&self) -> String {
        self.0.public_key_pem()
    }

    fn jwks(&self) -> String {
        let x = base64url(self.0.der_bytes());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k" }] }).to_string()
    }

    fn token(&self, claims: &Value) -> String {
        let message =
            [json!({ "alg": "EdDSA" }), claims.clone()].map(|part| base64url(part.to_string().as_bytes()));
        let message = message.join(".");
        let signature = self.0.sign(message.as_bytes()).expect("a signature");
        format!("{message}.{}", base64url(&signature))
    }
}

/// Seconds of Unix time from now.
fn at(seconds: i64) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    now.saturating_add_signed(seconds)
}

/// A broker with the example policy `jwt`, or the guest `asker`, and this file of keys.
fn checking(package: &str, settings: &str, keys: &str) -> Broker {
    let config = gated_config(settings).replace(
        "file = \"gate.wasm\"",
        "file = \"gate.wasm\"\ncapabilities = [\"jwt:identity\"]",
    );
    let issuer = "[[jwt]]\nname = \"identity\"\nkeys = [\"keys\"]\naudiences = [\"mqtt\"]\n";
    let files = [("gate.wasm", &*guests::wasm(package)), ("keys", keys.as_bytes())];
    Broker::with_files(&format!("{config}\n{issuer}"), &files)
}

fn with_token(token: &str) -> Connect {
    connect(V5, "dev-1").username("jwt").password(token)
}

#[test]
fn a_token_lets_in_when_its_issuer_signed_it_for_us_and_now() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    for keys in [issuer.pem(), issuer.jwks()] {
        let broker = checking("asker", "{}", &keys);
        let code = |token: &str| try_join(&broker, "gate", &with_token(token)).1.code;
        let claims = |exp: u64, aud: &str| json!({ "sub": "ada", "exp": exp, "aud": aud });
        assert_eq!(code(&issuer.token(&claims(at(60), "mqtt"))), 0);
        for wrong in [
            issuer.token(&claims(at(-60), "mqtt")),
            issuer.token(&claims(at(60), "web")),
            other.token(&claims(at(60), "mqtt")),
            "nonsense".to_owned(),
        ] {
            assert_eq!(code(&wrong), 0x87, "{wrong}");
        }
    }
}

const JWT: &str = "{ issuer = \"identity\", rules = [{ allow = \"all\", topic = \"t/#\" }] }";

#[test]
fn the_connection_ends_with_its_token() {
    let issuer = Issuer::new();
    let broker = checking("jwt", JWT, &issuer.pem());
    let token = issuer.token(&json!({ "sub": "ada", "exp": at(3), "aud": "mqtt" }));
    let (mut peer, connack) = try_join(&broker, "gate", &with_token(&token));
    peer.assert(connack.code == 0, "the token is good");
    peer.expect_disconnected(&[0xA0]);
}

#[test]
fn a_fresh_token_prolongs_the_connection() {
    let issuer = Issuer::new();
    let broker = checking("jwt", JWT, &issuer.pem());
    let token = |seconds| {
        issuer
            .token(&json!({ "sub": "ada", "exp": at(seconds), "aud": "mqtt" }))
            .into_bytes()
    };
    let packet = connect(V5, "dev-1")
        .property(AuthMethod("jwt".into()))
        .property(AuthData(token(4)));
    let (mut peer, connack) = try_join(&broker, "gate", &packet);
    peer.assert(connack.code == 0, "the token is good");
    peer.send(auth(0x19, "jwt").property(AuthData(token(3_600))));
    let answer = peer.expect_auth();
    peer.assert(answer.reason == 0, "so is the fresh one");
    // A second client, whose token ends when the first one's would have, tells that the time is over.
    let (mut clock, _) = try_join(&broker, "gate", &connect(V5, "clock").password(token(5)));
    clock.expect_disconnected(&[0xA0]);
    peer.ping();
    peer.send(auth(0x19, "jwt").property(AuthData(token(-60))));
    peer.expect_disconnected(&[0x87]);
}

#[test]
fn a_fresh_token_counts_from_when_it_is_shown() {
    let issuer = Issuer::new();
    let broker = checking("jwt", JWT, &issuer.pem());
    let token = |seconds| {
        let claims = json!({ "sub": "ada", "exp": at(seconds), "aud": "mqtt" });
        issuer.token(&claims).into_bytes()
    };
    let packet = connect(V5, "dev-1")
        .property(AuthMethod("jwt".into()))
        .property(AuthData(token(60)));
    let (mut peer, _) = try_join(&broker, "gate", &packet);
    // It has been connected for longer than its fresh token lasts.
    let (mut clock, _) = try_join(&broker, "gate", &connect(V5, "clock").password(token(4)));
    clock.expect_disconnected(&[0xA0]);
    peer.send(auth(0x19, "jwt").property(AuthData(token(3))));
    let answer = peer.expect_auth();
    peer.assert(answer.reason == 0, "the fresh token is good");
    peer.ping();
    peer.expect_disconnected(&[0xA0]);
}

#[test]
fn keys_are_read_again_with_sighup() {
    let (old, new) = (Issuer::new(), Issuer::new());
    let broker = checking("asker", "{}", &old.pem());
    let code = |issuer: &Issuer| {
        let token = issuer.token(&json!({ "exp": at(60), "aud": "mqtt" }));
        try_join(&broker, "gate", &with_token(&token)).1.code
    };
    assert_eq!((code(&old), code(&new)), (0, 0x87));
    std::fs::write(broker.dir().join("keys"), new.pem()).expect("the file is written");
    broker.signal(Signal::HUP);
    broker.wait_for_log("the reload", |line| line.is("config_reloaded"));
    assert_eq!((code(&old), code(&new)), (0x87, 0));
    std::fs::write(broker.dir().join("keys"), "nonsense").expect("the file is written");
    broker.signal(Signal::HUP);
    let rejected = broker.wait_for_log("the refusal", |line| line.is("config_rejected"));
    assert!(rejected.text.contains("the jwt `identity`"), "{}", rejected.text);
    assert_eq!(code(&new), 0, "what was in force goes on");
}
