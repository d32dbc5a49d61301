//! Ruby's acme-client, driven by a script.

use sigillo_tests::place::Place;
use sigillo_tests::programs::{available, workspace};

#[test]
fn rubys_acme_client_issues_renews_and_revokes() {
    if !available(&["ruby"]) {
        return;
    }
    let place = Place::open();
    let webroot = place.webroot();
    let mut ruby = place.client("ruby");
    ruby.arg(workspace().join("tests/ruby/journey.rb"));
    ruby.args([&place.directory, &place.trust.display().to_string()]);
    ruby.arg(webroot.challenges());
    place.succeed(ruby.args([&place.path("ruby"), "4", "ruby.test", "www.ruby.test"]));
    place.revoked(&[&place.path("ruby.chain.pem")], "superseded");
    place.good(&[&place.path("ruby.renewed.pem")]);
}
