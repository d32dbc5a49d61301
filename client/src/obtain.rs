//! From names to a chain: drives the protocol's ordering machine over the network.

use std::sync::Arc;
use std::time::Duration;

use sigillo_protocol::acme::identifier::Name;
use sigillo_protocol::acme::order::NewOrder;
use sigillo_protocol::ordering::{self, Issued, Limits, Offer, Pending, Plan, Prove, Step, Target};

use crate::account::ActiveAccount;
use crate::chain::Chain;
use crate::error::{Error, Result};
use crate::progress::{Event, Progress};
use crate::request::CertificationRequest;
use crate::session;
use crate::solver::{Proof, Solver, Solvers, Subject, Token};

/// How often an order is taken up again after the connection broke.
const RESUMES_MAX: u32 = 3;
/// The pause before it is taken up again.
const RESUME_PAUSE: Duration = Duration::from_secs(2);
/// How often the server is asked about one step, and how long a pause it may ask for.
const LIMITS: Limits = Limits {
    polls_max: 125,
    wait_max: Duration::from_secs(600),
};
/// How long an order may take altogether: some are approved by a person.
const ORDER_PATIENCE: Duration = Duration::from_secs(3600);

/// What is ordered.
#[derive(Debug, Clone)]
pub struct OrderRequest {
    /// The request, with the names.
    pub csr: CertificationRequest,
    /// The profile to issue under.
    pub profile: Option<String>,
    /// The ARI identifier of the certificate that this one takes over from.
    pub replaces: Option<String>,
}

/// One order, while it is worked on.
struct Work<'a> {
    account: &'a ActiveAccount<'a>,
    solvers: &'a Solvers,
    progress: &'a dyn Progress,
    what: String,
    /// What is visible now and has to be taken away.
    shown: Vec<Shown>,
    announced: bool,
}

/// A proof that is visible, with who takes it away.
struct Shown {
    name: String,
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
    let plan = plan(account, request)?;
    let mut work = Work {
        account,
        solvers,
        progress,
        what,
        shown: Vec::new(),
        announced: false,
    };
    let outcome = tokio::time::timeout(ORDER_PATIENCE, work.run(plan, request, &names)).await;
    work.clean_up().await;
    let outcome = outcome.unwrap_or_else(|_| {
        let minutes = ORDER_PATIENCE.as_secs() / 60;
        Err(Error::network(
            &work.what,
            format!("the server was not done within {minutes} minutes"),
        ))
    });
    let chain = Chain::new(&outcome?.chain)?;
    chain.require_key(&request.csr.public_key)?;
    progress.event(&Event::Issued {
        not_after: chain.not_after(),
    });
    Ok(chain)
}

fn plan(account: &ActiveAccount<'_>, request: &OrderRequest) -> Result<Plan> {
    let directory = account.session.directory();
    if let Some(profile) = &request.profile {
        require_profile(profile, &directory.meta.profiles)?;
    }
    let order = NewOrder {
        identifiers: request.csr.names.iter().map(|name| name.identifier().into()).collect(),
        // A server without renewal information would not know what to do with it.
        replaces: request.replaces.clone().filter(|_| directory.renewal_info.is_some()),
        profile: request.profile.clone(),
        ..NewOrder::default()
    };
    Ok(Plan {
        limits: LIMITS,
        ..Plan::new(order)
    })
}

