//! The suite as a relying party: asks an OCSP responder and believes it by RFC 9919, RFC 9654 and RFC 6960.

use jiff::{SignedDuration, Timestamp};

use crate::base64;
use crate::case::Judgement;
use crate::der;
use crate::http::{Answer, Request};
use crate::keys::random;
use crate::read::certificate::Certificate;
use crate::read::ocsp::{Basic, NONCE, Question, Response, SHA256, Single, cert_id_of, extension};
use crate::suite::Run;

/// RFC 9919 section 5.1: whole URLs up to this long are asked by GET.
const GET_OCTETS_MAX: usize = 255;

/// RFC 9654 section 2.1: a client's nonce has at least this many octets.
const NONCE_OCTETS: usize = 32;

/// How far the clocks of a responder and of this machine may differ.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// A question about one certificate.
#[derive(Debug, Clone)]
pub(crate) struct Inquiry {
    id: Vec<u8>,
    nonce: Option<[u8; NONCE_OCTETS]>,
}

/// What a responder said, as far as it is believed.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub(crate) single: Single,
    /// The answer carries the question's nonce; otherwise only its times show that it is fresh.
    pub(crate) by_nonce: bool,
}

impl Inquiry {
    /// A question that can be answered from a cache.
    pub(crate) fn about(issuer: &Certificate, serial: &[u8]) -> Self {
        Self {
            id: cert_id_of(SHA256, issuer, serial),
            nonce: None,
        }
    }

    /// A question whose answer may have to be made for it.
    pub(crate) fn fresh(issuer: &Certificate, serial: &[u8]) -> Self {
        Self {
            nonce: Some(random()),
            ..Self::about(issuer, serial)
        }
    }

    fn der(&self) -> Vec<u8> {
        let question = Question::about(self.id.clone());
        match &self.nonce {
            Some(nonce) => question.with(extension(NONCE, false, &der::octet_string(nonce))),
            None => question,
        }
        .der()
    }

    /// The request for a responder: GET where the URL is short enough, POST otherwise.
    pub(crate) fn request(&self, responder: &str) -> Request {
        let der = self.der();
        let text = base64::standard(&der)
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D");
        let url = format!("{}/{text}", responder.trim_end_matches('/'));
        if url.len() <= GET_OCTETS_MAX {
            Request::get(&url)
        } else {
            Request::new("POST", responder)
                .header("Content-Type", "application/ocsp-request")
                .body(der)
        }
    }

    /// What can be believed of an answer at this time.
    pub(crate) fn believe(&self, answer: &Answer, issuer: &Certificate, now: Timestamp) -> Result<Word, String> {
        if answer.status != 200 {
            return Err(format!("the responder answers {}", answer.summary()));
        }
        let response = Response::read(&answer.body)?;
        let basic = response
            .basic
            .filter(|_| response.status == 0)
            .ok_or_else(|| format!("the responder answers with status {}", response.status))?;
        basic.check(issuer)?;
        let by_nonce = self.is_answered_by(&basic)?;
        let single = basic.singles.into_iter().find(|single| single.id == self.id);
        let single = single.ok_or("the answer is not about the certificate asked for")?;
        is_current(&single, now)?;
        Ok(Word { single, by_nonce })
    }

    /// Whether the nonce came back; another one than was sent is a replay.
    fn is_answered_by(&self, basic: &Basic) -> Result<bool, String> {
        match (&self.nonce, basic.extension(NONCE)) {
            (Some(nonce), Some(said)) if said.value == der::octet_string(nonce) => Ok(true),
            (_, Some(_)) => Err("the answer has a nonce that was not sent".into()),
            (_, None) => Ok(false),
        }
    }
}

/// RFC 9919 section 5: an answer lives from thisUpdate to nextUpdate, and has both.
fn is_current(single: &Single, now: Timestamp) -> Result<(), String> {
    let Some(next) = single.next_update else {
        return Err("the answer has no nextUpdate".into());
    };
    if single.this_update.duration_since(now) > SKEW {
        return Err(format!("the answer is from the future: {}", single.this_update));
    }
    if now.duration_since(next) > SKEW {
        return Err(format!("the answer is past its nextUpdate {next}"));
    }
    Ok(())
}

impl Run {
    /// Asks and tells what can be believed; what cannot is told apart from a peer that cannot be reached.
    pub(crate) fn inquire(
        &self,
        responder: &str,
        issuer: &Certificate,
        inquiry: &Inquiry,
    ) -> Judgement<Result<Word, String>> {
        let answer = self.send(&inquiry.request(responder))?;
        Ok(inquiry.believe(&answer, issuer, Timestamp::now()))
    }
}
