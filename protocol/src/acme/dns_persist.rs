//! dns-persist-01 (draft-ietf-acme-dns-persist-02): a TXT record that stays, and names the issuer and the account.
//!
//! Everything here is pure: the records are given, the verdict is returned. What a record says beyond
//! what the draft knows is ignored, and whatever cannot be understood proves nothing.

use aws_lc_rs::digest::{SHA256, digest};

use super::{caa::IssueValue, identifier::DnsName};
use crate::{base64url, jose::Thumbprint};

/// The label below which the records are (section 4).
pub const LABEL: &str = "_validation-persist";
/// The most issuer names that a challenge shows (section 3.1).
pub const ISSUER_NAMES_MAX: usize = 10;

/// The hash algorithm that everybody has to know, as it stands in the URI (section 4.1).
const HASH: &str = "sha-256";
/// What stands in place of a name in the hash of a record that may be used for any name.
const ANY_NAME: &str = "*";
/// How much of a foreign text a verdict shows.
const MAX_SHOWN: usize = 64;

/// Whose record is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applicant {
    /// The account's URL, as the Location header of newAccount shows it.
    pub account_url: String,
    /// `accountHashPrefix` of the directory.
    pub hash_prefix: String,
    /// The thumbprints of the account's key and of those that it had before.
    pub thumbprints: Vec<Thumbprint>,
}

impl Applicant {
    /// Returns the `accounturi` by which a record at a name may name the account under one of its keys; without a name
    /// the one that is good at every name.
    pub fn account_uri(&self, name: Option<&DnsName>, thumbprint: Thumbprint) -> String {
        let name = name.map_or(ANY_NAME, DnsName::as_str);
        // A name has at most 253 octets, so that the cast loses nothing.
        let mut hashed = vec![name.len() as u8];
        hashed.extend_from_slice(name.as_bytes());
        hashed.extend_from_slice(thumbprint.to_string().as_bytes());
        hashed.extend_from_slice(self.account_url.as_bytes());
        let hash = base64url::encode(digest(&SHA256, &hashed));
        format!("{}{HASH}/{hash}", self.hash_prefix)
    }

    /// Tells whether a URI could be some account's here: the prefix, the algorithm, and as much as a hash is long.
    fn could_be_named_by(&self, uri: &str) -> bool {
        let hash = uri
            .strip_prefix(&self.hash_prefix)
            .and_then(|rest| rest.strip_prefix(HASH)?.strip_prefix('/'));
        hash.is_some_and(|hash| hash.parse::<Thumbprint>().is_ok())
    }

    /// Compares octet by octet: no other spelling of the URI is the account's.
    fn is_named_by(&self, uri: &str, name: &DnsName) -> bool {
        self.thumbprints
            .iter()
            .any(|key| self.account_uri(Some(name), *key) == uri || self.account_uri(None, *key) == uri)
    }
}

/// What the records at a name are asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The name at which the records are, without [`LABEL`].
    pub at: &'a DnsName,
    /// Whether more than exactly that name is to be proven: a wildcard, or names below it.
    pub wide: bool,
    /// The issuer names of the challenge; any one is enough.
    pub issuer_names: &'a [String],
    /// Who asks.
    pub applicant: &'a Applicant,
    /// The present moment, in seconds since 1970.
    pub now: i64,
}

/// What a fitting record allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// The record's `persistUntil`, in seconds since 1970: nothing may rest on it afterwards.
    pub until: Option<i64>,
}

/// Why no record fits; the order is by how much it tells the person who wrote the record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// There is no record at all.
    #[error("there is no TXT record")]
    Absent,
    /// All records are for other issuers.
    #[error("no record names this issuer (found: {found})")]
    OtherIssuer {
        /// The issuers that are named.
        found: String,
    },
    /// A record is no issue-value (RFC 8659 section 4.2), so that it cannot be told for whom it is.
    #[error("a record does not have the syntax of RFC 8659 section 4.2: {shown:?}")]
    Unreadable {
        /// How the record begins.
        shown: String,
    },
    /// A record of this issuer does not fit.
    #[error("the record for this issuer {0}")]
    Mismatch(Mismatch),
    /// A record of this issuer has a parameter that cannot be read.
    #[error("the record for this issuer has {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
}