impl Work<'_> {
    /// Drives the machine to its end, and takes an order up again when the connection broke.
    async fn run(&mut self, mut plan: Plan, request: &OrderRequest, names: &[String]) -> Result<Issued> {
        let mut resumes = 0;
        loop {
            let mut order_url = None;
            let broken = match self.drive(plan.clone(), request, names, &mut order_url).await {
                Err(e @ Error::Network { .. }) if resumes < RESUMES_MAX => e,
                outcome => return outcome,
            };
            let Some(url) = order_url else { return Err(broken) };
            resumes += 1;
            self.warn(format!("{broken}; taking the order up again"));
            tokio::time::sleep(RESUME_PAUSE).await;
            plan.target = Target::Resume(url);
        }
    }

    async fn drive(
        &mut self,
        plan: Plan,
        request: &OrderRequest,
        names: &[String],
        order_url: &mut Option<String>,
    ) -> Result<Issued> {
        let session = self.account.session;
        let account = ordering::Session::new(self.account.key.clone(), session.directory().clone())
            .with_account(&self.account.url);
        let mut step = ordering::begin(account, plan);
        loop {
            step = match step {
                Step::Send(state) => {
                    self.note_order(state.order_url(), names, order_url);
                    let response = session.carry(state.request()).await?;
                    state.receive(response)
                }
                Step::Wait(state) => {
                    let pause = state.duration();
                    self.progress.event(&Event::Waiting {
                        what: "the server",
                        pause,
                    });
                    tokio::time::sleep(pause).await;
                    state.over()
                }
                Step::Prove(state) => {
                    self.note_order(state.order_url(), names, order_url);
                    let challenges = self.show(&state).await?;
                    state.respond(&challenges)
                }
                Step::NeedCsr(state) => {
                    self.note_order(state.order_url(), names, order_url);
                    // The order is ready only once every name in it is authorized.
                    for shown in &self.shown {
                        self.progress.event(&Event::Authorized {
                            name: shown.name.clone(),
                        });
                    }
                    self.clean_up().await;
                    self.progress.event(&Event::Finalizing);
                    state.finalize(&request.csr.der)
                }
                Step::Done(issued) => return Ok(*issued),
                Step::Failed(failure) => {
                    // An order that is only not decided yet is not taken up at once again.
                    *order_url = None;
                    return Err(session::failure(&self.what, failure.error));
                }
            }
        }
    }

    fn note_order(&mut self, url: Option<&str>, names: &[String], order_url: &mut Option<String>) {
        let Some(url) = url else { return };
        if !self.announced {
            self.announced = true;
            self.progress.event(&Event::Ordered {
                url: url.to_owned(),
                names: names.to_vec(),
            });
        }
        order_url.get_or_insert_with(|| url.to_owned());
    }

    /// Makes a proof visible for every name; returns the challenges that the server may look at.
    async fn show(&mut self, state: &Prove) -> Result<Vec<String>> {
        let mut challenges = Vec::new();
        for pending in state.authorizations() {
            let (solver, offer) = self.choose(pending)?;
            let name = shown_name(pending);
            let proof = self.proof(pending, offer)?;
            let kind = solver.kind();
            // Kept before it is made visible: also a proof that is half there has to go.
            self.shown.push(Shown {
                name: name.clone(),
                solver: solver.clone(),
                proof: proof.clone(),
            });
            solver.present(&proof).await?;
            self.progress.event(&Event::Proving { name, kind });
            challenges.push(offer.url.clone());
        }
        Ok(challenges)
    }

    /// Picks the first solver that the server offers a challenge for.
    fn choose<'a>(&self, pending: &'a Pending) -> Result<(Arc<dyn Solver>, &'a Offer)> {
        let offered = |solver: &Arc<dyn Solver>| {
            let wanted = Some(solver.kind());
            pending
                .challenges
                .iter()
                .find(|offer| offer.known == wanted && offer.token.is_some())
        };
        let found = self.solvers.iter().find_map(|s| Some((s.clone(), offered(s)?)));
        found.ok_or_else(|| {
            let kinds: Vec<&str> = pending.challenges.iter().map(|c| c.kind.as_str()).collect();
            let have: Vec<&str> = self.solvers.iter().map(|s| s.kind().as_str()).collect();
            Error::usage(format!(
                "{}: control of {} can be proven by {}, but what is configured here is {}{}",
                self.what,
                shown_name(pending),
                listed(&kinds),
                listed(&have),
                if pending.wildcard {
                    " (a wildcard needs dns-01)"
                } else {
                    ""
                },
            ))
        })
    }

    fn proof(&self, pending: &Pending, offer: &Offer) -> Result<Proof> {
        let subject = match pending.identifier.check() {
            Ok(Name::Ip(address)) => Subject::Ip(address),
            Ok(name) => Subject::Dns(name.base().to_string()),
            Err(e) => return Err(Error::server(&self.what, e.detail)),
        };
        let token = Token::parse(offer.token.as_deref().unwrap_or_default())?;
        let key_authorization = offer.key_authorization.clone().unwrap_or_default();
        Ok(Proof {
            subject,
            token,
            key_authorization,
        })
    }

    async fn clean_up(&mut self) {
        for shown in std::mem::take(&mut self.shown) {
            if let Err(e) = shown.solver.remove(&shown.proof).await {
                self.warn(format!("cannot clean up after {}: {e}", shown.name));
            }
        }
    }

    fn warn(&self, text: String) {
        self.progress.event(&Event::Warning(text));
    }
}

fn require_profile(profile: &str, offered: &std::collections::BTreeMap<String, String>) -> Result<()> {
    if offered.contains_key(profile) {
        return Ok(());
    }
    Err(Error::usage(if offered.is_empty() {
        format!("the server offers no profiles, so there is no profile {profile}")
    } else {
        let names: Vec<&str> = offered.keys().map(String::as_str).collect();
        format!("there is no profile {profile}; the server offers {}", names.join(", "))
    }))
}

fn shown_name(pending: &Pending) -> String {
    let star = if pending.wildcard { "*." } else { "" };
    format!("{star}{}", pending.identifier.value)
}

fn listed(words: &[&str]) -> String {
    if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(" or ")
    }
}
