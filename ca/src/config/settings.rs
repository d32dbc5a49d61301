//! The configuration as checked: every value is one that can be used.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use sigillo_protocol::{
    acme::{
        dns_persist::ISSUER_NAMES_MAX,
        identifier::{DnsName, Name},
    },
    transparency::note::{KeyKind, VerifierKey},
};

use super::{CalendarSpan, ConfigError, raw};
use crate::{
    policy::{AutoRenewalRule, NameRules, Profiles},
    validator::{ValidationSettings, parse_network},
};

/// Everything that the daemon has to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens and what it is called.
    pub server: ServerSettings,
    /// How it speaks ACME.
    pub acme: AcmeSettings,
    /// How it validates.
    pub validation: ValidationSettings,
    /// Where it remembers.
    pub store: StoreSettings,
    /// What it issues.
    pub profiles: Profiles,
    /// For which names it issues at all.
    pub names: NameRules,
    /// For which keys it does not.
    pub keys: KnownKeySettings,
    /// How it publishes CRLs.
    pub crl: CrlSettings,
    /// How it proves what it did.
    pub audit: AuditSettings,
    /// How it answers OCSP.
    pub ocsp: OcspSettings,
    /// What it takes from others.
    pub limits: LimitSettings,
    /// What it forgets.
    pub prune: PruneSettings,
}

/// `server.*`: listeners and names.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// ACME, portal and admin over TLS.
    pub https: SocketAddr,
    /// Status over plain HTTP.
    pub http: SocketAddr,
    /// Health and metrics; nowhere unless configured.
    pub health: Option<SocketAddr>,
    /// The CA's own names, for its TLS certificate; the first one is in the URLs.
    pub names: Vec<Name>,
    /// The base of the ACME URLs.
    pub public_https: String,
    /// The base of the URLs in certificates.
    pub public_http: String,
    /// Which log lines are written, as `tracing` filters them.
    pub log: String,
    /// Whether log lines are JSON.
    pub log_json: bool,
}

/// `acme.*`: what the protocol's texts leave to the server.
#[derive(Debug, Clone)]
pub struct AcmeSettings {
    /// Whether newAccount needs an external account binding.
    pub eab_required: bool,
    /// The terms' URL; accounts have to agree to exactly this one.
    pub terms: Option<String>,
    /// A page about the CA.
    pub website: Option<String>,
    /// The issuer names that CAA records may show.
    pub caa_identities: Vec<String>,
    /// Whether a valid authorization serves later orders.
    pub reuse_authorizations: bool,
    /// In how many cases of a hundred it does; always, but for a test server, so no configuration has it.
    pub reuse_percent: u8,
    /// Whether an external key makes one account only; always, but for a test server.
    pub external_keys_once: bool,
    /// How many orders a page of an account's list shows; no configuration has it.
    pub orders_page: usize,
    /// How long an order stays open.
    pub order_lifetime: CalendarSpan,
    /// How long a valid authorization can be used.
    pub authorization_lifetime: CalendarSpan,
    /// How long a pending authorization waits.
    pub pending_authorization_lifetime: CalendarSpan,
    /// Which certificates are renewed automatically (RFC 8739), if any are.
    pub auto_renewal: Option<AutoRenewalRule>,
    /// Whether dns-account-01 is offered.
    pub dns_account: bool,
    /// The issuer names of dns-persist-01; without any it is not offered.
    pub dns_persist_names: Vec<String>,
    /// Whether an authorization can be good for all names below its own (RFC 9444).
    pub subdomain_authorizations: bool,
}

/// `store.*`: the truth.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The database's file.
    pub path: PathBuf,
}

/// `keys.*`: what others know.
#[derive(Debug, Clone, Default)]
pub struct KnownKeySettings {
    /// The operator's list of keys to refuse, in the form of badkeys' `blocklist.dat`.
    pub blocklist: Option<PathBuf>,
}

/// `crl.*`: publication.
#[derive(Debug, Clone)]
pub struct CrlSettings {
    /// From thisUpdate to nextUpdate.
    pub validity: Duration,
    /// How often a new one is made without a revocation.
    pub interval: Duration,
    /// Whether a revocation makes a new one at once.
    pub on_revocation: bool,
    /// How long a revocation waits for others, so that many make one CRL.
    pub gather: Duration,
    /// How often a delta CRL is made; `None` for no deltas.
    pub delta: Option<Duration>,
}

