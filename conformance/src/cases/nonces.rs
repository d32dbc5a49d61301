//! RFC 8555 sections 6.5 and 7.2: nonces.

use std::collections::HashSet;

use super::jws::new_order;
use crate::base64;
use crate::case::{Case, Finding, Judgement, ensure, must, should_read};
use crate::http::{Answer, Request};
use crate::keys::random;
use crate::suite::{Run, refused};
use crate::wire::Draft;
use serde_json::{Value, json};

pub(super) const CASES: &[Case] = &[
    must!(c8555_6_5_03, "A nonce that was never issued, or none, is badNonce."),
    must!(c8555_6_5_04, "A used nonce is refused, also after a refusal."),
    must!(c8555_6_5_05, "One of many requests with the same nonce succeeds."),
    must!(c8555_6_5_06, "badNonce brings a nonce that works."),
    should_read!(c8555_6_5_07, "A nonce serves any account and resource."),
    must!(c8555_6_5_1_01, "Nonces are unique and unpredictable."),
    must!(c8555_6_5_2_01, "A nonce that is not base64url is malformed."),
    must!(c8555_7_2_01, "HEAD and GET of newNonce give fresh nonces."),
    must!(c8555_7_2_02, "newNonce answers are not to be stored."),
];

/// How many requests race for one nonce.
const RACERS: usize = 20;
/// How many nonces are compared.
const SAMPLE: usize = 1000;

fn c8555_6_5_03(run: &Run) -> Judgement {
    let account = run.account()?;
    let length = run.nonce()?.len();
    let invented: String = base64::url(random::<512>()).chars().take(length).collect();
    // Cut to a length that is base64url without spare bits.
    let invented = if base64::from_url(&invented).is_some() {
        invented
    } else {
        base64::url(random::<16>())
    };
    let (url, draft) = new_order(run, account)?;
    let answer = run.post_signed(&url, &draft.clone().with("nonce", invented.as_str()).sign(&account.key))?;
    run.check(refused(&answer, "badNonce", "an invented nonce"));
    ensure!(answer.status == 400, "an invented nonce gives {}", answer.summary());
    let answer = run.post_signed(&url, &draft.without("nonce").sign(&account.key))?;
    run.check(refused(&answer, "badNonce|malformed", "no nonce"));
    run.expect(answer.problem() == "badNonce", || {
        format!("no nonce at all gives {}", answer.problem())
    });
    Ok(())
}

/// Some servers refuse some nonces on purpose: this many are tried.
const NONCE_TRIES_MAX: usize = 8;

/// A nonce that the target took with this request, and what it answered.
fn spend(run: &Run, url: &str, payload: &str) -> Judgement<(String, Answer)> {
    let account = run.account()?;
    let mut nonce = run.nonce()?;
    for _ in 0..NONCE_TRIES_MAX {
        let draft = Draft::new(account.signer(), &nonce, url, payload);
        let answer = run.post_signed(url, &draft.sign(&account.key))?;
        if answer.problem() != "badNonce" {
            return Ok((nonce, answer));
        }
        nonce = answer.header("replay-nonce").unwrap_or_default().to_owned();
    }
    Err(Finding::Blocked("every nonce is refused".into()))
}

fn c8555_6_5_04(run: &Run) -> Judgement {
    let account = run.account()?;
    let (nonce, answer) = spend(run, &run.url("newOrder")?, "{}")?;
    run.check(refused(&answer, "", "an empty order"));
    let again = Draft::new(account.signer(), &nonce, &account.url, "");
    let answer = run.post_signed(&account.url, &again.sign(&account.key))?;
    run.check(refused(&answer, "badNonce", "the nonce of a refused request"));
    let (nonce, answer) = spend(run, &account.url, "")?;
    ensure!(answer.status == 200, "fetching the account: {}", answer.summary());
    let draft = Draft::new(account.signer(), &nonce, &account.url, "");
    let answer = run.post_signed(&account.url, &draft.sign(&account.key))?;
    refused(&answer, "badNonce", "the nonce of a request that succeeded")
}

fn c8555_6_5_05(run: &Run) -> Judgement {
    let account = run.account()?;
    let draft = run.draft(account.signer(), &account.url, "")?;
    let body = draft.sign(&account.key).body();
    let requests = (0..RACERS).map(|_| run.acme_post(&account.url, body.clone())).collect();
    let answers = run.send_at_once(requests)?;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    ensure!(won <= 1, "{won} of {RACERS} requests with one nonce succeeded");
    run.each(answers.iter().filter(|answer| answer.status != 200), |answer| {
        run.check(refused(answer, "badNonce", "a loser of the race"));
        Ok(())
    });
    run.expect(won == 1, || "none of the racers succeeded".into());
    Ok(())
}

