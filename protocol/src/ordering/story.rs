//! The way of an order from account to certificate: which answer leads to which next step.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Issued, NeedCsr, Prove, Send, Step, Then, Wait,
    chain::Chain,
    error::{Failure, OrderingError},
    exchange::{ExchangeStep, Post, Session},
    message::{PEM_CHAIN, Response},
    plan::{Pending, Plan, Target},
    reading::{chain, is_for, not_validated, pending, printable_problem, read},
};
use crate::{
    acme::{
        authorization::{Authorization, AuthorizationStatus},
        challenge::{Challenge, ChallengeStatus},
        order::{Finalize, Order, OrderStatus},
        problem::{ErrorType, Problem},
    },
    base64url,
};

/// How many authorizations an order may have: no certificate has more names.
const MAX_AUTHORIZATIONS: usize = 1000;
/// How many other chains are fetched.
const MAX_ALTERNATES: usize = 8;

/// What a request was sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Register,
    NewOrder,
    /// A first look at an authorization.
    Authorization(usize),
    /// A response to the challenge at this place of the list.
    Respond(usize),
    /// Another look at an authorization.
    Decision(usize),
    /// A look at the order.
    Order,
    Finalize,
    Certificate,
    Alternate(usize),
}

/// What is known about the order so far.
#[derive(Debug)]
pub(super) struct Story {
    plan: Plan,
    order_url: Option<String>,
    order: Option<Order>,
    /// Authorizations that were pending at the first look.
    pending: Vec<Pending>,
    /// URLs of challenges to respond to.
    chosen: Vec<String>,
    finalized: bool,
    /// What the server said when it did not take the certification request.
    not_ready: Option<Box<Problem>>,
    polls: u32,
    chain: Option<Chain>,
    alternate_urls: Vec<String>,
    alternates: Vec<Chain>,
}

impl Story {
    pub fn begin(session: Session, plan: Plan) -> Step {
        let story = Self {
            plan,
            order_url: None,
            order: None,
            pending: Vec::new(),
            chosen: Vec::new(),
            finalized: false,
            not_ready: None,
            polls: 0,
            chain: None,
            alternate_urls: Vec::new(),
            alternates: Vec::new(),
        };
        if session.account().is_some() {
            return story.open(session);
        }
        let Some(registration) = &story.plan.registration else {
            return story.fail(&session, OrderingError::NoAccount);
        };
        match registration.payload(&session) {
            Ok(payload) => {
                let url = session.directory().new_account.clone();
                let post = Post::new("the registration", url, payload).showing_key();
                story.send(session, post, Stage::Register)
            }
            Err(error) => story.fail(&session, error),
        }
    }

    pub fn order_url(&self) -> Option<&str> {
        self.order_url.as_deref()
    }

    fn fail(self, session: &Session, error: OrderingError) -> Step {
        let account_url = session.account().map(str::to_owned);
        Step::Failed(Box::new(Failure {
            error,
            account_url,
            order_url: self.order_url,
        }))
    }

    fn unexpected(self, session: &Session, doing: &'static str, what: impl Into<String>) -> Step {
        self.fail(
            session,
            OrderingError::Unexpected {
                doing,
                what: what.into(),
            },
        )
    }

    fn send(self, session: Session, post: Post, stage: Stage) -> Step {
        self.take(session.send(post), stage)
    }

    /// Goes on with what an exchange has come to.
    pub fn take(self, step: ExchangeStep, stage: Stage) -> Step {
        match step {
            ExchangeStep::Send(exchange) => Step::Send(Box::new(Send {
                exchange,
                story: self,
                stage,
            })),
            ExchangeStep::Wait(duration, paused) => Step::Wait(Box::new(Wait {
                duration,
                story: self,
                stage,
                then: Then::Again(paused),
            })),
            ExchangeStep::Done(session, response) => self.accepted(session, stage, response),
            ExchangeStep::Refused(session, problem, response) => self.refused(session, stage, problem, &response),
            ExchangeStep::Failed(session, error) => self.fail(&session, error),
        }
    }

