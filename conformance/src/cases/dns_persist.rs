//! dns-persist-01 (draft-ietf-acme-dns-persist-02): the record, its hashed account URI, its scope.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::challenges::error_type;
use super::dns::all_become;
use super::subdomains;
use crate::base64;
use crate::case::{Case, Finding, Judgement, OrFail, ensure, must};
use crate::issue::{Challenge, identifiers, strings};
use crate::keys::{Key, sha256};
use crate::responder::dns::{TXT, text};
use crate::suite::{Account, Run};

pub(super) const CASES: &[Case] = &[
    must!(cpersist_3_1_01, "Challenge and directory name the issuers, normalized."),
    must!(
        cpersist_3_2_01,
        "The directory's issuers are in each challenge, a challenge's in caaIdentities."
    ),
    must!(
        cpersist_4_1_01,
        "The record is an issue value that names one of the issuers."
    ),
    must!(
        cpersist_4_1_02,
        "accounturi is the hash over name or asterisk, thumbprint and account URL."
    ),
    must!(cpersist_4_1_03, "Any other accounturi fails."),
    must!(cpersist_4_1_04, "Only policy=wildcard covers more than the name."),
    must!(
        cpersist_4_3_01,
        "Records of other issuers are ignored; one that fits is enough."
    ),
];

pub(super) const KIND: &str = "dns-persist-01";

const ISSUERS_MAX: usize = 10;
const NAME_OCTETS_MAX: usize = 253;

/// RFC 6920's name of the one hash that everybody has.
pub(super) const SHA_256: &str = "sha-256";

/// Another CA.
pub(super) const FOREIGN: &str = "ca.elsewhere.example";

/// Where the record of a name is.
pub(super) fn place(name: &str) -> String {
    format!("_validation-persist.{name}")
}

/// The hash of section 4.1: a length octet, the name (or an asterisk), the key's thumbprint, the account's URL.
pub(super) fn hash(name: &str, thumbprint: &str, account_url: &str) -> String {
    let length = [name.len() as u8];
    base64::url(sha256(
        [&length, name.as_bytes(), thumbprint.as_bytes(), account_url.as_bytes()].concat(),
    ))
}

/// What the target offers, and the records that it should take.
pub(super) struct Offer {
    pub(super) issuer: String,
    prefix: String,
}

impl Offer {
    /// Not offered where no challenge of this type is.
    pub(super) fn of(run: &Run) -> Judgement<Self> {
        run.dns()?;
        let account = run.account()?;
        let (_, challenge) = run.challenge_for(account, &run.name("persist"), KIND)?;
        let issuers = issuers_of(run, account, &challenge)?;
        let meta = &run.directory["meta"];
        let Some(prefix) = meta["accountHashPrefix"].as_str().map(str::to_owned) else {
            return Err(Finding::Fail(format!(
                "{KIND} is offered and meta.accountHashPrefix is {}",
                meta["accountHashPrefix"]
            )));
        };
        let issuer = issuers.into_iter().next();
        let issuer = issuer.ok_or_else(|| Finding::Fail("the challenge names no issuer".into()))?;
        Ok(Self { issuer, prefix })
    }

    /// The account's hashed URI for a name.
    pub(super) fn uri(&self, account: &Account, name: &str) -> String {
        self.uri_by(&account.key, account, name)
    }

    /// The same by another key than the present one.
    pub(super) fn uri_by(&self, key: &Key, account: &Account, name: &str) -> String {
        let hash = hash(name, &key.thumbprint(), &account.url);
        format!("{}{SHA_256}/{hash}", self.prefix)
    }

    /// A record that fits, without more.
    pub(super) fn record(&self, account: &Account, name: &str) -> String {
        self.with(account, name, "")
    }

    /// A record that fits, with this behind it.
    pub(super) fn with(&self, account: &Account, name: &str, more: &str) -> String {
        format!("{}; accounturi={}{more}", self.issuer, self.uri(account, name))
    }
}

