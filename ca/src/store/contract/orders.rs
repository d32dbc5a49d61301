//! Orders and their authorizations.

use sigillo_protocol::acme::{
    authorization::AuthorizationStatus,
    challenge::ChallengeStatus,
    problem::{ErrorType, Problem},
};

use super::records::{account, at, authorization, batch, event, name, order};
use crate::{
    model::{
        AccountId, Authorization, AuthorizationId, AutoRenewal, Order, OrderId, Progress, Renewing, Serial, Version,
    },
    store::{Batch, Change, CommitError, Page, Premise, Store, Unique},
};

pub(super) async fn come_with_their_authorizations(store: &dyn Store) {
    let owner = account();
    let parts: Vec<_> = ["b.example", "*.a.example", "a.example"]
        .iter()
        .map(|n| authorization(owner.id, n, 100))
        .collect();
    let new = order(owner.id, 0, &[&parts[0], &parts[1], &parts[2]]);
    // The order first: a batch's changes may stand in any order.
    let mut all = Batch::new(event("order")).with(Change::Order(new.clone()));
    for part in &parts {
        all.push(Change::Authorization(part.clone()));
    }
    store.commit(all).await.unwrap();

    let view = store.order(new.id).await.unwrap().unwrap();
    assert_eq!(
        view.order,
        Order {
            version: Version(1),
            ..new.clone()
        }
    );
    let ids: Vec<_> = view.authorizations.iter().map(|a| a.id).collect();
    assert_eq!(ids, new.authorizations, "in the order's order");
    assert_eq!(
        view.authorizations[1],
        Authorization {
            version: Version(1),
            ..parts[1].clone()
        }
    );
    assert!(store.order(OrderId::random()).await.unwrap().is_none());

    let error = Problem::new(ErrorType::Caa, "no");
    for (was, progress) in [
        (
            1,
            Progress::Processing {
                certificate: Serial::random(),
            },
        ),
        (
            2,
            Progress::Valid {
                certificate: Serial::random(),
            },
        ),
        (3, Progress::Invalid { error }),
    ] {
        let changed = Order {
            version: Version(was),
            progress,
            ..new.clone()
        };
        store.commit(batch(Change::Order(changed.clone()))).await.unwrap();
        let view = store.order(new.id).await.unwrap().unwrap();
        assert_eq!(
            view.order,
            Order {
                version: Version(was + 1),
                ..changed
            }
        );
        assert_eq!(view.authorizations.len(), 3, "they stay through changes of the order");
    }
    let again = store.commit(batch(Change::Order(new))).await.unwrap_err();
    assert!(matches!(again, CommitError::Duplicate(Unique::Identity)), "{again:?}");
}

pub(super) async fn listed_from_the_newest(store: &dyn Store) {
    let (ann, bob) = (AccountId::random(), AccountId::random());
    let part = authorization(ann, "a.example", 100);
    store.commit(batch(Change::Authorization(part.clone()))).await.unwrap();
    let mut of_ann = Vec::new();
    // Three are made at the same moment, so that pages cannot go by time alone.
    for created in [1, 2, 2, 2, 3] {
        let new = order(ann, created, &[&part]);
        of_ann.push(new.id);
        store.commit(batch(Change::Order(new))).await.unwrap();
    }
    let of_bob = Order {
        progress: Progress::Valid {
            certificate: Serial::random(),
        },
        ..order(bob, 9, &[])
    };
    store.commit(batch(Change::Order(of_bob.clone()))).await.unwrap();
    let newest_first: Vec<_> = of_ann.into_iter().rev().collect();

    let mut listed = Vec::new();
    let mut page = Page::first(2);
    loop {
        let views = store.orders_of(ann, page).await.unwrap();
        assert!(
            views.iter().all(|view| view.authorizations.len() == 1),
            "each with its authorizations"
        );
        let Some(last) = views.last() else { break };
        page = Page::after(last.order.id, 2);
        listed.extend(views.iter().map(|view| view.order.id));
    }
    assert_eq!(listed, newest_first);

    let list = async |page| -> Vec<_> { store.orders(page).await.unwrap().iter().map(|o| o.id).collect() };
    assert_eq!(list(Page::first(2)).await, [of_bob.id, newest_first[0]]);
    assert_eq!(list(Page::after(of_bob.id, 9)).await, newest_first);
    assert_eq!(list(Page::after(newest_first[3], 9)).await, newest_first[4..]);
}

