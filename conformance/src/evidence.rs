//! Everything that was sent and received in a run; rows about "every" object are judged over it at the end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use crate::http::{Answer, Request, Url};
use crate::issue::Issued;

/// One request with its answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) request: Request,
    pub(crate) answer: Answer,
    /// When the answer was complete.
    pub(crate) at: Timestamp,
}

impl Exchange {
    /// What kind of thing was done, for reports: method, path and status, where what only names one object is an asterisk.
    pub(crate) fn kind(&self) -> String {
        let path = Url::parse(&self.request.url).map(|url| url.path).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let names_one =
            |segment: &str| segment.len() > NAME_LENGTH_MAX || segment.bytes().any(|byte| byte.is_ascii_digit());
        let segments = path
            .split('/')
            .map(|segment| if names_one(segment) { "*" } else { segment });
        let path = segments.collect::<Vec<_>>().join("/");
        format!("{} {path} -> {}", self.request.method, self.answer.status)
    }
}

/// The exchange that showed an object is one of so many last ones: cases that wait for several decisions look at many.
const SHOWING_BACK_MAX: usize = 256;

/// Longer path segments, and those with digits, name one object and not a kind of them.
const NAME_LENGTH_MAX: usize = 20;

/// An ACME object as it was seen once.
#[derive(Debug)]
pub(crate) struct Sighting {
    pub(crate) url: String,
    pub(crate) object: Value,
    /// The exchange that showed it.
    pub(crate) exchange: Option<Arc<Exchange>>,
}

/// The evidence of a run.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    exchanges: Mutex<Vec<Arc<Exchange>>>,
    issued: Mutex<Vec<Arc<Issued>>>,
    unreadable: Mutex<Vec<String>>,
    orders: Mutex<Vec<Arc<Sighting>>>,
    authorizations: Mutex<Vec<Arc<Sighting>>>,
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Evidence {
    pub(crate) fn exchange(&self, request: &Request, answer: &Answer) {
        let exchange = Exchange {
            request: request.clone(),
            answer: answer.clone(),
            at: Timestamp::now(),
        };
        open(&self.exchanges).push(Arc::new(exchange));
    }

    pub(crate) fn issued(&self, issued: Arc<Issued>) {
        open(&self.issued).push(issued);
    }

    /// Notes a chain that cannot be read as RFC 8555 and RFC 5280 have it, and why.
    pub(crate) fn unreadable(&self, url: &str, why: &str) {
        open(&self.unreadable).push(format!("{url}: {why}"));
    }

    pub(crate) fn order(&self, url: &str, object: &Value) {
        open(&self.orders).push(self.sighting(url, object));
    }

    pub(crate) fn authorization(&self, url: &str, object: &Value) {
        open(&self.authorizations).push(self.sighting(url, object));
    }

    fn sighting(&self, url: &str, object: &Value) -> Arc<Sighting> {
        Arc::new(Sighting {
            url: url.to_owned(),
            object: object.clone(),
            exchange: self.showing(object),
        })
    }

    /// The last exchange that showed exactly this object.
    pub(crate) fn showing(&self, object: &Value) -> Option<Arc<Exchange>> {
        let exchanges = open(&self.exchanges);
        let recent = exchanges.iter().rev().take(SHOWING_BACK_MAX);
        let shows = |exchange: &&Arc<Exchange>| {
            serde_json::from_slice::<Value>(&exchange.answer.body).is_ok_and(|body| body == *object)
        };
        recent.into_iter().find(shows).cloned()
    }

    /// The exchange whose answer brought this certificate in its chain.
    pub(crate) fn bringing(&self, der: &[u8]) -> Option<Arc<Exchange>> {
        let url = {
            let issued = open(&self.issued);
            let holder = issued
                .iter()
                .find(|one| one.chain.iter().any(|certificate| certificate.der == der));
            holder?.url.clone()
        };
        let exchanges = open(&self.exchanges);
        let brings = |exchange: &&Arc<Exchange>| exchange.request.url == url && exchange.answer.is_success();
        exchanges.iter().rev().find(brings).cloned()
    }

    /// How many exchanges there are.
    pub(crate) fn count(&self) -> usize {
        open(&self.exchanges).len()
    }

    /// The last few exchanges from `mark` on, without the fetching of nonces where there is anything else, and with only
    /// the last of several looks at one resource. Where nothing happened since, the last exchange since `start`.
    pub(crate) fn telling(&self, start: usize, mark: usize, nonce_url: &str, most: usize) -> Vec<Arc<Exchange>> {
        let exchanges = open(&self.exchanges);
        let from = mark
            .min(exchanges.len().saturating_sub(1))
            .max(start)
            .min(exchanges.len());
        let recent = &exchanges[from..];
        let is_nonce = |exchange: &Arc<Exchange>| exchange.request.url == nonce_url;
        let only_nonces = recent.iter().all(is_nonce);
        let mut telling: Vec<Arc<Exchange>> = Vec::new();
        for exchange in recent
            .iter()
            .rev()
            .filter(|exchange| only_nonces || !is_nonce(exchange))
        {
            let again = |known: &Arc<Exchange>| {
                known.request.url == exchange.request.url
                    && known.request.method == exchange.request.method
                    && known.answer.body == exchange.answer.body
            };
            if !telling.last().is_some_and(again) {
                telling.push(exchange.clone());
            }
            if telling.len() == most {
                break;
            }
        }
        telling.reverse();
        telling
    }

    pub(crate) fn exchanges(&self) -> Vec<Arc<Exchange>> {
        open(&self.exchanges).clone()
    }

    pub(crate) fn certificates(&self) -> Vec<Arc<Issued>> {
        open(&self.issued).clone()
    }

    pub(crate) fn unreadable_chains(&self) -> Vec<String> {
        open(&self.unreadable).clone()
    }

    pub(crate) fn orders(&self) -> Vec<Arc<Sighting>> {
        open(&self.orders).clone()
    }

    pub(crate) fn authorizations(&self) -> Vec<Arc<Sighting>> {
        open(&self.authorizations).clone()
    }
}
