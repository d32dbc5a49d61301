//! RFC 8555 section 7.6: revocation.

use serde_json::{Value, json};

use crate::base64;
use crate::case::{Case, Finding, Judgement, ensure, must, must_read, should};
use crate::http::Answer;
use crate::issue::Issued;
use crate::keys::Key;
use crate::read::ocsp::Status;
use crate::suite::{Run, refused};
use crate::wire::Signer;

pub(super) const CASES: &[Case] = &[
    must!(c8555_7_6_01, "certificate is base64url DER."),
    must!(c8555_7_6_02, "The issuing account may revoke."),
    must!(c8555_7_6_03, "The certificate's own key may revoke."),
    must!(c8555_7_6_04, "An account with authorizations for all names may revoke."),
    must!(c8555_7_6_05, "Nobody else may revoke."),
    must_read!(c8555_7_6_06, "Revoking twice is alreadyRevoked."),
    must!(c8555_7_6_07, "A reason that is not allowed is badRevocationReason."),
    should!(c8555_7_6_08, "Without a reason none is published."),
    must_read!(c8555_7_6_09, "The reason given is the one published."),
    must_read!(c8555_7_6_10, "A certificate of another issuer is refused."),
];

/// Whatever tells that a certificate is revoked, OCSP or CRL, tells it.
fn is_revoked(run: &Run, issued: &Issued) -> Judgement<Option<u8>> {
    let by_ocsp = match run.status_of(issued) {
        Ok(single) => match single.status {
            Status::Revoked { reason, .. } => Some(reason),
            status => return Err(Finding::Fail(format!("OCSP says {status:?} of a revoked certificate"))),
        },
        Err(Finding::NotOffered(_)) => None,
        Err(other) => return Err(other),
    };
    if !issued.leaf().crl_uris().is_empty() {
        let crl = run.crl_listing(issued)?;
        let entry = crl
            .entry(&issued.leaf().serial)
            .ok_or_else(|| Finding::Fail("no CRL entry".into()))?;
        let reason = entry.reason().map_err(Finding::Fail)?;
        if let Some(by_ocsp) = by_ocsp {
            ensure!(by_ocsp == reason, "OCSP has reason {by_ocsp:?}, the CRL {reason:?}");
        }
        return Ok(reason);
    }
    by_ocsp.ok_or_else(|| Finding::NotOffered("the certificate names neither OCSP nor CRL".into()))
}

fn c8555_7_6_01(run: &Run) -> Judgement {
    let issued = &run.issue(run.account()?, &[run.name("forms")])?;
    let der = &issued.leaf().der;
    let standard = base64::standard(der);
    let pem = String::from_utf8_lossy(&issued.answer.body).into_owned();
    let forms = [
        ("PEM", json!({"certificate": pem})),
        (
            "a truncated certificate",
            json!({"certificate": base64::url(&der[..der.len() - 1])}),
        ),
        (
            "octets behind the certificate",
            json!({"certificate": base64::url([der.as_slice(), &[0]].concat())}),
        ),
        (
            "standard base64",
            json!({"certificate": format!("{standard}{}", if standard.ends_with('=') { "" } else { "=" })}),
        ),
        ("a number", json!({"certificate": 7})),
        ("nothing", json!({})),
    ];
    run.each(forms, |(what, payload)| {
        run.check(refused(
            &run.post(&issued.account, &run.url("revokeCert")?, &payload)?,
            "",
            what,
        ));
        Ok(())
    });
    run.still_good(issued, "refused revocations")
}

fn c8555_7_6_02(run: &Run) -> Judgement {
    let issued = run.issue(run.account()?, &[run.name("revoke")])?;
    let answer = run.revoke(&issued.account, &issued, None)?;
    ensure!(
        answer.status == 200,
        "revocation by the issuing account: {}",
        answer.summary()
    );
    match is_revoked(run, &issued) {
        Err(Finding::NotOffered(_)) => Ok(()),
        other => other.map(|_| ()),
    }
}

fn revoke_by_key(run: &Run, issued: &Issued, key: &Key) -> Judgement<Answer> {
    let payload = json!({"certificate": base64::url(&issued.leaf().der)}).to_string();
    run.post_as(Signer::Key(key), &run.url("revokeCert")?, payload.as_bytes())
}

fn c8555_7_6_03(run: &Run) -> Judgement {
    let issued = run.issue(run.account()?, &[run.name("ownkey")])?;
    let answer = revoke_by_key(run, &issued, &issued.key)?;
    ensure!(
        answer.status == 200,
        "revocation by the certificate's key: {}",
        answer.summary()
    );
    let account = run.new_account(Key::p256())?;
    let issued = run.issue(&account, &[run.name("orphan")])?;
    run.post(&account, &account.url, &json!({"status": "deactivated"}))?;
    let answer = revoke_by_key(run, &issued, &issued.key)?;
    ensure!(
        answer.status == 200,
        "the same after its account was deactivated: {}",
        answer.summary()
    );
    Ok(())
}

fn c8555_7_6_04(run: &Run) -> Judgement {
    let names = [run.name("heir"), run.name("heir")];
    let issued = run.issue(run.account()?, &names)?;
    let heir = run.new_account(Key::p256())?;
    run.ready_order(&heir, &names)?;
    let answer = run.revoke(&heir, &issued, None)?;
    ensure!(
        answer.status == 200,
        "revocation by an account with all authorizations: {}",
        answer.summary()
    );
    Ok(())
}

