//! CAA and the DNS failures around it, against a name server on loopback.

use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use sigillo_protocol::acme::challenge::ChallengeType;
use sigillo_protocol::acme::identifier::Name;
use sigillo_protocol::acme::problem::ErrorType;
use tokio::net::UdpSocket;

use super::super::testing::{NameServer, Reply, validator};
use super::super::{CaaPolicy, Dnssec, Failure, ValidationSettings, Validator};

const OURS: &str = "ca.test";

fn dns(name: &str) -> Name {
    Name::Dns(name.parse().unwrap())
}

fn wildcard(name: &str) -> Name {
    Name::Wildcard(name.parse().unwrap())
}

fn checker(names: &NameServer, policy: CaaPolicy) -> Validator {
    validator(names, |settings| {
        settings.caa_identities = vec![OURS.into()];
        settings.caa = policy;
    })
}

async fn verdict(names: &NameServer, name: &Name) -> Option<ErrorType> {
    let verdict = checker(names, CaaPolicy::Required).caa(name, None, None).await;
    if let Err(Failure { problem, transient }) = &verdict {
        assert_eq!(*transient, problem.kind != ErrorType::Caa, "{problem}");
    }
    verdict.err().map(|failure| failure.problem.kind)
}

/// RFC 8659 section 4; threat A6 is the rows with issuewild.
#[tokio::test]
async fn records_decide() {
    let no = Some(ErrorType::Caa);
    for (records, plain, wild) in [
        (vec![], None, None),
        (vec![(0, "issue", OURS)], None, None),
        (vec![(0, "ISSUE", OURS)], None, None),
        (vec![(0, "issue", "other.test")], no.clone(), no.clone()),
        (vec![(0, "issue", "other.test"), (0, "issue", OURS)], None, None),
        (vec![(0, "issue", ";")], no.clone(), no.clone()),
        (vec![(0, "issue", ";"), (0, "issue", OURS)], None, None),
        (vec![(0, "issue", "")], no.clone(), no.clone()),
        (vec![(0, "issue", "%%%%%")], no.clone(), no.clone()),
        (vec![(0, "issuewild", "other.test")], None, no.clone()),
        (
            vec![(0, "issue", OURS), (0, "issuewild", "other.test")],
            None,
            no.clone(),
        ),
        (
            vec![(0, "issue", "other.test"), (0, "issuewild", OURS)],
            no.clone(),
            None,
        ),
        (vec![(0, "iodef", "mailto:x@ca.test")], None, None),
        (vec![(0, "tbs", "unknown")], None, None),
        (vec![(1, "tbs", "unknown")], None, None),
        (vec![(127, "tbs", "unknown")], None, None),
        (vec![(128, "tbs", "unknown")], no.clone(), no.clone()),
        (
            vec![(129, "tbs", "unknown"), (0, "issue", OURS)],
            no.clone(),
            no.clone(),
        ),
    ] {
        let names = NameServer::start().await;
        names.here("www.zone.test");
        if !records.is_empty() {
            names.caa("zone.test", &records);
        }
        assert_eq!(verdict(&names, &dns("www.zone.test")).await, plain, "{records:?}");
        assert_eq!(verdict(&names, &wildcard("www.zone.test")).await, wild, "{records:?}");
    }
}

/// RFC 8659 section 3.
#[tokio::test]
async fn climbs_to_the_first_set_and_no_further() {
    let names = NameServer::start().await;
    names
        .caa("b.zone.test", &[(0, "issue", OURS)])
        .caa("zone.test", &[(0, "issue", ";")]);
    assert_eq!(verdict(&names, &dns("x.a.b.zone.test")).await, None);
    assert_eq!(
        names.asked(RecordType::CAA),
        ["x.a.b.zone.test", "a.b.zone.test", "b.zone.test"]
    );
}

#[tokio::test]
async fn climbs_to_the_top_level_domain() {
    let names = NameServer::start().await;
    names.caa("test", &[(0, "issue", "other.test")]);
    assert_eq!(verdict(&names, &dns("a.zone.test")).await, Some(ErrorType::Caa));
    assert_eq!(names.asked(RecordType::CAA), ["a.zone.test", "zone.test", "test"]);
}

#[tokio::test]
async fn a_wildcard_starts_at_its_base() {
    let names = NameServer::start().await;
    assert_eq!(verdict(&names, &wildcard("zone.test")).await, None);
    assert_eq!(names.asked(RecordType::CAA), ["zone.test", "test"]);
}

#[tokio::test]
async fn an_alias_counts_for_its_own_name_only() {
    let names = NameServer::start().await;
    names
        .alias("www.zone.test", "host.far.example")
        .caa("far.example", &[(0, "issue", ";")]);
    names.here("host.far.example");
    assert_eq!(
        verdict(&names, &dns("www.zone.test")).await,
        None,
        "the target's parents do not count"
    );
    names.caa("host.far.example", &[(0, "issue", ";")]);
    assert_eq!(verdict(&names, &dns("www.zone.test")).await, Some(ErrorType::Caa));
}

