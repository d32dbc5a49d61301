//! What a server may do wrongly with OCSP.

use std::sync::{Mutex, PoisonError};

use sigillo_tests::mutant::authority::{Signed, Signer, successful};
use sigillo_tests::mutant::der::{
    ENUMERATED, GENERALIZED_TIME, INTEGER, OCTET_STRING, SEQUENCE, Tlv, UTC_TIME, extension, null, oid, sequence,
};
use sigillo_tests::mutant::fault::{Fault, after, delegate, header, headerless, ocsp, ocsp_error};
use sigillo_tests::mutant::message::{Answer, Request, Resource};
use sigillo_tests::mutant::{Mutation, mutation};

use crate::times::{ago, utc};

const AUTHORITY_KEY: &str = "2.5.29.35";
const REASON: &str = "2.5.29.21";
const EXTENDED_USAGE: &str = "2.5.29.37";
const NONCE: &str = "1.3.6.1.5.5.7.48.1.2";
const EXTENDED_REVOKE: &str = "1.3.6.1.5.5.7.48.1.9";
/// The status "good".
const GOOD: u8 = 0x80;
/// The status "unknown".
const UNKNOWN: u8 = 0x82;
/// The status "revoked".
const REVOKED: u8 = 0xa1;
/// A day in seconds.
const DAY: u64 = 86_400;

// Fields of a SingleResponse.
const CERT_ID: usize = 0;
const STATUS: usize = 1;
const SINGLE_THIS_UPDATE: usize = 2;

pub fn mutations() -> Vec<Mutation> {
    let mut all = answers();
    all.extend(refusals());
    all.extend(responders());
    all.extend(caching());
    all
}

/// Alters each SingleResponse.
fn singles(change: impl Fn(&mut Vec<Tlv>) + Send + Sync + 'static) -> Fault {
    ocsp(move |_, _, basic| {
        for single in basic.singles() {
            change(&mut single.parts);
        }
    })
}

/// Says this of everything of which the daemon says that.
fn says(from: u8, to: Tlv) -> Fault {
    singles(move |single| {
        if single[STATUS].tag == from {
            single[STATUS] = to.clone();
        }
    })
}

fn asks(request: &Request, dotted: &str) -> bool {
    let wanted = oid(dotted).der();
    request.body.windows(wanted.len()).any(|window| window == wanted)
}

/// How many certificates are asked for.
fn count(request: &Request) -> usize {
    let tree = Tlv::read(&request.body);
    let tbs = tree.as_ref().and_then(|tree| tree.parts.first());
    let list = tbs.and_then(|tbs| tbs.parts.iter().find(|part| part.tag == SEQUENCE));
    list.map_or(0, |list| list.parts.len())
}

/// Whether the asker says who it is.
fn is_named(request: &Request) -> bool {
    let tree = Tlv::read(&request.body);
    let tbs = tree.as_ref().and_then(|tree| tree.parts.first());
    tbs.is_some_and(|tbs| tbs.parts.first().is_some_and(|part| part.tag == REVOKED))
}

/// The first CertID that is asked for.
fn asked(request: &Request) -> Option<Tlv> {
    let tree = Tlv::read(&request.body)?;
    let list = tree.parts.first()?.parts.iter().find(|part| part.tag == SEQUENCE)?;
    list.parts.first()?.parts.first().cloned()
}

/// Finds good whatever it is asked about, once it has answered anything at all.
fn finds_everything_good() -> Fault {
    let template: Mutex<Option<Signed>> = Mutex::default();
    after(move |scene, request, answer| {
        let mut template = template.lock().unwrap_or_else(PoisonError::into_inner);
        if request.resource() != Resource::Ocsp {
            return;
        }
        let mut seen = None;
        scene.authority.reanswer(answer, |_, basic| seen = Some(basic.clone()));
        let made = seen.or_else(|| template.clone());
        if let (Some(mut basic), Some(id)) = (made, asked(request)) {
            basic.singles().truncate(1);
            basic.singles()[0].parts[CERT_ID] = id;
            basic.singles()[0].parts[STATUS] = Tlv::of(GOOD, []);
            scene.authority.sign(&mut basic, Signer::Responder);
            answer.body = successful(&basic);
            *template = Some(basic);
        }
    })
}