/// `audit.*`: the heads of the audit log.
#[derive(Debug, Clone)]
pub struct AuditSettings {
    /// How long an event waits for others before a head is signed.
    pub gather: Duration,
    /// Whose cosignatures are taken.
    pub witnesses: Vec<VerifierKey>,
}

/// `ocsp.*`: answers.
#[derive(Debug, Clone)]
pub struct OcspSettings {
    /// From thisUpdate to nextUpdate.
    pub validity: Duration,
    /// How many megabytes of memory ready-made answers may take; 0 for none.
    pub cache_megabytes: u32,
    /// How many certificates the local status index holds.
    pub index_certificates: NonZeroU32,
}

/// `limits.*`: rates. Sizes and times are bounded always.
#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// Whether rates are limited.
    pub enabled: bool,
    /// New accounts per client address and hour.
    pub new_accounts_per_hour: u32,
    /// New orders per account and hour.
    pub new_orders_per_hour: u32,
    /// New orders that an account may place at once; then they pass at the hourly rate.
    pub new_orders_at_once: u32,
    /// Failed validations by dns-persist-01 per account, name and hour.
    pub failed_persist_per_hour: u32,
    /// Open connections per listener.
    pub connections: usize,
}

/// `prune.*`: what is forgotten, and when.
#[derive(Debug, Clone, Copy)]
pub struct PruneSettings {
    /// How long ended orders are kept.
    pub orders_kept: CalendarSpan,
    /// How long expired certificates are kept; for ever if `None`.
    pub certificates_kept: Option<CalendarSpan>,
    /// How long expired certificates of renewed orders are kept.
    pub renewed_certificates_kept: CalendarSpan,
}

impl Settings {
    /// Checks a configuration for the state folder `dir`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first value that cannot be used.
    pub fn check(raw: raw::RawConfig, dir: &Path) -> Result<Self, ConfigError> {
        let acme = AcmeSettings::check(raw.acme)?;
        let limits = LimitSettings::check(raw.limits)?;
        let profiles = Profiles::check(&raw.profiles)
            .map_err(|(name, error)| ConfigError::value(format!("profiles.{name}"), error))?;
        if let Some(profile) = profiles.iter().find(|profile| profile.approval) {
            // An order that nobody can approve would wait for ever.
            let key = format!("profiles.{}.approval", profile.name);
            return Err(ConfigError::value(key, "approval by an operator is not supported yet"));
        }
        let names =
            NameRules::parse(&raw.names.allow, &raw.names.deny).map_err(|error| ConfigError::value("names", error))?;
        Ok(Self {
            server: ServerSettings::check(raw.server)?,
            validation: validation(raw.validation, &acme, &limits, dir)?,
            acme,
            store: StoreSettings::check(raw.store, dir)?,
            profiles,
            names,
            keys: KnownKeySettings {
                blocklist: raw.keys.blocklist.map(|path| dir.join(path)),
            },
            crl: CrlSettings::check(raw.crl)?,
            audit: AuditSettings::check(raw.audit)?,
            ocsp: OcspSettings::check(raw.ocsp)?,
            limits,
            prune: PruneSettings::check(raw.prune)?,
        })
    }
}