impl Refusal {
    /// Tells whether a record has to be written differently, rather than for somebody else or another time.
    pub fn is_about_syntax(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::Malformed { .. })
    }
}

/// Why a well-formed record of this issuer does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Mismatch {
    /// It is another account's.
    #[error("does not name this account in accounturi")]
    Account,
    /// Its time is over.
    #[error("is over: its persistUntil has passed")]
    Over,
    /// It holds for exactly one name.
    #[error("holds for exactly this name, since it has no policy=wildcard")]
    Narrow,
}

/// Looks for one fitting record among any others (sections 4.1 and 4.3).
///
/// Where several would do, the one that lasts longest counts.
///
/// # Errors
///
/// The most telling [`Refusal`] when none fits.
pub fn find(records: &[Vec<u8>], question: &Question<'_>) -> Result<Proof, Refusal> {
    let mut best: Option<Proof> = None;
    let mut worst = Refusal::Absent;
    let mut others = Vec::new();
    for record in records {
        match judge(record, question) {
            Ok(proof) => best = Some(best.map_or(proof, |so_far| longer(so_far, proof))),
            Err(Refusal::OtherIssuer { found }) => others.push(found),
            Err(refusal) => worst = worst.max(refusal),
        }
    }
    if !others.is_empty() {
        let found = shown(&others.join(", "));
        worst = worst.max(Refusal::OtherIssuer { found });
    }
    best.ok_or(worst)
}

fn longer(one: Proof, other: Proof) -> Proof {
    let end = |proof: Proof| proof.until.unwrap_or(i64::MAX);
    if end(other) > end(one) { other } else { one }
}

fn judge(record: &[u8], question: &Question<'_>) -> Result<Proof, Refusal> {
    let unreadable = || Refusal::Unreadable {
        shown: shown(&record.escape_ascii().to_string()),
    };
    let text = str::from_utf8(record).map_err(|_| unreadable())?;
    let (issuer, parameters) = IssueValue::halves(text);
    // The issuer decides whose business the rest is, however it is written.
    let issuer = issuer.strip_suffix('.').unwrap_or(issuer);
    let ours = question.issuer_names.iter().any(|own| own.eq_ignore_ascii_case(issuer));
    if !ours {
        return Err(match IssueValue::is_issuer(issuer) {
            true => Refusal::OtherIssuer {
                found: issuer.to_owned(),
            },
            false => unreadable(),
        });
    }
    let malformed = |what| Refusal::Malformed { what };
    let parameters =
        IssueValue::parameters(parameters).ok_or(malformed("parameters that are not of the form tag=value"))?;
    let once = |tag: &str, twice| {
        let mut found = parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(tag));
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(malformed(twice)),
            (one, None) => Ok(one.map(|(_, value)| *value)),
        }
    };
    let account = once("accounturi", "accounturi twice")?.ok_or(malformed("no accounturi"))?;
    let policy = once("policy", "policy twice")?;
    let until = once("persistUntil", "persistUntil twice")?.map(seconds).transpose()?;
    let mismatch = |mismatch| Err(Refusal::Mismatch(mismatch));
    if !question.applicant.could_be_named_by(account) {
        return Err(malformed(
            "an accounturi that is not accountHashPrefix, sha-256, a slash and a hash",
        ));
    }
    if !question.applicant.is_named_by(account, question.at) {
        return mismatch(Mismatch::Account);
    }
    if until.is_some_and(|until| until <= question.now) {
        return mismatch(Mismatch::Over);
    }
    if question.wide && !policy.is_some_and(|policy| policy.eq_ignore_ascii_case("wildcard")) {
        return mismatch(Mismatch::Narrow);
    }
    Ok(Proof { until })
}

/// Reads a base-10 integer; one beyond all times is as far away as can be.
fn seconds(text: &str) -> Result<i64, Refusal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal::Malformed {
            what: "a persistUntil that is not a base-10 integer",
        });
    }
    let beyond = if digits.len() < text.len() { i64::MIN } else { i64::MAX };
    Ok(text.parse().unwrap_or(beyond))
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests;
