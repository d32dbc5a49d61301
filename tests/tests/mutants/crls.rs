//! What a server may do wrongly with CRLs and the files it serves over plain HTTP.

use sigillo_tests::mutant::authority::{Signed, Signer};
use sigillo_tests::mutant::der::{
    ENUMERATED, GENERALIZED_TIME, INTEGER, Tlv, UTC_TIME, extension, null, oid, sequence,
};
use sigillo_tests::mutant::fault::{Fault, after, crl, header};
use sigillo_tests::mutant::message::{Answer, Resource};
use sigillo_tests::mutant::{Mutation, mutation};

use crate::times::{ago, utc};

const AUTHORITY_KEY: &str = "2.5.29.35";
const CRL_NUMBER: &str = "2.5.29.20";
const REASON: &str = "2.5.29.21";
const INVALIDITY_DATE: &str = "2.5.29.24";
const DISTRIBUTION_POINT: &str = "2.5.29.28";
const ACCESS: &str = "1.3.6.1.5.5.7.1.1";
/// A day in seconds.
const DAY: u64 = 86_400;

// Fields of a TBSCertList.
const ALGORITHM: usize = 1;
const ISSUER: usize = 2;
const THIS_UPDATE: usize = 3;
const NEXT_UPDATE: usize = 4;

pub fn mutations() -> Vec<Mutation> {
    let mut all = lists();
    all.extend(list_extensions());
    all.extend(entries());
    all.extend(files());
    all
}

fn lists() -> Vec<Mutation> {
    vec![
        mutation(
            "A CRL is of version 1",
            &["5280-5-01"],
            crl(|_, tbs| tbs.fields()[0].content = vec![0]),
        ),
        mutation(
            "The outer algorithm of a CRL is another",
            &["5280-5.1.1.2-01"],
            crl(|_, tbs| tbs.whole.parts[1] = sequence(vec![oid("1.2.840.10045.4.3.3")])),
        ),
        mutation(
            "Both algorithms of a CRL have parameters",
            &["5280-5.1.1.2-01"],
            crl(|_, tbs| {
                let odd = sequence(vec![oid("1.2.840.10045.4.3.2"), null()]);
                tbs.fields()[ALGORITHM] = odd.clone();
                tbs.whole.parts[1] = odd;
            }),
        ),
        mutation(
            "A CRL is not signed by its issuer",
            &["5280-5.1.1.2-01"],
            after(|scene, request, answer| {
                if let (Resource::Crl, Some(mut signed)) = (request.resource(), Signed::read(&answer.body)) {
                    scene.authority.sign(&mut signed, Signer::Responder);
                    answer.body = signed.whole.der();
                }
            }),
        ),
        mutation(
            "The CRL's issuer is encoded otherwise",
            &["5280-5.1.2.3-01", "5280-4.2.1.13-03"],
            crl(|_, tbs| {
                for attribute in tbs.fields()[ISSUER].parts.iter_mut().flat_map(|rdn| &mut rdn.parts) {
                    attribute.parts[1].tag = 0x13;
                }
            }),
        ),
        mutation(
            "The times of a CRL are GeneralizedTime before 2050",
            &["5280-5.1.2.4-01"],
            crl(|_, tbs| tbs.fields()[NEXT_UPDATE] = utc(GENERALIZED_TIME, DAY)),
        ),
        mutation(
            "thisUpdate is tomorrow",
            &["5280-5.1.2.4-02"],
            crl(|_, tbs| tbs.fields()[THIS_UPDATE] = utc(UTC_TIME, DAY)),
        ),
        mutation(
            "A CRL has no nextUpdate",
            &["5280-5-01", "5280-5.1.2.5-01", "br-7.2-01"],
            crl(|_, tbs| {
                tbs.fields().remove(NEXT_UPDATE);
            }),
        ),
        mutation(
            "A CRL is past its nextUpdate",
            &["5280-5.1.2.5-01"],
            crl(|_, tbs| {
                tbs.fields()[THIS_UPDATE] = ago(UTC_TIME, 2 * DAY);
                tbs.fields()[NEXT_UPDATE] = ago(UTC_TIME, DAY);
            }),
        ),
        mutation(
            "A CRL lives for a month",
            &["br-7.2-01"],
            crl(|_, tbs| tbs.fields()[NEXT_UPDATE] = utc(UTC_TIME, 30 * DAY)),
        ),
        mutation(
            "An empty list is written out",
            &["5280-5.1.2.6-01"],
            crl(|_, tbs| tbs.entries().clear()),
        )
        .beside(&["5280-5-01"]),
    ]
}

