//! Lets clients in by a JSON Web Token, for as long as it is good.
//!
//! The token is the password of CONNECT, or the data of an enhanced authentication with the method `method`; then a client
//! can show a fresh one before the old one expires (re-authentication, MQTT 5.0 section 4.12.1) and stays connected.
//! The broker checks signature, time, issuer and audience as its `[[jwt]]` says.
//!
//! ```toml
//! [policy.tokens]
//! file = "jwt.wasm"
//! capabilities = ["jwt:identity"]
//!
//! [policy.tokens.settings]
//! # Name of the [[jwt]].
//! issuer = "identity"
//! # Method of the enhanced authentication. Default: "jwt".
//! method = "jwt"
//! # The claim that says who the client is. Default: "sub".
//! principal = "sub"
//! # A claim that must be the client id, and one that must be the user name. Default: neither is checked.
//! client_id = "device"
//! # username = "sub"
//! # Claims for `%a{name}` in the rules; a token without one of them is refused.
//! attributes = ["tenant"]
//! # What every client may do ...
//! rules = [{ allow = "all", topic = "%a{tenant}/%c/#" }]
//! # ... after what its token says: the name of a claim in the form of EMQX,
//! # [{ "permission": "allow", "action": "publish", "topic": "t/1" }] or { "pub": [...], "sub": [...], "all": [...] }.
//! acl = "acl"
//! ```

use serde::Deserialize;
use sluice_policy::emqx;
use sluice_policy::prelude::*;
use sluice_policy::serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwt {
    issuer: String,
    #[serde(default = "default_method")]
    method: String,
    #[serde(default = "default_principal")]
    principal: String,
    client_id: Option<String>,
    username: Option<String>,
    #[serde(default)]
    attributes: Vec<String>,
    #[serde(default)]
    rules: Vec<Grant>,
    acl: Option<String>,
}

fn default_method() -> String {
    "jwt".to_owned()
}

fn default_principal() -> String {
    "sub".to_owned()
}

#[policy]
impl Policy for Jwt {
    type Settings = Self;

    fn new(settings: Self) -> Result<Self, Error> {
        if settings.rules.is_empty() && settings.acl.is_none() {
            return Err("without `rules` and `acl` nobody could do anything".into());
        }
        Ok(settings)
    }

    async fn on_connect(&self, request: &ConnectRequest, ask: &Ask) -> Connect {
        let shown = match &request.auth_method {
            Some(method) if *method == self.method => request.auth_data.clone(),
            Some(_) => return Connect::deny(Reason::BadAuthenticationMethod),
            None => request.password.as_ref().map(|token| token.as_bytes().to_vec()),
        };
        let Some(shown) = shown else {
            return Connect::deny(Reason::NotAuthorized.because("a token is needed"));
        };
        match ask.verify_jwt(&self.issuer, shown).await {
            Ok(token) => match self.terms(request, &token) {
                Ok(terms) => Connect::admit(terms.until(&token)),
                Err(denial) => Connect::deny(denial),
            },
            Err(why) => Connect::deny(Reason::NotAuthorized.because(why)),
        }
    }
}

impl Jwt {
    fn terms(&self, request: &ConnectRequest, token: &Token) -> Result<Admission, Denial> {
        let principal = claim(token, &self.principal)?;
        must_be(token, self.client_id.as_deref(), Some(&request.client_id))?;
        must_be(token, self.username.as_deref(), request.username.as_deref())?;
        let mut terms = Admission::new().principal(principal);
        for name in &self.attributes {
            terms = terms.attribute(name, claim(token, name)?);
        }
        let own = match self.acl.as_ref().and_then(|name| token.claims().get(name)) {
            Some(acl) => emqx::grants(acl).map_err(|why| Reason::NotAuthorized.because(why))?,
            None => Vec::new(),
        };
        Ok(terms.grants(own.into_iter().chain(self.rules.iter().cloned())))
    }
}

/// A claim that must be there. Numbers count as their digits.
fn claim(token: &Token, name: &str) -> Result<String, Denial> {
    match token.claims().get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(Reason::NotAuthorized.because(format!("the token does not say `{name}`"))),
    }
}

