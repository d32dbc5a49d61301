//! What a server may do wrongly with what it need not offer: the DNS challenges of drafts, subdomains, STAR, DNSSEC.
//!
//! What the daemon was told not to offer, the man in the middle offers in its place: a challenge of the new type that in
//! truth is http-01, so that it never becomes valid, or, with a daemon that does not look, always.

use serde_json::{Value, json};
use sigillo_tests::mutant::fault::{Fault, after, header, none, object, retype, swap, takes, tolerate};
use sigillo_tests::mutant::message::{Answer, Kind, Request, Resource};
use sigillo_tests::mutant::{Mutation, Stage, mutation};

const OWN: &str = "ca.conformance.test";
const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAA";

pub fn mutations() -> Vec<Mutation> {
    let mut all = dns_account();
    all.extend(dns_persist());
    all.extend(subdomains());
    all.extend(short_term());
    all.extend(dnssec());
    all
}

/// Offers a challenge of this type beside the others, with these members; the directory says what belongs to it.
fn offers(kind: &'static str, members: Value) -> Fault {
    after(move |scene, request, answer| offer(scene.origin.as_str(), request, answer, kind, &members))
}

fn offer(origin: &str, request: &Request, answer: &mut Answer, kind: &str, members: &Value) {
    let mut body = answer.json();
    let shown = answer.shows(request);
    let dress = |challenge: &mut Value| {
        for (name, value) in members.as_object().into_iter().flatten() {
            challenge[name] = value.clone();
        }
        challenge["type"] = kind.into();
    };
    match shown {
        Some(Kind::Directory) => {
            body["meta"]["issuerDomainNames"] = json!([OWN]);
            body["meta"]["accountHashPrefix"] = format!("{origin}/account-hash/").into();
        }
        Some(Kind::Authorization) => {
            let Some(all) = body["challenges"].as_array_mut() else {
                return;
            };
            match all.iter().find(|one| one["type"] == "http-01").or(all.first()).cloned() {
                Some(mut one) => {
                    dress(&mut one);
                    all.push(one);
                }
                None => return,
            }
        }
        Some(Kind::Challenge) => dress(&mut body),
        _ => return,
    }
    answer.put_json(&body);
}

fn dns_account() -> Vec<Mutation> {
    const KIND: &str = "dns-account-01";
    vec![
        mutation(
            "dns-account-01 has short tokens",
            &["acct-3.1-01"],
            offers(KIND, json!({"token": "AAAAAAAA"})),
        ),
        mutation(
            "dns-account-01 has one token for all",
            &["acct-3.1-01"],
            offers(KIND, json!({"token": TOKEN})),
        ),
        mutation(
            "dns-account-01 does not look where the record is",
            &["acct-3.2-01", "acct-3.2-02", "acct-3.3-01"],
            offers(KIND, json!({})),
        ),
        mutation(
            "dns-account-01 is valid whatever the record",
            &["acct-3.2-01", "acct-3.3-02"],
            offers(KIND, json!({})),
        )
        .on(Stage::Careless),
    ]
}

fn dns_persist() -> Vec<Mutation> {
    const KIND: &str = "dns-persist-01";
    vec![
        mutation(
            "dns-persist-01 names its issuer in capitals",
            &["persist-3.1-01"],
            offers(KIND, json!({"issuerDomainNames": ["CA.Conformance.test."]})),
        ),
        mutation(
            "dns-persist-01 names no issuer",
            &["persist-3.1-01", "persist-3.2-01"],
            offers(KIND, json!({"issuerDomainNames": []})),
        ),
        mutation(
            "dns-persist-01 names another issuer than the directory",
            &["persist-3.2-01"],
            offers(KIND, json!({"issuerDomainNames": ["ca.other.test"]})),
        ),
        mutation(
            "dns-persist-01 takes no record",
            &[
                "persist-4.1-01",
                "persist-4.1-02",
                "persist-4.1-04",
                "persist-4.2-01",
                "persist-4.2-02",
                "persist-4.3-01",
                "persist-7.9-01",
            ],
            offers(KIND, json!({"issuerDomainNames": [OWN]})),
        ),
        mutation(
            "dns-persist-01 takes any record",
            &[
                "persist-4.1-01",
                "persist-4.1-03",
                "persist-4.1-04",
                "persist-4.1-05",
                "persist-4.2-02",
                "persist-4.3-01",
                "persist-7.8-01",
                "persist-9.3-01",
            ],
            offers(KIND, json!({"issuerDomainNames": [OWN]})),
        )
        .on(Stage::Careless)
        .signed(),
    ]
}

/// Says that subdomains can be authorized, and alters the rest.
fn with_subdomains(spoil: impl Fn(&Request, &mut Answer) + Send + Sync + 'static) -> Fault {
    after(move |_, request, answer| {
        if request.resource() == Resource::Directory {
            let mut directory = answer.json();
            directory["meta"]["subdomainAuthAllowed"] = true.into();
            answer.put_json(&directory);
        }
        spoil(request, answer);
    })
}

