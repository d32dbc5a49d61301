//! dns-01 (RFC 8555 section 8.4): a TXT record below the name.

use sigillo_protocol::acme::challenge::dns01_value;
use sigillo_protocol::acme::identifier::DnsName;

use super::dial::Deadline;
use super::failure::{Failure, excerpt};
use super::resolve::Resolver;

/// The label below which the records are.
const LABEL: &str = "_acme-challenge";

/// Looks for the digest of the key authorization among the TXT records of the name.
pub(super) async fn attempt(
    resolver: &Resolver,
    name: &DnsName,
    key_authorization: &str,
    deadline: Deadline,
) -> Result<(), Failure> {
    let owner = format!("{LABEL}.{}", name.as_str());
    look(resolver, &owner, key_authorization, deadline).await
}

/// Looks for the digest of a key authorization among the TXT records of exactly this owner (aliases followed).
pub(super) async fn look(
    resolver: &Resolver,
    owner: &str,
    key_authorization: &str,
    deadline: Deadline,
) -> Result<(), Failure> {
    let lookup = resolver.txt(owner);
    let records = deadline.bound(&format!("looking up TXT {owner}"), lookup).await?;
    let records = records
        .map_err(|error| Failure::dns(format!("looking up TXT {owner} failed: {error}")))?
        .ok_or_else(|| Failure::dns(format!("{owner} does not exist (NXDOMAIN)")))?;
    verdict(owner, &records, &dns01_value(key_authorization))
}

/// One matching record among any others is enough.
fn verdict(owner: &str, records: &[Vec<u8>], wanted: &str) -> Result<(), Failure> {
    if records.iter().any(|record| record == wanted.as_bytes()) {
        return Ok(());
    }
    Err(Failure::incorrect(match records {
        [] => format!("{owner} has no TXT record"),
        [only] => format!(
            "the TXT record of {owner} is not the expected one, it begins {}",
            excerpt(only)
        ),
        [first, rest @ ..] => format!(
            "none of the {} TXT records of {owner} is the expected one, the first begins {}",
            rest.len() + 1,
            excerpt(first)
        ),
    }))
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::RecordType;
    use sigillo_protocol::acme::challenge::ChallengeType;
    use sigillo_protocol::acme::identifier::Name;
    use sigillo_protocol::acme::problem::ErrorType;

    use super::super::testing::{NameServer, Reply, target, validator};
    use super::super::{Failure, Proof};
    use super::*;

    const KEY_AUTHORIZATION: &str = "token.thumbprint";
    const OWNER: &str = "_acme-challenge.zone.test";

    async fn attempt(names: &NameServer, name: Name) -> Result<Proof, Failure> {
        let target = target(name, ChallengeType::Dns01, KEY_AUTHORIZATION);
        validator(names, |_| ()).attempt(&target).await
    }

    fn zone() -> Name {
        Name::Dns("zone.test".parse().unwrap())
    }

    #[tokio::test]
    async fn only_the_exact_value_counts() {
        let right = dns01_value(KEY_AUTHORIZATION);
        let (head, tail) = right.split_at(20);
        let padded = format!("{right}=");
        let upper = right.to_uppercase();
        let spaced = format!("{right} ");
        let hex = "7d1aa4e4b3a1b6e0b1a2b8b3f8f5b0d5f4a2c9ce2f1c3e6d5b8a9f7e6d5c4b3a";
        let right = right.as_str();
        for (records, good) in [
            (vec![vec![right]], true),
            (vec![vec![head, tail]], true),
            (
                vec![vec!["decoy"], vec!["1"], vec!["2"], vec!["3"], vec![right], vec![""]],
                true,
            ),
            (vec![vec![padded.as_str()]], false),
            (vec![vec![upper.as_str()]], false),
            (vec![vec![spaced.as_str()]], false),
            (vec![vec![hex]], false),
            (vec![vec![KEY_AUTHORIZATION]], false),
            (vec![vec![head], vec![tail]], false),
            (vec![], false),
        ] {
            let names = NameServer::start().await;
            let records: Vec<&[&str]> = records.iter().map(Vec::as_slice).collect();
            names.txt(OWNER, &records);
            let verdict = attempt(&names, zone()).await;
            assert_eq!(verdict.is_ok(), good, "{records:?}: {verdict:?}");
            if let Err(failure) = verdict {
                assert_eq!(failure.problem.kind, ErrorType::IncorrectResponse);
                assert!(failure.transient);
            }
        }
    }

    #[tokio::test]
    async fn asks_at_the_base_of_a_wildcard() {
        let names = NameServer::start().await;
        names.txt(OWNER, &[&[&dns01_value(KEY_AUTHORIZATION)]]);
        attempt(&names, Name::Wildcard("zone.test".parse().unwrap()))
            .await
            .unwrap();
        assert_eq!(names.asked(RecordType::TXT), [OWNER]);
    }

    #[tokio::test]
    async fn follows_aliases_to_other_zones() {
        let names = NameServer::start().await;
        names
            .alias(OWNER, "hop.elsewhere.test")
            .alias("hop.elsewhere.test", "end.third.test");
        names.txt("end.third.test", &[&[&dns01_value(KEY_AUTHORIZATION)]]);
        attempt(&names, zone()).await.unwrap();
    }

    #[tokio::test]
    async fn a_long_answer_comes_over_tcp() {
        let names = NameServer::start().await;
        let decoys: Vec<String> = (0..60).map(|i| format!("{i:0>43}")).collect();
        let right = dns01_value(KEY_AUTHORIZATION);
        let values: Vec<[&str; 1]> = decoys.iter().chain([&right]).map(|value| [value.as_str()]).collect();
        let records: Vec<&[&str]> = values.iter().map(<[&str; 1]>::as_slice).collect();
        names.txt(OWNER, &records);
        attempt(&names, zone()).await.unwrap();
    }

    #[tokio::test]
    async fn a_lookup_that_fails_is_a_dns_problem() {
        let looping = NameServer::start().await;
        looping.alias(OWNER, "b.test").alias("b.test", OWNER);
        let failing = NameServer::start().await;
        failing.set(OWNER, RecordType::TXT, Reply::Code(ResponseCode::ServFail));
        let refusing = NameServer::start().await;
        refusing.set(OWNER, RecordType::TXT, Reply::Code(ResponseCode::Refused));
        let missing = NameServer::start().await;
        for (names, word) in [
            (looping, "aliases"),
            (failing, "Server Failure"),
            (refusing, "Refused"),
            (missing, "NXDOMAIN"),
        ] {
            let failure = attempt(&names, zone()).await.unwrap_err();
            assert_eq!(failure.problem.kind, ErrorType::Dns, "{word}");
            assert!(failure.problem.detail.contains(word), "{word}: {failure}");
            assert!(failure.transient);
        }
    }

    #[tokio::test]
    async fn an_address_has_no_txt_records() {
        let names = NameServer::start().await;
        let failure = attempt(&names, Name::Ip("127.0.0.1".parse().unwrap()))
            .await
            .unwrap_err();
        assert!(!failure.transient);
        assert!(names.asked(RecordType::TXT).is_empty());
    }
}