#[tokio::test]
async fn a_failing_lookup_refuses() {
    for reply in [
        Reply::Code(ResponseCode::ServFail),
        Reply::Code(ResponseCode::Refused),
        Reply::Code(ResponseCode::NotImp),
        Reply::Silence,
    ] {
        for policy in [CaaPolicy::Required, CaaPolicy::WhenAvailable] {
            let names = NameServer::start().await;
            names.set("zone.test", RecordType::CAA, reply.clone());
            let validator = checker(&names, policy);
            let failure = validator.caa(&dns("www.zone.test"), None, None).await.unwrap_err();
            assert_eq!(failure.problem.kind, ErrorType::Dns, "{reply:?} {policy:?}");
            assert!(failure.problem.detail.contains("CAA zone.test"), "{failure}");
        }
    }
}

#[tokio::test]
async fn aliases_without_an_end_refuse() {
    let names = NameServer::start().await;
    names.alias("a.test", "b.test").alias("b.test", "a.test");
    assert_eq!(verdict(&names, &dns("a.test")).await, Some(ErrorType::Dns));
}

/// Threat A5.
#[tokio::test]
async fn each_check_asks_anew() {
    let names = NameServer::start().await;
    names.caa("zone.test", &[(0, "issue", OURS)]);
    let validator = checker(&names, CaaPolicy::Required);
    validator.caa(&dns("zone.test"), None, None).await.unwrap();
    names.caa("zone.test", &[(0, "issue", ";")]);
    validator.caa(&dns("zone.test"), None, None).await.unwrap_err();
}

#[tokio::test]
async fn account_and_method_count_where_records_name_them() {
    let names = NameServer::start().await;
    let account = "https://ca.test/acct/1";
    names.caa(
        "zone.test",
        &[(
            0,
            "issue",
            "ca.test; accounturi=https://ca.test/acct/1; validationmethods=dns-01",
        )],
    );
    let validator = checker(&names, CaaPolicy::Required);
    for (uri, method, good) in [
        (Some(account), Some(ChallengeType::Dns01), true),
        (Some("https://ca.test/acct/2"), Some(ChallengeType::Dns01), false),
        (Some(account), Some(ChallengeType::Http01), false),
        (None, Some(ChallengeType::Dns01), false),
    ] {
        let verdict = validator.caa(&dns("zone.test"), uri, method).await;
        assert_eq!(verdict.is_ok(), good, "{uri:?} {method:?}: {verdict:?}");
    }
}

#[tokio::test]
async fn addresses_and_localhost_are_not_asked_about() {
    let names = NameServer::start().await;
    for name in [
        Name::Ip("127.0.0.1".parse().unwrap()),
        dns("localhost"),
        dns("a.localhost"),
    ] {
        assert_eq!(verdict(&names, &name).await, None, "{name}");
    }
    assert!(names.asked(RecordType::CAA).is_empty());
}

#[tokio::test]
async fn a_silent_resolver_is_a_matter_of_policy() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let make = |caa| {
        Validator::new(ValidationSettings {
            resolver: Some(address.clone()),
            caa,
            ..ValidationSettings::default()
        })
        .unwrap()
    };
    let strict = make(CaaPolicy::Required);
    let lenient = make(CaaPolicy::WhenAvailable);
    let name = dns("www.zone.test");
    let (refused, allowed) = tokio::join!(strict.caa(&name, None, None), lenient.caa(&name, None, None));
    assert_eq!(refused.unwrap_err().problem.kind, ErrorType::Dns);
    assert_eq!(allowed, Ok(()));
    let start = Instant::now();
    lenient.caa(&dns("other.zone.test"), None, None).await.unwrap();
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "silence is remembered for a while"
    );
    make(CaaPolicy::Off).caa(&name, None, None).await.unwrap();
}

/// Shows why DNSSEC is not validated here by default: see `docs/decisions/0005-dnssec.md`.
#[tokio::test]
async fn validating_here_refuses_an_unsigned_zone_without_a_signed_parent() {
    let names = NameServer::start().await;
    names
        .caa("zone.test", &[(0, "issue", OURS)])
        .txt("_acme-challenge.zone.test", &[&["x"]]);
    let default = checker(&names, CaaPolicy::Required);
    default.caa(&dns("zone.test"), None, None).await.unwrap();
    let strict = validator(&names, |settings| {
        settings.caa_identities = vec![OURS.into()];
        settings.dnssec = Dnssec::Validate;
    });
    let failure = strict.caa(&dns("zone.test"), None, None).await.unwrap_err();
    assert_eq!(failure.problem.kind, ErrorType::Dns, "{failure}");
}

/// Threat V6: answers that are no DNS, loop, or promise more than they hold.
#[tokio::test]
async fn crafted_answers_refuse_in_bounded_time() {
    for (what, tail) in [
        ("nothing behind the identifier", vec![]),
        (
            "ten answers promised, none there",
            [&[0x81, 0x80, 0, 1, 0, 10, 0, 0, 0, 0][..]].concat(),
        ),
        (
            "a name that points at itself",
            [&[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0][..], &[0xc0, 12, 1, 1, 0, 1]].concat(),
        ),
        ("noise", vec![0xff; 512]),
    ] {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let mut question = [0; 1500];
            while let Ok((_, peer)) = server.recv_from(&mut question).await {
                let answer = [&question[..2], &tail[..]].concat();
                let _ = server.send_to(&answer, peer).await;
            }
        });
        let validator = Validator::new(ValidationSettings {
            resolver: Some(address),
            caa: CaaPolicy::Required,
            ..ValidationSettings::default()
        })
        .unwrap();
        let start = Instant::now();
        let verdict = validator.caa(&dns("zone.test"), None, None).await;
        assert_eq!(verdict.unwrap_err().problem.kind, ErrorType::Dns, "{what}");
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
    }
}
