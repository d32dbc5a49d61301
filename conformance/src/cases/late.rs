//! Requirements about what time does: they come last, since they wait, and leave the target's clock changed.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::dnssec::{counts_only_when_proven, signing};
use crate::case::{Case, Complaint, Finding, Judgement, ensure, may, must};
use crate::der;
use crate::http::Request;
use crate::issue::{Issued, identifiers};
use crate::keys::{Key, random};
use crate::read::crl::Crl;
use crate::read::ocsp::{Question, Response, SHA256, Status, cert_id_of};
use crate::relying::{Inquiry, Word};
use crate::request::Csr;
use crate::responder::dns::{CAA, caa};
use crate::suite::{Run, shared};

pub(super) const CASES: &[Case] = &[
    must!(
        c5280_3_3_01,
        "An entry stays until it was on a CRL after the certificate's end."
    ),
    must!(c6960_4_4_4_01, "An archive cutoff is a time among singleExtensions."),
    must!(cbr_4_9_9_04, "OCSP answers are renewed well before they end."),
    must!(c9919_7_1_01, "A fresher answer is there before max-age runs out."),
    must!(
        cbr_3_2_2_8_01,
        "CAA is not used past its time to live or 8 hours, nor against DNSSEC."
    ),
    may!(
        c6960_2_3_03,
        "tryLater, internalError and sigRequired mean what they say."
    ),
];

/// A certificate that was revoked and has expired since, and the first CRL after that.
#[derive(Debug)]
pub(crate) struct Expired {
    issued: Arc<Issued>,
    list: Option<Crl>,
}

/// Long enough to be revoked and listed before it ends.
const LIFE_SECONDS: i64 = 25;

/// A CRL is looked at this often while its certificate ends.
const LOOK: Duration = Duration::from_millis(500);

/// A CRL after the certificate's end should be there within this time of another revocation.
const LISTED_WITHIN: Duration = Duration::from_secs(20);

/// A certificate that ends soon: as an order may ask for, or as the operator has it.
fn brief(run: &Run) -> Judgement<Arc<Issued>> {
    let soon = Timestamp::from_second(Timestamp::now().as_second() + LIFE_SECONDS).unwrap_or(Timestamp::MAX);
    let names = [run.name("brief")];
    let payload = json!({"identifiers": identifiers(&names), "notAfter": soon.to_string()});
    let account = run.account()?;
    let is_brief = |issued: &Issued| issued.leaf().not_after <= soon + SignedDuration::from_secs(LIFE_SECONDS);
    if run.try_order(account, &payload)?.status == 201
        && let Ok(issued) = run.issue_with(account, &names, json!({"notAfter": soon.to_string()}))
        && is_brief(&issued)
    {
        return Ok(issued);
    }
    let issued = run.with_hook("certificate-lifetime", &[&LIFE_SECONDS.to_string()], || {
        run.issue(account, &[run.name("brief")])
    })?;
    if is_brief(&issued) {
        Ok(issued)
    } else {
        Err(Finding::Blocked(format!(
            "certificates last until {}",
            issued.leaf().not_after
        )))
    }
}

fn expired(run: &Run) -> Judgement<&Expired> {
    shared(&run.expired, || {
        let issued = brief(run)?;
        let other = run.issue(run.account()?, &[run.name("after")])?;
        let answer = run.revoke(run.account()?, &issued, None)?;
        if answer.status != 200 {
            return Err(Finding::Blocked(format!("revocation: {}", answer.summary())));
        }
        let listed = match run.crl_listing(&issued) {
            Ok(_) => true,
            Err(Finding::NotOffered(_)) => false,
            Err(other) => return Err(other),
        };
        run.pause_until(issued.leaf().not_after)?;
        // Where CRLs come by the day, a revocation makes the next one.
        run.revoke(run.account()?, &other, None)?;
        let list = if listed { first_after(run, &issued)? } else { None };
        Ok(Expired { issued, list })
    })
}

/// The first CRL from after the certificate's end.
fn first_after(run: &Run, issued: &Issued) -> Judgement<Option<Crl>> {
    let began = std::time::Instant::now();
    while began.elapsed() < LISTED_WITHIN {
        let list = run.crl_of(issued)?;
        if list.this_update > issued.leaf().not_after {
            return Ok(Some(list));
        }
        std::thread::sleep(LOOK);
    }
    Err(Finding::Blocked(
        "no CRL came after the certificate's end within the run".into(),
    ))
}

fn c5280_3_3_01(run: &Run) -> Judgement {
    let Expired { issued, list } = expired(run)?;
    let Some(list) = list else {
        return Err(Finding::NotOffered("the certificate names no CRL".into()));
    };
    let leaf = issued.leaf();
    ensure!(
        list.entry(&leaf.serial).is_some(),
        "the certificate ended at {}, and the CRL of {} lists it no more",
        leaf.not_after,
        list.this_update
    );
    Ok(())
}

/// id-pkix-ocsp-archive-cutoff.
const ARCHIVE_CUTOFF: &str = "1.3.6.1.5.5.7.48.1.6";