/// A record in strings of at most 255 octets (RFC 1035 section 3.3.14).
fn strings_of(record: &str) -> Vec<u8> {
    let parts: Vec<String> = record
        .as_bytes()
        .chunks(255)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    text(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(super) fn publish(run: &Run, name: &str, records: &[String]) -> Judgement {
    let data = records.iter().map(|record| strings_of(record)).collect();
    run.dns()?.set(&place(name), TXT, data);
    Ok(())
}

/// A fresh name's challenge; the records come when it is there, so that nothing is valid before its time.
pub(super) fn challenge(
    run: &Run,
    account: &Account,
    records: impl FnOnce(&str) -> Vec<String>,
) -> Judgement<Challenge> {
    let name = run.name("persist");
    let (_, challenge) = run.challenge_for(account, &name, KIND)?;
    publish(run, &name, &records(&name))?;
    Ok(challenge)
}

/// One trial of a record for a fresh name.
pub(super) fn trial<W>(
    run: &Run,
    account: &Account,
    what: W,
    record: impl FnOnce(&str) -> String,
) -> Judgement<(W, Challenge)> {
    Ok((what, challenge(run, account, |name| vec![record(name)])?))
}

/// A SHOULD of section 9.3.1: which error a failure is.
pub(super) fn expect_type(run: &Run, decisions: &[(impl AsRef<str>, Value)], wanted: &str) {
    for (what, authorization) in decisions {
        let kind = error_type(authorization);
        run.expect(kind == wanted, || {
            format!("{}: the problem is {kind:?}, {wanted} is recommended", what.as_ref())
        });
    }
}

/// The issuers that a challenge names.
fn issuers_of(run: &Run, account: &Account, challenge: &Challenge) -> Judgement<Vec<String>> {
    let object = run.fetch_object(account, &challenge.url)?;
    Ok(strings(&object["issuerDomainNames"]))
}

/// Section 3.1: A-labels in lower case, no final dot, a bound on the length.
fn is_normalized(name: &str) -> bool {
    let is_label = |label: &str| {
        let sound = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(sound) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= NAME_OCTETS_MAX && name.split('.').all(is_label)
}

fn cpersist_3_1_01(run: &Run) -> Judgement {
    run.dns()?;
    let account = run.account()?;
    let (_, challenge) = run.challenge_for(account, &run.name("persist"), KIND)?;
    let object = run.fetch_object(account, &challenge.url)?;
    let lists = [
        ("the challenge", &object["issuerDomainNames"]),
        ("meta", &run.directory["meta"]["issuerDomainNames"]),
    ];
    run.each(lists, |(what, list)| {
        let names = strings(list);
        let all = list.as_array().map_or(0, Vec::len);
        ensure!(
            (1..=ISSUERS_MAX).contains(&all) && names.len() == all,
            "{what}: issuerDomainNames is {list}"
        );
        for name in names {
            ensure!(is_normalized(&name), "{what}: issuerDomainNames has {name:?}");
        }
        Ok(())
    });
    let prefix = run.directory["meta"]["accountHashPrefix"].as_str().unwrap_or_default();
    ensure!(
        prefix.starts_with("https://") || prefix.starts_with("http://"),
        "accountHashPrefix is {prefix:?}: no URI comes of it"
    );
    Ok(())
}

fn cpersist_3_2_01(run: &Run) -> Judgement {
    Offer::of(run)?;
    let meta = &run.directory["meta"];
    let (directory, identities) = (strings(&meta["issuerDomainNames"]), strings(&meta["caaIdentities"]));
    for account in [run.account()?, run.other_account()?] {
        let (_, challenge) = run.challenge_for(account, &run.name("persist"), KIND)?;
        let issuers = issuers_of(run, account, &challenge)?;
        for name in &directory {
            ensure!(
                issuers.contains(name),
                "{name} of meta is not in the challenge: {issuers:?}"
            );
        }
        for name in &issuers {
            let known = |identity: &String| identity.trim_end_matches('.').eq_ignore_ascii_case(name);
            ensure!(
                identities.is_empty() || identities.iter().any(known),
                "{name} of the challenge is not in caaIdentities: {identities:?}"
            );
        }
    }
    Ok(())
}

fn cpersist_4_1_01(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.account()?;
    let mut sound = Vec::new();
    for (what, more) in [
        ("nothing more", ""),
        ("a parameter nobody knows", "; x-note=1"),
        ("an empty parameter nobody knows", ";x="),
        ("a policy nobody knows", "; policy=other"),
    ] {
        sound.push(trial(run, account, what, |name| offer.with(account, name, more))?);
    }
    sound.push(trial(run, account, "other spaces", |name| {
        format!("\t {}\t;accounturi =\t{} ", offer.issuer, offer.uri(account, name))
    })?);
    sound.push(trial(run, account, "the issuer in upper case", |name| {
        format!(
            "{}; accounturi={}",
            offer.issuer.to_ascii_uppercase(),
            offer.uri(account, name)
        )
    })?);
    all_become(run, account, sound, "valid")?;
    let mut broken = Vec::new();
    for (what, record) in [
        ("no issue value", "%%%%%"),
        ("no issuer", "; accounturi={uri}"),
        ("no accounturi", "{issuer}"),
        ("a parameter without a value", "{issuer}; accounturi"),
        ("accounturi twice", "{issuer}; accounturi={uri}; accounturi={uri}"),
        ("no semicolon", "{issuer} accounturi={uri}"),
        ("a value of two words", "{issuer}; accounturi={uri} x; policy=wildcard"),
    ] {
        broken.push(trial(run, account, what, |name| {
            record
                .replace("{issuer}", &offer.issuer)
                .replace("{uri}", &offer.uri(account, name))
        })?);
    }
    all_become(run, account, broken, "invalid")?;
    let foreign = trial(run, account, "another issuer", |name| {
        format!("{FOREIGN}; accounturi={}", offer.uri(account, name))
    })?;
    all_become(run, account, vec![foreign], "invalid")?;
    final_dot(run, &offer, account)
}

/// Section 9.2 takes a final dot off a name; the grammar of RFC 8659 has none. Refusing it only warns.
fn final_dot(run: &Run, offer: &Offer, account: &Account) -> Judgement {
    let (_, challenge) = trial(run, account, "a final dot", |name| {
        format!("{}.; accounturi={}", offer.issuer, offer.uri(account, name))
    })?;
    let object = run.attempt(account, &challenge).or_fail()?;
    run.expect(object["status"] == "valid", || {
        format!("the issuer with a final dot does not count: {object}")
    });
    Ok(())
}

fn cpersist_4_1_02(run: &Run) -> Judgement {
    let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    for (name, expected) in [
        ("example.com", "5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw"),
        ("*", "NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug"),
    ] {
        let found = hash(name, thumbprint, "https://ca.example/acct/123");
        ensure!(found == expected, "the suite's own hash of {name} is off: {found}");
    }
    let offer = Offer::of(run)?;
    let account = run.account()?;
    let trials = vec![
        trial(run, account, "the hash over the name", |name| {
            offer.record(account, name)
        })?,
        trial(run, account, "the hash over an asterisk", |_| {
            offer.record(account, "*")
        })?,
    ];
    all_become(run, account, trials, "valid").map(|_| ())
}

fn cpersist_4_1_03(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let (account, other) = (run.account()?, run.other_account()?);
    let mut malformed = Vec::new();
    let mut mismatched = Vec::new();
    for what in [
        "the plain account URL",
        "a hash that is too short",
        "a hash that is too long",
        "a padded hash",
        "an algorithm nobody knows",
        "an algorithm in upper case",
        "another prefix",
        "the scheme in upper case",
    ] {
        malformed.push(trial(run, account, what, |name| {
            let uri = offer.uri(account, name);
            let hash = hash(name, &account.key.thumbprint(), &account.url);
            let uri = match what {
                "the plain account URL" => account.url.clone(),
                "a hash that is too short" => uri[..uri.len() - 4].to_owned(),
                "a hash that is too long" => format!("{uri}AAAA"),
                "a padded hash" => format!("{uri}="),
                "an algorithm nobody knows" => format!("{}sha-999/{hash}", offer.prefix),
                "an algorithm in upper case" => format!("{}SHA-256/{hash}", offer.prefix),
                "another prefix" => format!("https://{FOREIGN}/account-hash/{SHA_256}/{hash}"),
                _ => uri.replacen("http", "HTTP", 1),
            };
            format!("{}; accounturi={uri}", offer.issuer)
        })?);
    }
    for what in [
        "another account's hash",
        "another account's asterisk",
        "another name's hash",
        "the hash of a key that never was the account's",
        "the hash of the thumbprint's octets",
        "a hash without the length",
    ] {
        mismatched.push(trial(run, account, what, |name| {
            let thumbprint = account.key.thumbprint();
            let hashed = |input: &[u8]| format!("{}{SHA_256}/{}", offer.prefix, base64::url(sha256(input)));
            let uri = match what {
                "another account's hash" => offer.uri(other, name),
                "another account's asterisk" => offer.uri(other, "*"),
                "another name's hash" => offer.uri(account, &format!("x{name}")),
                "the hash of a key that never was the account's" => offer.uri_by(&Key::p256(), account, name),
                "the hash of the thumbprint's octets" => {
                    let octets = base64::from_url(&thumbprint).unwrap_or_default();
                    let length = [name.len() as u8];
                    hashed(&[&length, name.as_bytes(), &octets, account.url.as_bytes()].concat())
                }
                _ => hashed(&[name.as_bytes(), thumbprint.as_bytes(), account.url.as_bytes()].concat()),
            };
            format!("{}; accounturi={uri}", offer.issuer)
        })?);
    }
    all_become(run, account, malformed, "invalid")?;
    all_become(run, account, mismatched, "invalid").map(|_| ())
}

/// The challenge of a wildcard's authorization, with a record at its base name.
fn wildcard(run: &Run, account: &Account, record: impl FnOnce(&str) -> String) -> Judgement<Challenge> {
    let base = run.name("persist");
    let payload = json!({"identifiers": identifiers(&[format!("*.{base}")])});
    let order = run.order_with(account, &payload)?;
    let authorizations = order.authorizations();
    let Some(authorization) = authorizations.first() else {
        return Err(Finding::Fail("the order has no authorization".into()));
    };
    let challenge = run.challenge(account, authorization, KIND)?;
    ensure!(
        challenge.identifier == base,
        "the wildcard's authorization is for {}",
        challenge.identifier
    );
    publish(run, &base, &[record(&base)])?;
    Ok(challenge)
}

fn cpersist_4_1_04(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.account()?;
    let mut within = Vec::new();
    let mut beyond = Vec::new();
    for (policy, covers) in [
        ("; policy=wildcard", true),
        ("; policy=WildCard", true),
        ("", false),
        ("; policy=wildcards", false),
        ("; policies=wildcard", false),
    ] {
        let challenge = wildcard(run, account, |base| offer.with(account, base, policy))?;
        let trials = if covers { &mut within } else { &mut beyond };
        trials.push((format!("a wildcard with {policy:?}"), challenge));
    }
    within.push(trial(run, account, "the name itself".to_owned(), |name| {
        offer.with(account, name, "; policy=wildcard")
    })?);
    // The ancestor's record without the policy, and the neighbour's with it, say nothing about these names.
    for (what, label, policy) in [
        ("a subdomain without the policy", "sub.", ""),
        ("a neighbour", "not", "; policy=wildcard"),
    ] {
        let base = run.name("persist");
        let (_, challenge) = run.challenge_for(account, &format!("{label}{base}"), KIND)?;
        publish(run, &base, &[offer.with(account, &base, policy)])?;
        beyond.push((what.to_owned(), challenge));
    }
    all_become(run, account, within, "valid")?;
    all_become(run, account, beyond, "invalid")?;
    if subdomains::offered(run).is_ok() {
        ancestor_needs_the_policy(run, &offer, account)?;
    }
    Ok(())
}

/// RFC 9444 is no way round: an ancestor's record without the policy authorizes no name below it.
fn ancestor_needs_the_policy(run: &Run, offer: &Offer, account: &Account) -> Judgement {
    let base = run.name("persist");
    let name = format!("sub.{base}");
    let identifier = json!({"type": "dns", "value": name, "ancestorDomain": base});
    let order = run.order_with(account, &json!({"identifiers": [identifier]}))?;
    for authorization in order.authorizations() {
        let Ok(challenge) = run.challenge(account, &authorization, KIND) else {
            continue;
        };
        publish(run, &base, &[offer.record(account, &base)])?;
        run.attempt(account, &challenge).or_fail()?;
    }
    let later = run.look(account, &order)?;
    ensure!(
        !["ready", "processing", "valid"].contains(&later.status()),
        "{base} without the policy made the order for {name} {}",
        later.status()
    );
    Ok(())
}

fn cpersist_4_3_01(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.account()?;
    let yesterday = Timestamp::now().as_second() - 86_400;
    let mixed = challenge(run, account, |name| {
        vec![
            "v=spf1 -all".to_owned(),
            "%%%%%".to_owned(),
            format!("{FOREIGN}; accounturi={}; policy=wildcard", offer.uri(account, name)),
            format!("{FOREIGN}; accounturi=x; accounturi=y"),
            offer.with(account, name, &format!("; persistUntil={yesterday}")),
            format!("{}; accounturi={}", offer.issuer, account.url),
            offer.record(account, name),
        ]
    })?;
    let first = challenge(run, account, |name| {
        vec![offer.record(account, name), format!("{FOREIGN}; accounturi=x")]
    })?;
    let trials = vec![("the right record last", mixed), ("the right record first", first)];
    all_become(run, account, trials, "valid")?;
    let halves = challenge(run, account, |name| {
        vec![
            offer.issuer.clone(),
            format!("{FOREIGN}; accounturi={}", offer.uri(account, name)),
        ]
    })?;
    let trials = vec![("two records that fit only together", halves)];
    all_become(run, account, trials, "invalid").map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_hashes() {
        let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        let hash = |name: &str| hash(name, thumbprint, "https://ca.example/acct/123");
        assert_eq!(hash("example.com"), "5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw");
        assert_eq!(hash("*"), "NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug");
    }

    #[test]
    fn normalized_names_are_a_labels_in_lower_case() {
        for name in ["ca.example", "xn--nicode-example-9jb.com", "a"] {
            assert!(is_normalized(name), "{name}");
        }
        for name in ["CA.example", "ca.example.", "", "ünicode.com", "a..b", "-a.example"] {
            assert!(!is_normalized(name), "{name}");
        }
    }

    #[test]
    fn long_records_are_split() {
        let data = strings_of(&"x".repeat(300));
        assert_eq!((data.len(), data[0], data[256]), (302, 255, 45));
    }
}