pub(super) async fn authorizations_are_found_by_name_and_time(store: &dyn Store) {
    let (ann, bob) = (AccountId::random(), AccountId::random());
    let valid = |account, of, expires| Authorization {
        status: AuthorizationStatus::Valid,
        ..authorization(account, of, expires)
    };
    let (short, long) = (valid(ann, "a.example", 10), valid(ann, "a.example", 20));
    let pending = authorization(ann, "a.example", 30);
    let wildcard = valid(ann, "*.a.example", 40);
    for one in [&short, &long, &pending, &wildcard, &valid(bob, "a.example", 50)] {
        store.commit(batch(Change::Authorization(one.clone()))).await.unwrap();
    }

    let found = async |account, of: &str, when| {
        store
            .valid_authorization(account, &name(of), at(when))
            .await
            .unwrap()
            .map(|a| a.id)
    };
    assert_eq!(
        found(ann, "a.example", 0).await,
        Some(long.id),
        "the one that lasts longest"
    );
    assert_eq!(found(ann, "a.example", 19).await, Some(long.id));
    assert_eq!(found(ann, "a.example", 20).await, None, "what ends now is over");
    assert_eq!(
        found(ann, "*.a.example", 20).await,
        Some(wildcard.id),
        "a wildcard is a name of its own"
    );
    assert_eq!(found(ann, "b.example", 0).await, None);
    assert_eq!(
        found(AccountId::random(), "a.example", 0).await,
        None,
        "nobody uses another's"
    );

    let pending_at = async |when| {
        store
            .pending_authorization(ann, &name("a.example"), at(when))
            .await
            .unwrap()
    };
    assert_eq!(pending_at(29).await.map(|a| a.id), Some(pending.id));
    assert_eq!(pending_at(30).await, None);

    let given_up = Authorization {
        version: Version(1),
        status: AuthorizationStatus::Deactivated,
        ..long
    };
    store
        .commit(batch(Change::Authorization(given_up.clone())))
        .await
        .unwrap();
    assert_eq!(
        found(ann, "a.example", 5).await,
        Some(short.id),
        "what was given up is not found"
    );
    let read = store.authorization(given_up.id).await.unwrap();
    assert_eq!(
        read,
        Some(Authorization {
            version: Version(2),
            ..given_up
        })
    );
    assert_eq!(store.authorization(AuthorizationId::random()).await.unwrap(), None);
}

pub(super) async fn authorizations_for_trees_are_found_by_any_name_above(store: &dyn Store) {
    let ann = AccountId::random();
    let tree = |of, status, expires| Authorization {
        status,
        subdomains: true,
        ..authorization(ann, of, expires)
    };
    let valid = AuthorizationStatus::Valid;
    let (low, high) = (tree("b.a.example", valid, 10), tree("a.example", valid, 20));
    let pending = tree("a.example", AuthorizationStatus::Pending, 30);
    let plain = Authorization {
        status: valid,
        ..authorization(ann, "example", 40)
    };
    for one in [&low, &high, &pending, &plain] {
        store.commit(batch(Change::Authorization(one.clone()))).await.unwrap();
    }
    let found = async |account, names: &[&str], status, when| {
        let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
        let found = store.subdomain_authorization(account, &names, status, at(when)).await;
        found.unwrap().map(|a| a.id)
    };
    let path = ["c.b.a.example", "b.a.example", "a.example", "example"];
    assert_eq!(
        found(ann, &path, valid, 0).await,
        Some(high.id),
        "the one that lasts longest"
    );
    assert_eq!(found(ann, &path[..2], valid, 9).await, Some(low.id));
    assert_eq!(
        found(ann, &path, valid, 20).await,
        None,
        "one that is not for a tree is no answer"
    );
    assert_eq!(
        found(ann, &path, AuthorizationStatus::Pending, 20).await,
        Some(pending.id)
    );
    assert_eq!(found(ann, &["example"], valid, 0).await, None);
    assert_eq!(found(ann, &[], valid, 0).await, None);
    assert_eq!(
        found(AccountId::random(), &path, valid, 0).await,
        None,
        "nobody uses another's"
    );
    let exact = store.valid_authorization(ann, &name("a.example"), at(0)).await.unwrap();
    assert_eq!(exact.map(|a| a.id), None, "a tree is not found as a name");
}

pub(super) async fn due_authorizations_come_longest_due_first(store: &dyn Store) {
    let due = |of, next_try| {
        let mut one = authorization(AccountId::random(), of, 1_000);
        one.challenges[1].status = ChallengeStatus::Processing;
        one.challenges[1].next_try = Some(at(next_try));
        one
    };
    let (late, later, future) = (due("a.example", 5), due("b.example", 3), due("c.example", 50));
    for one in [
        &late,
        &later,
        &future,
        &authorization(AccountId::random(), "d.example", 1_000),
    ] {
        store.commit(batch(Change::Authorization(one.clone()))).await.unwrap();
    }
    let list = async |now, limit| {
        let (due, next) = store.authorizations_due(at(now), &[], &[], limit).await.unwrap();
        (due.iter().map(|a| a.id).collect::<Vec<_>>(), next)
    };
    assert_eq!(list(10, 9).await, (vec![later.id, late.id], Some(at(50))));
    assert_eq!(list(10, 1).await, (vec![later.id], Some(at(50))));
    assert_eq!(list(2, 9).await, (vec![], Some(at(3))));
    assert_eq!(list(50, 9).await, (vec![later.id, late.id, future.id], None));
    let without = async |accounts: &[AccountId]| {
        let (due, next) = store.authorizations_due(at(10), &[], accounts, 9).await.unwrap();
        (due.iter().map(|a| a.id).collect::<Vec<_>>(), next)
    };
    assert_eq!(without(&[later.account]).await, (vec![late.id], Some(at(50))));
    assert_eq!(without(&[later.account, late.account]).await, (vec![], Some(at(50))));
    let (due, _) = store.authorizations_due(at(10), &[later.id], &[], 1).await.unwrap();
    assert_eq!(due.len(), 1, "one that is being tried takes nobody's place");
    assert_eq!(due[0].id, late.id);

    let mut done = Authorization {
        version: Version(1),
        status: AuthorizationStatus::Valid,
        ..later
    };
    done.challenges[1].status = ChallengeStatus::Valid;
    store.commit(batch(Change::Authorization(done))).await.unwrap();
    assert_eq!(
        list(10, 9).await,
        (vec![late.id], Some(at(50))),
        "what is decided is not due"
    );
}

