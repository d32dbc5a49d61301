//! RFC 6960 with RFC 9654 and RFC 9919: the OCSP responder.

use std::sync::Arc;

use jiff::Timestamp;

use crate::base64;
use crate::case::{Case, Complaint, Finding, Judgement, OrFail, ensure, may, must, must_read, should, should_read};
use crate::der;
use crate::http::Request;
use crate::issue::Issued;
use crate::keys::{random, sha1, sha256};
use crate::read::certificate::{ACCESS_OCSP, OCSP_NO_CHECK, OCSP_SIGNING};
use crate::read::ocsp::{
    ACCEPTABLE, BASIC, Basic, EXTENDED_REVOKE, NONCE, PREFERRED_ALGORITHMS, Question, SHA1, SHA256, Status, cert_id,
    cert_id_of, extension,
};
use crate::suite::Run;

pub(super) const CASES: &[Case] = &[
    must!(c6960_3_1_01, "Certificates name their responder."),
    must!(c6960_2_2_01, "Answers are signed by the CA or its delegate."),
    must_read!(c6960_2_2_02, "An issued certificate is good."),
    must_read!(c6960_2_2_03, "A revoked certificate is revoked, with time and reason."),
    must_read!(c6960_2_2_04, "An issuer that is not served is unknown or unauthorized."),
    must!(
        c6960_2_2_05,
        "A revoked answer for a serial never issued has its special form."
    ),
    should_read!(c6960_2_2_06, "A serial never issued is not good."),
    must_read!(c6960_2_3_01, "Bad syntax is malformedRequest."),
    must_read!(c6960_2_3_02, "Error answers are a status and nothing else."),
    must_read!(c6960_2_4_01, "The times of an answer are in order."),
    must!(
        c6960_2_5_01,
        "thisUpdate of a revoked answer is not before the revocation."
    ),
    should_read!(c6960_4_1_1_01, "SHA-1 and SHA-256 identifiers are understood."),
    must_read!(c6960_4_1_1_02, "Name hash and key hash must both match."),
    must_read!(c6960_4_1_1_03, "The answer's CertID is the request's."),
    must_read!(c6960_4_1_1_04, "requestorName and several requests are accepted."),
    must!(c6960_4_1_2_01, "Unknown extensions are ignored unless critical."),
    must_read!(c6960_4_1_2_02, "Signed requests are answered or refused, never fatal."),
    must!(
        c6960_4_2_1_01,
        "The answer is a basic response in DER without defaults."
    ),
    must_read!(c6960_4_2_2_1_01, "Times are GeneralizedTime in Zulu without fractions."),
    must!(c6960_4_2_2_2_01, "A delegate is issued by the CA, for OCSP, and valid."),
    should!(c6960_4_2_2_2_1_01, "A delegate's nocheck is NULL and not critical."),
    must!(c6960_4_2_2_3_01, "The responder's identifier fits the signer."),
    must!(c6960_4_2_2_3_02, "Each request has its SingleResponse."),
    must!(c6960_4_4_3_01, "Asked for basic, basic comes."),
    may!(c6960_4_4_7_01, "Preferred algorithms may steer the signature."),
    must!(
        c6960_4_4_8_01,
        "Extended-revoke is NULL, not critical, among responseExtensions."
    ),
    must!(c6960_5_01, "No weak algorithm signs, even if preferred."),
    must_read!(c6960_a_1_01, "POST is answered."),
    must_read!(c6960_a_1_02, "GET is answered as POST is."),
    must_read!(c6960_a_2_01, "Answers are application/ocsp-response."),
    should_read!(c6960_a_2_02, "Large requests are bounded, other methods are 405."),
];

pub(super) const MALFORMED: u8 = 1;

/// A certificate with a responder, and a question about it.
pub(super) fn subject(run: &Run) -> Judgement<(&Arc<Issued>, Vec<u8>, String)> {
    let issued = run.certificate()?;
    let url = run.responder(issued)?;
    Ok((issued, cert_id_of(SHA256, issued.issuer()?, &issued.leaf().serial), url))
}

