//! A live session, judged again as a whole.

use super::{MayAsk, Sitting};
use crate::policy::Host;
use crate::policy::local::Bench;
use crate::policy::notice::Hook;
use crate::policy::reason::disconnect_reason;
use crate::policy::refusal::{denied, failure, nobody_admits};
use crate::policy::terms::{Terms, combine};
use crate::policy::verdict::{RefreshCause, RefreshOutcome, RefreshVerdict, Refusal};
use crate::policy::wasm::RefreshSubject;
use std::sync::Arc;

impl Sitting {
    pub(super) fn refresh(&mut self, host: &Host, bench: &mut Bench, cause: RefreshCause) -> RefreshVerdict {
        self.follow(&bench.set);
        self.judged = self.seated;
        let verdict = self.judge_again(host, bench, cause);
        self.may_ask = MayAsk::of(&self.seats);
        verdict
    }

    fn judge_again(&mut self, host: &Host, bench: &mut Bench, cause: RefreshCause) -> RefreshVerdict {
        let mut is_changed = false;
        for position in 0..self.seats.len() {
            match self.refresh_seat(host, bench, position, cause) {
                Ok(changed) => is_changed |= changed,
                Err(refusal) => return RefreshVerdict::Deny(refusal),
            }
        }
        // [`combine`] also notices that a policy with terms has left the chain.
        let Some(combined) = combine(self.terms(), &host.shared) else {
            return RefreshVerdict::Deny(nobody_admits(self.seated));
        };
        if combined.mountpoint != self.combined.mountpoint {
            let text = Some("the mount point of a live session cannot change".to_owned());
            let refusal = Refusal {
                text,
                ..nobody_admits(self.seated)
            };
            return RefreshVerdict::Deny(refusal);
        }
        is_changed |= !combined.amount_to_the_same(&self.combined);
        self.combined = combined;
        if is_changed {
            self.cache = None;
            return RefreshVerdict::Changed(Box::new(self.combined.admission()));
        }
        RefreshVerdict::Keep
    }

    /// Of every policy that admitted the client.
    pub(super) fn terms(&self) -> impl Iterator<Item = &Arc<Terms>> {
        self.seats.iter().filter_map(|seat| seat.terms.as_ref())
    }

    /// Asks one policy again, if there is a reason to. True when its terms are new.
    fn refresh_seat(
        &mut self,
        host: &Host,
        bench: &mut Bench,
        position: usize,
        cause: RefreshCause,
    ) -> Result<bool, Refusal> {
        let generation = self.seated;
        let (Some(seat), subject) = (self.seats.get_mut(position), &self.subject) else {
            return Ok(false);
        };
        let Some(policy) = bench.set.policies.get(seat.index()) else {
            return Ok(false);
        };
        let (id, has_hook) = (policy.id, policy.exports.connect);
        let is_due = match cause {
            RefreshCause::Swap => seat.judged_by != id,
            RefreshCause::Interval => {
                seat.judged_by != id
                    || seat
                        .terms
                        .as_ref()
                        .is_some_and(|terms| terms.refresh_seconds.is_some())
            }
        };
        if !is_due {
            return Ok(false);
        }
        if !has_hook {
            // A module that admits nobody vouches for nobody its predecessor let in.
            seat.judged_by = id;
            return Ok(seat.terms.take().is_some());
        }
        let outcome = bench.call(host, seat.index(), Hook::Refresh, |instance| {
            let outcome = instance.refresh(&RefreshSubject {
                session: subject.session,
                tag: seat.tag(),
                cause,
                client_id: &subject.client_id,
                username: subject.username.as_deref(),
                principal: seat.terms.as_ref().and_then(|terms| terms.principal.as_deref()),
                attributes: seat.terms.as_ref().map_or(&[], |terms| &terms.attributes),
                peer: &subject.peer,
            })?;
            Ok(match outcome {
                RefreshOutcome::Keep => Ok(None),
                RefreshOutcome::Deny(denial) => Err(denial),
                RefreshOutcome::Admit(admission) => {
                    Ok(Some(Terms::compile(*admission, subject, &host.shared)?.0))
                }
            })
        });
        match outcome {
            Ok(Ok(new)) => {
                seat.judged_by = id;
                let is_new = new.is_some();
                seat.terms = new.or(seat.terms.take());
                Ok(is_new)
            }
            Ok(Err(denial)) => Err(denied(seat, generation, denial, disconnect_reason)),
            Err(fault) => Err(failure(seat, generation, &fault)),
        }
    }
}
