//! RFC 9654 and RFC 9919: OCSP nonces, and the lightweight profile with its HTTP caching.

use std::collections::HashSet;

use jiff::Timestamp;

use super::ocsp::{MALFORMED, delegate, error_status, nonce_extension, nonce_of, plain, subject};
use crate::base64;
use crate::case::{Case, Complaint, Finding, Judgement, ensure, may, must, must_read, should, should_read};
use crate::der;
use crate::http::{Answer, Request};
use crate::keys::random;
use crate::read::certificate::{ACCESS_OCSP, AUTHORITY_INFORMATION_ACCESS, CRL_DISTRIBUTION_POINTS, OCSP_NO_CHECK};
use crate::read::ocsp::{Basic, NONCE, Question, Responder, SHA256, cert_id, extension};
use crate::suite::Run;

pub(super) const CASES: &[Case] = &[
    must!(c9654_2_1_01, "A nonce of 16 to 32 octets comes back."),
    must!(c9654_2_1_02, "An empty or overlong nonce is malformedRequest."),
    may!(c9654_2_1_03, "Other lengths may be answered without it."),
    must_read!(c9654_2_1_04, "The nonce is an OCTET STRING inside the extension."),
    should_read!(
        c9654_2_1_05,
        "Without a nonce in the request there is none in the answer."
    ),
    should_read!(c9654_3_1_01, "Parallel requests get their own nonces."),
    must!(c9919_3_1_2_01, "requestorName changes nothing."),
    should!(c9919_3_2_1_01, "One SingleResponse, or two about the same certificate."),
    should!(c9919_3_2_1_02, "No responseExtensions unless asked for."),
    should!(c9919_3_2_1_03, "An option that is not supported still gets an answer."),
    must!(c9919_3_2_2_01, "A delegate's certificate comes along."),
    should!(
        c9919_3_2_2_02,
        "That certificate has nocheck, names no status, and is short-lived."
    ),
    must!(c9919_3_2_2_03, "The responder is named by its key."),
    must!(c9919_3_2_3_01, "Without records the answer is unauthorized."),
    must!(c9919_3_2_4_01, "nextUpdate is there."),
    must!(c9919_6_01, "OCSP is served over plain HTTP."),
    must_read!(c9919_6_02, "GET answers carry the headers of a cache."),
    should!(
        c9919_7_2_01,
        "Expires is nextUpdate, Last-Modified thisUpdate or producedAt."
    ),
    should!(c9919_7_2_02, "The ETag is strong and saves a transfer."),
    should!(c9919_7_2_03, "Cache-Control stays within nextUpdate."),
    must!(c9919_7_2_04, "Answers may be cached, errors not."),
];

/// The responder echoes nonces at all.
fn echoes(run: &Run) -> Judgement {
    let (issued, id, _) = subject(run)?;
    let basic = run.ask(issued, &Question::about(id).with(nonce_extension(&random::<32>())))?;
    nonce_of(&basic)
        .map(|_| ())
        .ok_or_else(|| Finding::NotOffered("nonces are not echoed".into()))
}

fn c9654_2_1_01(run: &Run) -> Judgement {
    echoes(run)?;
    let (issued, id, _) = subject(run)?;
    run.each([16, 24, 32], |length| {
        let nonce = &random::<32>()[..length];
        let basic = run.ask(issued, &Question::about(id.clone()).with(nonce_extension(nonce)))?;
        ensure!(
            nonce_of(&basic).as_deref() == Some(nonce),
            "a nonce of {length} octets does not come back"
        );
        Ok(())
    });
    Ok(())
}

fn c9654_2_1_02(run: &Run) -> Judgement {
    echoes(run)?;
    let (_, id, url) = subject(run)?;
    run.each([0, 129, 256], |length| {
        let question = Question::about(id.clone()).with(nonce_extension(&random::<256>()[..length]));
        let status = error_status(run, &url, &question.der(), &format!("a nonce of {length} octets"))?;
        ensure!(status == MALFORMED, "a nonce of {length} octets gets status {status}");
        Ok(())
    });
    Ok(())
}

