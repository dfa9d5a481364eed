//! Bans that policies set, capability `bans`: short ones, of few, never in the way of what the operator says.

use super::Hub;
use super::bans::{Ban, BanError, BannedBy, Bans, Placed, REASON_BYTES_MAX, Subject};
use crate::config::quantity::duration_text;
use crate::event::{Event, PolicyEvent};
use crate::network::Network;
use crate::policy::{BanKeeper, BanOrder, BanTarget};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// Longest ban of a policy, in seconds: a day, after which a mistake of the policy has healed.
const SECONDS_MAX: u32 = 24 * 60 * 60;
/// Longest client identifier or user name a policy may ban, in bytes: 10,000 of each policy are kept.
const NAME_BYTES_MAX: usize = 1024;
/// Longer than every address with a prefix is.
const ADDRESS_BYTES_MAX: usize = 64;
/// Fewest bits of an address that a policy may ban: no single call keeps everybody out.
const V4_PREFIX_MIN: u8 = 16;
const V6_PREFIX_MIN: u8 = 32;
/// Bans whose connections wait to be ended; further ones are refused.
const ENDING_MAX: usize = 1024;

/// Takes the orders of policies.
pub struct PolicyBans {
    hub: Hub,
    ending: mpsc::Sender<Subject>,
}

/// Those whose connections are to be ended: for [`Hub::end_banned`].
pub struct Banned(mpsc::Receiver<Subject>);

impl Hub {
    /// Who takes the orders of policies, and what is to be done then.
    #[must_use]
    pub fn policy_bans(&self) -> (PolicyBans, Banned) {
        let (ending, banned) = mpsc::channel(ENDING_MAX);
        let hub = self.clone();
        (PolicyBans { hub, ending }, Banned(banned))
    }

    /// Ends the connections of those whom policies ban, as long as there is somebody who takes their orders. All who wait
    /// cost one look at every session, on a thread that may take its time.
    pub async fn end_banned(self, mut banned: Banned) {
        let mut subjects = Vec::new();
        while banned.0.recv_many(&mut subjects, ENDING_MAX).await > 0 {
            let (hub, subjects) = (self.clone(), std::mem::take(&mut subjects));
            // It fails only when the process ends.
            let _ = tokio::task::spawn_blocking(move || hub.end_all(subjects)).await;
        }
    }

    fn end_all(&self, subjects: Vec<Subject>) {
        let now = SystemTime::now();
        let mut meant = Bans::default();
        for subject in subjects {
            let ban = Ban {
                subject,
                reason: String::new(),
                by: BannedBy::Broker,
                since: now,
                until: None,
            };
            // They have been bans before, and are few.
            let _ = meant.insert(ban, now);
        }
        self.end_connections("banned by a policy", |id, caller| {
            meant.find(id, caller, now).is_some()
        });
    }
}

impl PolicyBans {
    /// What the log says of it, either way.
    fn place(&self, policy: &str, order: BanOrder) -> Result<String, String> {
        let subject = subject(order.target).map_err(|why| format!("nobody is banned: {why}"))?;
        let refused = |why: &str| format!("{subject} is not banned: {why}");
        let ending = self.ending.try_reserve();
        let ending = ending.map_err(|_| refused("too many connections are being ended"))?;
        let length = Duration::from_secs(order.seconds.clamp(1, SECONDS_MAX).into());
        let mut reason = order.why;
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        let since = SystemTime::now();
        let placed = self.hub.keep_out(Ban {
            subject: subject.clone(),
            reason: reason.clone(),
            by: BannedBy::Policy(policy.into()),
            since,
            until: since.checked_add(length),
        });
        let text = match placed {
            Ok(Placed::Begun) => format!("{subject} is banned for {}: {reason}", duration_text(length)),
            Ok(Placed::Kept) => format!("{subject} is banned already: {reason}"),
            Err(BanError::TooMany) => return Err(refused("the list is full")),
            Err(error) => return Err(refused(&error.to_string())),
        };
        // Also if it was banned before: whoever was banned without being sent away is now.
        ending.send(subject);
        Ok(text)
    }
}

impl BanKeeper for PolicyBans {
    fn ban(&self, policy: &str, order: BanOrder) -> bool {
        let placed = self.place(policy, order);
        let is_set = placed.is_ok();
        let text = &placed.unwrap_or_else(|why| why);
        let event = PolicyEvent::Ban { policy, is_set, text };
        self.hub.events().emit(Event::Policy(event));
        is_set
    }

    fn unban(&self, policy: &str, target: BanTarget) -> bool {
        let Ok(subject) = subject(target) else {
            return false;
        };
        let by = BannedBy::Policy(policy.into());
        let was_banned = self.hub.unban_own(&by, &subject);
        if was_banned {
            let text = &format!("{subject} may come in again");
            let event = PolicyEvent::Unban { policy, text };
            self.hub.events().emit(Event::Policy(event));
        }
        was_banned
    }
}

/// Whom a policy means, if it may ban them.
fn subject(target: BanTarget) -> Result<Subject, String> {
    match target {
        BanTarget::ClientId(name) => self::name(name).map(Subject::Client),
        BanTarget::UserName(name) => self::name(name).map(Subject::User),
        BanTarget::Address(text) => network(&text).map(Subject::Address),
    }
}

