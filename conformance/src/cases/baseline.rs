//! Baseline Requirements of the CA/Browser Forum: judged only where the target claims public trust.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::json;

use crate::base64;
use crate::case::{Case, Complaint, Finding, Judgement, OrFail, ensure, must};
use crate::der;
use crate::issue::{identifiers, strings};
use crate::keys::random;
use crate::read::certificate::{
    CRL_DISTRIBUTION_POINTS, KEY_USAGE, OCSP_NO_CHECK, OCSP_SIGNING, SUBJECT_ALTERNATIVE_NAME,
};
use crate::read::crl::{ISSUING_DISTRIBUTION_POINT, REASON_CODE};
use crate::read::ocsp::{Question, SHA256, Status, cert_id_of};
use crate::responder::http01::{Reply, challenge_path};
use crate::suite::{Run, refused};

pub(super) const CASES: &[Case] = &[
    must!(
        cbr_3_2_2_4_01,
        "http-01 wants a 2xx; wildcards are not for http-01 and tls-alpn-01."
    ),
    must!(cbr_4_9_9_01, "GET is answered; answers live 8 hours to 10 days."),
    must!(cbr_4_9_9_02, "The status is there soon after issue."),
    must!(cbr_4_9_9_03, "Unassigned serials are never good."),
    must!(cbr_4_9_13_01, "Nothing is on hold."),
    must!(cbr_7_1_01, "Serials have 64 random bits."),
    must!(cbr_7_1_02, "Validity is within the dated limit."),
    must!(
        cbr_7_1_03,
        "SAN is critical exactly beside an empty subject; the CN is from it."
    ),
    must!(cbr_7_1_2_8_01, "The OCSP signer is for that alone."),
    must!(cbr_7_2_01, "CRLs live at most 10 days; shards have an IDP."),
    must!(cbr_7_2_2_01, "Reasons in CRLs are 1, 3, 4, 5, 9 or absent."),
    must!(cbr_7_2_2_02, "A subscriber chooses none, 1, 3, 4 or 5."),
    must!(cbr_7_3_01, "No reason stands in singleExtensions."),
];

pub(super) fn claimed(run: &Run) -> Judgement {
    if run.options.public_trust {
        Ok(())
    } else {
        Err(Finding::NotOffered("public trust is not claimed".into()))
    }
}

fn cbr_3_2_2_4_01(run: &Run) -> Judgement {
    claimed(run)?;
    let account = run.account()?;
    let answer = run.try_order(
        account,
        &json!({"identifiers": identifiers(&[format!("*.{}", run.name("wild"))])}),
    )?;
    if answer.status == 201 {
        run.each(strings(&answer.json()?["authorizations"]), |url| {
            let object = run.authorization(account, &url)?;
            run.each(object["challenges"].as_array().into_iter().flatten(), |challenge| {
                let kind = challenge["type"].as_str().unwrap_or_default();
                ensure!(
                    !["http-01", "tls-alpn-01"].contains(&kind),
                    "{kind} is offered for a wildcard"
                );
                Ok(())
            });
            Ok(())
        });
    }
    let (_, challenge) = run.challenge_for(account, &run.name("status"), "http-01")?;
    let body = account.key_authorization(&challenge.token);
    run.http01()?
        .script(&challenge_path(&challenge.token), [Reply::Body(404, body.into())]);
    let object = run.attempt(account, &challenge).or_fail()?;
    ensure!(object["status"] == "invalid", "a right body with 404 made {object}");
    Ok(())
}

fn cbr_4_9_9_01(run: &Run) -> Judgement {
    claimed(run)?;
    let issued = run.certificate()?;
    let id = cert_id_of(SHA256, issued.issuer()?, &issued.leaf().serial);
    let response = run.read_ocsp(&run.ocsp_get(&run.responder(issued)?, &Question::about(id).der())?)?;
    let basic = response
        .basic
        .ok_or_else(|| Finding::Fail(format!("GET: status {}", response.status)))?;
    run.each(basic.singles, |single| {
        let Some(next) = single.next_update else {
            return Err(Finding::Fail("no nextUpdate".into()));
        };
        let hours = (next.as_second() - single.this_update.as_second()) / 3600;
        ensure!((8..=240).contains(&hours), "an answer lives {hours} hours");
        Ok(())
    });
    Ok(())
}