impl Settings {
    /// Shows the settings in force, defaults included, as keys and values.
    pub fn show(&self) -> String {
        let texts = |names: &[String]| format!("{names:?}");
        let own_names: Vec<String> = self.server.names.iter().map(ToString::to_string).collect();
        let networks = |list: &[ipnet::IpNet]| texts(&list.iter().map(ToString::to_string).collect::<Vec<_>>());
        let seconds = |duration: Duration| format!("\"{}s\"", duration.as_secs_f64());
        let optional = |text: &Option<String>| text.as_ref().map(|text| format!("{text:?}"));
        let validation = &self.validation;
        let renewal = self.acme.auto_renewal;
        let lines: Vec<(&str, Option<String>)> = vec![
            ("server.https", Some(format!("\"{}\"", self.server.https))),
            ("server.http", Some(format!("\"{}\"", self.server.http))),
            (
                "server.health",
                self.server.health.map(|address| format!("\"{address}\"")),
            ),
            ("server.names", Some(texts(&own_names))),
            ("server.public_https", Some(format!("{:?}", self.server.public_https))),
            ("server.public_http", Some(format!("{:?}", self.server.public_http))),
            ("server.log", Some(format!("{:?}", self.server.log))),
            (
                "server.log_format",
                Some(format!("{:?}", if self.server.log_json { "json" } else { "text" })),
            ),
            ("acme.eab_required", Some(self.acme.eab_required.to_string())),
            ("acme.terms", optional(&self.acme.terms)),
            ("acme.website", optional(&self.acme.website)),
            ("acme.caa_identities", Some(texts(&self.acme.caa_identities))),
            (
                "acme.reuse_authorizations",
                Some(self.acme.reuse_authorizations.to_string()),
            ),
            ("acme.order_lifetime", Some(format!("\"{}\"", self.acme.order_lifetime))),
            (
                "acme.authorization_lifetime",
                Some(format!("\"{}\"", self.acme.authorization_lifetime)),
            ),
            (
                "acme.pending_authorization_lifetime",
                Some(format!("\"{}\"", self.acme.pending_authorization_lifetime)),
            ),
            (
                "acme.auto_renewal.enabled",
                Some(self.acme.auto_renewal.is_some().to_string()),
            ),
            (
                "acme.auto_renewal.min_lifetime",
                renewal.map(|rule| format!("\"{}s\"", rule.min_lifetime_seconds)),
            ),
            (
                "acme.auto_renewal.max_duration",
                renewal.map(|rule| format!("\"{}s\"", rule.max_duration_seconds)),
            ),
            (
                "acme.auto_renewal.allow_certificate_get",
                renewal.map(|rule| rule.allow_get.to_string()),
            ),
            (
                "acme.auto_renewal.orders_per_account",
                renewal.map(|rule| rule.orders_max.to_string()),
            ),
            ("acme.dns_account", Some(self.acme.dns_account.to_string())),
            (
                "acme.dns_persist",
                Some((!self.acme.dns_persist_names.is_empty()).to_string()),
            ),
            ("acme.dns_persist_names", Some(texts(&self.acme.dns_persist_names))),
            (
                "acme.subdomain_authorizations",
                Some(self.acme.subdomain_authorizations.to_string()),
            ),
            ("prune.orders_kept", Some(format!("\"{}\"", self.prune.orders_kept))),
            (
                "prune.certificates_kept",
                Some(match self.prune.certificates_kept {
                    Some(kept) => format!("\"{kept}\""),
                    None => "\"forever\"".to_owned(),
                }),
            ),
            (
                "prune.renewed_certificates_kept",
                Some(format!("\"{}\"", self.prune.renewed_certificates_kept)),
            ),
            ("validation.http01_port", Some(validation.http01_port.to_string())),
            (
                "validation.tls_alpn01_port",
                Some(validation.tls_alpn01_port.to_string()),
            ),
            ("validation.https_port", Some(validation.https_port.to_string())),
            ("validation.resolver", optional(&validation.resolver)),
            ("validation.allow_networks", Some(networks(&validation.allow_networks))),
            ("validation.deny_networks", Some(networks(&validation.deny_networks))),
            ("validation.always_valid", Some(validation.always_valid.to_string())),
            ("validation.caa", Some(format!("{:?}", validation.caa.as_str()))),
            ("validation.dnssec", Some(format!("{:?}", validation.dnssec.as_str()))),
            (
                "validation.trust_anchors",
                validation.trust_anchors.as_ref().map(|path| format!("{path:?}")),
            ),
            ("store.url", Some(format!("\"sqlite:{}\"", self.store.path.display()))),
            ("crl.validity", Some(seconds(self.crl.validity))),
            ("crl.interval", Some(seconds(self.crl.interval))),
            ("crl.on_revocation", Some(self.crl.on_revocation.to_string())),
            ("crl.gather", Some(seconds(self.crl.gather))),
            ("audit.gather", Some(seconds(self.audit.gather))),
            (
                "audit.witnesses",
                Some(texts(
                    &self.audit.witnesses.iter().map(ToString::to_string).collect::<Vec<_>>(),
                )),
            ),
            ("crl.delta", self.crl.delta.map(seconds)),
            ("ocsp.validity", Some(seconds(self.ocsp.validity))),
            ("limits.enabled", Some(self.limits.enabled.to_string())),
            (
                "limits.new_accounts_per_hour",
                Some(self.limits.new_accounts_per_hour.to_string()),
            ),
            (
                "limits.new_orders_per_hour",
                Some(self.limits.new_orders_per_hour.to_string()),
            ),
            (
                "limits.new_orders_at_once",
                Some(self.limits.new_orders_at_once.to_string()),
            ),
            (
                "keys.blocklist",
                self.keys
                    .blocklist
                    .as_ref()
                    .map(|path| format!("{:?}", path.display().to_string())),
            ),
            (
                "limits.failed_persist_per_hour",
                Some(self.limits.failed_persist_per_hour.to_string()),
            ),
            ("limits.connections", Some(self.limits.connections.to_string())),
        ];
        let mut shown = String::new();
        for (key, value) in lines {
            if let Some(value) = value {
                shown.push_str(&format!("{key} = {value}\n"));
            }
        }
        for profile in self.profiles.iter() {
            shown.push_str(&format!(
                "profiles.{}.description = {:?}\n",
                profile.name, profile.description
            ));
            shown.push_str(&format!(
                "profiles.{}.validity = \"{}\"\n",
                profile.name, profile.validity.usual
            ));
        }
        shown
    }
}