fn list_extensions() -> Vec<Mutation> {
    vec![
        mutation(
            "A CRL has no number",
            &["5280-5-01", "5280-5.2.3-01"],
            crl(|_, tbs| tbs.crl_extensions().remove(CRL_NUMBER)),
        ),
        mutation(
            "CRL numbers go down",
            &["5280-5.2.3-01"],
            crl(|scene, tbs| {
                let number = 1_000_000_000 - scene.next();
                let value = Tlv::of(INTEGER, number.to_be_bytes());
                tbs.crl_extensions().put(CRL_NUMBER, &value);
            }),
        )
        .beside(&["5280-5.1.2.6-04"]),
        mutation(
            "CRL numbers have 21 octets",
            &["5280-5.2.3-01"],
            crl(|_, tbs| tbs.crl_extensions().put(CRL_NUMBER, &Tlv::of(INTEGER, [0x11; 21]))),
        )
        .beside(&["5280-5.1.2.6-04"]),
        mutation(
            "A CRL's AKI is another",
            &["5280-5.2-01"],
            crl(|_, tbs| {
                let other = sequence(vec![Tlv::of(0x80, [7; 20])]);
                tbs.crl_extensions().put(AUTHORITY_KEY, &other);
            }),
        ),
        mutation(
            "A CRL has no AKI",
            &["5280-5-01", "5280-5.2-01"],
            crl(|_, tbs| tbs.crl_extensions().remove(AUTHORITY_KEY)),
        ),
        mutation(
            "A CRL's number is critical",
            &["5280-5.2-01"],
            crl(|_, tbs| tbs.crl_extensions().critical(CRL_NUMBER, true)),
        ),
        mutation(
            "A CRL's partition is not critical",
            &["5280-5.2-01"],
            crl(|_, tbs| tbs.crl_extensions().critical(DISTRIBUTION_POINT, false)),
        ),
        mutation(
            "A CRL calls itself otherwise than certificates do",
            &["5280-5.2.5-01"],
            crl(|_, tbs| {
                let url = Tlv::of(0x86, "http://elsewhere.example/other.crl");
                let name = Tlv::with(0xa0, vec![Tlv::with(0xa0, vec![url])]);
                tbs.crl_extensions().put(DISTRIBUTION_POINT, &sequence(vec![name]));
            }),
        )
        .beside(&["5280-5-01"]),
        mutation(
            "An issuing distribution point is empty",
            &["5280-5.2.5-02"],
            crl(|_, tbs| tbs.crl_extensions().put(DISTRIBUTION_POINT, &sequence(vec![]))),
        ),
        mutation(
            "A CRL for leaves says that it has only CAs",
            &["5280-5.2.5-02"],
            crl(|_, tbs| {
                let flag = Tlv::of(0x82, [0xff]);
                tbs.crl_extensions().put(DISTRIBUTION_POINT, &sequence(vec![flag]));
            }),
        ),
        mutation(
            "A CRL covers some reasons",
            &["5280-5.2.5-03"],
            crl(|_, tbs| {
                let reasons = Tlv::of(0x83, [1, 0x06]);
                tbs.crl_extensions().put(DISTRIBUTION_POINT, &sequence(vec![reasons]));
            }),
        ),
        mutation(
            "A CRL names an OCSP responder",
            &["5280-5.2.7-01"],
            crl(|_, tbs| {
                let url = Tlv::of(0x86, "http://elsewhere.example/");
                let description = sequence(vec![oid("1.3.6.1.5.5.7.48.1"), url]);
                tbs.crl_extensions().push(ACCESS, false, &sequence(vec![description]));
            }),
        ),
    ]
}

/// Puts an extension into each entry of a CRL, in place of one of its kind.
fn in_entries(one: Tlv) -> Fault {
    crl(move |_, tbs| {
        for entry in tbs.entries() {
            match entry.parts.get_mut(2) {
                Some(list) => {
                    list.parts.retain(|known| known.parts.first() != one.parts.first());
                    list.parts.push(one.clone());
                }
                None => entry.parts.push(sequence(vec![one.clone()])),
            }
        }
    })
}

