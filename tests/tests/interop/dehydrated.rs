//! dehydrated: a webroot and a dns-01 hook.

use std::process::Command;

use sigillo_tests::place::Place;
use sigillo_tests::programs::available;

fn dehydrated(place: &Place, settings: &str, arguments: &[&str]) -> Command {
    let config = place.folder().join("dehydrated.conf");
    std::fs::write(
        &config,
        format!(
            "CA=\"{}\"\nBASEDIR=\"{base}\"\nCONTACT_EMAIL=a@example.test\n\
         CURL_OPTS=\"--cacert {}\"\nIP_VERSION=4\n{settings}\n",
            place.directory,
            place.trust.display(),
            base = place.folder().display(),
        ),
    )
    .unwrap();
    let mut command = place.client("dehydrated");
    command.arg("--config").arg(config).args(arguments);
    command
}

#[test]
fn dehydrated_issues_renews_and_revokes_over_http01() {
    if !available(&["dehydrated"]) {
        return;
    }
    let place = Place::open();
    let webroot = place.webroot();
    let settings = format!("WELLKNOWN=\"{}\"\nKEY_ALGO=rsa", webroot.challenges().display());
    let call = |arguments: &[&str]| place.succeed(&mut dehydrated(&place, &settings, arguments));
    call(&["--register", "--accept-terms"]);
    call(&["--cron", "--domain", "dehydrated.test www.dehydrated.test"]);
    let chain = place.path("certs/dehydrated.test/fullchain.pem");
    let first = place.good(&[&chain]);
    call(&["--cron", "--force", "--domain", "dehydrated.test www.dehydrated.test"]);
    assert_ne!(place.good(&[&chain]), first, "a renewal is another certificate");
    let kept = place.path("dehydrated.pem");
    std::fs::copy(&chain, &kept).unwrap();
    call(&["--revoke", &place.path("certs/dehydrated.test/cert.pem")]);
    // dehydrated sends no reason.
    place.revoked(&[&kept], "unspecified");
}

#[test]
fn dehydrated_proves_over_dns01_with_a_hook() {
    if !available(&["dehydrated"]) {
        return;
    }
    let place = Place::open();
    let texts = place.dns().texts().display().to_string();
    // dehydrated calls it with: STEP DOMAIN TOKEN_FILE TOKEN_VALUE
    let hook = place.script(
        "hook.sh",
        &format!(
            "#!/bin/sh\ncase $1 in\ndeploy_challenge) printf '%s\\n' \"$4\" >> '{texts}/'_acme-challenge.$2 ;;\n\
         clean_challenge) rm -f '{texts}/'_acme-challenge.$2 ;;\nesac\n"
        ),
    );
    let settings = format!("CHALLENGETYPE=dns-01\nHOOK=\"{hook}\"\nKEY_ALGO=secp384r1");
    let call = |arguments: &[&str]| place.succeed(&mut dehydrated(&place, &settings, arguments));
    call(&["--register", "--accept-terms"]);
    call(&["--cron", "--domain", "*.hook.test hook.test", "--alias", "hook"]);
    place.good(&[&place.path("certs/hook/fullchain.pem")]);
}