fn span(key: &str, text: Option<String>, default: &str) -> Result<CalendarSpan, ConfigError> {
    CalendarSpan::parse(text.as_deref().unwrap_or(default)).map_err(|error| ConfigError::value(key, error))
}

fn duration(key: &str, text: Option<String>, default: &str) -> Result<Duration, ConfigError> {
    span(key, text, default).map(CalendarSpan::as_duration)
}

fn address(key: &str, text: Option<String>, default: &str) -> Result<SocketAddr, ConfigError> {
    let text = text.as_deref().unwrap_or(default);
    text.parse()
        .map_err(|_| ConfigError::value(key, format!("{text:?} is no address and port such as 127.0.0.1:9443")))
}

/// Checks a base URL: scheme, host, perhaps a port and a path, nothing behind.
fn base_url(key: &str, text: Option<String>, scheme: &str, default: String) -> Result<String, ConfigError> {
    let url = text.unwrap_or(default);
    let wrong = || ConfigError::value(key, format!("{url:?} is no URL such as {scheme}://ca.example.org"));
    let uri: hyper::Uri = url.parse().map_err(|_| wrong())?;
    let fits =
        uri.scheme_str() == Some(scheme) && uri.host().is_some_and(|host| !host.is_empty()) && uri.query().is_none();
    if fits {
        Ok(url.trim_end_matches('/').to_owned())
    } else {
        Err(wrong())
    }
}

impl ServerSettings {
    fn check(raw: raw::RawServer) -> Result<Self, ConfigError> {
        let https = address("server.https", raw.https, "127.0.0.1:9443")?;
        let http = address("server.http", raw.http, "127.0.0.1:9080")?;
        let health = raw
            .health
            .map(|text| address("server.health", Some(text), ""))
            .transpose()?;
        if https == http || health.is_some_and(|health| health == https || health == http) {
            return Err(ConfigError::value(
                "server.http",
                "each listener needs an address of its own",
            ));
        }
        let names = match raw.names {
            None => default_names(https.ip()),
            Some(texts) if texts.is_empty() => {
                return Err(ConfigError::value("server.names", "the CA needs at least one name"));
            }
            Some(texts) => texts.iter().map(|text| own_name(text)).collect::<Result<_, _>>()?,
        };
        let host = match &names[0] {
            Name::Ip(IpAddr::V6(address)) => format!("[{address}]"),
            other => other.to_string(),
        };
        let log = raw.log.unwrap_or_else(|| "info".to_owned());
        if tracing_subscriber::EnvFilter::try_new(&log).is_err() {
            return Err(ConfigError::value(
                "server.log",
                format!("{log:?} is no filter such as info or sigillo_ca=debug"),
            ));
        }
        let log_json = match raw.log_format.as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(_) => return Err(ConfigError::value("server.log_format", "choose text or json")),
        };
        // A client that leaves out a port which goes without saying must meet the same URL.
        let base = |scheme: &str, port: u16, usual: u16| match port {
            port if port == usual => format!("{scheme}://{host}"),
            port => format!("{scheme}://{host}:{port}"),
        };
        Ok(Self {
            public_https: base_url(
                "server.public_https",
                raw.public_https,
                "https",
                base("https", https.port(), 443),
            )?,
            public_http: base_url(
                "server.public_http",
                raw.public_http,
                "http",
                base("http", http.port(), 80),
            )?,
            https,
            http,
            health,
            names,
            log,
            log_json,
        })
    }
}

