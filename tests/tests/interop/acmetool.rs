//! acmetool: a state folder that it reconciles with what is wanted.

use std::process::Command;

use sigillo_tests::place::{Place, serial_of};
use sigillo_tests::programs::available;

fn acmetool(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.client("acmetool");
    command.args([
        "--batch",
        "--hooks",
        &place.path("hooks"),
        "--state",
        &place.path("state"),
    ]);
    command.args(arguments);
    command
}

#[test]
fn acmetool_issues_over_http01() {
    if !available(&["acmetool"]) {
        return;
    }
    let place = Place::open();
    let webroot = place.webroot();
    for folder in ["hooks", "state/conf", "state/desired"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
    }
    // Its self-test would ask port 80.
    let target = format!(
        "request:\n  provider: {}\n  key:\n    type: ecdsa\n  challenge:\n    http-self-test: false\n    webroot-paths:\n    - {}\n",
        place.directory,
        webroot.challenges().display()
    );
    std::fs::write(place.path("state/conf/target"), target).unwrap();
    std::fs::write(place.path("state/conf/responses"), "acme-enter-email: a@example.test\n").unwrap();
    place.succeed(&mut acmetool(&place, &["want", "acmetool.test", "www.acmetool.test"]));
    let chain = place.path("state/live/acmetool.test/fullchain");
    place.good(&[&chain]);
    // Its own `revoke` marks the certificate in the state folder and sends nothing, so the operator revokes.
    if let Some(daemon) = place.daemon() {
        let serial = serial_of(&chain);
        daemon
            .admin(&["certs", "revoke", &serial, "--reason", "superseded"])
            .succeeded();
        place.revoked(&[&chain], "superseded");
    }
}