pub(super) fn plain(run: &Run) -> Judgement<(&Arc<Issued>, Basic)> {
    let (issued, id, _) = subject(run)?;
    Ok((issued, run.ask(issued, &Question::about(id))?))
}

pub(super) fn error_status(run: &Run, url: &str, body: &[u8], what: &str) -> Judgement<u8> {
    let answer = run.ocsp_post(url, body)?;
    // A plain HTTP refusal of what is no OCSP request is as good.
    if answer.is_refusal() {
        return Ok(MALFORMED);
    }
    let response = run.read_ocsp(&answer)?;
    ensure!(response.basic.is_none(), "{what} gets a signed answer");
    Ok(response.status)
}

pub(super) fn nonce_extension(value: &[u8]) -> Vec<u8> {
    extension(NONCE, false, &der::octet_string(value))
}

pub(super) fn nonce_of(basic: &Basic) -> Option<Vec<u8>> {
    let value = &basic.extension(NONCE)?.value;
    der::single(value, der::OCTET_STRING)
        .ok()
        .map(|element| element.content.to_vec())
}

fn c6960_3_1_01(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    let uris = issued.leaf().access(ACCESS_OCSP);
    if uris.is_empty() && run.options.ocsp.is_none() {
        return Err(Finding::NotOffered("no OCSP in the certificate".into()));
    }
    ensure!(!uris.is_empty(), "OCSP is offered and the certificate does not name it");
    Ok(())
}

fn c6960_2_2_01(run: &Run) -> Judgement {
    plain(run).map(|_| ())
}

fn c6960_2_2_02(run: &Run) -> Judgement {
    let (issued, ..) = subject(run)?;
    let status = run.status_of(issued)?.status;
    ensure!(status == Status::Good, "a fresh certificate is {status:?}");
    Ok(())
}

fn c6960_2_2_03(run: &Run) -> Judgement {
    subject(run)?;
    let before = Timestamp::now();
    let issued = run.revoked("ocsp", Some(4))?;
    let Status::Revoked { at, reason } = run.status_of(&issued)?.status else {
        return Err(Finding::Fail("a revoked certificate is not revoked".into()));
    };
    ensure!(
        (before.as_second() - 2..=Timestamp::now().as_second()).contains(&at.as_second()),
        "it was revoked at {at}"
    );
    ensure!(reason == Some(4), "the reason is {reason:?}");
    Ok(())
}

/// What comes for an identifier: a status word.
fn word_for(run: &Run, url: &str, issued: &Issued, id: &[u8]) -> Judgement<(String, Option<Basic>)> {
    let response = run.read_ocsp(&run.ocsp_post(url, &Question::about(id.to_vec()).der())?)?;
    let Some(basic) = response.basic else {
        return Ok((format!("status {}", response.status), None));
    };
    basic.check(issued.issuer()?).read_as("the OCSP answer")?;
    let single = basic.singles.iter().find(|single| single.id == id);
    let word = single.map(|single| format!("{:?}", single.status)).unwrap_or_default();
    Ok((word, Some(basic)))
}

fn c6960_2_2_04(run: &Run) -> Judgement {
    let (issued, _, url) = subject(run)?;
    let id = cert_id(SHA256, &random::<32>(), &random::<32>(), &issued.leaf().serial, true);
    let response = run.read_ocsp(&run.ocsp_post(&url, &Question::about(id.clone()).der())?)?;
    match response.basic {
        None => ensure!(
            response.status == 6,
            "an issuer that is not served gets status {}",
            response.status
        ),
        Some(basic) => {
            let unknown = basic
                .singles
                .iter()
                .any(|single| single.id == id && single.status == Status::Unknown);
            ensure!(unknown, "an issuer that is not served is {:?}", basic.singles);
        }
    }
    Ok(())
}