impl ServerSettings {
    /// Returns every address that is listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        [Some(self.https), Some(self.http), self.health]
            .into_iter()
            .flatten()
            .collect()
    }
}

fn own_name(text: &str) -> Result<Name, ConfigError> {
    let name = match text.parse::<IpAddr>() {
        Ok(address) => Ok(Name::Ip(address)),
        Err(_) => Name::from_dns_value(text),
    };
    match name {
        Ok(Name::Wildcard(_)) | Err(_) => Err(ConfigError::value(
            "server.names",
            format!("{text:?} is neither a host name nor an address"),
        )),
        Ok(name) => Ok(name),
    }
}

/// `localhost` and the addresses: those of the loopback, and the one that is listened on.
fn default_names(listening: IpAddr) -> Vec<Name> {
    let mut names = vec![
        Name::from_dns_value("localhost").expect("invariant: localhost is a host name"),
        Name::Ip(Ipv4Addr::LOCALHOST.into()),
        Name::Ip(Ipv6Addr::LOCALHOST.into()),
    ];
    let own = Name::Ip(listening);
    if !listening.is_unspecified() && !names.contains(&own) {
        names.push(own);
    }
    names
}

/// Short enough for a quick answer, long enough for almost everybody's whole list.
const ORDERS_PAGE: usize = 100;

impl AcmeSettings {
    fn check(raw: raw::RawAcme) -> Result<Self, ConfigError> {
        let caa_identities = issuer_names("acme.caa_identities", raw.caa_identities.unwrap_or_default())?;
        let dns_persist_names = match (raw.dns_persist.unwrap_or(false), raw.dns_persist_names) {
            (true, names) => persist_names(names, &caa_identities)?,
            (false, names) => {
                issuer_names("acme.dns_persist_names", names.unwrap_or_default())?;
                Vec::new()
            }
        };
        for (key, url) in [("acme.terms", &raw.terms), ("acme.website", &raw.website)] {
            let fits = |url: &String| {
                url.parse::<hyper::Uri>()
                    .is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
            };
            if url.as_ref().is_some_and(|url| !fits(url)) {
                return Err(ConfigError::value(key, "has to be an http or https URL"));
            }
        }
        Ok(Self {
            eab_required: raw.eab_required.unwrap_or(false),
            terms: raw.terms,
            website: raw.website,
            caa_identities,
            reuse_authorizations: raw.reuse_authorizations.unwrap_or(true),
            reuse_percent: 100,
            external_keys_once: true,
            orders_page: ORDERS_PAGE,
            order_lifetime: span("acme.order_lifetime", raw.order_lifetime, "7d")?,
            authorization_lifetime: span("acme.authorization_lifetime", raw.authorization_lifetime, "30d")?,
            pending_authorization_lifetime: span(
                "acme.pending_authorization_lifetime",
                raw.pending_authorization_lifetime,
                "7d",
            )?,
            auto_renewal: auto_renewal(raw.auto_renewal)?,
            dns_account: raw.dns_account.unwrap_or(true),
            dns_persist_names,
            subdomain_authorizations: raw.subdomain_authorizations.unwrap_or(true),
        })
    }
}

fn auto_renewal(raw: raw::RawAutoRenewal) -> Result<Option<AutoRenewalRule>, ConfigError> {
    /// Below this, half of a certificate's life is no time to make the next one in.
    const MIN_LIFETIME_SECONDS: i64 = 2;
    /// An order that goes on for longer rests on a proof that nobody remembers.
    const MAX_DURATION_SECONDS: i64 = 10 * 366 * 86400;
    let seconds = |key: &str, text: Option<String>, default: &str, range: std::ops::RangeInclusive<i64>| {
        let whole = i64::try_from(duration(key, text, default)?.as_secs()).unwrap_or(i64::MAX);
        if range.contains(&whole) {
            return Ok(whole);
        }
        let (shortest, longest) = (range.start(), range.end());
        Err(ConfigError::value(
            key,
            format!("has to lie between {shortest} and {longest} seconds"),
        ))
    };
    let min_lifetime_seconds = seconds(
        "acme.auto_renewal.min_lifetime",
        raw.min_lifetime,
        "1h",
        MIN_LIFETIME_SECONDS..=MAX_DURATION_SECONDS,
    )?;
    let max_duration_seconds = seconds(
        "acme.auto_renewal.max_duration",
        raw.max_duration,
        "90d",
        min_lifetime_seconds..=MAX_DURATION_SECONDS,
    )?;
    let orders_max = u64::from(raw.orders_per_account.unwrap_or(100));
    if orders_max == 0 {
        return Err(ConfigError::value(
            "acme.auto_renewal.orders_per_account",
            "has to be 1 at least",
        ));
    }
    Ok(raw.enabled.unwrap_or(true).then_some(AutoRenewalRule {
        min_lifetime_seconds,
        max_duration_seconds,
        allow_get: raw.allow_certificate_get.unwrap_or(true),
        orders_max,
    }))
}

