//! RFC 8555 sections 5 to 6.4: transport, GET and POST-as-GET, and the url header.

use serde_json::{Value, json};

use crate::base64;
use crate::case::{Case, Finding, Judgement, ensure, must, must_read, should, should_read};
use crate::http::{Request, Url};
use crate::issue::identifiers;
use crate::keys::Key;
use crate::suite::{Run, refused};
use crate::wire::{Signed, Signer};

pub(super) const CASES: &[Case] = &[
    must!(c8555_5_01, "Text that is not UTF-8 is refused."),
    must!(c8555_6_1_01, "ACME is served over HTTPS only."),
    should!(c8555_6_1_04, "Any origin may read the answers."),
    should_read!(
        c8555_6_1_05,
        "Browsers are let through by preflight and exposed headers."
    ),
    must!(c8555_6_1_06, "Padded base64url is refused."),
    must!(c8555_6_3_01, "GET on what is not for GET is 405 malformed."),
    must!(c8555_6_3_02, "POST-as-GET fetches every resource."),
    must!(c8555_6_3_03, "POST-as-GET is refused to other accounts."),
    must_read!(c8555_6_3_04, "POST-as-GET changes nothing."),
    must!(
        c8555_6_3_05,
        "Directory and newNonce are there for GET and for POST-as-GET."
    ),
    must!(c8555_6_4_01, "A url header for another resource is unauthorized."),
    should!(c8555_6_4_02, "The url header is compared as text."),
    must!(c8555_6_4_1_01, "The url header is a string in the protected header."),
];

/// Octets that are not UTF-8.
const NOT_UTF8: [(&str, &[u8]); 5] = [
    ("an octet of no character", b"\xff\xfe"),
    ("a continuation alone", b"\x80"),
    ("a character that is cut off", b"\xe2\x82"),
    ("an overlong slash", b"\xc0\xaf"),
    ("half a surrogate pair", b"\xed\xa0\x80"),
];

fn c8555_5_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let url = run.url("newOrder")?;
    run.each(NOT_UTF8, |(what, octets)| {
        let mut payload = json!({"identifiers": identifiers(&[run.name("utf8")])})
            .to_string()
            .into_bytes();
        payload.pop();
        let payload = [&payload, &b",\"note\":\""[..], octets, b"\"}"].concat();
        let answer = run.post_as(account.signer(), &url, &payload)?;
        refused(&answer, "malformed", &format!("{what} in the payload"))
    });
    let (_, octets) = NOT_UTF8[0];
    let draft = run.draft(
        account.signer(),
        &url,
        json!({"identifiers": identifiers(&[run.name("utf8")])}).to_string(),
    )?;
    let mut header = Value::Object(draft.header.clone()).to_string().into_bytes();
    header.pop();
    let header = [&header, &b",\"x\":\""[..], octets, b"\"}"].concat();
    let signed = Signed::over(base64::url(header), base64::url(&draft.payload), |input| {
        account.key.sign(input)
    });
    let answer = run.post_signed(&url, &signed)?;
    run.check(refused(&answer, "malformed", "an octet of no character in the header"));
    let draft = run.draft(
        account.signer(),
        &url,
        json!({"identifiers": identifiers(&[run.name("utf8")])}).to_string(),
    )?;
    let mut body = draft.sign(&account.key).body();
    body.pop();
    let answer = run.post_body(&url, [&body, &b",\"x\":\""[..], octets, b"\"}"].concat())?;
    refused(&answer, "malformed", "an octet of no character in the body")
}

