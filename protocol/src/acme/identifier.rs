//! Identifiers as they travel (RFC 8555 section 7.1.3, RFC 8738), and the checked names behind them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize, de::Error as _};

use super::problem::{ErrorType, Subproblem};

/// The longest name in text form without a trailing dot (RFC 1035 section 2.3.4).
pub const MAX_NAME: usize = 253;
/// The longest label (RFC 1035 section 2.3.4).
pub const MAX_LABEL: usize = 63;

/// How much of a refused value an error shows.
const MAX_SHOWN: usize = 80;

/// The identifier type of DNS names (RFC 8555 section 9.7.7).
pub const DNS: &str = "dns";
/// The identifier type of addresses (RFC 8738 section 3).
pub const IP: &str = "ip";

/// An identifier as it travels: nothing about it was checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identifier {
    /// Its type, `dns` or `ip` or one that this crate does not know.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its value.
    pub value: String,
}

impl Identifier {
    /// Makes an identifier of type `dns`.
    pub fn dns(value: impl Into<String>) -> Self {
        Self {
            kind: DNS.to_owned(),
            value: value.into(),
        }
    }

    /// Makes an identifier of type `ip`.
    pub fn ip(address: IpAddr) -> Self {
        Self {
            kind: IP.to_owned(),
            value: address.to_string(),
        }
    }

    /// Checks it.
    ///
    /// # Errors
    ///
    /// A subproblem about this identifier: `unsupportedIdentifier` for an unknown type, `malformed`
    /// for a value that its type does not allow.
    pub fn check(&self) -> Result<Name, Subproblem> {
        let refused = |kind, detail| Subproblem {
            kind,
            detail,
            identifier: Some(self.clone()),
        };
        let name = match self.kind.as_str() {
            DNS => Name::from_dns_value(&self.value),
            IP => Name::from_ip_value(&self.value),
            _ => {
                return Err(refused(
                    ErrorType::UnsupportedIdentifier,
                    "the identifier types are dns and ip".to_owned(),
                ));
            }
        };
        name.map_err(|error| refused(ErrorType::Malformed, error.to_string()))
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

/// An identifier as newOrder and newAuthz ask for it, with what RFC 9444 adds to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestedIdentifier {
    /// What a certificate is to hold, or an authorization to be for.
    #[serde(flatten)]
    pub identifier: Identifier,
    /// In an order: a name at or above this one that the client can prove control of (section 4.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ancestor_domain: Option<String>,
    /// In newAuthz: whether the authorization is to be good for all names below it too (section 4.2).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub subdomain_auth_allowed: bool,
}

impl From<Identifier> for RequestedIdentifier {
    fn from(identifier: Identifier) -> Self {
        Self {
            identifier,
            ancestor_domain: None,
            subdomain_auth_allowed: false,
        }
    }
}

/// Why a value is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There are characters beyond ASCII.
    #[error("a DNS name must be in its ASCII form (A-labels, xn--...)")]
    NotAscii,
    /// An address stands where a DNS name belongs.
    #[error("{0} is an address: use an identifier of type ip")]
    Address(IpAddr),
    /// The name is empty or too long.
    #[error("a DNS name has 1 to {MAX_NAME} characters")]
    Length,
    /// There is a dot at the end.
    #[error("a DNS name is written without a dot at the end")]
    TrailingDot,
    /// A label is empty or too long.
    #[error("a label of a DNS name has 1 to {MAX_LABEL} characters")]
    LabelLength,
    /// A label has another character than letters, digits and hyphens, or a hyphen at an end.
    #[error("the label {0:?} is not made of letters, digits and inner hyphens")]
    Label(String),
    /// A label has hyphens in places 3 and 4 but is no A-label (RFC 5890 section 2.3.1).
    #[error("the label {0:?} is of the reserved form with hyphens in places 3 and 4")]
    ReservedLabel(String),
    /// A label that begins with `xn--` is no well-formed A-label.
    #[error("the name {0:?} has a label that begins with xn-- but is no well-formed A-label")]
    Punycode(String),
    /// The last label has digits only.
    #[error("the last label of a DNS name is not all digits")]
    NumericTop,
    /// A star stands elsewhere than alone in the first label.
    #[error("a star may only be the whole first label, with a DNS name behind it")]
    Wildcard,
    /// The value is no address in its canonical text form.
    #[error("{0:?} is not an address in dotted decimal or in the form of RFC 5952")]
    Ip(String),
    /// The value is an address, but written in another form.
    #[error("the address must be written {0}")]
    IpForm(IpAddr),
}

/// A DNS name that was checked: lower-case letters, digits and hyphens, well-formed A-labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(String);

impl DnsName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name without its first label, unless that was the only one.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_once('.').map(|(_, rest)| Self(rest.to_owned()))
    }

    /// Tells whether it has whole labels in front of another name.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_suffix(&other.0).is_some_and(|front| front.ends_with('.'))
    }

    /// Returns it and all names above it, up to the top-level domain.
    pub fn and_above(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.clone()), Self::parent)
    }
}