fn c8555_7_6_05(run: &Run) -> Judgement {
    let names = [run.name("guarded"), run.name("guarded")];
    let issued = run.issue(run.account()?, &names)?;
    let refuse = |answer: Answer, what: &str| -> Judgement {
        refused(&answer, "unauthorized", what)?;
        run.still_good(&issued, what)
    };
    refuse(
        run.revoke(run.other_account()?, &issued, None)?,
        "revocation by an account with no authorization",
    )?;
    let partial = run.new_account(Key::p256())?;
    let order = run.ready_order(&partial, &names[..1])?;
    refuse(
        run.revoke(&partial, &issued, None)?,
        "revocation by an account with one of two authorizations",
    )?;
    let second = run.ready_order(&partial, &names[1..])?;
    for authorization in order.authorizations().iter().chain(&second.authorizations()) {
        run.post(&partial, authorization, &json!({"status": "deactivated"}))?;
    }
    refuse(
        run.revoke(&partial, &issued, None)?,
        "revocation by an account with deactivated authorizations",
    )?;
    refuse(
        revoke_by_key(run, &issued, &Key::p256())?,
        "revocation by an unrelated key",
    )
}

fn c8555_7_6_06(run: &Run) -> Judgement {
    let issued = run.revoked("twice", None)?;
    let answer = run.revoke(&issued.account, &issued, None)?;
    run.check(refused(&answer, "alreadyRevoked", "revoking again"));
    ensure!(answer.status == 400, "revoking again: {}", answer.summary());
    Ok(())
}

fn c8555_7_6_07(run: &Run) -> Judgement {
    let mut issued = run.issue(run.account()?, &[run.name("reason")])?;
    let mut taken = false;
    let mut reject = |reason: Value| {
        if taken {
            issued = run.issue(run.account()?, &[run.name("reason")])?;
        }
        let payload = json!({"certificate": base64::url(&issued.leaf().der), "reason": reason});
        let answer = run.post(&issued.account, &run.url("revokeCert")?, &payload)?;
        taken = answer.is_success();
        refused(&answer, "badRevocationReason|malformed", &format!("reason {reason}"))?;
        run.expect(answer.problem() == "badRevocationReason", || {
            format!("reason {reason} is {}", answer.problem())
        });
        run.still_good(&issued, "a refused reason")
    };
    // No CA can mean these: 7 is not assigned, 8 is for delta CRLs, the others are no reasons.
    run.each([7, 8, 11, 255, -1, 1000], |reason| reject(json!(reason)));
    run.each([2, 6, 10], |reason| {
        let one = run.issue(run.account()?, &[run.name("reason")])?;
        let answer = run.revoke(&one.account, &one, Some(reason))?;
        if !answer.is_success() {
            run.check(refused(&answer, "badRevocationReason", &format!("reason {reason}")));
        }
        Ok(())
    });
    Ok(())
}

fn c8555_7_6_08(run: &Run) -> Judgement {
    let issued = run.revoked("noreason", None)?;
    let reason = is_revoked(run, &issued)?;
    ensure!(reason.is_none(), "no reason was given, {reason:?} is published");
    Ok(())
}

fn c8555_7_6_09(run: &Run) -> Judgement {
    let mut accepted = Vec::new();
    run.each([1u8, 3, 4, 5], |reason| {
        let issued = run.issue(run.account()?, &[run.name("reason")])?;
        // Some servers take keyCompromise only from the key itself.
        let payload = json!({"certificate": base64::url(&issued.leaf().der), "reason": reason}).to_string();
        let signer = if reason == 1 {
            Signer::Key(&issued.key)
        } else {
            issued.account.signer()
        };
        let answer = run.post_as(signer, &run.url("revokeCert")?, payload.as_bytes())?;
        if !answer.is_success() {
            run.check(refused(
                &answer,
                "badRevocationReason|unauthorized",
                &format!("reason {reason}"),
            ));
            return Ok(());
        }
        accepted.push(reason);
        let shown = is_revoked(run, &issued)?;
        ensure!(
            shown == Some(reason),
            "reason {reason} was given, {shown:?} is published"
        );
        Ok(())
    });
    run.expect(accepted.len() == 4, || {
        format!("only the reasons {accepted:?} are accepted")
    });
    Ok(())
}

fn c8555_7_6_10(run: &Run) -> Judgement {
    let issued = &run.issue(run.account()?, &[run.name("copied")])?;
    let leaf = issued.leaf();
    let key = Key::p256();
    let names: Vec<Vec<u8>> = issued.names.iter().map(|name| crate::request::dns_name(name)).collect();
    let made = crate::request::self_signed_as(&key, &leaf.serial, &leaf.issuer, &names, &[]);
    let mut changed = leaf.der.clone();
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    run.each(
        [
            (
                "a made-up certificate with a known serial",
                &made,
                issued.account.signer(),
            ),
            ("the same by its own key", &made, Signer::Key(&key)),
            (
                "a certificate with a changed signature",
                &changed,
                issued.account.signer(),
            ),
        ],
        |(what, der, signer)| {
            let payload: Value = json!({"certificate": base64::url(der)});
            let answer = run.post_as(signer, &run.url("revokeCert")?, payload.to_string().as_bytes())?;
            run.check(refused(&answer, "", what));
            run.still_good(issued, what)?;
            Ok(())
        },
    );
    Ok(())
}
