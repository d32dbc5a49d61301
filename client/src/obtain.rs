//! From names to a chain: one order, from its making to the download (RFC 8555 section 7.4).

use std::sync::Arc;
use std::time::Duration;

use sigillo_protocol::acme::authorization::{Authorization, AuthorizationStatus};
use sigillo_protocol::acme::challenge::{self, Challenge, ChallengeStatus};
use sigillo_protocol::acme::identifier::{Identifier, Name};
use sigillo_protocol::acme::order::{Finalize, NewOrder, Order, OrderStatus};
use sigillo_protocol::acme::problem::{ErrorType, Problem};
use sigillo_protocol::base64url;
use sigillo_protocol::jose::jws::SignWith;
use tokio::time::Instant;

use crate::account::{self, ActiveAccount};
use crate::chain::Chain;
use crate::error::{Error, Result};
use crate::progress::{Event, Progress};
use crate::request::CertificationRequest;
use crate::session;
use crate::solver::{Proof, Solver, Solvers, Subject, Token};

/// The first pause between two questions when the server names none.
const POLL_FIRST: Duration = Duration::from_millis(250);
/// The longest pause: a server that asks for more is asked a little early rather than never.
const POLL_LONGEST: Duration = Duration::from_secs(60);
/// How long a server may take over one step unless the caller says otherwise.
pub const STEP_PATIENCE: Duration = Duration::from_secs(600);

/// What is ordered.
#[derive(Debug, Clone)]
pub struct OrderRequest {
    /// The request, with the names.
    pub csr: CertificationRequest,
    /// The profile to issue under.
    pub profile: Option<String>,
    /// The ARI identifier of the certificate that this one takes over from.
    pub replaces: Option<String>,
    /// How long the server may take over each step.
    pub patience: Duration,
}

/// One order, while it is worked on.
struct Work<'a> {
    account: &'a ActiveAccount<'a>,
    progress: &'a dyn Progress,
    what: String,
    patience: Duration,
}

/// A challenge that was chosen, with who answers it.
struct Choice {
    authorization: String,
    name: String,
    challenge: Challenge,
    solver: Arc<dyn Solver>,
    proof: Proof,
}

/// Orders a certificate and waits for it.
///
/// # Errors
/// When no solver fits a name, the server refuses, or what it delivers is not what was asked for.
pub async fn obtain(
    account: &ActiveAccount<'_>,
    request: &OrderRequest,
    solvers: &Solvers,
    progress: &dyn Progress,
) -> Result<Chain> {
    let names: Vec<String> = request.csr.names.iter().map(ToString::to_string).collect();
    let what = format!("cannot order {}", names.join(", "));
    let work = Work {
        account,
        progress,
        what,
        patience: request.patience,
    };
    let (url, order) = work.create(request).await?;
    progress.event(&Event::Ordered {
        url: url.clone(),
        names,
    });
    let order = match order.status {
        OrderStatus::Pending => {
            work.authorize(&order, solvers).await?;
            work.until(&url, "the order", |order| {
                order.status != OrderStatus::Pending
            })
            .await?
        }
        _ => order,
    };
    let order = match order.status {
        OrderStatus::Ready => work.finalize(&url, &order, &request.csr).await?,
        _ => order,
    };
    let done = |order: &Order| order.status != OrderStatus::Processing;
    let order = match done(&order) && order.status != OrderStatus::Ready {
        true => order,
        // Some servers show `ready` for a moment after finalize.
        false => {
            let done = |order: &Order| {
                !matches!(order.status, OrderStatus::Processing | OrderStatus::Ready)
            };
            work.until(&url, "the certificate", done).await?
        }
    };
    let chain = work.download(&order).await?;
    chain.require_key(&request.csr.public_key)?;
    progress.event(&Event::Issued {
        not_after: chain.not_after(),
    });
    Ok(chain)
}

