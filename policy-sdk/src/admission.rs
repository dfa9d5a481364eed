//! The terms on which a client is let in, and how it is turned away.

use std::time::Duration;

use crate::bindings::host::sluice::policy::types::{Admission, Budget, Denial, Grant};
use crate::reason::Reason;

/// Admission without conditions of its own is [`Admission::new`]; each of these adds one.
impl Admission {
    /// Lets the client in: no rules, no budget, no mount point.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Who the client is, for logs and for `on_refresh`. The first policy of the chain that says so decides.
    #[must_use]
    pub fn principal(mut self, name: impl Into<String>) -> Self {
        self.principal = Some(name.into());
        self
    }

    /// Puts this before every topic of the client, which does not see it. It must be a topic name ending in `/`.
    #[must_use]
    pub fn mountpoint(mut self, prefix: impl Into<String>) -> Self {
        self.mountpoint = Some(prefix.into());
        self
    }

    /// Adds an attribute, for `%a{name}` in grants and for `on_refresh`.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// Handed back in every later call: the policy's whole memory of the client.
    #[must_use]
    pub fn tag(mut self, tag: u64) -> Self {
        self.tag = tag;
        self
    }

    /// Rules the broker applies itself: the first that matches decides, none that matches refuses. Without grants
    /// the policy's `on_publish` and `on_subscribe` are asked, if it has them. At most [`crate::GRANTS_MAX`].
    #[must_use]
    pub fn grants(mut self, grants: impl IntoIterator<Item = Grant>) -> Self {
        self.grants.get_or_insert_default().extend(grants);
        self
    }

    /// What the broker enforces for the client.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Asks `on_refresh` every so often; whole seconds, at least one.
    #[must_use]
    pub fn refresh_every(mut self, time: Duration) -> Self {
        self.refresh_seconds = Some(u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1));
        self
    }

    /// Tells the client to use this keep alive instead of its own.
    #[must_use]
    pub fn keep_alive_seconds(mut self, seconds: u16) -> Self {
        self.connack.server_keep_alive_seconds = Some(seconds);
        self
    }

    /// Tells the client something in words.
    #[must_use]
    pub fn reason_string(mut self, text: impl Into<String>) -> Self {
        self.connack.reason_string = Some(text.into());
        self
    }

    /// Adds a user property to CONNACK.
    #[must_use]
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.connack.user_properties.push((name.into(), value.into()));
        self
    }

    /// What a client that asks for it is told to build its response topics from.
    #[must_use]
    pub fn response_information(mut self, text: impl Into<String>) -> Self {
        self.connack.response_information = Some(text.into());
        self
    }

    /// The last data of an enhanced authentication.
    #[must_use]
    pub fn auth_data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.connack.auth_data = Some(data.into());
        self
    }
}

impl Denial {
    /// Says why in words, to the client and to the broker's log.
    #[must_use]
    pub fn because(mut self, text: impl Into<String>) -> Self {
        self.reason_string = Some(text.into());
        self
    }

    /// Names another server to use, with [`Reason::UseAnotherServer`] or [`Reason::ServerMoved`].
    #[must_use]
    pub fn server_reference(mut self, server: impl Into<String>) -> Self {
        self.server_reference = Some(server.into());
        self
    }
}

impl Default for Denial {
    fn default() -> Self {
        Self::from(Reason::NotAuthorized)
    }
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self {
            reason: reason.code(),
            reason_string: None,
            server_reference: None,
        }
    }
}
