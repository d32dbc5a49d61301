//! RFC 8739: short-term certificates that are renewed by themselves (STAR).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::base64;
use crate::case::{Case, Complaint, Finding, Judgement, OrFail, ensure, must};
use crate::http::Answer;
use crate::issue::{Order, identifiers};
use crate::keys::Key;
use crate::read::certificate::Certificate;
use crate::read::{pem, time};
use crate::request::Csr;
use crate::suite::{Account, Run, refused};

pub(super) const CASES: &[Case] = &[
    must!(
        c8739_3_2_01,
        "meta.auto-renewal has min-lifetime and max-duration in seconds."
    ),
    must!(
        c8739_3_1_1_01,
        "A STAR order stays valid and has its certificate in star-certificate."
    ),
    must!(c8739_3_1_1_02, "notBefore and notAfter have no place in a STAR order."),
    must!(
        c8739_3_1_2_01,
        "A canceled order ends and its certificate is no longer given out."
    ),
    must!(
        c8739_3_1_2_02,
        "Only valid orders are canceled, and STAR certificates are not revoked."
    ),
    must!(
        c8739_3_3_01,
        "Cert-Not-Before and Cert-Not-After are the certificate's dates."
    ),
    must!(
        c8739_3_4_01,
        "GET works where both sides want it, as long as the certificate lasts."
    ),
];

/// What the target offers.
pub(super) struct Offer {
    pub(super) lifetime_min: i64,
    duration_max: i64,
    pub(super) get: bool,
}

impl Offer {
    pub(super) fn of(run: &Run) -> Judgement<Self> {
        let meta = &run.directory["meta"]["auto-renewal"];
        if meta.is_null() {
            return Err(Finding::NotOffered("meta has no auto-renewal".into()));
        }
        let seconds = |name: &str| {
            let value = meta[name].as_i64().filter(|seconds| *seconds > 0);
            value.ok_or_else(|| Finding::Fail(format!("auto-renewal's {name} is {}", meta[name])))
        };
        let get = &meta["allow-certificate-get"];
        ensure!(get.is_null() || get.is_boolean(), "allow-certificate-get is {get}");
        Ok(Self {
            lifetime_min: seconds("min-lifetime")?,
            duration_max: seconds("max-duration")?,
            get: get == &json!(true),
        })
    }

    /// A lifetime that ends in no case of a run but the one that waits for it, and an order of a few of them.
    fn renewal(&self) -> Value {
        let lifetime = self.lifetime_min.max(3600).min(self.duration_max);
        let duration = (lifetime * 4).min(self.duration_max);
        self.renewal_of(lifetime, Timestamp::now().as_second() + duration)
    }

    pub(super) fn renewal_of(&self, lifetime: i64, end: i64) -> Value {
        json!({"lifetime": lifetime, "end-date": rfc3339(end)})
    }
}

pub(super) fn rfc3339(second: i64) -> String {
    Timestamp::from_second(second).unwrap_or_default().to_string()
}

/// An order that renews itself, with its certificate's URL.
pub(super) struct Star {
    pub(super) order: Order,
    pub(super) url: String,
    pub(super) name: String,
}

/// A ready order with this `auto-renewal`.
fn ready(run: &Run, account: &Account, renewal: &Value) -> Judgement<(String, Order)> {
    let name = run.name("star");
    let payload = json!({"identifiers": identifiers(std::slice::from_ref(&name)), "auto-renewal": renewal});
    Ok((name, run.ready_order_with(account, &payload)?))
}

/// A valid order with this `auto-renewal`.
pub(super) fn issue(run: &Run, account: &Account, renewal: &Value) -> Judgement<Star> {
    let (name, order) = ready(run, account, renewal)?;
    let csr = Csr::of(std::slice::from_ref(&name)).sign(&Key::p256());
    let answer = run.finalize(account, &order, &csr)?;
    if answer.status != 200 {
        return Err(Finding::Blocked(format!("finalize: {}", answer.summary())));
    }
    let order = run.until(account, &order, &["valid"])?;
    let Some(url) = order.object["star-certificate"].as_str().map(str::to_owned) else {
        return Err(Finding::Fail(format!(
            "a valid STAR order without star-certificate: {}",
            order.object
        )));
    };
    Ok(Star { order, url, name })
}

