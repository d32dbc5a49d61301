//! certbot: http-01 of its own, dns-01 by hook, external account binding.

use std::process::Command;

use sigillo_tests::daemon::Options;
use sigillo_tests::place::Place;
use sigillo_tests::programs::available;

fn certbot(place: &Place, program: &str, arguments: &[&str]) -> Command {
    let mut command = place.client(program);
    command.args(["--config-dir", &place.path("etc"), "--work-dir", &place.path("work")]);
    command.args(["--logs-dir", &place.path("log"), "--server", &place.directory]);
    command.args(["--non-interactive", "--no-random-sleep-on-renew"]);
    command.args(arguments);
    command
}

fn certbot_journey(program: &str) {
    let place = Place::open();
    let port = place.http01_port.to_string();
    let live = place.path("etc/live/certbot.test/fullchain.pem");
    place.succeed(&mut certbot(
        &place,
        program,
        &[
            "certonly",
            "--standalone",
            "--http-01-port",
            &port,
            "--agree-tos",
            "--email",
            "a@example.test",
            "--no-eff-email",
            "-d",
            "certbot.test",
            "-d",
            "www.certbot.test",
        ],
    ));
    let first = place.good(&[&live]);
    place.succeed(&mut certbot(&place, program, &["renew", "--force-renewal"]));
    let second = place.good(&[&live]);
    assert_ne!(first, second, "a renewal is another certificate");
    let kept = place.path("certbot.pem");
    std::fs::copy(&live, &kept).unwrap();
    place.succeed(&mut certbot(
        &place,
        program,
        &[
            "revoke",
            "--cert-path",
            &live,
            "--reason",
            "superseded",
            "--no-delete-after-revoke",
        ],
    ));
    place.revoked(&[&kept], "superseded");
}

#[test]
fn certbot_issues_renews_and_revokes_over_http01() {
    if available(&["certbot"]) {
        certbot_journey("certbot");
    }
}

#[test]
fn current_certbot_issues_renews_and_revokes_over_http01() {
    // The CI puts the newest certbot from PyPI beside Debian's under this name.
    if available(&["certbot-current"]) {
        certbot_journey("certbot-current");
    }
}

#[test]
fn certbot_proves_a_wildcard_over_dns01_and_revokes_with_the_certificate_key() {
    if !available(&["certbot"]) {
        return;
    }
    let place = Place::open();
    let texts = place.dns().texts().display().to_string();
    let put = place.script(
        "put.sh",
        &format!("#!/bin/sh\nprintf '%s\\n' \"$CERTBOT_VALIDATION\" >> '{texts}/'_acme-challenge.$CERTBOT_DOMAIN\n"),
    );
    let take = place.script(
        "take.sh",
        &format!("#!/bin/sh\nrm -f '{texts}/'_acme-challenge.$CERTBOT_DOMAIN\n"),
    );
    place.succeed(&mut certbot(
        &place,
        "certbot",
        &[
            "certonly",
            "--manual",
            "--preferred-challenges",
            "dns",
            "--manual-auth-hook",
            &put,
            "--manual-cleanup-hook",
            &take,
            "--agree-tos",
            "--register-unsafely-without-email",
            "-d",
            "*.wild.test",
            "-d",
            "wild.test",
        ],
    ));
    let live = place.path("etc/live/wild.test/fullchain.pem");
    place.good(&[&live]);
    let kept = place.path("wild.pem");
    std::fs::copy(&live, &kept).unwrap();
    place.succeed(&mut certbot(
        &place,
        "certbot",
        &[
            "revoke",
            "--cert-path",
            &live,
            "--key-path",
            &place.path("etc/live/wild.test/privkey.pem"),
            "--reason",
            "keycompromise",
            "--no-delete-after-revoke",
        ],
    ));
    place.revoked(&[&kept], "keyCompromise");
}

#[test]
fn certbot_binds_an_external_account() {
    if !available(&["certbot"]) {
        return;
    }
    let place = Place::open_with(Options::default().set("acme.eab_required=true"));
    let Some(daemon) = place.daemon() else { return };
    let port = place.http01_port.to_string();
    let issue = [
        "certonly",
        "--standalone",
        "--http-01-port",
        &port,
        "--agree-tos",
        "--register-unsafely-without-email",
        "-d",
        "bound.test",
    ];
    let unbound = sigillo_tests::process::run(
        &mut certbot(&place, "certbot", &issue),
        sigillo_tests::place::CLIENT_WITHIN,
    );
    assert!(
        !unbound.status.success(),
        "an account without binding was let in: {unbound}"
    );
    let pair = daemon.admin_json(&["eab", "create"]);
    let (kid, hmac) = (pair["kid"].as_str().unwrap(), pair["hmac"].as_str().unwrap());
    let bound: Vec<&str> = issue
        .into_iter()
        .chain(["--eab-kid", kid, "--eab-hmac-key", hmac])
        .collect();
    place.succeed(&mut certbot(&place, "certbot", &bound));
    place.good(&[&place.path("etc/live/bound.test/fullchain.pem")]);
}