fn never_issued(run: &Run) -> Judgement<(String, Option<Basic>)> {
    let (issued, _, url) = subject(run)?;
    let mut serial = random::<16>();
    serial[0] = serial[0] & 0x7f | 0x40;
    word_for(run, &url, issued, &cert_id_of(SHA256, issued.issuer()?, &serial))
}

fn c6960_2_2_05(run: &Run) -> Judgement {
    let (word, basic) = never_issued(run)?;
    let Some(basic) = basic.filter(|_| word.starts_with("Revoked")) else {
        return Err(Finding::NotOffered(format!("a serial never issued is {word}")));
    };
    ensure!(basic.extension(EXTENDED_REVOKE).is_some(), "extended-revoke is missing");
    let form = Status::Revoked {
        at: Timestamp::UNIX_EPOCH,
        reason: Some(6),
    };
    ensure!(
        basic
            .singles
            .iter()
            .all(|single| single.status == form && single.extensions.is_empty()),
        "{:?}",
        basic.singles
    );
    Ok(())
}

fn c6960_2_2_06(run: &Run) -> Judgement {
    let (word, _) = never_issued(run)?;
    ensure!(word != "Good", "a serial never issued is good");
    Ok(())
}

fn unsound(run: &Run) -> Judgement<Vec<(&'static str, Vec<u8>)>> {
    let (_, id, _) = subject(run)?;
    let sound = Question::about(id).der();
    Ok(vec![
        ("an empty body", Vec::new()),
        ("random octets", random::<40>().to_vec()),
        ("a truncated request", sound[..sound.len() - 3].to_vec()),
        ("octets behind the request", [sound.as_slice(), &[0, 0]].concat()),
        ("an empty request list", Question::default().der()),
        ("a string", der::octet_string(b"x")),
    ])
}

fn c6960_2_3_01(run: &Run) -> Judgement {
    let (.., url) = subject(run)?;
    run.each(unsound(run)?, |(what, body)| {
        let status = error_status(run, &url, &body, what)?;
        ensure!(status == MALFORMED, "{what} gets status {status}");
        Ok(())
    });
    Ok(())
}

fn c6960_2_3_02(run: &Run) -> Judgement {
    let (.., url) = subject(run)?;
    run.each(unsound(run)?, |(what, body)| {
        let answer = run.ocsp_post(&url, &body)?;
        if answer.is_refusal() {
            return Ok(());
        }
        let bare = answer.body.len() == 5 && answer.body.starts_with(&[0x30, 3, 0x0a, 1]);
        ensure!(bare, "{what}: the answer is {:02x?}", answer.body);
        ensure!(
            [1, 2, 3, 5, 6].contains(&answer.body[4]),
            "{what} gets status {}",
            answer.body[4]
        );
        Ok(())
    });
    Ok(())
}

fn c6960_2_4_01(run: &Run) -> Judgement {
    let (_, basic) = plain(run)?;
    let now = Timestamp::now().as_second() + 2;
    ensure!(
        basic.produced.as_second() <= now,
        "producedAt {} is in the future",
        basic.produced
    );
    run.each(&basic.singles, |single| {
        ensure!(
            single.this_update <= basic.produced,
            "thisUpdate {} after producedAt {}",
            single.this_update,
            basic.produced
        );
        ensure!(
            single.next_update.is_none_or(|next| next > single.this_update),
            "nextUpdate is not after thisUpdate"
        );
        Ok(())
    });
    Ok(())
}

fn c6960_2_5_01(run: &Run) -> Judgement {
    subject(run)?;
    let issued = run.revoked("fresh", None)?;
    let single = run.status_of(&issued)?;
    let Status::Revoked { at, .. } = single.status else {
        return Err(Finding::Fail(format!("a revoked certificate is {:?}", single.status)));
    };
    ensure!(
        single.this_update >= at,
        "thisUpdate {} is before the revocation at {at}",
        single.this_update
    );
    Ok(())
}

