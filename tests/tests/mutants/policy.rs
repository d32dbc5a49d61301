//! What a server may do wrongly with CAA, renewal information, profiles and revocation.

use serde_json::{Value, json};
use sigillo_tests::mutant::fault::{
    Fault, after, before, dns, header, headerless, member, object, refuse, restatus, retype, takes, tolerate, without,
    yes,
};
use sigillo_tests::mutant::message::{Answer, Kind, Request, Resource};
use sigillo_tests::mutant::{Mutation, Stage, mutation};

use crate::zone::{Caa, Message};

/// The CA's name in CAA records.
const OWN: &str = "ca.conformance.test";

pub fn mutations() -> Vec<Mutation> {
    let mut all = authorization();
    all.extend(records());
    all.extend(renewal());
    all.extend(profiles());
    all.extend(revocation());
    all
}

/// Refuses every finalization for CAA's sake, but that of the certificate which the suite takes for granted.
fn forbids() -> Fault {
    before(|_, request| {
        let nonce = |mut answer: Answer| {
            answer.put("replay-nonce", "AAAAAAAAAAAAAAAAAAAAAA");
            answer
        };
        let wanted = b"shared-";
        let csr = request.jws().octets("csr");
        let is_shared = csr.windows(wanted.len()).any(|window| window == wanted);
        (request.resource() == Resource::Finalize && !is_shared).then(|| nonce(Answer::refusal(403, "caa")))
    })
}

fn authorization() -> Vec<Mutation> {
    vec![
        mutation(
            "CAA is not asked for",
            &[
                "8555-7.1.1-04",
                "8659-3-01",
                "8659-3-02",
                "8659-3-03",
                "8659-3-05",
                "8659-3-06",
                "8659-4.1-01",
                "8659-4.1-02",
                "8659-4.2-01",
                "8659-4.2-02",
                "8659-4.3-02",
                "8659-5.4-01",
                "8657-3-01",
                "8657-3-02",
                "8657-3-03",
                "8657-4-01",
                "8657-4-02",
            ],
            sigillo_tests::mutant::fault::none(),
        )
        .on(Stage::Heedless),
        mutation(
            "CAA forbids everything",
            &[
                "8555-7.1.1-04",
                "8659-3-03",
                "8659-3-04",
                "8659-3-05",
                "8659-3-06",
                "8659-4.1-02",
                "8659-4.2-01",
                "8659-4.3-01",
                "8659-4.3-02",
                "8659-5.4-01",
                "8657-3-01",
                "8657-4-01",
            ],
            forbids(),
        ),
        mutation(
            "What CAA forbids is refused for another reason",
            &["8659-3-01", "8659-3-02", "8657-3-03"],
            retype("caa", "unauthorized"),
        ),
        mutation(
            "A CAA identity is named that is not honoured",
            &["8555-7.1.1-04"],
            object(Kind::Directory, |_, _, directory| {
                directory["meta"]["caaIdentities"] = json!([OWN, "ca.other.test"]);
            }),
        ),
    ]
}

/// Alters the CAA records that the daemon sees for a name.
fn sees(change: impl Fn(&str, &mut Vec<Caa>) + Send + Sync + 'static) -> Fault {
    dns(move |octets| match Message::read(&octets) {
        Some(mut message) if message.is_caa() => {
            let name = message.name.clone();
            message.alter(|records| change(&name, records));
            message.written()
        }
        _ => octets,
    })
}

fn each(change: impl Fn(&mut Caa) + Send + Sync + 'static) -> Fault {
    sees(move |_, records| records.iter_mut().for_each(&change))
}

