//! Crashes on both sides of the signature.

use jiff::SignedDuration;
use sigillo_protocol::{acme::account::AccountStatus, jose::Thumbprint, x509::key::KeyKind};

use super::*;
use crate::{
    issuer::{
        prepare::{IssueRequest, prepare},
        testing::{authorities, name, now, profile, request},
    },
    model::{Account, AccountId, AuthorizationId, AutoRenewal, OrderId, Renewing, Version},
    policy::profile::Validity,
    signer::verify,
    store::embedded::SqliteStore,
};

struct Scene {
    store: SqliteStore,
    issuer: Issuer,
    account: AccountId,
}

fn event(action: Action, subject: String) -> AuditEvent {
    AuditEvent {
        at: now(),
        actor: system(),
        action,
        subject,
        detail: serde_json::Value::Null,
    }
}

fn renewal(end: Timestamp) -> AutoRenewal {
    AutoRenewal {
        start: Some(now()),
        start_given: false,
        end,
        lifetime_seconds: 3600,
        adjust_seconds: None,
        allow_get: false,
        csr: None,
    }
}

impl Scene {
    async fn new() -> Self {
        let store = SqliteStore::open_in_memory().unwrap();
        let account = Account {
            id: AccountId::random(),
            version: Version::NEW,
            status: AccountStatus::Valid,
            jwk: "{}".into(),
            thumbprint: Thumbprint([1; 32]),
            earlier_keys: vec![],
            contact: Vec::new(),
            terms_agreed: None,
            binding: None,
            created: now(),
        };
        let id = account.id;
        let made = event(Action::AccountCreated, id.to_string());
        store
            .commit(Batch::new(made).with(Change::Account(account)))
            .await
            .unwrap();
        Self {
            store,
            issuer: authorities(KeyKind::EcdsaP256, &[]).issuer,
            account: id,
        }
    }

    fn order(&self, progress: Progress) -> Order {
        Order {
            id: OrderId::random(),
            version: Version::NEW,
            account: self.account,
            created: now(),
            expires: now() + SignedDuration::from_hours(24),
            names: vec![name("a.example")],
            not_before: None,
            not_after: None,
            profile: "default".into(),
            replaces: None,
            auto_renewal: None,
            authorizations: Vec::new(),
            progress,
        }
    }

    /// Records an intention with its order in processing, as finalize does.
    async fn intend(&self) -> (Recorded, OrderId) {
        let order = self.order(Progress::Open);
        let id = order.id;
        let made = event(Action::OrderCreated, id.to_string());
        self.store
            .commit(Batch::new(made).with(Change::Order(order.clone())))
            .await
            .unwrap();

        let serial = Serial::random();
        let wish = IssueRequest {
            account: Some(self.account),
            order: Some(id),
            ..request(KeyKind::EcdsaP256, &["a.example"])
        };
        let profile = profile();
        let linted = prepare(&self.issuer, &profile, wish, serial, now())
            .unwrap()
            .lint()
            .unwrap();
        let finalized = Order {
            version: order.version.next(),
            progress: Progress::Processing { certificate: serial },
            ..order
        };
        let batch = Batch::new(event(Action::OrderFinalized, id.to_string())).with(Change::Order(finalized));
        (linted.record(&self.store, batch).await.unwrap(), id)
    }

    /// Records the next certificate of an order that is renewed, as the renewer does, on an authorization.
    async fn intend_next(&self, authorization: AuthorizationStatus) -> (Serial, OrderId) {
        let proven = Authorization {
            id: AuthorizationId::random(),
            version: Version::NEW,
            account: self.account,
            name: name("a.example"),
            subdomains: false,
            status: authorization,
            created: now(),
            expires: now() - SignedDuration::from_hours(1),
            persist_until: None,
            challenges: Vec::new(),
        };
        let serial = Serial::random();
        let order = Order {
            authorizations: vec![proven.id],
            auto_renewal: Some(renewal(now() + SignedDuration::from_hours(24))),
            ..self.order(Progress::Renewing(Renewing {
                certificate: Some(Serial::from_bytes([9; 16])),
                next: Some(serial),
                due: Some(now() + SignedDuration::from_mins(2)),
                failures: 3,
                trouble: None,
            }))
        };
        let wish = IssueRequest {
            account: Some(self.account),
            order: Some(order.id),
            term: Some(Validity {
                not_before: now(),
                not_after: now() + SignedDuration::from_secs(3599),
            }),
            ..request(KeyKind::EcdsaP256, &["a.example"])
        };
        let linted = prepare(&self.issuer, &profile(), wish, serial, now())
            .unwrap()
            .lint()
            .unwrap();
        let batch = Batch::new(event(Action::OrderRenewed, order.id.to_string()))
            .with(Change::Authorization(proven))
            .with(Change::Order(order.clone()));
        linted.record(&self.store, batch).await.unwrap();
        (serial, order.id)
    }

    async fn renewing(&self, order: OrderId) -> Renewing {
        match self.progress(order).await {
            Progress::Renewing(renewing) => renewing,
            other => panic!("it is not renewed any more: {other:?}"),
        }
    }