fn c6960_4_4_4_01(run: &Run) -> Judgement {
    let issued = &expired(run)?.issued;
    let id = cert_id_of(SHA256, issued.issuer()?, &issued.leaf().serial);
    run.ocsp_post(&run.responder(issued)?, &Question::about(id).der())?;
    let mut found = false;
    for exchange in run.evidence.exchanges() {
        let Ok(Response { basic: Some(basic), .. }) = Response::read(&exchange.answer.body) else {
            continue;
        };
        ensure!(
            basic.extension(ARCHIVE_CUTOFF).is_none(),
            "{}: an archive cutoff is among responseExtensions",
            exchange.kind()
        );
        for single in &basic.singles {
            let cutoff = single.extensions.iter().find(|one| one.oid == ARCHIVE_CUTOFF);
            let Some(cutoff) = cutoff else { continue };
            found = true;
            let time = der::single(&cutoff.value, der::GENERALIZED_TIME).read_as("the archive cutoff")?;
            crate::read::time::generalized(&time).read_as("the archive cutoff")?;
        }
    }
    if found {
        Ok(())
    } else {
        Err(Finding::NotOffered(
            "no archive cutoff, not even for an expired certificate".into(),
        ))
    }
}

/// How long answers live while they are watched: of so short ones a fresher has to come after half the time.
const ANSWER_SECONDS: &str = "60";

/// Judges how a responder renews its answers: with short-lived ones where the operator can make them.
fn with_brief_answers(run: &Run, judge: impl Fn(&Issued, &str) -> Judgement) -> Judgement {
    run.responder(run.certificate()?)?;
    let watched = || {
        let issued = run.issue(run.account()?, &[run.name("renewed")])?;
        judge(&issued, &run.responder(&issued)?)
    };
    match run.with_hook("ocsp-validity", &[ANSWER_SECONDS], watched) {
        Err(Finding::Blocked(without)) => watched().map_err(|finding| match finding {
            Finding::Blocked(why) => Finding::Blocked(format!("{why}; {without}")),
            other => other,
        }),
        judged => judged,
    }
}

fn word(run: &Run, issued: &Issued, responder: &str) -> Judgement<Word> {
    let inquiry = Inquiry::about(issued.issuer()?, &issued.leaf().serial);
    run.inquire(responder, issued.issuer()?, &inquiry)?
        .read_as("the OCSP answer")
}

