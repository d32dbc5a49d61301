//! Reasons for a revocation (RFC 5280 section 5.3.1).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a certificate was revoked. The value 7 was never assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RevocationReason {
    /// None in particular. Published as the absence of a reason.
    Unspecified = 0,
    /// The holder's private key is or may be in other hands.
    KeyCompromise = 1,
    /// The CA's private key is or may be in other hands.
    CaCompromise = 2,
    /// The holder's name or other facts about it have changed.
    AffiliationChanged = 3,
    /// Another certificate has taken its place.
    Superseded = 4,
    /// It is no longer needed.
    CessationOfOperation = 5,
    /// It is suspended.
    CertificateHold = 6,
    /// It was suspended and is taken back from the list (delta CRLs only).
    RemoveFromCrl = 8,
    /// A right that the certificate states was withdrawn.
    PrivilegeWithdrawn = 9,
    /// The attribute authority's private key is or may be in other hands.
    AaCompromise = 10,
}

impl RevocationReason {
    /// Every reason, by rising code.
    pub const ALL: [Self; 10] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::RemoveFromCrl,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// Returns the CRLReason code.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Reads a CRLReason code; `None` for one that is not assigned.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| i64::from(reason.code()) == code)
    }

    /// Returns the name that RFC 5280 gives it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::RemoveFromCrl => "removeFromCRL",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::AaCompromise => "aACompromise",
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that names no revocation reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a revocation reason; RFC 5280 section 5.3.1 names them, for example keyCompromise")]
pub struct UnknownReason;

impl FromStr for RevocationReason {
    type Err = UnknownReason;

    /// Reads a name in any case, since people type it.
    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str().eq_ignore_ascii_case(text))
            .ok_or(UnknownReason)
    }
}

impl Serialize for RevocationReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RevocationReason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_its_code_and_its_name() {
        for reason in RevocationReason::ALL {
            assert_eq!(RevocationReason::from_code(i64::from(reason.code())), Some(reason));
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert_eq!(reason.as_str().to_ascii_lowercase().parse(), Ok(reason));
        }
    }

    #[test]
    fn codes_that_were_never_assigned_are_unknown() {
        for code in [-1, 7, 11, 256, i64::MAX] {
            assert_eq!(RevocationReason::from_code(code), None, "{code}");
        }
        assert_eq!("7".parse::<RevocationReason>(), Err(UnknownReason));
    }
}
