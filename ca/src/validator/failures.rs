//! Remembers the failed validations by dns-persist-01 of each account and name (section 9.3 of the draft).
//!
//! A record that stays invites to try again and again whether it is there; whoever fails too often has to wait.
//! It is kept in memory, as the other rates are: a restart forgives.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use sigillo_protocol::acme::identifier::DnsName;

use crate::model::AccountId;

/// How long a failure counts.
const COUNTS_FOR: SignedDuration = SignedDuration::from_hours(1);

/// How many accounts and names are remembered at most. Beyond that the ones that count no more are dropped,
/// and if there are none, all are: memory is worth more than this rate.
const KEYS_MAX: usize = 100_000;

type Seen = HashMap<(AccountId, DnsName), VecDeque<Timestamp>>;

/// The failures of the last hour.
pub(super) struct Failures {
    /// How many an account may have for a name; any number if `None`.
    max: Option<usize>,
    seen: Mutex<Seen>,
}

impl Failures {
    /// Takes how many an account may have for a name in an hour.
    pub(super) fn new(max: Option<u32>) -> Self {
        Self {
            max: max.map(|max| usize::try_from(max).unwrap_or(usize::MAX)),
            seen: Mutex::default(),
        }
    }

    /// Remembers one.
    pub(super) fn note(&self, account: AccountId, name: &DnsName, now: Timestamp) {
        let Some(max) = self.max else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= KEYS_MAX {
            seen.retain(|_, times| times.back().is_some_and(|last| counts(*last, now)));
        }
        if seen.len() >= KEYS_MAX {
            seen.clear();
        }
        let times = seen.entry((account, name.clone())).or_default();
        times.push_back(now);
        let surplus = times.len().saturating_sub(max);
        times.drain(..surplus);
    }

    /// Returns how long the account has to wait before it may try this name again.
    pub(super) fn wait(&self, account: AccountId, name: &DnsName, now: Timestamp) -> Option<SignedDuration> {
        let max = self.max?;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let times = seen.get(&(account, name.clone()))?;
        let oldest = *times.front().filter(|_| times.len() >= max)?;
        counts(oldest, now).then(|| COUNTS_FOR - now.duration_since(oldest))
    }
}

fn counts(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) < COUNTS_FOR
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn too_many_failures_have_to_wait_until_the_first_is_an_hour_old() {
        let failures = Failures::new(Some(2));
        let (ann, bob) = (AccountId::random(), AccountId::random());
        let [name, other]: [DnsName; 2] = ["a.example", "b.example"].map(|name| name.parse().unwrap());
        failures.note(ann, &name, at(0));
        assert_eq!(failures.wait(ann, &name, at(10)), None);
        failures.note(ann, &name, at(100));
        assert_eq!(
            failures.wait(ann, &name, at(110)),
            Some(SignedDuration::from_secs(3490))
        );
        assert_eq!(failures.wait(ann, &other, at(110)), None);
        assert_eq!(failures.wait(bob, &name, at(110)), None);
        assert_eq!(failures.wait(ann, &name, at(3600)), None);
        failures.note(ann, &name, at(3600));
        assert_eq!(
            failures.wait(ann, &name, at(3600)),
            Some(SignedDuration::from_secs(100))
        );
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let failures = Failures::new(None);
        let name = "a.example".parse().unwrap();
        let ann = AccountId::random();
        (0..1000).for_each(|second| failures.note(ann, &name, at(second)));
        assert_eq!(failures.wait(ann, &name, at(1000)), None);
        assert!(failures.seen.lock().unwrap().is_empty());
    }
}
