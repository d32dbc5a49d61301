//! Short-term certificates that are renewed automatically (RFC 8739): what is refused, and who may fetch them.

use serde_json::{Value, json};
use sigillo_tests::acme::{Acme, base64url, request};
use sigillo_tests::daemon::{Daemon, Options};
use sigillo_tests::webroot::Webroot;
use x509_parser::time::ASN1Time;

use super::expect::{refused, status};
use super::star::{from_now, http_date, leaf, obtain, quick};

#[track_caller]
fn refuses(acme: &Acme, members: Value, code: u16, kind: &str) {
    let answer = acme.ask_for_order(&["no.test"], members).unwrap();
    refused(&answer, code, kind);
}

#[test]
fn wishes_that_cannot_be_met_are_refused() {
    let daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    let (soon, late) = (from_now(86_400), from_now(400 * 86_400));
    let wish = |end: &str, lifetime: Value| json!({"end-date": end, "lifetime": lifetime});
    for auto_renewal in [
        wish(&from_now(-10), json!(7200)),
        wish(&late, json!(7200)),
        wish(&soon, json!(3599)),
        wish(&soon, json!(0)),
        wish(&soon, json!(-7200)),
        wish(&soon, json!("7200")),
        wish(&soon, json!(7200.5)),
        wish(&soon, json!(100 * 86_400)),
        wish("tomorrow", json!(7200)),
        json!({"lifetime": 7200}),
        json!({"end-date": soon}),
        json!({}),
        json!([]),
        json!({"end-date": soon, "lifetime": 7200, "lifetime-adjust": -1}),
        json!({"end-date": soon, "lifetime": 7200, "start-date": late}),
    ] {
        refuses(&acme, json!({"auto-renewal": auto_renewal}), 400, "malformed");
    }
    let sound = wish(&soon, json!(7200));
    for date in ["notBefore", "notAfter"] {
        let mut members = json!({"auto-renewal": sound});
        members[date] = json!(from_now(3600));
        refuses(&acme, members, 400, "malformed");
    }
    let long = json!({"auto-renewal": wish(&from_now(30 * 86_400), json!(7 * 86_400)), "profile": "shortlived"});
    refuses(&acme, long, 400, "invalidProfile");
    let pages = acme.read(acme.read(&acme.kid).unwrap().json()["orders"].as_str().unwrap());
    assert_eq!(pages.unwrap().json()["orders"], json!([]), "nothing was made");
    let (_, order) = acme
        .new_order_with(&["yes.test"], json!({"auto-renewal": sound}))
        .unwrap();
    assert_eq!(order["auto-renewal"], sound);
}