fn reason(code: u8) -> Tlv {
    extension(REASON, false, &Tlv::of(ENUMERATED, [code]))
}

fn entries() -> Vec<Mutation> {
    vec![
        mutation(
            "A CRL made after a revocation does not list it",
            &["5280-5.1.2.6-02", "5280-5-02", "5280-5.2.5-04", "8555-7.6-02"],
            crl(|_, tbs| {
                tbs.entries().clear();
                tbs.fields()[THIS_UPDATE] = utc(UTC_TIME, 3);
            }),
        ),
        mutation(
            "A serial is listed twice",
            &["5280-5.1.2.6-03"],
            crl(|_, tbs| {
                let first = tbs.entries().first().cloned();
                tbs.entries().extend(first);
            }),
        )
        .beside(&["5280-5-02"]),
        mutation(
            "Revocations are dated back",
            &["5280-5.1.2.6-04", "5280-5-02"],
            crl(|_, tbs| {
                for entry in tbs.entries() {
                    entry.parts[1] = Tlv::of(UTC_TIME, "200101000000Z");
                }
            }),
        ),
        mutation(
            "Entries vanish",
            &["5280-5.3.1-03"],
            crl(|scene, tbs| {
                if scene.next() % 2 == 0 {
                    let last = tbs.entries().pop();
                    tbs.entries().clear();
                    tbs.entries().extend(last);
                } else {
                    tbs.entries().reverse();
                }
            }),
        )
        .beside(&["5280-5.1.2.6-03", "5280-5-02", "5280-5.1.2.6-04", "5280-5.2.3-01"]),
        mutation(
            "Reasons are of an unassigned code",
            &["5280-5.3.1-02", "5280-5-02", "br-7.2.2-01", "8555-7.6-09"],
            in_entries(reason(7)),
        ),
        mutation(
            "Reasons are critical",
            &["5280-5.3.1-02"],
            in_entries(extension(REASON, true, &Tlv::of(ENUMERATED, [4]))),
        )
        .beside(&["5280-5-02"]),
        mutation(
            "Certificates are on hold",
            &["br-4.9.13-01", "br-7.2.2-01"],
            in_entries(reason(6)),
        )
        .beside(&["5280-5-02"]),
        mutation(
            "invalidityDate is critical",
            &["5280-5.3.2-01"],
            in_entries(extension(
                INVALIDITY_DATE,
                true,
                &Tlv::of(GENERALIZED_TIME, "20260101000000Z"),
            )),
        )
        .beside(&["5280-5-02"]),
        mutation(
            "invalidityDate is UTCTime",
            &["5280-5.3.2-01"],
            in_entries(extension(INVALIDITY_DATE, false, &Tlv::of(UTC_TIME, "260101000000Z"))),
        )
        .beside(&["5280-5-02"]),
    ]
}

fn files() -> Vec<Mutation> {
    vec![
        mutation(
            "Files are PEM",
            &["2585-3-01", "5280-4.2.2.1-01"],
            after(|_, request, answer| {
                if matches!(request.resource(), Resource::File | Resource::Crl) {
                    answer.body = pem::encode(&pem::Pem::new("CERTIFICATE", answer.body.clone())).into_bytes();
                }
            }),
        ),
        mutation(
            "HEAD is not allowed",
            &["9110-9.3.2-01"],
            after(|_, request, answer| {
                if request.method == "HEAD" {
                    answer.status = 405;
                }
            }),
        ),
        mutation(
            "HEAD has another type than GET",
            &["9110-9.3.2-01"],
            header("content-type", "text/html", |request, _| request.method == "HEAD"),
        ),
        mutation(
            "A PEM CRL is labelled CRL",
            &["7468-6-01"],
            after(|_, request, answer| {
                if request.resource() == Resource::Crl && request.target.ends_with(".pem") {
                    let text = pem::encode(&pem::Pem::new("CRL", vec![0x30, 0]));
                    *answer = Answer {
                        status: 200,
                        headers: Vec::new(),
                        body: text.into_bytes(),
                    };
                }
            }),
        ),
    ]
}
