//! One authentication (RFC 5802 section 3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::message::{ClientFinal, ClientFirst};
use crate::secret::{Key, Secret, hmac};

pub(crate) struct Exchange<'a> {
    first: &'a ClientFirst,
    secret: &'a Secret,
    /// The client's and ours.
    nonce: String,
}

impl<'a> Exchange<'a> {
    /// `ours` are unpredictable bytes, the same each time the policy is run for this request.
    pub(crate) fn new(first: &'a ClientFirst, secret: &'a Secret, ours: &[u8]) -> Self {
        let nonce = format!("{}{}", first.nonce, STANDARD.encode(ours));
        Self { first, secret, nonce }
    }

    /// `r=nonce,s=salt,i=rounds`
    pub(crate) fn server_first(&self) -> String {
        let salt = STANDARD.encode(&self.secret.salt);
        format!("r={},s={salt},i={}", self.nonce, self.secret.rounds)
    }

    /// The server's last message, `v=signature`, if the client has proven that it knows the password.
    pub(crate) fn verify(&self, last: &[u8]) -> Option<String> {
        let last = ClientFinal::read(last)?;
        if last.nonce != self.nonce || last.channel != STANDARD.encode(&self.first.header) {
            return None;
        }
        let signed = format!(
            "{},{},{}",
            self.first.bare,
            self.server_first(),
            last.without_proof
        );
        let proof = Key::try_from(STANDARD.decode(last.proof).ok()?).ok()?;
        let mut client_key = hmac(&self.secret.stored_key, signed.as_bytes());
        for (byte, proof) in client_key.iter_mut().zip(proof) {
            *byte ^= proof;
        }
        let shown: Key = Sha256::digest(client_key).into();
        if !is_same(&shown, &self.secret.stored_key) {
            return None;
        }
        let signature = hmac(&self.secret.server_key, signed.as_bytes());
        Some(format!("v={}", STANDARD.encode(signature)))
    }
}

/// Takes the same time whatever differs.
fn is_same(one: &Key, other: &Key) -> bool {
    let differing = one.iter().zip(other).fold(0, |found, (a, b)| found | (a ^ b));
    std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 section 3; user `user`, password `pencil`.
    const SECRET: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                          wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn check(change: impl Fn(String) -> String) -> Option<String> {
        let first = ClientFirst::read(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        let secret = Secret::try_from(SECRET.to_owned()).unwrap();
        let exchange = Exchange {
            nonce: format!("{}{SERVER_NONCE}", first.nonce),
            first: &first,
            secret: &secret,
        };
        assert_eq!(
            exchange.server_first(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        exchange.verify(change(CLIENT_FINAL.to_owned()).as_bytes())
    }

    #[test]
    fn the_example_of_the_specification_is_proven() {
        let server_final = check(|last| last).expect("the proof is right");
        assert_eq!(server_final, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_last_message_in_which_anything_is_changed_proves_nothing() {
        for (from, to) in [
            ("dHzb", "dHzc"),
            ("c=biws", "c=eSws"),
            ("FIlj)", "FIlk)"),
            ("r=rOpr", "r=sOpr"),
            (",p=", ",x=1,p="),
            ("p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "p="),
            (",p=", ",q="),
        ] {
            assert_eq!(check(|last| last.replace(from, to)), None, "{from} -> {to}");
        }
        assert_eq!(check(|_| String::new()), None);
    }
}
