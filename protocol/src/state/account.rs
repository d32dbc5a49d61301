//! The life of an account (RFC 8555 section 7.1.6): valid, then deactivated or revoked for good.

use crate::acme::account::AccountStatus;

/// An account's life as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountLife {
    /// It can act.
    Valid(Valid),
    /// It is closed, by its holder or by the server.
    Closed(Closed),
}

/// An account that can act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Valid(());

/// An account that is closed for good: it has no transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed(AccountStatus);

impl AccountLife {
    /// Reads the stored state.
    pub fn read(status: AccountStatus) -> Self {
        match status {
            AccountStatus::Valid => Self::Valid(Valid(())),
            closed @ (AccountStatus::Deactivated | AccountStatus::Revoked) => Self::Closed(Closed(closed)),
        }
    }

    /// Returns the state as it travels.
    pub fn status(&self) -> AccountStatus {
        match self {
            Self::Valid(_) => AccountStatus::Valid,
            Self::Closed(closed) => closed.status(),
        }
    }
}

impl Valid {
    /// Its holder closes it (RFC 8555 section 7.3.6).
    pub fn deactivate(self) -> Closed {
        Closed(AccountStatus::Deactivated)
    }

    /// The server closes it.
    pub fn revoke(self) -> Closed {
        Closed(AccountStatus::Revoked)
    }
}

impl Closed {
    /// Returns which end it had.
    pub fn status(self) -> AccountStatus {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        let AccountLife::Valid(valid) = AccountLife::read(AccountStatus::Valid) else {
            panic!("a valid account reads as valid");
        };
        let closed = valid.deactivate();
        assert_eq!(AccountLife::read(closed.status()), AccountLife::Closed(closed));
        assert_eq!(valid.revoke().status(), AccountStatus::Revoked);
    }
}
