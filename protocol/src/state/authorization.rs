//! The life of an authorization (RFC 8555 section 7.1.6).
//!
//! ```text
//! pending -> valid -> deactivated | expired | revoked
//! pending -> invalid | deactivated | expired
//! ```

use jiff::Timestamp;

use crate::acme::authorization::AuthorizationStatus;

/// An authorization's life as it stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorizationLife {
    /// A challenge has still to be fulfilled.
    Pending(Pending),
    /// It can be used.
    Valid(Valid),
    /// It is over.
    Over(Over),
}

/// An authorization that waits for a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending(());

/// An authorization that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Valid(());

/// An authorization that is over for good: it has no transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over(AuthorizationStatus);

impl AuthorizationLife {
    /// Reads the stored state as it stands at `now`: what has passed its end shows as expired.
    pub fn read(status: AuthorizationStatus, expires: Timestamp, now: Timestamp) -> Self {
        match status {
            AuthorizationStatus::Pending | AuthorizationStatus::Valid if expires <= now => {
                Self::Over(Over(AuthorizationStatus::Expired))
            }
            AuthorizationStatus::Pending => Self::Pending(Pending(())),
            AuthorizationStatus::Valid => Self::Valid(Valid(())),
            over => Self::Over(Over(over)),
        }
    }

    /// Returns the state as it travels.
    pub fn status(&self) -> AuthorizationStatus {
        match self {
            Self::Pending(_) => AuthorizationStatus::Pending,
            Self::Valid(_) => AuthorizationStatus::Valid,
            Self::Over(over) => over.status(),
        }
    }
}

impl Pending {
    /// A challenge was fulfilled.
    pub fn validate(self) -> Valid {
        Valid(())
    }

    /// A challenge has failed for good.
    pub fn fail(self) -> Over {
        Over(AuthorizationStatus::Invalid)
    }

    /// Its holder gives it up.
    pub fn deactivate(self) -> Over {
        Over(AuthorizationStatus::Deactivated)
    }
}

impl Valid {
    /// Returns the state to store.
    pub fn status(self) -> AuthorizationStatus {
        AuthorizationStatus::Valid
    }

    /// Its holder gives it up (RFC 8555 section 7.5.2).
    pub fn deactivate(self) -> Over {
        Over(AuthorizationStatus::Deactivated)
    }

    /// The server takes it back.
    pub fn revoke(self) -> Over {
        Over(AuthorizationStatus::Revoked)
    }
}

impl Over {
    /// Returns which end it had.
    pub fn status(self) -> AuthorizationStatus {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn time_ends_pending_and_valid_and_nothing_else() {
        use AuthorizationStatus::*;
        for (stored, shown) in [
            (Pending, Expired),
            (Valid, Expired),
            (Invalid, Invalid),
            (Deactivated, Deactivated),
            (Revoked, Revoked),
        ] {
            assert_eq!(AuthorizationLife::read(stored, at(10), at(9)).status(), stored);
            assert_eq!(AuthorizationLife::read(stored, at(10), at(10)).status(), shown);
        }
    }

    #[test]
    fn each_transition_ends_where_the_text_says() {
        let AuthorizationLife::Pending(pending) = AuthorizationLife::read(AuthorizationStatus::Pending, at(10), at(1))
        else {
            panic!("it is pending before its end");
        };
        assert_eq!(pending.validate().status(), AuthorizationStatus::Valid);
        assert_eq!(pending.fail().status(), AuthorizationStatus::Invalid);
        assert_eq!(
            pending.validate().deactivate().status(),
            AuthorizationStatus::Deactivated
        );
        assert_eq!(pending.validate().revoke().status(), AuthorizationStatus::Revoked);
    }
}
