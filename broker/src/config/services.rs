//! Services that policies may ask, issuers of tokens, and what of them a policy is granted.

use super::table::{Parsed, Table, Wrong};
use super::value;
use super::{Config, PolicyConfig};
use crate::network::Network;
use crate::policy::spec::{HeaderSpec, IssuerSpec, Secret, ServiceSpec, ServiceUrl};
use crate::policy::{Capability, CapabilitySet, Resource, Resources};
use std::path::Path;
use std::time::Duration;
use toml::de::DeValue;

/// All `[[service]]` and `[[jwt]]` of a document.
pub(super) fn read(root: &mut Table<'_, '_>, config: &mut Config, base: &Path) {
    let services = root.tables("service").unwrap_or_default();
    config.services = services
        .into_iter()
        .filter_map(|table| service(table, base))
        .collect();
    let issuers = root.tables("jwt").unwrap_or_default();
    config.issuers = issuers
        .into_iter()
        .filter_map(|table| issuer(table, base))
        .collect();
}

fn service(mut table: Table<'_, '_>, base: &Path) -> Option<ServiceSpec> {
    let name = table.required("name", value::name);
    let url = table.required("url", url);
    // Without them there is a problem, and the configuration is not used.
    let placeholder: ServiceUrl = "http://0.0.0.0".parse().ok()?;
    let mut spec = ServiceSpec::new("", placeholder);
    let t = &mut table;
    t.read(
        "timeout",
        &mut spec.timeout,
        value::duration(MILLISECOND..=MINUTE),
    );
    t.read(
        "in_flight_max",
        &mut spec.in_flight_max,
        value::integer(1..=65_535),
    );
    t.read("queue_max", &mut spec.queue_max, value::integer(0..=1_000_000));
    t.read(
        "response_bytes_max",
        &mut spec.response_bytes_max,
        value::size(256..=1 << 20),
    );
    t.read(
        "cache_bytes_max",
        &mut spec.cache_bytes_max,
        value::size(0..=1 << 30),
    );
    t.read(
        "cache_time_max",
        &mut spec.cache_time_max,
        value::duration(Duration::ZERO..=DAY),
    );
    t.read(
        "failures_max",
        &mut spec.failures_max,
        value::integer(1..=1_000_000),
    );
    t.read(
        "retry_after",
        &mut spec.retry_after,
        value::duration(MILLISECOND..=HOUR),
    );
    spec.allow_addresses = t.value("allow_addresses", networks);
    spec.ca = t.value("ca", value::path(base));
    let certificate = t.value("certificate", value::path(base));
    let key = t.value("key", value::path(base));
    spec.identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            let wrong = Wrong::new("has one of `certificate` and `key`", "write both, or none");
            t.problem("", wrong);
            None
        }
    };
    let headers = t.tables("headers").unwrap_or_default();
    spec.headers = headers
        .into_iter()
        .filter_map(|table| header(table, base))
        .collect();
    if let Some(url) = &url {
        check(t, &spec, url);
    }
    table.finish();
    Some(ServiceSpec {
        name: name?,
        url: url?,
        ..spec
    })
}

/// What the parts of a service must be to each other.
fn check(table: &Table<'_, '_>, spec: &ServiceSpec, url: &ServiceUrl) {
    if !url.is_https() && (spec.ca.is_some() || spec.identity.is_some()) {
        let what = "has files for encryption, but its url begins with http://";
        table.problem("url", Wrong::new(what, "write https://, or remove them"));
    }
    if spec.allow_addresses.is_none() && url.host().eq_ignore_ascii_case("localhost") {
        let what = "is a name for this machine, and names must not lead here unless you say so";
        let remedy = "write the address, http://127.0.0.1, or allow_addresses = [\"127.0.0.0/8\", \"::1\"]";
        table.problem("url", Wrong::new(what, remedy));
    }
}

