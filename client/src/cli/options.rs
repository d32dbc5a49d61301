//! Options that several commands share.

use std::path::PathBuf;

use sigillo_client::account::{ExternalAccount, Registration};
use sigillo_client::error::{Error, Result};
use sigillo_client::keystore::ChallengeSettings;

use crate::config::Config;

/// How control of names is proven.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Challenges {
    /// Use this challenge alone: http-01, dns-01 or tls-alpn-01.
    #[arg(long, value_name = "TYPE")]
    pub challenge: Option<String>,
    /// Answer http-01 on this port [default: 80].
    #[arg(long, value_name = "PORT")]
    pub http01_port: Option<u16>,
    /// Answer http-01 by files under the folder that a web server shows.
    #[arg(long, value_name = "DIR")]
    pub webroot: Option<PathBuf>,
    /// Answer tls-alpn-01 on this port.
    #[arg(long, value_name = "PORT")]
    pub tls_alpn01_port: Option<u16>,
    /// Answer dns-01 by a program, run as `PROGRAM present|remove RECORD VALUE`.
    #[arg(long, value_name = "PROGRAM")]
    pub dns_hook: Option<PathBuf>,
    /// Answer dns-01 by dynamic updates (RFC 2136), as the file (server, key, secret, ...) says.
    #[arg(long, value_name = "FILE")]
    pub dns_rfc2136: Option<PathBuf>,
    /// Give a new TXT record this many seconds to become visible.
    #[arg(long, value_name = "SECONDS")]
    pub dns_wait: Option<u64>,
}

impl Challenges {
    /// Returns the settings: what was said here, and what the configuration says about the rest.
    ///
    /// # Errors
    /// When a path cannot be made absolute, which it has to be for renewals from elsewhere.
    pub fn settings(self, config: &Config) -> Result<ChallengeSettings> {
        let told = self.challenge.is_some()
            || self.http01_port.is_some()
            || self.webroot.is_some()
            || self.tls_alpn01_port.is_some()
            || self.dns_hook.is_some()
            || self.dns_rfc2136.is_some();
        let defaults = &config.challenges;
        // Solvers named here replace the configured ones; they are not mixed with them.
        let base = match told {
            true if self.challenge.is_some() && !self.names_a_solver() => defaults.clone(),
            true => ChallengeSettings::default(),
            false => defaults.clone(),
        };
        let path = |path: Option<PathBuf>| {
            let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|e| Error::file("find", &path, e));
            path.map(absolute).transpose()
        };
        Ok(ChallengeSettings {
            challenge: self.challenge.or(base.challenge),
            http01_port: self.http01_port.or(base.http01_port),
            webroot: path(self.webroot)?.or(base.webroot),
            tls_alpn01_port: self.tls_alpn01_port.or(base.tls_alpn01_port),
            dns_hook: path(self.dns_hook)?.or(base.dns_hook),
            dns_rfc2136: path(self.dns_rfc2136)?.or(base.dns_rfc2136),
            dns_wait: self.dns_wait.or(defaults.dns_wait),
        })
    }

    fn names_a_solver(&self) -> bool {
        self.http01_port.is_some()
            || self.webroot.is_some()
            || self.tls_alpn01_port.is_some()
            || self.dns_hook.is_some()
            || self.dns_rfc2136.is_some()
    }
}

/// How an account is made.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AccountOptions {
    /// How you can be reached, for example mailto:me@a.example (an address alone will do).
    #[arg(long, value_name = "URL")]
    pub contact: Vec<String>,
    /// Agree to the server's terms of service.
    #[arg(long)]
    pub agree_tos: bool,
    /// The identifier of the key that the server's operator gave you.
    #[arg(long, value_name = "KID", requires = "eab_hmac", allow_hyphen_values = true)]
    pub eab_kid: Option<String>,
    /// The key that the server's operator gave you, base64url.
    #[arg(
        long,
        env = "SIGILLO_EAB_HMAC",
        hide_env_values = true,
        value_name = "KEY",
        allow_hyphen_values = true,
        requires = "eab_kid"
    )]
    pub eab_hmac: Option<String>,
}

impl AccountOptions {
    /// Returns what is said to the server: what was said here, else what the configuration says.
    ///
    /// # Errors
    /// When the key of the operator is not base64url.
    pub fn registration(self, config: &Config) -> Result<Registration> {
        let contact = if self.contact.is_empty() {
            config.contact.clone()
        } else {
            self.contact
        };
        let external_account = match (self.eab_kid, self.eab_hmac) {
            (Some(kid), Some(hmac)) => Some(ExternalAccount::new(&kid, &hmac)?),
            _ => config.external_account.clone(),
        };
        Ok(Registration {
            contact: contact.iter().map(|text| contact_url(text)).collect(),
            agree_tos: self.agree_tos || config.agree_tos,
            external_account,
        })
    }
}

/// Makes a URL of an address.
pub fn contact_url(text: &str) -> String {
    if !text.contains(':') && text.contains('@') {
        format!("mailto:{text}")
    } else {
        text.to_owned()
    }
}