fn c8555_6_5_06(run: &Run) -> Judgement {
    let account = run.account()?;
    let draft = Draft::new(account.signer(), &base64::url(random::<16>()), &account.url, "");
    let mut answer = run.post_signed(&account.url, &draft.sign(&account.key))?;
    // A server that refuses some nonces at random gets a few tries.
    for _ in 0..5 {
        run.check(refused(&answer, "badNonce", "an invented nonce"));
        let Some(nonce) = answer.header("replay-nonce") else {
            return Err(Finding::Fail("badNonce comes without a Replay-Nonce".into()));
        };
        let draft = draft.clone().with("nonce", nonce);
        answer = run.post_signed(&account.url, &draft.sign(&account.key))?;
        if answer.status == 200 {
            return Ok(());
        }
    }
    Err(Finding::Fail(format!(
        "the retry with the nonce that badNonce brought: {}",
        answer.summary()
    )))
}

fn c8555_6_5_07(run: &Run) -> Judgement {
    let (first, second) = (run.account()?, run.other_account()?);
    for _ in 0..5 {
        let answer = run.fetch(first, &first.url)?;
        let nonce = answer.header("replay-nonce").unwrap_or_default();
        let draft = Draft::new(second.signer(), nonce, &second.url, "");
        if run.post_signed(&second.url, &draft.sign(&second.key))?.status == 200 {
            return Ok(());
        }
    }
    Err(Finding::Fail(
        "a nonce given to one account does not serve another".into(),
    ))
}

fn c8555_6_5_1_01(run: &Run) -> Judgement {
    let nonces: Vec<String> = (0..SAMPLE).map(|_| run.nonce()).collect::<Judgement<_>>()?;
    let distinct: HashSet<&String> = nonces.iter().collect();
    ensure!(
        distinct.len() == SAMPLE,
        "{} of {SAMPLE} nonces are repeats",
        SAMPLE - distinct.len()
    );
    run.each(&nonces, |nonce| {
        run.expect(nonce.len() >= 22, || format!("nonce {nonce} is short of 128 bits"));
        Ok(())
    });
    // A counter or a clock shows as positions that hardly change; random ones take many values.
    let octets: Vec<Vec<u8>> = nonces.iter().filter_map(|nonce| base64::from_url(nonce)).collect();
    let shortest = octets.iter().map(Vec::len).min().unwrap_or_default();
    let lively = (0..shortest)
        .filter(|&at| octets.iter().map(|nonce| nonce[at]).collect::<HashSet<_>>().len() > 200)
        .count();
    ensure!(lively >= 8, "only {lively} octets of a nonce vary");
    Ok(())
}

fn c8555_6_5_2_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let wrong = [
        (json!("abc="), "malformed"),
        (json!("a+b/"), "malformed"),
        (json!("a b c"), "malformed"),
        (json!("\u{e4}"), "malformed"),
        (json!(7), "malformed"),
        (json!(["AAAA"]), "malformed"),
        // These may be taken for no nonce at all.
        (json!(""), "malformed|badNonce"),
        (Value::Null, "malformed|badNonce"),
    ];
    run.each(wrong, |(wrong, kind)| {
        let (url, draft) = new_order(run, account)?;
        let answer = run.post_signed(&url, &draft.with("nonce", wrong.clone()).sign(&account.key))?;
        refused(&answer, kind, &format!("the nonce {wrong}"))
    });
    Ok(())
}

fn c8555_7_2_01(run: &Run) -> Judgement {
    let url = run.url("newNonce")?;
    let mut seen = HashSet::new();
    run.each(
        [("HEAD", 200), ("HEAD", 200), ("GET", 204), ("GET", 204)],
        |(method, status)| {
            let answer = run.send(&Request::new(method, &url))?;
            let Some(nonce) = answer.header("replay-nonce") else {
                return Err(Finding::Fail(format!("{method} brings no Replay-Nonce")));
            };
            ensure!(seen.insert(nonce.to_owned()), "{method} brings a nonce again");
            if method == "GET" {
                ensure!(
                    answer.status == status && answer.body.is_empty(),
                    "GET gives {}",
                    answer.summary()
                );
            } else {
                ensure!(answer.is_success(), "HEAD gives {}", answer.status);
                run.expect(answer.status == status, || {
                    format!("HEAD gives {} where 200 is usual", answer.status)
                });
            }
            Ok(())
        },
    );
    Ok(())
}

fn c8555_7_2_02(run: &Run) -> Judgement {
    run.each(["HEAD", "GET"], |method| {
        let answer = run.send(&Request::new(method, &run.url("newNonce")?))?;
        let cache = answer.header("cache-control").unwrap_or_default().to_ascii_lowercase();
        ensure!(cache.contains("no-store"), "{method}: Cache-Control is {cache:?}");
        Ok(())
    });
    Ok(())
}