fn answers() -> Vec<Mutation> {
    let revoked = |reason: u8| {
        let code = Tlv::with(0xa0, vec![Tlv::of(ENUMERATED, [reason])]);
        Tlv::with(REVOKED, vec![Tlv::of(GENERALIZED_TIME, "20200101000000Z"), code])
    };
    vec![
        mutation(
            "OCSP answers are not signed rightly",
            &["6960-2.2-01", "6960-A.1-01", "6960-A.1-02", "5280-4.2.2.1-02"],
            after(|_, request, answer| {
                if let (Resource::Ocsp, Some(last)) = (request.resource(), answer.body.last_mut()) {
                    *last ^= 1;
                }
            }),
        ),
        mutation(
            "A good certificate is unknown",
            &["6960-2.2-02", "br-4.9.9-02", "6960-4.2.2.3-02"],
            says(GOOD, Tlv::of(UNKNOWN, [])),
        ),
        mutation(
            "A revoked certificate is good",
            &[
                "6960-2.2-03",
                "6960-2.5-01",
                "5280-5-02",
                "8555-7.6-02",
                "6960-4.2.2.3-02",
            ],
            says(REVOKED, Tlv::of(GOOD, [])),
        ),
        mutation(
            "A revocation has another time and reason",
            &["6960-2.2-03", "5280-5-02", "8555-7.6-09"],
            says(REVOKED, revoked(5)),
        ),
        mutation(
            "Everything is good",
            &["6960-2.2-04", "6960-4.1.1-02", "br-4.9.9-03"],
            finds_everything_good(),
        )
        .beside(&["6960-2.2-02"]),
        mutation(
            "A serial never issued is revoked like any other",
            &["6960-2.2-05"],
            says(UNKNOWN, revoked(6)),
        ),
        mutation(
            "producedAt is tomorrow",
            &["6960-2.4-01"],
            ocsp(|_, _, basic| basic.fields()[1] = utc(GENERALIZED_TIME, DAY)),
        ),
        mutation(
            "nextUpdate is before thisUpdate",
            &["6960-2.4-01", "br-4.9.9-01"],
            singles(|single| single[3].parts[0] = ago(GENERALIZED_TIME, DAY)),
        ),
        mutation(
            "Ready answers from before the revocation are redated",
            &["6960-2.5-01"],
            singles(|single| single[SINGLE_THIS_UPDATE] = ago(GENERALIZED_TIME, DAY)),
        ),
        mutation(
            "There is no nextUpdate",
            &["9919-3.2.4-01", "br-4.9.9-01"],
            singles(|single| single.truncate(3)),
        ),
        mutation(
            "Times have fractions",
            &["6960-4.2.2.1-01"],
            singles(|single| single[SINGLE_THIS_UPDATE] = Tlv::of(GENERALIZED_TIME, "20260101000000.5Z")),
        ),
        mutation(
            "The answer is about another CertID",
            &["6960-4.1.1-03", "6960-2.2-02"],
            singles(|single| single[CERT_ID].parts[1].content[0] ^= 1),
        ),
        mutation(
            "Only the first of several requests is answered",
            &["6960-4.2.2.3-02"],
            ocsp(|_, _, basic| basic.singles().truncate(1)),
        ),
        mutation(
            "The default version is written out",
            &["6960-4.2.1-01"],
            ocsp(|_, _, basic| basic.fields().insert(0, Tlv::with(0xa0, vec![Tlv::of(INTEGER, [0])]))),
        ),
        mutation(
            "The answer is of a type that nobody knows",
            &["6960-4.2.1-01", "6960-4.4.3-01"],
            after(|_, request, answer| {
                if request.resource() == Resource::Ocsp {
                    let (from, to) = (oid("1.3.6.1.5.5.7.48.1.1").der(), oid("1.3.6.1.5.5.7.48.1.7").der());
                    if let Some(at) = answer.body.windows(from.len()).position(|window| window == from) {
                        answer.body[at..at + from.len()].copy_from_slice(&to);
                    }
                }
            }),
        ),
        mutation(
            "The reason stands among the singleExtensions",
            &["br-7.3-01"],
            singles(|single| {
                let reason = extension(REASON, false, &Tlv::of(ENUMERATED, [4]));
                let list = sequence(vec![reason]);
                single.push(Tlv::with(REVOKED, vec![list]));
            }),
        ),
        mutation(
            "Extended-revoke is critical",
            &["6960-4.4.8-01"],
            ocsp(|_, _, basic| basic.response_extensions().push(EXTENDED_REVOKE, true, &null())),
        ),
        mutation(
            "Extended-revoke is among the singleExtensions",
            &["6960-4.4.8-01"],
            singles(|single| {
                let list = sequence(vec![extension(EXTENDED_REVOKE, false, &null())]);
                single.push(Tlv::with(REVOKED, vec![list]));
            }),
        ),
        mutation("A nonce does not come back", &["9654-2.1-01"], nonceless()),
        mutation(
            "The nonce comes back bare",
            &["9654-2.1-04"],
            ocsp(|_, _, basic| {
                basic.response_extensions().alter(NONCE, |nonce| nonce.tag = 0x0c);
            }),
        ),
        mutation(
            "requestorName changes the answer",
            &["9919-3.1.2-01"],
            ocsp(|_, request, basic| {
                if is_named(request) {
                    basic.singles()[0].parts[STATUS] = Tlv::of(UNKNOWN, []);
                }
            }),
        ),
    ]
}

