//! Renewal information and `replaces` (RFC 9773).

use serde_json::{Value, json};
use sigillo_tests::acme::{Acme, Issued, base64url};
use sigillo_tests::daemon::Daemon;
use sigillo_tests::http::Response;
use sigillo_tests::webroot::Webroot;
use x509_parser::time::ASN1Time;

use super::expect::{refused, status};

fn ask(acme: &Acme, id: &str) -> Response {
    acme.http
        .get(&format!("{}/{id}", acme.url("renewalInfo")))
        .expect("an answer")
}

/// Returns where the suggested window starts and ends, in seconds since 1970.
#[track_caller]
fn window(acme: &Acme, issued: &Issued) -> (i64, i64) {
    let answer = ask(acme, &issued.renewal_id());
    status(&answer, 200);
    let wait: u64 = answer
        .header("retry-after")
        .and_then(|text| text.parse().ok())
        .expect("Retry-After");
    assert!((60..=86_400).contains(&wait), "{wait}");
    let info = answer.json();
    let moment = |member: &str| seconds(&info["suggestedWindow"][member]);
    (moment("start"), moment("end"))
}

/// Reads `2026-01-02T03:04:05Z`.
fn seconds(text: &Value) -> i64 {
    let text = text.as_str().expect("a time");
    let digits: String = text.chars().filter(char::is_ascii_digit).take(14).collect();
    assert!(text.ends_with('Z') && digits.len() == 14, "not RFC 3339 in UTC: {text}");
    let time = x509_parser::der_parser::asn1_rs::GeneralizedTime::from_bytes(format!("{digits}Z").as_bytes());
    ASN1Time::from(time.expect("a time").utc_datetime().expect("a date")).timestamp()
}

fn life(issued: &Issued) -> (i64, i64) {
    let der = issued.leaf_der();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
    let validity = certificate.validity();
    (validity.not_before.timestamp(), validity.not_after.timestamp())
}

#[test]
fn the_window_lies_in_the_last_half_of_the_life() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    for profile in ["default", "shortlived"] {
        let issued = acme
            .obtain_with(&["ari.test"], json!({"profile": profile}), &webroot)
            .unwrap();
        let ((start, end), (not_before, not_after)) = (window(&acme, &issued), life(&issued));
        assert!(start < end && end < not_after, "{profile}");
        assert!(start > not_before + (not_after - not_before) / 2, "{profile}");
    }
}

#[test]
fn the_window_is_past_after_a_revocation_and_when_the_operator_wishes() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let now = || ASN1Time::now().timestamp();

    let wished = acme.obtain(&["wished.test"], &webroot).unwrap();
    daemon.admin(&["certs", "renew-now", &wished.serial()]).succeeded();
    let (start, end) = window(&acme, &wished);
    assert!(start < end && end <= now());

    let revoked = acme.obtain(&["revoked.test"], &webroot).unwrap();
    assert!(window(&acme, &revoked).0 > now());
    status(&acme.revoke(&revoked.leaf_der(), 4).unwrap(), 200);
    let (start, end) = window(&acme, &revoked);
    assert!(start < end && end <= now());
}

#[test]
fn what_is_no_certificate_of_ours_has_no_renewal_information() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let id = acme.obtain(&["known.test"], &webroot).unwrap().renewal_id();
    let (issuer, serial) = id.split_once('.').unwrap();
    for unknown in [
        format!("{issuer}.{}", base64url([0x12; 16])),
        format!("{}.{serial}", base64url([0x12; 20])),
    ] {
        refused(&ask(&acme, &unknown), 404, "malformed");
    }
    for wrong in [
        "nonsense",
        "a.b.c",
        "*.*",
        &format!("{issuer}="),
        &format!("{issuer}=.{serial}"),
    ] {
        refused(&ask(&acme, wrong), 400, "malformed");
    }
}

#[test]
fn a_certificate_is_replaced_by_one_order_alone() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let first = acme.obtain(&["replaced.test"], &webroot).unwrap();
    let members = json!({"replaces": first.renewal_id()});
    let (_, order) = acme.new_order_with(&["replaced.test"], members.clone()).unwrap();
    assert_eq!(order["replaces"], members["replaces"], "the order shows it");
    let twice = acme.ask_for_order(&["replaced.test"], members.clone()).unwrap();
    refused(&twice, 409, "alreadyReplaced");
    // The client is meant to go on without it.
    acme.obtain(&["replaced.test"], &webroot).unwrap();

    let second = acme.obtain(&["mine.test"], &webroot).unwrap();
    let members = json!({"replaces": second.renewal_id()});
    let elsewhere = acme.ask_for_order(&["other.test"], members.clone()).unwrap();
    refused(&elsewhere, 400, "malformed");
    let stranger = daemon.register().unwrap();
    let stolen = stranger.ask_for_order(&["mine.test"], members.clone()).unwrap();
    assert!((400..500).contains(&stolen.status), "{}", stolen.text());
    acme.obtain_with(&["mine.test"], members, &webroot).unwrap();
}

#[test]
fn a_failed_replacement_leaves_the_certificate_to_be_replaced() {
    let daemon = Daemon::start_with(sigillo_tests::daemon::Options::default().set("acme.reuse_authorizations=false"));
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let first = acme.obtain(&["again.test"], &webroot).unwrap();
    let members = json!({"replaces": first.renewal_id()});
    let (order_url, order) = acme.new_order_with(&["again.test"], members.clone()).unwrap();
    let authorization = order["authorizations"][0].as_str().unwrap();
    status(&acme.post(authorization, br#"{"status":"deactivated"}"#).unwrap(), 200);
    assert_eq!(acme.read(&order_url).unwrap().json()["status"], "invalid");
    acme.obtain_with(&["again.test"], members, &webroot).unwrap();
}
