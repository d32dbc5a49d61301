//! What pruning takes, and what it leaves.

use sigillo_protocol::acme::authorization::AuthorizationStatus;

use super::records::{at, authorization, batch, certificate, crl, event, issued, order, revoked};
use crate::{
    audit::{self, Chain},
    model::{
        AccountId, Action, Authorization, Certificate, CertificateState, Order, Progress, Renewing, Revocation, Serial,
    },
    store::{Batch, CertificateFilter, Change, Page, PruneLimits, Pruned, Store},
};

fn limits(orders: i64, certificates: Option<i64>) -> PruneLimits {
    PruneLimits {
        orders_ended_before: at(orders),
        certificates_expired_before: certificates.map(at),
        renewed_expired_before: at(-1),
        count_max: 100,
    }
}

pub(super) async fn takes_orders_that_are_over_and_what_only_they_named(store: &dyn Store) {
    let owner = AccountId::random();
    let of_old = authorization(owner, "a.example", 500);
    let shared = authorization(owner, "b.example", 500);
    let alone = authorization(owner, "c.example", 500);
    let lasting = Authorization {
        status: AuthorizationStatus::Valid,
        ..authorization(owner, "d.example", 9_000)
    };
    let old = order(owner, 0, &[&of_old, &shared, &lasting]);
    let busy = Order {
        progress: Progress::Processing {
            certificate: Serial::random(),
        },
        ..order(owner, 0, &[])
    };
    let young = order(owner, 5_000, &[&shared]);
    let mut all = Batch::new(event("all"));
    for one in [&old, &busy, &young] {
        all.push(Change::Order(one.clone()));
    }
    for one in [&of_old, &shared, &alone, &lasting] {
        all.push(Change::Authorization(one.clone()));
    }
    store.commit(all).await.unwrap();

    let pruned = store.prune(limits(500, None), at(3_000)).await.unwrap();
    assert_eq!(pruned, Pruned::default(), "nothing is over yet");
    let pruned = store.prune(limits(3_000, None), at(3_000)).await.unwrap();
    assert_eq!(
        pruned,
        Pruned {
            orders: 1,
            authorizations: 2,
            certificates: 0
        }
    );
    assert!(store.order(old.id).await.unwrap().is_none());
    assert!(
        store.order(busy.id).await.unwrap().is_some(),
        "one that is being issued stays"
    );
    assert_eq!(
        store.order(young.id).await.unwrap().unwrap().authorizations.len(),
        1,
        "what it names stays"
    );
    assert!(
        store.authorization(lasting.id).await.unwrap().is_some(),
        "what can still be used stays"
    );
    assert!(store.authorization(of_old.id).await.unwrap().is_none());
    assert!(store.authorization(alone.id).await.unwrap().is_none());
}

pub(super) async fn keeps_revoked_certificates_until_a_crl_after_their_end(store: &dyn Store) {
    let put = async |one: &Certificate| {
        store.commit(batch(Change::Certificate(one.clone()))).await.unwrap();
        one.serial
    };
    let revocation = Revocation {
        at: at(1),
        reason: None,
        invalid_since: None,
    };
    let waiting = put(&certificate(&["a.example"], 10)).await;
    let expired = put(&issued(&certificate(&["b.example"], 10))).await;
    put(&Certificate {
        state: CertificateState::Void,
        ..certificate(&["c.example"], 10)
    })
    .await;
    let early = put(&revoked(&certificate(&["d.example"], 10), revocation)).await;
    let living = put(&issued(&certificate(&["e.example"], 90))).await;

    let prune = async || store.prune(limits(0, Some(50)), at(60)).await.unwrap().certificates;
    assert_eq!(prune().await, 2, "the issued and the void one");
    assert_eq!(store.certificate(expired).await.unwrap(), None);
    assert_eq!(store.status(expired).await.unwrap(), None);

    let position = store.status_position().await.unwrap().0;
    store.commit(batch(Change::Crl(crl(1, 9, position)))).await.unwrap();
    assert_eq!(prune().await, 0, "that CRL is from before the end");
    store.commit(batch(Change::Crl(crl(2, 11, 1)))).await.unwrap();
    assert_eq!(prune().await, 0, "that CRL does not know of the revocation");
    store.commit(batch(Change::Crl(crl(3, 12, position)))).await.unwrap();
    assert_eq!(prune().await, 1);
    assert_eq!(store.certificate(early).await.unwrap(), None);

    let left = store
        .certificates(&CertificateFilter::default(), Page::first(10))
        .await
        .unwrap();
    let mut expected = [waiting, living];
    expected.sort();
    assert_eq!(left.iter().map(|c| c.serial).collect::<Vec<_>>(), expected);
    let named = CertificateFilter {
        name: Some(super::records::name("b.example")),
        ..Default::default()
    };
    assert_eq!(store.certificates(&named, Page::first(10)).await.unwrap(), []);
    assert_eq!(
        store.status_position().await.unwrap().0,
        position,
        "the feed does not go back"
    );
}