fn records() -> Vec<Mutation> {
    vec![
        mutation(
            "The critical flag is not looked at",
            &["8659-4.1-01"],
            each(|one| one.flags &= 0x7f),
        ),
        mutation(
            "Any flag is taken for the critical one",
            &["8659-4.1-01"],
            each(|one| one.flags = if one.flags == 0 { 0 } else { 0x80 }),
        ),
        mutation(
            "Tags are compared with case",
            &["8659-4.1-02"],
            each(|one| {
                if one.tag != one.tag.to_ascii_lowercase() {
                    one.tag = "unknown".into();
                }
            }),
        ),
        mutation(
            "Only the first record counts",
            &["8659-4.2-01"],
            sees(|_, records| records.truncate(1)),
        ),
        mutation(
            "An empty value allows",
            &["8659-4.2-01"],
            each(|one| {
                if one.tag == "issue" && one.value.trim_matches([' ', ';']).is_empty() {
                    one.value = OWN.into();
                }
            }),
        ),
        mutation(
            "Values off the grammar are mended",
            &["8659-4.2-02"],
            each(|one| {
                if one.value.contains(OWN) {
                    one.value = OWN.into();
                }
            }),
        ),
        mutation(
            "Spaces in values are not tolerated",
            &["8659-4.2-02"],
            each(|one| {
                if one.value.starts_with([' ', '\t']) {
                    one.value = "%".into();
                }
            }),
        ),
        mutation(
            "issuewild governs every name",
            &["8659-4.3-01"],
            each(|one| {
                if one.tag.eq_ignore_ascii_case("issuewild") {
                    one.tag = "issue".into();
                }
            }),
        ),
        mutation(
            "issuewild is not looked at",
            &["8659-4.3-02", "8659-4.1-02"],
            sees(|_, records| records.retain(|one| !one.tag.eq_ignore_ascii_case("issuewild"))),
        ),
        mutation(
            "The search does not climb",
            &["8659-3-03"],
            sees(|name, records| {
                if name.starts_with("climb-") {
                    records.clear();
                }
            }),
        ),
        mutation(
            "The search goes on to the top",
            &["8659-3-03"],
            sees(|name, records| {
                if name.starts_with("b.climb-") {
                    records.clear();
                }
            }),
        ),
        mutation(
            "Aliases are not followed",
            &["8659-3-05"],
            sees(|name, records| {
                if name.starts_with("alias-") || name.starts_with("target-") {
                    records.clear();
                }
            }),
        ),
        mutation(
            "Only the first of an order's names is checked",
            &["8659-3-02"],
            sees(|name, records| {
                if name.starts_with("bound-") {
                    records.clear();
                }
            }),
        ),
        mutation(
            "Parameters are not looked at",
            &["8657-3-01", "8657-3-02", "8657-4-01", "8657-4-02"],
            each(|one| {
                if let Some((domain, _)) = one.value.split_once(';') {
                    one.value = domain.to_owned();
                }
            }),
        ),
        mutation(
            "Unknown methods spoil the list",
            &["8657-4-02"],
            each(|one| {
                if one.value.contains("x-1,http-01") {
                    one.value = format!("{OWN}; validationmethods=x-1");
                }
            }),
        ),
        mutation(
            "accounturi stands for the issuer's name",
            &["8657-3-03"],
            each(|one| {
                if let Some((_, parameters)) = one.value.split_once("; accounturi=") {
                    one.value = format!("{OWN}; accounturi={parameters}");
                }
            }),
        ),
    ]
}

fn renewal() -> Vec<Mutation> {
    let is_info = |request: &Request, _: &Answer| request.resource() == Resource::RenewalInfo;
    vec![
        mutation(
            "renewalInfo is a URL without TLS",
            &["9773-3-01"],
            object(Kind::Directory, |scene, _, directory| {
                directory["renewalInfo"] = format!("{}/acme/renewal-info", scene.files).into();
            }),
        ),
        mutation(
            "The window has no start",
            &["9773-4.1-01", "9773-4.2-01"],
            object(Kind::RenewalInfo, |_, _, info| {
                info["suggestedWindow"]["start"] = Value::Null
            }),
        ),
        mutation(
            "The window ends before it starts",
            &["9773-4.2-02"],
            object(Kind::RenewalInfo, |_, _, info| {
                let start = info["suggestedWindow"]["start"].take();
                info["suggestedWindow"]["start"] = info["suggestedWindow"]["end"].take();
                info["suggestedWindow"]["end"] = start;
            }),
        ),
        mutation(
            "Renewal information is text",
            &["9773-4.1-03"],
            header("content-type", "text/plain", is_info),
        ),
        mutation(
            "Renewal information wants a signature",
            &["9773-4.1-01", "9773-4.1-03"],
            refuse(move |request, _| request.resource() == Resource::RenewalInfo),
        ),
        mutation(
            "The serial's leading zero may be left out",
            &["9773-4.1-02"],
            takes(Resource::RenewalInfo, &[]),
        ),
        mutation(
            "Any name has renewal information",
            &["9773-4.1-04"],
            takes(Resource::RenewalInfo, &[]),
        ),
        mutation(
            "Renewal information has no Retry-After",
            &["9773-4.3-01"],
            headerless("retry-after", is_info),
        ),
        mutation(
            "Retry-After is a month",
            &["9773-4.3-01"],
            header("retry-after", "2592000", is_info),
        ),
        mutation(
            "An order does not show what it replaces",
            &["9773-5-01"],
            without(Kind::Order, "replaces"),
        ),
        mutation(
            "What is replaced already is 400",
            &["9773-5-03"],
            restatus(Resource::NewOrder, 409, 400),
        ),
        mutation(
            "What is replaced already is malformed",
            &["9773-5-03"],
            retype("alreadyReplaced", "malformed"),
        ),
        mutation(
            "Anything may be replaced",
            &["9773-5-04"],
            tolerate(|_, jws, _| !jws.payload["replaces"].is_null()),
        ),
    ]
}