    async fn certificate(&self, serial: Serial) -> Certificate {
        self.store.certificate(serial).await.unwrap().unwrap()
    }

    async fn progress(&self, order: OrderId) -> Progress {
        self.store.order(order).await.unwrap().unwrap().order.progress
    }

    async fn resume(&self, issuers: &[Issuer], at: Timestamp) -> Resumed {
        resume(&self.store, issuers, at).await.unwrap()
    }
}

#[tokio::test]
async fn recorded_before_signed_and_issued_after() {
    let scene = Scene::new().await;
    let (recorded, order) = scene.intend().await;
    let serial = recorded.certificate().serial;
    assert_eq!(scene.certificate(serial).await, *recorded.certificate());
    assert_eq!(
        scene.store.status(serial).await.unwrap(),
        None,
        "never good before it is issued"
    );

    let signed = recorded.sign(&scene.issuer).unwrap();
    let mut record = scene.store.order(order).await.unwrap().unwrap().order;
    record.progress = Progress::Valid { certificate: serial };
    let batch = signed.clone().batch(system(), now()).with(Change::Order(record));
    scene.store.commit(batch).await.unwrap();
    let stored = scene.certificate(serial).await;
    assert_eq!(stored.der(), Some(signed.der()));
    assert!(scene.store.status(serial).await.unwrap().is_some());
    assert_eq!(
        scene.resume(std::slice::from_ref(&scene.issuer), now()).await,
        Resumed::default()
    );
}

#[tokio::test]
async fn what_was_recorded_and_not_issued_is_finished_with_the_same_bytes() {
    let scene = Scene::new().await;
    let (recorded, order) = scene.intend().await;
    let certificate = recorded.certificate().clone();
    // The key may have been used: nobody has seen it.
    drop(recorded.sign(&scene.issuer).unwrap());

    let later = now() + SignedDuration::from_mins(5);
    let resumed = scene.resume(std::slice::from_ref(&scene.issuer), later).await;
    assert_eq!(
        resumed,
        Resumed {
            finished: vec![certificate.serial],
            ..Resumed::default()
        }
    );
    assert_eq!(
        scene.progress(order).await,
        Progress::Valid {
            certificate: certificate.serial
        }
    );
    let stored = scene.certificate(certificate.serial).await;
    assert_eq!(stored.tbs, [0; 0], "the whole certificate holds it");
    let der = stored.der().unwrap();
    let Ok(([], parsed)) = x509_parser::certificate::X509Certificate::from_der(der) else {
        panic!("the certificate can be read");
    };
    assert_eq!(parsed.tbs_certificate.as_ref(), certificate.tbs);
    let signer = scene.issuer.signer();
    assert!(verify(
        signer.algorithm(),
        signer.spki_der(),
        &certificate.tbs,
        &parsed.signature_value.data
    ));
    assert_eq!(
        scene.resume(std::slice::from_ref(&scene.issuer), later).await,
        Resumed::default()
    );
}

