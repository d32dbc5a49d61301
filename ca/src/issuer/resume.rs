//! What a crash left between recording and signing: finished or voided at the start.

use jiff::{SignedDuration, Timestamp};
use sigillo_protocol::{
    acme::{
        account::AccountStatus,
        authorization::AuthorizationStatus,
        problem::{ErrorType, Problem},
    },
    state::authorization::AuthorizationLife,
};
use x509_parser::{certificate::TbsCertificate, prelude::FromDer};

use super::{
    certificate::Issuer,
    encode,
    issue::{Recorded, SignFailure},
};
use crate::{
    model::{Action, Actor, AuditEvent, Authorization, Certificate, CertificateState, Order, Progress, Serial},
    policy::auto_renewal::settled,
    store::{Batch, Change, CommitError, OrderView, ReadError, Store},
};

/// How many intentions are read at once. There are rarely more than requests were in flight.
const PAGE: usize = 100;

/// How old an intention may be: what it rests on, CAA records among it, was looked at when it was recorded.
const INTENT_AGE_MAX: SignedDuration = SignedDuration::from_hours(1);

/// What was done about the intentions that were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Signed, and their orders made valid.
    pub finished: Vec<Serial>,
    /// Given up, and their orders made invalid.
    pub voided: Vec<Serial>,
    /// Left alone: the clock shows a time before the intention, or somebody else came first. The
    /// operator should look at the clock; the next start tries again.
    pub left: Vec<Serial>,
}

/// Resuming that could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store took no change.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The key failed.
    #[error(transparent)]
    Sign(#[from] SignFailure),
}

/// What to do about one intention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Finish,
    Void(&'static str),
    Leave,
}

/// Finishes or voids every certificate that is intended and nothing more.
///
/// To be called at the daemon's start, before anything else issues.
///
/// # Errors
/// When store or key fail; what was done until then stands, and another call goes on.
pub async fn resume(store: &dyn Store, issuers: &[Issuer], now: Timestamp) -> Result<Resumed, ResumeError> {
    resume_before(store, issuers, now, Timestamp::MAX).await
}

/// As [`resume`], for what was intended before a moment: while the daemon runs, only what is old enough has failed.
///
/// # Errors
/// As for [`resume`].
pub async fn resume_before(
    store: &dyn Store,
    issuers: &[Issuer],
    now: Timestamp,
    before: Timestamp,
) -> Result<Resumed, ResumeError> {
    let mut resumed = Resumed::default();
    loop {
        let intended = store.certificates_intended(resumed.left.len() + PAGE).await?;
        let open: Vec<_> = intended
            .into_iter()
            .filter(|c| !resumed.left.contains(&c.serial))
            .collect();
        if open.is_empty() {
            return Ok(resumed);
        }
        for certificate in open {
            if certificate.created >= before {
                resumed.left.push(certificate.serial);
                continue;
            }
            resume_one(store, issuers, certificate, now, &mut resumed).await?;
        }
    }
}

async fn resume_one(
    store: &dyn Store,
    issuers: &[Issuer],
    certificate: Certificate,
    now: Timestamp,
    resumed: &mut Resumed,
) -> Result<(), ResumeError> {
    let serial = certificate.serial;
    let view = match certificate.order {
        Some(id) => store.order(id).await?,
        None => None,
    };
    let issuer = issuers.iter().find(|issuer| *issuer.id() == certificate.issuer);
    let order = view.as_ref().map(|view| &view.order);
    let mut decision = decide(&certificate, issuer, order, now);
    if let (Decision::Finish, Some(view)) = (&decision, &view)
        && let Some(why) = why_not_any_more(store, &certificate, view, now).await?
    {
        decision = Decision::Void(why);
    }
    let order = view.map(|view| view.order);
    let batch = match (decision, issuer) {
        (Decision::Finish, Some(issuer)) => finish(certificate, order, issuer, now)?,
        (Decision::Void(why), _) => void(certificate, order, why, now),
        _ => {
            resumed.left.push(serial);
            return Ok(());
        }
    };
    match (store.commit(batch).await, decision) {
        (Ok(()), Decision::Finish) => resumed.finished.push(serial),
        (Ok(()), _) => resumed.voided.push(serial),
        // Another node came first; what it did stands.
        (Err(CommitError::Conflict), _) => resumed.left.push(serial),
        (Err(error), _) => return Err(error.into()),
    }
    Ok(())
}

