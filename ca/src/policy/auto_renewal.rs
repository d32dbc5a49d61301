//! Short-term certificates that are renewed automatically (RFC 8739): which orders are taken, how long each
//! certificate lasts, and when the next one is begun.
//!
//! Each certificate lasts for the order's lifetime from the moment at which it is made, and the next one is
//! begun well before half of its life is over. So it is valid when it appears and there in time, none lasts longer
//! than was asked for, and what a standstill has cost is made up for by the next one
//! (`docs/decisions/0008-short-term-certificates.md`).

use jiff::{SignedDuration, Timestamp};
use sigillo_protocol::acme::{auto_renewal::AutoRenewal as Wish, problem::Problem};

use super::{
    Profile,
    profile::{Validity, ValidityRule},
};
use crate::model::{AutoRenewal, Certificate, Order, Progress, Renewing};

/// Which part of a certificate's life the next one is begun before half of it: time to ask for CAA records and
/// to sign, and for a second try.
const HEAD_START: i64 = 10;

/// Which part of what is left of a certificate's life passes at least before the next one is begun: dating back
/// alone must not make it renew all the time.
const PAUSE_MIN: i64 = 8;

/// Which part of the lifetime passes before a first failure is tried again; the pause doubles from then on.
const RETRY_PART: i64 = 16;

/// The shortest and the longest pause between two tries.
const RETRY_MIN: SignedDuration = SignedDuration::from_secs(1);
const RETRY_MAX: SignedDuration = SignedDuration::from_hours(1);

/// How long an intention may take to become a certificate before another one is made: settling what got stuck comes first.
pub const INTENT_PATIENCE: SignedDuration = SignedDuration::from_secs(120);

/// Which orders are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoRenewalRule {
    /// The shortest lifetime of a certificate.
    pub min_lifetime_seconds: i64,
    /// The longest time from start to end.
    pub max_duration_seconds: i64,
    /// Whether an order may allow unsigned requests for its certificate.
    pub allow_get: bool,
    /// How many orders of one account may be renewed at the same time.
    pub orders_max: u64,
}

/// A wish that is not met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// Nothing would be left to issue.
    #[error("end-date must lie after start-date and after now")]
    Over,
    /// It would go on for too long.
    #[error("end-date may lie {0} seconds after start-date at most (max-duration of the directory)")]
    Duration(i64),
    /// Each certificate would be too short.
    #[error("lifetime must be {0} seconds at least (min-lifetime of the directory)")]
    Short(i64),
    /// Each certificate would be too long.
    #[error("a certificate of this profile may last {0} seconds at most")]
    Long(i64),
    /// Dating back is no time.
    #[error("lifetime-adjust must not be negative")]
    Adjust,
    /// The calendar ends.
    #[error("the dates are out of range")]
    Range,
}

impl WishError {
    /// Whether another profile could meet the wish.
    pub fn is_about_the_profile(&self) -> bool {
        matches!(self, Self::Long(_))
    }

    /// Returns the problem to answer with.
    pub fn problem(&self) -> Problem {
        Problem::malformed(format!("auto-renewal: {self}."))
    }
}

impl AutoRenewalRule {
    /// Judges the wish of a new order, and adjusts what may be adjusted (RFC 8739 section 3.1.1): dates to whole
    /// seconds, `lifetime-adjust` to the lifetime (section 3.5) and to what the profile leaves.
    ///
    /// # Errors
    /// What cannot be met.
    pub fn accept(&self, wish: &Wish, profile: &Profile, now: Timestamp) -> Result<AutoRenewal, WishError> {
        let end = second(wish.end_date.as_second_floor())?;
        let start = wish
            .start_date
            .map(|start| second(start.as_second_ceil()))
            .transpose()?;
        let from = start.unwrap_or(now);
        if end <= from || end <= now {
            return Err(WishError::Over);
        }
        if end.as_second().saturating_sub(from.as_second()) > self.max_duration_seconds {
            return Err(WishError::Duration(self.max_duration_seconds));
        }
        if wish.lifetime < self.min_lifetime_seconds {
            return Err(WishError::Short(self.min_lifetime_seconds));
        }
        let longest = longest_seconds(profile, now)?;
        if wish.lifetime > longest {
            return Err(WishError::Long(longest));
        }
        let adjust_seconds = match wish.lifetime_adjust {
            Some(adjust) if adjust < 0 => return Err(WishError::Adjust),
            Some(adjust) => Some(adjust.min(wish.lifetime).min(longest - wish.lifetime)),
            None => None,
        };
        Ok(AutoRenewal {
            start,
            start_given: start.is_some(),
            end,
            lifetime_seconds: wish.lifetime,
            adjust_seconds,
            allow_get: self.allow_get && wish.allow_certificate_get == Some(true),
            csr: None,
        })
    }
}

