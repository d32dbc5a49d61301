//! Accounts that change their key or close (RFC 8555 sections 7.3.5 and 7.3.6).

use serde_json::json;
use sigillo_tests::acme::{AccountKey, Acme};
use sigillo_tests::daemon::Daemon;
use sigillo_tests::http::Response;
use sigillo_tests::webroot::Webroot;

use super::expect::{refused, status};

/// Asks for another key; the inner JWS is signed by it.
pub(super) fn change_key(acme: &Acme, new: &AccountKey) -> Response {
    let url = acme.url("keyChange");
    let header = json!({"alg": "ES256", "jwk": new.jwk(), "url": url});
    let change = json!({"account": acme.kid, "oldKey": acme.key.jwk()});
    let inner = new.jws(&header.to_string(), change.to_string().as_bytes());
    acme.post(&url, inner.to_string().as_bytes()).expect("an answer")
}

#[test]
fn a_new_key_takes_the_place_of_the_old_one() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let mut acme = daemon.register().unwrap();
    let (open, order) = acme.new_order(&["changed.test"]).unwrap();
    let new = AccountKey::generate();
    let answer = change_key(&acme, &new);
    status(&answer, 200);
    assert_eq!(answer.json()["status"], "valid");

    // The old key does not sign for the account any more, and finds no account either.
    let answer = acme.read(&acme.kid).unwrap();
    assert!(matches!(answer.status, 400 | 401 | 403), "{}", answer.text());
    let kid = std::mem::take(&mut acme.kid);
    let answer = acme
        .post(&acme.url("newAccount"), br#"{"onlyReturnExisting":true}"#)
        .unwrap();
    refused(&answer, 400, "accountDoesNotExist");

    // The new one finds the same account, and what was open goes on.
    acme.key = new;
    let answer = acme
        .post(&acme.url("newAccount"), br#"{"onlyReturnExisting":true}"#)
        .unwrap();
    status(&answer, 200);
    assert_eq!(answer.header("location"), Some(kid.as_str()));
    acme.kid = kid;
    acme.prove(&order, &webroot).unwrap();
    assert_eq!(acme.wait(&open, "pending").unwrap()["status"], "ready");
    acme.obtain(&["changed.test"], &webroot).unwrap();
}

#[test]
fn a_key_that_an_account_has_is_not_given_to_another() {
    let daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    let other = daemon.register().unwrap();
    let answer = change_key(&acme, &other.key);
    status(&answer, 409);
    assert_eq!(answer.header("location"), Some(other.kid.as_str()), "whose key it is");
    let own = change_key(&acme, &acme.key);
    status(&own, 409);
    status(&acme.read(&acme.kid).unwrap(), 200);
}

#[test]
fn a_key_change_is_refused_unless_every_part_fits() {
    let daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    let other = daemon.register().unwrap();
    let (new, url) = (AccountKey::generate(), acme.url("keyChange"));
    let header = json!({"alg": "ES256", "jwk": new.jwk(), "url": url});
    let change = json!({"account": acme.kid, "oldKey": acme.key.jwk()});
    let mut with_nonce = header.clone();
    with_nonce["nonce"] = acme.nonce().unwrap().into();
    let mut elsewhere = header.clone();
    elsewhere["url"] = acme.url("newOrder").into();
    let another_account = json!({"account": other.kid, "oldKey": acme.key.jwk()});
    let another_old_key = json!({"account": acme.kid, "oldKey": other.key.jwk()});
    for (what, signer, header, change) in [
        ("signed by the old key", &acme.key, &header, &change),
        ("a nonce inside", &new, &with_nonce, &change),
        ("another url inside", &new, &elsewhere, &change),
        ("another account", &new, &header, &another_account),
        ("another old key", &new, &header, &another_old_key),
    ] {
        let inner = signer.jws(&header.to_string(), change.to_string().as_bytes());
        let answer = acme.post(&url, inner.to_string().as_bytes()).unwrap();
        assert!((400..500).contains(&answer.status), "{what}: {}", answer.text());
    }
    status(&acme.read(&acme.kid).unwrap(), 200);
}

#[test]
fn a_closed_account_can_do_nothing_but_its_certificates_stay_good() {
    let daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let mut acme = daemon.register().unwrap();
    let issued = acme.obtain(&["closed.test"], &webroot).unwrap();
    let (open, order) = acme.new_order(&["closed.test"]).unwrap();
    let answer = acme.post(&acme.kid, br#"{"status":"deactivated"}"#).unwrap();
    status(&answer, 200);
    assert_eq!(answer.json()["status"], "deactivated");

    let csr = sigillo_tests::acme::request(&["closed.test"]).0;
    for answer in [
        acme.read(&acme.kid),
        acme.read(&open),
        acme.read(&issued.url),
        acme.ask_for_order(&["closed.test"], json!({})),
        acme.finalize(&order, &csr),
        acme.revoke(&issued.leaf_der(), 0),
        Ok(change_key(&acme, &AccountKey::generate())),
    ] {
        refused(&answer.unwrap(), 401, "unauthorized");
    }
    acme.kid.clear();
    let again = acme
        .post(&acme.url("newAccount"), br#"{"termsOfServiceAgreed":true}"#)
        .unwrap();
    refused(&again, 401, "unauthorized");

    let folder = daemon.scratch().join("closed");
    let papers = sigillo_tests::judge::Papers::sort(&issued.chain_pem, &daemon.root(), &folder);
    assert_eq!(papers.ocsp().status, "good");
    // Whoever holds the certificate's key can still revoke.
    acme.key = AccountKey::from_pem(&issued.key_pem);
    status(&acme.revoke(&issued.leaf_der(), 1).unwrap(), 200);
    papers.all_find_it_revoked(&daemon.http_client(), "keyCompromise");
}
