//! What Pebble's configuration and environment mean in the daemon's own settings.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    path::Path,
    time::Duration,
};

use super::{Config, Environment};
use crate::{
    config::{ConfigError, Settings, raw},
    policy::{Profiles, RawProfile},
};

/// The terms of service: like Pebble's, no page but a text.
const TERMS: &str = "data:text/plain,For%20tests%20only";

/// The longest validity of a certificate: the CAs have to outlive it.
const VALIDITY_MAX: Duration = Duration::from_secs(20 * 366 * 86_400);

/// What the command line says besides.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// The DNS server to ask.
    pub dns_server: Option<String>,
    /// `section.key=value` on top of everything.
    pub set: Vec<String>,
}

/// Finds the addresses that a text such as `0.0.0.0:14000`, `:14000` or `localhost:14000` asks for; the first one counts,
/// the others are good to have.
///
/// Unless it may be public, "every address" means the loopback, and any other address is refused: the keys of this
/// CA are handed out to whoever asks.
///
/// # Errors
/// When it is no address, or none of this machine alone.
pub fn listeners(text: &str, public: bool) -> Result<Vec<SocketAddr>, String> {
    let refused = || format!("{text:?} is no address such as 127.0.0.1:14000");
    let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
    let port: u16 = port.parse().map_err(|_| refused())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let every = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let ip = match host {
        "" => every,
        host => match host.parse() {
            Ok(ip) => ip,
            Err(_) => resolved(host).ok_or_else(refused)?,
        },
    };
    let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    let found = match ip {
        ip if public || ip.is_loopback() => vec![ip],
        ip if ip == every => vec![v4, v6],
        ip if ip.is_unspecified() => vec![v4],
        _ => {
            return Err(format!(
                "{text}: a test CA that hands out its keys listens on the loopback only; --public opens it to others"
            ));
        }
    };
    Ok(found.into_iter().map(|ip| (ip, port).into()).collect())
}

/// Asks the system for a host's address; IPv4 first, as most tests connect.
fn resolved(host: &str) -> Option<IpAddr> {
    let found: Vec<IpAddr> = (host, 0).to_socket_addrs().ok()?.map(|address| address.ip()).collect();
    found.iter().find(|ip| ip.is_ipv4()).or(found.first()).copied()
}

/// Tells whether an address was meant to be another one.
pub fn narrowed(text: &str, found: &[SocketAddr]) -> bool {
    let every = text.starts_with(':') || text.starts_with("0.0.0.0:") || text.starts_with("[::]:");
    every && found.iter().all(|address| address.ip().is_loopback())
}

/// Makes the daemon's settings for a state folder; `http` is where status is served.
///
/// # Errors
/// When a value cannot be used.
pub fn choose(
    config: &Config,
    environment: &Environment,
    choices: &Choices,
    (https, http): (SocketAddr, SocketAddr),
    dir: &Path,
) -> Result<Settings, ConfigError> {
    let mut written = raw::read("", "the command line", &choices.set)?;
    put(&mut written.server.https, https.to_string());
    put(&mut written.server.http, http.to_string());
    put(&mut written.server.public_http, format!("http://{}", reachable(http)));
    let names = ["localhost", "127.0.0.1", "::1", "pebble"];
    put(&mut written.server.names, names.map(str::to_owned).to_vec());
    put(&mut written.acme.eab_required, config.binding_required);
    put(&mut written.acme.caa_identities, config.caa_identities.clone());
    put(&mut written.acme.reuse_authorizations, environment.reuse_percent > 0);
    put(&mut written.validation.http01_port, config.http_port);
    put(&mut written.validation.tls_alpn01_port, config.tls_port);
    put(&mut written.validation.always_valid, environment.always_valid);
    if let Some(server) = &choices.dns_server {
        put(&mut written.validation.resolver, dns_server(server));
    }
    put(&mut written.limits.enabled, false);
    let blocked = config.blocked_domains.iter();
    written
        .names
        .deny
        .extend(blocked.map(|domain| format!(".{}", domain.trim_start_matches('.'))));
    add_profiles(config, &mut written)?;
    let mut settings = Settings::check(written, dir)?;
    settings.acme.terms.get_or_insert_with(|| TERMS.to_owned());
    settings.acme.reuse_percent = environment.reuse_percent;
    settings.acme.external_keys_once = false;
    settings.acme.orders_page = environment.orders_per_page;
    settings.validation.delay_max = environment.sleep_max;
    Ok(settings)
}

/// Sets what the command line has left open.
fn put<T>(place: &mut Option<T>, value: T) {
    place.get_or_insert(value);
}

/// `:5053` is a server on this machine.
fn dns_server(text: &str) -> String {
    match text.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    }
}

