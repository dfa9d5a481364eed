//! Where in a certificate a client has its user name.

use serde::Deserialize;
use sluice_policy::Certificate;

/// In the words of a listener's `identity`.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Field {
    Cn,
    SanDns,
    SanUri,
    SanEmail,
    Fingerprint,
}

impl Field {
    /// The name, if it is the only one there.
    pub(super) fn name_in(self, certificate: &Certificate) -> Option<&str> {
        let names = match self {
            Self::Cn => certificate.subject_cn.as_slice(),
            Self::SanDns => &certificate.san_dns,
            Self::SanUri => &certificate.san_uri,
            Self::SanEmail => &certificate.san_email,
            Self::Fingerprint => std::slice::from_ref(&certificate.fingerprint_sha256),
        };
        let (name, others) = names.split_first()?;
        let is_only = !name.is_empty() && others.iter().all(|other| other == name);
        is_only.then_some(name)
    }
}