/// The end-entity certificate of an answer.
pub(super) fn leaf(answer: &Answer) -> Judgement<Certificate> {
    ensure!(answer.status == 200, "the STAR certificate: {}", answer.summary());
    let chain = pem::certificates(&answer.body).read_as("the STAR certificate")?;
    let first = chain.first().ok_or_else(|| Finding::Fail("an empty chain".into()))?;
    Certificate::read(first).read_as("the STAR certificate")
}

fn cancel(run: &Run, account: &Account, order: &Order) -> Judgement<Answer> {
    run.post(account, &order.url, &json!({"status": "canceled"}))
}

fn c8739_3_2_01(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    ensure!(
        offer.lifetime_min <= offer.duration_max,
        "min-lifetime {} is more than max-duration {}",
        offer.lifetime_min,
        offer.duration_max
    );
    // What is announced has to be what counts.
    let account = run.account()?;
    let now = Timestamp::now().as_second();
    for (what, renewal) in [
        (
            "a lifetime below min-lifetime",
            offer.renewal_of(
                offer.lifetime_min - 1,
                now + offer.duration_max.min(offer.lifetime_min * 4),
            ),
        ),
        (
            "an end after max-duration",
            offer.renewal_of(offer.lifetime_min.max(3600), now + offer.duration_max + 86_400),
        ),
    ] {
        let payload = json!({"identifiers": identifiers(&[run.name("star")]), "auto-renewal": renewal});
        let answer = run.try_order(account, &payload)?;
        // A server may adjust what is asked for, but not beyond its own bounds.
        if answer.status != 201 {
            refused(&answer, "", what)?;
            continue;
        }
        let shown = &answer.json()?["auto-renewal"];
        let end = time::rfc3339(shown["end-date"].as_str().unwrap_or_default()).read_as("end-date")?;
        ensure!(
            shown["lifetime"]
                .as_i64()
                .is_some_and(|lifetime| lifetime >= offer.lifetime_min)
                && end.as_second() <= Timestamp::now().as_second() + offer.duration_max,
            "{what} was taken as {shown}"
        );
    }
    Ok(())
}

/// Clocks and rounding differ by no more.
const SLACK_SECONDS: i64 = 60;

fn c8739_3_1_1_01(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.account()?;
    let renewal = offer.renewal();
    let payload = json!({"identifiers": identifiers(&[run.name("star")]), "auto-renewal": renewal});
    let created = run.order_with(account, &payload).or_fail()?;
    shows(&created.object, "a new STAR order")?;
    let star = issue(run, account, &renewal).or_fail()?;
    for what in ["a valid STAR order", "the order later"] {
        let order = run.look(account, &star.order)?;
        ensure!(order.status() == "valid", "{what} is {}", order.object);
        shows(&order.object, what)?;
        ensure!(
            order.object["star-certificate"] == star.url.as_str(),
            "star-certificate is now {}",
            order.object["star-certificate"]
        );
        run.expect(order.object["certificate"].is_null(), || {
            format!("{what} has a certificate as well: {}", order.object["certificate"])
        });
        std::thread::sleep(Duration::from_secs(1));
    }
    let answer = run.fetch(account, &star.url)?;
    ensure!(
        answer.media_type() == "application/pem-certificate-chain",
        "its media type is {:?}",
        answer.media_type()
    );
    let leaf = leaf(&answer)?;
    ensure!(
        leaf.dns_names() == [star.name.as_str()],
        "it is for {:?}",
        leaf.dns_names()
    );
    let shown = &star.order.object["auto-renewal"];
    let end = time::rfc3339(shown["end-date"].as_str().unwrap_or_default()).read_as("end-date")?;
    ensure!(
        leaf.not_after <= end,
        "it lasts until {}, the order until {end}",
        leaf.not_after
    );
    let lifetime = shown["lifetime"].as_i64().unwrap_or_default();
    let left = leaf.not_after.as_second() - Timestamp::now().as_second();
    ensure!(
        left <= lifetime + SLACK_SECONDS,
        "it lasts {left} seconds more, the order asks for {lifetime}"
    );
    Ok(())
}

/// The order reflects what is required of `auto-renewal`.
fn shows(order: &Value, what: &str) -> Judgement {
    let shown = &order["auto-renewal"];
    time::rfc3339(shown["end-date"].as_str().unwrap_or_default()).read_as(&format!("end-date of {what}"))?;
    ensure!(
        shown["lifetime"].as_i64().is_some_and(|seconds| seconds > 0),
        "{what} shows auto-renewal {shown}"
    );
    Ok(())
}

