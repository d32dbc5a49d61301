//! What a server may do wrongly from finalize to the certificate, and in every field of it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use sigillo_tests::mutant::authority::{Signed, Signer};
use sigillo_tests::mutant::der::{
    BIT_STRING, BOOLEAN, Extensions, GENERALIZED_TIME, INTEGER, OCTET_STRING, Tlv, UTC_TIME, null, oid, sequence,
};
use sigillo_tests::mutant::fault::{
    Fault, after, chain, header, issuer, leaf, leaf_by, refuse, restatus, retype, root, takes,
};
use sigillo_tests::mutant::forger::copies_extensions;
use sigillo_tests::mutant::message::{Request, Resource};
use sigillo_tests::mutant::{Mutation, Stage, mutation};

use crate::times::utc;

const SUBJECT_KEY: &str = "2.5.29.14";
const KEY_USAGE: &str = "2.5.29.15";
const NAMES: &str = "2.5.29.17";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const NAME_CONSTRAINTS: &str = "2.5.29.30";
const CRL_POINTS: &str = "2.5.29.31";
const POLICIES: &str = "2.5.29.32";
const AUTHORITY_KEY: &str = "2.5.29.35";
const FRESHEST: &str = "2.5.29.46";
const NO_REVOCATION: &str = "2.5.29.56";
const ACCESS: &str = "1.3.6.1.5.5.7.1.1";
/// A day in seconds.
const DAY: u64 = 86_400;

// Fields of a TBSCertificate.
const VERSION: usize = 0;
const SERIAL: usize = 1;
const ISSUER: usize = 3;
const VALIDITY: usize = 4;
const KEY: usize = 6;

pub fn mutations() -> Vec<Mutation> {
    let mut all = finalizing();
    all.extend(chains());
    all.extend(fields());
    all.extend(leaf_extensions());
    all.extend(issuer_extensions());
    all.extend(names());
    all
}

fn finalizes(request: &Request) -> bool {
    request.resource() == Resource::Finalize
}

fn csr_has(request: &Request, octets: &[u8]) -> bool {
    let csr = request.jws().octets("csr");
    finalizes(request) && csr.windows(octets.len()).any(|window| window == octets)
}

fn finalizing() -> Vec<Mutation> {
    vec![
        mutation(
            "Any request is taken",
            &[
                "2986-4.1-01",
                "2986-4.2-01",
                "2986-4.2-02",
                "8555-7.4-05",
                "8555-7.4-06",
                "8555-7.4-09",
                "8555-11.1-01",
                "8738-3-03",
                "br-6.1.1.3-01",
            ],
            takes(Resource::Finalize, &[]),
        ),
        mutation(
            "A bad request is an order that is not ready",
            &["8555-7.4-05"],
            retype("badCSR", "orderNotReady"),
        ),
        mutation(
            "orderNotReady is 400",
            &["8555-7.4-09"],
            restatus(Resource::Finalize, 403, 400),
        ),
        mutation(
            "A bad request makes the order invalid",
            &["2986-4.2-01", "8555-7.4-06", "8555-11.1-01"],
            spoils_orders(),
        ),
        mutation(
            "A common name is refused",
            &["8555-7.4-07"],
            refuse(|request, _| csr_has(request, &oid("2.5.4.3").der())),
        ),
        mutation(
            "A name in capitals is another name",
            &["5280-7.2-01"],
            refuse(|request, _| csr_has(request, b".CONFORMANCE.TEST")),
        ),
        mutation(
            "finalize is answered 202",
            &["8555-7.4-10"],
            restatus(Resource::Finalize, 200, 202),
        ),
        mutation(
            "An order never gets beyond processing",
            &["8555-7.4-10"],
            after(|_, request, answer| {
                let mut body = answer.json();
                if matches!(request.resource(), Resource::Order | Resource::Finalize) && body["status"] == "valid" {
                    body["status"] = "processing".into();
                    answer.put_json(&body);
                }
            }),
        ),
        mutation(
            "A certificate ends a day late",
            &["8555-7.4-03"],
            leaf(|_, tbs| tbs.fields()[VALIDITY].parts[1] = utc(UTC_TIME, 60 * DAY)),
        ),
        mutation(
            "Extensions of the request are copied",
            &["8555-7.4-11"],
            copies_extensions(),
        ),
        mutation(
            "Every certificate is a CA's",
            &["5280-4.2.1.9-03", "8555-9.1-02"],
            leaf(|_, tbs| tbs.extensions().put(BASIC_CONSTRAINTS, &sequence(vec![yes()]))),
        ),
        mutation(
            "Attributes of the request are copied",
            &["2986-4.1-02"],
            leaf(|_, tbs| {
                let password = Tlv::of(OCTET_STRING, b"secret-challenge");
                tbs.extensions().push("1.3.6.1.4.1.55555.4", false, &password);
            }),
        ),
        mutation(
            "An attribute other than extensionRequest is refused",
            &["2986-4.1-02"],
            refuse(|request, _| csr_has(request, b"secret-challenge")),
        ),
    ]
}

