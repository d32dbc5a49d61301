//! For which names the CA issues: the operator's lists, and the constraints of the issuing certificate.
//!
//! A private CA's job is internal names, so that single labels, private top levels and private
//! addresses are let through unless the operator says otherwise.

use std::{fmt, net::IpAddr, str::FromStr};

use sigillo_protocol::acme::{
    identifier::{DnsName, Name},
    problem::{ErrorType, Subproblem},
};
use x509_parser::extensions::{GeneralName, NameConstraints as ParsedConstraints};

/// Text that names no pattern or network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name pattern: write example.org, .example.org (with all below), *.example.org (only below), 10.0.0.0/8 or *"
)]
pub struct PatternError(pub String);

/// A range of addresses, such as `10.0.0.0/8` or `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// All of IPv4.
    pub const ALL_V4: Self = Self {
        address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        prefix: 0,
    };
    /// All of IPv6.
    pub const ALL_V6: Self = Self {
        address: IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        prefix: 0,
    };

    /// Tells whether an address of the same family lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }

    /// Returns the address that it starts at.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns how many leading bits are fixed.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Reads the octets of a name constraint (RFC 5280 section 4.2.1.10): address and mask; only masks without gaps.
    fn from_constraint(octets: &[u8]) -> Option<Self> {
        let (address, mask): (IpAddr, u128) = match octets.len() {
            8 => {
                let address: [u8; 4] = octets[..4].try_into().ok()?;
                let mask: [u8; 4] = octets[4..].try_into().ok()?;
                (address.into(), u128::from(u32::from_be_bytes(mask)) << 96)
            }
            32 => {
                let address: [u8; 16] = octets[..16].try_into().ok()?;
                let mask: [u8; 16] = octets[16..].try_into().ok()?;
                (address.into(), u128::from_be_bytes(mask))
            }
            _ => return None,
        };
        let prefix = mask.leading_ones();
        let is_whole = mask == u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        is_whole.then_some(Self {
            address,
            prefix: prefix as u8,
        })
    }
}

impl FromStr for Network {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let refused = || PatternError(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| refused())?,
            None => longest,
        };
        let network = Self { address, prefix };
        // 10.1.2.3/8 is more likely a slip than a wish.
        let is_start = prefix <= longest && network.is_start();
        if is_start { Ok(network) } else { Err(refused()) }
    }
}

impl Network {
    fn is_start(&self) -> bool {
        let (bits, free) = match self.address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32 - u32::from(self.prefix)),
            IpAddr::V6(v6) => (v6.to_bits(), 128 - u32::from(self.prefix)),
        };
        free == 0 || bits.trailing_zeros() >= free
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// One entry of a list of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `*`: every name and address.
    Any,
    /// `example.org`: this name alone.
    Exact(DnsName),
    /// `.example.org`: this name and all below it.
    Tree(DnsName),
    /// `*.example.org`: all below this name, but not itself.
    Below(DnsName),
    /// `10.0.0.0/8`: the addresses in it.
    Addresses(Network),
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let name = |name: &str| name.parse::<DnsName>().map_err(|_| PatternError(text.to_owned()));
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(base) = text.strip_prefix("*.") {
            return Ok(Self::Below(name(base)?));
        }
        if let Some(base) = text.strip_prefix('.') {
            return Ok(Self::Tree(name(base)?));
        }
        match text.parse() {
            Ok(network) => Ok(Self::Addresses(network)),
            Err(_) => Ok(Self::Exact(name(text)?)),
        }
    }
}

impl Pattern {
    /// Tells whether everything that the name stands for is in the pattern: fit for allowing.
    fn holds(&self, name: &Name) -> bool {
        match (self, name) {
            (Self::Any, _) => true,
            (Self::Addresses(network), Name::Ip(address)) => network.contains(*address),
            (Self::Exact(own), Name::Dns(name)) => own == name,
            (Self::Tree(own), Name::Dns(name) | Name::Wildcard(name)) => own == name || is_below(name, own),
            (Self::Below(own), Name::Dns(name)) => is_below(name, own),
            // `*.x` stands for names below x only.
            (Self::Below(own), Name::Wildcard(base)) => own == base || is_below(base, own),
            _ => false,
        }
    }

    /// Tells whether anything that the name stands for is in the pattern: fit for denying.
    fn touches(&self, name: &Name) -> bool {
        let within_wildcard = match (self, name) {
            (Self::Exact(own) | Self::Tree(own), Name::Wildcard(base)) => own.parent().as_ref() == Some(base),
            _ => false,
        };
        within_wildcard || self.holds(name)
    }
}

fn is_below(name: &DnsName, base: &DnsName) -> bool {
    name.as_str()
        .strip_suffix(base.as_str())
        .is_some_and(|front| front.ends_with('.'))
}

/// Lists of names: what is denied is refused, and what is not allowed too. An empty list of the
/// allowed allows everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameRules {
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
}

impl NameRules {
    /// Reads both lists.
    ///
    /// # Errors
    /// [`PatternError`] names the first entry that cannot be read.
    pub fn parse(allow: &[String], deny: &[String]) -> Result<Self, PatternError> {
        let read = |list: &[String]| list.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            allow: read(allow)?,
            deny: read(deny)?,
        })
    }

    /// Judges one name.
    ///
    /// # Errors
    /// A `rejectedIdentifier` subproblem.
    pub fn permits(&self, name: &Name) -> Result<(), Subproblem> {
        if self.deny.iter().any(|pattern| pattern.touches(name)) {
            return Err(rejected(name, "certificates for this name are not issued here"));
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|pattern| pattern.holds(name)) {
            return Err(rejected(name, "this name is not among those that are issued here"));
        }
        Ok(())
    }
}