/// Leaves the nonce out where it has 24 octets.
fn nonceless() -> Fault {
    ocsp(|_, request, basic| {
        let asked = [&oid(NONCE).der()[..], &[OCTET_STRING, 26, OCTET_STRING, 24]].concat();
        if request.body.windows(asked.len()).any(|window| window == asked) {
            let tagged = basic.fields().iter().position(|field| field.tag == REVOKED);
            tagged.map(|at| basic.fields().remove(at));
        }
    })
}

fn is_error(answer: &Answer, status: u8) -> bool {
    answer.body == [0x30, 3, 0x0a, 1, status]
}

fn refusals() -> Vec<Mutation> {
    vec![
        mutation(
            "An issuer that is not served is a malformed request",
            &["6960-2.2-04", "9919-3.2.3-01"],
            ocsp_error(1, |_, answer| is_error(answer, 6)),
        ),
        mutation(
            "Bad syntax is an internal error",
            &["6960-2.3-01", "9654-2.1-02"],
            ocsp_error(2, |_, answer| is_error(answer, 1)),
        ),
        mutation(
            "Error answers have a status that nobody assigned",
            &["6960-2.3-02"],
            ocsp_error(4, |_, answer| is_error(answer, 1)),
        ),
        mutation(
            "Error answers have more than a status",
            &["6960-2.3-02"],
            after(|_, request, answer| {
                if request.resource() == Resource::Ocsp && is_error(answer, 1) {
                    answer.body = vec![0x30, 5, 0x0a, 1, 1, 5, 0];
                }
            }),
        ),
        mutation(
            "Several requests at once are refused",
            &["6960-4.1.1-04"],
            ocsp_error(1, |request, _| count(request) > 1),
        ),
        mutation(
            "A named asker is refused",
            &["6960-4.1.1-04", "9919-3.1.2-01"],
            ocsp_error(5, |request, _| is_named(request)),
        ),
        mutation(
            "Unknown extensions are refused",
            &["6960-4.1.2-01"],
            ocsp_error(1, |request, _| asks(request, "1.3.6.1.4.1.55555.2")),
        ),
        mutation(
            "Critical extensions are passed over",
            &["6960-4.1.2-01"],
            finds_everything_good(),
        )
        .beside(&["6960-2.2-02"]),
        mutation(
            "A signed request is an internal error",
            &["6960-4.1.2-02"],
            ocsp_error(2, |request, _| {
                Tlv::read(&request.body).is_some_and(|tree| tree.parts.len() > 1)
            }),
        ),
        mutation(
            "Asked for basic answers, the responder refuses",
            &["6960-4.4.3-01"],
            ocsp_error(1, |request, _| asks(request, "1.3.6.1.5.5.7.48.1.4")),
        ),
        mutation(
            "A weak algorithm signs where it is preferred",
            &["6960-5-01"],
            after(|scene, request, answer| {
                if request.resource() == Resource::Ocsp && asks(request, "1.3.6.1.5.5.7.48.1.8") {
                    let mut weak = None;
                    scene.authority.reanswer(answer, |_, basic| weak = Some(basic.clone()));
                    if let Some(mut basic) = weak {
                        basic.whole.parts[1] = sequence(vec![oid("1.2.840.10045.4.1")]);
                        answer.body = successful(&basic);
                    }
                }
            }),
        ),
        mutation(
            "POST is not answered",
            &["6960-A.1-01"],
            ocsp_error(3, |request, _| request.method == "POST"),
        ),
        mutation(
            "GET is not answered",
            &["6960-A.1-02", "br-4.9.9-01"],
            after(|_, request, answer| {
                if request.method == "GET" && request.resource() == Resource::Ocsp {
                    answer.status = 405;
                }
            }),
        ),
        mutation(
            "GET is read without its percent signs",
            &["6960-A.1-02"],
            ocsp_error(1, |request, _| request.target.contains('%')),
        ),
        mutation(
            "Answers are octet streams",
            &["6960-A.2-01"],
            header("content-type", "application/octet-stream", |request, _| {
                request.resource() == Resource::Ocsp
            }),
        ),
    ]
}