fn c8555_6_1_01(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    let mut urls = vec![
        run.options.directory.clone(),
        issued.account.url.clone(),
        issued.url.clone(),
    ];
    for name in ["newNonce", "newAccount", "newOrder", "revokeCert", "keyChange"] {
        urls.push(run.url(name)?);
    }
    urls.push(issued.order.finalize().to_owned());
    urls.extend(issued.order.authorizations());
    run.each(&urls, |url| {
        ensure!(url.starts_with("https://"), "{url} is not an https URL");
        Ok(())
    });
    // Plain HTTP at the same port must do nothing: not even refuse as ACME does, since that has read the request.
    for (method, url) in [
        ("GET", run.options.directory.clone()),
        ("HEAD", run.url("newNonce")?),
        ("POST", run.url("newOrder")?),
    ] {
        let plain = url.replacen("https://", "http://", 1);
        if let Ok(answer) = run.client.send(&Request::new(method, &plain).body("{}")) {
            ensure!(
                !answer.is_success() && answer.header("replay-nonce").is_none() && answer.problem().is_empty(),
                "plain HTTP at {plain} answers {}",
                answer.summary()
            );
        }
    }
    Ok(())
}

fn c8555_6_1_04(run: &Run) -> Judgement {
    let account = run.account()?;
    let origin = |request: Request| request.header("Origin", "https://elsewhere.example");
    let url = run.url("newOrder")?;
    let signed = run.draft(account.signer(), &url, "{}")?.sign(&account.key);
    let post = Request::new("POST", &url)
        .header("Content-Type", "application/jose+json")
        .body(signed.body());
    run.each(
        [
            Request::get(&run.options.directory),
            Request::new("HEAD", &run.url("newNonce")?),
            post,
        ],
        |request| {
            let answer = run.send(&origin(request.clone()))?;
            let allowed = answer.header("access-control-allow-origin");
            ensure!(
                allowed == Some("*"),
                "{} {}: Access-Control-Allow-Origin is {allowed:?}",
                request.method,
                request.url
            );
            Ok(())
        },
    );
    Ok(())
}

fn c8555_6_1_05(run: &Run) -> Judgement {
    let url = run.url("newOrder")?;
    let preflight = Request::new("OPTIONS", &url)
        .header("Origin", "https://elsewhere.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type");
    let answer = run.send(&preflight)?;
    ensure!(answer.is_success(), "the preflight is answered {}", answer.summary());
    let list = |name: &str| answer.header(name).unwrap_or_default().to_ascii_lowercase();
    let headers = list("access-control-allow-headers");
    ensure!(
        headers == "*" || headers.contains("content-type"),
        "allowed headers are {headers:?}"
    );
    let post = run.send(&Request::new("HEAD", &run.url("newNonce")?).header("Origin", "https://elsewhere.example"))?;
    let exposed = post
        .header("access-control-expose-headers")
        .unwrap_or_default()
        .to_ascii_lowercase();
    run.each(["replay-nonce", "location", "link"], |name| {
        ensure!(
            exposed == "*" || exposed.contains(name),
            "{name} is not exposed: {exposed:?}"
        );
        Ok(())
    });
    Ok(())
}

fn c8555_6_1_06(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let url = run.url("newOrder")?;
    // Lengths are chosen so that one padding character completes a group of four.
    let pad = |text: &str| format!("{text}{}", "=".repeat(if text.len() % 4 == 3 { 1 } else { 2 }));
    let payload = json!({"identifiers": identifiers(&[run.name("pad")])}).to_string();
    run.each(["protected", "payload", "signature"], |part| {
        let draft = run.draft(account.signer(), &url, payload.clone())?;
        let sound = draft.sign(&account.key);
        let signed = match part {
            "protected" => Signed::over(pad(&sound.protected), sound.payload, |input| account.key.sign(input)),
            "payload" => Signed::over(sound.protected, pad(&sound.payload), |input| account.key.sign(input)),
            _ => Signed {
                signature: pad(&sound.signature),
                ..sound
            },
        };
        run.check(refused(
            &run.post_signed(&url, &signed)?,
            "",
            &format!("a padded {part}"),
        ));
        Ok(())
    });
    let key = Key::p256();
    let mut jwk = key.jwk();
    jwk["x"] = pad(jwk["x"].as_str().unwrap_or_default()).into();
    let url = run.url("newAccount")?;
    let draft = run
        .draft(Signer::Key(&key), &url, run.account_payload(&key)?.to_string())?
        .with("jwk", jwk);
    run.check(refused(
        &run.post_signed(&url, &draft.sign(&key))?,
        "",
        "a padded jwk member",
    ));
    let issued = run.certificate()?;
    let payload = json!({"certificate": pad(&base64::url(&issued.leaf().der))});
    if issued.leaf().der.len() % 3 != 0 {
        run.check(refused(
            &run.post(&issued.account, &run.url("revokeCert")?, &payload)?,
            "",
            "a padded certificate",
        ));
        run.still_good(issued, "a padded revocation")?;
    }
    no_orders(run, &account)
}

