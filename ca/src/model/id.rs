//! Identities: 128 random bits each, so that nobody can guess a URL or collide (RFC 8555 section 10.5).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sigillo_protocol::base64url;

/// Text that is no identity of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid identity")]
pub struct InvalidId;

fn random_octets() -> [u8; 16] {
    let mut octets = [0; 16];
    // The operating system's generator fails only where nothing else works either; going on
    // with a guessable identity would be worse than stopping.
    getrandom::fill(&mut octets).expect("invariant: the system's random generator works");
    octets
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Makes a new one from the system's random generator.
            pub fn random() -> Self {
                Self(random_octets())
            }

            /// Returns the octets, as the store keeps them.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base64url::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let octets = base64url::decode(text).map_err(|_| InvalidId)?;
                octets.try_into().map(Self).map_err(|_| InvalidId)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = InvalidId;

            fn try_from(octets: &[u8]) -> Result<Self, InvalidId> {
                octets.try_into().map(Self).map_err(|_| InvalidId)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

identity! {
    /// Names an account for all its life.
    AccountId
}
identity! {
    /// Names an order.
    OrderId
}
identity! {
    /// Names an authorization.
    AuthorizationId
}

/// A certificate's serial number: 128 random bits, unique over all issuers of this CA.
///
/// RFC 5280 section 4.1.2.2 wants a positive integer of at most 20 octets; with the leading zero
/// that a set high bit needs, this takes at most 17.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial([u8; 16]);

impl Serial {
    /// Makes a new one from the system's random generator; never zero.
    pub fn random() -> Self {
        loop {
            let octets = random_octets();
            if octets != [0; 16] {
                return Self(octets);
            }
        }
    }

    /// Takes the number's 16 octets, most significant first.
    pub fn from_bytes(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// Reads the content octets of a DER INTEGER; `None` if it is negative, longer than 128 bits, or not minimal.
    pub fn from_der_content(content: &[u8]) -> Option<Self> {
        let magnitude = match content {
            [] => return None,
            [0] => content,
            [0, next, ..] if next & 0x80 == 0 => return None,
            [0, rest @ ..] => rest,
            [first, ..] if first & 0x80 != 0 => return None,
            all => all,
        };
        let start = 16usize.checked_sub(magnitude.len())?;
        let mut octets = [0; 16];
        octets[start..].copy_from_slice(magnitude);
        Some(Self(octets))
    }

    /// Returns the content octets of the DER INTEGER: minimal, with a leading zero where the high bit is set.
    pub fn to_der_content(self) -> Vec<u8> {
        let start = self.0.iter().position(|octet| *octet != 0).unwrap_or(15);
        let magnitude = &self.0[start..];
        let mut content = Vec::with_capacity(17);
        if magnitude[0] & 0x80 != 0 {
            content.push(0);
        }
        content.extend_from_slice(magnitude);
        content
    }

    /// Returns the 16 octets, as the store keeps them.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Serial {
    /// 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl FromStr for Serial {
    type Err = InvalidId;

    /// Reads hexadecimal digits, with or without colons, as tools print them.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(InvalidId);
        }
        let number = u128::from_str_radix(digits, 16).map_err(|_| InvalidId)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl Serialize for Serial {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Names an issuer in files and URLs: lower-case letters, digits and hyphens, for example `issuing-1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IssuerId(String);

impl IssuerId {
    /// The longest name.
    pub const LENGTH_MAX: usize = 64;

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IssuerId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits = !text.is_empty()
            && text.len() <= Self::LENGTH_MAX
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId)
        }
    }
}

impl TryFrom<String> for IssuerId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<IssuerId> for String {
    fn from(id: IssuerId) -> Self {
        id.0
    }
}

impl fmt::Display for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How often a record has been written; the first time is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version(pub u64);

impl Version {
    /// What a record has before it was ever written.
    pub const NEW: Self = Self(0);

    /// The version after the next write.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_der_content_is_minimal_and_reads_back() {
        let cases: [(&str, &[u8]); 4] = [
            ("1", &[1]),
            ("80", &[0, 0x80]),
            (
                "ff000000000000000000000000000000",
                &[0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
            ("01:02", &[1, 2]),
        ];
        for (text, content) in cases {
            let serial: Serial = text.parse().unwrap();
            assert_eq!(serial.to_der_content(), content, "{text}");
            assert_eq!(Serial::from_der_content(content), Some(serial), "{text}");
        }
    }

    #[test]
    fn refuses_serials_that_are_negative_padded_or_too_long() {
        for content in [&[][..], &[0x80], &[0, 1], &[1; 17], &[0, 0, 0x80]] {
            assert_eq!(Serial::from_der_content(content), None, "{content:02x?}");
        }
    }

    #[test]
    fn ids_survive_a_round_trip_as_text() {
        let id = OrderId::random();
        assert_eq!(id.to_string().len(), 22);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("AAAA".parse::<OrderId>().is_err());
    }
}