fn responders() -> Vec<Mutation> {
    vec![
        mutation(
            "The delegate is not for OCSP",
            &["6960-2.2-01", "6960-4.2.2.2-01", "br-7.1.2.8-01"],
            delegate(Signer::Issuer, |tbs| tbs.extensions().remove(EXTENDED_USAGE)),
        ),
        mutation(
            "The delegate is for TLS servers too",
            &["br-7.1.2.8-01"],
            delegate(Signer::Issuer, |tbs| {
                let both = sequence(vec![oid("1.3.6.1.5.5.7.3.9"), oid("1.3.6.1.5.5.7.3.1")]);
                tbs.extensions().put(EXTENDED_USAGE, &both);
            }),
        ),
        mutation(
            "The delegate is of the root",
            &["6960-2.2-01", "6960-4.2.2.2-01"],
            delegate(Signer::Root, |_| ()),
        ),
        mutation(
            "The delegate has expired",
            &["6960-4.2.2.2-01"],
            delegate(Signer::Issuer, |tbs| {
                tbs.fields()[4].parts = vec![ago(UTC_TIME, 9 * DAY), ago(UTC_TIME, DAY)];
            }),
        ),
        mutation(
            "The delegate's AKI is another",
            &["6960-4.2.2.2-01"],
            delegate(Signer::Issuer, |tbs| {
                let other = sequence(vec![Tlv::of(0x80, [7; 20])]);
                tbs.extensions().put(AUTHORITY_KEY, &other);
            }),
        ),
        mutation(
            "The responder's identifier fits nobody",
            &["6960-4.2.2.3-01"],
            ocsp(|_, _, basic| basic.fields()[0].parts[0].content = vec![7; 20]),
        ),
        mutation(
            "The delegate's certificate does not come along",
            &["9919-3.2.2-01"],
            ocsp(|_, _, basic| basic.whole.parts.truncate(3)),
        ),
        mutation(
            "The responder is named by its subject",
            &["9919-3.2.2-03"],
            ocsp(|_, _, basic| {
                let subject = basic
                    .companions()
                    .and_then(|all| all.first())
                    .map(|one| one.parts[0].parts[5].clone());
                if let Some(subject) = subject {
                    basic.fields()[0] = Tlv::with(REVOKED, vec![subject]);
                }
            }),
        ),
    ]
}

fn caching() -> Vec<Mutation> {
    let got = |request: &Request, _: &Answer| request.method == "GET" && request.resource() == Resource::Ocsp;
    vec![
        mutation("GET answers have no Date", &["9919-6-02"], headerless("date", got)),
        mutation("Expires is no date", &["9919-6-02"], header("expires", "0", got)),
        mutation(
            "Answers may not be cached",
            &["9919-7.2-04"],
            header("cache-control", "no-store", got),
        ),
    ]
}