/// Nothing was created for an account whose requests were all refused.
pub(super) fn no_orders(run: &Run, account: &crate::suite::Account) -> Judgement {
    // A request that was not refused has left its order, and was told of already.
    if run.has_deviations() {
        return Ok(());
    }
    let Some(url) = account.object["orders"].as_str() else {
        return Ok(());
    };
    let answer = run.fetch(account, url)?;
    if answer.status == 200 {
        let orders = answer.json()?["orders"].as_array().map_or(0, Vec::len);
        ensure!(orders == 0, "refused requests left {orders} orders behind");
    }
    Ok(())
}

fn c8555_6_3_01(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    let mut urls = vec![issued.account.url.clone(), issued.order.url.clone(), issued.url.clone()];
    for name in ["newAccount", "newOrder", "revokeCert", "keyChange"] {
        urls.push(run.url(name)?);
    }
    urls.push(issued.order.finalize().to_owned());
    urls.extend(issued.account.object["orders"].as_str().map(str::to_owned));
    for authorization in issued.order.authorizations() {
        let object = run.authorization(&issued.account, &authorization)?;
        urls.extend(object["challenges"][0]["url"].as_str().map(str::to_owned));
        urls.push(authorization);
    }
    run.each(urls, |url| {
        let answer = run.get(&url)?;
        ensure!(answer.status == 405, "GET {url}: {}", answer.summary());
        run.check(refused(&answer, "malformed", &format!("GET {url}")));
        Ok(())
    });
    Ok(())
}

fn c8555_6_3_02(run: &Run) -> Judgement {
    let issued = run.certificate()?;
    let mut urls = vec![issued.account.url.clone(), issued.order.url.clone(), issued.url.clone()];
    urls.extend(issued.account.object["orders"].as_str().map(str::to_owned));
    for authorization in issued.order.authorizations() {
        let object = run.authorization(&issued.account, &authorization)?;
        urls.extend(object["challenges"][0]["url"].as_str().map(str::to_owned));
        urls.push(authorization);
    }
    run.each(urls, |url| {
        let answer = run.fetch(&issued.account, &url)?;
        ensure!(answer.status == 200, "POST-as-GET {url}: {}", answer.summary());
        Ok(())
    });
    Ok(())
}

fn c8555_6_3_03(run: &Run) -> Judgement {
    let account = run.account()?;
    let (order, challenge) = run.challenge_for(account, &run.name("mine"), "http-01")?;
    let issued = run.certificate()?;
    let mut resources = vec![
        ("account", account.url.clone()),
        ("order", order.url.clone()),
        ("authorization", challenge.authorization),
        ("challenge", challenge.url),
        ("order with a certificate", issued.order.url.clone()),
    ];
    resources.extend(
        account.object["orders"]
            .as_str()
            .map(|url| ("list of orders", url.to_owned())),
    );
    let other = run.other_account()?;
    run.each(resources, |(what, url)| {
        let answer = run.fetch(other, &url)?;
        refused(&answer, "", &format!("another account's POST-as-GET of the {what}"))
    });
    Ok(())
}