fn c6960_4_1_1_01(run: &Run) -> Judgement {
    let (issued, _, url) = subject(run)?;
    run.each([SHA1, SHA256], |hash| {
        let id = cert_id_of(hash, issued.issuer()?, &issued.leaf().serial);
        let (word, _) = word_for(run, &url, issued, &id)?;
        ensure!(word == "Good", "an identifier by {hash} gets {word:?}");
        Ok(())
    });
    Ok(())
}

fn c6960_4_1_1_02(run: &Run) -> Judgement {
    let (issued, _, url) = subject(run)?;
    let issuer = issued.issuer()?;
    let (name, key) = (sha256(&issuer.subject), sha256(issuer.key_bits()));
    run.each(
        [
            ("the hash of the whole SPKI", name.clone(), sha256(&issuer.spki)),
            ("a wrong name hash", random::<32>().to_vec(), key),
            ("a wrong key hash", name, random::<32>().to_vec()),
        ],
        |(what, name, key)| {
            let (word, _) = word_for(
                run,
                &url,
                issued,
                &cert_id(SHA256, &name, &key, &issued.leaf().serial, true),
            )?;
            ensure!(word != "Good", "{what} gets good");
            Ok(())
        },
    );
    Ok(())
}

fn c6960_4_1_1_03(run: &Run) -> Judgement {
    let (issued, _, url) = subject(run)?;
    let issuer = issued.issuer()?;
    run.each([true, false], |null| {
        let id = cert_id(
            SHA1,
            &sha1(&issuer.subject),
            &sha1(issuer.key_bits()),
            &issued.leaf().serial,
            null,
        );
        let response = run.read_ocsp(&run.ocsp_post(&url, &Question::about(id.clone()).der())?)?;
        let Some(basic) = response.basic else {
            return Err(Finding::Fail(format!(
                "parameters NULL {null}: status {}",
                response.status
            )));
        };
        let own = basic.singles.iter().find(|single| same_id(&single.id, &id));
        ensure!(
            own.is_some(),
            "parameters NULL {null}: the answer is about another CertID"
        );
        run.expect(basic.singles.iter().any(|single| single.id == id), || {
            format!("parameters NULL {null} are answered otherwise")
        });
        Ok(())
    });
    Ok(())
}

/// The same identifier, with absent and NULL parameters taken as one.
fn same_id(one: &[u8], other: &[u8]) -> bool {
    let parts = |id: &[u8]| -> Option<(Vec<u8>, Vec<u8>)> {
        let mut inside = der::single(id, der::SEQUENCE).ok()?.inside();
        let algorithm = inside.any().ok()?.inside().any().ok()?.whole.to_vec();
        let rest = inside
            .all()
            .ok()?
            .iter()
            .flat_map(|element| element.whole.to_vec())
            .collect();
        Some((algorithm, rest))
    };
    parts(one).is_some() && parts(one) == parts(other)
}

fn c6960_4_1_1_04(run: &Run) -> Judgement {
    let (issued, id, url) = subject(run)?;
    let requestor = der::tlv(
        der::constructed(4),
        crate::request::name(&[("2.5.4.3".into(), "me".into())]),
    );
    let named = Question {
        requestor: Some(requestor),
        ..Question::about(id.clone())
    };
    run.ask(issued, &named)?;
    run.each([2usize, 50], |count| {
        let ids = (0..count).map(|at| {
            let issuer = issued.issuer()?;
            Ok(if at == 0 {
                id.clone()
            } else {
                cert_id_of(SHA256, issuer, &[0x40 | (at >> 8) as u8, at as u8])
            })
        });
        let question = Question {
            ids: ids.collect::<Judgement<_>>()?,
            ..Question::default()
        };
        let response = run.read_ocsp(&run.ocsp_post(&url, &question.der())?)?;
        match response.basic {
            Some(basic) => basic.check(issued.issuer()?).read_as("the OCSP answer")?,
            None if count == 2 => return Err(Finding::Fail(format!("two requests get status {}", response.status))),
            None => run.warn(format!("{count} requests get status {}", response.status)),
        }
        Ok(())
    });
    Ok(())
}

