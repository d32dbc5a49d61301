//! How the validator is set up: the checked form of the `validation` section.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// How long one try may take from the first DNS query to the verdict.
///
/// Clients poll for about 40 s before they complain; three tries of this length and the pauses
/// between them stay below that.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the validator needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationSettings {
    /// Where http-01 asks, and where a redirect to `http` without a port leads.
    ///
    /// RFC 8555 names port 80; another one is for tests and for hosts behind a port mapping.
    pub http01_port: u16,
    /// Where tls-alpn-01 asks. RFC 8737 names port 443.
    pub tls_alpn01_port: u16,
    /// Where a redirect to `https` without a port leads.
    pub https_port: u16,
    /// The DNS server to ask, as `host:port`, `[address]:port` or an address; the system's if none.
    ///
    /// With a server of its own the validator does not look into the hosts file.
    pub resolver: Option<String>,
    /// Networks to dial although the built-in rules refuse them.
    pub allow_networks: Vec<IpNet>,
    /// Networks never to dial. They win over everything else.
    pub deny_networks: Vec<IpNet>,
    /// Takes every challenge as fulfilled and skips CAA, without asking anyone. For tests only.
    pub always_valid: bool,
    /// The names by which CAA records may authorise this CA.
    pub caa_identities: Vec<String>,
    /// How CAA is checked.
    pub caa: CaaPolicy,
    /// The names by which records of dns-persist-01 may name this CA; without any it is not offered.
    pub dns_persist_names: Vec<String>,
    /// How many validations by dns-persist-01 may fail for an account and name in an hour; any number if `None`.
    pub failed_persist_per_hour: Option<u32>,
    /// Who validates DNSSEC.
    pub dnssec: Dnssec,
    /// A file of DNSKEY records to trust instead of the root's published keys, where this process validates.
    ///
    /// For a network with a signed root or signed zones of its own.
    pub trust_anchors: Option<PathBuf>,
    /// How long one try may take.
    pub attempt_timeout: Duration,
    /// The longest pause before a try, drawn anew each time: only a test server wants one, so no configuration has it.
    pub delay_max: Duration,
}

impl Default for ValidationSettings {
    fn default() -> Self {
        Self {
            http01_port: 80,
            tls_alpn01_port: 443,
            https_port: 443,
            resolver: None,
            allow_networks: Vec::new(),
            deny_networks: Vec::new(),
            always_valid: false,
            caa_identities: Vec::new(),
            caa: CaaPolicy::default(),
            dns_persist_names: Vec::new(),
            failed_persist_per_hour: None,
            dnssec: Dnssec::default(),
            trust_anchors: None,
            attempt_timeout: ATTEMPT_TIMEOUT,
            delay_max: Duration::ZERO,
        }
    }
}

/// How CAA records are checked (RFC 8659).
///
/// Records that forbid issuance, and lookups that fail at a resolver that works, refuse under both
/// checking policies. They differ only where no resolver works at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaaPolicy {
    /// Refuses when no resolver answers. What a CA with public names wants.
    Required,
    /// Goes on when no resolver answers anything, not even a question for the root.
    ///
    /// An internal CA may live on a network without DNS, with names from the hosts file; it would
    /// otherwise never issue. One name server that fails, or one query that is lost, is not enough:
    /// the resolver itself must be silent.
    #[default]
    WhenAvailable,
    /// Never asks. For a CA whose names lie below a public domain with CAA records of another CA,
    /// where the operator cannot add a record of his own.
    Off,
}

impl CaaPolicy {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Required, Self::WhenAvailable, Self::Off];

    /// Returns the name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::WhenAvailable => "when-available",
            Self::Off => "off",
        }
    }
}

impl std::str::FromStr for CaaPolicy {
    type Err = SettingsError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == name)
            .ok_or_else(|| SettingsError::CaaPolicy(name.to_owned()))
    }
}

/// Who validates DNSSEC signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dnssec {
    /// The resolver: what it finds bogus it answers with SERVFAIL, which refuses.
    ///
    /// The default, because internal zones are seldom signed and often live below a signed parent
    /// that denies their existence; see `docs/decisions/0005-dnssec.md`.
    #[default]
    Resolver,
    /// This process, from the root's trust anchor down. Bogus answers refuse, unsigned zones pass
    /// where their parent proves that they are unsigned.
    Validate,
}

impl Dnssec {
    /// All choices.
    pub const ALL: [Self; 2] = [Self::Resolver, Self::Validate];

    /// Returns the name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolver => "resolver",
            Self::Validate => "validate",
        }
    }
}

impl std::str::FromStr for Dnssec {
    type Err = SettingsError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|choice| choice.as_str() == name)
            .ok_or_else(|| SettingsError::Dnssec(name.to_owned()))
    }
}

/// Reads a network as an operator writes it: `10.0.0.0/8`, or one address.
///
/// # Errors
/// When the text is neither, or has bits set behind the prefix: `10.1.2.3/8` is more often a slip
/// than a wish.
pub fn parse_network(text: &str) -> Result<IpNet, SettingsError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let network: IpNet = text.parse().map_err(|_| SettingsError::Network(text.to_owned()))?;
    if network.addr() != network.network() {
        return Err(SettingsError::NetworkBits {
            given: network,
            meant: network.trunc(),
        });
    }
    Ok(network)
}

/// A setting that the operator has to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Neither a network nor an address.
    #[error("{0:?} is no network: write 192.0.2.0/24, 2001:db8::/32 or one address")]
    Network(String),
    /// A network with bits behind its prefix.
    #[error("{given} has bits set behind its prefix: did you mean {meant}?")]
    NetworkBits {
        /// As written.
        given: IpNet,
        /// The network that holds it.
        meant: IpNet,
    },
    /// No such policy.
    #[error("{0:?} is no CAA policy: choose required, when-available or off")]
    CaaPolicy(String),
    /// No such choice.
    #[error("{0:?} is no choice for DNSSEC: choose resolver or validate")]
    Dnssec(String),
    /// A resolver that cannot be used.
    #[error("validation.resolver {text:?} cannot be used: {reason}")]
    Resolver {
        /// As written.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of trust anchors that cannot be used.
    #[error("validation.trust_anchors {}: {reason}", path.display())]
    TrustAnchors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The TLS library refused our own configuration.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_operators_write_them() {
        for (text, wanted) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("192.0.2.7", Some("192.0.2.7/32")),
            ("fd00::/8", Some("fd00::/8")),
            ("::1", Some("::1/128")),
            ("10.1.2.3/8", None),
            ("10.0.0.0/33", None),
            ("example.org", None),
            ("", None),
        ] {
            assert_eq!(
                parse_network(text).ok().map(|n| n.to_string()).as_deref(),
                wanted,
                "{text}"
            );
        }
        let slip = parse_network("10.1.2.3/8").unwrap_err().to_string();
        assert!(slip.contains("10.0.0.0/8"), "{slip}");
    }

    #[test]
    fn choices_survive_a_round_trip() {
        for policy in CaaPolicy::ALL {
            assert_eq!(policy.as_str().parse(), Ok(policy));
        }
        for choice in Dnssec::ALL {
            assert_eq!(choice.as_str().parse(), Ok(choice));
        }
        assert!("always".parse::<CaaPolicy>().is_err());
    }
}
