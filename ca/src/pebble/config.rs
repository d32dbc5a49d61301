//! Pebble's JSON configuration, read as Pebble reads it: names of members in any case, unknown ones passed over.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Map, Value};

/// The largest file that is read: a real one has a few hundred octets.
const FILE_OCTETS_MAX: u64 = 1024 * 1024;

/// Where Pebble looks for its configuration when none is named.
pub const DEFAULT_FILE: &str = "test/config/pebble-config.json";

/// What Pebble's configuration says. What it leaves out has Pebble's default.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where ACME is served, as `host:port`.
    pub listen: String,
    /// Where the management interface is served; nowhere if `None`.
    pub management: Option<String>,
    /// The certificate chain that HTTPS shows, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub private_key: Option<PathBuf>,
    /// Where http-01 asks.
    pub http_port: u16,
    /// Where tls-alpn-01 asks.
    pub tls_port: u16,
    /// The OCSP responder that certificates name; ours if `None`.
    pub ocsp_responder: Option<String>,
    /// Whether accounts need an external account binding.
    pub binding_required: bool,
    /// The keys for that, by their `kid`; base64url.
    pub mac_keys: BTreeMap<String, String>,
    /// Names that are not issued, with all below them.
    pub blocked_domains: Vec<String>,
    /// The issuer names that CAA records may show.
    pub caa_identities: Vec<String>,
    /// The wait in seconds that pending authorizations ask for.
    pub retry_after_authz: Option<u32>,
    /// The wait in seconds that processing orders ask for.
    pub retry_after_order: Option<u32>,
    /// The certificates' validity in seconds.
    pub validity: Option<u64>,
    /// `rsa` or `ecdsa`: the kind of the CAs' keys.
    pub key_algorithm: Option<String>,
    /// The profiles by their names.
    pub profiles: BTreeMap<String, ConfigProfile>,
    /// Members that mean nothing here.
    pub unknown: Vec<String>,
}

/// A profile of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigProfile {
    /// What it is for.
    pub description: Option<String>,
    /// Its certificates' validity in seconds.
    pub validity: Option<u64>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("{}: more than {FILE_OCTETS_MAX} octets are no configuration", .0.display())]
    TooLarge(PathBuf),
    /// It is no JSON, or not of Pebble's shape.
    #[error("{origin}: {message}")]
    Content {
        /// The file.
        origin: String,
        /// What is wrong.
        message: String,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:14000".to_owned(),
            management: Some("127.0.0.1:15000".to_owned()),
            certificate: Some("test/certs/localhost/cert.pem".into()),
            private_key: Some("test/certs/localhost/key.pem".into()),
            http_port: 5002,
            tls_port: 5001,
            ocsp_responder: None,
            binding_required: false,
            mac_keys: BTreeMap::new(),
            blocked_domains: Vec::new(),
            caa_identities: Vec::new(),
            retry_after_authz: None,
            retry_after_order: None,
            validity: None,
            key_algorithm: None,
            profiles: BTreeMap::new(),
            unknown: Vec::new(),
        }
    }
}

impl Config {
    /// Reads the named file; without a name Pebble's usual one, or the defaults where that is not there.
    ///
    /// # Errors
    /// When the file cannot be read or is none of Pebble's.
    pub fn load(named: Option<&std::path::Path>) -> Result<Self, ConfigFileError> {
        let path = named.map_or_else(|| PathBuf::from(DEFAULT_FILE), PathBuf::from);
        let read = |source| ConfigFileError::Read {
            path: path.clone(),
            source,
        };
        match std::fs::metadata(&path) {
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(read(error)),
            Ok(file) if file.len() > FILE_OCTETS_MAX => return Err(ConfigFileError::TooLarge(path)),
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(&path).map_err(read)?;
        Self::parse(&text).map_err(|message| ConfigFileError::Content {
            origin: path.display().to_string(),
            message,
        })
    }

    /// Reads the text of a configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let whole: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let Value::Object(mut whole) = whole else {
            return Err("this is no JSON object".to_owned());
        };
        let inner = take(&mut whole, "pebble").ok_or("there is no member \"pebble\"")?;
        let Value::Object(mut inner) = inner else {
            return Err("pebble is no object".to_owned());
        };
        let mut config = Self::members(&mut inner)?;
        config.unknown = whole.keys().chain(inner.keys()).cloned().collect();
        Ok(config)
    }

    fn members(from: &mut Map<String, Value>) -> Result<Self, String> {
        let default = Self::default();
        let mut retry_after = object(from, "retryAfter")?;
        Ok(Self {
            listen: filled(text(from, "listenAddress")?).unwrap_or(default.listen),
            // Pebble switches its management off where the address is left out, too.
            management: filled(text(from, "managementListenAddress")?),
            certificate: filled(text(from, "certificate")?).map(PathBuf::from),
            private_key: filled(text(from, "privateKey")?).map(PathBuf::from),
            http_port: port(from, "httpPort")?.unwrap_or(default.http_port),
            tls_port: port(from, "tlsPort")?.unwrap_or(default.tls_port),
            ocsp_responder: filled(text(from, "ocspResponderURL")?),
            binding_required: truth(from, "externalAccountBindingRequired")?,
            mac_keys: texts_by_name(from, "externalAccountMACKeys")?,
            blocked_domains: texts(from, &["domainBlocklist", "domainBlockList"])?,
            caa_identities: texts(from, &["caaIdentities"])?,
            retry_after_authz: seconds(&mut retry_after, "authz")?,
            retry_after_order: seconds(&mut retry_after, "order")?,
            validity: number(from, "certificateValidityPeriod")?.filter(|period| *period > 0),
            key_algorithm: filled(text(from, "keyAlgorithm")?),
            profiles: profiles(object(from, "profiles")?)?,
            unknown: Vec::new(),
        })
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Takes a member out, whatever the case of its name.
fn take(from: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let key = from.keys().find(|key| key.eq_ignore_ascii_case(name))?.clone();
    from.remove(&key).filter(|value| !value.is_null())
}

fn wrong<T>(name: &str, what: &str) -> Result<T, String> {
    Err(format!("{name} is no {what}"))
}

fn text(from: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match take(from, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => wrong(name, "text"),
    }
}

fn truth(from: &mut Map<String, Value>, name: &str) -> Result<bool, String> {
    match take(from, name) {
        None => Ok(false),
        Some(Value::Bool(truth)) => Ok(truth),
        Some(_) => wrong(name, "boolean"),
    }
}

fn number(from: &mut Map<String, Value>, name: &str) -> Result<Option<u64>, String> {
    match take(from, name) {
        None => Ok(None),
        Some(value) => value
            .as_u64()
            .map_or_else(|| wrong(name, "whole number"), |n| Ok(Some(n))),
    }
}

fn port(from: &mut Map<String, Value>, name: &str) -> Result<Option<u16>, String> {
    match number(from, name)? {
        None | Some(0) => Ok(None),
        Some(number) => u16::try_from(number).map_or_else(|_| wrong(name, "port"), |port| Ok(Some(port))),
    }
}

fn seconds(from: &mut Map<String, Value>, name: &str) -> Result<Option<u32>, String> {
    match number(from, name)? {
        None | Some(0) => Ok(None),
        Some(number) => u32::try_from(number).map_or_else(|_| wrong(name, "number of seconds"), |n| Ok(Some(n))),
    }
}

fn object(from: &mut Map<String, Value>, name: &str) -> Result<Map<String, Value>, String> {
    match take(from, name) {
        None => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object),
        Some(_) => wrong(name, "object"),
    }
}

