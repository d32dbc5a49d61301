//! Settings: the file as it is written, and the values as they were checked.

mod raw;

use std::path::{Path, PathBuf};

use sigillo_client::account::ExternalAccount;
use sigillo_client::check;
use sigillo_client::error::{Error, Result};
use sigillo_client::key::KeyType;
use sigillo_client::keystore::{ChallengeSettings, Keystore, Renewal};
use sigillo_client::transport::{Transport, Trust};
use sigillo_client::{Client, solver};

/// The folder under the user's own, unless another one is named.
const HOME_DEFAULT: &str = ".sigillo";

/// What the command line and the environment say about settings of the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The server's directory.
    pub directory: Option<String>,
    /// The roots to trust.
    pub ca_root: Option<PathBuf>,
    /// The folder.
    pub home: Option<PathBuf>,
}

/// The settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    store: Keystore,
    directory: Option<String>,
    /// The roots to trust instead of the system's; absolute.
    pub ca_root: Option<PathBuf>,
    /// Contacts for a new account.
    pub contact: Vec<String>,
    /// Whether the user agrees to servers' terms.
    pub agree_tos: bool,
    /// The operator's key.
    pub external_account: Option<ExternalAccount>,
    /// The kind of keys to make.
    pub key_type: KeyType,
    /// Whether renewals keep keys.
    pub reuse_key: bool,
    /// The profile to order under.
    pub profile: Option<String>,
    /// The program to run after an issuance.
    pub deploy_hook: Option<PathBuf>,
    /// How control of names is proven.
    pub challenges: ChallengeSettings,
}

impl Config {
    /// Reads `config.toml` in the folder, where there is one, and lets the overrides win.
    ///
    /// # Errors
    /// When the file has an unknown key or a wrong value: nothing is guessed.
    pub fn load(overrides: Overrides) -> Result<Self> {
        let home = match overrides.home {
            Some(home) => home,
            None => std::env::home_dir()
                .filter(|home| !home.as_os_str().is_empty())
                .map(|home| home.join(HOME_DEFAULT))
                .ok_or_else(|| Error::usage("where should files be kept? give --home"))?,
        };
        let raw = raw::read(&home.join("config.toml"))?;
        let inside = |path: PathBuf| home.join(path);
        let ca_root = match overrides.ca_root {
            Some(path) => Some(std::path::absolute(&path).map_err(|e| Error::file("find", &path, e))?),
            None => raw.ca_root.map(inside),
        };
        let external_account = match (&raw.eab_kid, &raw.eab_hmac) {
            (Some(kid), Some(hmac)) => Some(ExternalAccount::new(kid, hmac)?),
            (None, None) => None,
            _ => return Err(Error::usage("config.toml: eab_kid and eab_hmac go together")),
        };
        let challenges = ChallengeSettings {
            challenge: raw.challenge,
            http01_port: raw.http01_port,
            webroot: raw.webroot.map(inside),
            tls_alpn01_port: raw.tls_alpn01_port,
            dns_hook: raw.dns_hook.map(inside),
            dns_rfc2136: raw.dns_rfc2136.map(inside),
            dns_wait: raw.dns_wait,
        };
        if challenges != ChallengeSettings::default() {
            solver::from_settings(&challenges).map_err(|e| Error::usage(format!("config.toml: {e}")))?;
        }
        Ok(Self {
            directory: overrides.directory.or(raw.directory),
            ca_root,
            contact: raw.contact,
            agree_tos: raw.agree_tos,
            external_account,
            key_type: raw.key_type.unwrap_or_default(),
            reuse_key: raw.reuse_key,
            profile: raw.profile,
            deploy_hook: raw.deploy_hook.map(inside),
            challenges,
            store: Keystore::new(home),
        })
    }

    /// Returns the folder.
    pub fn store(&self) -> &Keystore {
        &self.store
    }

    /// Makes what carries requests, trusting the given roots or the system's.
    pub fn transport(&self, ca_root: Option<&Path>) -> Result<Transport> {
        let trust = match ca_root {
            Some(path) => {
                let roots = check::certificates_from_file(path)?;
                Trust::Roots(roots.into_iter().map(Into::into).collect())
            }
            None => Trust::System,
        };
        Transport::new(trust)
    }

    /// Makes a client for the server that is named by option, environment or file.
    pub async fn connect(&self) -> Result<Client> {
        let directory = self.directory.as_deref().ok_or_else(|| {
            Error::usage("which server? give --directory, or set it in SIGILLO_DIRECTORY or config.toml")
        })?;
        let transport = self.transport(self.ca_root.as_deref())?;
        Client::connect(transport, directory, self.store.clone()).await
    }

    /// Makes a client for the server that a kept certificate came from.
    pub async fn connect_for(&self, renewal: Renewal) -> Result<Client> {
        // Roots named now win over those of the order: a CA's root may have moved or changed.
        let ca_root = self.ca_root.as_ref().or(renewal.ca_root.as_ref());
        let transport = self.transport(ca_root.map(PathBuf::as_path))?;
        Client::connect(transport, &renewal.directory, self.store.clone()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, overrides: impl FnOnce(&mut Overrides)) -> Result<Config> {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config.toml"), text).unwrap();
        let mut told = Overrides {
            home: Some(home.path().to_owned()),
            ..Overrides::default()
        };
        overrides(&mut told);
        Config::load(told)
    }

    #[test]
    fn options_win_over_the_file() {
        let text = "directory = 'https://a.example/dir'\nkey_type = 'rsa-3072'\nhttp01_port = 8080";
        let config = load(text, |_| {}).unwrap();
        assert_eq!(config.directory.as_deref(), Some("https://a.example/dir"));
        assert_eq!(config.key_type, KeyType::Rsa3072);
        assert_eq!(config.challenges.http01_port, Some(8080));
        let told = |told: &mut Overrides| told.directory = Some("https://b.example/dir".into());
        let config = load(text, told).unwrap();
        assert_eq!(config.directory.as_deref(), Some("https://b.example/dir"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let cases = [
            "directry = 'https://a.example/dir'",
            "key_type = 'dsa'",
            "http01_port = 70000",
            "eab_kid = 'x'",
            "eab_kid = 'x'\neab_hmac = '!'",
            "challenge = 'dns-01'",
            "webroot = '/nonexistent/folder'",
            "directory = ",
        ];
        for text in cases {
            let error = load(text, |_| {}).unwrap_err();
            assert!(!error.to_string().is_empty(), "{text}");
        }
        assert!(load("", |_| {}).is_ok());
    }
}