/// Checks names by which records may name this CA: each as it is compared, in lower case and without a final dot.
fn issuer_names(key: &str, names: Vec<String>) -> Result<Vec<String>, ConfigError> {
    let is_name = |text: &String| text.parse().is_ok_and(|name: DnsName| name.as_str() == text);
    match names.iter().find(|name| !is_name(name)) {
        Some(wrong) => Err(ConfigError::value(
            key,
            format!("{wrong:?} is no lower-case domain name"),
        )),
        None => Ok(names),
    }
}

/// Chooses the issuer names of dns-persist-01: those that CAA records may show, unless others of them are named.
fn persist_names(names: Option<Vec<String>>, caa_identities: &[String]) -> Result<Vec<String>, ConfigError> {
    let key = "acme.dns_persist_names";
    let names = match names {
        Some(names) => issuer_names(key, names)?,
        None => caa_identities.to_vec(),
    };
    if names.is_empty() || names.len() > ISSUER_NAMES_MAX {
        let detail = format!("acme.dns_persist needs 1 to {ISSUER_NAMES_MAX} names, here or in acme.caa_identities");
        return Err(ConfigError::value(key, detail));
    }
    // A client that knows the identities must not meet a name that is none (section 3.2 of the draft).
    match names
        .iter()
        .find(|name| !caa_identities.is_empty() && !caa_identities.contains(name))
    {
        Some(stranger) => {
            let detail = format!("{stranger:?} is not among acme.caa_identities");
            Err(ConfigError::value(key, detail))
        }
        None => Ok(names),
    }
}

fn validation(
    raw: raw::RawValidation,
    acme: &AcmeSettings,
    limits: &LimitSettings,
    dir: &Path,
) -> Result<ValidationSettings, ConfigError> {
    let networks = |key: &str, texts: Option<Vec<String>>| {
        texts
            .unwrap_or_default()
            .iter()
            .map(|text| parse_network(text).map_err(|error| ConfigError::value(key, error)))
            .collect::<Result<Vec<_>, _>>()
    };
    let default = ValidationSettings::default();
    Ok(ValidationSettings {
        http01_port: raw.http01_port.unwrap_or(default.http01_port),
        tls_alpn01_port: raw.tls_alpn01_port.unwrap_or(default.tls_alpn01_port),
        https_port: raw.https_port.unwrap_or(default.https_port),
        resolver: raw.resolver,
        allow_networks: networks("validation.allow_networks", raw.allow_networks)?,
        deny_networks: networks("validation.deny_networks", raw.deny_networks)?,
        always_valid: raw.always_valid.unwrap_or(false),
        caa_identities: acme.caa_identities.clone(),
        dns_persist_names: acme.dns_persist_names.clone(),
        failed_persist_per_hour: limits.enabled.then_some(limits.failed_persist_per_hour),
        caa: match raw.caa {
            Some(text) => text
                .parse()
                .map_err(|error| ConfigError::value("validation.caa", error))?,
            None => default.caa,
        },
        dnssec: match raw.dnssec {
            Some(text) => text
                .parse()
                .map_err(|error| ConfigError::value("validation.dnssec", error))?,
            None => default.dnssec,
        },
        trust_anchors: raw.trust_anchors.map(|path| dir.join(path)),
        attempt_timeout: default.attempt_timeout,
        delay_max: default.delay_max,
    })
}