fn c9654_2_1_03(run: &Run) -> Judgement {
    echoes(run)?;
    let (issued, id, url) = subject(run)?;
    run.each([1, 15, 33, 128], |length| {
        let nonce = &random::<128>()[..length];
        let question = Question::about(id.clone()).with(nonce_extension(nonce));
        let response = run.read_ocsp(&run.ocsp_post(&url, &question.der())?)?;
        if let Some(basic) = response.basic {
            basic.check(issued.issuer()?).read_as("the OCSP answer")?;
            let echoed = nonce_of(&basic);
            ensure!(
                echoed.is_none() || echoed.as_deref() == Some(nonce),
                "another nonce comes back"
            );
        }
        Ok(())
    });
    Ok(())
}

fn c9654_2_1_04(run: &Run) -> Judgement {
    let (issued, id, url) = subject(run)?;
    let nonce = random::<32>();
    let encoded = nonce_extension(&nonce);
    let front = [
        0x30, 0x2f, 0x06, 0x09, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2, 4, 0x22, 4, 0x20,
    ];
    ensure!(encoded.starts_with(&front), "the suite's own encoding is off");
    let basic = run.ask(issued, &Question::about(id.clone()).with(encoded))?;
    if let Some(extension) = basic.extension(NONCE) {
        ensure!(
            extension.value == der::octet_string(nonce),
            "the nonce comes back as {:02x?}",
            extension.value
        );
    }
    let bare = Question::about(id).with(extension(NONCE, false, &[0xff; 20]));
    let response = run.read_ocsp(&run.ocsp_post(&url, &bare.der())?)?;
    if let Some(basic) = response.basic {
        ensure!(
            basic.extension(NONCE).is_none(),
            "a nonce that is no OCTET STRING comes back"
        );
    }
    Ok(())
}

fn c9654_2_1_05(run: &Run) -> Judgement {
    ensure!(plain(run)?.1.extension(NONCE).is_none(), "a nonce comes unasked");
    Ok(())
}

/// How many requests go at once.
const PARALLEL: usize = 50;

fn c9654_3_1_01(run: &Run) -> Judgement {
    echoes(run)?;
    let (issued, id, _) = subject(run)?;
    let results: Vec<Judgement<bool>> = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..PARALLEL)
            .map(|_| {
                let id = id.clone();
                scope.spawn(move || {
                    let nonce = random::<32>();
                    let basic = run.ask(issued, &Question::about(id).with(nonce_extension(&nonce)))?;
                    Ok(nonce_of(&basic).as_deref() == Some(&nonce))
                })
            })
            .collect();
        askers.into_iter().filter_map(|asker| asker.join().ok()).collect()
    });
    run.each(results, |own| {
        ensure!(own?, "a request got another's nonce, or none");
        Ok(())
    });
    Ok(())
}

fn c9919_3_1_2_01(run: &Run) -> Judgement {
    let (issued, id, _) = subject(run)?;
    let requestor = der::tlv(
        der::constructed(4),
        crate::request::name(&[("2.5.4.3".into(), "me".into())]),
    );
    let named = run.ask(
        issued,
        &Question {
            requestor: Some(requestor),
            ..Question::about(id.clone())
        },
    )?;
    let bare = run.ask(issued, &Question::about(id))?;
    let statuses = |basic: &Basic| {
        basic
            .singles
            .iter()
            .map(|single| single.status.clone())
            .collect::<Vec<_>>()
    };
    ensure!(statuses(&named) == statuses(&bare), "requestorName changes the answer");
    Ok(())
}