/// Tells why what was decided then may not be signed now.
async fn why_not_any_more(
    store: &dyn Store,
    certificate: &Certificate,
    view: &OrderView,
    now: Timestamp,
) -> Result<Option<&'static str>, ReadError> {
    if now.duration_since(certificate.created) > INTENT_AGE_MAX {
        return Ok(Some("it was intended too long ago"));
    }
    // What is renewed rests on what was proven at the beginning (RFC 8739 section 1.1): time does not take it away.
    let renewed = matches!(view.order.progress, Progress::Renewing(_));
    let stands = |a: &Authorization| match AuthorizationLife::read(a.status, a.expires, now) {
        AuthorizationLife::Valid(_) => true,
        AuthorizationLife::Over(_) => {
            renewed && a.status == AuthorizationStatus::Valid && !a.has_outlived_its_record(now)
        }
        AuthorizationLife::Pending(_) => false,
    };
    if !view.authorizations.iter().all(stands) {
        return Ok(Some("an authorization that it rests on is not valid any more"));
    }
    let account = store.account(view.order.account).await?;
    if !account.is_some_and(|account| account.status == AccountStatus::Valid) {
        return Ok(Some("its account is closed"));
    }
    if store.blocked_key(certificate.spki_sha256).await?.is_some() {
        return Ok(Some("its key is blocked"));
    }
    Ok(None)
}

/// Decides without acting.
fn decide(certificate: &Certificate, issuer: Option<&Issuer>, order: Option<&Order>, now: Timestamp) -> Decision {
    // A clock that went back would sign under a time that is not; and "expired" could not be told either.
    if now < certificate.created {
        return Decision::Leave;
    }
    if !order.is_some_and(|order| waits_for(order, certificate.serial)) {
        return Decision::Void("nobody waits for it any more");
    }
    let Some(issuer) = issuer else {
        return Decision::Void("its issuer is not here any more");
    };
    if certificate.not_after <= now || issuer.certificate().not_after <= now {
        return Decision::Void("it has expired");
    }
    if !is_meant_for(&certificate.tbs, issuer) {
        return Decision::Void("it was prepared for another key of its issuer");
    }
    Decision::Finish
}

/// Tells whether an order waits for this certificate, its first or the next one.
fn waits_for(order: &Order, serial: Serial) -> bool {
    match &order.progress {
        Progress::Processing { certificate } => *certificate == serial,
        Progress::Renewing(renewing) => renewing.next == Some(serial),
        _ => false,
    }
}

/// Tells whether recorded bytes name this issuer and its algorithm.
fn is_meant_for(tbs: &[u8], issuer: &Issuer) -> bool {
    let Ok(([], parsed)) = TbsCertificate::from_der(tbs) else {
        return false;
    };
    let names_key = parsed
        .extensions()
        .iter()
        .any(|extension| match extension.parsed_extension() {
            x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(aki) => aki
                .key_identifier
                .as_ref()
                .is_some_and(|id| id.0 == issuer.certificate().key_identifier),
            _ => false,
        });
    names_key
        && parsed.issuer.as_raw() == issuer.certificate().subject_der
        && encode::read_algorithm(&parsed.signature) == Some(issuer.signer().algorithm())
}

fn system() -> Actor {
    Actor::System("resume".to_owned())
}

fn finish(
    certificate: Certificate,
    order: Option<Order>,
    issuer: &Issuer,
    now: Timestamp,
) -> Result<Batch, SignFailure> {
    let recorded = Recorded::from_store(certificate)
        .ok_or_else(|| SignFailure::OtherIssuer("none: it is not intended".to_owned()))?;
    let signed = recorded.sign(issuer)?;
    let order = order.map(|order| settled(order, signed.certificate()));
    let mut batch = signed.batch(system(), now);
    if let Some(order) = order {
        batch.push(Change::Order(order));
    }
    Ok(batch)
}

fn void(mut certificate: Certificate, order: Option<Order>, why: &str, now: Timestamp) -> Batch {
    let event = AuditEvent {
        at: now,
        actor: system(),
        action: Action::CertificateVoided,
        subject: certificate.serial.to_string(),
        detail: serde_json::json!({ "why": why }),
    };
    let serial = certificate.serial;
    certificate.state = CertificateState::Void;
    let mut batch = Batch::new(event).with(Change::Certificate(certificate));
    let Some(mut order) = order.filter(|order| waits_for(order, serial)) else {
        return batch;
    };
    if let Progress::Renewing(renewing) = &mut order.progress {
        // The order goes on: another one is begun at once.
        renewing.next = None;
        renewing.due = Some(now);
        renewing.trouble = Some(format!("a certificate was given up: {why}"));
    } else {
        let detail = format!("issuing was interrupted, and the certificate was given up: {why}");
        order.progress = Progress::Invalid {
            error: Problem::new(ErrorType::ServerInternal, detail),
        };
        batch.record(AuditEvent {
            at: now,
            actor: system(),
            action: Action::OrderFailed,
            subject: order.id.to_string(),
            detail: serde_json::json!({ "certificate": serial.to_string() }),
        });
    }
    batch.push(Change::Order(order));
    batch
}

#[cfg(test)]
mod tests;
