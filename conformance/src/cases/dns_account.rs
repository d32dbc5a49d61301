//! dns-account-01 (draft-ietf-acme-dns-account-label-03): dns-01 at a name of the account's own.

use serde_json::json;

use super::challenges::error_type;
use super::dns::all_become;
use super::keychange::change_key;
use crate::base64;
use crate::case::{Case, Finding, Judgement, ensure, must, must_read, should};
use crate::issue::{Challenge, identifiers, strings};
use crate::keys::{Key, sha256};
use crate::responder::dns::TXT;
use crate::suite::{Account, Run};

pub(super) const CASES: &[Case] = &[
    must!(cacct_3_1_01, "The challenge has a token of at least 128 bits."),
    must_read!(
        cacct_3_2_01,
        "The record is at the label of the account's URL, whatever its case."
    ),
    must_read!(
        cacct_3_2_02,
        "It holds dns-01's digest; one match is enough, aliases are followed."
    ),
    must_read!(cacct_3_3_01, "The account's URL is taken as Location shows it."),
    must!(cacct_3_3_02, "A mismatch makes the challenge invalid."),
    should!(
        cacct_3_4_01,
        "Where there is no record the problem names the account's URL."
    ),
    should!(cacct_3_5_01, "The label outlives a key change."),
];

const KIND: &str = "dns-account-01";

/// 128 bits.
const TOKEN_OCTETS_MIN: usize = 16;

/// How much of the digest the label holds.
const LABEL_OCTETS: usize = 10;

/// RFC 4648 section 6 in lower case; what is encoded here is a multiple of five octets, so nothing is padded.
fn base32(octets: &[u8]) -> String {
    let quintets = octets.chunks(5).flat_map(|chunk| {
        let bits = chunk.iter().fold(0u64, |bits, octet| bits << 8 | u64::from(*octet));
        (0..8).rev().map(move |at| (bits >> (5 * at) & 31) as usize)
    });
    quintets
        .map(|at| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[at]))
        .collect()
}

fn label(account_url: &str) -> String {
    format!("_{}", base32(&sha256(account_url)[..LABEL_OCTETS]))
}

fn place(account_url: &str, challenge: &Challenge) -> String {
    format!("{}._acme-challenge.{}", label(account_url), challenge.identifier)
}

fn digest(account: &Account, challenge: &Challenge) -> String {
    base64::url(sha256(account.key_authorization(&challenge.token)))
}

fn challenge(run: &Run, account: &Account) -> Judgement<Challenge> {
    run.dns()?;
    Ok(run.challenge_for(account, &run.name("acct"), KIND)?.1)
}

fn cacct_3_1_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let (one, other) = (challenge(run, account)?, challenge(run, account)?);
    for challenge in [&one, &other] {
        let octets = base64::from_url(&challenge.token).map(|token| token.len());
        ensure!(
            octets.is_some_and(|octets| octets >= TOKEN_OCTETS_MIN),
            "the token is {:?}",
            challenge.token
        );
        ensure!(challenge.url.starts_with("https://"), "the URL is {:?}", challenge.url);
    }
    ensure!(one.token != other.token, "two challenges have the token {}", one.token);
    Ok(())
}

fn cacct_3_2_01(run: &Run) -> Judgement {
    let vector = label("https://example.com/acme/acct/ExampleAccount");
    ensure!(vector == "_ujmmovf2vn55tgye", "the suite's own label is off: {vector}");
    let (account, dns) = (run.account()?, run.dns()?);
    let mut trials = vec![("the right label", challenge(run, account)?)];
    let shouted = challenge(run, account)?;
    dns.shout(&place(&account.url, &shouted));
    trials.push(("the label in upper case", shouted));
    let base = run.name("acct");
    let order = run.try_order(account, &json!({"identifiers": identifiers(&[format!("*.{base}")])}))?;
    if order.status == 201 {
        for authorization in strings(&order.json()?["authorizations"]) {
            let challenge = run.challenge(account, &authorization, KIND)?;
            ensure!(
                challenge.identifier == base,
                "the wildcard's authorization is for {}",
                challenge.identifier
            );
            trials.push(("a wildcard at its base name", challenge));
        }
    }
    let places: Vec<String> = trials.iter().map(|(_, one)| place(&account.url, one)).collect();
    for ((_, challenge), place) in trials.iter().zip(&places) {
        dns.set_txt(place, &[&digest(account, challenge)]);
    }
    all_become(run, account, trials, "valid")?;
    run.each(places, |place| {
        let asked = dns.questions(&place).iter().any(|question| question.kind == TXT);
        ensure!(asked, "valid, and no TXT question for {place}");
        Ok(())
    });
    Ok(())
}

