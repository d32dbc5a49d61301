//! The watch over the clock: what states the time of a status is not signed when time went back.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// How far the clock may step back unnoticed: what time synchronisation does while it slews.
pub const STEP_BACK_MAX: SignedDuration = SignedDuration::from_secs(5);

/// The clock shows an earlier time than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the clock went back from {latest} to {now}; nothing is signed until it has caught up")]
pub struct ClockWentBack {
    /// The latest time that was seen.
    pub latest: Timestamp,
    /// What the clock shows now.
    pub now: Timestamp,
}

/// Remembers the latest time that was seen.
#[derive(Debug)]
pub struct TimeGuard {
    latest_microsecond: AtomicI64,
}

impl Default for TimeGuard {
    fn default() -> Self {
        Self {
            latest_microsecond: AtomicI64::new(i64::MIN),
        }
    }
}

impl TimeGuard {
    /// Takes note of a time that is known to have passed, such as that of the last CRL.
    pub fn note(&self, past: Timestamp) {
        self.latest_microsecond
            .fetch_max(past.as_microsecond(), Ordering::SeqCst);
    }

    /// Returns `now` if it is not before what was seen, give or take [`STEP_BACK_MAX`].
    ///
    /// # Errors
    /// When the clock went back.
    pub fn check(&self, now: Timestamp) -> Result<Timestamp, ClockWentBack> {
        let before = self
            .latest_microsecond
            .fetch_max(now.as_microsecond(), Ordering::SeqCst);
        let latest = Timestamp::from_microsecond(before).unwrap_or(Timestamp::MIN);
        if latest.duration_since(now) > STEP_BACK_MAX {
            Err(ClockWentBack { latest, now })
        } else {
            Ok(now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_clock_that_went_back_until_it_has_caught_up() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let guard = TimeGuard::default();
        assert!(guard.check(at(1000)).is_ok());
        assert!(guard.check(at(995)).is_ok(), "a slewing clock is no alarm");
        assert_eq!(
            guard.check(at(994)),
            Err(ClockWentBack {
                latest: at(1000),
                now: at(994)
            })
        );
        assert!(guard.check(at(996)).is_ok());
        guard.note(at(2000));
        assert!(guard.check(at(1001)).is_err());
    }
}