/// Shows an order invalid once a request for it was refused.
fn spoils_orders() -> Fault {
    let spoilt: Mutex<HashSet<String>> = Mutex::default();
    after(move |_, request, answer| {
        let mut spoilt = spoilt.lock().unwrap_or_else(PoisonError::into_inner);
        let order = request.target.trim_end_matches("/finalize");
        if finalizes(request) && answer.is_refusal() {
            spoilt.insert(order.to_owned());
        } else if spoilt.contains(order) {
            let mut body = answer.json();
            body["status"] = "invalid".into();
            answer.put_json(&body);
        }
    })
}

/// TRUE.
fn yes() -> Tlv {
    Tlv::of(BOOLEAN, [0xff])
}

/// Leaves the first certificate out, or puts the others before it.
fn swapped(text: &str) -> String {
    let end = "-----END CERTIFICATE-----\n";
    let mut blocks: Vec<String> = text.split_inclusive(end).map(str::to_owned).collect();
    blocks.reverse();
    blocks.concat()
}

fn rewrapped(text: &str) -> String {
    let blocks = pem::parse_many(text).unwrap_or_default();
    let config = pem::EncodeConfig::new()
        .set_line_ending(pem::LineEnding::LF)
        .set_line_wrap(76);
    pem::encode_many_config(&blocks, config).replace("\n\n", "\n")
}

fn chains() -> Vec<Mutation> {
    vec![
        mutation(
            "The chain is application/x-pem-file",
            &["8555-7.4.2-01"],
            header("content-type", "application/x-pem-file", |request, _| {
                request.resource() == Resource::Certificate
            }),
        ),
        mutation(
            "Each download is signed anew",
            &["8555-7.4.2-03"],
            after(|scene, request, answer| {
                if request.resource() == Resource::Certificate {
                    scene.authority.forget();
                    scene.authority.recertify(answer, 0, |_| ());
                }
            }),
        ),
        mutation(
            "The chain begins with an explanation",
            &["8555-9.1-01", "7468-2-01"],
            chain(|text| format!("Certificate:\n{text}")),
        ),
        mutation(
            "Lines have 76 characters",
            &["7468-2-01", "8555-9.1-01"],
            chain(|text| rewrapped(&text)),
        ),
        mutation(
            "Blocks are labelled X509 CERTIFICATE",
            &["7468-2-01"],
            chain(|text| text.replace(" CERTIFICATE-", " X509 CERTIFICATE-")),
        ),
        mutation(
            "The chain begins with the issuer",
            &["8555-9.1-02"],
            chain(|text| swapped(&text)),
        ),
        mutation(
            "The next certificate does not certify the one before",
            &["8555-9.1-02", "5280-6.1-01", "5758-3.2-01"],
            leaf_by(Signer::Responder),
        ),
        mutation(
            "The root is not signed by itself",
            &["5280-3.2-01"],
            root(Signer::Issuer, |_| ()),
        ),
        mutation(
            "The root may not sign certificates",
            &["5280-3.2-01"],
            root(Signer::Root, |tbs| tbs.extensions().remove(KEY_USAGE)),
        ),
        mutation(
            "Names outside the CA's constraints are taken",
            &["5280-4.2.1.10-02"],
            takes(Resource::NewOrder, &[]),
        )
        .on(Stage::Constrained),
    ]
}

