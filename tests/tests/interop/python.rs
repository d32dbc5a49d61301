//! Python's acme library, driven by a script.

use sigillo_tests::place::Place;
use sigillo_tests::programs::{python_with, workspace};

#[test]
fn pythons_acme_library_issues_and_revokes() {
    if python_with("acme").is_none() {
        return;
    }
    let place = Place::open();
    let webroot = place.webroot();
    let trust = place.trust.display().to_string();
    let prefix = place.path("python");
    let call = |verb: &str, rest: &[&str]| {
        let Some(mut python) = python_with("acme") else {
            return;
        };
        place.surround(&mut python);
        python.arg(workspace().join("tests/python/journey.py"));
        place.succeed(python.args([verb, &place.directory, &trust, &prefix]).args(rest));
    };
    let challenges = webroot.challenges().display().to_string();
    call("issue", &[&challenges, "python.test"]);
    let chain = place.path("python.chain.pem");
    place.good(&[&chain]);
    call("revoke", &["5"]);
    place.revoked(&[&chain], "cessationOfOperation");
}