fn cacct_3_2_02(run: &Run) -> Judgement {
    let (account, dns) = (run.account()?, run.dns()?);
    let decoys = challenge(run, account)?;
    let right = digest(account, &decoys);
    dns.set_txt(&place(&account.url, &decoys), &["a", "v=spf1 -all", &right, "c"]);
    let alias = challenge(run, account)?;
    let target = run.name("delegated");
    dns.set_alias(&place(&account.url, &alias), &target);
    dns.set_txt(&target, &[&digest(account, &alias)]);
    let trials = vec![("among decoys", decoys), ("behind an alias", alias)];
    all_become(run, account, trials, "valid").map(|_| ())
}

fn cacct_3_3_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let challenge = challenge(run, &account)?;
    let right = place(&account.url, &challenge);
    let below = format!("_acme-challenge.{}", challenge.identifier);
    let dns = run.dns()?;
    dns.set_txt(&right, &[&digest(&account, &challenge)]);
    all_become(run, &account, vec![("the URL in Location", challenge)], "valid")?;
    let mut asked = dns.questions_below(&below);
    asked.retain(|question| question.kind == TXT && question.name != right);
    ensure!(asked.is_empty(), "beside {right} it asked for {asked:?}");
    Ok(())
}

fn cacct_3_3_02(run: &Run) -> Judgement {
    let (account, other, dns) = (run.account()?, run.other_account()?, run.dns()?);
    let mut trials = Vec::new();
    for what in [
        "dns-01's name alone",
        "another account's label",
        "the label of the URL with a slash behind it",
        "the label without its underscore",
        "another account's digest",
        "a padded digest",
    ] {
        let challenge = challenge(run, account)?;
        let (right, value) = (place(&account.url, &challenge), digest(account, &challenge));
        let (place, value) = match what {
            "dns-01's name alone" => (format!("_acme-challenge.{}", challenge.identifier), value),
            "another account's label" => (place(&other.url, &challenge), value),
            "the label of the URL with a slash behind it" => (place(&format!("{}/", account.url), &challenge), value),
            "the label without its underscore" => (right.trim_start_matches('_').to_owned(), value),
            "another account's digest" => (right, digest(other, &challenge)),
            _ => (right, format!("{value}=")),
        };
        dns.set_txt(&place, &[&value]);
        trials.push((what, challenge));
    }
    all_become(run, account, trials, "invalid").map(|_| ())
}

fn cacct_3_4_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let trials = vec![("no record", challenge(run, account)?)];
    for (_, authorization) in all_become(run, account, trials, "invalid")? {
        let challenges = authorization["challenges"].as_array().into_iter().flatten();
        let problems: Vec<String> = challenges.map(|one| one["error"].to_string()).collect();
        ensure!(
            problems.iter().any(|problem| problem.contains(&account.url)),
            "the problem does not name {}: {problems:?}",
            account.url
        );
        let kind = error_type(&authorization);
        ensure!(!kind.is_empty(), "the problem has no type: {problems:?}");
    }
    Ok(())
}

fn cacct_3_5_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let before = label(&account.url);
    let (changed, answer) = change_key(run, &account, Key::p256())?;
    if answer.status != 200 {
        return Err(Finding::Blocked(format!("the key change: {}", answer.summary())));
    }
    let challenge = challenge(run, &changed)?;
    let place = format!("{before}._acme-challenge.{}", challenge.identifier);
    run.dns()?.set_txt(&place, &[&digest(&changed, &challenge)]);
    all_become(run, &changed, vec![("after a key change", challenge)], "valid").map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_label() {
        assert_eq!(
            label("https://example.com/acme/acct/ExampleAccount"),
            "_ujmmovf2vn55tgye"
        );
        // RFC 4648 section 10.
        assert_eq!(base32(b"fooba"), "mzxw6ytb");
    }
}