fn cbr_4_9_9_02(run: &Run) -> Judgement {
    claimed(run)?;
    let issued = run.issue(run.account()?, &[run.name("soon")])?;
    let status = run.status_of(&issued)?.status;
    ensure!(status == Status::Good, "at once after issue the status is {status:?}");
    Ok(())
}

fn cbr_4_9_9_03(run: &Run) -> Judgement {
    claimed(run)?;
    let issued = run.certificate()?;
    let mut serial = random::<16>();
    serial[0] = serial[0] & 0x7f | 0x40;
    let id = cert_id_of(SHA256, issued.issuer()?, &serial);
    let response = run.read_ocsp(&run.ocsp_post(&run.responder(issued)?, &Question::about(id).der())?)?;
    let good = response
        .basic
        .is_some_and(|basic| basic.singles.iter().any(|single| single.status == Status::Good));
    ensure!(!good, "an unassigned serial is good");
    Ok(())
}

/// Reason codes in the CRL that the shared certificate names.
fn reasons(run: &Run) -> Judgement<Vec<Option<u8>>> {
    let crl = run.crl_of(run.certificate()?)?;
    crl.entries
        .iter()
        .flatten()
        .map(|entry| entry.reason().read_as("an entry"))
        .collect()
}

fn cbr_4_9_13_01(run: &Run) -> Judgement {
    claimed(run)?;
    ensure!(!reasons(run)?.contains(&Some(6)), "a certificate is on hold");
    Ok(())
}

fn cbr_7_1_01(run: &Run) -> Judgement {
    claimed(run)?;
    run.certificate()?;
    let serials: Vec<Vec<u8>> = run
        .evidence
        .certificates()
        .iter()
        .map(|one| one.leaf().serial.clone())
        .collect();
    run.each(&serials, |serial| {
        ensure!((8..=20).contains(&serial.len()), "the serial {serial:02x?}");
        Ok(())
    });
    if serials.len() >= 16 {
        let sorted = serials.windows(2).filter(|pair| pair[0] < pair[1]).count();
        ensure!(sorted < serials.len() - 1 && sorted > 0, "serials come in order");
        // From the end: a leading zero octet moves the others.
        let lively = (0..8)
            .filter(|&at| {
                serials
                    .iter()
                    .filter_map(|serial| serial.iter().rev().nth(at))
                    .collect::<HashSet<_>>()
                    .len()
                    // An octet has 256 values, so that among many serials it must repeat.
                    > (serials.len() / 2).min(64)
            })
            .count();
        ensure!(lively >= 8, "only {lively} octets of the serials vary");
    }
    Ok(())
}

/// Days of validity allowed for a certificate issued at this time.
fn validity_days_max(issued: Timestamp) -> i64 {
    match issued.as_second() {
        ..1_773_532_800 => 398,              // before 2026-03-15
        1_773_532_800..1_805_068_800 => 200, // before 2027-03-15
        1_805_068_800..1_868_227_200 => 100, // before 2029-03-15
        _ => 47,
    }
}

fn cbr_7_1_02(run: &Run) -> Judgement {
    claimed(run)?;
    run.certificate()?;
    run.each(run.evidence.certificates(), |one| {
        let leaf = one.leaf();
        let off = (Timestamp::now().as_second() - leaf.not_before.as_second()).abs();
        ensure!(
            off <= 48 * 3600 + 3600,
            "{}: notBefore {} is far from now",
            leaf.label(),
            leaf.not_before
        );
        // Both ends count, so the last second belongs to the validity.
        let seconds = leaf.not_after.as_second() - leaf.not_before.as_second() + 1;
        ensure!(
            seconds <= validity_days_max(leaf.not_before) * 86_400,
            "{}: valid for {seconds} s",
            leaf.label()
        );
        Ok(())
    });
    Ok(())
}

