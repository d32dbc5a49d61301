//! What a publisher of delta CRLs may do wrongly, and what an operator's hook brings to light.
//!
//! The daemon publishes no deltas: the man in the middle makes one of each complete CRL, which is sound but for the fault.
//! As a hook the suite is given a program that says yes and does nothing, so that the server is one that does not obey.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use sigillo_tests::mutant::authority::{Signed, Signer};
use sigillo_tests::mutant::der::{
    ENUMERATED, GENERALIZED_TIME, INTEGER, OCTET_STRING, Tlv, UTC_TIME, extension, null, oid, sequence,
};
use sigillo_tests::mutant::fault::{Fault, Scene, after, before, crl, none, object, ocsp};
use sigillo_tests::mutant::message::{Answer, Kind, Request, Resource};
use sigillo_tests::mutant::{Mutation, Stage, mutation};

use crate::times::{ago, rfc3339, utc};

const AUTHORITY_KEY: &str = "2.5.29.35";
const CRL_NUMBER: &str = "2.5.29.20";
const REASON: &str = "2.5.29.21";
const DELTA: &str = "2.5.29.27";
const CERTIFICATE_ISSUER: &str = "2.5.29.29";
const FRESHEST: &str = "2.5.29.46";
const ARCHIVE_CUTOFF: &str = "1.3.6.1.5.5.7.48.1.6";
/// Marks a request for a delta on its way to the daemon.
const MARK: &str = "x-delta";

pub fn mutations() -> Vec<Mutation> {
    let mut all = deltas();
    all.extend(unmoved());
    all.extend(late());
    all
}

/// Publishes deltas: the complete CRL names them, `spoil` alters both.
fn publishes(spoil: impl Fn(&Scene, &mut Signed, bool) + Send + Sync + 'static) -> Fault {
    let asks = before(|_, request| {
        if let Some(path) = request.target.strip_suffix("?delta").map(str::to_owned) {
            request.target = path;
            request.headers.push((MARK.into(), "1".into()));
        }
        None
    });
    let shows = after(move |scene, request, answer| {
        let of_issuer = request.resource() == Resource::Crl && !request.target.contains("root");
        let Some(mut list) = Signed::read(&answer.body).filter(|_| of_issuer) else {
            return;
        };
        let is_delta = request.header(MARK).is_some();
        if is_delta {
            let number = number(&mut list);
            list.crl_extensions().push(DELTA, true, &number);
        } else {
            list.crl_extensions().push(FRESHEST, false, &place(scene, request));
        }
        spoil(scene, &mut list, is_delta);
        scene.authority.sign(&mut list, Signer::Issuer);
        answer.body = list.whole.der();
    });
    asks.and(shows)
}

/// The CRL's own number.
fn number(list: &mut Signed) -> Tlv {
    let mut found = None;
    list.crl_extensions()
        .alter(CRL_NUMBER, |number| found = Some(number.clone()));
    found.unwrap_or_else(null)
}

/// Where the delta of this CRL is.
fn place(scene: &Scene, request: &Request) -> Tlv {
    let url = Tlv::of(0x86, format!("{}{}?delta", scene.files, request.target));
    let name = Tlv::with(0xa0, vec![Tlv::with(0xa0, vec![url])]);
    sequence(vec![sequence(vec![name])])
}

/// The same where only the delta is at fault.
fn publishes_wrong(spoil: impl Fn(&Scene, &mut Signed) + Send + Sync + 'static) -> Fault {
    publishes(move |scene, list, is_delta| {
        if is_delta {
            spoil(scene, list);
        }
    })
}

fn entry(serial: &[u8], reason: u8) -> Tlv {
    let reason = extension(REASON, false, &Tlv::of(ENUMERATED, [reason]));
    sequence(vec![Tlv::of(INTEGER, serial), utc(UTC_TIME, 0), sequence(vec![reason])])
}

fn deltas() -> Vec<Mutation> {
    vec![
        mutation(
            "Deltas have numbers of their own",
            &["5280-5.2.3-02"],
            publishes_wrong(|_, delta| {
                let mut number = number(delta);
                number.content.insert(0, 1);
                delta.crl_extensions().put(CRL_NUMBER, &number);
            }),
        ),
        mutation(
            "The delta CRL indicator is not critical",
            &["5280-5.2.4-01"],
            publishes_wrong(|_, delta| delta.crl_extensions().critical(DELTA, false)),
        ),
        mutation(
            "A delta's AKI is another than its base's",
            &["5280-5.2.4-02", "5280-5.2.6-01"],
            publishes_wrong(|_, delta| delta.crl_extensions().remove(AUTHORITY_KEY)),
        ),
        mutation(
            "Deltas take back what is revoked",
            &["5280-5.2.4-03"],
            publishes_wrong(|_, delta| {
                for one in delta.entries() {
                    *one = entry(&one.parts[0].content, 8);
                }
            }),
        ),
        mutation(
            "A release from hold is not in the delta",
            &["5280-5.2.4-04"],
            holds_the_last(),
        )
        .hooked(),
        mutation(
            "What a delta shows is gone from the next",
            &["5280-5.2.4-05"],
            shows_once(),
        ),
        mutation(
            "Freshest CRL leads to a complete CRL",
            &["5280-5.2.6-01", "5280-5.2.4-02"],
            publishes_wrong(|_, delta| delta.crl_extensions().remove(DELTA)),
        ),
        mutation(
            "certificateIssuer stands in a CRL that is not indirect",
            &["5280-5.3.3-01"],
            crl(|_, list| {
                let name = list.fields()[2].clone();
                let names = sequence(vec![Tlv::with(0xa4, vec![name])]);
                for one in list.entries() {
                    let issuer = extension(CERTIFICATE_ISSUER, true, &names);
                    match one.parts.get_mut(2) {
                        Some(all) => all.parts.push(issuer),
                        None => one.parts.push(sequence(vec![issuer])),
                    }
                }
            }),
        )
        .beside(&["5280-5-02"]),
    ]
}

