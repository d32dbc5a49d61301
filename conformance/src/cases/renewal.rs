//! RFC 9773 (renewal information) and the profiles draft.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::base64;
use crate::case::{Case, Complaint, Finding, Judgement, OrFail, ensure, must, must_read, should, should_read};
use crate::http::Answer;
use crate::issue::{Issued, identifiers};
use crate::keys::random;
use crate::read::certificate::Certificate;
use crate::read::time;
use crate::suite::{Run, refused};

pub(super) const CASES: &[Case] = &[
    must_read!(c9773_2_01, "Certificates have an AKI with keyIdentifier."),
    must!(c9773_3_01, "Support is shown by renewalInfo in the directory."),
    must_read!(c9773_4_1_01, "The resource is named by AKI and serial."),
    must_read!(c9773_4_1_02, "The serial's leading zero belongs to the name."),
    must_read!(c9773_4_1_03, "GET without authentication is served."),
    must_read!(c9773_4_1_04, "Names that are malformed or unknown are refused."),
    must_read!(c9773_4_2_01, "suggestedWindow has start and end."),
    must!(c9773_4_2_02, "The window ends after it starts."),
    should_read!(c9773_4_2_03, "A revoked certificate's window is past."),
    must_read!(c9773_4_3_01, "Retry-After is there and sensible."),
    must!(c9773_5_01, "replaces is shown in the order."),
    should!(c9773_5_02, "replaces of a foreign or unrelated certificate is refused."),
    must!(c9773_5_03, "What is replaced already is 409 alreadyReplaced."),
    must_read!(c9773_5_04, "A malformed or unknown replaces is refused."),
    should_read!(c9773_6_01, "Renewal information can be cached."),
    must!(cprof_3_01, "Profiles are named with descriptions in meta."),
    must!(cprof_4_01, "A profile that is not named is invalidProfile."),
    must_read!(cprof_4_03, "The profile taken is shown in the order."),
    should!(cprof_4_04, "Without a wish the server picks a profile and shows it."),
    must_read!(cprof_4_07, "A server without profiles shows none."),
];

/// The name of a certificate in renewal information.
fn name_of(certificate: &Certificate) -> Judgement<String> {
    let Some(key) = certificate.authority_key_identifier() else {
        return Err(Finding::Fail("the certificate has no AKI keyIdentifier".into()));
    };
    Ok(format!("{}.{}", base64::url(key), base64::url(&certificate.serial)))
}

fn info(run: &Run, name: &str) -> Judgement<Answer> {
    run.get(&format!(
        "{}/{name}",
        run.optional_url("renewalInfo")?.trim_end_matches('/')
    ))
}

/// Start and end of the window.
fn window(run: &Run, issued: &Issued) -> Judgement<(Timestamp, Timestamp)> {
    let answer = info(run, &name_of(issued.leaf())?)?;
    ensure!(answer.status == 200, "renewal information: {}", answer.summary());
    let object = answer.json()?;
    let read = |name: &str| time::rfc3339(object["suggestedWindow"][name].as_str().unwrap_or_default()).read_as(name);
    let explanation = &object["explanationURL"];
    ensure!(
        explanation.is_null() || explanation.is_string(),
        "explanationURL is {explanation}"
    );
    Ok((read("start")?, read("end")?))
}

fn c9773_2_01(run: &Run) -> Judgement {
    name_of(run.certificate()?.leaf()).map(|_| ())
}

fn c9773_3_01(run: &Run) -> Judgement {
    let url = run.optional_url("renewalInfo")?;
    ensure!(url.starts_with("https://"), "renewalInfo is {url}");
    Ok(())
}

fn c9773_4_1_01(run: &Run) -> Judgement {
    let key = [
        0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01,
        0xc8, 0xd4,
    ];
    let vector = format!("{}.{}", base64::url(key), base64::url([0, 0x87, 0x65, 0x43, 0x21]));
    ensure!(
        vector == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE",
        "the suite's own name is off: {vector}"
    );
    window(run, run.certificate()?).map(|_| ())
}

/// Serials with a leading zero come about every second time, or never.
const TRIES: usize = 12;

fn c9773_4_1_02(run: &Run) -> Judgement {
    run.optional_url("renewalInfo")?;
    let mut known = run.evidence.certificates();
    for _ in 0..TRIES {
        if let Some(issued) = known.iter().find(|one| one.leaf().serial.first() == Some(&0)) {
            let leaf = issued.leaf();
            let answer = info(run, &name_of(leaf)?)?;
            ensure!(answer.status == 200, "with the zero octet: {}", answer.summary());
            let key = leaf.authority_key_identifier().unwrap_or_default();
            let short = format!("{}.{}", base64::url(key), base64::url(&leaf.serial[1..]));
            return refused(&info(run, &short)?, "", "without the zero octet");
        }
        known = vec![run.issue(run.account()?, &[run.name("zero")])?];
    }
    Err(Finding::NotOffered("no serial has a leading zero".into()))
}

