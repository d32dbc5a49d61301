//! What an order's names rest on: an authorization of their own, or one of a name above (RFC 9444).

use jiff::Timestamp;
use sigillo_protocol::acme::{
    authorization::AuthorizationStatus,
    challenge::{ChallengeStatus, ChallengeType},
    identifier::{DnsName, Name, RequestedIdentifier},
    problem::{ErrorType, Subproblem},
};
use sigillo_protocol::base64url;

use super::Registrar;
use crate::{
    config::AcmeSettings,
    model::{AccountId, Authorization, AuthorizationId, Challenge, Version},
    store::ReadError,
};

/// What an authorization is to be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    /// The name.
    pub(super) name: Name,
    /// Whether it is to be good for all names below too.
    pub(super) subdomains: bool,
}

/// A name of an order, with the name above it that the client can prove control of.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) name: Name,
    ancestor: Option<DnsName>,
}

impl Wanted {
    /// Takes a checked name, and the ancestor that came with it (RFC 9444 section 4.3), where such are taken.
    ///
    /// The name itself counts as its own ancestor: so a zone and the names in it can share one proof.
    pub(super) fn read(
        name: Name,
        requested: &RequestedIdentifier,
        settings: &AcmeSettings,
    ) -> Result<Self, Subproblem> {
        let text = requested
            .ancestor_domain
            .as_deref()
            .filter(|_| settings.subdomain_authorizations);
        let refused = |detail: String| Subproblem {
            kind: ErrorType::Malformed,
            detail,
            identifier: Some(requested.identifier.clone()),
        };
        let ancestor: Option<DnsName> = text
            .map(str::parse)
            .transpose()
            .map_err(|error| refused(format!("ancestorDomain is no DNS name: {error}")))?;
        match ancestor {
            Some(ancestor) if !name.is_within(&ancestor) => Err(refused(format!(
                "ancestorDomain {ancestor} is no name above the identifier"
            ))),
            ancestor => Ok(Self { name, ancestor }),
        }
    }

    /// Returns what to make an authorization for, if there is none yet.
    fn scope(&self) -> Scope {
        match &self.ancestor {
            Some(ancestor) => Scope {
                name: Name::Dns(ancestor.clone()),
                subdomains: true,
            },
            None => Scope {
                name: self.name.clone(),
                subdomains: false,
            },
        }
    }
}

/// Returns the challenges that are offered, in the order in which they are.
///
/// A wildcard, or all names below one, can only be proven in the DNS (BR 3.2.2.4.19), an address never in it (RFC 8738 section 7).
fn challenges_for(scope: &Scope, settings: &AcmeSettings) -> Vec<Challenge> {
    let fits = |kind: &ChallengeType| match (&scope.name, scope.subdomains) {
        (Name::Dns(_), false) => true,
        (Name::Dns(_), true) | (Name::Wildcard(_), _) => kind.is_in_dns(),
        (Name::Ip(_), _) => !kind.is_in_dns(),
    };
    let offered = |kind: &ChallengeType| match kind {
        ChallengeType::DnsAccount01 => settings.dns_account,
        ChallengeType::DnsPersist01 => !settings.dns_persist_names.is_empty(),
        ChallengeType::Http01 | ChallengeType::Dns01 | ChallengeType::TlsAlpn01 => true,
    };
    let kinds = ChallengeType::ALL.into_iter();
    kinds.filter(fits).filter(offered).map(new_challenge).collect()
}

fn new_challenge(kind: ChallengeType) -> Challenge {
    let token = if kind.has_token() { new_token() } else { String::new() };
    Challenge {
        kind,
        token,
        status: ChallengeStatus::Pending,
        key_authorization: None,
        tries: 0,
        next_try: None,
        validated: None,
        error: None,
    }
}

fn new_token() -> String {
    let mut token = [0; 16];
    getrandom::fill(&mut token).expect("invariant: the system's random generator works");
    base64url::encode(token)
}

impl Registrar {
    /// Makes a new authorization with the challenges that fit.
    pub(super) fn pending_authorization(&self, account: AccountId, scope: &Scope, now: Timestamp) -> Authorization {
        Authorization {
            id: AuthorizationId::random(),
            version: Version::NEW,
            account,
            name: scope.name.clone(),
            subdomains: scope.subdomains,
            status: AuthorizationStatus::Pending,
            created: now,
            expires: self.settings.pending_authorization_lifetime.after(now),
            persist_until: None,
            challenges: challenges_for(scope, &self.settings),
        }
    }

    /// Finds what an account has a name by, still good at `at`: an authorization of the name, or one from above.
    pub(super) async fn valid_authorization(
        &self,
        account: AccountId,
        name: &Name,
        at: Timestamp,
    ) -> Result<Option<Authorization>, ReadError> {
        let own = self.store.valid_authorization(account, name, at).await?;
        match name.dns_name() {
            Some(base) if own.is_none() && self.settings.subdomain_authorizations => {
                let above: Vec<DnsName> = base.and_above().collect();
                let valid = AuthorizationStatus::Valid;
                self.store.subdomain_authorization(account, &above, valid, at).await
            }
            _ => Ok(own),
        }
    }