/// An address that others can put into a URL.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => (Ipv4Addr::LOCALHOST, address.port()).into(),
        false => address,
    }
}

fn add_profiles(config: &Config, written: &mut raw::RawConfig) -> Result<(), ConfigError> {
    let usual = config.profiles.get(Profiles::DEFAULT).cloned();
    // Without a profile of that name, orders that choose none get the first one's validity.
    let usual = usual
        .or_else(|| config.profiles.values().next().cloned())
        .unwrap_or_default();
    let mut wanted = config.profiles.clone();
    wanted.insert(Profiles::DEFAULT.to_owned(), usual);
    for (name, profile) in wanted {
        let seconds = profile.validity.or(config.validity);
        if seconds.is_some_and(|seconds| seconds > VALIDITY_MAX.as_secs()) {
            let most = format!("a certificate lasts {} seconds at most here", VALIDITY_MAX.as_secs());
            return Err(ConfigError::value(format!("profiles.{name}"), most));
        }
        // What the command line says about a profile is about all of it.
        written.profiles.entry(name).or_insert_with(|| RawProfile {
            description: profile.description.or(Some("for tests".to_owned())),
            validity: seconds.map(|seconds| format!("{seconds}s")),
            // A certificate for a minute must not have ended before it began.
            backdate: seconds.map(|_| "0s".to_owned()),
            ..RawProfile::default()
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(config: &Config, set: &[&str]) -> Settings {
        let choices = Choices {
            dns_server: Some(":5053".to_owned()),
            set: set.iter().map(|s| (*s).to_owned()).collect(),
        };
        let environment = Environment::from(|_| None);
        let addresses = ("127.0.0.1:14000".parse().unwrap(), "127.0.0.1:4001".parse().unwrap());
        choose(config, &environment, &choices, addresses, Path::new("dir")).unwrap()
    }

    #[test]
    fn every_address_means_the_loopback_unless_it_is_public() {
        for (text, public, wanted) in [
            ("0.0.0.0:14000", false, Some(&["127.0.0.1:14000"][..])),
            (":14000", false, Some(&["127.0.0.1:14000", "[::1]:14000"])),
            ("[::]:14000", false, Some(&["127.0.0.1:14000", "[::1]:14000"])),
            ("[::1]:14000", false, Some(&["[::1]:14000"])),
            ("0.0.0.0:14000", true, Some(&["0.0.0.0:14000"])),
            (":14000", true, Some(&["[::]:14000"])),
            ("192.0.2.1:14000", false, None),
            ("192.0.2.1:14000", true, Some(&["192.0.2.1:14000"])),
            ("14000", false, None),
            ("localhost:x", false, None),
        ] {
            let found = listeners(text, public).ok();
            let found: Option<Vec<String>> = found.map(|list| list.iter().map(ToString::to_string).collect());
            let wanted = wanted.map(|list| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
            assert_eq!(found, wanted, "{text}");
        }
    }

    #[test]
    fn the_configuration_becomes_settings() {
        let config = Config::parse(
            r#"{"pebble": {"httpPort": 80, "domainBlocklist": ["blocked.test"], "certificateValidityPeriod": 60,
                "externalAccountBindingRequired": true, "profiles": {"short": {"validityPeriod": 3600}}}}"#,
        )
        .unwrap();
        let settings = settings(&config, &[]);
        assert_eq!(settings.validation.http01_port, 80);
        assert_eq!(settings.validation.resolver.as_deref(), Some("127.0.0.1:5053"));
        assert!(settings.acme.eab_required && settings.acme.terms.is_some());
        assert_eq!((settings.acme.reuse_percent, settings.acme.orders_page), (50, 3));
        let name = |text| sigillo_protocol::acme::identifier::Name::from_dns_value(text).unwrap();
        assert!(settings.names.permits(&name("a.blocked.test")).is_err());
        assert!(settings.names.permits(&name("free.test")).is_ok());
        let short = settings.profiles.get("short").unwrap();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let validity = short.validity.decide(None, None, now).unwrap();
        assert_eq!(validity.not_after.as_second(), 3599);
    }

    #[test]
    fn the_command_line_wins() {
        let settings = settings(&Config::default(), &["validation.http01_port=7"]);
        assert_eq!(settings.validation.http01_port, 7);
    }

    #[test]
    fn a_validity_beyond_the_cas_is_refused() {
        let config = Config {
            validity: Some(u64::MAX),
            ..Config::default()
        };
        let addresses = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        let environment = Environment::from(|_| None);
        let chosen = choose(&config, &environment, &Choices::default(), addresses, Path::new("dir"));
        assert!(chosen.is_err());
    }
}
