//! Certificates, the status feed, CRLs and blocked keys.

use sigillo_protocol::{acme::identifier::Name, x509::reason::RevocationReason};

use super::records::{at, batch, certificate, crl, issued, issuer, name, revoked};
use crate::{
    model::{
        AccountId, BlockedKey, Certificate, CertificateState, CrlKind, CrlRecord, OrderId, Revocation, Serial,
        StatusRecord,
    },
    store::{CertificateFilter, Change, CommitError, Page, Store, Unique},
};

const STOLEN: RevocationReason = RevocationReason::KeyCompromise;

async fn put(store: &dyn Store, certificate: &Certificate) -> Certificate {
    store
        .commit(batch(Change::Certificate(certificate.clone())))
        .await
        .unwrap();
    Certificate {
        version: certificate.version.next(),
        ..certificate.clone()
    }
}

fn revocation(second: i64, reason: Option<RevocationReason>) -> Revocation {
    Revocation {
        at: at(second),
        reason,
        invalid_since: reason.map(|_| at(second - 5)),
    }
}

pub(super) async fn kept_whole_in_every_state(store: &dyn Store) {
    let mut new = certificate(&["a.example", "*.b.example"], 1_000);
    new.account = Some(AccountId::random());
    new.order = Some(OrderId::random());
    new.names.push(Name::Ip([192, 0, 2, 1].into()));
    let check = async |expected: &Certificate| {
        assert_eq!(
            store.certificate(expected.serial).await.unwrap().as_ref(),
            Some(expected)
        );
    };
    let intended = put(store, &new).await;
    check(&intended).await;
    let again = store.commit(batch(Change::Certificate(new))).await.unwrap_err();
    assert!(matches!(again, CommitError::Duplicate(Unique::Serial)), "{again:?}");

    let signed = Certificate {
        tbs: Vec::new(),
        ..issued(&intended)
    };
    let signed = put(store, &signed).await;
    check(&signed).await;
    let mut told = signed.clone();
    told.replaced_by = Some(OrderId::random());
    told.renew_from = Some(at(7));
    let told = put(store, &told).await;
    check(&told).await;
    check(&put(store, &revoked(&told, revocation(9, Some(STOLEN)))).await).await;

    let given_up = put(store, &certificate(&["d.example"], 1_000)).await;
    check(
        &put(
            store,
            &Certificate {
                state: CertificateState::Void,
                ..given_up
            },
        )
        .await,
    )
    .await;
    assert_eq!(store.certificate(Serial::random()).await.unwrap(), None);
}

pub(super) async fn listed_through_every_filter(store: &dyn Store) {
    let owner = AccountId::random();
    let mut first = issued(&certificate(&["a.example", "b.example"], 10));
    first.account = Some(owner);
    let mut second = issued(&certificate(&["b.example"], 20));
    second.profile = "short".into();
    let third = revoked(&certificate(&["*.b.example"], 30), revocation(1, None));
    let mut all = vec![first.serial, second.serial, third.serial];
    all.sort();
    for one in [&first, &second, &third] {
        put(store, one).await;
    }

    let check = async |filter: CertificateFilter, expected: &[Serial]| {
        let mut expected = expected.to_vec();
        expected.sort();
        let list = store.certificates(&filter, Page::first(100)).await.unwrap();
        assert_eq!(
            list.iter().map(|c| c.serial).collect::<Vec<_>>(),
            expected,
            "{filter:?}"
        );
    };
    let any = CertificateFilter::default;
    check(any(), &all).await;
    check(
        CertificateFilter {
            state: Some("issued".into()),
            ..any()
        },
        &[first.serial, second.serial],
    )
    .await;
    check(
        CertificateFilter {
            account: Some(owner),
            ..any()
        },
        &[first.serial],
    )
    .await;
    check(
        CertificateFilter {
            profile: Some("short".into()),
            ..any()
        },
        &[second.serial],
    )
    .await;
    check(
        CertificateFilter {
            name: Some(name("b.example")),
            ..any()
        },
        &[first.serial, second.serial],
    )
    .await;
    check(
        CertificateFilter {
            name: Some(name("*.b.example")),
            ..any()
        },
        &[third.serial],
    )
    .await;
    check(
        CertificateFilter {
            spki_sha256: Some(second.spki_sha256),
            ..any()
        },
        &[second.serial],
    )
    .await;
    check(
        CertificateFilter {
            not_after_before: Some(at(20)),
            ..any()
        },
        &[first.serial],
    )
    .await;
    let states = [("revoked", vec![third.serial]), ("void", vec![]), ("none", vec![])];
    for (state, expected) in states {
        let state = Some(state.into());
        check(CertificateFilter { state, ..any() }, &expected).await;
    }
    let narrow = CertificateFilter {
        name: Some(name("b.example")),
        state: Some("issued".into()),
        account: Some(owner),
        not_after_before: Some(at(11)),
        ..any()
    };
    check(narrow, &[first.serial]).await;

    let page = store.certificates(&any(), Page::after(all[0], 1)).await.unwrap();
    assert_eq!(page.iter().map(|c| c.serial).collect::<Vec<_>>(), [all[1]]);
}