fn cbr_7_1_03(run: &Run) -> Judgement {
    claimed(run)?;
    run.certificate()?;
    run.each(run.evidence.certificates(), |one| {
        let leaf = one.leaf();
        let empty = leaf.subject == der::sequence(&[]);
        let critical = leaf
            .extension(SUBJECT_ALTERNATIVE_NAME)
            .is_some_and(|extension| extension.critical);
        ensure!(
            empty == critical,
            "{}: empty subject {empty}, critical SAN {critical}",
            leaf.label()
        );
        run.each(leaf.names().read_as("the SAN")?, |(tag, _)| {
            ensure!(
                tag == der::context(2) || tag == der::context(7),
                "{}: a name with tag {tag:02x}",
                leaf.label()
            );
            Ok(())
        });
        Ok(())
    });
    Ok(())
}

fn cbr_7_1_2_8_01(run: &Run) -> Judgement {
    claimed(run)?;
    let issued = run.certificate()?;
    let issuer = issued.issuer()?;
    let basic = run.ask(
        issued,
        &Question::about(cert_id_of(SHA256, issuer, &issued.leaf().serial)),
    )?;
    let Some(signer) = basic.signer(issuer).filter(|signer| signer.der != issuer.der) else {
        return Err(Finding::NotOffered("the CA signs itself".into()));
    };
    ensure!(
        signer.extended_usages() == [OCSP_SIGNING],
        "usages {:?}",
        signer.extended_usages()
    );
    let nocheck = signer
        .extension(OCSP_NO_CHECK)
        .is_some_and(|found| found.value == der::null() && !found.critical);
    ensure!(nocheck, "nocheck is missing or odd");
    let usage = signer.extension(KEY_USAGE).is_some_and(|extension| extension.critical);
    ensure!(
        usage && signer.has_usage(0) && !(1..9).any(|bit| signer.has_usage(bit)),
        "key usage is not digitalSignature alone"
    );
    run.each([CRL_DISTRIBUTION_POINTS, SUBJECT_ALTERNATIVE_NAME], |oid| {
        ensure!(signer.extension(oid).is_none(), "the signer has {oid}");
        Ok(())
    });
    Ok(())
}

fn cbr_7_2_01(run: &Run) -> Judgement {
    claimed(run)?;
    let crl = run.crl_of(run.certificate()?)?;
    let Some(next) = crl.next_update else {
        return Err(Finding::Fail("no nextUpdate".into()));
    };
    let seconds = next.as_second() - crl.this_update.as_second();
    ensure!(seconds <= 10 * 86_400, "a CRL lives {seconds} seconds");
    run.expect(crl.extension(ISSUING_DISTRIBUTION_POINT).is_some(), || {
        "the CRL has no IDP; sound only if it is not partitioned".into()
    });
    Ok(())
}

fn cbr_7_2_2_01(run: &Run) -> Judgement {
    claimed(run)?;
    run.each(reasons(run)?, |reason| {
        ensure!(
            reason.is_none_or(|code| [1, 3, 4, 5, 9].contains(&code)),
            "the reason {reason:?}"
        );
        Ok(())
    });
    Ok(())
}

fn cbr_7_2_2_02(run: &Run) -> Judgement {
    claimed(run)?;
    let issued = run.certificate()?;
    run.each([2, 6, 7, 8, 10], |reason| {
        let payload = json!({"certificate": base64::url(&issued.leaf().der), "reason": reason});
        let answer = run.post(&issued.account, &run.url("revokeCert")?, &payload)?;
        run.check(refused(&answer, "badRevocationReason", &format!("reason {reason}")));
        Ok(())
    });
    Ok(())
}

fn cbr_7_3_01(run: &Run) -> Judgement {
    claimed(run)?;
    let issued = run.revoked("single", Some(4))?;
    let single = run.status_of(&issued)?;
    ensure!(
        !single.extensions.iter().any(|extension| extension.oid == REASON_CODE),
        "reasonCode is a singleExtension"
    );
    Ok(())
}