fn algorithm(dotted: &str, parameters: Option<Tlv>) -> Tlv {
    sequence([oid(dotted)].into_iter().chain(parameters).collect())
}

fn fields() -> Vec<Mutation> {
    let with_sha384 = || algorithm("1.2.840.10045.4.3.3", None);
    vec![
        mutation(
            "The outer signature algorithm is another",
            &["5280-4.1.1.2-01"],
            leaf(move |_, tbs| tbs.whole.parts[1] = with_sha384()),
        ),
        mutation(
            "ECDSA's parameters are NULL",
            &["5758-3.2-01", "5280-6.1-01"],
            leaf(|_, tbs| {
                let odd = algorithm("1.2.840.10045.4.3.2", Some(null()));
                tbs.fields()[2] = odd.clone();
                tbs.whole.parts[1] = odd;
            }),
        ),
        mutation(
            "Certificates are of version 2",
            &["5280-4.1.2.1-01"],
            leaf(|_, tbs| tbs.fields()[VERSION].parts[0].content = vec![1]),
        ),
        mutation(
            "Serials are negative",
            &["5280-4.1.2.2-01"],
            leaf(|_, tbs| tbs.fields()[SERIAL].content = vec![0x80; 16]),
        ),
        mutation(
            "Serials have 21 octets",
            &["5280-4.1.2.2-01"],
            leaf(|_, tbs| tbs.fields()[SERIAL].content = vec![0x11; 21]),
        ),
        mutation(
            "Serials come again",
            &["5280-4.1.2.2-01", "br-7.1-01"],
            leaf(|_, tbs| tbs.fields()[SERIAL].content = vec![0x11; 7]),
        )
        .beside(&["8555-7.4-03"]),
        mutation(
            "Serials are a counter",
            &["br-7.1-01"],
            leaf(|scene, tbs| {
                let number = scene.next().to_be_bytes();
                tbs.fields()[SERIAL].content = [&[0x11; 8], &number[..]].concat();
            }),
        )
        .beside(&[
            "8555-7.4-03",
            "8555-7.4-07",
            "prof-4-06",
            "8555-7.6-07",
            "5280-4.2.1.3-03",
        ]),
        mutation(
            "The issuer's name is encoded otherwise",
            &["5280-4.1.2.4-01", "8555-9.1-02"],
            leaf(|_, tbs| recode(&mut tbs.fields()[ISSUER], 0x13)),
        ),
        mutation(
            "Names are TeletexString",
            &["5280-4.1.2.4-02"],
            leaf(|_, tbs| recode(&mut tbs.fields()[ISSUER], 0x14)),
        ),
        mutation(
            "Dates before 2050 are GeneralizedTime",
            &["5280-4.1.2.5-01"],
            leaf(|_, tbs| tbs.fields()[VALIDITY].parts[1] = utc(GENERALIZED_TIME, 30 * DAY)),
        ),
        mutation(
            "A certificate ends before it begins",
            &["5280-4.1.2.5-01"],
            leaf(|_, tbs| tbs.fields()[VALIDITY].parts.reverse()),
        ),
        mutation(
            "Certificates live for two years",
            &["br-7.1-02"],
            leaf(|_, tbs| tbs.fields()[VALIDITY].parts[1] = utc(UTC_TIME, 730 * DAY)),
        ),
        mutation(
            "Certificates have unique identifiers",
            &["5280-4.1.2.8-01"],
            leaf(|_, tbs| tbs.fields().insert(KEY + 1, Tlv::of(0x81, [0, 1]))),
        ),
        mutation(
            "Keys have hybrid points",
            &["5480-2.1-01"],
            leaf(|_, tbs| tbs.fields()[KEY].parts[1].content[1] = 6),
        ),
        mutation(
            "Another key is certified than was asked for",
            &["8555-9.1-02"],
            leaf(|_, tbs| tbs.fields()[KEY].parts[1].content[20] ^= 1),
        ),
    ]
}

/// Writes the strings of a Name with another tag.
fn recode(name: &mut Tlv, tag: u8) {
    for attribute in name.parts.iter_mut().flat_map(|rdn| &mut rdn.parts) {
        attribute.parts[1].tag = tag;
    }
}