fn c6960_4_1_2_01(run: &Run) -> Judgement {
    let (issued, id, url) = subject(run)?;
    let private = |critical| extension("1.3.6.1.4.1.55555.2", critical, &der::null());
    run.ask(issued, &Question::about(id.clone()).with(private(false)))?;
    let single = Question {
        single_extensions: vec![private(false)],
        ..Question::about(id.clone())
    };
    run.ask(issued, &single)?;
    let critical = Question::about(id.clone()).with(private(true));
    let in_single = Question {
        single_extensions: vec![private(true)],
        ..Question::about(id)
    };
    for (what, question) in [
        ("a critical extension", critical),
        ("a critical single extension", in_single),
    ] {
        error_status(run, &url, &question.der(), what)?;
    }
    Ok(())
}

fn c6960_4_1_2_02(run: &Run) -> Judgement {
    let (issued, id, url) = subject(run)?;
    let key = &issued.key;
    let name = der::tlv(der::constructed(4), &issued.leaf().subject);
    let tbs = Question {
        requestor: Some(name),
        ..Question::about(id)
    }
    .tbs();
    run.each([false, true], |broken| {
        let mut signature = key.sign_x509(&tbs);
        if broken {
            let last = signature.len() - 1;
            signature[last] ^= 1;
        }
        let certificates = der::tlv(
            der::constructed(0),
            der::sequence(std::slice::from_ref(&issued.leaf().der)),
        );
        let parts = [key.signature_algorithm(), der::bit_string(&signature), certificates];
        let signed = der::sequence(&[tbs.clone(), der::tlv(der::constructed(0), der::sequence(&parts))]);
        let response = run.read_ocsp(&run.ocsp_post(&url, &signed)?)?;
        if let Some(basic) = response.basic {
            basic.check(issued.issuer()?).read_as("the OCSP answer")?;
        } else {
            ensure!(response.status != 2, "a signed request is an internal error");
        }
        Ok(())
    });
    Ok(())
}

fn c6960_4_2_1_01(run: &Run) -> Judgement {
    let (_, basic) = plain(run)?;
    ensure!(!basic.explicit_version, "the default version is written out");
    ensure!(
        !basic.empty_certificates,
        "an empty list of certificates is written out"
    );
    Ok(())
}

fn c6960_4_2_2_1_01(run: &Run) -> Judgement {
    // The reader takes no other form of time.
    plain(run)?;
    subject(run)?;
    let issued = run.revoked("times", None)?;
    run.status_of(&issued).map(|_| ())
}

pub(super) fn delegate(run: &Run) -> Judgement<(Arc<Issued>, crate::read::certificate::Certificate)> {
    let (issued, basic) = plain(run)?;
    let issuer = issued.issuer()?;
    let signer = basic.signer(issuer).ok_or_else(|| Finding::Fail("no signer".into()))?;
    if signer.der == issuer.der {
        return Err(Finding::NotOffered("the CA signs itself".into()));
    }
    Ok((issued.clone(), signer.clone()))
}

fn c6960_4_2_2_2_01(run: &Run) -> Judgement {
    let (issued, signer) = delegate(run)?;
    let issuer = issued.issuer()?;
    signer.is_signed_by(issuer).read_as("the delegate")?;
    ensure!(
        signer.extended_usages().iter().any(|usage| usage == OCSP_SIGNING),
        "the delegate lacks id-kp-OCSPSigning"
    );
    let now = Timestamp::now();
    ensure!(
        signer.not_before <= now && now <= signer.not_after,
        "the delegate is not valid now"
    );
    ensure!(
        signer.authority_key_identifier() == issuer.subject_key_identifier(),
        "the delegate's AKI is another"
    );
    Ok(())
}