fn rejected(name: &Name, detail: &str) -> Subproblem {
    Subproblem {
        kind: ErrorType::RejectedIdentifier,
        detail: detail.to_owned(),
        identifier: Some(name.identifier()),
    }
}

/// The name constraints of an issuing certificate (RFC 5280 section 4.2.1.10).
///
/// DNS constraints hold for a name and everything below it; the empty text holds for every name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// If there are any, a DNS name must lie in one of them.
    pub permitted_dns: Vec<String>,
    /// A DNS name must lie in none of them.
    pub excluded_dns: Vec<String>,
    /// If there are any, an address must lie in one of them.
    pub permitted_ip: Vec<Network>,
    /// An address must lie in none of them.
    pub excluded_ip: Vec<Network>,
}

/// A name constraint that this CA cannot obey, so that it must not issue under it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the issuing certificate has a name constraint that cannot be obeyed here")]
pub struct UnsupportedConstraint;

impl NameConstraints {
    /// Reads constraints as an operator writes them: names and networks that are permitted, and
    /// with `!` in front those that are excluded.
    ///
    /// Who permits names only means that nothing else is to be issued, so that all addresses are
    /// then excluded, and the other way round.
    ///
    /// # Errors
    /// [`PatternError`] names the first entry that cannot be read.
    pub fn parse(texts: &[String]) -> Result<Self, PatternError> {
        let mut constraints = Self::default();
        for text in texts {
            let (excluded, rest) = match text.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, text.as_str()),
            };
            match (
                rest.parse::<Pattern>().map_err(|_| PatternError(text.clone()))?,
                excluded,
            ) {
                (Pattern::Exact(name) | Pattern::Tree(name), true) => constraints.excluded_dns.push(name.to_string()),
                (Pattern::Exact(name) | Pattern::Tree(name), false) => constraints.permitted_dns.push(name.to_string()),
                (Pattern::Addresses(network), true) => constraints.excluded_ip.push(network),
                (Pattern::Addresses(network), false) => constraints.permitted_ip.push(network),
                // X.509 has no form for "below, but not itself".
                (Pattern::Any | Pattern::Below(_), _) => return Err(PatternError(text.clone())),
            }
        }
        let (names, addresses) = (
            !constraints.permitted_dns.is_empty(),
            !constraints.permitted_ip.is_empty(),
        );
        if names && !addresses {
            constraints.excluded_ip = vec![Network::ALL_V4, Network::ALL_V6];
        }
        if addresses && !names {
            constraints.excluded_dns = vec![String::new()];
        }
        Ok(constraints)
    }

    /// Reads the extension of a certificate.
    ///
    /// # Errors
    /// [`UnsupportedConstraint`] for directory names and other forms that could touch what is issued here.
    pub fn from_extension(extension: &ParsedConstraints<'_>) -> Result<Self, UnsupportedConstraint> {
        let mut constraints = Self::default();
        for subtree in extension.permitted_subtrees.iter().flatten() {
            add_subtree(
                &subtree.base,
                &mut constraints.permitted_dns,
                &mut constraints.permitted_ip,
            )?;
        }
        for subtree in extension.excluded_subtrees.iter().flatten() {
            add_subtree(
                &subtree.base,
                &mut constraints.excluded_dns,
                &mut constraints.excluded_ip,
            )?;
        }
        Ok(constraints)
    }

    /// Tells whether there is nothing to obey.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Judges one name.
    ///
    /// # Errors
    /// A `rejectedIdentifier` subproblem.
    pub fn permits(&self, name: &Name) -> Result<(), Subproblem> {
        let inside = match name {
            Name::Dns(name) => {
                let within = |base: &String| is_within(name, base);
                !self.excluded_dns.iter().any(within)
                    && (self.permitted_dns.is_empty() || self.permitted_dns.iter().any(within))
            }
            Name::Wildcard(base) => {
                // A wildcard is excluded as soon as one of the names that it stands for is.
                let excluded = |text: &String| {
                    is_within(base, text)
                        || text
                            .parse::<DnsName>()
                            .is_ok_and(|own| own.parent().as_ref() == Some(base))
                };
                !self.excluded_dns.iter().any(excluded)
                    && (self.permitted_dns.is_empty() || self.permitted_dns.iter().any(|text| is_within(base, text)))
            }
            Name::Ip(address) => {
                let within = |network: &Network| network.contains(*address);
                !self.excluded_ip.iter().any(within)
                    && (self.permitted_ip.is_empty() || self.permitted_ip.iter().any(within))
            }
        };
        if inside {
            Ok(())
        } else {
            Err(rejected(
                name,
                "the issuing CA's name constraints do not permit this name",
            ))
        }
    }
}

fn is_within(name: &DnsName, base: &str) -> bool {
    base.is_empty()
        || name.as_str() == base
        || name
            .as_str()
            .strip_suffix(base)
            .is_some_and(|front| front.ends_with('.'))
}

fn add_subtree(
    base: &GeneralName<'_>,
    dns: &mut Vec<String>,
    ip: &mut Vec<Network>,
) -> Result<(), UnsupportedConstraint> {
    match base {
        // Some writers put a dot in front; RFC 5280 gives it no meaning for DNS names.
        GeneralName::DNSName(text) => dns.push(text.trim_start_matches('.').to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => ip.push(Network::from_constraint(octets).ok_or(UnsupportedConstraint)?),
        // No certificate issued here holds a mail address or a URI.
        GeneralName::RFC822Name(_) | GeneralName::URI(_) => {}
        _ => return Err(UnsupportedConstraint),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
