//! Bans that policies set.

use super::{Counter, Exposition};

/// What policies did with the capability `bans`. Counted by `Events::emit`.
#[derive(Debug, Default)]
pub struct PolicyBanMetrics {
    /// Bans that are in force because a policy wanted it, also where another one was there already.
    pub set: Counter,
    /// Bans that a policy wanted and did not get.
    pub refused: Counter,
}

impl PolicyBanMetrics {
    pub(super) fn render(&self, text: &mut Exposition) {
        text.counter(
            "sluice_policy_bans_total",
            "Times that a policy banned somebody.",
            &[],
            self.set.get(),
        );
        text.counter(
            "sluice_policy_bans_refused_total",
            "Times that a policy wanted somebody banned and there was no such client or no room.",
            &[],
            self.refused.get(),
        );
    }
}
