//! Short-term certificates that are renewed automatically (RFC 8739): how they roll on, and what ends them.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sigillo_tests::acme::{Acme, request};
use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::http::Response;
use sigillo_tests::process::eventually;
use sigillo_tests::random::Random;
use sigillo_tests::webroot::Webroot;
use x509_parser::time::ASN1Time;

use super::expect::{refused, status};

/// How long to rest between two looks at a certificate.
const LOOK: Duration = Duration::from_millis(100);
/// How long something may take to be noticed that happens with the next renewal.
const SOON: Duration = Duration::from_secs(60);

/// A daemon that takes lifetimes of seconds.
pub fn quick() -> Options {
    Options::default().set("acme.auto_renewal.min_lifetime=2s")
}

/// Writes a moment, in seconds from now, as RFC 3339 wants it.
pub fn from_now(seconds: i64) -> String {
    let time = ASN1Time::from_timestamp(ASN1Time::now().timestamp() + seconds).expect("a time");
    let time = time.to_datetime();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// An order that is renewed.
pub struct Star {
    /// Its URL.
    pub order: String,
    /// The order as it was after it was finalized.
    pub object: Value,
    /// Where its certificate is.
    pub url: String,
}

impl Star {
    /// Returns the order's id.
    pub fn id(&self) -> &str {
        self.order.rsplit('/').next().expect("an id")
    }
}

/// Orders, proves and finalizes.
pub fn obtain(acme: &Acme, name: &str, auto_renewal: Value, webroot: &Webroot) -> Star {
    let (order, placed) = acme
        .new_order_with(&[name], json!({"auto-renewal": auto_renewal}))
        .unwrap();
    acme.prove(&placed, webroot).unwrap();
    acme.wait(&order, "pending").unwrap();
    status(&acme.finalize(&placed, &request(&[name]).0).unwrap(), 200);
    let object = acme.wait(&order, "processing").unwrap();
    let url = object["star-certificate"].as_str().unwrap_or_default().to_owned();
    assert!(!url.is_empty(), "{object}");
    Star { order, object, url }
}

/// A certificate as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub serial: String,
    pub not_before: i64,
    pub not_after: i64,
}

/// Reads the leaf of an answer, and holds the answer's fields against it.
#[track_caller]
pub fn leaf(answer: &Response) -> Seen {
    status(answer, 200);
    let block = pem::parse_many(answer.text()).expect("a chain").remove(0);
    let (_, certificate) = x509_parser::parse_x509_certificate(block.contents()).expect("a certificate");
    let validity = certificate.validity();
    let told = |field| http_date(answer.header(field).unwrap_or_else(|| panic!("no {field}")));
    assert_eq!(told("cert-not-before"), validity.not_before.timestamp());
    assert_eq!(told("cert-not-after"), validity.not_after.timestamp());
    Seen {
        serial: certificate.raw_serial_as_string(),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    }
}

/// Reads `Tue, 15 Nov 1994 08:12:31 GMT` as seconds since 1970.
pub fn http_date(text: &str) -> i64 {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let parts: Vec<&str> = text.split(' ').collect();
    assert!(parts.len() == 6 && parts[5] == "GMT" && parts[1].len() == 2, "{text}");
    let month = MONTHS.iter().position(|month| *month == parts[2]).expect("a month") + 1;
    let digits = format!("{}{month:02}{}{}Z", parts[3], parts[1], parts[4].replace(':', ""));
    let time = x509_parser::der_parser::asn1_rs::GeneralizedTime::from_bytes(digits.as_bytes()).expect("a time");
    ASN1Time::from(time.utc_datetime().expect("a date")).timestamp()
}

/// Waits for another certificate than the last one.
#[track_caller]
fn next(acme: &Acme, url: &str, last: &Seen) -> Seen {
    eventually("the certificate is replaced", SOON, || {
        Some(leaf(&acme.read(url).unwrap())).filter(|seen| seen.serial != last.serial)
    })
}

