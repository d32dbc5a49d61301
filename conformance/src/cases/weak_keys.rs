//! Baseline Requirements, section 6.1.1.3: keys that are known to be weak or compromised are refused.

use crate::case::{Case, Finding, Judgement, ensure, must};
use crate::issue::Order;
use crate::keys::Key;
use crate::request::Csr;
use crate::suite::{Account, Run, refused};
use crate::weak::RawRsa;

use super::preauthorization::{SHA256_RSA, request, rsa_algorithm};

pub(super) const CASES: &[Case] = &[must!(
    cbr_6_1_1_3_01,
    "Keys that are known to be weak or compromised are refused."
)];

/// A request whose only fault is its key, rightly signed.
fn csr(name: &str, key: &RawRsa) -> Vec<u8> {
    request(name, key.spki(), rsa_algorithm(SHA256_RSA), |info| {
        key.sign_sha256(info)
    })
}

fn cbr_6_1_1_3_01(run: &Run) -> Judgement {
    super::baseline::claimed(run)?;
    let account = run.account()?;
    let name = run.name("known");
    let order = run.ready_order(account, std::slice::from_ref(&name))?;
    let keys = [
        ("ROCA (CVE-2017-15361)", RawRsa::roca()),
        ("primes close to each other (CVE-2022-26320)", RawRsa::close_primes()),
        ("Debian's OpenSSL (CVE-2008-0166)", RawRsa::debian()),
        ("RFC 9500, where its private half is published", RawRsa::rfc_9500()),
    ];
    for (what, key) in keys {
        let answer = run.finalize(account, &order, &csr(&name, &key))?;
        run.check(refused(&answer, "badCSR|badPublicKey", &format!("a key of {what}")));
        if answer.is_success() {
            // The order is spent.
            return Ok(());
        }
    }
    is_refused_once_compromised(run, account, &order, &name)?;
    // The same request with a key that nothing is known of: so the keys were refused, not the form.
    let answer = run.finalize(account, &order, &Csr::of(&[name]).sign(&Key::rsa()))?;
    if answer.is_success() {
        Ok(())
    } else {
        Err(Finding::Blocked(format!(
            "the same request with another key: {}",
            answer.summary()
        )))
    }
}

/// A key whose certificate was revoked for its compromise gets no other one.
fn is_refused_once_compromised(run: &Run, account: &Account, order: &Order, name: &str) -> Judgement {
    let names = [run.name("compromised")];
    let key = Key::p256();
    let later = Csr::of(&[name.to_owned()]).sign(&key);
    let issued = run.issue_for(account, &names, key)?;
    let revocation = run.revoke_by_key(&issued, Some(1))?;
    ensure!(
        revocation.status == 200,
        "a key cannot report its own compromise: {}",
        revocation.summary()
    );
    let answer = run.finalize(account, order, &later)?;
    refused(&answer, "badCSR|badPublicKey", "a key reported as compromised")
}
