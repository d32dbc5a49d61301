//! The configuration as it is written. Unknown keys are refused, so that a slip is not silent.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::ConfigError;
use crate::policy::RawProfile;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "docs/configuration.md describes every key; the checked form documents the meaning"
)]
pub struct RawConfig {
    pub server: RawServer,
    pub acme: RawAcme,
    pub validation: RawValidation,
    pub store: RawStore,
    pub profiles: BTreeMap<String, RawProfile>,
    pub names: RawNames,
    pub keys: RawKnownKeys,
    pub crl: RawCrl,
    pub audit: RawAudit,
    pub ocsp: RawOcsp,
    pub limits: RawLimits,
    pub prune: RawPrune,
}

/// `server.*`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "see RawConfig")]
pub struct RawServer {
    pub https: Option<String>,
    pub http: Option<String>,
    pub health: Option<String>,
    pub names: Option<Vec<String>>,
    pub public_https: Option<String>,
    pub public_http: Option<String>,
    pub log: Option<String>,
    pub log_format: Option<String>,
}

/// `acme.*`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "see RawConfig")]
pub struct RawAcme {
    pub eab_required: Option<bool>,
    pub terms: Option<String>,
    pub website: Option<String>,
    pub caa_identities: Option<Vec<String>>,
    pub reuse_authorizations: Option<bool>,
    pub order_lifetime: Option<String>,
    pub authorization_lifetime: Option<String>,
    pub pending_authorization_lifetime: Option<String>,
    pub dns_account: Option<bool>,
    pub dns_persist: Option<bool>,
    pub dns_persist_names: Option<Vec<String>>,
    pub subdomain_authorizations: Option<bool>,
    pub auto_renewal: RawAutoRenewal,
}

/// `acme.auto_renewal.*`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "see RawConfig")]
pub struct RawAutoRenewal {
    pub enabled: Option<bool>,
    pub min_lifetime: Option<String>,
    pub max_duration: Option<String>,
    pub allow_certificate_get: Option<bool>,
    pub orders_per_account: Option<u32>,
}

/// `validation.*`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "see RawConfig")]
pub struct RawValidation {
    pub http01_port: Option<u16>,
    pub tls_alpn01_port: Option<u16>,
    pub https_port: Option<u16>,
    pub resolver: Option<String>,
    pub allow_networks: Option<Vec<String>>,
    pub deny_networks: Option<Vec<String>>,
    pub always_valid: Option<bool>,
    pub caa: Option<String>,
    pub dnssec: Option<String>,
    pub trust_anchors: Option<String>,
}

/// `names.*`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "see RawConfig")]
pub struct RawNames {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
}

/// `store.*`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "see RawConfig")]
pub struct RawStore {
    pub url: Option<String>,
}

/// `crl.*`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "see RawConfig")]
pub struct RawCrl {
    pub validity: Option<String>,
    pub interval: Option<String>,
    pub on_revocation: Option<bool>,
    pub gather: Option<String>,
    pub delta: Option<String>,
}

/// `audit.*`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "see RawConfig")]
pub struct RawAudit {
    pub gather: Option<String>,
    pub witnesses: Option<Vec<String>>,
}

/// `ocsp.*`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "see RawConfig")]
pub struct RawOcsp {
    pub validity: Option<String>,
    pub cache_megabytes: Option<u32>,
    pub index_certificates: Option<u32>,
}

/// `limits.*`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "see RawConfig")]
pub struct RawLimits {
    pub enabled: Option<bool>,
    pub new_accounts_per_hour: Option<u32>,
    pub new_orders_per_hour: Option<u32>,
    pub new_orders_at_once: Option<u32>,
    pub failed_persist_per_hour: Option<u32>,
    pub connections: Option<usize>,
}

/// `keys.*`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "see RawConfig")]
pub struct RawKnownKeys {
    pub blocklist: Option<PathBuf>,
}

/// `prune.*`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "see RawConfig")]
pub struct RawPrune {
    pub orders_kept: Option<String>,
    pub certificates_kept: Option<String>,
    pub renewed_certificates_kept: Option<String>,
}

