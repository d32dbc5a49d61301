//! Proving control of names: each solver makes one kind of proof visible and takes it away again.

mod dns_hook;
mod http01;
mod rfc2136;
mod tls_alpn01;
mod webroot;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sigillo_protocol::acme::challenge::{self, ChallengeType};

pub use dns_hook::DnsHook;
pub use http01::Http01;
pub use rfc2136::{Rfc2136, Rfc2136Settings};
pub use tls_alpn01::TlsAlpn01;
pub use webroot::Webroot;

use crate::error::{Error, Result};
use crate::keystore::ChallengeSettings;

/// What a solver's work gives in the end.
pub type SolverFuture<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Makes proofs of one kind visible.
pub trait Solver: Send + Sync {
    /// Returns the kind.
    fn kind(&self) -> ChallengeType;

    /// Makes a proof visible; when it returns, the server may look.
    fn present<'a>(&'a self, proof: &'a Proof) -> SolverFuture<'a>;

    /// Takes a proof away. Also called after a failure of [`Solver::present`].
    fn remove<'a>(&'a self, proof: &'a Proof) -> SolverFuture<'a>;
}

/// The solvers that an order may use, the preferred one first.
pub type Solvers = Vec<Arc<dyn Solver>>;

/// Where http-01 looks (RFC 8555 section 8.3).
const HTTP01_PORT: u16 = 80;

/// Makes the solvers that the user has configured; without any, http-01 on its usual port.
///
/// # Errors
/// When a program, folder or file is missing, or the one wanted challenge is not configured.
pub fn from_settings(settings: &ChallengeSettings) -> Result<Solvers> {
    let wait = Duration::from_secs(settings.dns_wait.unwrap_or(0));
    let mut solvers: Solvers = Vec::new();
    if let Some(root) = &settings.webroot {
        solvers.push(Arc::new(Webroot::new(root)?));
    }
    if let Some(port) = settings.http01_port {
        solvers.push(Arc::new(Http01::on_port(port)));
    }
    if let Some(port) = settings.tls_alpn01_port {
        solvers.push(Arc::new(TlsAlpn01::on_port(port)));
    }
    if let Some(program) = &settings.dns_hook {
        solvers.push(Arc::new(DnsHook::new(program, wait)?));
    }
    if let Some(file) = &settings.dns_rfc2136 {
        solvers.push(Arc::new(Rfc2136::from_file(file, wait)?));
    }
    let wanted = settings
        .challenge
        .as_deref()
        .map(str::parse::<ChallengeType>)
        .transpose();
    let wanted = wanted.map_err(|e| Error::usage(e.to_string()))?;
    if solvers.is_empty() && wanted.is_none_or(|kind| kind == ChallengeType::Http01) {
        solvers.push(Arc::new(Http01::on_port(HTTP01_PORT)));
    }
    if let Some(wanted) = wanted {
        solvers.retain(|solver| solver.kind() == wanted);
        if solvers.is_empty() {
            return Err(Error::usage(format!("{wanted} is wanted, but nothing here answers it")));
        }
    }
    Ok(solvers)
}

/// Whose control is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A DNS name, without `*.`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl Subject {
    /// Returns it as a person writes it.
    pub fn text(&self) -> String {
        match self {
            Self::Dns(name) => name.clone(),
            Self::Ip(address) => address.to_string(),
        }
    }

    /// Returns the name of the TXT record of dns-01, without a final dot.
    ///
    /// # Errors
    /// For an address, which has none (RFC 8738 section 7).
    pub fn record_name(&self) -> Result<String> {
        match self {
            Self::Dns(name) => Ok(format!("_acme-challenge.{name}")),
            Self::Ip(address) => Err(Error::usage(format!(
                "dns-01 cannot prove control of the address {address}"
            ))),
        }
    }
}

/// A token that is safe to use as a file name (RFC 8555 section 8.1: base64url characters alone).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

/// The longest token that is taken: servers use 43 characters.
const TOKEN_LENGTH_MAX: usize = 256;

impl Token {
    /// Checks a token from a server.
    ///
    /// # Errors
    /// When it has any other character, is empty or absurdly long: it is used as a path.
    pub fn parse(text: &str) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if text.is_empty() || text.len() > TOKEN_LENGTH_MAX || !text.chars().all(allowed) {
            return Err(Error::server(
                "cannot answer a challenge",
                format!("its token {text:.64?} is not made of base64url characters"),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What has to be shown to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Whose control is proven.
    pub subject: Subject,
    /// The challenge's token.
    pub token: Token,
    /// The token with the account's thumbprint (RFC 8555 section 8.1).
    pub key_authorization: String,
}

impl Proof {
    /// Returns the value of the TXT record of dns-01.
    pub fn dns_value(&self) -> String {
        challenge::dns01_value(&self.key_authorization)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_could_be_a_path_is_refused() {
        for bad in [
            "",
            "..",
            "../../etc/passwd",
            "a/b",
            "a.b",
            "a\0",
            "a b",
            "a\n",
            "ä",
            "%2e",
        ] {
            assert!(Token::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Token::parse(&"a".repeat(257)).is_err());
        assert!(Token::parse("DGyRejmCefe7v4NfDGDKfA-_").is_ok());
    }

    #[test]
    fn settings_choose_the_solvers() {
        let kinds = |settings: &ChallengeSettings| -> Result<Vec<ChallengeType>> {
            Ok(from_settings(settings)?.iter().map(|solver| solver.kind()).collect())
        };
        let none = ChallengeSettings::default();
        assert_eq!(kinds(&none).unwrap(), [ChallengeType::Http01]);
        let both = ChallengeSettings {
            http01_port: Some(8080),
            tls_alpn01_port: Some(8443),
            ..ChallengeSettings::default()
        };
        assert_eq!(kinds(&both).unwrap(), [ChallengeType::Http01, ChallengeType::TlsAlpn01]);
        let one = ChallengeSettings {
            challenge: Some("tls-alpn-01".into()),
            ..both.clone()
        };
        assert_eq!(kinds(&one).unwrap(), [ChallengeType::TlsAlpn01]);
        let missing = ChallengeSettings {
            challenge: Some("dns-01".into()),
            ..both.clone()
        };
        assert!(kinds(&missing).is_err());
        let unknown = ChallengeSettings {
            challenge: Some("dns-02".into()),
            ..both
        };
        assert!(kinds(&unknown).is_err());
    }

    #[test]
    fn an_address_has_no_txt_record() {
        assert!(Subject::Ip("127.0.0.1".parse().unwrap()).record_name().is_err());
        assert_eq!(
            Subject::Dns("a.example".into()).record_name().unwrap(),
            "_acme-challenge.a.example"
        );
    }
}