impl StoreSettings {
    fn check(raw: raw::RawStore, dir: &Path) -> Result<Self, ConfigError> {
        let url = raw.url.as_deref().unwrap_or("sqlite:store/sigillo.db");
        match url.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self { path: dir.join(path) }),
            Some(("postgres" | "postgresql", _)) => Err(ConfigError::value(
                "store.url",
                "PostgreSQL is not supported yet: use sqlite:store/sigillo.db",
            )),
            _ => Err(ConfigError::value(
                "store.url",
                format!("{url:?} is no store such as sqlite:store/sigillo.db"),
            )),
        }
    }
}

impl CrlSettings {
    fn check(raw: raw::RawCrl) -> Result<Self, ConfigError> {
        let settings = Self {
            validity: duration("crl.validity", raw.validity, "7d")?,
            interval: duration("crl.interval", raw.interval, "1d")?,
            on_revocation: raw.on_revocation.unwrap_or(true),
            gather: duration("crl.gather", raw.gather, "200ms")?,
            delta: match raw.delta {
                Some(text) => Some(duration("crl.delta", Some(text), "1h")?),
                None => None,
            },
        };
        if settings
            .delta
            .is_some_and(|delta| delta >= settings.interval || delta.is_zero())
        {
            return Err(ConfigError::value(
                "crl.delta",
                "has to be shorter than crl.interval, or a delta is no fresher than what it builds on",
            ));
        }
        if settings.interval >= settings.validity {
            return Err(ConfigError::value(
                "crl.interval",
                "has to be shorter than crl.validity, or relying parties see gaps",
            ));
        }
        Ok(settings)
    }
}

