//! Who may revoke, and what a compromised key is good for afterwards (RFC 8555 section 7.6).

use sigillo_tests::acme::{AccountKey, request_with};
use sigillo_tests::daemon::Daemon;
use sigillo_tests::judge::Papers;
use sigillo_tests::webroot::Webroot;

use super::expect::{refused, status};

#[test]
fn an_account_that_controls_all_names_revokes_another_ones_certificate() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let (former, present) = (daemon.register().unwrap(), daemon.register().unwrap());
    let issued = former.obtain(&["a.moved.test", "b.moved.test"], &webroot).unwrap();
    let der = issued.leaf_der();
    refused(&present.revoke(&der, 4).unwrap(), 403, "unauthorized");
    present.obtain(&["a.moved.test"], &webroot).unwrap();
    // One of two names is not enough.
    refused(&present.revoke(&der, 4).unwrap(), 403, "unauthorized");
    present.obtain(&["b.moved.test"], &webroot).unwrap();
    // Names say nothing about the key.
    refused(&present.revoke(&der, 1).unwrap(), 403, "unauthorized");
    status(&present.revoke(&der, 4).unwrap(), 200);
    let papers = Papers::sort(&issued.chain_pem, &daemon.root(), &daemon.scratch().join("moved"));
    papers.all_find_it_revoked(&daemon.http_client(), "superseded");
    refused(&former.revoke(&der, 4).unwrap(), 400, "alreadyRevoked");
}

#[test]
fn a_compromised_key_is_refused_from_then_on() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let issued = acme.obtain(&["lost.test"], &webroot).unwrap();
    let mut holder = daemon.register().unwrap();
    holder.key = AccountKey::from_pem(&issued.key_pem);
    holder.kid.clear();
    status(&holder.revoke(&issued.leaf_der(), 1).unwrap(), 200);

    let (order_url, order) = acme.new_order(&["lost.test"]).unwrap();
    acme.prove(&order, &webroot).unwrap();
    let answer = acme
        .finalize(&order, &request_with(&["lost.test"], &issued.key_pem))
        .unwrap();
    refused(&answer, 400, "badCSR");
    assert_eq!(acme.read(&order_url).unwrap().json()["status"], "ready");
    let answer = holder
        .post(&holder.url("newAccount"), br#"{"termsOfServiceAgreed":true}"#)
        .unwrap();
    refused(&answer, 400, "badPublicKey");
    acme.obtain(&["lost.test"], &webroot).unwrap();
}

#[test]
fn a_key_that_was_superseded_may_be_used_again() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let issued = acme.obtain(&["kept.test"], &webroot).unwrap();
    status(&acme.revoke(&issued.leaf_der(), 4).unwrap(), 200);
    let (_, order) = acme.new_order(&["kept.test"]).unwrap();
    let answer = acme
        .finalize(&order, &request_with(&["kept.test"], &issued.key_pem))
        .unwrap();
    status(&answer, 200);
}

#[test]
fn an_account_key_is_not_certified() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let issued = acme.obtain(&["both.test"], &webroot).unwrap();
    // The key of a certificate that is good may become an account's; from then on no request has it.
    let mut second = daemon.register().unwrap();
    second.key = AccountKey::from_pem(&issued.key_pem);
    second.kid.clear();
    let made = second
        .post(&second.url("newAccount"), br#"{"termsOfServiceAgreed":true}"#)
        .unwrap();
    status(&made, 201);
    let (_, order) = acme.new_order(&["both.test"]).unwrap();
    let answer = acme
        .finalize(&order, &request_with(&["both.test"], &issued.key_pem))
        .unwrap();
    refused(&answer, 400, "badCSR");
}