/// Has the certificate that was given out last on hold for ever.
fn holds_the_last() -> Fault {
    let last: &'static Mutex<Vec<u8>> = Box::leak(Box::default());
    let learns = after(move |_, request, answer| {
        if request.resource() == Resource::Certificate {
            let blocks = pem::parse_many(&answer.body).unwrap_or_default();
            if let Some(mut leaf) = blocks.first().and_then(|block| Signed::read(block.contents())) {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = leaf.fields()[1].content.clone();
            }
        }
    });
    learns.and(publishes(move |_, list, _| {
        let serial = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        list.entries().push(entry(&serial, 6));
    }))
}

/// Shows something on the first delta alone.
fn shows_once() -> Fault {
    let shown = AtomicUsize::new(0);
    publishes_wrong(move |_, delta| {
        if shown.fetch_add(1, Ordering::SeqCst) == 0 {
            delta.entries().push(entry(&[0x11; 16], 4));
        }
    })
}

/// An operator asks, and nothing happens.
fn unmoved() -> Vec<Mutation> {
    vec![
        mutation(
            "Nothing that the operator asks for is done",
            &["8555-6.6-01", "8555-7.3.3-01", "prof-4-05"],
            none(),
        )
        .hooked(),
        mutation(
            "An order past its time is ready",
            &["8555-7.1.6-04"],
            object(Kind::Order, |_, _, order| order["expires"] = json!(rfc3339(2))),
        )
        .hooked(),
        mutation(
            "CAA is used for longer than its time to live",
            &["br-3.2.2.8-01"],
            none(),
        )
        .on(Stage::Heedless)
        .hooked(),
    ]
}

/// Says of everything the same that it said an hour ago, for the next half hour.
fn frozen() -> Fault {
    let (this, next) = (ago(GENERALIZED_TIME, 3600), utc(GENERALIZED_TIME, 1800));
    let answers = ocsp(move |_, _, basic| {
        for single in basic.singles() {
            single.parts[2] = this.clone();
            single.parts[3].parts[0] = next.clone();
        }
    });
    answers.and(after(|_, request, answer| {
        if request.resource() == Resource::Ocsp {
            answer.put("cache-control", "max-age=1");
        }
    }))
}

/// Forgets what is revoked at the second revocation.
fn forgets() -> Fault {
    let revocations = AtomicUsize::new(0);
    after(move |scene, request: &Request, answer: &mut Answer| {
        if request.resource() == Resource::Revocation {
            revocations.fetch_add(1, Ordering::SeqCst);
        }
        let is_list = request.resource() == Resource::Crl && !request.target.contains("root");
        if is_list && revocations.load(Ordering::SeqCst) > 1 {
            scene.authority.relist(answer, |list| list.entries().clear());
        }
    })
}

fn late() -> Vec<Mutation> {
    vec![
        mutation(
            "Entries go as soon as the certificate ends",
            &["5280-3.3-01"],
            forgets(),
        ),
        mutation(
            "An archive cutoff stands among the responseExtensions",
            &["6960-4.4.4-01"],
            ocsp(|_, _, basic| {
                let cutoff = Tlv::of(GENERALIZED_TIME, "20260101000000Z");
                basic.response_extensions().push(ARCHIVE_CUTOFF, false, &cutoff);
            }),
        ),
        mutation(
            "OCSP answers are renewed when they end",
            &["br-4.9.9-04", "9919-7.1-01"],
            frozen(),
        ),
    ]
}

#[test]
fn entries_are_written_as_rfc_5280_has_them() {
    let one = entry(&[7], 8);
    assert_eq!(one.parts[0].content, [7]);
    let value = &one.parts[2].parts[0].parts[1];
    assert_eq!((value.tag, value.content.as_slice()), (OCTET_STRING, &[0x0a, 1, 8][..]));
    assert_eq!(one.parts[2].parts[0].parts[0], oid(REASON));
}