/// Whole seconds on either side of a moment.
trait WholeSeconds {
    fn as_second_floor(&self) -> i64;
    fn as_second_ceil(&self) -> i64;
}

impl WholeSeconds for Timestamp {
    fn as_second_floor(&self) -> i64 {
        self.as_microsecond().div_euclid(1_000_000)
    }

    fn as_second_ceil(&self) -> i64 {
        let floor = self.as_second_floor();
        floor + i64::from(self.as_nanosecond() > i128::from(floor) * 1_000_000_000)
    }
}

fn second(second: i64) -> Result<Timestamp, WishError> {
    Timestamp::from_second(second).map_err(|_| WishError::Range)
}

/// How many seconds a certificate of a profile may last, both ends included.
fn longest_seconds(profile: &Profile, from: Timestamp) -> Result<i64, WishError> {
    let from = second(from.as_second_floor())?;
    let last = profile.validity.longest.last_second(from).ok_or(WishError::Range)?;
    Ok(last.as_second() - from.as_second() + 1)
}

/// Returns when the first certificate may be made at the earliest, if that is not yet: a start far ahead is waited for.
pub fn wait_for_start(renewal: &AutoRenewal, now: Timestamp) -> Option<Timestamp> {
    let earliest = renewal.start?.checked_sub(ValidityRule::NOT_BEFORE_DISTANCE_MAX).ok()?;
    (earliest > now).then_some(earliest)
}

/// Returns first and last second of a certificate that is made now; `None` if the order's end leaves nothing.
///
/// None begins before the order's start (RFC 8739 section 3.5) or ends after its end (section 3.3).
pub fn term(renewal: &AutoRenewal, now: Timestamp) -> Option<Validity> {
    let present = now.as_second_floor();
    let start = renewal.start.map_or(present, |start| start.as_second());
    let nominal = present.max(start);
    let first = (nominal - renewal.adjust_seconds.unwrap_or(0)).max(start);
    // The last second counts (RFC 5280 section 4.1.2.5).
    let last = (nominal + renewal.lifetime_seconds - 1).min(renewal.end.as_second());
    let term = Validity {
        not_before: Timestamp::from_second(first).ok()?,
        not_after: Timestamp::from_second(last).ok()?,
    };
    (term.not_after >= term.not_before && term.not_after > now).then_some(term)
}

/// Returns when the certificate after this one has to be begun; `None` if this one reaches the order's end.
///
/// It has to be there by half of this one's life (RFC 8739 section 3.3). What is dated back a long way is over half of
/// its life soon after it was made, or before; there the lifetime without that part counts.
fn next_due(renewal: &AutoRenewal, certificate: &Certificate) -> Option<Timestamp> {
    if certificate.not_after >= renewal.end {
        return None;
    }
    let begin = certificate.not_before.as_millisecond();
    let end = certificate.not_after.as_millisecond() + 1000;
    let half_less = begin + (end - begin) / 2 - (end - begin) / HEAD_START;
    let made = certificate.created.as_millisecond();
    // The lifetime counts too: where the issuing CA's own end cuts one certificate after the other, each is shorter.
    let pause = ((end - made) / PAUSE_MIN).max(renewal.lifetime_seconds.saturating_mul(1000) / RETRY_PART);
    let earliest = made.saturating_add(pause);
    Timestamp::from_millisecond(half_less.max(earliest)).ok()
}

/// Returns the order as it is once this certificate of its is there: the one place that decides what follows.
pub fn settled(order: Order, certificate: &Certificate) -> Order {
    let Some(renewal) = &order.auto_renewal else {
        return Order {
            progress: Progress::Valid {
                certificate: certificate.serial,
            },
            ..order
        };
    };
    Order {
        expires: renewal.end,
        progress: Progress::Renewing(Renewing {
            certificate: Some(certificate.serial),
            due: next_due(renewal, certificate),
            ..Renewing::default()
        }),
        ..order
    }
}

/// Returns when it is tried again after so many failures in a row; `None` if the order's end comes first.
pub fn retry(renewal: &AutoRenewal, failures: u32, now: Timestamp) -> Option<Timestamp> {
    let first = SignedDuration::from_secs(renewal.lifetime_seconds / RETRY_PART).clamp(RETRY_MIN, RETRY_MAX);
    let doublings = failures.saturating_sub(1).min(16);
    let pause = first.checked_mul(1 << doublings).unwrap_or(RETRY_MAX).min(RETRY_MAX);
    now.checked_add(pause).ok().filter(|at| *at < renewal.end)
}

#[cfg(test)]
#[path = "auto_renewal_tests.rs"]
mod tests;
