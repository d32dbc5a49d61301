//! RFC 8555 sections 7.4.2 and 9.1, RFC 7468: the certificate resource.

use super::certificates::readable;
use crate::case::{Case, Complaint, Finding, Judgement, ensure, may, must, must_read};
use crate::http::Request;
use crate::read::certificate::Certificate;
use crate::read::pem;
use crate::suite::Run;

pub(super) const CASES: &[Case] = &[
    must_read!(c8555_7_4_2_01, "The certificate is a PEM chain by default."),
    may!(
        c8555_7_4_2_02,
        "Other chains are linked and begin with the same certificate."
    ),
    must_read!(c8555_7_4_2_03, "A certificate resource never changes."),
    may!(c8555_7_4_2_04, "Other formats come on Accept."),
    must!(c8555_9_1_01, "The chain is strict PEM with nothing else in it."),
    must!(
        c8555_9_1_02,
        "The end-entity comes first, each next certifies the one before."
    ),
    must!(c7468_2_01, "Lines have 64 characters and labels are CERTIFICATE."),
];

fn c8555_7_4_2_01(run: &Run) -> Judgement {
    let kind = run.certificate()?.answer.media_type();
    ensure!(
        kind == "application/pem-certificate-chain",
        "the certificate is {kind:?}"
    );
    Ok(())
}

fn c8555_7_4_2_02(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    let alternates = issued.answer.links("alternate");
    if alternates.is_empty() {
        return Err(Finding::NotOffered("no other chain".into()));
    }
    run.each(alternates, |url| {
        let answer = run.fetch(&issued.account, &url)?;
        ensure!(answer.status == 200, "{url}: {}", answer.summary());
        let chain = pem::certificates(&answer.body).read_as("an alternate chain")?;
        ensure!(
            chain[0] == issued.leaf().der,
            "an alternate chain begins with another certificate"
        );
        ensure!(
            answer.body != issued.answer.body,
            "an alternate chain is the default one"
        );
        Ok(())
    });
    Ok(())
}

fn c8555_7_4_2_03(run: &Run) -> Judgement {
    let issued = run.issue(run.account()?, &[run.name("fixed")])?;
    let same = |when: &str| -> Judgement {
        let answer = run.fetch(&issued.account, &issued.url)?;
        if answer.is_refusal() {
            // What is shown never changes; for how long it is shown the text does not say.
            run.warn(format!(
                "{when} the certificate is no longer there: {}",
                answer.summary()
            ));
            return Ok(());
        }
        ensure!(answer.status == 200, "{when}: {}", answer.summary());
        let leaf = pem::certificates(&answer.body).read_as("the chain")?.swap_remove(0);
        ensure!(leaf == issued.leaf().der, "{when} the certificate is another");
        Ok(())
    };
    run.check(same("later"));
    run.revoke(&issued.account, &issued, None)?;
    same("after revocation")
}

fn c8555_7_4_2_04(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    let signed = run
        .draft(issued.account.signer(), &issued.url, "")?
        .sign(&issued.account.key);
    let request = Request::new("POST", &issued.url)
        .header("Content-Type", "application/jose+json")
        .header("Accept", "application/pkix-cert")
        .body(signed.body());
    let answer = run.send(&request)?;
    match (answer.status, answer.media_type().as_str()) {
        (200, "application/pkix-cert") => {
            ensure!(answer.body == issued.leaf().der, "another certificate comes as DER");
            run.expect(!answer.links("up").is_empty(), || {
                "a single certificate without Link rel=up".into()
            });
        }
        (200, "application/pem-certificate-chain") | (406, _) => {}
        _ => {
            return Err(Finding::Fail(format!(
                "Accept application/pkix-cert: {}",
                answer.summary()
            )));
        }
    }
    Ok(())
}

fn c8555_9_1_01(run: &Run) -> Judgement {
    readable(run)?;
    let body = &run.certificate()?.answer.body;
    ensure!(body.is_ascii(), "the chain has other characters than ASCII");
    let chain = pem::certificates(body).read_as("the chain")?;
    run.each(chain, |der| {
        Certificate::read(&der).read_as("a certificate of the chain")?;
        Ok(())
    });
    Ok(())
}

fn c8555_9_1_02(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    ensure!(!issued.leaf().is_ca(), "the chain begins with a CA");
    let key = issued.key.spki();
    ensure!(
        issued.leaf().spki == key,
        "the first certificate has another key than was asked for"
    );
    run.each(issued.chain.windows(2), |pair| {
        pair[0].is_signed_by(&pair[1]).read_as(&pair[0].label())?;
        ensure!(
            pair[0].issuer == pair[1].subject,
            "{} names another issuer",
            pair[0].label()
        );
        Ok(())
    });
    Ok(())
}

fn c7468_2_01(run: &Run) -> Judgement {
    readable(run)?;
    run.each(run.evidence.certificates(), |issued| {
        pem::certificates(&issued.answer.body).read_as(&issued.url)?;
        Ok(())
    });
    Ok(())
}