fn profiles() -> Vec<Mutation> {
    vec![
        mutation(
            "A profile that is not named is malformed",
            &["prof-4-01"],
            retype("invalidProfile", "malformed"),
        ),
        mutation(
            "Any profile is taken",
            &["prof-4-01"],
            tolerate(|_, jws, _| !jws.payload["profile"].is_null()),
        ),
        mutation(
            "A profile that does not fit is an internal error",
            &["prof-4-02"],
            after(|_, request, answer| {
                if answer.is_refusal() && !request.jws().payload["profile"].is_null() {
                    answer.status = 500;
                }
            }),
        ),
        mutation(
            "An order does not show its profile",
            &["prof-4-03"],
            without(Kind::Order, "profile"),
        ),
        mutation(
            "An order shows another profile",
            &["prof-4-03"],
            member(Kind::Order, "profile", json!("default")),
        ),
        mutation(
            "A server without profiles shows one",
            &["prof-4-07"],
            after(|scene, request, answer| {
                let profile = request.jws().payload["profile"].clone();
                if request.resource() == Resource::Directory {
                    let mut directory = answer.json();
                    directory["meta"].as_object_mut().map(|meta| meta.remove("profiles"));
                    answer.put_json(&directory);
                } else if !profile.is_null() {
                    *answer = yes(scene, request);
                    let mut order = answer.json();
                    order["profile"] = profile;
                    answer.put_json(&order);
                }
            }),
        ),
    ]
}

fn revocation() -> Vec<Mutation> {
    let revokes = |request: &Request| request.resource() == Resource::Revocation;
    vec![
        mutation(
            "Certificates may be revoked in any form",
            &["8555-7.6-01"],
            takes(Resource::Revocation, &["malformed"]),
        ),
        mutation(
            "A refused revocation has happened",
            &["8555-7.6-01", "8555-7.6-05", "8555-7.6-10"],
            revokes_anyway(),
        ),
        mutation(
            "The issuing account may not revoke",
            &["8555-7.6-02"],
            refuse(move |request, jws| revokes(request) && jws.has("kid")),
        ),
        mutation(
            "The certificate's key may not revoke",
            &["8555-7.6-03"],
            refuse(move |request, jws| revokes(request) && jws.has("jwk")),
        ),
        mutation(
            "Only the issuing account may revoke",
            &["8555-7.6-04"],
            only_the_first_revokes(),
        ),
        mutation(
            "Anybody may revoke",
            &["8555-7.6-05", "8555-7.6-10"],
            takes(Resource::Revocation, &[]),
        ),
        mutation(
            "Who may not revoke is malformed",
            &["8555-7.6-05"],
            retype("unauthorized", "malformed"),
        ),
        mutation(
            "Revoking twice is fine",
            &["8555-7.6-06"],
            takes(Resource::Revocation, &["alreadyRevoked"]),
        ),
        mutation(
            "Revoking twice is malformed",
            &["8555-7.6-06"],
            retype("alreadyRevoked", "malformed"),
        ),
        mutation(
            "Any reason is taken",
            &["8555-7.6-07", "br-7.2.2-02"],
            takes(Resource::Revocation, &["badRevocationReason"]),
        ),
        mutation(
            "A bad reason is unauthorized",
            &["8555-7.6-07", "br-7.2.2-02"],
            retype("badRevocationReason", "unauthorized"),
        ),
    ]
}

/// After a refused revocation OCSP finds nothing good.
fn revokes_anyway() -> Fault {
    sigillo_tests::mutant::fault::since(
        |request, _| request.resource() == Resource::Revocation,
        |request, answer| {
            if request.resource() == Resource::Ocsp {
                answer.body = vec![0x30, 3, 0x0a, 1, 2];
            }
        },
    )
}

/// Refuses revocations by accounts other than the first that ordered.
fn only_the_first_revokes() -> Fault {
    let first = std::sync::OnceLock::new();
    refuse(move |request, jws| {
        let kid = jws.header["kid"].to_string();
        match request.resource() {
            Resource::NewOrder => {
                first.get_or_init(|| kid);
                false
            }
            Resource::Revocation => first.get() != Some(&kid),
            _ => false,
        }
    })
}