fn header(mut table: Table<'_, '_>, base: &Path) -> Option<HeaderSpec> {
    let name = table.required("name", text);
    let secret = secret(&mut table, base, "value");
    table.finish();
    Some(HeaderSpec {
        name: name?,
        value: secret?,
    })
}

/// A text that stands here, in a file or in an environment variable: exactly one of them.
fn secret(table: &mut Table<'_, '_>, base: &Path, here: &'static str) -> Option<Secret> {
    let said = [
        table.value(here, text).map(Secret::Text),
        table.value("file", value::path(base)).map(Secret::File),
        table.value("env", text).map(Secret::Env),
    ];
    let mut said = said.into_iter().flatten();
    match (said.next(), said.next()) {
        (Some(secret), None) => Some(secret),
        (None, _) => {
            let remedy = format!("write one of `{here}`, `file` and `env`");
            table.problem("", Wrong::new("has no value", remedy));
            None
        }
        (Some(_), Some(_)) => {
            let remedy = format!("keep one of `{here}`, `file` and `env`");
            table.problem("", Wrong::new("has several values", remedy));
            None
        }
    }
}

fn issuer(mut table: Table<'_, '_>, base: &Path) -> Option<IssuerSpec> {
    let name = table.required("name", value::name);
    let mut spec = IssuerSpec::new("");
    let t = &mut table;
    if let Some(files) = t.value("keys", value::texts) {
        spec.keys = files.iter().map(|file| base.join(file)).collect();
    }
    spec.secret = t.table("secret").and_then(|mut table| {
        let secret = secret(&mut table, base, "value");
        table.finish();
        secret
    });
    t.read("algorithms", &mut spec.algorithms, algorithms);
    t.read("issuers", &mut spec.issuers, value::texts);
    t.read("audiences", &mut spec.audiences, value::texts);
    t.read("leeway", &mut spec.leeway, value::seconds(Duration::ZERO..=HOUR));
    if spec.keys.is_empty() && spec.secret.is_none() {
        let remedy = "write keys = [\"issuer.pem\"], or secret = { file = \"...\" }";
        t.problem("", Wrong::new("has no keys: no token could be right", remedy));
    }
    table.finish();
    Some(IssuerSpec { name: name?, ..spec })
}

fn url(value: &DeValue<'_>) -> Parsed<ServiceUrl> {
    let text = text(value)?;
    let remedy = "write where it is, such as \"https://auth.example:8443/mqtt\"";
    text.parse()
        .map_err(|wrong: String| Wrong::new(format!("\"{text}\" {wrong}"), remedy))
}

fn text(value: &DeValue<'_>) -> Parsed<String> {
    match value.as_str() {
        Some("") => Err(Wrong::new("is empty", "write a text")),
        Some(text) => Ok(text.to_owned()),
        None => Err(Wrong::new(
            format!("is of the wrong type ({})", value.type_str()),
            "write a text in quotes",
        )),
    }
}

fn networks(value: &DeValue<'_>) -> Parsed<Vec<Network>> {
    let texts = value::texts(value)?;
    if texts.is_empty() {
        return Err(Wrong::new("allows nothing", "name addresses, or remove the key"));
    }
    let network = |text: String| text.parse().map_err(|wrong: String| Wrong::new(wrong, ""));
    texts.into_iter().map(network).collect()
}

fn algorithms(value: &DeValue<'_>) -> Parsed<Vec<String>> {
    let texts = value::texts(value)?;
    for text in &texts {
        if !ALGORITHMS.contains(&text.as_str()) {
            let remedy = format!("use some of {}", ALGORITHMS.join(", "));
            return Err(Wrong::new(format!("\"{text}\" is not known here"), remedy));
        }
    }
    Ok(texts)
}