    fn accepted(self, session: Session, stage: Stage, response: Response) -> Step {
        match stage {
            Stage::Register => self.registered(session, response),
            Stage::NewOrder => self.opened(session, &response),
            Stage::Authorization(at) => self.authorization(session, at, &response),
            Stage::Respond(at) => self.responded(session, at, &response),
            Stage::Decision(at) => self.decision(session, at, &response),
            Stage::Order | Stage::Finalize => self.looked(session, &response),
            Stage::Certificate => self.certificate(session, &response),
            Stage::Alternate(at) => self.alternate(session, at, &response),
        }
    }

    fn refused(mut self, session: Session, stage: Stage, problem: Problem, response: &Response) -> Step {
        match (stage, &mut self.plan.target) {
            // The certificate has a successor already: renew without naming it (RFC 9773 section 5).
            (Stage::NewOrder, Target::New(order))
                if problem.kind == ErrorType::AlreadyReplaced && order.replaces.is_some() =>
            {
                order.replaces = None;
                self.open(session)
            }
            // An earlier finalize may have got through without its answer getting back.
            (Stage::Finalize, _) if problem.kind == ErrorType::OrderNotReady => {
                self.not_ready = Some(Box::new(problem));
                self.look(session)
            }
            // Other chains are a courtesy.
            (Stage::Alternate(at), _) => self.next_alternate(session, at + 1),
            _ => {
                let (doing, retry_after) = (doing(stage), response.retry_after);
                self.fail(
                    &session,
                    OrderingError::Refused {
                        doing,
                        problem: Box::new(problem),
                        retry_after,
                    },
                )
            }
        }
    }

    fn registered(self, session: Session, response: Response) -> Step {
        match response.location {
            Some(url) => self.open(session.with_account(url)),
            None => self.unexpected(&session, doing(Stage::Register), "there is no Location"),
        }
    }

    /// Makes the order, or looks at the one to resume.
    fn open(mut self, session: Session) -> Step {
        match &self.plan.target {
            Target::New(order) => {
                let url = session.directory().new_order.clone();
                let post = Post::new(doing(Stage::NewOrder), url, to_json(order));
                self.send(session, post, Stage::NewOrder)
            }
            Target::Resume(url) => {
                self.order_url = Some(url.clone());
                self.look(session)
            }
        }
    }

    fn opened(mut self, session: Session, response: &Response) -> Step {
        let doing = doing(Stage::NewOrder);
        let Some(url) = response.location.clone() else {
            return self.unexpected(&session, doing, "there is no Location");
        };
        self.order_url = Some(url);
        let order: Order = match read(response, doing) {
            Ok(order) => order,
            Err(error) => return self.fail(&session, error),
        };
        if matches!(&self.plan.target, Target::New(asked) if !is_for(&order, asked)) {
            return self.unexpected(&session, doing, "the order is for other identifiers");
        }
        if matches!(order.status, OrderStatus::Processing | OrderStatus::Valid) {
            return self.unexpected(&session, doing, "a new order cannot be finalized already");
        }
        self.proceed(session, order, response.retry_after)
    }

    /// Looks at the order.
    fn look(self, session: Session) -> Step {
        let Some(url) = self.order_url.clone() else {
            return self.unexpected(&session, doing(Stage::Order), "its URL is not known");
        };
        self.send(session, Post::as_get(doing(Stage::Order), url), Stage::Order)
    }

    fn looked(self, session: Session, response: &Response) -> Step {
        match read(response, doing(Stage::Order)) {
            Ok(order) => self.proceed(session, order, response.retry_after),
            Err(error) => self.fail(&session, error),
        }
    }