fn c8739_3_1_1_02(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.account()?;
    let now = Timestamp::now().as_second();
    run.each(
        [("notBefore", now), ("notAfter", now + 7 * 86_400)],
        |(member, second)| {
            let mut payload = json!({"identifiers": identifiers(&[run.name("star")]), "auto-renewal": offer.renewal()});
            payload[member] = json!(rfc3339(second));
            let answer = run.try_order(account, &payload)?;
            // The text names a type that was never registered; malformed is what it must mean.
            refused(&answer, "malformed|malformedRequest", member)?;
            ensure!(answer.status == 400, "{member}: {}", answer.summary());
            Ok(())
        },
    );
    Ok(())
}

/// The certificate is no longer given out, and the problem says why.
pub(super) fn is_withheld(run: &Run, answer: &Answer, kind: &str, what: &str) -> Judgement {
    ensure!(answer.status == 403, "{what}: {}", answer.summary());
    run.expect(answer.problem() == kind, || {
        format!("{what}: the problem is {:?}, {kind} is recommended", answer.problem())
    });
    Ok(())
}

fn c8739_3_1_2_01(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.account()?;
    let mut renewal = offer.renewal();
    if offer.get {
        renewal["allow-certificate-get"] = json!(true);
    }
    let star = issue(run, account, &renewal)?;
    leaf(&run.fetch(account, &star.url)?)?;
    // Another account cannot.
    refused(
        &cancel(run, run.other_account()?, &star.order)?,
        "",
        "another account cancels",
    )?;
    let answer = cancel(run, account, &star.order)?;
    ensure!(answer.status == 200, "canceling: {}", answer.summary());
    for object in [answer.json()?, run.look(account, &star.order)?.object] {
        ensure!(object["status"] == "canceled", "after canceling the order is {object}");
        time::rfc3339(object["expires"].as_str().unwrap_or_default()).read_as("expires of the canceled order")?;
    }
    run.check(is_withheld(
        run,
        &run.fetch(account, &star.url)?,
        "autoRenewalCanceled",
        "POST-as-GET after canceling",
    ));
    if offer.get {
        is_withheld(run, &run.get(&star.url)?, "autoRenewalCanceled", "GET after canceling")?;
    }
    Ok(())
}

fn c8739_3_1_2_02(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.account()?;
    let invalid = |order: &Order, what: &str| {
        let answer = cancel(run, account, order)?;
        refused(&answer, "autoRenewalCancellationInvalid", what)?;
        ensure!(answer.status == 400, "{what}: {}", answer.summary());
        Ok(())
    };
    let payload = json!({"identifiers": identifiers(&[run.name("star")]), "auto-renewal": offer.renewal()});
    let pending = run.order_with(account, &payload)?;
    let (_, ready) = ready(run, account, &offer.renewal())?;
    run.each([(&pending, "pending"), (&ready, "ready")], |(order, status)| {
        invalid(order, &format!("canceling while {status}"))?;
        let later = run.look(account, order)?;
        ensure!(
            later.status() == status,
            "after that the {status} order is {}",
            later.status()
        );
        Ok(())
    });
    let star = issue(run, account, &offer.renewal())?;
    let leaf_der = leaf(&run.fetch(account, &star.url)?)?.der;
    let payload = json!({"certificate": base64::url(&leaf_der)});
    let answer = run.post(account, &run.url("revokeCert")?, &payload)?;
    refused(
        &answer,
        "autoRenewalRevocationNotSupported",
        "revoking a STAR certificate",
    )?;
    ensure!(
        answer.status == 403,
        "revoking a STAR certificate: {}",
        answer.summary()
    );
    let later = run.look(account, &star.order)?;
    ensure!(later.status() == "valid", "after that its order is {}", later.status());
    leaf(&run.fetch(account, &star.url)?)?;
    let answer = cancel(run, account, &star.order)?;
    ensure!(answer.status == 200, "canceling: {}", answer.summary());
    invalid(&star.order, "canceling again")
}

/// A date header, which the text puts in double quotes and its example does not.
fn date(answer: &Answer, name: &str) -> Judgement<Option<Timestamp>> {
    let Some(value) = answer.header(name) else {
        return Ok(None);
    };
    time::http_date(value.trim_matches('"')).read_as(name).map(Some)
}

