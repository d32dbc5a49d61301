//! The suite as a client of renewal information: when to ask and when to renew, by RFC 9773 section 4.

use jiff::{SignedDuration, Timestamp};

use crate::http::{Answer, Client, Request};
use crate::keys::random;
use crate::read::time;

/// Retry-After is followed between these bounds (section 4.3.2 suggests them).
const ASK_AFTER_MIN: SignedDuration = SignedDuration::from_mins(1);
const ASK_AFTER_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Without a Retry-After, and after a long-term error (section 4.3.3).
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(6);
/// After a temporary error the wait begins so long and doubles.
const BACKOFF: SignedDuration = SignedDuration::from_mins(1);
/// So many temporary errors in a row are a long-term one.
const TRIES_MAX: u32 = 4;

/// What to do next about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing any more: it has expired or is replaced.
    Leave,
    /// Renew it now.
    Renew,
    /// Ask again at the one time; renew at the other, if it is known, unless the next answer says otherwise.
    Wait { ask: Timestamp, renew: Option<Timestamp> },
}

/// Follows the renewal information of one certificate.
#[derive(Debug)]
pub(crate) struct Watch {
    url: String,
    not_after: Timestamp,
    pub(crate) replaced: bool,
    ask: Option<Timestamp>,
    window: Option<(Timestamp, Timestamp)>,
    renew: Option<Timestamp>,
    failures: u32,
}

impl Watch {
    pub(crate) fn new(url: String, not_after: Timestamp) -> Self {
        Self {
            url,
            not_after,
            replaced: false,
            ask: None,
            window: None,
            renew: None,
            failures: 0,
        }
    }

    /// Asks if it is time to, and decides.
    pub(crate) fn look(&mut self, client: &Client, now: Timestamp) -> Plan {
        if self.replaced || now >= self.not_after {
            return Plan::Leave;
        }
        if self.ask.is_none_or(|ask| ask <= now) {
            let heard = client.send(&Request::get(&self.url));
            self.hear(heard.as_ref().ok(), now);
        }
        match self.renew {
            Some(renew) if renew <= now => Plan::Renew,
            renew => Plan::Wait {
                ask: self.ask.unwrap_or(now),
                renew,
            },
        }
    }

    fn hear(&mut self, answer: Option<&Answer>, now: Timestamp) {
        let wait = match answer {
            Some(answer) if answer.status == 200 => match window(answer) {
                Some(window) => {
                    self.failures = 0;
                    self.choose(window);
                    asked_for(answer, now)
                }
                None => ASK_AGAIN,
            },
            // No answer, and trouble on the server's side, may pass soon.
            None => self.back_off(),
            Some(answer) if answer.status >= 500 => self.back_off(),
            Some(_) => ASK_AGAIN,
        };
        self.ask = now.checked_add(wait).ok();
    }

    fn back_off(&mut self) -> SignedDuration {
        self.failures += 1;
        if self.failures >= TRIES_MAX {
            self.failures = 0;
            return ASK_AGAIN;
        }
        BACKOFF * (1 << (self.failures - 1))
    }

    /// Picks a moment of a window; the moment stays while the window does.
    fn choose(&mut self, (start, end): (Timestamp, Timestamp)) {
        if self.window == Some((start, end)) {
            return;
        }
        let length = end.as_second() - start.as_second();
        let drawn = u64::from_be_bytes(random());
        let offset = i64::try_from((u128::from(drawn) * length as u128) >> 64).unwrap_or(0);
        self.window = Some((start, end));
        self.renew = start.checked_add(SignedDuration::from_secs(offset)).ok();
    }
}

/// Start and end of the suggested window, unless they are unreadable or the wrong way round.
fn window(answer: &Answer) -> Option<(Timestamp, Timestamp)> {
    let object = answer.json().ok()?;
    let read = |name: &str| time::rfc3339(object["suggestedWindow"][name].as_str()?).ok();
    let (start, end) = (read("start")?, read("end")?);
    (start < end).then_some((start, end))
}

fn asked_for(answer: &Answer, now: Timestamp) -> SignedDuration {
    let seconds = answer
        .header("retry-after")
        .and_then(|value| time::retry_after(value, now).ok());
    seconds.map_or(ASK_AGAIN, |seconds| {
        SignedDuration::from_secs(seconds).clamp(ASK_AFTER_MIN, ASK_AFTER_MAX)
    })
}