pub(super) async fn intended_ones_are_listed(store: &dyn Store) {
    let waiting = put(store, &certificate(&["a.example"], 10)).await;
    put(store, &issued(&certificate(&["b.example"], 10))).await;
    assert_eq!(
        store.certificates_intended(10).await.unwrap(),
        std::slice::from_ref(&waiting)
    );
    assert_eq!(store.certificates_intended(0).await.unwrap(), []);
    put(
        store,
        &Certificate {
            state: CertificateState::Void,
            ..waiting
        },
    )
    .await;
    assert_eq!(store.certificates_intended(10).await.unwrap(), []);
}

pub(super) async fn feed_tells_each_change_of_status_once(store: &dyn Store) {
    let (start, identity) = store.status_position().await.unwrap();
    assert_eq!(start, 0);
    let first = put(store, &certificate(&["a.example"], 10)).await;
    assert_eq!(
        store.status_position().await.unwrap(),
        (0, identity),
        "an intention is no status"
    );
    assert_eq!(store.status(first.serial).await.unwrap(), None);

    let first = put(store, &issued(&first)).await;
    let second = put(store, &issued(&certificate(&["b.example"], 10))).await;
    let entry = |position, certificate: &Certificate, revocation| StatusRecord {
        position,
        issuer: issuer(),
        serial: certificate.serial,
        not_after: at(10),
        revocation,
    };
    let feed = store.status_feed(0, 10).await.unwrap();
    assert_eq!(feed, [entry(1, &first, None), entry(2, &second, None)]);

    let first = put(
        store,
        &Certificate {
            renew_from: Some(at(1)),
            ..first
        },
    )
    .await;
    assert_eq!(
        store.status_position().await.unwrap().0,
        2,
        "OCSP says nothing about renewal"
    );

    let first = put(store, &revoked(&first, revocation(7, None))).await;
    let expected = entry(3, &first, Some(revocation(7, None)));
    assert_eq!(
        store.status_feed(1, 10).await.unwrap(),
        [entry(2, &second, None), expected.clone()]
    );
    assert_eq!(store.status(first.serial).await.unwrap(), Some(expected));

    let first = put(store, &revoked(&first, revocation(7, Some(STOLEN)))).await;
    let expected = entry(4, &first, Some(revocation(7, Some(STOLEN))));
    assert_eq!(
        store.status_feed(2, 10).await.unwrap(),
        [expected],
        "a new reason is a new status"
    );
    assert_eq!(store.status_feed(0, 1).await.unwrap(), [entry(2, &second, None)]);
    assert_eq!(store.status_position().await.unwrap(), (4, identity));
    let shown = store.certificate(first.serial).await.unwrap().unwrap().revocation();
    assert_eq!(shown, Some(revocation(7, Some(STOLEN))), "record and feed agree");
}

