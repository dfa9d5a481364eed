//! Who has been served how much, as by an ideal round robin.
//!
//! The *virtual time* is what each waiting client has been served since the beginning: `serve(n)` lets it grow by `n`
//! divided by the number of those who wait. A client that owes `n` has paid once virtual time has grown by `n` from
//! where it began: a loud client gets its part and not more, and one that wants less than its part has always paid by
//! the time it comes back. (Demers, Keshav and Shenker, "Analysis and Simulation of a Fair Queueing Algorithm", 1989.)

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A client's place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(u32);

/// Clients and what they owe. Grows with the number of clients that have had to wait, and of debts of those who left.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    virtual_time: f64,
    places: Vec<Debtor>,
    free: Vec<u32>,
    /// One entry for each that waits, at the finish it had when it was put there or an earlier one.
    waiting: BinaryHeap<Reverse<Turn>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Debtor {
    /// The virtual time at which everything is paid.
    finish: f64,
    is_waiting: bool,
    has_left: bool,
}

#[derive(Debug)]
struct Turn {
    finish: f64,
    place: u32,
}

impl FairQueue {
    pub(super) fn join(&mut self) -> Place {
        let debtor = Debtor::default();
        if let Some(free) = self.free.pop()
            && let Some(place) = self.places.get_mut(free as usize)
        {
            *place = debtor;
            return Place(free);
        }
        self.places.push(debtor);
        // As many clients as this would need more memory than there is.
        Place(u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX))
    }

    /// The place is free once its debt is paid.
    pub(super) fn leave(&mut self, Place(index): Place) {
        if let Some(debtor) = self.places.get_mut(index as usize) {
            debtor.has_left = true;
            if !debtor.is_waiting {
                self.free.push(index);
            }
        }
    }

    pub(super) fn charge(&mut self, Place(index): Place, n: f64) {
        let Some(debtor) = self.places.get_mut(index as usize) else {
            return;
        };
        debtor.finish = debtor.finish.max(self.virtual_time) + n;
        if !std::mem::replace(&mut debtor.is_waiting, true) {
            let finish = debtor.finish;
            self.waiting.push(Reverse(Turn { finish, place: index }));
        }
    }

    /// What is still to be paid.
    pub(super) fn owed(&self, Place(index): Place) -> f64 {
        let debtor = self.places.get(index as usize);
        debtor.map_or(0.0, |debtor| (debtor.finish - self.virtual_time).max(0.0))
    }

    /// How many wait, at least 1.
    pub(super) fn waiting(&self) -> f64 {
        f64::from(u32::try_from(self.waiting.len().max(1)).unwrap_or(u32::MAX))
    }

    /// Gives `n` to those who wait, each the same part, until they have paid.
    pub(super) fn serve(&mut self, mut n: f64) {
        while let Some(Reverse(first)) = self.waiting.peek() {
            let waiting = self.waiting();
            let until_first = (first.finish - self.virtual_time).max(0.0) * waiting;
            if n < until_first {
                self.virtual_time += n / waiting;
                return;
            }
            n -= until_first;
            self.virtual_time = self.virtual_time.max(first.finish);
            self.paid();
        }
    }

    /// The first one's turn has come: it has paid, or has moved more meanwhile.
    fn paid(&mut self) {
        let Some(Reverse(Turn { place, .. })) = self.waiting.pop() else {
            return;
        };
        let Some(debtor) = self.places.get_mut(place as usize) else {
            return;
        };
        if debtor.finish > self.virtual_time {
            let finish = debtor.finish;
            self.waiting.push(Reverse(Turn { finish, place }));
            return;
        }
        debtor.is_waiting = false;
        if debtor.has_left {
            self.free.push(place);
        }
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.finish
            .total_cmp(&other.finish)
            .then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_wait_are_served_in_equal_parts_until_they_have_paid() {
        let mut queue = FairQueue::default();
        let (small, large) = (queue.join(), queue.join());
        queue.charge(small, 10.0);
        queue.charge(large, 100.0);
        queue.serve(10.0);
        assert_eq!((queue.owed(small), queue.owed(large)), (5.0, 95.0));
        queue.serve(20.0);
        assert_eq!((queue.owed(small), queue.owed(large)), (0.0, 80.0));
        assert_eq!(queue.waiting(), 1.0);
        queue.charge(small, 1.0);
        queue.serve(2.0);
        assert_eq!((queue.owed(small), queue.owed(large)), (0.0, 79.0));
        queue.serve(1_000.0);
        assert_eq!((queue.owed(large), queue.waiting.len()), (0.0, 0));
    }

    #[test]
    fn a_debt_that_grows_keeps_its_place() {
        let mut queue = FairQueue::default();
        let (first, second) = (queue.join(), queue.join());
        queue.charge(first, 10.0);
        queue.charge(second, 20.0);
        queue.charge(first, 30.0);
        queue.serve(40.0);
        assert_eq!((queue.owed(first), queue.owed(second)), (20.0, 0.0));
    }

    #[test]
    fn who_leaves_in_debt_is_served_and_then_forgotten() {
        let mut queue = FairQueue::default();
        let (leaving, staying) = (queue.join(), queue.join());
        queue.charge(leaving, 10.0);
        queue.charge(staying, 10.0);
        queue.leave(leaving);
        queue.serve(10.0);
        assert_eq!(queue.owed(staying), 5.0);
        queue.serve(10.0);
        assert_eq!(queue.free.len(), 1);
        for _ in 0..1_000 {
            let passing = queue.join();
            queue.charge(passing, 1.0);
            queue.leave(passing);
            queue.serve(1.0);
        }
        assert_eq!(queue.places.len(), 2, "places are used again");
    }
}
