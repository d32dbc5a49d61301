//! The client's side of an order as a machine without input or output.
//!
//! Each [`Step`] is a state that says what is to be done next and takes what came of it: a request
//! to send, a time to wait, challenges to prepare, a CSR to give. A state is consumed by its
//! answer, so that an impossible order of calls does not compile. Sockets, clock and keys of
//! certificates stay with the caller.
//!
//! ```
//! # use sigillo_protocol::ordering::{Prove, Request, Response, Step};
//! # fn drive(
//! #     mut step: Step,
//! #     send: impl Fn(&Request) -> Response,
//! #     sleep: impl Fn(std::time::Duration),
//! #     publish: impl Fn(&Prove) -> Vec<String>,
//! #     csr: impl Fn() -> Vec<u8>,
//! # ) {
//! let issued = loop {
//!     step = match step {
//!         Step::Send(state) => {
//!             let response = send(state.request());
//!             state.receive(response)
//!         }
//!         Step::Wait(state) => {
//!             sleep(state.duration());
//!             state.over()
//!         }
//!         Step::Prove(state) => {
//!             let challenges = publish(&state);
//!             state.respond(&challenges)
//!         }
//!         Step::NeedCsr(state) => state.finalize(&csr()),
//!         Step::Done(issued) => break issued,
//!         Step::Failed(failure) => return eprintln!("{}", failure.error),
//!     };
//! };
//! println!("{}", issued.chain.to_pem());
//! # }
//! ```

mod chain;
mod error;
mod exchange;
mod message;
mod plan;
mod reading;
mod story;

use std::time::Duration;

pub use chain::{Chain, ChainError, MAX_CHAIN_BYTES, MAX_CHAIN_CERTIFICATES};
pub use error::{Failure, OrderingError};
pub use exchange::{Exchange, ExchangeStep, Paused, Post, Session};
pub use message::{JOSE_JSON, Link, Method, PEM_CHAIN, Request, Response};
pub use plan::{ExternalAccount, Limits, Offer, Pending, Plan, Registration, Target};

use crate::acme::order::Order;
use story::{Stage, Story};

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Send a request and hand in the response.
    Send(Box<Send>),
    /// Wait.
    Wait(Box<Wait>),
    /// Prepare challenges and name those that the server may look at.
    Prove(Box<Prove>),
    /// Give a certification request.
    NeedCsr(Box<NeedCsr>),
    /// The certificate is there.
    Done(Box<Issued>),
    /// It has come to an end without a certificate.
    Failed(Box<Failure>),
}

/// Starts an order, or goes on with one.
///
/// A session without an account registers first, for which the plan must hold a [`Registration`].
pub fn begin(session: Session, plan: Plan) -> Step {
    Story::begin(session, plan)
}

/// A request that is to be sent.
#[derive(Debug)]
pub struct Send {
    exchange: Exchange,
    story: Story,
    stage: Stage,
}

impl Send {
    /// Returns the request.
    pub fn request(&self) -> &Request {
        self.exchange.request()
    }

    /// Goes on with the response. Where none came, the state is dropped and [`begin`] called again:
    /// with [`Target::Resume`] when the order's URL is known.
    pub fn receive(self, response: Response) -> Step {
        self.story.take(self.exchange.receive(response), self.stage)
    }

    /// Returns the URL of the order as soon as there is one: worth writing down, to resume.
    pub fn order_url(&self) -> Option<&str> {
        self.story.order_url()
    }

    /// Returns the URL of the account as soon as there is one.
    pub fn account_url(&self) -> Option<&str> {
        self.exchange.session().account()
    }
}

/// A time to wait.
#[derive(Debug)]
pub struct Wait {
    duration: Duration,
    story: Story,
    stage: Stage,
    then: Then,
}

/// What a wait is for.
#[derive(Debug)]
enum Then {
    /// The server was busy: the same request again.
    Again(Paused),
    /// Something is being worked at: look again.
    Poll(Session),
}

impl Wait {
    /// Returns how long to wait.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Returns the URL of the order as soon as there is one.
    pub fn order_url(&self) -> Option<&str> {
        self.story.order_url()
    }

    /// Goes on after the wait.
    pub fn over(self) -> Step {
        match self.then {
            Then::Again(paused) => self.story.take(paused.resume(), self.stage),
            Then::Poll(session) => self.story.poll(session, self.stage),
        }
    }
}

/// Authorizations that wait for a proof.
#[derive(Debug)]
pub struct Prove {
    session: Session,
    story: Story,
    pending: Vec<Pending>,
}

impl Prove {
    /// Returns them, each with the challenges that are on offer.
    pub fn authorizations(&self) -> &[Pending] {
        &self.pending
    }

    /// Returns the URL of the order.
    pub fn order_url(&self) -> Option<&str> {
        self.story.order_url()
    }

    /// Returns the URL of the account.
    pub fn account_url(&self) -> Option<&str> {
        self.session.account()
    }

    /// Tells the server to look: takes the URL of one prepared challenge for each authorization.
    pub fn respond(self, challenges: &[impl AsRef<str>]) -> Step {
        let chosen = challenges.iter().map(|url| url.as_ref().to_owned()).collect();
        self.story.respond(self.session, &self.pending, chosen)
    }
}

/// An order that can be finalized.
#[derive(Debug)]
pub struct NeedCsr {
    session: Session,
    story: Story,
    order: Order,
}

impl NeedCsr {
    /// Returns the order; the request must name its identifiers and no others.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Returns the URL of the order.
    pub fn order_url(&self) -> Option<&str> {
        self.story.order_url()
    }

    /// Returns the URL of the account.
    pub fn account_url(&self) -> Option<&str> {
        self.session.account()
    }

    /// Sends the DER of a certification request.
    pub fn finalize(self, csr_der: &[u8]) -> Step {
        self.story.finalize(self.session, &self.order, csr_der)
    }
}

/// A certificate with its chains.
#[derive(Debug)]
pub struct Issued {
    /// The session, for the next order.
    pub session: Session,
    /// The URL of the order.
    pub order_url: String,
    /// The order in its final state.
    pub order: Order,
    /// The chain that the server prefers, the certificate first.
    pub chain: Chain,
    /// Other chains for the same certificate, where they were asked for.
    pub alternates: Vec<Chain>,
}

#[cfg(test)]
mod tests;
