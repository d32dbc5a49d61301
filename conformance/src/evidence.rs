//! Everything that was sent and received in a run; rows about "every" object are judged over it at the end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use crate::http::{Answer, Request};
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
    /// What was done, for reports.
    pub(crate) fn label(&self) -> String {
        format!("{} {} -> {}", self.request.method, self.request.url, self.answer.status)
    }
}

/// An ACME object as it was seen once.
#[derive(Debug)]
pub(crate) struct Sighting {
    pub(crate) url: String,
    pub(crate) object: Value,
}

/// The evidence of a run.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    exchanges: Mutex<Vec<Arc<Exchange>>>,
    issued: Mutex<Vec<Arc<Issued>>>,
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

    pub(crate) fn order(&self, url: &str, object: &Value) {
        open(&self.orders).push(Arc::new(Sighting {
            url: url.to_owned(),
            object: object.clone(),
        }));
    }

    pub(crate) fn authorization(&self, url: &str, object: &Value) {
        open(&self.authorizations).push(Arc::new(Sighting {
            url: url.to_owned(),
            object: object.clone(),
        }));
    }

    pub(crate) fn exchanges(&self) -> Vec<Arc<Exchange>> {
        open(&self.exchanges).clone()
    }

    pub(crate) fn certificates(&self) -> Vec<Arc<Issued>> {
        open(&self.issued).clone()
    }

    pub(crate) fn orders(&self) -> Vec<Arc<Sighting>> {
        open(&self.orders).clone()
    }

    pub(crate) fn authorizations(&self) -> Vec<Arc<Sighting>> {
        open(&self.authorizations).clone()
    }
}
