//! What policies ask about bans: capability `bans`.

/// Keeps the bans of policies. Called from inside a policy's call, so it may take no longer than a change of a list takes;
/// connections it ends after the call.
pub trait BanKeeper: Send + Sync {
    /// Bans somebody on behalf of the policy of this name. False: the ban is not in force, and nothing else is in its
    /// place.
    fn ban(&self, policy: &str, order: BanOrder) -> bool;
    /// Takes back a ban that this policy set. False: there is none.
    fn unban(&self, policy: &str, target: BanTarget) -> bool;
}

/// Whom a policy means, as it says it: nothing of it has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BanTarget {
    /// Everybody with this client identifier.
    ClientId(String),
    /// Everybody with this user name.
    UserName(String),
    /// An IP address, or PREFIX/LENGTH.
    Address(String),
}

/// A ban that a policy wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanOrder {
    /// Whom it is about.
    pub target: BanTarget,
    /// For how long, as the policy says it.
    pub seconds: u32,
    /// Why, without anything that cannot be printed.
    pub why: String,
}

/// Takes every ban and keeps none: for a module that is only tried.
pub(super) struct NoBans;

impl BanKeeper for NoBans {
    fn ban(&self, _: &str, _: BanOrder) -> bool {
        true
    }

    fn unban(&self, _: &str, _: BanTarget) -> bool {
        false
    }
}
