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
    let lookup = resolver.txt(&owner);
    let records = deadline
        .bound(format_args!("looking up TXT {owner}"), lookup)
        .await?;
    let records = records
        .map_err(|error| Failure::dns(format!("looking up TXT {owner} failed: {error}")))?
        .ok_or_else(|| Failure::dns(format!("{owner} does not exist (NXDOMAIN)")))?;
    verdict(&owner, &records, &dns01_value(key_authorization))
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
    use super::*;
    use sigillo_protocol::acme::problem::ErrorType;

    #[test]
    fn only_the_exact_value_counts() {
        let right = dns01_value("token.thumbprint");
        let records = |values: &[&str]| -> Vec<Vec<u8>> {
            values
                .iter()
                .map(|value| value.as_bytes().to_vec())
                .collect()
        };
        let padded = format!("{right}=");
        let upper = right.to_uppercase();
        let spaced = format!("{right} ");
        for (values, good) in [
            (vec![right.as_str()], true),
            (vec!["decoy", "other", "", right.as_str(), "more"], true),
            (vec![], false),
            (vec![padded.as_str()], false),
            (vec![upper.as_str()], false),
            (vec![spaced.as_str()], false),
            (vec!["token.thumbprint"], false),
        ] {
            let verdict = verdict("_acme-challenge.example.org", &records(&values), &right);
            assert_eq!(verdict.is_ok(), good, "{values:?}");
            if let Err(failure) = verdict {
                assert_eq!(failure.problem.kind, ErrorType::IncorrectResponse);
                assert!(
                    !failure.problem.detail.contains(&right[..])
                        || values.iter().any(|v| v.contains(&right))
                );
            }
        }
    }
}