#[test]
fn only_a_valid_order_that_is_renewed_is_canceled() {
    let daemon = Daemon::start_with(quick());
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let cancel = |url: &str| acme.post(url, br#"{"status":"canceled"}"#).unwrap();
    let asked = json!({"auto-renewal": {"end-date": from_now(600), "lifetime": 60}});
    let (pending, _) = acme.new_order_with(&["pending.test"], asked).unwrap();
    refused(&cancel(&pending), 400, "autoRenewalCancellationInvalid");
    assert_eq!(acme.read(&pending).unwrap().json()["status"], "pending");
    let plain = acme.obtain(&["plain.test"], &webroot).unwrap();
    refused(&cancel(&plain.order), 400, "autoRenewalCancellationInvalid");
    assert_eq!(acme.read(&plain.order).unwrap().json()["status"], "valid");

    let star = obtain(
        &acme,
        "star.test",
        json!({"end-date": from_now(600), "lifetime": 60}),
        &webroot,
    );
    for update in [
        r#"{"status":"valid"}"#,
        r#"{"status":"deactivated"}"#,
        "{}",
        r#"{"status":1}"#,
    ] {
        refused(&acme.post(&star.order, update.as_bytes()).unwrap(), 400, "malformed");
    }
    let stranger = daemon.register().unwrap();
    status(&stranger.post(&star.order, br#"{"status":"canceled"}"#).unwrap(), 404);
    status(&stranger.read(&star.url).unwrap(), 404);
    leaf(&acme.read(&star.url).unwrap());
}

#[test]
fn a_renewed_certificate_is_not_revoked_by_its_holder() {
    let daemon = Daemon::start_with(quick());
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let star = obtain(
        &acme,
        "kept.test",
        json!({"end-date": from_now(600), "lifetime": 60}),
        &webroot,
    );
    let chain = acme.read(&star.url).unwrap();
    let der = pem::parse_many(chain.text()).unwrap().remove(0).into_contents();
    refused(&acme.revoke(&der, 4).unwrap(), 403, "autoRenewalRevocationNotSupported");
    let stranger = daemon.register().unwrap();
    refused(&stranger.revoke(&der, 4).unwrap(), 403, "unauthorized");
    assert_eq!(leaf(&acme.read(&star.url).unwrap()), leaf(&chain));
}

#[test]
fn unsigned_requests_get_it_only_where_both_sides_allow_that() {
    let daemon = Daemon::start_with(quick());
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    assert_eq!(acme.directory["meta"]["auto-renewal"]["allow-certificate-get"], true);
    let asked = json!({"end-date": from_now(600), "lifetime": 60, "allow-certificate-get": true});
    let open = obtain(&acme, "open.test", asked, &webroot);
    assert_eq!(open.object["auto-renewal"]["allow-certificate-get"], true);
    let got = acme.http.get(&open.url).unwrap();
    let seen = leaf(&got);
    assert_eq!(got.header("content-type"), Some("application/pem-certificate-chain"));
    let cache = got.header("cache-control").unwrap();
    let age: i64 = cache
        .split(", ")
        .find_map(|part| part.strip_prefix("max-age="))
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or_else(|| panic!("{cache}"));
    let now = ASN1Time::now().timestamp();
    assert!(age > 0 && now + age <= seen.not_after, "{cache}: {seen:?}");
    assert!(http_date(got.header("expires").unwrap()) <= seen.not_after);
    let head = acme.http.request("HEAD", &open.url, &[], b"").unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        leaf(&acme.read(&open.url).unwrap()),
        seen,
        "signed requests work as well"
    );
    let der = [("Accept", "application/pkix-cert")];
    let single = acme.http.request("GET", &open.url, &der, b"").unwrap();
    assert_eq!(single.header("content-type"), Some("application/pkix-cert"));

    let closed = obtain(
        &acme,
        "closed.test",
        json!({"end-date": from_now(600), "lifetime": 60}),
        &webroot,
    );
    assert_eq!(closed.object["auto-renewal"].get("allow-certificate-get"), None);
    let (id, other) = (closed.id(), base64url([7; 16]));
    for url in [
        closed.url.clone(),
        closed.url.replace(id, &other),
        closed.url.replace(id, "x"),
    ] {
        let answer = acme.http.get(&url).unwrap();
        refused(&answer, 405, "malformed");
        assert_eq!(
            answer.header("allow"),
            Some("POST"),
            "the same whether there is such an order or not"
        );
    }

    status(&acme.post(&open.order, br#"{"status":"canceled"}"#).unwrap(), 200);
    refused(&acme.http.get(&open.url).unwrap(), 403, "autoRenewalCanceled");
}

#[test]
fn the_server_can_keep_unsigned_requests_out_or_renew_nothing_at_all() {
    let daemon = Daemon::start_with(quick().set("acme.auto_renewal.allow_certificate_get=false"));
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    assert_eq!(
        acme.directory["meta"]["auto-renewal"].get("allow-certificate-get"),
        None
    );
    let asked = json!({"end-date": from_now(600), "lifetime": 60, "allow-certificate-get": true});
    let star = obtain(&acme, "open.test", asked, &webroot);
    assert_eq!(
        star.object["auto-renewal"].get("allow-certificate-get"),
        None,
        "it is not reflected"
    );
    refused(&acme.http.get(&star.url).unwrap(), 405, "malformed");

    let daemon = Daemon::start_with(Options::default().set("acme.auto_renewal.enabled=false"));
    let acme = daemon.register().unwrap();
    assert_eq!(acme.directory["meta"].get("auto-renewal"), None);
    let asked = json!({"auto-renewal": {"end-date": from_now(86_400), "lifetime": 7200}});
    refuses(&acme, asked, 400, "malformed");
}

#[test]
fn a_start_to_come_is_kept_to() {
    let daemon = Daemon::start_with(quick());
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let start = from_now(3600);
    let asked = json!({"start-date": start, "end-date": from_now(7200), "lifetime": 600, "lifetime-adjust": 300});
    let star = obtain(&acme, "start.test", asked, &webroot);
    assert_eq!(star.object["auto-renewal"]["start-date"], start);
    let first = leaf(&acme.read(&star.url).unwrap());
    assert!(
        (3590..=3600).contains(&(first.not_before - ASN1Time::now().timestamp())),
        "{first:?}"
    );
    assert_eq!(first.not_after - first.not_before, 599);

    let far = json!({"start-date": from_now(10 * 86_400), "end-date": from_now(20 * 86_400), "lifetime": 86_400});
    let star = obtain(&acme, "far.test", far, &webroot);
    assert_eq!(star.object["status"], "valid");
    refused(&acme.read(&star.url).unwrap(), 404, "malformed");
    status(&acme.post(&star.order, br#"{"status":"canceled"}"#).unwrap(), 200);
    refused(&acme.read(&star.url).unwrap(), 403, "autoRenewalCanceled");
}

#[test]
fn an_account_has_only_so_many_of_them_at_a_time() {
    let daemon = Daemon::start_with(quick().set("acme.auto_renewal.orders_per_account=2"));
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let asked = || json!({"end-date": from_now(600), "lifetime": 60});
    // Placed while there was room, and finalized when there is none.
    let (late, late_order) = acme
        .new_order_with(&["late.test"], json!({"auto-renewal": asked()}))
        .unwrap();
    acme.prove(&late_order, &webroot).unwrap();
    acme.wait(&late, "pending").unwrap();
    let first = obtain(&acme, "one.test", asked(), &webroot);
    obtain(&acme, "two.test", asked(), &webroot);
    refuses(&acme, json!({"auto-renewal": asked()}), 429, "rateLimited");
    let csr = request(&["late.test"]).0;
    refused(&acme.finalize(&late_order, &csr).unwrap(), 429, "rateLimited");
    status(&acme.post(&first.order, br#"{"status":"canceled"}"#).unwrap(), 200);
    status(&acme.finalize(&late_order, &csr).unwrap(), 200);
    acme.obtain(&["plain.test"], &webroot).unwrap();
}