fn c8555_6_3_04(run: &Run) -> Judgement {
    let account = run.account()?;
    let (_, challenge) = run.challenge_for(account, &run.name("quiet"), "http-01")?;
    let object = run.fetch_object(account, &challenge.url)?;
    ensure!(
        object["status"] == "pending",
        "a challenge that was only looked at is {}",
        object["status"]
    );
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let object = run.fetch_object(account, &challenge.url)?;
    ensure!(
        object["status"] == "pending",
        "a challenge that was only looked at became {}",
        object["status"]
    );
    if let Some(http01) = &run.http01 {
        let path = crate::responder::http01::challenge_path(&challenge.token);
        ensure!(
            http01.queries(&path).is_empty(),
            "looking at a challenge started its validation"
        );
    }
    Ok(())
}

fn c8555_6_3_05(run: &Run) -> Judgement {
    let account = run.account()?;
    run.each([run.options.directory.clone(), run.url("newNonce")?], |url| {
        let answer = run.get(&url)?;
        ensure!(answer.is_success(), "GET {url}: {}", answer.summary());
        let answer = run.fetch(account, &url)?;
        ensure!(answer.is_success(), "POST-as-GET {url}: {}", answer.summary());
        Ok(())
    });
    Ok(())
}

fn c8555_6_4_01(run: &Run) -> Judgement {
    let account = run.account()?;
    let key = Key::p256();
    let new_account = run.url("newAccount")?;
    let draft = run.draft(
        Signer::Key(&key),
        &run.url("newOrder")?,
        run.account_payload(&key)?.to_string(),
    )?;
    run.check(refused(
        &run.post_signed(&new_account, &draft.sign(&key))?,
        "unauthorized",
        "signed for newOrder, sent to newAccount",
    ));
    let first = run.order(account, &[run.name("first")])?;
    let second = run.order(account, &[run.name("second")])?;
    let draft = run.draft(account.signer(), &first.url, "")?;
    let answer = run.post_signed(&second.url, &draft.sign(&account.key))?;
    refused(&answer, "unauthorized", "signed for one order, sent to another")
}

fn c8555_6_4_02(run: &Run) -> Judgement {
    let account = run.account()?;
    let url = run.url("newOrder")?;
    let parts = Url::parse(&url).ok_or_else(|| Finding::Blocked(format!("{url} is not a URL")))?;
    let origin = parts.origin();
    let mut variants = vec![
        format!("{url}/"),
        format!("{url}?"),
        format!("{url}?x=1"),
        format!("{url}#"),
    ];
    if origin.bytes().any(|byte| byte.is_ascii_lowercase()) {
        variants.push(url.replacen(&origin, &origin.to_ascii_uppercase(), 1));
    }
    if let Some(letter) = parts.path.chars().rev().find(char::is_ascii_alphabetic) {
        let at = url.rfind(letter).unwrap_or_default();
        variants.push(format!("{}%{:02X}{}", &url[..at], letter as u8, &url[at + 1..]));
    }
    run.each(variants, |variant| {
        let payload = json!({"identifiers": identifiers(&[run.name("url")])}).to_string();
        let draft = run
            .draft(account.signer(), &url, payload)?
            .with("url", variant.as_str());
        run.check(refused(
            &run.post_signed(&url, &draft.sign(&account.key))?,
            "unauthorized",
            &format!("url {variant}"),
        ));
        Ok(())
    });
    Ok(())
}

fn c8555_6_4_1_01(run: &Run) -> Judgement {
    let account = run.new_account(Key::p256())?;
    let url = run.url("newOrder")?;
    let payload = || json!({"identifiers": identifiers(&[run.name("url")])}).to_string();
    run.each([json!(1), json!([url]), Value::Null], |wrong| {
        let draft = run.draft(account.signer(), &url, payload())?.with("url", wrong.clone());
        run.check(refused(
            &run.post_signed(&url, &draft.sign(&account.key))?,
            "",
            &format!("url {wrong}"),
        ));
        Ok(())
    });
    let draft = run.draft(account.signer(), &url, payload())?.without("url");
    let mut body = draft.sign(&account.key).json();
    body["header"] = json!({"url": url});
    run.check(refused(
        &run.post_body(&url, body.to_string())?,
        "",
        "url only in the unprotected header",
    ));
    no_orders(run, &account)
}