    /// Goes on according to the state of the order.
    fn proceed(mut self, session: Session, order: Order, retry_after: Option<Duration>) -> Step {
        if order.authorizations.len() > MAX_AUTHORIZATIONS {
            return self.unexpected(&session, doing(Stage::Order), "it has too many authorizations");
        }
        // No earlier request got through: the refusal stands.
        let may_go_on = matches!(order.status, OrderStatus::Processing | OrderStatus::Valid);
        if let Some(problem) = self.not_ready.take().filter(|_| !may_go_on) {
            let doing = doing(Stage::Finalize);
            return self.fail(
                &session,
                OrderingError::Refused {
                    doing,
                    problem,
                    retry_after,
                },
            );
        }
        let first_look = self.order.is_none();
        self.order = Some(order.clone());
        match order.status {
            OrderStatus::Pending if first_look && !order.authorizations.is_empty() => self.look_at(session, 0),
            OrderStatus::Ready if !self.finalized => Step::NeedCsr(Box::new(NeedCsr {
                session,
                story: self,
                order,
            })),
            OrderStatus::Pending | OrderStatus::Ready | OrderStatus::Processing => {
                self.wait(session, Stage::Order, retry_after)
            }
            OrderStatus::Valid => match order.certificate {
                Some(url) => self.send(session, download(url), Stage::Certificate),
                None => self.unexpected(&session, doing(Stage::Order), "it is valid but has no certificate"),
            },
            OrderStatus::Invalid | OrderStatus::Canceled => self.fail(
                &session,
                OrderingError::Invalid {
                    problem: order.error.map(printable_problem).map(Box::new),
                },
            ),
        }
    }

    /// Looks at the authorization at a place of the order's list.
    fn look_at(self, session: Session, at: usize) -> Step {
        let url = self
            .order
            .as_ref()
            .and_then(|order| order.authorizations.get(at))
            .cloned();
        match url {
            Some(url) => {
                let stage = Stage::Authorization(at);
                self.send(session, Post::as_get(doing(stage), url), stage)
            }
            None if self.pending.is_empty() => self.look(session),
            None => {
                let pending = self.pending.clone();
                Step::Prove(Box::new(Prove {
                    session,
                    story: self,
                    pending,
                }))
            }
        }
    }

    fn authorization(mut self, session: Session, at: usize, response: &Response) -> Step {
        let authorization: Authorization = match read(response, doing(Stage::Authorization(at))) {
            Ok(authorization) => authorization,
            Err(error) => return self.fail(&session, error),
        };
        match authorization.status {
            AuthorizationStatus::Valid => {}
            AuthorizationStatus::Pending => {
                let url = self
                    .order
                    .as_ref()
                    .and_then(|order| order.authorizations.get(at))
                    .cloned();
                let thumbprint = session.signer().jwk().thumbprint().to_string();
                self.pending
                    .push(pending(url.unwrap_or_default(), authorization, &thumbprint));
            }
            _ => return self.fail(&session, not_validated(authorization)),
        }
        self.look_at(session, at + 1)
    }

    /// Takes the challenges that are prepared.
    pub fn respond(mut self, session: Session, pending: &[Pending], chosen: BTreeSet<String>) -> Step {
        for authorization in pending {
            let offers = &authorization.challenges;
            let Some(offer) = offers.iter().find(|offer| chosen.contains(&offer.url)) else {
                let offered = offers
                    .iter()
                    .map(|offer| offer.kind.as_str())
                    .collect::<Vec<_>>()
                    .join(", ");
                let identifier = authorization.identifier.clone();
                return self.fail(&session, OrderingError::NoChallenge { identifier, offered });
            };
            // One that is being looked at needs no second invitation.
            if offer.status == ChallengeStatus::Pending {
                self.chosen.push(offer.url.clone());
            }
        }
        self.invite(session, 0)
    }

    fn invite(self, session: Session, at: usize) -> Step {
        match self.chosen.get(at).cloned() {
            Some(url) => {
                let stage = Stage::Respond(at);
                self.send(session, Post::new(doing(stage), url, b"{}".to_vec()), stage)
            }
            None => self.wait(session, Stage::Decision(0), None),
        }
    }

    fn responded(self, session: Session, at: usize, response: &Response) -> Step {
        match read::<Challenge>(response, doing(Stage::Respond(at))) {
            Ok(_) => self.invite(session, at + 1),
            Err(error) => self.fail(&session, error),
        }
    }

