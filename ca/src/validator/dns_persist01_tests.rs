//! Records of dns-persist-01 as a name server on loopback gives them.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use jiff::Timestamp;
use sigillo_protocol::acme::challenge::ChallengeType;
use sigillo_protocol::acme::problem::ErrorType;

use super::super::testing::{NameServer, Reply, target, validator};
use super::super::{Failure, Proof, Target};

const OWNER: &str = "_validation-persist.zone.test";

fn wanted(name: &str) -> Target {
    Target {
        now: Timestamp::from_second(1_800_000_000).unwrap(),
        ..target(name.parse().unwrap(), ChallengeType::DnsPersist01, "")
    }
}

async fn attempt(names: &NameServer, target: &Target) -> Result<Proof, Failure> {
    let validator = validator(names, |settings| settings.dns_persist_names = vec!["ca.test".into()]);
    validator.attempt(target).await
}

async fn kind(names: &NameServer, name: &str) -> ErrorType {
    let failure = attempt(names, &wanted(name)).await.expect_err(name);
    assert!(failure.transient, "a record may still come: {failure}");
    failure.problem.kind
}

/// The record of the account that [`target`] has, at a name.
fn record(at: &str, rest: &str) -> String {
    let target = wanted("zone.test");
    let key = target.applicant.thumbprints[0];
    let uri = target.applicant.account_uri(at.parse().ok().as_ref(), key);
    format!("ca.test; accounturi={uri}{rest}")
}

#[tokio::test]
async fn one_record_among_others_is_enough_also_behind_an_alias() {
    let names = NameServer::start().await;
    let right = record("zone.test", "");
    let (head, tail) = right.split_at(60);
    names.txt(OWNER, &[&["v=spf1"], &["other.test; accounturi=x"], &[head, tail]]);
    assert_eq!(attempt(&names, &wanted("zone.test")).await, Ok(Proof::default()));
    names.alias("_validation-persist.alias.test", "_validation-persist.target.test");
    names.txt("_validation-persist.target.test", &[&[&record("alias.test", "")]]);
    assert_eq!(attempt(&names, &wanted("alias.test")).await, Ok(Proof::default()));
}

#[tokio::test]
async fn what_is_wrong_is_told_by_its_kind() {
    let names = NameServer::start().await;
    assert_eq!(kind(&names, "zone.test").await, ErrorType::Unauthorized, "no such name");
    for (text, wanted) in [
        (record("other.test", ""), ErrorType::Unauthorized),
        (record("zone.test", "; persistUntil=1"), ErrorType::Unauthorized),
        (record("zone.test", "; persistUntil=1e9"), ErrorType::Malformed),
        ("ca.test; accounturi".to_owned(), ErrorType::Malformed),
        ("other.test; accounturi=x".to_owned(), ErrorType::Unauthorized),
        ("%%%".to_owned(), ErrorType::Malformed),
    ] {
        names.txt(OWNER, &[&[&text]]);
        assert_eq!(kind(&names, "zone.test").await, wanted, "{text}");
    }
    names.set(OWNER, RecordType::TXT, Reply::Code(ResponseCode::ServFail));
    assert_eq!(
        kind(&names, "zone.test").await,
        ErrorType::Dns,
        "a bogus zone among them"
    );
}

#[tokio::test]
async fn only_the_policy_reaches_wildcards_and_names_below() {
    for (policy, reaches) in [("; policy=WILDCARD", true), ("", false)] {
        let names = NameServer::start().await;
        names.txt(OWNER, &[&[&record("zone.test", policy)]]);
        assert!(attempt(&names, &wanted("zone.test")).await.is_ok());
        for name in ["*.zone.test", "sub.zone.test", "a.b.zone.test", "*.b.zone.test"] {
            assert_eq!(attempt(&names, &wanted(name)).await.is_ok(), reaches, "{name} {policy}");
        }
        let tree = Target {
            subdomains: true,
            ..wanted("zone.test")
        };
        assert_eq!(attempt(&names, &tree).await.is_ok(), reaches, "{policy}");
        assert!(attempt(&names, &wanted("notzone.test")).await.is_err());
    }
}

#[tokio::test]
async fn a_lookup_that_fails_ends_the_search() {
    let names = NameServer::start().await;
    names.txt(OWNER, &[&[&record("zone.test", "; policy=wildcard")]]);
    let nearer = "_validation-persist.sub.zone.test";
    names.set(nearer, RecordType::TXT, Reply::Code(ResponseCode::ServFail));
    assert_eq!(kind(&names, "sub.zone.test").await, ErrorType::Dns);
}

#[tokio::test]
async fn the_search_has_an_end_below_the_top() {
    let names = NameServer::start().await;
    let _ = attempt(&names, &wanted("a.b.c.d.e.f.g.h.i.j.k.zone.test"))
        .await
        .unwrap_err();
    assert_eq!(names.asked(RecordType::TXT).len(), super::NAMES_MAX);
    let names = NameServer::start().await;
    let _ = attempt(&names, &wanted("zone.test")).await.unwrap_err();
    assert_eq!(names.asked(RecordType::TXT), [OWNER]);
}

#[tokio::test]
async fn the_end_of_the_record_is_the_end_of_the_proof() {
    let names = NameServer::start().await;
    names.txt(OWNER, &[&[&record("zone.test", "; persistUntil=1800000060")]]);
    let proof = attempt(&names, &wanted("zone.test")).await.unwrap();
    assert_eq!(proof.until, Timestamp::from_second(1_800_000_060).ok());
}

#[tokio::test]
async fn where_it_is_not_offered_nothing_is_asked() {
    let names = NameServer::start().await;
    names.txt(OWNER, &[&[&record("zone.test", "")]]);
    let failure = validator(&names, |_| ())
        .attempt(&wanted("zone.test"))
        .await
        .unwrap_err();
    assert!(!failure.transient);
    assert!(names.asked(RecordType::TXT).is_empty());
}