fn c6960_4_2_2_2_1_01(run: &Run) -> Judgement {
    let (_, signer) = delegate(run)?;
    match signer.extension(OCSP_NO_CHECK) {
        Some(nocheck) => {
            ensure!(
                !nocheck.critical && nocheck.value == der::null(),
                "nocheck is {nocheck:?}"
            );
            Ok(())
        }
        None => {
            let ways = signer.access(ACCESS_OCSP).len() + signer.crl_uris().len();
            ensure!(ways > 0, "the delegate has neither nocheck nor a way to check it");
            Ok(())
        }
    }
}

fn c6960_4_2_2_3_01(run: &Run) -> Judgement {
    let (issued, basic) = plain(run)?;
    ensure!(
        basic.signer(issued.issuer()?).is_some(),
        "no certificate fits {:?}",
        basic.responder
    );
    Ok(())
}

fn c6960_4_2_2_3_02(run: &Run) -> Judgement {
    let (issued, id, _) = subject(run)?;
    let second = run.revoked("pair", None)?;
    let other = cert_id_of(SHA256, second.issuer()?, &second.leaf().serial);
    let question = Question {
        ids: vec![id.clone(), other.clone()],
        ..Question::default()
    };
    let basic = run.ask(issued, &question)?;
    let status = |id: &[u8]| {
        basic
            .singles
            .iter()
            .find(|single| single.id == id)
            .map(|single| &single.status)
    };
    ensure!(
        status(&id) == Some(&Status::Good),
        "the good certificate is {:?}",
        status(&id)
    );
    ensure!(
        matches!(status(&other), Some(Status::Revoked { .. })),
        "the revoked certificate is {:?}",
        status(&other)
    );
    run.expect(basic.singles.len() == 2, || {
        format!("two requests get {} answers", basic.singles.len())
    });
    Ok(())
}

fn c6960_4_4_3_01(run: &Run) -> Judgement {
    let (issued, id, url) = subject(run)?;
    let acceptable = |oid: &str| extension(ACCEPTABLE, false, &der::sequence(&[der::oid(oid)]));
    run.ask(issued, &Question::about(id.clone()).with(acceptable(BASIC)))?;
    let other = Question::about(id).with(acceptable("1.3.6.1.4.1.55555.3"));
    run.ocsp_post(&url, &other.der()).map(|_| ())
}

fn preferring(algorithms: &[Vec<u8>]) -> Vec<u8> {
    let list: Vec<Vec<u8>> = algorithms
        .iter()
        .map(|one| der::sequence(std::slice::from_ref(one)))
        .collect();
    extension(PREFERRED_ALGORITHMS, false, &der::sequence(&list))
}

fn c6960_4_4_7_01(run: &Run) -> Judgement {
    let (issued, id, _) = subject(run)?;
    let rsa = der::sequence(&[der::oid("1.2.840.113549.1.1.11"), der::null()]);
    let ecdsa = der::sequence(&[der::oid("1.2.840.10045.4.3.2")]);
    for list in [[rsa.clone(), ecdsa.clone()], [ecdsa, rsa]] {
        run.ask(issued, &Question::about(id.clone()).with(preferring(&list)))?;
    }
    Ok(())
}

fn c6960_4_4_8_01(run: &Run) -> Judgement {
    let (_, basic) = plain(run)?;
    run.each(&basic.singles, |single| {
        let misplaced = single
            .extensions
            .iter()
            .any(|extension| extension.oid == EXTENDED_REVOKE);
        ensure!(!misplaced, "extended-revoke is among the singleExtensions");
        Ok(())
    });
    match basic.extension(EXTENDED_REVOKE) {
        Some(found) => {
            ensure!(
                !found.critical && found.value == der::null(),
                "extended-revoke is {found:?}"
            );
            Ok(())
        }
        None => Err(Finding::NotOffered("no extended-revoke".into())),
    }
}