fn c9919_3_2_1_01(run: &Run) -> Judgement {
    let (_, basic) = plain(run)?;
    ensure!(
        (1..=2).contains(&basic.singles.len()),
        "one request gets {} answers",
        basic.singles.len()
    );
    let serials: HashSet<Vec<u8>> = basic
        .singles
        .iter()
        .filter_map(|single| {
            der::single(&single.id, der::SEQUENCE)
                .ok()?
                .inside()
                .all()
                .ok()?
                .last()
                .map(|e| e.content.to_vec())
        })
        .collect();
    ensure!(serials.len() == 1, "the answers are about several certificates");
    Ok(())
}

fn c9919_3_2_1_02(run: &Run) -> Judgement {
    let (_, basic) = plain(run)?;
    ensure!(
        basic.extensions.is_empty(),
        "responseExtensions come unasked: {:?}",
        basic.extensions
    );
    Ok(())
}

fn c9919_3_2_1_03(run: &Run) -> Judgement {
    let (issued, id, _) = subject(run)?;
    run.ask(issued, &Question::about(id).with(nonce_extension(&random::<32>())))
        .map(|_| ())
}

fn c9919_3_2_2_01(run: &Run) -> Judgement {
    let (_, signer) = delegate(run)?;
    let (_, basic) = plain(run)?;
    ensure!(
        basic.certificates.iter().any(|one| one.der == signer.der),
        "the delegate's certificate does not come along"
    );
    Ok(())
}

/// A delegate without a way to check it should not live longer than this.
const DELEGATE_DAYS_MAX: i64 = 100;

fn c9919_3_2_2_02(run: &Run) -> Judgement {
    let (_, signer) = delegate(run)?;
    ensure!(signer.extension(OCSP_NO_CHECK).is_some(), "the delegate has no nocheck");
    ensure!(
        signer.extension(CRL_DISTRIBUTION_POINTS).is_none(),
        "the delegate names a CRL"
    );
    let named = signer.extension(AUTHORITY_INFORMATION_ACCESS).is_some() && !signer.access(ACCESS_OCSP).is_empty();
    ensure!(!named, "the delegate names a responder");
    let days = (signer.not_after.as_second() - signer.not_before.as_second()) / 86_400;
    ensure!(days <= DELEGATE_DAYS_MAX, "the delegate lives {days} days");
    Ok(())
}

fn c9919_3_2_2_03(run: &Run) -> Judgement {
    let (_, basic) = plain(run)?;
    ensure!(
        matches!(basic.responder, Responder::Key(_)),
        "the responder is named by {:?}",
        basic.responder
    );
    Ok(())
}

fn c9919_3_2_3_01(run: &Run) -> Judgement {
    let (issued, _, url) = subject(run)?;
    let id = cert_id(SHA256, &random::<32>(), &random::<32>(), &issued.leaf().serial, true);
    let response = run.read_ocsp(&run.ocsp_post(&url, &Question::about(id).der())?)?;
    ensure!(
        response.status == 6 || response.basic.is_some(),
        "an issuer not served gets status {}",
        response.status
    );
    run.expect(response.status == 6, || {
        "an issuer not served gets a signed unknown".into()
    });
    Ok(())
}

fn c9919_3_2_4_01(run: &Run) -> Judgement {
    let (_, basic) = plain(run)?;
    ensure!(
        basic.singles.iter().all(|single| single.next_update.is_some()),
        "nextUpdate is missing"
    );
    Ok(())
}

fn c9919_6_01(run: &Run) -> Judgement {
    let (.., url) = subject(run)?;
    ensure!(url.starts_with("http://"), "the responder is {url}");
    Ok(())
}

fn cached(run: &Run) -> Judgement<(Answer, Basic)> {
    let (issued, id, url) = subject(run)?;
    let answer = run.ocsp_get(&url, &Question::about(id).der())?;
    let response = run.read_ocsp(&answer)?;
    let basic = response
        .basic
        .ok_or_else(|| Finding::Fail(format!("GET: status {}", response.status)))?;
    basic.check(issued.issuer()?).read_as("the OCSP answer")?;
    Ok((answer, basic))
}

