//! Asks the OCSP responder and fetches CRLs.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::base64;
use crate::case::{Complaint, Finding, Judgement};
use crate::http::{Answer, Request};
use crate::issue::Issued;
use crate::read::certificate::ACCESS_OCSP;
use crate::read::crl::Crl;
use crate::read::ocsp::{Basic, Question, Response, SHA256, Single, Status, cert_id_of};
use crate::suite::Run;

/// A revocation may take this long until a CRL shows it; a day is allowed, a run does not wait for it.
const CRL_WAIT: Duration = Duration::from_secs(20);

impl Run {
    /// The responder for this certificate.
    pub(crate) fn responder(&self, issued: &Issued) -> Judgement<String> {
        if let Some(url) = &self.options.ocsp {
            return Ok(url.clone());
        }
        let uris = issued.leaf().access(ACCESS_OCSP);
        uris.into_iter()
            .next()
            .ok_or_else(|| Finding::NotOffered("the certificate names no OCSP responder".into()))
    }

    pub(crate) fn ocsp_post(&self, url: &str, body: &[u8]) -> Judgement<Answer> {
        self.send(
            &Request::new("POST", url)
                .header("Content-Type", "application/ocsp-request")
                .body(body),
        )
    }

    /// GET as RFC 6960 appendix A.1 has it, the base64 encoded with percent signs.
    pub(crate) fn ocsp_get(&self, url: &str, body: &[u8]) -> Judgement<Answer> {
        let text = base64::standard(body)
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D");
        self.get(&format!("{}/{text}", url.trim_end_matches('/')))
    }

    /// A successful answer to a question, with its signature and authority checked.
    pub(crate) fn ask(&self, issued: &Issued, question: &Question) -> Judgement<Basic> {
        let answer = self.ocsp_post(&self.responder(issued)?, &question.der())?;
        let response = self.read_ocsp(&answer)?;
        let status = response.status;
        let basic = response
            .basic
            .ok_or_else(|| Finding::Fail(format!("OCSP status {status} to a sound question")))?;
        basic.check(issued.issuer()?).read_as("the OCSP answer")?;
        Ok(basic)
    }

    pub(crate) fn read_ocsp(&self, answer: &Answer) -> Judgement<Response> {
        if answer.status != 200 {
            return Err(Finding::Fail(format!("the responder answers {}", answer.summary())));
        }
        Response::read(&answer.body).read_as("the OCSP answer")
    }

    /// What OCSP says about a certificate now.
    pub(crate) fn status_of(&self, issued: &Issued) -> Judgement<Single> {
        let id = cert_id_of(SHA256, issued.issuer()?, &issued.leaf().serial);
        let basic = self.ask(issued, &Question::about(id.clone()))?;
        let single = basic.singles.into_iter().find(|single| single.id == id);
        single.ok_or_else(|| Finding::Fail("the OCSP answer is not about the certificate asked for".into()))
    }

    /// The certificate is good by OCSP, where there is OCSP.
    pub(crate) fn still_good(&self, issued: &Issued, after: &str) -> Judgement {
        if self.responder(issued).is_err() {
            return Ok(());
        }
        match self.status_of(issued)?.status {
            Status::Good => Ok(()),
            status => Err(Finding::Fail(format!("after {after} the certificate is {status:?}"))),
        }
    }

    /// The CRL that a certificate names.
    pub(crate) fn crl_of(&self, issued: &Issued) -> Judgement<Crl> {
        let uris = issued.leaf().crl_uris();
        let Some(url) = uris.first() else {
            return Err(Finding::NotOffered("the certificate names no CRL".into()));
        };
        self.crl(url)
    }

    pub(crate) fn crl(&self, url: &str) -> Judgement<Crl> {
        let answer = self.get(url)?;
        if answer.status != 200 {
            return Err(Finding::Fail(format!("{url}: {}", answer.summary())));
        }
        Crl::read(&answer.body).read_as("the CRL")
    }

    /// The CRL once it lists the certificate, which is revoked already.
    pub(crate) fn crl_listing(&self, issued: &Issued) -> Judgement<Crl> {
        let (began, revoked) = (Instant::now(), Timestamp::now());
        loop {
            let crl = self.crl_of(issued)?;
            if crl.entry(&issued.leaf().serial).is_some() {
                return Ok(crl);
            }
            // A CRL may come late, but one that was made after the revocation has to list it.
            if crl.this_update.as_second() > revoked.as_second() {
                return Err(Finding::Fail(format!(
                    "the CRL of {} does not list a certificate revoked before {revoked}",
                    crl.this_update
                )));
            }
            if began.elapsed() > CRL_WAIT {
                return Err(Finding::Blocked(
                    "the CRL does not list a revoked certificate within the run".into(),
                ));
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// A fresh certificate, revoked by its account.
    pub(crate) fn revoked(&self, label: &str, reason: Option<i64>) -> Judgement<std::sync::Arc<Issued>> {
        let account = self.account()?;
        let issued = self.issue(account, &[self.name(label)])?;
        let answer = self.revoke(account, &issued, reason)?;
        match answer.status {
            200 => Ok(issued),
            _ => Err(Finding::Blocked(format!("revocation: {}", answer.summary()))),
        }
    }
}
