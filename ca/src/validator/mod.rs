//! Proves control of names: the challenges and CAA, with the network's dangers kept outside.
//!
//! [`Validator::attempt`] makes one try at one challenge, [`Validator::caa`] asks whether a name's
//! owner lets this CA issue. Both are bounded in time and size whatever the other side does.
//! `worker` makes the tries that the store says are due.

mod address;
mod anchors;
mod caa;
mod decisions;
mod dial;
mod dns01;
mod dns_account01;
mod dns_persist01;
mod failure;
mod failures;
mod http01;
mod resolve;
mod settings;
mod tls;
mod tls_alpn01;
mod worker;

#[cfg(test)]
mod testing;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sigillo_protocol::acme::challenge::ChallengeType;
pub use sigillo_protocol::acme::dns_persist::Applicant;
use sigillo_protocol::acme::identifier::Name;
use sigillo_protocol::acme::problem::ErrorType;

use self::address::AddressRules;
use self::caa::CaaChecker;
pub use self::decisions::{Decisions, Waiting};
use self::dial::{Deadline, Dialer, Host};
pub use self::failure::Failure;
use self::failures::Failures;
use self::http01::{Http01, Ports};
use self::resolve::Resolver;
pub use self::settings::{ATTEMPT_TIMEOUT, CaaPolicy, Dnssec, SettingsError, ValidationSettings, parse_network};
use self::tls_alpn01::TlsAlpn01;
pub use self::worker::{ApplicantOf, AuthorizationEnd, ValidationWorker};
use crate::model::AccountId;

/// What a try is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whose control is to be proven; for a wildcard order the wildcard or its base name.
    pub name: Name,
    /// Whether control of all names below is to be proven with it (RFC 9444).
    pub subdomains: bool,
    /// How.
    pub challenge: ChallengeType,
    /// The challenge's token; empty for the type that has none.
    pub token: String,
    /// What the target has to show: by the account key at the time of the response.
    pub key_authorization: String,
    /// Whose account asks, for the challenges that are about the account itself.
    pub applicant: Applicant,
    /// When the try is made.
    pub now: Timestamp,
}

/// What a try that succeeded has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proof {
    /// Until when it is good at most, if the target says so.
    pub until: Option<Timestamp>,
}

/// Makes validations.
pub struct Validator {
    always_valid: bool,
    attempt_timeout: std::time::Duration,
    delay_max: std::time::Duration,
    resolver: Arc<Resolver>,
    http01: Http01,
    tls_alpn01: TlsAlpn01,
    caa: CaaChecker,
    dns_persist_names: Vec<String>,
    persist_failures: Failures,
    decisions: Decisions,
}