/// The capabilities of a policy, and the services and issuers it may ask.
pub(super) fn capabilities(list: &DeValue<'_>) -> Parsed<(CapabilitySet, Resources)> {
    let (mut capabilities, mut resources) = (CapabilitySet::default(), Resources::new());
    for text in value::texts(list)? {
        match Resource::parse(&text) {
            Some(resource) => drop(resources.insert(resource)),
            None => {
                let capability: Result<Capability, _> = text.parse();
                let capability = capability.map_err(|unknown| Wrong::new(unknown.to_string(), ""))?;
                capabilities = capabilities.with(capability);
            }
        }
    }
    Ok((capabilities, resources))
}

/// Names are unique, and what a policy is granted exists.
pub(super) fn relations(root: &Table<'_, '_>, config: &Config) {
    let services: Vec<&str> = config
        .services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    let issuers: Vec<&str> = config.issuers.iter().map(|issuer| issuer.name.as_str()).collect();
    for (key, names) in [("service", &services), ("jwt", &issuers)] {
        for (index, name) in names.iter().enumerate() {
            if names.iter().take(index).any(|earlier| earlier == name) {
                let wrong = Wrong::new(format!("the name \"{name}\" is taken"), "every one has its own");
                root.problem(&format!("{key}[{index}].name"), wrong);
            }
        }
    }
    for policy in &config.policies {
        for resource in &policy.resources {
            let (kind, name, names) = match resource {
                Resource::Service(name) => ("service", name, &services),
                Resource::Issuer(name) => ("jwt", name, &issuers),
            };
            if !names.contains(&name.as_str()) {
                unknown(root, policy, kind, name);
            }
        }
    }
}

fn unknown(root: &Table<'_, '_>, policy: &PolicyConfig, kind: &str, name: &str) {
    let what = format!("there is no {kind} \"{name}\"");
    let remedy = format!("add [[{kind}]] with name = \"{name}\", or correct the name");
    let key = format!("policy.{}.capabilities", policy.name);
    root.problem(&key, Wrong::new(what, remedy));
}