fn c8739_3_3_01(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.account()?;
    let mut renewal = offer.renewal();
    if offer.get {
        renewal["allow-certificate-get"] = json!(true);
    }
    let star = issue(run, account, &renewal)?;
    let mut answers = vec![run.fetch(account, &star.url)?];
    if offer.get {
        answers.push(run.get(&star.url)?);
    }
    for answer in answers {
        let leaf = leaf(&answer)?;
        for (name, wanted) in [("cert-not-before", leaf.not_before), ("cert-not-after", leaf.not_after)] {
            match date(&answer, name)? {
                Some(found) => ensure!(found == wanted, "{name} is {found}, in the certificate {wanted}"),
                None => run.warn(format!("{name} is recommended")),
            }
        }
    }
    Ok(())
}

/// Until when a cache may give this answer out, in seconds from now; nothing where it may not keep it.
fn fresh_for(answer: &Answer) -> Judgement<Option<i64>> {
    let control = answer.header("cache-control").unwrap_or_default().to_ascii_lowercase();
    let directives: Vec<&str> = control.split(',').map(str::trim).collect();
    if directives.iter().any(|one| ["no-store", "no-cache"].contains(one)) {
        return Ok(None);
    }
    let seconds = |name: &str| {
        let value = directives
            .iter()
            .find_map(|one| one.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.trim_matches('"').parse::<i64>().ok())
    };
    if let Some(seconds) = seconds("s-maxage").or_else(|| seconds("max-age")) {
        return Ok(Some(seconds));
    }
    match answer.header("expires") {
        Some(text) => Ok(Some(
            time::http_date(text).read_as("Expires")?.as_second() - Timestamp::now().as_second(),
        )),
        None => Err(Finding::Fail("the answer to GET says nothing about caching".into())),
    }
}

fn c8739_3_4_01(run: &Run) -> Judgement {
    let offer = Offer::of(run)?;
    let account = run.account()?;
    let plain = issue(run, account, &offer.renewal())?;
    ensure!(
        plain.order.object["auto-renewal"]["allow-certificate-get"] != json!(true),
        "nobody asked for GET, and the order has {}",
        plain.order.object["auto-renewal"]
    );
    let answer = run.get(&plain.url)?;
    ensure!(
        answer.is_refusal(),
        "GET without having asked for it: {}",
        answer.summary()
    );
    leaf(&run.fetch(account, &plain.url)?)?;
    let mut renewal = offer.renewal();
    renewal["allow-certificate-get"] = json!(true);
    if !offer.get {
        return get_is_not_granted(run, account, &renewal);
    }
    let star = issue(run, account, &renewal)?;
    ensure!(
        star.order.object["auto-renewal"]["allow-certificate-get"] == json!(true),
        "GET was asked for, and the order has {}",
        star.order.object["auto-renewal"]
    );
    let by_get = run.get(&star.url)?;
    let by_post = run.fetch(account, &star.url)?;
    let certificate = leaf(&by_get)?;
    ensure!(
        certificate.der == leaf(&by_post)?.der,
        "GET and POST-as-GET give different certificates"
    );
    refused(
        &run.fetch(run.other_account()?, &star.url)?,
        "",
        "POST-as-GET by another account",
    )?;
    let left = certificate.not_after.as_second() - Timestamp::now().as_second();
    if let Some(fresh) = fresh_for(&by_get)? {
        ensure!(
            fresh <= left + 1,
            "fresh for {fresh} seconds, the certificate lasts {left}"
        );
    }
    Ok(())
}

/// A server that does not offer GET grants none: it refuses the order, or the GET.
fn get_is_not_granted(run: &Run, account: &Account, renewal: &Value) -> Judgement {
    let star = match issue(run, account, renewal) {
        Err(Finding::Blocked(_)) => return Ok(()),
        other => other?,
    };
    let shown = &star.order.object["auto-renewal"]["allow-certificate-get"];
    ensure!(shown != &json!(true), "meta offers no GET, and the order has it");
    let answer = run.get(&star.url)?;
    ensure!(answer.is_refusal(), "meta offers no GET: {}", answer.summary());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_is_read_as_shared_caches_read_it() {
        let answer = |headers: &[(&str, &str)]| Answer {
            status: 200,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            body: Vec::new(),
        };
        let fresh = |text: &str| fresh_for(&answer(&[("Cache-Control", text)])).expect("a Cache-Control");
        assert_eq!(fresh("max-age=60, public"), Some(60));
        assert_eq!(fresh("max-age=60, S-Maxage=5"), Some(5));
        assert_eq!(fresh("no-store"), None);
        let past = answer(&[("Expires", "Mon, 01 Feb 2016 00:00:00 GMT")]);
        assert!(fresh_for(&past).expect("a date").is_some_and(|seconds| seconds < 0));
        assert!(fresh_for(&answer(&[])).is_err());
    }
}