impl FromStr for DnsName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // Before lowering: U+212A would become a k.
        if !text.is_ascii() {
            return Err(NameError::NotAscii);
        }
        if let Ok(address) = text.parse() {
            return Err(NameError::Address(address));
        }
        if text.len() > 1 && text.ends_with('.') {
            return Err(NameError::TrailingDot);
        }
        if text.is_empty() || text.len() > MAX_NAME {
            return Err(NameError::Length);
        }
        let name = text.to_ascii_lowercase();
        name.split('.').try_for_each(check_label)?;
        let top = name.rsplit('.').next().unwrap_or_default();
        if top.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NameError::NumericTop);
        }
        if name.split('.').any(|label| label.starts_with("xn--")) && !is_well_formed(&name) {
            return Err(NameError::Punycode(shown(&name)));
        }
        Ok(Self(name))
    }
}

fn check_label(label: &str) -> Result<(), NameError> {
    if label.is_empty() || label.len() > MAX_LABEL {
        return Err(NameError::LabelLength);
    }
    let letters = label
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !letters || label.starts_with('-') || label.ends_with('-') {
        return Err(NameError::Label(shown(label)));
    }
    if label.get(2..4) == Some("--") && !label.starts_with("xn--") {
        return Err(NameError::ReservedLabel(shown(label)));
    }
    Ok(())
}

/// Tells whether a name with A-labels comes back unchanged from its Unicode form.
fn is_well_formed(name: &str) -> bool {
    let (unicode, result) = Uts46::new().to_unicode(name.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
    if result.is_err() {
        return false;
    }
    Uts46::new()
        .to_ascii(
            unicode.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::Check,
            DnsLength::Verify,
        )
        .is_ok_and(|ascii| ascii == name)
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for DnsName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for DnsName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DnsName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A name that a certificate can hold. It was checked; it travels as an [`Identifier`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// A DNS name.
    Dns(DnsName),
    /// All names with one more label in front of this one.
    Wildcard(DnsName),
    /// An address.
    Ip(IpAddr),
}

impl Name {
    /// Reads the value of a `dns` identifier or of a dNSName, with `*.` for a wildcard.
    ///
    /// # Errors
    ///
    /// [`NameError`] says what is wrong with the value.
    pub fn from_dns_value(value: &str) -> Result<Self, NameError> {
        match value.strip_prefix("*.") {
            Some(base) if base.is_empty() || base.contains('*') => Err(NameError::Wildcard),
            Some(base) => match base.parse() {
                // An address under a star is no mix-up of types, just nonsense.
                Err(NameError::Address(_)) => Err(NameError::Wildcard),
                name => name.map(Self::Wildcard),
            },
            None if value.contains('*') => Err(NameError::Wildcard),
            None => value.parse().map(Self::Dns),
        }
    }

    /// Reads the value of an `ip` identifier: dotted decimal, or the one form of RFC 5952.
    ///
    /// # Errors
    ///
    /// [`NameError::IpForm`] names the right form of an address in another one.
    pub fn from_ip_value(value: &str) -> Result<Self, NameError> {
        if let Ok(v4) = value.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(v4.into()));
        }
        match value.parse::<Ipv6Addr>() {
            Ok(v6) if v6.to_string() == value => Ok(Self::Ip(v6.into())),
            Ok(v6) => Err(NameError::IpForm(v6.into())),
            Err(_) => Err(NameError::Ip(shown(value))),
        }
    }

    /// Returns the identifier of an order: a wildcard with its `*.`.
    pub fn identifier(&self) -> Identifier {
        match self {
            Self::Ip(address) => Identifier::ip(*address),
            name => Identifier::dns(name.to_string()),
        }
    }

    /// Returns the identifier of the authorization: a wildcard without its `*.` (RFC 8555 section 7.1.4).
    pub fn authorization_identifier(&self) -> Identifier {
        self.base().identifier()
    }

    /// Tells whether it is a wildcard.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Wildcard(_))
    }

    /// Returns the name that is to be validated: a wildcard's without the star.
    pub fn base(&self) -> Self {
        match self {
            Self::Wildcard(base) => Self::Dns(base.clone()),
            name => name.clone(),
        }
    }

    /// Tells whether everything that it stands for is this name or below it.
    pub fn is_within(&self, ancestor: &DnsName) -> bool {
        self.dns_name()
            .is_some_and(|name| name == ancestor || name.is_below(ancestor))
    }

    /// Returns the DNS name, a wildcard's without the star, or `None` for an address.
    pub fn dns_name(&self) -> Option<&DnsName> {
        match self {
            Self::Dns(name) | Self::Wildcard(name) => Some(name),
            Self::Ip(_) => None,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => name.fmt(f),
            Self::Wildcard(base) => write!(f, "*.{base}"),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// Reads a name as a person types it: an address in any form, a DNS name, or a wildcard.
impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse() {
            Ok(address) => Ok(Self::Ip(address)),
            Err(_) => Self::from_dns_value(text),
        }
    }
}

impl From<Name> for Identifier {
    fn from(name: Name) -> Self {
        name.identifier()
    }
}

impl From<&Name> for Identifier {
    fn from(name: &Name) -> Self {
        name.identifier()
    }
}

impl TryFrom<&Identifier> for Name {
    type Error = Subproblem;

    fn try_from(identifier: &Identifier) -> Result<Self, Subproblem> {
        identifier.check()
    }
}

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.identifier().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Identifier::deserialize(deserializer)?
            .check()
            .map_err(|refused| D::Error::custom(refused.detail))
    }
}

#[cfg(test)]
mod tests;
