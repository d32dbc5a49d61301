//! DNSSEC under CAA and under challenges: RFC 8659 section 5.1, RFC 8657 section 5.6, dns-persist-01 section 7.8.
//!
//! Everything else about a bogus name is in order, so that nothing but the proof can be the reason for a refusal; the same
//! records with a sound proof go first and have to pass.

use super::caa::{identity, outcome};
use super::dns::all_become;
use super::dns_persist;
use crate::case::{Case, Finding, Judgement, ensure, must, should};
use crate::issue::Challenge;
use crate::responder::dns::{CAA, TXT};
use crate::responder::dnssec::Fault;
use crate::suite::{Account, Run};

pub(super) const CASES: &[Case] = &[
    should!(c8659_5_1_01, "CAA answers are validated by DNSSEC."),
    must!(
        c8657_5_6_01,
        "accounturi and validationmethods count only where DNSSEC does not say otherwise."
    ),
    must!(cpersist_7_8_01, "A DNSSEC failure fails the challenge."),
];

/// The run signs, and the target was told so.
pub(super) fn signing(run: &Run) -> Judgement {
    if run.dns()?.signs() {
        return Ok(());
    }
    Err(Finding::Blocked(
        "the run has no --dnssec-key, so that the target was told no trust anchor".into(),
    ))
}

/// What comes of a name with these CAA records, its proof sound or with one fault.
fn with_caa(run: &Run, records: &[(u8, &str, &str)], fault: Option<Fault>) -> Judgement<Result<(), String>> {
    let name = run.name("signed");
    let dns = run.dns()?;
    if !records.is_empty() {
        dns.set_caa(&name, records);
    }
    if let Some(fault) = fault {
        dns.spoil(&name, CAA, fault);
    }
    let result = outcome(run, run.account()?, std::slice::from_ref(&name), "http-01")?;
    let asked = dns.questions(&name);
    let asked = asked.iter().filter(|question| question.kind == CAA).collect::<Vec<_>>();
    ensure!(!asked.is_empty(), "no CAA question for {name}");
    ensure!(
        asked.iter().any(|question| question.dnssec),
        "CAA for {name} was asked for without its signatures"
    );
    Ok(result)
}

/// The records allow with a sound proof, and with no bogus one.
pub(super) fn counts_only_when_proven(run: &Run, records: &[(u8, &str, &str)], what: &str) -> Judgement {
    let sound = with_caa(run, records, None)?;
    ensure!(sound.is_ok(), "{what}, soundly proven: {sound:?}");
    run.each(Fault::ALL, |fault| {
        let bogus = with_caa(run, records, Some(fault))?;
        ensure!(bogus.is_err(), "{what}, the proof {fault:?}: a certificate was issued");
        Ok(())
    });
    Ok(())
}

fn c8659_5_1_01(run: &Run) -> Judgement {
    signing(run)?;
    let own = identity(run)?;
    counts_only_when_proven(run, &[(0, "issue", &own)], "records that allow")?;
    counts_only_when_proven(run, &[], "no records")
}

fn c8657_5_6_01(run: &Run) -> Judgement {
    signing(run)?;
    let own = identity(run)?;
    let account = run.account()?;
    for parameter in [
        format!("accounturi={}", account.url),
        "validationmethods=http-01".to_owned(),
    ] {
        let value = format!("{own}; {parameter}");
        counts_only_when_proven(run, &[(0, "issue", &value)], &parameter)?;
    }
    Ok(())
}

/// A TXT record that fulfils a challenge does so with a sound proof, and with no bogus one.
pub(super) fn bogus_txt_is_refused(
    run: &Run,
    account: &Account,
    kind: &str,
    record: impl Fn(&Account, &Challenge) -> (String, String),
) -> Judgement {
    let dns = run.dns()?;
    let set = |fault: Option<Fault>| {
        let (_, challenge) = run.challenge_for(account, &run.name("signed"), kind)?;
        let (place, value) = record(account, &challenge);
        dns.set_txt(&place, &[&value]);
        if let Some(fault) = fault {
            dns.spoil(&place, TXT, fault);
        }
        Ok((format!("a proof {fault:?}"), challenge))
    };
    all_become(run, account, vec![set(None)?], "valid")?;
    let bogus = Fault::ALL
        .into_iter()
        .map(|fault| set(Some(fault)))
        .collect::<Judgement<Vec<_>>>()?;
    all_become(run, account, bogus, "invalid").map(|_| ())
}

fn cpersist_7_8_01(run: &Run) -> Judgement {
    let persist = dns_persist::Offer::of(run)?;
    signing(run)?;
    bogus_txt_is_refused(run, run.account()?, dns_persist::KIND, |account, challenge| {
        (
            dns_persist::place(&challenge.identifier),
            persist.record(account, &challenge.identifier),
        )
    })
}