pub(super) async fn signed_ones_never_become_unsigned(store: &dyn Store) {
    let signed = put(store, &issued(&certificate(&["a.example"], 10))).await;
    for state in [CertificateState::Void, CertificateState::Intended] {
        let undone = Certificate {
            state,
            ..signed.clone()
        };
        let error = store.commit(batch(Change::Certificate(undone))).await.unwrap_err();
        assert!(
            matches!(error, CommitError::Failed { in_doubt: false, .. }),
            "{error:?}"
        );
    }
    assert_eq!(store.certificate(signed.serial).await.unwrap(), Some(signed));
}

pub(super) async fn revoked_ones_are_listed_for_the_crl(store: &dyn Store) {
    let mut expected = Vec::new();
    for not_after in [10, 20, 30] {
        let one = revoked(&certificate(&["a.example"], not_after), revocation(1, None));
        expected.push((one.serial, not_after));
        put(store, &one).await;
    }
    put(store, &issued(&certificate(&["b.example"], 30))).await;
    let other = Certificate {
        issuer: "issuing-2".parse().unwrap(),
        ..revoked(&certificate(&["c.example"], 30), revocation(1, None))
    };
    put(store, &other).await;

    expected.sort();
    let list = async |since, page| {
        store
            .revoked(&issuer(), at(since), page)
            .await
            .unwrap()
            .iter()
            .map(|r| r.serial)
            .collect::<Vec<_>>()
    };
    let after = |since| {
        expected
            .iter()
            .filter(|(_, end)| *end > since)
            .map(|(serial, _)| *serial)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(0, Page::first(10)).await, after(0));
    assert_eq!(
        list(10, Page::first(10)).await,
        after(10),
        "what ended at the moment is out"
    );
    assert_eq!(list(0, Page::after(expected[0].0, 1)).await, [expected[1].0]);
}

pub(super) async fn crl_numbers_only_rise(store: &dyn Store) {
    assert_eq!(store.crl(&issuer(), CrlKind::Complete).await.unwrap(), None);
    for number in [3, 4, 9] {
        let next = crl(number, number as i64, 1);
        store.commit(batch(Change::Crl(next.clone()))).await.unwrap();
        assert_eq!(store.crl(&issuer(), CrlKind::Complete).await.unwrap(), Some(next));
    }
    let delta = |number, this_update| CrlRecord {
        kind: CrlKind::Delta,
        ..crl(number, this_update, 1)
    };
    let together = batch(Change::Crl(crl(12, 10, 1))).with(Change::Crl(delta(12, 10)));
    store.commit(together).await.unwrap();
    store.commit(batch(Change::Crl(delta(13, 11)))).await.unwrap();
    let backwards = [
        crl(12, 100, 1),
        crl(5, 100, 1),
        crl(0, 100, 1),
        delta(13, 11),
        // Two lists that were not made together may not share a number.
        crl(13, 100, 1),
    ];
    for list in backwards {
        let number = list.number;
        let error = store.commit(batch(Change::Crl(list))).await.unwrap_err();
        assert!(
            matches!(error, CommitError::Duplicate(Unique::CrlNumber)),
            "{number}: {error:?}"
        );
    }
    let complete = store.crl(&issuer(), CrlKind::Complete).await.unwrap();
    assert_eq!(complete, Some(crl(12, 10, 1)));
    let kept = store.crl(&issuer(), CrlKind::Delta).await.unwrap();
    assert_eq!(kept, Some(delta(13, 11)));
}

pub(super) async fn blocked_keys_stay_as_first_blocked(store: &dyn Store) {
    let key = |first, comment: &str| BlockedKey {
        spki_sha256: [first; 32],
        since: at(1),
        comment: comment.into(),
    };
    for one in [key(2, "leaked"), key(1, "weak"), key(2, "again"), key(3, "")] {
        store.commit(batch(Change::BlockedKey(one))).await.unwrap();
    }
    assert_eq!(store.blocked_key([2; 32]).await.unwrap(), Some(key(2, "leaked")));
    assert_eq!(store.blocked_key([4; 32]).await.unwrap(), None);
    assert_eq!(
        store.blocked_keys(Page::first(2)).await.unwrap(),
        [key(1, "weak"), key(2, "leaked")]
    );
    assert_eq!(store.blocked_keys(Page::after([2; 32], 2)).await.unwrap(), [key(3, "")]);
}