fn renewed(owner: AccountId, due: Option<i64>) -> Order {
    Order {
        auto_renewal: Some(AutoRenewal {
            start: Some(at(0)),
            start_given: true,
            end: at(900),
            lifetime_seconds: 60,
            adjust_seconds: Some(10),
            allow_get: true,
            csr: Some("MIIB".into()),
        }),
        progress: Progress::Renewing(Renewing {
            certificate: Some(Serial::random()),
            due: due.map(at),
            failures: 2,
            trouble: Some("no answer".into()),
            ..Renewing::default()
        }),
        ..order(owner, 0, &[])
    }
}

pub(super) async fn due_renewals_come_longest_due_first(store: &dyn Store) {
    let owner = AccountId::random();
    let (late, later, future) = (
        renewed(owner, Some(5)),
        renewed(owner, Some(3)),
        renewed(owner, Some(50)),
    );
    for one in [&late, &later, &future, &renewed(owner, None), &order(owner, 0, &[])] {
        store.commit(batch(Change::Order(one.clone()))).await.unwrap();
    }
    let read = store.order(late.id).await.unwrap().unwrap().order;
    assert_eq!(
        read,
        Order {
            version: Version(1),
            ..late.clone()
        },
        "it is kept whole"
    );
    let list = async |now, limit| {
        let (due, next) = store.orders_due(at(now), limit).await.unwrap();
        (due.iter().map(|order| order.id).collect::<Vec<_>>(), next)
    };
    assert_eq!(list(10, 9).await, (vec![later.id, late.id], Some(at(50))));
    assert_eq!(list(10, 1).await, (vec![later.id], Some(at(50))));
    assert_eq!(list(2, 9).await, (vec![], Some(at(3))));

    // Its first certificate is being made: it counts, and is never due.
    let beginning = Order {
        progress: Progress::Processing {
            certificate: Serial::random(),
        },
        ..renewed(owner, None)
    };
    store.commit(batch(Change::Order(beginning))).await.unwrap();
    let (due, next) = store.orders_due(at(60), 9).await.unwrap();
    assert_eq!(due.len(), 3);
    assert!(next.is_none_or(|next| next > at(1_000_000_000)), "{next:?}");
    assert_eq!(store.renewed_orders_of(owner).await.unwrap(), 4);

    let canceled = Order {
        version: Version(1),
        progress: Progress::Canceled {
            certificate: None,
            at: at(9),
            error: Some(Problem::new(ErrorType::Caa, "no")),
        },
        ..later
    };
    store.commit(batch(Change::Order(canceled.clone()))).await.unwrap();
    assert_eq!(list(50, 9).await.0, [late.id, future.id]);
    let read = store.order(canceled.id).await.unwrap().unwrap().order;
    assert_eq!(read.progress, canceled.progress);
}

pub(super) async fn renewals_are_counted_and_bounded(store: &dyn Store) {
    let (ann, bob) = (AccountId::random(), AccountId::random());
    for one in [
        renewed(ann, Some(5)),
        renewed(ann, Some(6)),
        renewed(ann, None),
        renewed(bob, Some(5)),
        order(ann, 0, &[]),
    ] {
        store.commit(batch(Change::Order(one))).await.unwrap();
    }
    assert_eq!(store.renewed_orders_of(ann).await.unwrap(), 2);
    assert_eq!(store.renewed_orders_of(bob).await.unwrap(), 1);
    assert_eq!(store.renewed_orders_of(AccountId::random()).await.unwrap(), 0);

    let third = renewed(ann, Some(7));
    let asked = |most| batch(Change::Order(third.clone())).provided(Premise::RenewedOrdersBelow(ann, most));
    assert!(matches!(store.commit(asked(2)).await, Err(CommitError::Conflict)));
    assert!(store.order(third.id).await.unwrap().is_none());
    store.commit(asked(3)).await.unwrap();
    assert_eq!(store.renewed_orders_of(ann).await.unwrap(), 3);
}