/// Alters the extensions of leaves.
fn on_leaf(change: impl Fn(&mut Extensions<'_>) + Send + Sync + 'static) -> Fault {
    leaf(move |_, tbs| change(&mut tbs.extensions()))
}

/// Alters the extensions of the issuing CA.
fn on_issuer(change: impl Fn(&mut Extensions<'_>) + Send + Sync + 'static) -> Fault {
    issuer(move |_, tbs: &mut Signed| change(&mut tbs.extensions()))
}

fn usage(bits: [u8; 2]) -> Tlv {
    Tlv::of(BIT_STRING, bits)
}

fn leaf_extensions() -> Vec<Mutation> {
    let location = |url: &str| Tlv::of(0x86, url);
    vec![
        mutation(
            "An extension appears twice",
            &["5280-4.2-01"],
            on_leaf(|all| all.twice(SUBJECT_KEY)),
        ),
        mutation(
            "Key usage bits are not trimmed",
            &["5280-4.2-02"],
            on_leaf(|all| all.put(KEY_USAGE, &usage([0, 0x80]))),
        ),
        mutation(
            "A default is written out",
            &["5280-4.2-02"],
            on_leaf(|all| all.put(BASIC_CONSTRAINTS, &sequence(vec![Tlv::of(BOOLEAN, [0])]))),
        ),
        mutation(
            "FALSE is written out for critical",
            &["5280-4.2-02"],
            on_leaf(|all| {
                for one in all.0.iter_mut().filter(|one| one.parts.len() == 2) {
                    one.parts.insert(1, Tlv::of(BOOLEAN, [0]));
                }
            }),
        ),
        mutation(
            "Certificates have no AKI",
            &["5280-4.2.1.1-01", "9773-2-01"],
            on_leaf(|all| all.remove(AUTHORITY_KEY)),
        ),
        mutation(
            "The AKI is another",
            &["5280-4.2.1.1-01"],
            on_leaf(|all| all.put(AUTHORITY_KEY, &sequence(vec![Tlv::of(0x80, [7; 20])]))),
        ),
        mutation(
            "Leaves may sign certificates",
            &["5280-4.2.1.3-02"],
            on_leaf(|all| all.put(KEY_USAGE, &usage([2, 0x84]))),
        ),
        mutation(
            "EC keys are for encipherment",
            &["5280-4.2.1.3-03"],
            on_leaf(|all| all.put(KEY_USAGE, &usage([5, 0xa0]))),
        ),
        mutation(
            "A policy appears twice",
            &["5280-4.2.1.4-01"],
            on_leaf(|all| {
                let policy = sequence(vec![oid("2.23.140.1.2.1")]);
                all.put(POLICIES, &sequence(vec![policy.clone(), policy]));
            }),
        ),
        mutation(
            "Leaves have a path length",
            &["5280-4.2.1.9-02", "5280-4.2.1.9-03"],
            on_leaf(|all| all.put(BASIC_CONSTRAINTS, &sequence(vec![Tlv::of(INTEGER, [0])]))),
        ),
        mutation(
            "Leaves have name constraints",
            &["5280-4.2.1.10-01"],
            on_leaf(|all| {
                let subtree = sequence(vec![Tlv::of(0x82, "conformance.test")]);
                all.push(NAME_CONSTRAINTS, true, &sequence(vec![Tlv::with(0xa0, vec![subtree])]));
            }),
        ),
        mutation(
            "A distribution point has no name",
            &["5280-4.2.1.13-02"],
            on_leaf(|all| all.put(CRL_POINTS, &sequence(vec![sequence(vec![])]))),
        ),
        mutation(
            "Every distribution point is for some reasons",
            &["5280-4.2.1.13-03"],
            on_leaf(|all| {
                all.alter(CRL_POINTS, |points| {
                    for point in &mut points.parts {
                        point.parts.push(Tlv::of(0x81, [1, 0x06]));
                    }
                });
            }),
        ),
        mutation(
            "Freshest CRL is critical",
            &["5280-4.2.1.15-01"],
            on_leaf(|all| all.push(FRESHEST, true, &sequence(vec![sequence(vec![])]))),
        ),
        mutation(
            "AIA is critical",
            &["5280-4.2.2.1-01"],
            on_leaf(|all| all.critical(ACCESS, true)),
        ),
        mutation(
            "caIssuers leads to another certificate",
            &["5280-4.2.2.1-01"],
            after(|scene, request, answer| {
                if request.resource() == Resource::File {
                    answer.body = scene.authority.root().whole.der();
                }
            }),
        ),
        mutation(
            "Certificates do not name the responder",
            &["6960-3.1-01"],
            on_leaf(|all| all.remove(ACCESS)),
        )
        .naming_the_responder(),
        mutation(
            "Certificates name a responder over https",
            &["9919-6-01"],
            leaf(move |scene, tbs| {
                let url = location(&scene.files.replace("http://", "https://"));
                let description = sequence(vec![oid("1.3.6.1.5.5.7.48.1"), url]);
                tbs.extensions().put(ACCESS, &sequence(vec![description]));
            }),
        ),
        mutation(
            "noRevAvail stands beside a way to check",
            &["9608-3-01"],
            on_leaf(|all| all.push(NO_REVOCATION, false, &null())),
        ),
        mutation(
            "Certificates of one profile differ",
            &["prof-4-06"],
            leaf(|scene, tbs| {
                if scene.next() % 2 == 0 {
                    tbs.extensions().remove(SUBJECT_KEY);
                }
            }),
        ),
    ]
}

fn issuer_extensions() -> Vec<Mutation> {
    vec![
        mutation(
            "The CA has no SKI",
            &["5280-4.2.1.2-01", "5280-4.2.1.1-01"],
            on_issuer(|all| all.remove(SUBJECT_KEY)),
        ),
        mutation(
            "The CA has no key usage",
            &["5280-4.2.1.3-01", "5280-4.2.1.3-02"],
            on_issuer(|all| all.remove(KEY_USAGE)),
        ),
        mutation(
            "The CA may not sign CRLs",
            &["5280-4.2.1.3-02"],
            on_issuer(|all| all.put(KEY_USAGE, &usage([2, 0x04]))),
        ),
        mutation(
            "The CA's basic constraints are not critical",
            &["5280-4.2.1.9-01"],
            on_issuer(|all| all.critical(BASIC_CONSTRAINTS, false)),
        ),
        mutation(
            "The CA is no CA",
            &["5280-4.2.1.9-01", "5280-6.1-01"],
            on_issuer(|all| all.put(BASIC_CONSTRAINTS, &sequence(vec![]))),
        ),
        mutation(
            "The CA's path length is negative",
            &["5280-4.2.1.9-02"],
            on_issuer(|all| all.put(BASIC_CONSTRAINTS, &sequence(vec![yes(), Tlv::of(INTEGER, [0xff])]))),
        ),
        mutation(
            "The CA's name constraints are not critical",
            &["5280-4.2.1.10-01"],
            on_issuer(|all| all.critical(NAME_CONSTRAINTS, false)),
        )
        .on(Stage::Constrained),
    ]
}

fn names() -> Vec<Mutation> {
    let add = |tag: u8, name: &'static [u8]| {
        on_leaf(move |all| all.alter(NAMES, |names| names.parts.push(Tlv::of(tag, name))))
    };
    vec![
        mutation(
            "The SAN is not critical beside an empty subject",
            &["5280-4.1.2.6-01", "br-7.1-03"],
            on_leaf(|all| all.critical(NAMES, false)),
        ),
        mutation(
            "The SAN has another name",
            &["5280-4.2.1.6-01", "8555-7.4-03", "8555-7.4-07"],
            add(0x82, b"other.test"),
        ),
        mutation(
            "The SAN has a mail address",
            &["5280-4.2.1.6-01", "br-7.1-03"],
            add(0x81, b"admin@conformance.test"),
        ),
        mutation(
            "The SAN leaves a name out",
            &["5280-4.2.1.6-01", "8555-7.4-03"],
            on_leaf(|all| {
                all.alter(NAMES, |names| {
                    names.parts.pop();
                });
            }),
        ),
        mutation(
            "A dNSName has an underscore",
            &["5280-4.2.1.6-02"],
            add(0x82, b"a_b.test"),
        ),
        mutation(
            "An iPAddress has five octets",
            &["5280-4.2.1.6-03"],
            add(0x87, &[127, 0, 0, 1, 0]),
        ),
    ]
}