fn c9773_4_1_03(run: &Run) -> Judgement {
    let answer = info(run, &name_of(run.certificate()?.leaf())?)?;
    ensure!(answer.status == 200, "GET: {}", answer.summary());
    ensure!(
        answer.media_type() == "application/json",
        "Content-Type is {:?}",
        answer.media_type()
    );
    Ok(())
}

fn c9773_4_1_04(run: &Run) -> Judgement {
    let name = name_of(run.certificate()?.leaf())?;
    let (key, serial) = name.split_once('.').unwrap_or_default();
    run.each(
        [
            format!("{name}="),
            format!("{key}{serial}"),
            format!("{name}.AA"),
            format!("{key}.+{serial}"),
            format!("{}.{serial}", base64::url(random::<20>())),
            format!("{key}.{}", base64::url(random::<16>())),
            "x".to_owned(),
        ],
        |wrong| {
            run.check(refused(&info(run, &wrong)?, "", &wrong));
            Ok(())
        },
    );
    Ok(())
}

fn c9773_4_2_01(run: &Run) -> Judgement {
    window(run, run.certificate()?).map(|_| ())
}

fn c9773_4_2_02(run: &Run) -> Judgement {
    run.optional_url("renewalInfo")?;
    run.certificate()?;
    run.each(run.evidence.certificates(), |issued| {
        let (start, end) = window(run, &issued)?;
        ensure!(end > start, "{}: the window is {start} to {end}", issued.leaf().label());
        Ok(())
    });
    Ok(())
}

fn c9773_4_2_03(run: &Run) -> Judgement {
    run.optional_url("renewalInfo")?;
    let issued = run.revoked("ari", None)?;
    let (_, end) = window(run, &issued)?;
    ensure!(end <= Timestamp::now(), "a revoked certificate's window ends at {end}");
    Ok(())
}

/// Clients keep to a minute and a day.
const RETRY_SECONDS: std::ops::RangeInclusive<i64> = 1..=7 * 86_400;

fn c9773_4_3_01(run: &Run) -> Judgement {
    let answer = info(run, &name_of(run.certificate()?.leaf())?)?;
    let Some(value) = answer.header("retry-after") else {
        return Err(Finding::Fail("no Retry-After".into()));
    };
    let seconds = time::retry_after(value, Timestamp::now()).read_as("Retry-After")?;
    ensure!(RETRY_SECONDS.contains(&seconds), "Retry-After is {seconds} seconds");
    Ok(())
}

fn replacing(run: &Run, issued: &Issued) -> Judgement<Answer> {
    let payload = json!({"identifiers": identifiers(&issued.names), "replaces": name_of(issued.leaf())?});
    run.try_order(&issued.account, &payload)
}

fn fresh(run: &Run) -> Judgement<Arc<Issued>> {
    run.optional_url("renewalInfo")?;
    run.issue(run.account()?, &[run.name("replaced")])
}

fn c9773_5_01(run: &Run) -> Judgement {
    let issued = fresh(run)?;
    let answer = replacing(run, &issued)?;
    ensure!(answer.status == 201, "replaces: {}", answer.summary());
    let name = name_of(issued.leaf())?;
    ensure!(
        answer.json()?["replaces"] == name.as_str(),
        "replaces is shown as {}",
        answer.json()?["replaces"]
    );
    let later = run.fetch_object(&issued.account, answer.header("location").unwrap_or_default())?;
    ensure!(
        later["replaces"] == name.as_str(),
        "later replaces is {}",
        later["replaces"]
    );
    Ok(())
}

fn c9773_5_02(run: &Run) -> Judgement {
    let issued = fresh(run)?;
    let name = name_of(issued.leaf())?;
    let payload = json!({"identifiers": identifiers(&issued.names), "replaces": name});
    run.check(refused(
        &run.try_order(run.other_account()?, &payload)?,
        "",
        "another account's certificate",
    ));
    let payload = json!({"identifiers": identifiers(&[run.name("unrelated")]), "replaces": name});
    refused(
        &run.try_order(&issued.account, &payload)?,
        "",
        "a certificate for other names",
    )
}

fn c9773_5_03(run: &Run) -> Judgement {
    let issued = fresh(run)?;
    let first = replacing(run, &issued)?;
    ensure!(first.status == 201, "the first order: {}", first.summary());
    let second = replacing(run, &issued)?;
    if second.status == 201 {
        run.warn("a second order may replace the same certificate");
        return Ok(());
    }
    run.check(refused(&second, "alreadyReplaced", "a second order"));
    ensure!(second.status == 409, "a second order: {}", second.summary());
    let order = crate::issue::Order {
        url: String::new(),
        object: first.json()?,
    };
    for authorization in order.authorizations() {
        run.post(&issued.account, &authorization, &json!({"status": "deactivated"}))?;
    }
    let third = replacing(run, &issued)?;
    run.expect(third.status == 201, || {
        format!("after the first order became invalid: {}", third.summary())
    });
    Ok(())
}