/// Reads a file's text and puts values from the command line (`section.key=value`) on top.
///
/// # Errors
/// [`ConfigError::Syntax`] for anything that is not a known key with a value of its type.
pub fn read(text: &str, origin: &str, overrides: &[String]) -> Result<RawConfig, ConfigError> {
    let syntax = |origin: &str, message: String| ConfigError::Syntax {
        origin: origin.to_owned(),
        message,
    };
    let mut table: toml::Table = toml::from_str(text).map_err(|error| syntax(origin, error.to_string()))?;
    // The file is checked by itself first, so that a message about it has its line.
    toml::from_str::<RawConfig>(text).map_err(|error| syntax(origin, error.to_string()))?;
    for argument in overrides {
        let set = format!("--set {argument}");
        let (key, value) = argument
            .split_once('=')
            .ok_or_else(|| syntax(&set, "write it as section.key=value".to_owned()))?;
        let mut alone = toml::Table::new();
        for table in [&mut table, &mut alone] {
            put(table, key.trim(), value_of(value.trim())).map_err(|message| syntax(&set, message))?;
        }
        // Each by itself, so that a message names the argument that it is about.
        let checked: Result<RawConfig, toml::de::Error> = toml::Value::Table(alone).try_into();
        checked.map_err(|error| syntax(&set, error.message().to_owned()))?;
    }
    toml::Value::Table(table).try_into().map_err(|error: toml::de::Error| {
        syntax(
            if overrides.is_empty() { origin } else { "--set" },
            error.message().to_owned(),
        )
    })
}

/// Writes a first configuration file that holds what was set on the command line.
///
/// # Errors
/// As for reading.
pub fn document(overrides: &[String]) -> Result<String, ConfigError> {
    read("", "--set", overrides)?;
    let mut table = toml::Table::new();
    for (key, value) in overrides.iter().filter_map(|argument| argument.split_once('=')) {
        put(&mut table, key.trim(), value_of(value.trim())).map_err(|message| ConfigError::Syntax {
            origin: format!("--set {key}"),
            message,
        })?;
    }
    let head = "# Sigillo's configuration. Nothing is mandatory; docs/configuration.md lists every key,\n\
                # and sigillo-ca config show prints what is in force.\n";
    let body = toml::to_string(&table).map_err(|error| ConfigError::Syntax {
        origin: "--set".to_owned(),
        message: error.to_string(),
    })?;
    Ok(format!("{head}{body}"))
}

/// Takes a value as TOML where it is TOML, and as text otherwise: quotes on a command line are a nuisance.
fn value_of(text: &str) -> toml::Value {
    let parsed: Result<toml::Table, _> = toml::from_str(&format!("value = {text}"));
    parsed
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

fn put(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<(), String> {
    let Some((section, rest)) = key.split_once('.') else {
        if key.is_empty() {
            return Err("a part of the key is empty".to_owned());
        }
        table.insert(key.to_owned(), value);
        return Ok(());
    };
    if section.is_empty() {
        return Err("a part of the key is empty".to_owned());
    }
    let inner = table
        .entry(section)
        .or_insert_with(|| toml::Value::Table(toml::Table::new()));
    match inner {
        toml::Value::Table(inner) => put(inner, rest, value),
        _ => Err(format!("{section} is no section")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_set(text: &str, set: &[&str]) -> Result<RawConfig, ConfigError> {
        let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
        read(text, "test", &set)
    }

    #[test]
    fn command_line_wins_and_needs_no_quotes() {
        let raw = read_set(
            "[server]\nhttps = \"127.0.0.1:1\"\n",
            &[
                "server.https=127.0.0.1:2",
                "acme.eab_required=true",
                "validation.http01_port=5002",
                "server.names=[\"a\", \"b\"]",
            ],
        )
        .unwrap();
        assert_eq!(raw.server.https.as_deref(), Some("127.0.0.1:2"));
        assert_eq!(raw.acme.eab_required, Some(true));
        assert_eq!(raw.validation.http01_port, Some(5002));
        assert_eq!(raw.server.names.unwrap().len(), 2);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (text, set) in [
            ("[server]\nhtps = \"x\"\n", &[][..]),
            ("", &["server.htps=x"]),
            ("", &["nonsense"]),
            ("", &["server..https=x"]),
            ("", &["acme.eab_required=perhaps"]),
            ("[server\n", &[]),
        ] {
            assert!(read_set(text, set).is_err(), "{text:?} {set:?}");
        }
    }
}