impl AuditSettings {
    fn check(raw: raw::RawAudit) -> Result<Self, ConfigError> {
        let witness = |text: &String| {
            let wrong = |error: String| ConfigError::value("audit.witnesses", format!("{text:?}: {error}"));
            let key = VerifierKey::parse(text).map_err(|error| wrong(error.to_string()))?;
            match key.kind() {
                KeyKind::Cosignature => Ok(key),
                KeyKind::Ed25519 => Err(wrong("it is a log's key, not a witness's".to_owned())),
            }
        };
        Ok(Self {
            gather: duration("audit.gather", raw.gather, "1s")?,
            witnesses: raw
                .witnesses
                .unwrap_or_default()
                .iter()
                .map(witness)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl OcspSettings {
    fn check(raw: raw::RawOcsp) -> Result<Self, ConfigError> {
        /// Below this, answers age faster than clients and caches can use them.
        const VALIDITY_MIN: Duration = Duration::from_secs(60);
        /// About thirty thousand answers.
        const CACHE_MEGABYTES: u32 = 64;
        /// sled takes about 70 MB of memory for them.
        const INDEX_CERTIFICATES: u32 = 1 << 18;
        let validity = duration("ocsp.validity", raw.validity, "12h")?;
        if validity < VALIDITY_MIN {
            return Err(ConfigError::value("ocsp.validity", "has to be a minute at least"));
        }
        let index_certificates = raw.index_certificates.unwrap_or(INDEX_CERTIFICATES);
        Ok(Self {
            validity,
            cache_megabytes: raw.cache_megabytes.unwrap_or(CACHE_MEGABYTES),
            index_certificates: NonZeroU32::new(index_certificates)
                .ok_or_else(|| ConfigError::value("ocsp.index_certificates", "has to be 1 at least"))?,
        })
    }
}

impl LimitSettings {
    fn check(raw: raw::RawLimits) -> Result<Self, ConfigError> {
        let positive = |key: &str, value: u32| {
            if value == 0 {
                Err(ConfigError::value(key, "has to be 1 at least"))
            } else {
                Ok(value)
            }
        };
        let new_orders_per_hour = positive("limits.new_orders_per_hour", raw.new_orders_per_hour.unwrap_or(1000))?;
        let new_orders_at_once = raw.new_orders_at_once.unwrap_or(new_orders_per_hour);
        Ok(Self {
            enabled: raw.enabled.unwrap_or(true),
            new_accounts_per_hour: positive("limits.new_accounts_per_hour", raw.new_accounts_per_hour.unwrap_or(100))?,
            new_orders_per_hour,
            new_orders_at_once: positive("limits.new_orders_at_once", new_orders_at_once)?,
            failed_persist_per_hour: positive(
                "limits.failed_persist_per_hour",
                raw.failed_persist_per_hour.unwrap_or(5),
            )?,
            connections: match raw.connections {
                Some(0) => return Err(ConfigError::value("limits.connections", "has to be 1 at least")),
                other => other.unwrap_or(2048),
            },
        })
    }
}

impl PruneSettings {
    fn check(raw: raw::RawPrune) -> Result<Self, ConfigError> {
        let certificates_kept = match raw.certificates_kept.as_deref() {
            Some("forever") => None,
            Some(text) => Some(span("prune.certificates_kept", Some(text.to_owned()), "")?),
            None => Some(span("prune.certificates_kept", None, "1y")?),
        };
        Ok(Self {
            orders_kept: span("prune.orders_kept", raw.orders_kept, "30d")?,
            certificates_kept,
            renewed_certificates_kept: span("prune.renewed_certificates_kept", raw.renewed_certificates_kept, "7d")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(set: &[&str]) -> Result<Settings, ConfigError> {
        let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
        Settings::check(raw::read("", "test", &set)?, Path::new("dir"))
    }

    #[test]
    fn nothing_is_mandatory() {
        let settings = check(&[]).unwrap();
        assert_eq!(settings.server.https, "127.0.0.1:9443".parse().unwrap());
        assert_eq!(settings.server.public_https, "https://localhost:9443");
        assert_eq!(settings.server.public_http, "http://localhost:9080");
        assert_eq!(settings.store.path, Path::new("dir/store/sigillo.db"));
        assert!(settings.crl.on_revocation);
    }

    #[test]
    fn own_names_are_in_the_urls() {
        let settings = check(&["server.names=[\"ca.example.org\"]", "server.https=0.0.0.0:443"]).unwrap();
        assert_eq!(settings.server.public_https, "https://ca.example.org");
        let settings = check(&["server.names=[\"::1\"]"]).unwrap();
        assert_eq!(settings.server.public_https, "https://[::1]:9443");
    }

    #[test]
    fn refuses_values_that_cannot_be_used_and_names_the_key() {
        for (set, key) in [
            ("server.https=9443", "server.https"),
            ("server.names=[]", "server.names"),
            ("server.names=[\"*.x.org\"]", "server.names"),
            ("server.public_http=https://x", "server.public_http"),
            ("store.url=postgres://x", "store.url"),
            ("crl.interval=8d", "crl.interval"),
            ("ocsp.validity=1s", "ocsp.validity"),
            ("acme.caa_identities=[\"CA.example\"]", "acme.caa_identities"),
            ("acme.terms=nowhere", "acme.terms"),
            ("acme.dns_persist=true", "acme.dns_persist_names"),
            ("acme.dns_persist_names=[\"ca.example.\"]", "acme.dns_persist_names"),
            ("limits.failed_persist_per_hour=0", "limits.failed_persist_per_hour"),
            ("validation.deny_networks=[\"10.0.0.1/8\"]", "validation.deny_networks"),
            ("validation.caa=always", "validation.caa"),
            ("limits.connections=0", "limits.connections"),
            ("acme.auto_renewal.min_lifetime=1s", "acme.auto_renewal.min_lifetime"),
            ("acme.auto_renewal.max_duration=30m", "acme.auto_renewal.max_duration"),
            (
                "acme.auto_renewal.orders_per_account=0",
                "acme.auto_renewal.orders_per_account",
            ),
        ] {
            let error = check(&[set]).expect_err(set).to_string();
            assert!(error.contains(key), "{set}: {error}");
        }
    }

    #[test]
    fn issuer_names_of_dns_persist_are_those_of_caa_or_some_of_them() {
        let names = |set: &[&str]| check(set).map(|settings| settings.acme.dns_persist_names);
        let (on, caa) = (
            "acme.dns_persist=true",
            "acme.caa_identities=[\"a.example\", \"b.example\"]",
        );
        assert_eq!(names(&[caa]).unwrap(), [""; 0], "nothing is offered unasked");
        assert_eq!(names(&[on, caa]).unwrap(), ["a.example", "b.example"]);
        let one = |name: &str| format!("acme.dns_persist_names=[{name:?}]");
        assert_eq!(names(&[on, caa, &one("b.example")]).unwrap(), ["b.example"]);
        assert_eq!(names(&[on, &one("c.example")]).unwrap(), ["c.example"]);
        assert!(names(&[on, caa, &one("c.example")]).is_err());
        let many: Vec<String> = (0..11).map(|i| format!("ca{i}.example")).collect();
        assert!(names(&[on, &format!("acme.caa_identities={many:?}")]).is_err());
    }
}