/// Waits until the answer is fresher than `first`, at the longest until `deadline`; a margin of a second or two is for the
/// question itself.
fn is_renewed_by(
    run: &Run,
    issued: &Issued,
    responder: &str,
    first: &Word,
    deadline: Timestamp,
    what: &str,
) -> Judgement {
    const MARGIN: SignedDuration = SignedDuration::from_secs(2);
    let began = std::time::Instant::now();
    loop {
        let asked = Timestamp::now();
        let next = word(run, issued, responder)?;
        if next.single.this_update > first.single.this_update {
            return Ok(());
        }
        ensure!(
            asked <= deadline + MARGIN,
            "{what}: at {asked} the answer is still the one of {}",
            first.single.this_update
        );
        if began.elapsed() > run.wait_max() {
            return Err(Finding::Blocked(format!(
                "a fresher answer is due at {deadline}, longer than --wait-max"
            )));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

const HOUR: i64 = 3600;

fn cbr_4_9_9_04(run: &Run) -> Judgement {
    super::baseline::claimed(run)?;
    with_brief_answers(run, |issued, responder| {
        let first = word(run, issued, responder)?;
        let (this, next) = (&first.single.this_update, first.single.next_update);
        let Some(next) = next else {
            return Err(Finding::Fail("no nextUpdate".into()));
        };
        let lives = next.as_second() - this.as_second();
        let due = if lives < 16 * HOUR {
            lives / 2
        } else {
            (lives - 8 * HOUR).min(4 * 24 * HOUR)
        };
        let due = *this + SignedDuration::from_secs(due);
        let what = format!("an answer that lives {lives} seconds");
        is_renewed_by(run, issued, responder, &first, due, &what)
    })
}

fn c9919_7_1_01(run: &Run) -> Judgement {
    with_brief_answers(run, |issued, responder| {
        let inquiry = Inquiry::about(issued.issuer()?, &issued.leaf().serial);
        let request = inquiry.request(responder);
        if request.method != "GET" {
            return Err(Finding::Blocked("the responder's URL is too long for GET".into()));
        }
        let answer = run.send(&request)?;
        let at = Timestamp::now();
        let control = answer.header("cache-control").unwrap_or_default().to_ascii_lowercase();
        let age = control
            .split(',')
            .find_map(|part| part.trim().strip_prefix("max-age="))
            .and_then(|age| age.parse().ok());
        let Some(age) = age else {
            return Err(Finding::NotOffered(format!("Cache-Control is {control:?}")));
        };
        let first = inquiry
            .believe(&answer, issued.issuer()?, at)
            .read_as("the OCSP answer")?;
        let ends = at + SignedDuration::from_secs(age);
        is_renewed_by(run, issued, responder, &first, ends, &format!("max-age={age}"))
    })
}

/// The Baseline Requirements let CAA be used for its time to live or this long, whichever is longer.
const CAA_SECONDS: &str = "28801";

fn cbr_3_2_2_8_01(run: &Run) -> Judgement {
    super::baseline::claimed(run)?;
    super::caa::identity(run)?;
    let signing = signing(run);
    if signing.is_ok() {
        // Before the clock moves: signatures live as long as the suite makes them.
        run.check(counts_only_when_proven(run, &[], "no records"));
    }
    run.check(caa_is_not_used_past_its_time(run));
    signing
}

fn caa_is_not_used_past_its_time(run: &Run) -> Judgement {
    // The suite's records live one second: whoever asks again at once uses none past its time.
    if caa_is_asked_again(run, || Ok(()))? {
        return Ok(());
    }
    let again = caa_is_asked_again(run, || run.hook("clock", &[CAA_SECONDS]))?;
    ensure!(again, "CAA from more than 8 hours before let a certificate be issued");
    Ok(())
}

/// Whether a set that forbids, put there after validation and after some time, keeps the certificate from being issued.
fn caa_is_asked_again(run: &Run, pass: impl FnOnce() -> Judgement) -> Judgement<bool> {
    let account = run.account()?;
    let name = run.name("eight-hours");
    let order = run.ready_order(account, std::slice::from_ref(&name))?;
    run.dns()?
        .set(&name, CAA, vec![caa(0, "issue", "ca.elsewhere.example")]);
    std::thread::sleep(Duration::from_secs(2));
    pass()?;
    let answer = run.finalize(account, &order, &Csr::of(&[name]).sign(&Key::p256()))?;
    if answer.problem() == "caa" {
        return Ok(true);
    }
    if answer.is_refusal() {
        return Err(Finding::Fail(format!("refused, but not for caa: {}", answer.summary())));
    }
    match run.until(account, &order, &["valid"]) {
        Ok(_) => Ok(false),
        Err(Finding::Blocked(why)) if why.contains(":caa") => Ok(true),
        Err(other) => Err(other),
    }
}

/// Whether an OCSPRequest carries a signature.
fn is_signed(request: &Request) -> bool {
    let body = request.body.as_deref().unwrap_or_default();
    der::single(body, der::SEQUENCE)
        .and_then(|outer| outer.inside().all())
        .is_ok_and(|parts| parts.len() > 1)
}

const INTERNAL_ERROR: u8 = 2;
const TRY_LATER: u8 = 3;
const SIG_REQUIRED: u8 = 5;

/// What the run's error answers were, of those that this requirement is about.
fn error_answers(run: &Run) -> Judgement<usize> {
    let mut found = 0;
    for exchange in run.evidence.exchanges() {
        if exchange.answer.media_type() != "application/ocsp-response" {
            continue;
        }
        let Ok(response) = Response::read(&exchange.answer.body) else {
            continue;
        };
        let label = exchange.kind();
        ensure!(
            matches!(response.status, 0..=3 | 5 | 6),
            "{label}: status {} does not exist",
            response.status
        );
        if [INTERNAL_ERROR, TRY_LATER, SIG_REQUIRED].contains(&response.status) {
            found += 1;
            ensure!(response.basic.is_none(), "{label}: an error with a response in it");
            ensure!(
                response.status != SIG_REQUIRED || !is_signed(&exchange.request),
                "{label}: sigRequired for a signed question"
            );
        }
    }
    Ok(found)
}

fn c6960_2_3_03(run: &Run) -> Judgement {
    let issued = run.certificate()?.clone();
    let responder = run.responder(&issued)?;
    let revoked = run.revoked("trouble", None)?;
    let mut never = random::<16>();
    never[0] = never[0] & 0x7f | 0x40;
    let hooked = run.hook("ocsp-trouble", &[]);
    if hooked.is_ok() {
        for (serial, what) in [
            (&revoked.leaf().serial[..], "a revoked certificate"),
            (&never[..], "a serial never issued"),
        ] {
            let id = cert_id_of(SHA256, issued.issuer()?, serial);
            // Not the question that a cache may have an answer to.
            let nonce = super::ocsp::nonce_extension(&random::<32>());
            let answer = run.ocsp_post(&responder, &Question::about(id).with(nonce).der())?;
            if answer.status != 200 {
                run.warn(format!("{what}: the responder answers {}", answer.status));
                continue;
            }
            let response = Response::read(&answer.body).read_as("the OCSP answer")?;
            let good = response
                .basic
                .iter()
                .flat_map(|basic| &basic.singles)
                .any(|single| single.status == Status::Good);
            ensure!(!good, "in trouble the responder calls {what} good");
            ensure!(
                matches!(response.status, 0 | INTERNAL_ERROR | TRY_LATER),
                "in trouble the status about {what} is {}",
                response.status
            );
        }
    }
    match (error_answers(run)?, hooked) {
        (1.., _) => Ok(()),
        (0, Ok(())) => Err(Finding::NotOffered("the responder has no trouble that it tells".into())),
        (0, Err(Finding::Blocked(why))) => Err(Finding::NotOffered(format!(
            "no tryLater, internalError or sigRequired in the run; {why}"
        ))),
        (0, Err(other)) => Err(other),
    }
}