fn now_milliseconds() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[test]
fn each_certificate_is_replaced_by_half_of_its_life_until_the_order_is_canceled() {
    const LIFETIME: i64 = 20;
    let daemon = Daemon::start_with(quick());
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let offered = &acme.directory["meta"]["auto-renewal"];
    assert_eq!(offered["min-lifetime"], 2, "{offered}");
    assert!(offered["max-duration"].as_u64().unwrap() > 86_400, "{offered}");

    let end = from_now(3600);
    let asked = json!({"end-date": end, "lifetime": LIFETIME, "lifetime-adjust": 4});
    let star = obtain(&acme, "rolls.test", asked.clone(), &webroot);
    assert_eq!(star.object["auto-renewal"], asked);
    assert_eq!(star.object["status"], "valid");
    assert_eq!(star.object["expires"], end);
    assert_eq!(star.object.get("certificate"), None, "star-certificate takes its place");

    let mut seen = vec![leaf(&acme.read(&star.url).unwrap())];
    let start = seen[0].not_before;
    while seen.len() < 3 {
        let last = seen.last().unwrap().clone();
        sleep(LOOK);
        let found = leaf(&acme.read(&star.url).unwrap());
        let now = now_milliseconds();
        let half = (last.not_before + last.not_after + 1) * 500;
        if found.serial == last.serial {
            assert!(now < half, "{last:?} is still there at {now}");
            continue;
        }
        assert!(
            found.not_before >= start && found.not_before * 1000 <= now,
            "{found:?} at {now}"
        );
        assert!(found.not_after - found.not_before < LIFETIME + 4, "{found:?}");
        seen.push(found);
    }
    assert_eq!(
        seen[0].not_after - seen[0].not_before,
        LIFETIME - 1,
        "nothing is dated before the start"
    );
    assert_eq!(seen[1].not_after - seen[1].not_before, LIFETIME + 3);

    let canceled = acme.post(&star.order, br#"{"status":"canceled"}"#).unwrap();
    status(&canceled, 200);
    let order = canceled.json();
    assert_eq!(order["status"], "canceled");
    assert!(order["expires"].is_string(), "{order}");
    assert_eq!(acme.read(&star.order).unwrap().json()["status"], "canceled");
    refused(&acme.read(&star.url).unwrap(), 403, "autoRenewalCanceled");
    let again = acme.post(&star.order, br#"{"status":"canceled"}"#).unwrap();
    refused(&again, 400, "autoRenewalCancellationInvalid");

    let count = || {
        daemon
            .admin_json(&["certs", "list", "--name", "rolls.test"])
            .as_array()
            .unwrap()
            .len()
    };
    let made = count();
    assert_eq!(made, 3);
    sleep(Duration::from_secs(LIFETIME.unsigned_abs() / 2 + 2));
    assert_eq!(count(), made, "nothing is issued after the cancellation");
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
    daemon.admin(&["audit", "verify"]).succeeded();
}

#[test]
fn nothing_outlives_the_end_date_and_then_there_is_nothing_more() {
    let daemon = Daemon::start_with(quick());
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let asked = json!({"end-date": from_now(9), "lifetime": 4});
    // A second may have begun in between.
    let end = ASN1Time::now().timestamp() + 9;
    let star = obtain(&acme, "ends.test", asked, &webroot);
    let mut seen = BTreeSet::new();
    let answer = eventually("the order ends", SOON, || {
        let answer = acme.read(&star.url).unwrap();
        if answer.status != 200 {
            return Some(answer);
        }
        let found = leaf(&answer);
        assert!(found.not_after <= end, "{found:?} outlives {end}");
        seen.insert(found.serial);
        None
    });
    refused(&answer, 403, "autoRenewalExpired");
    assert!(ASN1Time::now().timestamp() >= end - 1, "it ended too early");
    assert!(seen.len() > 2, "{seen:?}");
    assert_eq!(
        acme.read(&star.order).unwrap().json()["status"],
        "valid",
        "as the text says"
    );
}

#[test]
fn renewal_goes_on_after_a_kill_and_no_serial_is_used_twice() {
    const ROUNDS: usize = 6;
    let mut random = Random::announced();
    let mut daemon = Daemon::start_with(quick());
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let names: Vec<String> = (0..4).map(|number| format!("n{number}.killed.test")).collect();
    let asked = json!({"end-date": from_now(3600), "lifetime": 4});
    let stars: Vec<Star> = names
        .iter()
        .map(|name| obtain(&acme, name, asked.clone(), &webroot))
        .collect();
    for _ in 0..ROUNDS {
        sleep(Duration::from_millis(500 + random.below(2_000)));
        daemon.kill9();
        daemon.serve();
        for star in &stars {
            let before = eventually("there is a certificate again", SOON, || {
                let answer = acme.read(&star.url).unwrap();
                (answer.status == 200).then(|| leaf(&answer))
            });
            assert_eq!(acme.read(&star.order).unwrap().json()["status"], "valid");
            next(&acme, &star.url, &before);
        }
    }
    let listed = daemon.admin_json(&["certs", "list"]);
    let listed = listed.as_array().unwrap();
    let serials: BTreeSet<&str> = listed.iter().map(|one| one["serial"].as_str().unwrap()).collect();
    assert_eq!(serials.len(), listed.len());
    assert!(listed.len() > ROUNDS * stars.len(), "{}", listed.len());
    let intended = daemon.admin_json(&["certs", "list", "--state", "intended"]);
    assert!(
        intended.as_array().unwrap().len() <= stars.len(),
        "what a kill interrupted is settled: {intended}"
    );
    daemon.admin(&["audit", "verify"]).succeeded();
}

#[test]
fn a_standstill_longer_than_the_life_is_made_up_for() {
    let mut daemon = Daemon::start_with(quick());
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let star = obtain(
        &acme,
        "stands.test",
        json!({"end-date": from_now(600), "lifetime": 3}),
        &webroot,
    );
    let first = leaf(&acme.read(&star.url).unwrap());
    assert!(daemon.stop().success());
    sleep(Duration::from_secs(4));
    daemon.serve();
    let second = next_or_late(&acme, &star.url, &first);
    assert!(second.not_before > first.not_after, "{first:?} {second:?}");
}

/// As [`next`], where the certificate has ended and its renewal is late.
fn next_or_late(acme: &Acme, url: &str, last: &Seen) -> Seen {
    eventually("the certificate is renewed", SOON, || {
        let answer = acme.read(url).unwrap();
        if answer.status == 503 {
            return None;
        }
        Some(leaf(&answer)).filter(|seen| seen.serial != last.serial)
    })
}

#[test]
fn caa_records_hold_up_each_renewal_and_only_as_long_as_they_forbid_it() {
    let daemon = Daemon::start_with(quick().set("acme.caa_identities=[\"ca.example\"]"));
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let star = obtain(
        &acme,
        "caa.test",
        json!({"end-date": from_now(3600), "lifetime": 4}),
        &webroot,
    );
    let shown = || daemon.admin_json(&["orders", "show", star.id()]);
    daemon.dns.add_caa("caa.test", 0, "issue", ";");
    let trouble = eventually("the renewal is put off", SOON, || {
        let shown = shown();
        shown["auto_renewal"]["trouble"].as_str().map(str::to_owned)
    });
    assert!(trouble.contains("caa"), "{trouble}");
    let shown_then = shown();
    assert_eq!(shown_then["status"], "valid", "{shown_then}");
    assert!(
        shown_then["auto_renewal"]["failures"].as_u64() > Some(0),
        "{shown_then}"
    );
    daemon.dns.remove("caa.test");
    eventually("it goes on", SOON, || {
        let answer = acme.read(&star.url).unwrap();
        (answer.status == 200 && shown()["auto_renewal"]["failures"] == 0).then_some(())
    });
}

#[test]
fn what_an_order_rests_on_can_be_taken_from_it() {
    let daemon = Daemon::start_with(quick());
    let webroot = Webroot::serve(daemon.http01_port);
    let status_of = |star: &Star| daemon.admin_json(&["orders", "show", star.id()])["status"].clone();
    let asked = || json!({"end-date": from_now(3600), "lifetime": 6});
    let ends = |star: &Star| {
        eventually("the order is canceled", SOON, || {
            (status_of(star) == "canceled").then_some(())
        });
    };

    let acme = daemon.register().unwrap();
    let given_up = obtain(&acme, "given-up.test", asked(), &webroot);
    let authorization = given_up.object["authorizations"][0].as_str().unwrap();
    status(&acme.post(authorization, br#"{"status":"deactivated"}"#).unwrap(), 200);
    ends(&given_up);
    let order = acme.read(&given_up.order).unwrap().json();
    assert!(
        order["error"]["detail"]
            .as_str()
            .unwrap_or_default()
            .contains("authorization"),
        "{order}"
    );
    refused(&acme.read(&given_up.url).unwrap(), 403, "autoRenewalCanceled");

    let blocked = obtain(&acme, "blocked.test", asked(), &webroot);
    let serial = leaf(&acme.read(&blocked.url).unwrap()).serial;
    daemon
        .admin(&["certs", "revoke", &serial, "--reason", "keyCompromise"])
        .succeeded();
    assert_eq!(status_of(&blocked), "canceled", "the revocation itself ends it");
    refused(&acme.read(&blocked.url).unwrap(), 403, "autoRenewalCanceled");

    let ended = obtain(&acme, "ended.test", asked(), &webroot);
    daemon.admin(&["orders", "cancel", ended.id()]).succeeded();
    assert_eq!(status_of(&ended), "canceled");
    daemon.admin(&["orders", "cancel", ended.id()]).ended_with(1);

    let closed = obtain(&acme, "closed.test", asked(), &webroot);
    status(&acme.post(&acme.kid, br#"{"status":"deactivated"}"#).unwrap(), 200);
    let deadline = Instant::now() + SOON;
    ends(&closed);
    assert!(Instant::now() < deadline);
    let made = daemon.admin_json(&["certs", "list", "--name", "closed.test"]);
    assert_eq!(
        made.as_array().unwrap().len(),
        1,
        "none was made for a closed account: {made}"
    );
}