impl Validator {
    /// Sets everything up; asks nobody, unless the configured resolver is given by name.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub fn new(settings: ValidationSettings) -> Result<Self, SettingsError> {
        if settings.always_valid {
            tracing::warn!("validation.always_valid is on: every challenge passes unseen");
        }
        let resolver = Arc::new(Resolver::new(
            settings.resolver.as_deref(),
            settings.dnssec,
            settings.trust_anchors.as_deref(),
        )?);
        let rules = AddressRules::new(settings.allow_networks, settings.deny_networks);
        let dialer = Arc::new(Dialer::new(resolver.clone(), rules));
        Ok(Self {
            always_valid: settings.always_valid,
            attempt_timeout: settings.attempt_timeout,
            delay_max: settings.delay_max,
            http01: Http01 {
                dialer: dialer.clone(),
                ports: Ports {
                    http: settings.http01_port,
                    https: settings.https_port,
                },
                tls: tls::connector(&[b"http/1.1"])?,
            },
            tls_alpn01: TlsAlpn01 {
                dialer,
                port: settings.tls_alpn01_port,
                tls: tls::connector(&[tls_alpn01::PROTOCOL])?,
            },
            caa: CaaChecker::new(resolver.clone(), settings.caa, settings.caa_identities),
            dns_persist_names: settings.dns_persist_names,
            persist_failures: Failures::new(settings.failed_persist_per_hour),
            decisions: Decisions::default(),
            resolver,
        })
    }

    /// Returns who waits for decisions.
    pub fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// Makes one try at a challenge.
    ///
    /// # Errors
    /// When control was not shown. The failure tells the client what was asked and what came back.
    pub async fn attempt(&self, target: &Target) -> Result<Proof, Failure> {
        self.dawdle().await;
        if self.always_valid {
            return Ok(Proof::default());
        }
        let deadline = Deadline::after(self.attempt_timeout);
        match (target.challenge, &target.name) {
            (ChallengeType::DnsPersist01, Name::Dns(name) | Name::Wildcard(name))
                if !self.dns_persist_names.is_empty() =>
            {
                let wanted = dns_persist01::Wanted {
                    name,
                    wide: target.subdomains || target.name.is_wildcard(),
                    issuer_names: &self.dns_persist_names,
                    applicant: &target.applicant,
                    now: target.now,
                };
                dns_persist01::attempt(&self.resolver, &wanted, deadline).await
            }
            (ChallengeType::DnsPersist01, _) => Err(Failure::lasting(
                ErrorType::Unauthorized,
                "dns-persist-01 is not offered here",
            )),
            _ => self.attempt_by_key(target, deadline).await.map(|()| Proof::default()),
        }
    }

    /// Makes a try at a challenge whose proof is a key authorization.
    async fn attempt_by_key(&self, target: &Target, deadline: Deadline) -> Result<(), Failure> {
        let key_authorization = &target.key_authorization;
        match (target.challenge, &target.name) {
            // Who holds a host does not hold the names below its own.
            (challenge, name) if target.subdomains && !challenge.is_in_dns() => Err(Failure::lasting(
                ErrorType::Unauthorized,
                format!("{challenge} does not prove control of the names below {name}"),
            )),
            (ChallengeType::Dns01, Name::Dns(name) | Name::Wildcard(name)) => {
                dns01::attempt(&self.resolver, name, key_authorization, deadline).await
            }
            (ChallengeType::DnsAccount01, Name::Dns(name) | Name::Wildcard(name)) => {
                let account_url = &target.applicant.account_url;
                dns_account01::attempt(&self.resolver, name, account_url, key_authorization, deadline).await
            }
            (ChallengeType::Http01, Name::Dns(_) | Name::Ip(_)) => {
                let host = match &target.name {
                    Name::Ip(ip) => Host::Ip(*ip),
                    Name::Dns(name) | Name::Wildcard(name) => Host::Name(name.as_str().to_owned()),
                };
                self.http01
                    .attempt(host, &target.token, key_authorization, deadline)
                    .await
            }
            (ChallengeType::TlsAlpn01, name @ (Name::Dns(_) | Name::Ip(_))) => {
                self.tls_alpn01.attempt(name, key_authorization, deadline).await
            }
            // Control of one host is not control of all names beside it (BR 3.2.2.4.19, 3.2.2.4.20),
            // and nobody can put a TXT record below an address (RFC 8738 section 7).
            (challenge, name) => Err(Failure::lasting(
                ErrorType::Unauthorized,
                format!("{challenge} does not prove control of {name}"),
            )),
        }
    }

    /// Waits for a part of the longest pause, so that clients see that a decision takes its time.
    async fn dawdle(&self) {
        if self.delay_max.is_zero() {
            return;
        }
        let part = getrandom::u32().unwrap_or_default();
        tokio::time::sleep(self.delay_max.mul_f64(f64::from(part) / f64::from(u32::MAX))).await;
    }

    /// Returns how long an account has to wait before it may answer dns-persist-01 for a name again.
    pub fn persist_wait(&self, account: AccountId, name: &Name, now: Timestamp) -> Option<SignedDuration> {
        self.persist_failures.wait(account, name.dns_name()?, now)
    }

    /// Asks whether CAA records let this CA issue for a name.
    ///
    /// To be asked for every name of an order, shortly before issuing. `method` is how the name was
    /// validated and `account_uri` whose order it is; both matter where records name them (RFC 8657).
    ///
    /// # Errors
    /// [`ErrorType::Caa`] if records forbid it; [`ErrorType::Dns`] if they cannot be read.
    pub async fn caa(
        &self,
        name: &Name,
        account_uri: Option<&str>,
        method: Option<ChallengeType>,
    ) -> Result<(), Failure> {
        if self.always_valid {
            return Ok(());
        }
        self.caa.check(name, account_uri, method).await
    }
}
