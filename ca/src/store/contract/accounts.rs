//! Accounts and the keys that they are bound to.

use sigillo_protocol::{acme::account::AccountStatus, jose::Thumbprint};

use super::records::{account, batch, external_key};
use crate::{
    model::{Account, AccountId, Binding, ExternalKey, Version},
    store::{Change, CommitError, Page, Store, Unique},
};

pub(super) async fn found_by_id_and_key(store: &dyn Store) {
    let mut new = account();
    new.terms_agreed = Some("https://ca.example/terms".into());
    new.binding = Some(Binding {
        kid: "k".into(),
        jws: "{}".into(),
    });
    store.commit(batch(Change::Account(new.clone()))).await.unwrap();

    let expected = Account {
        version: Version(1),
        ..new
    };
    assert_eq!(store.account(expected.id).await.unwrap().as_ref(), Some(&expected));
    assert_eq!(
        store.account_by_thumbprint(expected.thumbprint).await.unwrap().as_ref(),
        Some(&expected)
    );
    assert_eq!(store.account(AccountId::random()).await.unwrap(), None);
    assert_eq!(store.account_by_thumbprint(Thumbprint([0; 32])).await.unwrap(), None);

    let changed = Account {
        status: AccountStatus::Deactivated,
        thumbprint: Thumbprint([9; 32]),
        contact: vec![],
        ..expected.clone()
    };
    store.commit(batch(Change::Account(changed.clone()))).await.unwrap();
    let found = store.account_by_thumbprint(changed.thumbprint).await.unwrap();
    assert_eq!(
        found,
        Some(Account {
            version: Version(2),
            ..changed
        })
    );
    assert_eq!(
        store.account_by_thumbprint(expected.thumbprint).await.unwrap(),
        None,
        "the old key is free"
    );
}

pub(super) async fn the_revision_moves_before_a_change_is_told(store: &dyn Store) {
    let new = account();
    store.commit(batch(Change::Account(new.clone()))).await.unwrap();
    let Some(before) = store.accounts_revision() else {
        return;
    };
    store.commit(batch(Change::Account(account()))).await.unwrap();
    assert_eq!(
        store.accounts_revision(),
        Some(before),
        "a new account changes no other"
    );
    let closed = Account {
        version: Version(1),
        status: AccountStatus::Deactivated,
        ..new
    };
    store.commit(batch(Change::Account(closed))).await.unwrap();
    assert_ne!(store.accounts_revision(), Some(before));
}

pub(super) async fn listed_by_id_in_pages(store: &dyn Store) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        let account = account();
        ids.push(account.id);
        store.commit(batch(Change::Account(account))).await.unwrap();
    }
    ids.sort();
    let list = |page| async {
        store
            .accounts(page)
            .await
            .unwrap()
            .iter()
            .map(|a| a.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(Page::first(2)).await, ids[..2]);
    assert_eq!(list(Page::after(ids[1], 2)).await, ids[2..4]);
    assert_eq!(list(Page::after(ids[3], 2)).await, ids[4..]);
    assert_eq!(list(Page::after(ids[4], 2)).await, []);
    assert_eq!(list(Page::first(0)).await, []);
}

pub(super) async fn keys_are_unique(store: &dyn Store) {
    let (first, second) = (account(), account());
    store.commit(batch(Change::Account(first.clone()))).await.unwrap();
    store.commit(batch(Change::Account(second.clone()))).await.unwrap();

    let check = async |wrong: Account, expected: Unique| {
        let error = store.commit(batch(Change::Account(wrong))).await.unwrap_err();
        assert!(
            matches!(error, CommitError::Duplicate(unique) if unique == expected),
            "{error:?}"
        );
    };
    check(
        Account {
            thumbprint: first.thumbprint,
            ..account()
        },
        Unique::AccountKey,
    )
    .await;
    check(
        Account {
            thumbprint: first.thumbprint,
            version: Version(1),
            ..second.clone()
        },
        Unique::AccountKey,
    )
    .await;
    check(
        Account {
            id: first.id,
            ..account()
        },
        Unique::Identity,
    )
    .await;
    let kept = store.account(second.id).await.unwrap().unwrap();
    assert_eq!((kept.version, kept.thumbprint), (Version(1), second.thumbprint));
}

pub(super) async fn external_keys_are_kept_whole(store: &dyn Store) {
    for kid in ["b", "a", "c"] {
        store
            .commit(batch(Change::ExternalKey(external_key(kid))))
            .await
            .unwrap();
    }
    let stored = ExternalKey {
        version: Version(1),
        ..external_key("b")
    };
    assert!(store.external_key("b").await.unwrap().as_ref() == Some(&stored));
    assert!(store.external_key("d").await.unwrap().is_none());

    let used = ExternalKey {
        account: Some(AccountId::random()),
        disabled: true,
        ..stored.clone()
    };
    store.commit(batch(Change::ExternalKey(used.clone()))).await.unwrap();
    assert!(
        store.external_key("b").await.unwrap()
            == Some(ExternalKey {
                version: Version(2),
                ..used
            })
    );
    let stale = store.commit(batch(Change::ExternalKey(stored))).await.unwrap_err();
    assert!(matches!(stale, CommitError::Conflict), "{stale:?}");
    let again = store
        .commit(batch(Change::ExternalKey(external_key("b"))))
        .await
        .unwrap_err();
    assert!(
        matches!(again, CommitError::Duplicate(Unique::ExternalKey)),
        "{again:?}"
    );

    let kids = |page| async {
        store
            .external_keys(page)
            .await
            .unwrap()
            .into_iter()
            .map(|k| k.kid)
            .collect::<Vec<_>>()
    };
    assert_eq!(kids(Page::first(2)).await, ["a", "b"]);
    assert_eq!(kids(Page::after("b".into(), 2)).await, ["c"]);
}