    /// Chooses what each name of an order rests on; the second list is of those that have to be made.
    ///
    /// Names that come with one ancestor share its authorization, which stands once in the order.
    pub(super) async fn resting(
        &self,
        account: AccountId,
        names: &[Wanted],
        now: Timestamp,
    ) -> Result<(Vec<Authorization>, Vec<Authorization>), ReadError> {
        let mut chosen: Vec<Authorization> = Vec::with_capacity(names.len());
        let mut made = Vec::new();
        for wanted in names {
            let standing = match self.reuses() {
                true => {
                    self.valid_authorization(account, &wanted.name, self.reuse_until(now))
                        .await?
                }
                false => None,
            };
            let scope = wanted.scope();
            let is_for = |a: &Authorization| a.name == scope.name && a.subdomains == scope.subdomains;
            match standing {
                Some(standing) if chosen.iter().any(|a| a.id == standing.id) => {}
                Some(standing) => chosen.push(standing),
                None if made.iter().any(is_for) => {}
                None => {
                    let authorization = self.pending_authorization(account, &scope, now);
                    made.push(authorization.clone());
                    chosen.push(authorization);
                }
            }
        }
        Ok((chosen, made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, raw};

    fn settings(set: &[&str]) -> AcmeSettings {
        let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
        let raw = raw::read("", "test", &set).unwrap();
        Settings::check(raw, std::path::Path::new("dir")).unwrap().acme
    }

    fn kinds(name: &str, subdomains: bool, set: &[&str]) -> Vec<&'static str> {
        let scope = Scope {
            name: name.parse().unwrap(),
            subdomains,
        };
        let challenges = challenges_for(&scope, &settings(set));
        assert!(challenges.iter().all(|c| c.token.is_empty() != c.kind.has_token()));
        challenges.iter().map(|c| c.kind.as_str()).collect()
    }

    #[test]
    fn the_three_that_every_client_knows_come_first() {
        let all = ["acme.dns_persist=true", "acme.caa_identities=[\"ca.example\"]"];
        assert_eq!(
            kinds("a.example", false, &all),
            ["http-01", "dns-01", "tls-alpn-01", "dns-account-01", "dns-persist-01"]
        );
        assert_eq!(
            kinds("a.example", false, &[]),
            ["http-01", "dns-01", "tls-alpn-01", "dns-account-01"]
        );
        let few = ["acme.dns_account=false"];
        assert_eq!(kinds("a.example", false, &few), ["http-01", "dns-01", "tls-alpn-01"]);
        for (name, subdomains) in [("*.a.example", false), ("a.example", true)] {
            assert_eq!(
                kinds(name, subdomains, &all),
                ["dns-01", "dns-account-01", "dns-persist-01"],
                "{name}"
            );
        }
        assert_eq!(kinds("127.0.0.1", false, &all), ["http-01", "tls-alpn-01"]);
    }

    #[test]
    fn an_ancestor_is_one_by_whole_labels() {
        let wanted = |name: &str, ancestor: &str, set: &[&str]| {
            let name: Name = name.parse().unwrap();
            let requested = RequestedIdentifier {
                ancestor_domain: Some(ancestor.to_owned()),
                ..name.identifier().into()
            };
            Wanted::read(name, &requested, &settings(set)).map(|wanted| wanted.scope())
        };
        for (name, ancestor) in [
            ("a.b.example.org", "example.org"),
            ("a.b.example.org", "B.example.org"),
            ("example.org", "example.org"),
            ("*.example.org", "example.org"),
            ("*.b.example.org", "example.org"),
        ] {
            let scope = wanted(name, ancestor, &[]).unwrap();
            assert_eq!(scope.name, Name::from_dns_value(ancestor).unwrap());
            assert!(scope.subdomains, "{name}");
        }
        for (name, ancestor) in [
            ("badexample.org", "example.org"),
            ("example.org", "www.example.org"),
            ("www.example.org", "example.net"),
            ("www.example.org", ""),
            ("www.example.org", "*.example.org"),
            ("www.example.org", "example.org."),
            ("127.0.0.1", "0.0.1"),
        ] {
            let problem = wanted(name, ancestor, &[]).expect_err(name);
            assert_eq!(problem.kind, ErrorType::Malformed, "{name} {ancestor}");
        }
        let off = wanted(
            "badexample.org",
            "example.org",
            &["acme.subdomain_authorizations=false"],
        )
        .unwrap();
        assert_eq!(
            off.name,
            Name::from_dns_value("badexample.org").unwrap(),
            "it is not looked at"
        );
        assert!(!off.subdomains);
    }
}
