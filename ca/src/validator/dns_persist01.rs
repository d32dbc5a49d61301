//! dns-persist-01 (draft-ietf-acme-dns-persist-02): a TXT record that stays, at the name or at one above it.

use jiff::Timestamp;
use sigillo_protocol::acme::dns_persist::{self, Applicant, LABEL, Question, Refusal};
use sigillo_protocol::acme::identifier::DnsName;
use sigillo_protocol::acme::problem::ErrorType;

use super::Proof;
use super::dial::Deadline;
use super::failure::Failure;
use super::resolve::Resolver;

/// At how many names a record is looked for: at the name itself and so many above that a deep name costs no
/// more questions than CAA does.
const NAMES_MAX: usize = 8;

/// What is asked of the records.
pub(super) struct Wanted<'a> {
    /// The name that is to be proven, a wildcard's without the star.
    pub(super) name: &'a DnsName,
    /// Whether more than exactly that name is to be proven.
    pub(super) wide: bool,
    /// The names by which a record may name this CA.
    pub(super) issuer_names: &'a [String],
    /// Whose record it has to be.
    pub(super) applicant: &'a Applicant,
    /// The present moment.
    pub(super) now: Timestamp,
}

/// Looks for a record at the name, then at those above it, where `policy=wildcard` is needed.
///
/// A lookup that fails ends the search: who can make one fail must not choose which record counts. How long
/// a record may be cached says nothing about how long it is good (section 7.9).
pub(super) async fn attempt(resolver: &Resolver, wanted: &Wanted<'_>, deadline: Deadline) -> Result<Proof, Failure> {
    let mut telling: Option<(String, Refusal)> = None;
    for at in places(wanted.name) {
        let owner = format!("{LABEL}.{at}");
        let lookup = resolver.txt(&owner);
        let records = deadline.bound(&format!("looking up TXT {owner}"), lookup).await?;
        let records = records
            .map_err(|error| Failure::dns(format!("looking up TXT {owner} failed: {error}")))?
            .unwrap_or_default();
        let question = Question {
            at: &at,
            wide: wanted.wide || at != *wanted.name,
            issuer_names: wanted.issuer_names,
            applicant: wanted.applicant,
            now: wanted.now.as_second(),
        };
        match dns_persist::find(&records, &question) {
            Ok(found) => {
                return Ok(Proof {
                    until: found.until.map(moment),
                });
            }
            // The nearer record is told of, unless one above it says more.
            Err(refusal) if telling.as_ref().is_none_or(|(_, so_far)| refusal > *so_far) => {
                telling = Some((owner, refusal));
            }
            Err(_) => {}
        }
    }
    Err(match telling {
        Some((owner, refusal)) => refused(&owner, &refusal),
        None => Failure::transient(ErrorType::Unauthorized, "There is no name at which to look."),
    })
}

/// Returns the names at which a record counts. Top-level domains are nobody's to speak for the names below, unless
/// one is itself the name.
fn places(name: &DnsName) -> impl Iterator<Item = DnsName> {
    let above = name.and_above().skip(1).filter(|name| name.as_str().contains('.'));
    std::iter::once(name.clone()).chain(above).take(NAMES_MAX)
}

fn refused(owner: &str, refusal: &Refusal) -> Failure {
    let kind = match refusal.is_about_syntax() {
        true => ErrorType::Malformed,
        false => ErrorType::Unauthorized,
    };
    Failure::transient(kind, format!("{owner}: {refusal}"))
}

/// A time beyond all that can be told is as late as can be.
fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "dns_persist01_tests.rs"]
mod tests;
