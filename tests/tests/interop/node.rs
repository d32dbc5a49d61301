//! Node's acme-client, driven by a script.

use sigillo_tests::place::Place;
use sigillo_tests::programs::{available, workspace};

/// Node with the library in its path: `.ci/install-judges` makes it.
const NODE: &str = "node-with-acme-client";

#[test]
fn nodes_acme_client_issues_renews_and_revokes() {
    if !available(&[NODE]) {
        return;
    }
    let place = Place::open();
    let webroot = place.webroot();
    let mut node = place.client(NODE);
    node.env("NODE_EXTRA_CA_CERTS", &place.trust);
    node.arg(workspace().join("tests/node/journey.js"))
        .arg(&place.directory);
    node.arg(webroot.challenges());
    place.succeed(node.args([&place.path("node"), "1", "node.test", "www.node.test"]));
    place.revoked(&[&place.path("node.chain.pem")], "keyCompromise");
    place.good(&[&place.path("node.renewed.pem")]);
}
