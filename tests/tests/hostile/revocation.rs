//! Revocations by the wrong hand or for the wrong reason.

use serde_json::json;
use sigillo_tests::acme::base64url;
use sigillo_tests::daemon::Daemon;
use sigillo_tests::judge::Papers;
use sigillo_tests::webroot::Webroot;

use super::faults::{FORBIDDEN, Faults, REFUSED};

#[test]
fn refuses_each_fault_of_a_revocation() {
    let mut daemon = Daemon::start();
    let webroot = Webroot::serve(daemon.http01_port);
    let acme = daemon.register().unwrap();
    let issued = acme.obtain(&["keep.test"], &webroot).unwrap();
    let der = issued.leaf_der();
    let url = acme.url("revokeCert");
    let mut faults = Faults::default();
    for reason in [2, 6, 7, 8, 10, 11, 255] {
        let answer = acme.revoke(&der, reason).unwrap();
        faults.compare(&format!("reason {reason}"), &answer, REFUSED, &["badRevocationReason"]);
    }
    let mut forged = der.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    for (name, certificate) in [
        ("A17 the serial in another certificate", forged),
        ("half a certificate", der[..der.len() / 2].to_vec()),
        ("bytes behind it", [der.as_slice(), b"x"].concat()),
        ("nothing", Vec::new()),
    ] {
        let answer = acme.revoke(&certificate, 0).unwrap();
        faults.compare(name, &answer, &[400, 403, 404], &["malformed", "unauthorized"]);
    }
    for (name, payload) in [
        ("no certificate", "{}".to_owned()),
        (
            "a reason that is no number",
            json!({"certificate": base64url(&der), "reason": "key"}).to_string(),
        ),
        (
            "a reason out of range",
            json!({"certificate": base64url(&der), "reason": 1e30}).to_string(),
        ),
    ] {
        let answer = acme.post(&url, payload.as_bytes()).unwrap();
        faults.compare(name, &answer, REFUSED, &["malformed", "badRevocationReason"]);
    }
    let stranger = daemon.register().unwrap();
    let answer = stranger.revoke(&der, 0).unwrap();
    faults.compare("A1 a stranger", &answer, FORBIDDEN, &["unauthorized"]);
    let papers = Papers::sort(&issued.chain_pem, &daemon.root(), &daemon.scratch().join("keep"));
    assert_eq!(papers.ocsp().status, "good");
    assert_eq!(acme.revoke(&der, 0).unwrap().status, 200);
    let twice = acme.revoke(&der, 0).unwrap();
    faults.compare("twice", &twice, REFUSED, &["alreadyRevoked"]);
    assert!(daemon.alive());
    faults.none();
}