/// What the client says of itself must be what the token says.
fn must_be(token: &Token, name: Option<&str>, said: Option<&str>) -> Result<(), Denial> {
    match name {
        Some(name) if said != Some(claim(token, name)?.as_str()) => {
            Err(Reason::NotAuthorized.because(format!("the token is for another `{name}`")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_policy::testing::{self, Client, Tested};

    use super::*;

    fn settings() -> Value {
        json!({
            "issuer": "identity",
            "client_id": "device",
            "attributes": ["tenant"],
            "rules": [{ "allow": "all", "topic": "%a{tenant}/%c/#" }],
            "acl": "acl",
        })
    }

    /// Every token is its claims, and good for ten minutes.
    fn gate(settings: Value) -> Tested<Jwt> {
        testing::policy::<Jwt>(settings).unwrap().tokens(|issuer, token| {
            assert_eq!(issuer, "identity");
            let claims = serde_json::from_slice(token).map_err(|_| "this is no token".to_owned())?;
            Ok((claims, 600))
        })
    }

    fn good() -> Value {
        json!({ "sub": "ada", "device": "dev-1", "tenant": "lab" })
    }

    fn client(claims: &Value) -> Client {
        testing::client("dev-1").password(claims.to_string())
    }

    #[test]
    fn the_token_says_who_it_is_what_it_may_do_and_for_how_long() {
        let gate = gate(settings());
        let session = gate.admit(&client(&good()));
        assert_eq!(session.terms().principal.as_deref(), Some("ada"));
        assert_eq!(session.budget().connection_seconds_max, Some(600));
        assert!(session.may_publish("lab/dev-1/t") && !session.may_publish("lab/dev-2/t"));
    }

    #[test]
    fn an_enhanced_authentication_carries_the_token_and_a_fresh_one() {
        let gate = gate(settings());
        let client = testing::client("dev-1").auth("jwt", good().to_string());
        gate.admit(&client);
        gate.admit(&client.clone().reauthenticating());
        let other = testing::client("dev-1").auth("SCRAM-SHA-256", good().to_string());
        assert_eq!(
            gate.connect(&other),
            Connect::deny(Reason::BadAuthenticationMethod)
        );
        // A password beside it is no way around.
        let both = testing::client("dev-1")
            .auth("jwt", "nonsense")
            .password(good().to_string());
        assert!(matches!(gate.connect(&both), Connect::Deny(_)));
    }

    #[test]
    fn a_token_that_is_wrong_or_of_somebody_else_is_refused() {
        let gate = gate(settings());
        let without = |name: &str| {
            let mut claims = good();
            claims[name] = Value::Null;
            claims
        };
        let mut other = good();
        other["device"] = json!("dev-2");
        for claims in [
            without("sub"),
            without("device"),
            without("tenant"),
            other,
            json!("nonsense"),
        ] {
            let outcome = gate.connect(&client(&claims));
            assert!(matches!(outcome, Connect::Deny(_)), "{claims}: {outcome:?}");
        }
        assert!(matches!(
            gate.connect(&testing::client("dev-1")),
            Connect::Deny(_)
        ));
        assert_eq!(
            gate.connect(&testing::client("dev-1").password("nonsense")),
            Connect::deny(Reason::NotAuthorized.because("this is no token"))
        );
    }

    #[test]
    fn the_rules_of_the_token_go_before_those_of_the_settings() {
        let gate = gate(settings());
        let mut claims = good();
        claims["acl"] = json!([
            { "permission": "deny", "action": "publish", "topic": "lab/dev-1/locked" },
            { "permission": "allow", "action": "subscribe", "topic": "news/#" },
        ]);
        let session = gate.admit(&client(&claims));
        assert!(!session.may_publish("lab/dev-1/locked") && session.may_publish("lab/dev-1/t"));
        assert!(session.may_subscribe("news/x") && !session.may_publish("news/x"));
        claims["acl"] = json!([{ "permission": "perhaps", "action": "publish", "topic": "#" }]);
        assert!(matches!(gate.connect(&client(&claims)), Connect::Deny(_)));
    }

    #[test]
    fn settings_that_would_let_nobody_do_anything_are_an_error() {
        assert!(testing::policy::<Jwt>(json!({ "issuer": "identity" })).is_err());
    }
}
