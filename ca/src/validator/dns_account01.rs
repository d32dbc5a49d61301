//! dns-account-01 (draft-ietf-acme-dns-account-label): dns-01 below a label of the account's own.

use sigillo_protocol::acme::dns_account::validation_labels;
use sigillo_protocol::acme::identifier::DnsName;

use super::dial::Deadline;
use super::dns01;
use super::failure::Failure;
use super::resolve::Resolver;

/// Looks for the digest of the key authorization among the TXT records of the name, at the account's label.
///
/// The label cannot be read back to an account, so every failure tells which account URL it was made of (section 3.4).
pub(super) async fn attempt(
    resolver: &Resolver,
    name: &DnsName,
    account_url: &str,
    key_authorization: &str,
    deadline: Deadline,
) -> Result<(), Failure> {
    let owner = format!("{}.{}", validation_labels(account_url), name.as_str());
    let looked = dns01::look(resolver, &owner, key_authorization, deadline).await;
    looked.map_err(|mut failure| {
        failure.problem.detail = format!("{} (the account is {account_url})", failure.problem.detail);
        failure
    })
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::RecordType;
    use sigillo_protocol::acme::challenge::{ChallengeType, dns01_value};
    use sigillo_protocol::acme::identifier::Name;
    use sigillo_protocol::acme::problem::ErrorType;

    use super::super::testing::{NameServer, Reply, target, validator};
    use super::super::{Failure, Proof};

    const KEY_AUTHORIZATION: &str = "token.thumbprint";
    /// The label of the account that [`target`] has, which is the draft's.
    const OWNER: &str = "_ujmmovf2vn55tgye._acme-challenge.zone.test";

    async fn attempt(names: &NameServer, name: &str) -> Result<Proof, Failure> {
        let target = target(name.parse().unwrap(), ChallengeType::DnsAccount01, KEY_AUTHORIZATION);
        validator(names, |_| ()).attempt(&target).await
    }

    #[tokio::test]
    async fn the_record_is_at_the_label_of_the_account() {
        let names = NameServer::start().await;
        let right = dns01_value(KEY_AUTHORIZATION);
        names.txt(OWNER, &[&["decoy"], &[&right]]);
        assert_eq!(attempt(&names, "zone.test").await, Ok(Proof::default()));
        assert_eq!(
            attempt(&names, "*.zone.test").await,
            Ok(Proof::default()),
            "a wildcard's base name"
        );
        names.txt("_other._acme-challenge.else.test", &[&[&right]]);
        names.alias("_ujmmovf2vn55tgye._acme-challenge.alias.test", OWNER);
        assert_eq!(
            attempt(&names, "alias.test").await,
            Ok(Proof::default()),
            "an alias is followed"
        );
    }

    #[tokio::test]
    async fn every_failure_tells_the_account() {
        let names = NameServer::start().await;
        let right = dns01_value(KEY_AUTHORIZATION);
        names.txt("_acme-challenge.zone.test", &[&[&right]]);
        for (reply, kind) in [
            (None, ErrorType::Dns),
            (Some(Reply::Records(vec![])), ErrorType::IncorrectResponse),
            (Some(Reply::Code(ResponseCode::ServFail)), ErrorType::Dns),
        ] {
            if let Some(reply) = reply {
                names.set(OWNER, RecordType::TXT, reply);
            }
            let problem = attempt(&names, "zone.test").await.unwrap_err().problem;
            assert_eq!(problem.kind, kind, "{problem}");
            assert!(
                problem.detail.contains("https://example.com/acme/acct/ExampleAccount"),
                "{problem}"
            );
        }
    }

    #[tokio::test]
    async fn an_address_is_not_proven_by_it() {
        let names = NameServer::start().await;
        let address = Name::Ip("127.0.0.1".parse().unwrap());
        let target = target(address, ChallengeType::DnsAccount01, KEY_AUTHORIZATION);
        let failure = validator(&names, |_| ()).attempt(&target).await.unwrap_err();
        assert!(!failure.transient);
        assert!(names.asked(RecordType::TXT).is_empty());
    }
}