/// Marks authorizations as covering subdomains.
fn mark(request: &Request, answer: &mut Answer) {
    if answer.shows(request) == Some(Kind::Authorization) {
        let mut body = answer.json();
        body["subdomainAuthAllowed"] = true.into();
        answer.put_json(&body);
    }
}

fn subdomains() -> Vec<Mutation> {
    vec![
        mutation(
            "Every authorization covers subdomains",
            &["9444-4.1-01"],
            with_subdomains(mark),
        ),
        mutation(
            "An authorization that covers subdomains covers none",
            &["9444-4.2-01"],
            with_subdomains(mark),
        ),
        mutation(
            "What rests on a deactivated ancestor is finalized",
            &["9444-4.2-02"],
            with_subdomains(|request, answer| {
                mark(request, answer);
                if request.resource() == Resource::Finalize && answer.is_refusal() {
                    *answer = Answer::of(200, &json!({"status": "processing"}));
                }
            }),
        ),
        mutation(
            "ancestorDomain is answered with another name",
            &["9444-4.3-01"],
            with_subdomains(|request, answer| {
                if answer.shows(request) == Some(Kind::Authorization) {
                    let mut body = answer.json();
                    body["identifier"]["value"] = "other.test".into();
                    answer.put_json(&body);
                }
            }),
        ),
        mutation(
            "Any domain is an ancestor",
            &["9444-4.3-02"],
            with_subdomains(|request, answer| {
                let mut body = answer.json();
                if request.resource() == Resource::NewOrder && body["status"] == "pending" {
                    body["status"] = "ready".into();
                    answer.put_json(&body);
                }
            }),
        ),
    ]
}

fn is_star(request: &Request, answer: &Answer) -> bool {
    request.secure && answer.header("cert-not-after").is_some()
}

fn short_term() -> Vec<Mutation> {
    vec![
        mutation(
            "auto-renewal has no min-lifetime",
            &["8739-3.2-01"],
            object(Kind::Directory, |_, _, directory| {
                directory["meta"]["auto-renewal"]["min-lifetime"] = Value::Null;
            }),
        ),
        mutation(
            "auto-renewal has its times as text",
            &["8739-3.2-01"],
            object(Kind::Directory, |_, _, directory| {
                directory["meta"]["auto-renewal"]["max-duration"] = "90d".into();
            }),
        ),
        mutation(
            "A STAR order shows its certificate like any other",
            &["8739-3.1.1-01"],
            object(Kind::Order, |_, _, order| {
                let url = order["star-certificate"].take();
                if url.is_string() {
                    order["certificate"] = url;
                }
            }),
        ),
        mutation(
            "A STAR order does not show what it asked for",
            &["8739-3.1.1-01"],
            object(Kind::Order, |_, _, order| {
                order.as_object_mut().map(|members| members.remove("auto-renewal"));
            }),
        ),
        mutation(
            "A STAR order may have notAfter",
            &["8739-3.1.1-02"],
            tolerate(|_, jws, _| !jws.payload["auto-renewal"].is_null()),
        ),
        mutation(
            "A canceled order stays valid",
            &["8739-3.1.2-01"],
            swap(Kind::Order, "status", "canceled", "valid"),
        ),
        mutation(
            "Anybody may cancel an order",
            &["8739-3.1.2-01"],
            takes(Resource::Order, &["unauthorized", "malformed"]),
        ),
        mutation(
            "A canceled order's certificate is 404",
            &["8739-3.1.2-01"],
            after(|_, _, answer| {
                if answer.problem() == "autoRenewalCanceled" {
                    answer.status = 404;
                }
            }),
        ),
        mutation(
            "A pending order can be canceled",
            &["8739-3.1.2-02"],
            takes(Resource::Order, &["autoRenewalCancellationInvalid"]),
        ),
        mutation(
            "A STAR certificate's revocation is malformed",
            &["8739-3.1.2-02"],
            retype("autoRenewalRevocationNotSupported", "malformed"),
        ),
        mutation(
            "Cert-Not-After is not the certificate's",
            &["8739-3.3-01"],
            header("cert-not-after", "Thu, 01 Jan 2026 00:00:00 GMT", is_star),
        ),
        mutation(
            "GET is granted to who did not ask for it",
            &["8739-3.4-01"],
            object(Kind::Order, |_, _, order| {
                if order["auto-renewal"].is_object() {
                    order["auto-renewal"]["allow-certificate-get"] = true.into();
                }
            }),
        ),
        mutation(
            "A STAR certificate is not given out",
            &["8739-3.1.1-01", "8739-3.3-01", "8739-3.3-02"],
            after(|_, request, answer| {
                if is_star(request, answer) {
                    *answer = Answer::refusal(404, "malformed");
                }
            }),
        ),
    ]
}

fn dnssec() -> Vec<Mutation> {
    vec![mutation("DNSSEC's proofs are not looked at", &["8657-5.6-01"], none()).signed()]
}