fn name(name: String) -> Result<String, String> {
    match name.len() {
        1..=NAME_BYTES_MAX => Ok(name),
        len => Err(format!(
            "a name of {len} bytes; it may have 1 to {NAME_BYTES_MAX}"
        )),
    }
}

fn network(text: &str) -> Result<Network, String> {
    if text.len() > ADDRESS_BYTES_MAX {
        return Err("a text that is too long for an address".to_owned());
    }
    let network: Network = text.parse()?;
    let prefix_min = match network.is_v4() {
        true => V4_PREFIX_MIN,
        false => V6_PREFIX_MIN,
    };
    match network.prefix() >= prefix_min {
        true => Ok(network),
        false => Err(format!(
            "{network} is too many addresses for a policy, which may ban a /{V4_PREFIX_MIN} of IPv4 or a \
             /{V6_PREFIX_MIN} of IPv6"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Caller, testing};

    fn start() -> (PolicyBans, Banned) {
        testing::hub().policy_bans()
    }

    fn order(target: BanTarget, seconds: u32) -> BanOrder {
        BanOrder {
            target,
            seconds,
            why: "it floods".to_owned(),
        }
    }

    fn client(id: &str) -> BanTarget {
        BanTarget::ClientId(id.to_owned())
    }

    fn counted(bans: &PolicyBans) -> (u64, u64) {
        let counters = &bans.hub.metrics().policy_bans;
        (counters.set.get(), counters.refused.get())
    }

    #[test]
    fn a_policy_bans_whom_it_may_and_no_one_else() {
        let (bans, _banned) = start();
        let name = |len| "x".repeat(len);
        let address = |text: &str| BanTarget::Address(text.to_owned());
        let may = [
            client("c"),
            client(&name(NAME_BYTES_MAX)),
            BanTarget::UserName("u".to_owned()),
            address("192.0.2.1"),
            address("10.1.0.0/16"),
            address("::ffff:10.2.0.0/112"),
            address("2001:db8::/32"),
        ];
        for target in may.clone() {
            assert!(bans.ban("gate", order(target.clone(), 60)), "{target:?}");
        }
        let may_not = [
            client(""),
            client(&name(NAME_BYTES_MAX + 1)),
            BanTarget::UserName(String::new()),
            address(""),
            address("example.org"),
            address("10.0.0.1/16"),
            address("10.0.0.0/15"),
            address("0.0.0.0/0"),
            address("::ffff:10.0.0.0/111"),
            address("2001:db8::/31"),
            address("::/0"),
            address(&name(ADDRESS_BYTES_MAX + 1)),
        ];
        for target in may_not.clone() {
            assert!(!bans.ban("gate", order(target.clone(), 60)), "{target:?}");
            assert!(!bans.unban("gate", target));
        }
        assert_eq!(counted(&bans), (may.len() as u64, may_not.len() as u64));
        assert_eq!(bans.hub.bans().len(), may.len());
    }

    #[test]
    fn it_ends_by_itself_after_a_day_at_most_and_says_why() {
        let (bans, _banned) = start();
        for (seconds, lasts) in [
            (0, 1),
            (1, 1),
            (86_400, 86_400),
            (86_401, 86_400),
            (u32::MAX, 86_400),
        ] {
            let id = seconds.to_string();
            let why = "\u{e4}".repeat(REASON_BYTES_MAX);
            let order = BanOrder {
                why,
                ..order(client(&id), seconds)
            };
            assert!(bans.ban("gate", order));
            let all = bans.hub.bans();
            let ban = all.iter().find(|ban| ban.subject == Subject::Client(id.clone()));
            let ban = ban.expect("it is in force");
            assert_eq!(
                ban.until,
                Some(ban.since + Duration::from_secs(lasts)),
                "{seconds}"
            );
            assert_eq!(ban.by, BannedBy::Policy("gate".into()));
            assert_eq!(ban.reason.len(), REASON_BYTES_MAX);
        }
    }

    #[test]
    fn a_policy_takes_back_its_own_ban_and_no_other() {
        let (bans, _banned) = start();
        let operators = Ban {
            subject: Subject::Client("operators".to_owned()),
            reason: String::new(),
            by: BannedBy::Operator,
            since: SystemTime::now(),
            until: None,
        };
        bans.hub.ban(operators.clone()).expect("room");
        assert!(bans.ban("gate", order(client("operators"), 60)), "it is banned");
        assert!(bans.ban("gate", order(client("c"), 60)));
        assert!(!bans.unban("gate", client("operators")) && !bans.unban("other", client("c")));
        assert!(bans.hub.banned("c", &Caller::default()).is_some());
        assert!(bans.unban("gate", client("c")) && !bans.unban("gate", client("c")));
        assert_eq!(bans.hub.bans(), [operators]);
    }

    #[test]
    fn more_than_can_be_carried_out_is_refused() {
        let (bans, mut banned) = start();
        for n in 0..ENDING_MAX {
            assert!(bans.ban("gate", order(client(&n.to_string()), 60)));
        }
        assert!(!bans.ban("gate", order(client("one more"), 60)));
        assert!(bans.hub.banned("one more", &Caller::default()).is_none());
        assert_eq!(counted(&bans), (ENDING_MAX as u64, 1));
        assert_eq!(banned.0.try_recv(), Ok(Subject::Client("0".to_owned())));
        assert!(bans.ban("gate", order(client("one more"), 60)));
        drop(banned);
        assert!(
            !bans.ban("gate", order(client("at the end"), 60)),
            "nobody ends it"
        );
    }
}