    fn decision(self, session: Session, at: usize, response: &Response) -> Step {
        let authorization: Authorization = match read(response, doing(Stage::Decision(at))) {
            Ok(authorization) => authorization,
            Err(error) => return self.fail(&session, error),
        };
        match authorization.status {
            AuthorizationStatus::Pending => self.wait(session, Stage::Decision(at), response.retry_after),
            AuthorizationStatus::Valid => self.poll(session, Stage::Decision(at + 1)),
            _ => self.fail(&session, not_validated(authorization)),
        }
    }

    /// Waits before another look, within the limits.
    fn wait(mut self, session: Session, stage: Stage, retry_after: Option<Duration>) -> Step {
        match self.plan.limits.wait(self.polls, retry_after) {
            Some(duration) => {
                self.polls += 1;
                Step::Wait(Box::new(Wait {
                    duration,
                    story: self,
                    stage,
                    then: Then::Poll(session),
                }))
            }
            None => self.fail(&session, OrderingError::NotYet { retry_after }),
        }
    }

    /// Looks at what was waited for.
    pub fn poll(mut self, session: Session, stage: Stage) -> Step {
        let Stage::Decision(at) = stage else {
            return self.look(session);
        };
        match self.pending.get(at) {
            Some(pending) => {
                let post = Post::as_get(doing(stage), pending.url.clone());
                self.send(session, post, stage)
            }
            None => {
                self.polls = 0;
                self.look(session)
            }
        }
    }

    /// Sends the certification request.
    pub fn finalize(mut self, session: Session, order: &Order, csr_der: &[u8]) -> Step {
        self.finalized = true;
        self.polls = 0;
        let payload = to_json(&Finalize {
            csr: base64url::encode(csr_der),
        });
        let post = Post::new(doing(Stage::Finalize), order.finalize.clone(), payload);
        self.send(session, post, Stage::Finalize)
    }

    fn certificate(mut self, session: Session, response: &Response) -> Step {
        let chain = match chain(response, doing(Stage::Certificate)) {
            Ok(chain) => chain,
            Err(error) => return self.fail(&session, error),
        };
        self.chain = Some(chain);
        if self.plan.alternates {
            let alternates = response.links.iter().filter(|link| link.relation == "alternate");
            self.alternate_urls = alternates.take(MAX_ALTERNATES).map(|link| link.url.clone()).collect();
        }
        self.next_alternate(session, 0)
    }

    fn alternate(mut self, session: Session, at: usize, response: &Response) -> Step {
        let leaf = self.chain.as_ref().map(Chain::leaf);
        // One with another leaf is no chain for this certificate.
        if let Ok(chain) = chain(response, doing(Stage::Alternate(at)))
            && Some(chain.leaf()) == leaf
        {
            self.alternates.push(chain);
        }
        self.next_alternate(session, at + 1)
    }

    fn next_alternate(self, session: Session, at: usize) -> Step {
        if let Some(url) = self.alternate_urls.get(at).cloned() {
            return self.send(session, download(url), Stage::Alternate(at));
        }
        let Self {
            order_url,
            order,
            chain,
            alternates,
            ..
        } = self;
        match (order_url, order, chain) {
            (Some(order_url), Some(order), Some(chain)) => Step::Done(Box::new(Issued {
                session,
                order_url,
                order,
                chain,
                alternates,
            })),
            (order_url, ..) => {
                let error = OrderingError::Unexpected {
                    doing: doing(Stage::Certificate),
                    what: "there is a chain without an order".to_owned(),
                };
                let account_url = session.account().map(str::to_owned);
                Step::Failed(Box::new(Failure {
                    error,
                    account_url,
                    order_url,
                }))
            }
        }
    }
}

/// Names a stage in errors.
fn doing(stage: Stage) -> &'static str {
    match stage {
        Stage::Register => "the registration",
        Stage::NewOrder => "the new order",
        Stage::Authorization(_) | Stage::Decision(_) => "a look at an authorization",
        Stage::Respond(_) => "the response to a challenge",
        Stage::Order => "a look at the order",
        Stage::Finalize => "the certification request",
        Stage::Certificate => "the download of the certificate",
        Stage::Alternate(_) => "the download of another chain",
    }
}

fn download(url: String) -> Post {
    Post::as_get(doing(Stage::Certificate), url).accepting(PEM_CHAIN)
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("invariant: the wire types are JSON")
}