fn texts(from: &mut Map<String, Value>, names: &[&str]) -> Result<Vec<String>, String> {
    let Some((name, value)) = names.iter().find_map(|name| Some((*name, take(from, name)?))) else {
        return Ok(Vec::new());
    };
    let list: Option<Vec<String>> = value
        .as_array()
        .and_then(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    list.map_or_else(|| wrong(name, "list of texts"), Ok)
}

fn texts_by_name(from: &mut Map<String, Value>, name: &str) -> Result<BTreeMap<String, String>, String> {
    let read = |(key, value): (String, Value)| match value {
        Value::String(text) => Ok((key, text)),
        _ => wrong(name, "object of texts"),
    };
    object(from, name)?.into_iter().map(read).collect()
}

fn profiles(from: Map<String, Value>) -> Result<BTreeMap<String, ConfigProfile>, String> {
    let read = |(name, value): (String, Value)| {
        let Value::Object(mut members) = value else {
            return wrong(&name, "profile");
        };
        let profile = ConfigProfile {
            description: filled(text(&mut members, "description")?),
            validity: number(&mut members, "validityPeriod")?.filter(|period| *period > 0),
        };
        Ok((name, profile))
    };
    from.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_pebble_reads() {
        let config = Config::parse(
            r#"{ "pebble": {
                "listenAddress": "0.0.0.0:14000", "ManagementListenAddress": "", "httpPort": 80, "tlsPort": 443,
                "certificate": "a.pem", "privateKey": "b.pem", "ocspResponderURL": "http://o.test",
                "externalAccountBindingRequired": true, "externalAccountMACKeys": { "kid-1": "AAAA" },
                "domainBlocklist": ["blocked.test"], "retryAfter": { "authz": 3, "order": 5 },
                "certificateValidityPeriod": 60, "keyAlgorithm": "rsa",
                "profiles": { "shortlived": { "description": "short", "validityPeriod": 518400 } },
                "somethingNew": 1
            } }"#,
        )
        .unwrap();
        assert_eq!(config.listen, "0.0.0.0:14000");
        assert_eq!(config.management, None);
        assert_eq!((config.http_port, config.tls_port), (80, 443));
        assert_eq!(config.mac_keys["kid-1"], "AAAA");
        assert_eq!(
            (config.retry_after_authz, config.retry_after_order, config.validity),
            (Some(3), Some(5), Some(60))
        );
        assert_eq!(config.profiles["shortlived"].validity, Some(518_400));
        assert_eq!(config.unknown, ["somethingNew"]);
    }

    #[test]
    fn leaves_what_is_left_out_as_pebble_has_it() {
        let config = Config::parse(r#"{ "pebble": { "httpPort": 0, "certificate": null } }"#).unwrap();
        assert_eq!((config.http_port, config.tls_port), (5002, 5001));
        assert_eq!(config.certificate, None);
        assert_eq!(Config::load(None).unwrap(), Config::default());
    }

    #[test]
    fn refuses_what_cannot_be_meant() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"pebble": 1}"#,
            r#"{"pebble": {"httpPort": 70000}}"#,
            r#"{"pebble": {"httpPort": "80"}}"#,
            r#"{"pebble": {"domainBlocklist": [1]}}"#,
            r#"{"pebble": {"externalAccountMACKeys": {"kid": 1}}}"#,
            r#"{"pebble": {"profiles": {"x": 1}}}"#,
        ] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
        assert!(Config::load(Some(std::path::Path::new("no/such/file.json"))).is_err());
    }
}
