//! One signed request: nonce, signature, and the tries that it takes.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    error::OrderingError,
    message::{Request, Response},
    reading::problem,
};
use crate::{
    acme::{
        directory::Directory,
        problem::{ErrorType, Problem},
    },
    base64url,
    jose::{JwsSigner, SignWith, jws},
};

/// How many nonces are kept. One exchange takes one and brings one.
const MAX_NONCES: usize = 4;
/// How often a request is tried again after `badNonce`.
const MAX_NONCE_RETRIES: u32 = 5;
/// How often a request is tried again when the server says that it is busy.
const MAX_BUSY_RETRIES: u32 = 3;
/// The longest time that a busy server is waited for.
const MAX_BUSY_WAIT: Duration = Duration::from_secs(60);

/// An account key at a server, with the nonces in stock.
#[derive(Clone)]
pub struct Session {
    signer: Arc<dyn JwsSigner>,
    directory: Directory,
    account: Option<String>,
    nonces: Vec<String>,
}

impl Session {
    /// Makes a session for a key that has no account yet, or whose account is not known.
    pub fn new(signer: Arc<dyn JwsSigner>, directory: Directory) -> Self {
        Self {
            signer,
            directory,
            account: None,
            nonces: Vec::new(),
        }
    }

    /// Sets the URL of the account.
    #[must_use]
    pub fn with_account(mut self, url: impl Into<String>) -> Self {
        self.account = Some(url.into());
        self
    }

    /// Returns the URL of the account.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Returns the directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Returns the account key.
    pub fn signer(&self) -> &dyn JwsSigner {
        &*self.signer
    }

    /// Begins a signed request of any kind.
    pub fn send(self, post: Post) -> ExchangeStep {
        let request = Request::head(&self.directory.new_nonce);
        Exchange {
            session: self,
            post,
            request,
            awaits_nonce: true,
            nonce_retries: 0,
            busy_retries: 0,
        }
        .sign()
    }

    fn keep(&mut self, nonce: Option<String>) {
        if let Some(nonce) = nonce.filter(|nonce| base64url::is_alphabet(nonce)) {
            if self.nonces.len() == MAX_NONCES {
                self.nonces.remove(0);
            }
            self.nonces.push(nonce);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("account", &self.account)
            .field("new_nonce", &self.directory.new_nonce)
            .finish_non_exhaustive()
    }
}

/// A request that is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Where it goes.
    pub url: String,
    /// The payload; empty for a POST-as-GET.
    pub payload: Vec<u8>,
    /// Whether the header shows the key and not the account, as newAccount needs it.
    pub shows_key: bool,
    /// The media type to ask for.
    pub accept: Option<&'static str>,
    /// What it is for, as errors call it.
    pub doing: &'static str,
}

impl Post {
    /// Makes a POST.
    pub fn new(doing: &'static str, url: impl Into<String>, payload: Vec<u8>) -> Self {
        Self {
            url: url.into(),
            payload,
            shows_key: false,
            accept: None,
            doing,
        }
    }

    /// Makes a POST-as-GET.
    pub fn as_get(doing: &'static str, url: impl Into<String>) -> Self {
        Self::new(doing, url, Vec::new())
    }

    /// Shows the key in the header and not the account.
    #[must_use]
    pub fn showing_key(mut self) -> Self {
        self.shows_key = true;
        self
    }

    /// Asks for a media type.
    #[must_use]
    pub fn accepting(mut self, media_type: &'static str) -> Self {
        self.accept = Some(media_type);
        self
    }
}

/// What is to be done next about a signed request.
#[derive(Debug)]
pub enum ExchangeStep {
    /// Send this and hand in the response.
    Send(Exchange),
    /// The server is busy: wait.
    Wait(Duration, Paused),
    /// It was done.
    Done(Session, Response),
    /// It was refused.
    Refused(Session, Problem, Response),
    /// It could not be brought to an answer.
    Failed(Session, OrderingError),
}

/// A request on its way.
#[derive(Debug)]
pub struct Exchange {
    session: Session,
    post: Post,
    request: Request,
    awaits_nonce: bool,
    nonce_retries: u32,
    busy_retries: u32,
}

/// A request that waits for a busy server.
#[derive(Debug)]
pub struct Paused(Exchange);

impl Paused {
    /// Goes on after the wait.
    pub fn resume(self) -> ExchangeStep {
        self.0.sign()
    }
}

impl Exchange {
    /// Returns what to send.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Returns the session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Goes on with the response.
    pub fn receive(mut self, response: Response) -> ExchangeStep {
        let problem = (!response.is_success()).then(|| problem(&response));
        if problem
            .as_ref()
            .is_some_and(|problem| problem.kind == ErrorType::BadNonce)
        {
            // What is in stock is as old as the one that was refused (RFC 8555 section 6.5).
            self.session.nonces.clear();
        }
        self.session.keep(response.nonce.clone());
        if let Some(problem) = problem {
            return self.refused(problem, response);
        }
        if !self.awaits_nonce {
            return ExchangeStep::Done(self.session, response);
        }
        if self.session.nonces.is_empty() {
            let doing = "a request for a nonce";
            let what = "there is no Replay-Nonce of base64url characters".to_owned();
            return ExchangeStep::Failed(self.session, OrderingError::Unexpected { doing, what });
        }
        self.sign()
    }

    fn refused(mut self, problem: Problem, response: Response) -> ExchangeStep {
        if problem.kind == ErrorType::BadNonce && self.nonce_retries < MAX_NONCE_RETRIES {
            self.nonce_retries += 1;
            return self.sign();
        }
        let busy = matches!(response.status, 429 | 503) && self.busy_retries < MAX_BUSY_RETRIES;
        match response.retry_after.filter(|wait| busy && *wait <= MAX_BUSY_WAIT) {
            Some(wait) => {
                self.busy_retries += 1;
                ExchangeStep::Wait(wait, Paused(self))
            }
            None => ExchangeStep::Refused(self.session, problem, response),
        }
    }

    /// Signs with a nonce from the stock, or asks for one first.
    fn sign(mut self) -> ExchangeStep {
        let Some(nonce) = self.session.nonces.pop() else {
            self.request = Request::head(&self.session.directory.new_nonce);
            self.awaits_nonce = true;
            return ExchangeStep::Send(self);
        };
        let with = match self.session.account.as_deref() {
            Some(account) if !self.post.shows_key => SignWith::Kid(account),
            None if !self.post.shows_key => {
                return ExchangeStep::Failed(self.session, OrderingError::NoAccount);
            }
            _ => SignWith::Jwk,
        };
        let signed = jws::sign(
            &*self.session.signer,
            Some(&nonce),
            &self.post.url,
            with,
            &self.post.payload,
        );
        match signed {
            Ok(body) => {
                self.request = Request::post(&self.post.url, body, self.post.accept);
                self.awaits_nonce = false;
                ExchangeStep::Send(self)
            }
            Err(error) => ExchangeStep::Failed(self.session, error.into()),
        }
    }
}
