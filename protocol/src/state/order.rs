//! The life of an order (RFC 8555 section 7.1.6).
//!
//! ```text
//! pending -> ready -> processing -> valid
//!    |         |          |
//!    +---------+----------+-----> invalid
//!
//! valid -> canceled, for an order whose certificates are renewed (RFC 8739 section 3.1.2)
//! ```
//!
//! Pending, ready and much of invalid are not facts of their own: they follow from the order's
//! authorizations and the time, and are read anew each time.

use jiff::Timestamp;

use crate::acme::{authorization::AuthorizationStatus, order::OrderStatus};

/// How far an order has come by its own record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It was not finalized.
    Open,
    /// It was finalized and its certificate is being issued.
    Processing,
    /// Its certificate is there.
    Valid,
    /// It has failed.
    Invalid,
    /// Its certificates are not renewed any more.
    Canceled,
}

/// An order's life as it stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderLife {
    /// Authorizations are missing.
    Pending,
    /// It can be finalized.
    Ready(Ready),
    /// The certificate is being issued.
    Processing(Processing),
    /// The certificate is there.
    Valid,
    /// It has failed for good.
    Invalid(Cause),
    /// Its certificates are not renewed any more.
    Canceled,
}

/// Why an order is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It says so itself, with its own error.
    Recorded,
    /// The authorization at this position has ended in a state other than valid.
    Authorization(usize, AuthorizationStatus),
    /// Its time is over.
    Expired,
}

/// An order that can be finalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready(());

/// An order whose certificate is being issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processing(());

impl OrderLife {
    /// Reads an order as it stands at `now`; `authorizations` are their states at the same moment.
    pub fn read(
        recorded: Recorded,
        expires: Timestamp,
        authorizations: &[AuthorizationStatus],
        now: Timestamp,
    ) -> Self {
        match recorded {
            Recorded::Valid => return Self::Valid,
            Recorded::Processing => return Self::Processing(Processing(())),
            Recorded::Invalid => return Self::Invalid(Cause::Recorded),
            Recorded::Canceled => return Self::Canceled,
            Recorded::Open => {}
        }
        let over = authorizations
            .iter()
            .enumerate()
            .find(|(_, status)| !matches!(status, AuthorizationStatus::Pending | AuthorizationStatus::Valid));
        if let Some((position, status)) = over {
            return Self::Invalid(Cause::Authorization(position, *status));
        }
        if expires <= now {
            return Self::Invalid(Cause::Expired);
        }
        // An order without authorizations rests on nothing, so it is never ready.
        let all_valid = !authorizations.is_empty()
            && authorizations
                .iter()
                .all(|status| *status == AuthorizationStatus::Valid);
        if all_valid {
            Self::Ready(Ready(()))
        } else {
            Self::Pending
        }
    }

    /// Returns the state as it travels.
    pub fn status(&self) -> OrderStatus {
        match self {
            Self::Pending => OrderStatus::Pending,
            Self::Ready(_) => OrderStatus::Ready,
            Self::Processing(_) => OrderStatus::Processing,
            Self::Valid => OrderStatus::Valid,
            Self::Invalid(_) => OrderStatus::Invalid,
            Self::Canceled => OrderStatus::Canceled,
        }
    }
}

impl Ready {
    /// A CSR was accepted: issuing begins.
    pub fn begin(self) -> Processing {
        Processing(())
    }
}

impl Processing {
    /// Returns what to record while it lasts.
    pub fn recorded(&self) -> Recorded {
        Recorded::Processing
    }

    /// The certificate is there.
    pub fn complete(self) -> Recorded {
        Recorded::Valid
    }

    /// Issuing has failed for good.
    pub fn fail(self) -> Recorded {
        Recorded::Invalid
    }
}

#[cfg(test)]
mod tests {
    use AuthorizationStatus::*;

    use super::*;

    fn check(recorded: Recorded, authorizations: &[AuthorizationStatus], now: i64, expected: OrderStatus) {
        let at = |second| Timestamp::from_second(second).unwrap();
        let life = OrderLife::read(recorded, at(10), authorizations, at(now));
        assert_eq!(life.status(), expected, "{recorded:?} {authorizations:?} at {now}");
    }

    #[test]
    fn status_follows_from_the_authorizations_and_the_time() {
        check(Recorded::Open, &[Valid, Pending], 1, OrderStatus::Pending);
        check(Recorded::Open, &[Valid, Valid], 1, OrderStatus::Ready);
        check(Recorded::Open, &[], 1, OrderStatus::Pending);
        check(Recorded::Open, &[Valid, Invalid], 1, OrderStatus::Invalid);
        check(Recorded::Open, &[Deactivated, Valid], 1, OrderStatus::Invalid);
        check(Recorded::Open, &[Expired], 1, OrderStatus::Invalid);
        check(Recorded::Open, &[Valid], 10, OrderStatus::Invalid);
    }

    #[test]
    fn what_is_recorded_does_not_move_back() {
        check(Recorded::Valid, &[Deactivated], 11, OrderStatus::Valid);
        check(Recorded::Processing, &[Expired], 11, OrderStatus::Processing);
        check(Recorded::Invalid, &[Valid], 1, OrderStatus::Invalid);
        check(Recorded::Canceled, &[Valid], 1, OrderStatus::Canceled);
    }

    #[test]
    fn a_ready_order_begins_and_ends() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let OrderLife::Ready(ready) = OrderLife::read(Recorded::Open, at(10), &[Valid], at(1)) else {
            panic!("all authorizations are valid");
        };
        let processing = ready.begin();
        assert_eq!(processing.recorded(), Recorded::Processing);
        assert_eq!(processing.fail(), Recorded::Invalid);
        assert_eq!(processing.complete(), Recorded::Valid);
    }
}