fn date(answer: &Answer, name: &str) -> Judgement<Timestamp> {
    crate::read::time::http_date(answer.header(name).unwrap_or_default()).read_as(name)
}

fn c9919_6_02(run: &Run) -> Judgement {
    let (answer, _) = cached(run)?;
    run.each(["content-type", "date"], |name| {
        ensure!(answer.header(name).is_some(), "GET brings no {name}");
        Ok(())
    });
    // Section 7.2 recommends these with SHOULD.
    for name in ["content-length", "last-modified", "etag", "expires", "cache-control"] {
        run.expect(answer.header(name).is_some(), || format!("GET brings no {name}"));
    }
    let sent = ["last-modified", "expires", "date"];
    run.each(sent.into_iter().filter(|name| answer.header(name).is_some()), |name| {
        date(&answer, name).map(drop)
    });
    Ok(())
}

fn c9919_7_2_01(run: &Run) -> Judgement {
    let (answer, basic) = cached(run)?;
    let single = basic
        .singles
        .first()
        .ok_or_else(|| Finding::Fail("an empty answer".into()))?;
    ensure!(
        Some(date(&answer, "expires")?) == single.next_update,
        "Expires is not nextUpdate {:?}",
        single.next_update
    );
    let modified = date(&answer, "last-modified")?;
    ensure!(
        modified == single.this_update || modified == basic.produced,
        "Last-Modified is {modified}"
    );
    Ok(())
}

fn c9919_7_2_02(run: &Run) -> Judgement {
    let (issued, id, url) = subject(run)?;
    let (answer, _) = cached(run)?;
    let tag = answer.header("etag").unwrap_or_default().to_owned();
    ensure!(
        tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2,
        "the ETag is {tag:?}"
    );
    let (again, _) = cached(run)?;
    ensure!(
        (again.body == answer.body) == (again.header("etag") == Some(&tag)),
        "the ETag does not follow the answer"
    );
    let body = base64::standard(Question::about(id).der())
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let request = Request::get(&format!("{}/{body}", url.trim_end_matches('/'))).header("If-None-Match", &tag);
    let conditional = run.send(&request)?;
    let fresh = conditional.status == 200 && conditional.header("etag") != Some(&tag);
    ensure!(
        conditional.status == 304 || fresh,
        "If-None-Match gets {}",
        conditional.status
    );
    ensure!(issued.chain.len() > 1, "the chain is too short");
    Ok(())
}

fn max_age(cache: &str) -> Option<i64> {
    cache
        .split(',')
        .find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok())
}

fn c9919_7_2_03(run: &Run) -> Judgement {
    let (answer, basic) = cached(run)?;
    let cache = answer.header("cache-control").unwrap_or_default().to_ascii_lowercase();
    run.each(["public", "no-transform", "must-revalidate"], |directive| {
        ensure!(cache.contains(directive), "Cache-Control is {cache:?}");
        Ok(())
    });
    let Some(age) = max_age(&cache) else {
        return Err(Finding::Fail(format!("Cache-Control is {cache:?}")));
    };
    let until = date(&answer, "date")?.as_second() + age;
    run.each(basic.singles.iter().filter_map(|single| single.next_update), |next| {
        ensure!(
            until <= next.as_second(),
            "max-age {age} reaches beyond nextUpdate {next}"
        );
        Ok(())
    });
    Ok(())
}

fn c9919_7_2_04(run: &Run) -> Judgement {
    let forbids = |answer: &Answer| {
        let cache = answer.header("cache-control").unwrap_or_default().to_ascii_lowercase();
        cache.contains("no-cache") || cache.contains("no-store")
    };
    let (answer, _) = cached(run)?;
    ensure!(!forbids(&answer), "an authoritative answer may not be cached");
    let (.., url) = subject(run)?;
    let error = run.ocsp_get(&url, b"nonsense")?;
    run.expect(forbids(&error), || "an error may be cached".into());
    Ok(())
}
