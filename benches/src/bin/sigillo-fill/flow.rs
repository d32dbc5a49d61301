//! What an order writes over ACME: placed, answered, validated, intended, issued, each durable before the next.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use jiff::SignedDuration;
use serde_json::json;
use sigillo_benches::authority::now;
use sigillo_ca::{
    model::{AccountId, Action, Authorization, AuthorizationId, Challenge, Order, OrderId, Progress, Version},
    store::{Batch, Change, Premise, Store, embedded::SqliteStore},
};
use sigillo_protocol::acme::{
    authorization::AuthorizationStatus,
    challenge::{ChallengeStatus, ChallengeType},
};

use crate::record::{Template, event, events, name};

/// Lets so many tasks issue so many certificates in all.
pub async fn issue(store: &Arc<SqliteStore>, template: &Arc<Template>, tasks: u64, count: u64) {
    let (next, first) = (Arc::new(AtomicU64::new(0)), now().as_microsecond().cast_unsigned());
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let (store, template, next) = (store.clone(), template.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    one(&*store, &template, first + number).await;
                }
            })
        })
        .collect();
    for task in running {
        task.await.expect("the work does not fail");
    }
}

async fn one(store: &dyn Store, template: &Template, number: u64) {
    let account = template.account(number);
    let mut authorization = authorization(account, number);
    let mut order = order(account, number, &authorization);
    let commit = async |batch: Batch| store.commit(batch).await.expect("the batch is committed");
    let told = |action, subject: String, detail| event(action, now(), account, subject, detail);

    let detail = json!({ "names": [name(number).to_string()], "profile": order.profile });
    commit(
        Batch::new(told(Action::OrderCreated, order.id.to_string(), detail))
            .with(Change::Authorization(authorization.clone()))
            .with(Change::Order(order.clone())),
    )
    .await;
    let challenge = json!({ "challenge": "http-01", "name": name(number).to_string() });
    authorization.version = authorization.version.next();
    authorization.challenges[0].status = ChallengeStatus::Processing;
    authorization.challenges[0].next_try = Some(now());
    authorization.challenges[0].key_authorization = Some(format!("{}.{}", "t".repeat(22), "k".repeat(43)));
    let answered = told(
        Action::ChallengeAnswered,
        authorization.id.to_string(),
        challenge.clone(),
    );
    commit(Batch::new(answered).with(Change::Authorization(authorization.clone()))).await;
    store.order(order.id).await.expect("the store is read");

    authorization.version = authorization.version.next();
    authorization.status = AuthorizationStatus::Valid;
    authorization.challenges[0].status = ChallengeStatus::Valid;
    authorization.challenges[0].next_try = None;
    authorization.challenges[0].validated = Some(now());
    authorization.expires = now() + SignedDuration::from_hours(30 * 24);
    let validated = told(Action::ChallengeValidated, authorization.id.to_string(), challenge);
    commit(Batch::new(validated).with(Change::Authorization(authorization.clone()))).await;
    store.order(order.id).await.expect("the store is read");

    let mut certificate = template.intended(number, order.id);
    let serial = certificate.serial;
    let [intended, issued] = events(&certificate, account);
    order.version = order.version.next();
    order.progress = Progress::Processing { certificate: serial };
    let detail = json!({ "certificate": serial.to_string() });
    commit(
        Batch::new(told(Action::OrderFinalized, order.id.to_string(), detail))
            .and(intended)
            .provided(Premise::Authorization(authorization.id, authorization.version.next()))
            .provided(Premise::KeyNotBlocked(certificate.spki_sha256))
            .with(Change::Order(order.clone()))
            .with(Change::Certificate(certificate.clone())),
    )
    .await;
    certificate.version = certificate.version.next();
    order.version = order.version.next();
    order.progress = Progress::Valid { certificate: serial };
    commit(
        Batch::new(issued)
            .with(Change::Certificate(template.issued(&certificate)))
            .with(Change::Order(order)),
    )
    .await;
    store.certificate(serial).await.expect("the store is read");
}

fn authorization(account: AccountId, number: u64) -> Authorization {
    let challenge = |kind| Challenge {
        kind,
        token: "t".repeat(22),
        status: ChallengeStatus::Pending,
        key_authorization: None,
        tries: 0,
        next_try: None,
        validated: None,
        error: None,
    };
    Authorization {
        id: AuthorizationId::random(),
        version: Version::NEW,
        account,
        name: name(number),
        subdomains: false,
        status: AuthorizationStatus::Pending,
        created: now(),
        expires: now() + SignedDuration::from_hours(7 * 24),
        persist_until: None,
        challenges: vec![
            challenge(ChallengeType::Http01),
            challenge(ChallengeType::Dns01),
            challenge(ChallengeType::TlsAlpn01),
        ],
    }
}

fn order(account: AccountId, number: u64, authorization: &Authorization) -> Order {
    Order {
        id: OrderId::random(),
        version: Version::NEW,
        account,
        created: now(),
        expires: now() + SignedDuration::from_hours(7 * 24),
        names: vec![name(number)],
        not_before: None,
        not_after: None,
        profile: "default".to_owned(),
        replaces: None,
        auto_renewal: None,
        authorizations: vec![authorization.id],
        progress: Progress::Open,
    }
}