fn c9773_5_04(run: &Run) -> Judgement {
    run.optional_url("renewalInfo")?;
    let account = run.account()?;
    let issued = run.certificate()?;
    let (key, _) = name_of(issued.leaf())?
        .split_once('.')
        .map(|(key, serial)| (key.to_owned(), serial.to_owned()))
        .unwrap_or_default();
    run.each(
        [
            json!("x"),
            json!(7),
            json!(format!("{key}.{}", base64::url(random::<16>()))),
            json!(""),
        ],
        |wrong| {
            let payload = json!({"identifiers": identifiers(&[run.name("ari")]), "replaces": wrong});
            run.check(refused(
                &run.try_order(account, &payload)?,
                "",
                &format!("replaces {wrong}"),
            ));
            Ok(())
        },
    );
    Ok(())
}

fn c9773_6_01(run: &Run) -> Judgement {
    let name = name_of(run.certificate()?.leaf())?;
    let answer = info(run, &name)?;
    let cache = answer.header("cache-control").unwrap_or_default().to_ascii_lowercase();
    ensure!(!cache.contains("no-store"), "Cache-Control is {cache:?}");
    let junk = info(run, &format!("{name}?junk=1"))?;
    ensure!(junk.status == 200, "with a query: {}", junk.summary());
    ensure!(junk.body == answer.body, "a query changes the body");
    Ok(())
}

fn profiles(run: &Run) -> Judgement<Vec<String>> {
    match run.directory["meta"]["profiles"].as_object() {
        Some(profiles) => Ok(profiles.keys().cloned().collect()),
        None => Err(Finding::NotOffered("no profiles in meta".into())),
    }
}

fn with_profile(run: &Run, profile: Value) -> Judgement<Answer> {
    run.try_order(
        run.account()?,
        &json!({"identifiers": identifiers(&[run.name("profile")]), "profile": profile}),
    )
}

fn cprof_3_01(run: &Run) -> Judgement {
    profiles(run)?;
    let texts = run.directory["meta"]["profiles"]
        .as_object()
        .is_some_and(|all| all.values().all(Value::is_string));
    ensure!(texts, "profiles are {}", run.directory["meta"]["profiles"]);
    Ok(())
}

fn cprof_4_01(run: &Run) -> Judgement {
    let known = profiles(run)?;
    run.each(
        known
            .iter()
            .map(|name| name.to_uppercase())
            .chain(["no-such-profile".into(), String::new()]),
        |wrong| {
            if !known.contains(&wrong) {
                run.check(refused(
                    &with_profile(run, json!(wrong))?,
                    "invalidProfile",
                    &format!("the profile {wrong:?}"),
                ));
            }
            Ok(())
        },
    );
    Ok(())
}

fn cprof_4_03(run: &Run) -> Judgement {
    run.each(profiles(run)?, |profile| {
        let answer = with_profile(run, json!(profile))?;
        if answer.status != 201 {
            run.check(refused(&answer, "invalidProfile", &profile));
            run.warn(format!("the profile {profile} is not for this account or name"));
            return Ok(());
        }
        ensure!(
            answer.json()?["profile"] == profile.as_str(),
            "the order shows {}",
            answer.json()?["profile"]
        );
        let later = run.fetch_object(run.account()?, answer.header("location").unwrap_or_default())?;
        ensure!(
            later["profile"] == profile.as_str(),
            "later the order shows {}",
            later["profile"]
        );
        let issued = run
            .issue_with(run.account()?, &[run.name("profile")], json!({"profile": profile}))
            .or_fail()?;
        ensure!(
            issued.order.object["profile"] == profile.as_str(),
            "at the end the order shows {}",
            issued.order.object
        );
        Ok(())
    });
    Ok(())
}

fn cprof_4_04(run: &Run) -> Judgement {
    let known = profiles(run)?;
    let order = run.order(run.account()?, &[run.name("profile")])?;
    let shown = order.object["profile"].as_str().unwrap_or_default();
    ensure!(
        known.iter().any(|profile| profile == shown),
        "the order shows {}",
        order.object["profile"]
    );
    Ok(())
}

fn cprof_4_07(run: &Run) -> Judgement {
    if profiles(run).is_ok() {
        return Err(Finding::NotOffered("the server has profiles".into()));
    }
    let answer = with_profile(run, json!("x"))?;
    if answer.status == 201 {
        ensure!(answer.json()?["profile"].is_null(), "the order shows a profile");
    }
    Ok(())
}