pub(super) async fn takes_the_expired_certificates_of_renewed_orders_earlier(store: &dyn Store) {
    let owner = AccountId::random();
    let plain = order(owner, 0, &[]);
    let renewed = Order {
        progress: Progress::Renewing(Renewing::default()),
        ..order(owner, 0, &[])
    };
    let canceled = Order {
        progress: Progress::Canceled {
            certificate: None,
            at: at(9),
            error: None,
        },
        ..order(owner, 0, &[])
    };
    let of = |order: &Order, not_after| Certificate {
        order: Some(order.id),
        ..issued(&certificate(&["a.example"], not_after))
    };
    let (ordinary, first, second, living) = (of(&plain, 10), of(&renewed, 10), of(&canceled, 20), of(&renewed, 90));
    let pulled = Certificate {
        order: Some(renewed.id),
        ..revoked(
            &certificate(&["a.example"], 10),
            Revocation {
                at: at(1),
                reason: None,
                invalid_since: None,
            },
        )
    };
    let mut all = Batch::new(event("all"));
    for one in [&plain, &renewed, &canceled] {
        all.push(Change::Order(one.clone()));
    }
    for one in [&ordinary, &first, &second, &living, &pulled] {
        all.push(Change::Certificate(one.clone()));
    }
    store.commit(all).await.unwrap();
    let limits = PruneLimits {
        renewed_expired_before: at(30),
        ..limits(0, Some(5))
    };
    assert_eq!(store.prune(limits, at(40)).await.unwrap().certificates, 2);
    for (one, stays) in [
        (&ordinary, true),
        (&first, false),
        (&second, false),
        (&living, true),
        (&pulled, true),
    ] {
        let found = store.certificate(one.serial).await.unwrap();
        assert_eq!(found.is_some(), stays, "{:?}", one.not_after);
    }
}

pub(super) async fn goes_in_portions_and_is_recorded(store: &dyn Store) {
    let mut all = Batch::new(event("all"));
    for _ in 0..5 {
        all.push(Change::Order(order(AccountId::random(), 0, &[])));
    }
    store.commit(all).await.unwrap();
    let limits = PruneLimits {
        count_max: 2,
        ..limits(3_000, None)
    };
    let mut portions = Vec::new();
    loop {
        let pruned = store.prune(limits, at(3_000)).await.unwrap();
        if pruned == Pruned::default() {
            break;
        }
        portions.push(pruned.orders);
    }
    assert_eq!(portions, [2, 2, 1]);
    let log = store.audit(1, 10).await.unwrap();
    assert!(
        log.iter()
            .all(|record| record.event.action == Action::Pruned && record.event.at == at(3_000))
    );
    let told: Vec<_> = log
        .iter()
        .map(|record| record.event.detail["orders"].as_u64())
        .collect();
    assert_eq!(
        told,
        [Some(2), Some(2), Some(1)],
        "and an empty portion is not recorded"
    );
    audit::verify(Chain::START, &store.audit(0, 10).await.unwrap()).unwrap();
}