impl Work<'_> {
    async fn create(&self, request: &OrderRequest) -> Result<(String, Order)> {
        let directory = self.account.session.directory();
        if let Some(profile) = &request.profile {
            require_profile(profile, &directory.meta.profiles)?;
        }
        let mut payload = NewOrder {
            identifiers: request.csr.names.iter().map(Identifier::from).collect(),
            replaces: request
                .replaces
                .clone()
                .filter(|_| directory.renewal_info.is_some()),
            profile: request.profile.clone(),
            ..NewOrder::default()
        };
        let response = match self
            .post(&directory.new_order, &account::to_json(&payload)?)
            .await
        {
            // Somebody has renewed the certificate already; ours is then an order like any other.
            Err(e) if payload.replaces.is_some() && rejects_replaces(&e) => {
                let why = e.problem().map(ToString::to_string).unwrap_or_default();
                self.warn(format!("ordering without a predecessor: {why}"));
                payload.replaces = None;
                self.post(&directory.new_order, &account::to_json(&payload)?)
                    .await?
            }
            other => other?,
        };
        let order = session::parse(&self.what, &response)?;
        Ok((account::location(&self.what, &response)?, order))
    }

    /// Proves control of every name that the server is not satisfied about yet.
    async fn authorize(&self, order: &Order, solvers: &Solvers) -> Result<()> {
        let mut choices = Vec::new();
        for url in &order.authorizations {
            let (authorization, _) = self.fetch::<Authorization>(url).await?;
            let name = shown_name(&authorization);
            match authorization.status {
                AuthorizationStatus::Valid => {
                    self.progress.event(&Event::Authorized { name });
                }
                AuthorizationStatus::Pending => {
                    choices.push(self.choose(url, &authorization, solvers)?);
                }
                status => return Err(self.unauthorized(&name, status, &authorization)),
            }
        }
        let outcome = self.prove(&choices).await;
        for choice in &choices {
            if let Err(e) = choice.solver.remove(&choice.proof).await {
                self.warn(format!("cannot clean up after {}: {e}", choice.name));
            }
        }
        outcome
    }

    /// Picks the first solver that the server offers a challenge for.
    fn choose(
        &self,
        url: &str,
        authorization: &Authorization,
        solvers: &Solvers,
    ) -> Result<Choice> {
        let name = shown_name(authorization);
        let subject = match authorization.identifier.check() {
            Ok(Name::Ip(address)) => Subject::Ip(address),
            Ok(name) => Subject::Dns(name.base().to_string()),
            Err(e) => return Err(Error::server(&self.what, e.detail)),
        };
        let offered = |solver: &Arc<dyn Solver>| {
            let wanted = solver.kind().as_str();
            authorization
                .challenges
                .iter()
                .find(|c| c.kind == wanted && c.token.is_some())
        };
        let found = solvers
            .iter()
            .find_map(|solver| Some((solver.clone(), offered(solver)?)));
        let Some((solver, challenge)) = found else {
            let kinds: Vec<&str> = authorization
                .challenges
                .iter()
                .map(|c| c.kind.as_str())
                .collect();
            let have: Vec<&str> = solvers.iter().map(|s| s.kind().as_str()).collect();
            return Err(Error::usage(format!(
                "{}: control of {name} can be proven by {}, but only {} is configured here{}",
                self.what,
                listed(&kinds),
                listed(&have),
                if authorization.wildcard {
                    " (a wildcard needs dns-01)"
                } else {
                    ""
                },
            )));
        };
        let token = Token::parse(challenge.token.as_deref().unwrap_or_default())?;
        let thumbprint = self.account.key.jwk().thumbprint().to_string();
        let key_authorization = challenge::key_authorization(token.as_str(), &thumbprint);
        let proof = Proof {
            subject,
            token,
            key_authorization,
        };
        let authorization = url.to_owned();
        Ok(Choice {
            authorization,
            name,
            challenge: challenge.clone(),
            solver,
            proof,
        })
    }

    async fn prove(&self, choices: &[Choice]) -> Result<()> {
        for choice in choices {
            choice.solver.present(&choice.proof).await?;
        }
        for choice in choices {
            let (name, kind) = (choice.name.clone(), choice.solver.kind());
            self.progress.event(&Event::Proving { name, kind });
            if choice.challenge.status == ChallengeStatus::Pending {
                self.post(&choice.challenge.url, b"{}").await?;
            }
        }
        for choice in choices {
            let open = |a: &Authorization| a.status == AuthorizationStatus::Pending;
            let url = &choice.authorization;
            let authorization = self.poll(url, "the validation", |a| !open(a)).await?;
            match authorization.status {
                AuthorizationStatus::Valid => {
                    self.progress.event(&Event::Authorized {
                        name: choice.name.clone(),
                    });
                }
                status => return Err(self.unauthorized(&choice.name, status, &authorization)),
            }
        }
        Ok(())
    }

    async fn finalize(
        &self,
        url: &str,
        order: &Order,
        csr: &CertificationRequest,
    ) -> Result<Order> {
        self.progress.event(&Event::Finalizing);
        let payload = account::to_json(&Finalize {
            csr: base64url::encode(&csr.der),
        })?;
        match self.post(&order.finalize, &payload).await {
            Ok(response) => session::parse(&self.what, &response),
            // The answer to an earlier try may have been lost: then the order has moved on.
            Err(e)
                if e.problem()
                    .is_some_and(|p| p.kind == ErrorType::OrderNotReady) =>
            {
                let (order, _) = self.fetch::<Order>(url).await?;
                match order.status {
                    OrderStatus::Processing | OrderStatus::Valid => Ok(order),
                    _ => Err(e),
                }
            }
            Err(e) => Err(e),
        }
    }

    async fn download(&self, order: &Order) -> Result<Chain> {
        let url = match (&order.status, &order.certificate) {
            (OrderStatus::Valid, Some(url)) => url,
            (OrderStatus::Valid, None) => {
                return Err(Error::server(
                    &self.what,
                    "the order is valid but has no certificate",
                ));
            }
            (status, _) => return Err(self.order_failed(*status, order)),
        };
        let response = self.post(url, b"").await?;
        Chain::from_pem(&response.body)
    }

    async fn until(
        &self,
        url: &str,
        what: &'static str,
        done: impl Fn(&Order) -> bool,
    ) -> Result<Order> {
        let order = self.poll(url, what, |order: &Order| {
            done(order) || order.status == OrderStatus::Invalid
        });
        let order = order.await?;
        match order.status {
            OrderStatus::Invalid => Err(self.order_failed(order.status, &order)),
            _ => Ok(order),
        }
    }

    /// Asks again and again, at the server's pace, but not for ever.
    async fn poll<T: serde::de::DeserializeOwned>(
        &self,
        url: &str,
        what: &'static str,
        done: impl Fn(&T) -> bool,
    ) -> Result<T> {
        let deadline = Instant::now() + self.patience;
        let mut backoff = POLL_FIRST;
        loop {
            let (object, retry_after) = self.fetch::<T>(url).await?;
            if done(&object) {
                return Ok(object);
            }
            let pause = retry_after
                .unwrap_or(backoff)
                .clamp(POLL_FIRST, POLL_LONGEST);
            backoff = (backoff * 2).min(Duration::from_secs(5));
            if Instant::now() + pause > deadline {
                let seconds = self.patience.as_secs();
                let why = format!("{what} was not there within {seconds} s; see {url}");
                return Err(Error::network(&self.what, why));
            }
            self.progress.event(&Event::Waiting { what, pause });
            tokio::time::sleep(pause).await;
        }
    }

    async fn post(&self, url: &str, payload: &[u8]) -> Result<crate::transport::Response> {
        let kid = SignWith::Kid(&self.account.url);
        self.account
            .session
            .post(&self.what, self.account.key, kid, url, payload)
            .await
    }

    async fn fetch<T: serde::de::DeserializeOwned>(
        &self,
        url: &str,
    ) -> Result<(T, Option<Duration>)> {
        self.account
            .session
            .fetch(&self.what, self.account.key, &self.account.url, url)
            .await
    }

    fn warn(&self, text: String) {
        self.progress.event(&Event::Warning(text));
    }

    fn order_failed(&self, status: OrderStatus, order: &Order) -> Error {
        match &order.error {
            Some(problem) => self.refused(problem.clone()),
            None => {
                let status = format!("{status:?}").to_lowercase();
                Error::server(
                    &self.what,
                    format!("the order is {status} and does not say why"),
                )
            }
        }
    }

    fn unauthorized(&self, name: &str, status: AuthorizationStatus, a: &Authorization) -> Error {
        match a.challenges.iter().find_map(|c| c.error.clone()) {
            Some(mut problem) => {
                problem.detail = format!("control of {name} is not proven: {}", problem.detail);
                self.refused(problem)
            }
            None => {
                let status = format!("{status:?}").to_lowercase();
                Error::server(
                    &self.what,
                    format!("the authorization of {name} is {status}"),
                )
            }
        }
    }

    fn refused(&self, problem: Problem) -> Error {
        let problem = Box::new(problem);
        Error::Refused {
            what: self.what.clone(),
            problem,
            retry_after: None,
        }
    }
}

/// Tells whether a refusal is about `replaces` alone (RFC 9773 section 5).
fn rejects_replaces(error: &Error) -> bool {
    let Some(problem) = error.problem() else {
        return false;
    };
    problem.kind == ErrorType::AlreadyReplaced
        || matches!(problem.status, Some(404 | 409))
        || problem.detail.contains("replaces")
}

fn require_profile(
    profile: &str,
    offered: &std::collections::BTreeMap<String, String>,
) -> Result<()> {
    if offered.contains_key(profile) {
        return Ok(());
    }
    Err(Error::usage(if offered.is_empty() {
        format!("the server offers no profiles, so there is no profile {profile}")
    } else {
        let names: Vec<&str> = offered.keys().map(String::as_str).collect();
        format!(
            "there is no profile {profile}; the server offers {}",
            names.join(", ")
        )
    }))
}

fn shown_name(authorization: &Authorization) -> String {
    let star = if authorization.wildcard { "*." } else { "" };
    format!("{star}{}", authorization.identifier.value)
}

fn listed(words: &[&str]) -> String {
    if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(" or ")
    }
}
