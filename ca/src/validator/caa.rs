//! CAA (RFC 8659, RFC 8657): climbs from a name to its top-level domain for the relevant records.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sigillo_protocol::acme::caa::{CaaQuestion, CaaRecord, permits};
use sigillo_protocol::acme::challenge::ChallengeType;
use sigillo_protocol::acme::identifier::Name;
use sigillo_protocol::acme::problem::ErrorType;
use tokio::time::Instant;

use super::failure::Failure;
use super::resolve::{LookupError, Resolver, is_localhost};
use super::settings::CaaPolicy;

/// How long one name may take in all: names may have over a hundred labels, one question each.
const CLIMB_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a resolver that was silent is taken to be away, so that not each name waits for it.
const AWAY_FOR: Duration = Duration::from_secs(30);

/// Asks for CAA records and decides on them.
pub(super) struct CaaChecker {
    resolver: Arc<Resolver>,
    policy: CaaPolicy,
    identities: Vec<String>,
    away_until: Mutex<Option<Instant>>,
}

impl CaaChecker {
    /// Takes the means, the policy and the names by which records may authorise us.
    pub(super) fn new(resolver: Arc<Resolver>, policy: CaaPolicy, identities: Vec<String>) -> Self {
        Self {
            resolver,
            policy,
            identities,
            away_until: Mutex::new(None),
        }
    }

    /// Decides whether CAA allows a certificate for a name.
    ///
    /// Addresses have no CAA (RFC 8738), and `localhost` has no DNS (RFC 6761).
    pub(super) async fn check(
        &self,
        name: &Name,
        account_uri: Option<&str>,
        method: Option<ChallengeType>,
    ) -> Result<(), Failure> {
        let (domain, wildcard) = match name {
            Name::Ip(_) => return Ok(()),
            Name::Dns(domain) => (domain.as_str(), false),
            Name::Wildcard(domain) => (domain.as_str(), true),
        };
        if self.policy == CaaPolicy::Off || is_localhost(domain) || self.is_away() {
            return Ok(());
        }
        let climbed = tokio::time::timeout(CLIMB_TIMEOUT, self.climb(domain)).await;
        let relevant = match climbed {
            Ok(Ok(relevant)) => relevant,
            Ok(Err((at, error))) => return self.unanswered(at, &error).await,
            Err(_) => {
                return Err(Failure::dns(format!(
                    "looking up CAA from {domain} upwards took longer than {} s",
                    CLIMB_TIMEOUT.as_secs()
                )));
            }
        };
        let Some((at, records)) = relevant else {
            return Ok(());
        };
        let question = CaaQuestion {
            wildcard,
            issuer_names: &self.identities,
            account_uri,
            method,
        };
        permits(&records, &question).map_err(|refusal| {
            Failure::lasting(
                ErrorType::Caa,
                format!("the CAA records of {at} forbid a certificate for {name}: {refusal}"),
            )
        })
    }

    /// Finds the first name at or above this one that has CAA records (RFC 8659 section 3).
    ///
    /// The climb goes by the labels of the name itself; an alias counts only for the name it is at.
    async fn climb<'a>(&self, domain: &'a str) -> Result<Option<(&'a str, Vec<CaaRecord>)>, (&'a str, LookupError)> {
        for at in ancestors(domain) {
            let records = self.resolver.caa(at).await.map_err(|error| (at, error))?;
            if !records.is_empty() {
                return Ok(Some((at, records)));
            }
        }
        Ok(None)
    }

    /// Decides on a question that got no usable answer.
    ///
    /// A failure at one name refuses, since whoever can make one query fail could switch CAA off
    /// otherwise. Only a resolver that does not even know the root is away.
    async fn unanswered(&self, at: &str, error: &LookupError) -> Result<(), Failure> {
        if error.is_silence() && self.policy == CaaPolicy::WhenAvailable && !self.resolver.is_alive().await {
            tracing::warn!(%error, "no DNS server answers: CAA is not checked");
            *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + AWAY_FOR);
            return Ok(());
        }
        Err(Failure::dns(format!("looking up CAA {at} failed: {error}")))
    }

    fn is_away(&self) -> bool {
        let away_until = *self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        away_until.is_some_and(|until| Instant::now() < until)
    }
}

/// Returns a name and all names above it, down to the top-level domain.
fn ancestors(domain: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(domain), |at| at.split_once('.').map(|(_, above)| above))
}

#[cfg(test)]
#[path = "caa_tests.rs"]
mod tests;

#[cfg(test)]
mod climbing {
    #[test]
    fn goes_label_by_label_to_the_top() {
        let names: Vec<_> = super::ancestors("a.b.example").collect();
        assert_eq!(names, ["a.b.example", "b.example", "example"]);
    }
}