fn c6960_5_01(run: &Run) -> Judgement {
    let (issued, id, url) = subject(run)?;
    run.each(
        ["1.2.840.113549.1.1.5", "1.2.840.113549.1.1.4", "1.2.840.10045.4.1"],
        |weak| {
            let question =
                Question::about(id.clone()).with(preferring(&[der::sequence(&[der::oid(weak), der::null()])]));
            let response = run.read_ocsp(&run.ocsp_post(&url, &question.der())?)?;
            if let Some(basic) = response.basic {
                // The verifier knows no weak algorithm.
                basic.check(issued.issuer()?).read_as(&format!("preferring {weak}"))?;
            }
            Ok(())
        },
    );
    Ok(())
}

fn c6960_a_1_01(run: &Run) -> Judgement {
    plain(run).or_fail().map(|_| ())
}

fn c6960_a_1_02(run: &Run) -> Judgement {
    let (issued, id, url) = subject(run)?;
    let base = url.trim_end_matches('/');
    let check = |target: String| -> Judgement {
        let response = run.read_ocsp(&run.get(&target)?)?;
        let status = response.status;
        let basic = response
            .basic
            .ok_or_else(|| Finding::Fail(format!("GET {target}: status {status}")))?;
        basic.check(issued.issuer()?).read_as(&target)?;
        let own = basic
            .singles
            .iter()
            .any(|single| single.id == id && single.status == Status::Good);
        ensure!(own, "GET {target}: {:?}", basic.singles);
        Ok(())
    };
    let text = base64::standard(Question::about(id.clone()).der());
    let encoded = text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    check(format!("{base}/{encoded}"))?;
    check(format!("{base}/{text}"))?;
    check(format!("{base}//{encoded}")).or_else(|finding| {
        run.warn(format!("with a slash too many: {finding:?}"));
        Ok(())
    })?;
    // Nonces of varying octets give base64 text with every awkward character, a double slash among them.
    run.each([[0xff; 18], [0xfb; 18]], |octets| {
        let text = base64::standard(Question::about(id.clone()).with(nonce_extension(&octets)).der());
        check(format!("{base}/{text}"))?;
        check(format!(
            "{base}/{}",
            text.replace('+', "%2b").replace('/', "%2f").replace('=', "%3d")
        ))?;
        Ok(())
    });
    Ok(())
}

fn c6960_a_2_01(run: &Run) -> Judgement {
    let (_, id, url) = subject(run)?;
    run.each([Question::about(id).der(), b"nonsense".to_vec()], |body| {
        let answer = run.ocsp_post(&url, &body)?;
        if answer.status == 200 {
            ensure!(
                answer.media_type() == "application/ocsp-response",
                "Content-Type is {:?}",
                answer.media_type()
            );
        }
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        run.expect(length == Some(answer.body.len()), || "Content-Length is missing".into());
        Ok(())
    });
    Ok(())
}

fn c6960_a_2_02(run: &Run) -> Judgement {
    let (_, _, url) = subject(run)?;
    let huge = run.ocsp_post(&url, &vec![0x30; 1024 * 1024]);
    if let Ok(answer) = huge {
        ensure!(
            answer.is_refusal() || answer.body.len() == 5,
            "a body of 1 MiB: {}",
            answer.status
        );
    }
    let answer = run.send(&Request::new("PUT", &url).body("x"))?;
    ensure!(answer.status == 405, "PUT: {}", answer.summary());
    if let Ok(answer) = run.get(&format!("{}/{}", url.trim_end_matches('/'), "A".repeat(64 * 1024))) {
        ensure!(
            answer.is_refusal() || answer.body.len() == 5,
            "a path of 64 KiB: {}",
            answer.status
        );
    }
    Ok(())
}
