//! Which of several certificates a client gets: by the name it asks for (SNI, RFC 6066 section 3), then by the
//! signatures it understands.

use super::finding::Finding;
use super::material::Material;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// The certificates of a listener.
#[derive(Debug)]
pub(super) struct ByName {
    /// For clients that ask for no name or one that is in no certificate: the first, then those that share a name with
    /// it, which are the same host's with other kinds of keys.
    default: Vec<Arc<CertifiedKey>>,
    /// Of wildcards without `*.`.
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    /// In the order of the configuration. The second part says what no client will ever get.
    pub(super) fn new(certificates: &[Material]) -> (Self, Vec<Finding>) {
        let mut by_name = Self {
            default: Vec::new(),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        };
        let mut warnings = Vec::new();
        for (index, material) in certificates.iter().enumerate() {
            let default = certificates.first();
            let is_default = index == 0 || default.is_some_and(|first| shares_name(first, material));
            if is_default {
                by_name.default.push(Arc::clone(&material.certified));
            }
            for name in &material.names {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut by_name.wildcard, parent),
                    None => (&mut by_name.exact, name.as_str()),
                };
                let candidates = table.entry(name.to_owned()).or_default();
                candidates.push(Arc::clone(&material.certified));
            }
            if index > 0
                && let Some(what) = unused(material, certificates.get(..index).unwrap_or_default())
            {
                let key = format!("sni[{}].certificate", index - 1);
                let remedy = "remove it, or use one with other names or another kind of key";
                warnings.push(Finding::new(key, what, remedy));
            }
        }
        (by_name, warnings)
    }

    /// In the order in which they are tried.
    pub(super) fn candidates(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase).unwrap_or_default();
        // A wildcard stands for one label (RFC 9525 section 6.3).
        let parent = name.split_once('.').map_or("", |(_, parent)| parent);
        let exact = self.exact.get(&name).into_iter().flatten();
        let wildcard = self.wildcard.get(parent).into_iter().flatten();
        exact.chain(wildcard).chain(&self.default)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let understood = hello.signature_schemes();
        let mut candidates = self.candidates(hello.server_name()).peekable();
        let first = candidates.peek().copied();
        let chosen = candidates.find(|certified| certified.key.choose_scheme(understood).is_some());
        // Of one that it does not understand the client is told that the two have nothing in common; of none, that it
        // may not come in.
        chosen.or(first).cloned()
    }
}

fn shares_name(one: &Material, other: &Material) -> bool {
    !one.names.is_disjoint(&other.names)
}

/// Why a certificate is never chosen, if it is so.
fn unused(material: &Material, earlier: &[Material]) -> Option<&'static str> {
    if material.names.is_empty() {
        return Some("names no host, so that no client can ask for it");
    }
    let kind = material.certified.key.algorithm();
    let same_kind = earlier
        .iter()
        .filter(|other| other.certified.key.algorithm() == kind);
    let taken: BTreeSet<&String> = same_kind.flat_map(|other| &other.names).collect();
    let all_taken = material.names.iter().all(|name| taken.contains(name));
    all_taken.then_some("has only names that certificates before it have, with the same kind of key")
}