#[tokio::test]
async fn what_cannot_be_finished_is_voided_with_its_order() {
    let year = SignedDuration::from_hours(366 * 24);
    for (why, other_issuer, at) in [("expired", false, now() + year), ("other key", true, now())] {
        let scene = Scene::new().await;
        let (recorded, order) = scene.intend().await;
        let serial = recorded.certificate().serial;
        let other = authorities(KeyKind::EcdsaP256, &[]).issuer;
        let issuer = if other_issuer { other } else { scene.issuer.clone() };
        let resumed = scene.resume(&[issuer], at).await;
        assert_eq!(
            resumed,
            Resumed {
                voided: vec![serial],
                ..Resumed::default()
            },
            "{why}"
        );
        assert_eq!(scene.certificate(serial).await.state, CertificateState::Void);
        assert!(matches!(scene.progress(order).await, Progress::Invalid { .. }), "{why}");
        assert_eq!(scene.store.status(serial).await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_first_certificate_of_an_order_begins_its_renewal() {
    let scene = Scene::new().await;
    let (recorded, id) = scene.intend().await;
    let serial = recorded.certificate().serial;
    let end = now() + SignedDuration::from_hours(400 * 24);
    let order = scene.store.order(id).await.unwrap().unwrap().order;
    let batch = Batch::new(event(Action::OrderFinalized, id.to_string())).with(Change::Order(Order {
        auto_renewal: Some(renewal(end)),
        ..order
    }));
    scene.store.commit(batch).await.unwrap();
    let resumed = scene.resume(std::slice::from_ref(&scene.issuer), now()).await;
    assert_eq!(resumed.finished, [serial]);
    let renewing = scene.renewing(id).await;
    assert_eq!(renewing.certificate, Some(serial));
    assert!(renewing.due.is_some_and(|due| due > now() && due < end));
    assert_eq!(scene.store.order(id).await.unwrap().unwrap().order.expires, end);
}

#[tokio::test]
async fn the_next_certificate_of_a_renewed_order_is_finished_though_time_has_ended_its_authorization() {
    let scene = Scene::new().await;
    let (serial, order) = scene.intend_next(AuthorizationStatus::Valid).await;
    let resumed = scene
        .resume(
            std::slice::from_ref(&scene.issuer),
            now() + SignedDuration::from_mins(1),
        )
        .await;
    assert_eq!(resumed.finished, [serial]);
    let renewing = scene.renewing(order).await;
    assert_eq!((renewing.certificate, renewing.next), (Some(serial), None));
    assert_eq!(renewing.failures, 0);
    assert!(
        renewing
            .due
            .is_some_and(|due| due > now() && due < now() + SignedDuration::from_mins(30))
    );
    assert!(scene.store.status(serial).await.unwrap().is_some());
}

#[tokio::test]
async fn a_renewed_order_outlives_a_certificate_that_is_voided() {
    let after = now() + SignedDuration::from_hours(2);
    for (status, at) in [
        (AuthorizationStatus::Deactivated, now()),
        (AuthorizationStatus::Valid, after),
    ] {
        let scene = Scene::new().await;
        let (serial, order) = scene.intend_next(status).await;
        let resumed = scene.resume(std::slice::from_ref(&scene.issuer), at).await;
        assert_eq!(resumed.voided, [serial], "{status:?}");
        let renewing = scene.renewing(order).await;
        assert_eq!(
            renewing.certificate,
            Some(Serial::from_bytes([9; 16])),
            "the last one is still there"
        );
        assert_eq!(
            (renewing.next, renewing.due),
            (None, Some(at)),
            "and another one is begun at once"
        );
        assert!(renewing.trouble.is_some());
    }
}

#[tokio::test]
async fn a_cancellation_that_came_in_between_wins() {
    let scene = Scene::new().await;
    let (serial, id) = scene.intend_next(AuthorizationStatus::Valid).await;
    let order = scene.store.order(id).await.unwrap().unwrap().order;
    let canceled = Progress::Canceled {
        certificate: None,
        at: now(),
        error: None,
    };
    let batch = Batch::new(event(Action::OrderCanceled, id.to_string())).with(Change::Order(Order {
        progress: canceled.clone(),
        ..order
    }));
    scene.store.commit(batch).await.unwrap();
    let resumed = scene.resume(std::slice::from_ref(&scene.issuer), now()).await;
    assert_eq!(resumed.voided, [serial]);
    assert_eq!(scene.progress(id).await, canceled);
    assert_eq!(scene.store.status(serial).await.unwrap(), None);
}

#[tokio::test]
async fn what_nobody_waits_for_is_voided() {
    let scene = Scene::new().await;
    let profile = profile();
    let wish = request(KeyKind::EcdsaP256, &["a.example"]);
    let linted = prepare(&scene.issuer, &profile, wish, Serial::random(), now())
        .unwrap()
        .lint()
        .unwrap();
    let serial = linted.serial();
    linted.record_alone(&scene.store).await.unwrap();
    let resumed = scene.resume(std::slice::from_ref(&scene.issuer), now()).await;
    assert_eq!(resumed.voided, [serial]);
}

#[tokio::test]
async fn a_clock_that_went_back_changes_nothing() {
    let scene = Scene::new().await;
    let (recorded, order) = scene.intend().await;
    let serial = recorded.certificate().serial;
    let earlier = now() - SignedDuration::from_secs(1);
    let resumed = scene.resume(std::slice::from_ref(&scene.issuer), earlier).await;
    assert_eq!(
        resumed,
        Resumed {
            left: vec![serial],
            ..Resumed::default()
        }
    );
    assert_eq!(scene.certificate(serial).await.state, CertificateState::Intended);
    assert_eq!(
        scene.progress(order).await,
        Progress::Processing { certificate: serial }
    );
    let resumed = scene.resume(std::slice::from_ref(&scene.issuer), now()).await;
    assert_eq!(resumed.finished, [serial]);
}

#[tokio::test]
async fn a_serial_is_never_recorded_twice() {
    let scene = Scene::new().await;
    let serial = Serial::random();
    let profile = profile();
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let wish = request(KeyKind::EcdsaP256, &["a.example"]);
        let linted = prepare(&scene.issuer, &profile, wish, serial, now())
            .unwrap()
            .lint()
            .unwrap();
        outcomes.push(linted.record_alone(&scene.store).await.map(|_| ()));
    }
    assert!(outcomes[0].is_ok());
    let duplicate = CommitError::Duplicate(crate::store::Unique::Serial);
    assert_eq!(outcomes[1].as_ref().unwrap_err().to_string(), duplicate.to_string());
}

#[tokio::test]
async fn another_issuer_does_not_sign_it() {
    let scene = Scene::new().await;
    let (recorded, _) = scene.intend().await;
    let other = authorities(KeyKind::EcdsaP256, &[]).issuer;
    // The same name, another key: its signature is not the recorded issuer's, and the certificate says so.
    assert!(!is_meant_for(&recorded.certificate().tbs, &other));
    assert!(is_meant_for(&recorded.certificate().tbs, &scene.issuer));
}