/// RFC 7518 section 3.1 and RFC 8037.
const ALGORITHMS: [&str; 12] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
    "EdDSA",
];
const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../../sluice.toml");

    fn parse(text: &str) -> Result<Config, Vec<String>> {
        Config::parse(Path::new("/etc/sluice.toml"), text)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    /// The examples of the sample, made valid.
    fn examples() -> String {
        let lines = SAMPLE.lines().skip_while(|line| *line != "# [[service]]");
        let lines = lines.take_while(|line| !line.starts_with('['));
        let is_key = |line: &&str| {
            let key = line.split(" = ").next().unwrap_or_default();
            line.starts_with("[[") || line.contains(" = ") && !key.contains(' ')
        };
        let uncommented = lines.filter_map(|line| line.strip_prefix("# ")).filter(is_key);
        uncommented.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn the_sample_shows_every_key_and_its_default() {
        let config = parse(&examples()).unwrap_or_else(|problems| panic!("{problems:#?}\n{}", examples()));
        let [service] = &config.services[..] else {
            panic!("{:?}", config.services);
        };
        let expected = ServiceSpec {
            allow_addresses: service.allow_addresses.clone(),
            headers: service.headers.clone(),
            ca: service.ca.clone(),
            identity: service.identity.clone(),
            ..ServiceSpec::new("accounts", service.url.clone())
        };
        assert_eq!(service, &expected);
        let shown = [
            service.ca.is_some(),
            service.identity.is_some(),
            service.allow_addresses.is_some(),
        ];
        assert_eq!((shown, service.headers.len()), ([true; 3], 2));
        let [issuer] = &config.issuers[..] else {
            panic!("{:?}", config.issuers);
        };
        assert_eq!(
            (issuer.name.as_str(), issuer.leeway),
            ("identity", Duration::ZERO)
        );
        assert!(issuer.secret.is_some() && !issuer.keys.is_empty() && !issuer.algorithms.is_empty());
        assert!(!issuer.issuers.is_empty() && !issuer.audiences.is_empty());
    }

    #[test]
    fn what_is_granted_is_named_with_its_kind() {
        let config = parse(
            "[[service]]\nname = \"a\"\nurl = \"http://127.0.0.1:1\"\n[[jwt]]\nname = \"i\"\nkeys = [\"k\"]\n\
             [policy.users]\ncapabilities = [\"kv\", \"http:a\", \"jwt:i\"]\n",
        )
        .expect("no problems");
        let policy = &config.policies[0];
        assert!(policy.capabilities.contains(Capability::Kv));
        let granted: Vec<String> = policy.resources.iter().map(ToString::to_string).collect();
        assert_eq!(granted, ["http:a", "jwt:i"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_remedy() {
        const URL: &str = "[[service]]\nname = \"a\"\nurl = \"https://192.0.2.1\"\n";
        for (text, expected) in [
            (
                "[[service]]\nname = \"a\"\nurl = \"auth.example\"\n".to_owned(),
                "/etc/sluice.toml:3: service[0].url: \"auth.example\" begins neither with https:// nor with http://: \
                 write where it is, such as \"https://auth.example:8443/mqtt\"",
            ),
            (
                "[[service]]\nname = \"a\"\nurl = \"http://localhost:80\"\n".to_owned(),
                "/etc/sluice.toml:1: service[0].url: is a name for this machine, and names must not lead here unless \
                 you say so: write the address, http://127.0.0.1, or allow_addresses = [\"127.0.0.0/8\", \"::1\"]",
            ),
            (
                format!("{URL}certificate = \"c.pem\"\n"),
                "/etc/sluice.toml:1: service[0]: has one of `certificate` and `key`: write both, or none",
            ),
            (
                format!("{URL}headers = [{{ name = \"x\" }}]\n"),
                "/etc/sluice.toml:4: service[0].headers[0]: has no value: write one of `value`, `file` and `env`",
            ),
            (
                format!("{URL}headers = [{{ name = \"x\", value = \"a\", env = \"B\" }}]\n"),
                "/etc/sluice.toml:4: service[0].headers[0]: has several values: keep one of `value`, `file` and `env`",
            ),
            (
                format!("{URL}allow_addresses = [\"10.0.0.1/8\"]\n"),
                "/etc/sluice.toml:4: service[0].allow_addresses: 10.0.0.1/8 has bits behind its prefix; is it to be \
                 10.0.0.0/8?: ",
            ),
            (
                format!("{URL}timout = \"1 s\"\n"),
                "/etc/sluice.toml:4: service[0].timout: unknown key: did you mean `timeout`? Known keys here: name, \
                 url, timeout, in_flight_max, queue_max, response_bytes_max, cache_bytes_max, cache_time_max, \
                 failures_max, retry_after, allow_addresses, ca, certificate, key, headers",
            ),
            (
                format!("{URL}{URL}"),
                "/etc/sluice.toml:5: service[1].name: the name \"a\" is taken: every one has its own",
            ),
            (
                "[[jwt]]\nname = \"i\"\n".to_owned(),
                "/etc/sluice.toml:1: jwt[0]: has no keys: no token could be right: write keys = [\"issuer.pem\"], or \
                 secret = { file = \"...\" }",
            ),
            (
                "[[jwt]]\nname = \"i\"\nkeys = [\"k\"]\nalgorithms = [\"none\"]\n".to_owned(),
                "/etc/sluice.toml:4: jwt[0].algorithms: \"none\" is not known here: use some of HS256, HS384, HS512, \
                 RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
            ),
            (
                "[policy.users]\ncapabilities = [\"http:a\"]\n".to_owned(),
                "/etc/sluice.toml:2: policy.users.capabilities: there is no service \"a\": add [[service]] with name = \
                 \"a\", or correct the name",
            ),
        ] {
            let problems = parse(&text).expect_err(&text);
            assert!(
                problems.len() == 1
                    && expected
                        .trim_end_matches(": ")
                        .starts_with(problems[0].trim_end_matches(": ")),
                "{problems:#?}\n{text}"
            );
        }
    }
}
