//! Orders that are renewed, under a clock that the test moves.

use std::path::Path;

use jiff::SignedDuration;
use sigillo_protocol::{
    acme::{auto_renewal::AutoRenewal as Wish, identifier::Identifier, order::NewOrder, order::OrderStatus},
    jose::Jwk,
    x509::key::KeyKind,
};

use super::*;
use crate::{
    clock::{Clock, ManualClock},
    config::{Settings, raw},
    issuer::testing::{authorities, now},
    model::{Action, Actor, BlockedKey, CertificateState, Serial, Version},
    policy::{KnownKeys, NameRules},
    registrar::{NewOrderRequest, Parts, StandingOrder},
    status::{CrlSettings, OcspSettings, StatusParts, StatusService},
    store::{CertificateFilter, Page, Store, embedded::SqliteStore},
    validator::Validator,
};

const LIFETIME: i64 = 3600;
const NAME: &str = "a.example";

struct Scene {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    registrar: Arc<Registrar>,
    account: Account,
    url: AccountUrl,
}

fn event(subject: impl ToString) -> AuditEvent {
    AuditEvent {
        at: now(),
        actor: Actor::System("test".into()),
        action: Action::AccountUpdated,
        subject: subject.to_string(),
        detail: json!({}),
    }
}

async fn registrar(store: &Arc<dyn Store>, clock: &Arc<ManualClock>, set: &[&str]) -> Arc<Registrar> {
    let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
    let settings = Settings::check(raw::read("", "test", &set).unwrap(), Path::new("nowhere")).unwrap();
    let parts = StatusParts {
        ocsp_issuers: vec![],
        ocsp: OcspSettings::default(),
        crl_issuers: vec![],
        crl: CrlSettings::default(),
        index_dir: None,
    };
    let status = StatusService::open(store.clone(), clock.clone(), parts).await.unwrap();
    Arc::new(Registrar::new(Parts {
        store: store.clone(),
        clock: clock.clone(),
        settings: settings.acme,
        profiles: settings.profiles,
        names: settings.names,
        known_keys: KnownKeys::default(),
        issuer: Arc::new(authorities(KeyKind::EcdsaP256, &[]).issuer),
        validator: Arc::new(Validator::new(settings.validation).unwrap()),
        status,
    }))
}

const SETTINGS: &[&str] = &["validation.always_valid=true"];

impl Scene {
    async fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open_in_memory().unwrap());
        let clock = Arc::new(ManualClock::new(now()));
        let registrar = registrar(&store, &clock, SETTINGS).await;
        let key = rcgen::KeyPair::generate().unwrap();
        let jwk = Jwk::from_spki_der(&rcgen::PublicKeyData::subject_public_key_info(&key)).unwrap();
        let account = Account {
            id: AccountId::random(),
            version: Version::NEW,
            status: AccountStatus::Valid,
            jwk: jwk.to_json(),
            thumbprint: jwk.thumbprint(),
            earlier_keys: vec![],
            contact: vec![],
            terms_agreed: None,
            binding: None,
            created: now(),
        };
        let batch = Batch::new(event("account")).with(Change::Account(account.clone()));
        store.commit(batch).await.unwrap();
        Self {
            store,
            clock,
            registrar,
            account,
            url: Arc::new(|id| format!("https://ca.test/acme/account/{id}")),
        }
    }

    /// Places an order and has its authorization valid.
    async fn place(&self, start: Option<Timestamp>, duration: SignedDuration) -> OrderId {
        let order = NewOrder {
            identifiers: vec![Identifier::dns(NAME).into()],
            auto_renewal: Some(Wish {
                start_date: start,
                end_date: start.unwrap_or_else(|| self.clock.now()) + duration,
                lifetime: LIFETIME,
                lifetime_adjust: None,
                allow_certificate_get: None,
            }),
            ..NewOrder::default()
        };
        let request = NewOrderRequest {
            account: &self.account,
            order: &order,
        };
        let placed = self.registrar.new_order(request).await.unwrap();
        let view = self.store.order(placed.order.id).await.unwrap().unwrap();
        let mut proven = view.authorizations[0].clone();
        proven.status = AuthorizationStatus::Valid;
        let batch = Batch::new(event("proof")).with(Change::Authorization(proven));
        self.store.commit(batch).await.unwrap();
        placed.order.id
    }

    async fn finalize(&self, id: OrderId) -> StandingOrder {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let csr = params.serialize_request(&key).unwrap();
        self.registrar
            .finalize(self.account.id, id, csr.der(), &(self.url)(self.account.id))
            .await
            .unwrap()
    }

    async fn begun(&self) -> OrderId {
        let id = self.place(None, SignedDuration::from_hours(24)).await;
        assert_eq!(self.finalize(id).await.status, OrderStatus::Valid);
        id
    }

    async fn order(&self, id: OrderId) -> Order {
        self.store.order(id).await.unwrap().unwrap().order
    }

    async fn renewing(&self, id: OrderId) -> Renewing {
        match self.order(id).await.progress {
            Progress::Renewing(renewing) => renewing,
            other => panic!("it is not renewed: {other:?}"),
        }
    }

    async fn renew(&self, id: OrderId) {
        self.registrar.renew(id, &self.url).await.unwrap();
    }

    /// Moves the clock to the order's due time.
    async fn due(&self, id: OrderId) {
        self.clock.set(self.renewing(id).await.due.unwrap());
    }

    async fn issued(&self) -> usize {
        let filter = CertificateFilter {
            state: Some("issued".into()),
            ..CertificateFilter::default()
        };
        self.store.certificates(&filter, Page::first(1000)).await.unwrap().len()
    }

    /// Renews at the due time, and returns why the order is canceled.
    async fn end_of(&self, id: OrderId) -> String {
        self.due(id).await;
        let before = self.issued().await;
        self.renew(id).await;
        assert_eq!(self.issued().await, before, "nothing more is issued");
        match self.order(id).await.progress {
            Progress::Canceled { error, .. } => error.unwrap().detail,
            other => panic!("it goes on: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_order_is_renewed_when_it_is_due_and_not_before_and_to_its_end_date() {
    let scene = Scene::new().await;
    let id = scene.begun().await;
    let end = now() + SignedDuration::from_hours(24);
    assert_eq!(scene.order(id).await.expires, end);
    let mut serials = vec![scene.renewing(id).await.certificate.unwrap()];
    while let Some(due) = scene.renewing(id).await.due {
        let last = scene
            .store
            .certificate(*serials.last().unwrap())
            .await
            .unwrap()
            .unwrap();
        let half = last.not_before + SignedDuration::from_secs(LIFETIME / 2);
        assert!(due < half, "{due} {last:?}");
        scene.clock.set(due - SignedDuration::from_secs(1));
        scene.renew(id).await;
        assert_eq!(scene.renewing(id).await.certificate, Some(last.serial), "it is early");
        scene.clock.set(due);
        scene.renew(id).await;
        scene.renew(id).await;
        let renewing = scene.renewing(id).await;
        let next = renewing.certificate.unwrap();
        assert!(!serials.contains(&next) && renewing.next.is_none());
        serials.push(next);
        assert!(serials.len() < 100);
    }
    assert_eq!(scene.issued().await, serials.len());
    assert!(serials.len() > 48, "{}", serials.len());
    let last = scene
        .store
        .certificate(*serials.last().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(last.not_after, end);
    let star = |account| scene.registrar.star_certificate(id, account);
    let shown = star(Some(scene.account.id)).await.unwrap().unwrap();
    assert_eq!((shown.certificate.serial, shown.fresh_until), (last.serial, end));
    assert!(
        star(None).await.unwrap().is_none(),
        "nobody has allowed unsigned requests"
    );
    scene.clock.set(end + SignedDuration::from_millis(1));
    let refusal = star(Some(scene.account.id)).await.unwrap_err();
    let Refusal::Problem(problem) = refusal else { panic!() };
    assert_eq!(problem.kind, ErrorType::AutoRenewalExpired);
    assert_eq!(scene.renewing(id).await.due, None);
}

#[tokio::test]
async fn a_start_far_ahead_is_waited_for() {
    let scene = Scene::new().await;
    let start = now() + SignedDuration::from_hours(6 * 24);
    let id = scene.place(Some(start), SignedDuration::from_hours(24)).await;
    let standing = scene.finalize(id).await;
    assert_eq!(standing.status, OrderStatus::Valid);
    assert_eq!(scene.issued().await, 0);
    scene.due(id).await;
    assert!(scene.clock.now() < start);
    scene.renew(id).await;
    let renewing = scene.renewing(id).await;
    let first = scene
        .store
        .certificate(renewing.certificate.unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.not_before, start);
    assert!(renewing.due.unwrap() > start);
}

#[tokio::test]
async fn a_proof_that_time_has_ended_still_counts_and_one_that_was_given_up_does_not() {
    let scene = Scene::new().await;
    let id = scene.begun().await;
    let mut proof = scene.store.order(id).await.unwrap().unwrap().authorizations[0].clone();
    proof.expires = now();
    let put = async |proof: &crate::model::Authorization| {
        let batch = Batch::new(event("proof")).with(Change::Authorization(proof.clone()));
        scene.store.commit(batch).await.unwrap();
    };
    put(&proof).await;
    scene.due(id).await;
    scene.renew(id).await;
    assert_eq!(scene.issued().await, 2);
    proof.version = proof.version.next();
    proof.status = AuthorizationStatus::Deactivated;
    put(&proof).await;
    assert!(scene.end_of(id).await.contains("authorization"));
}

#[tokio::test]
async fn a_record_that_has_said_its_end_ends_it() {
    let scene = Scene::new().await;
    let id = scene.begun().await;
    let mut proof = scene.store.order(id).await.unwrap().unwrap().authorizations[0].clone();
    proof.persist_until = Some(now());
    let batch = Batch::new(event("proof")).with(Change::Authorization(proof));
    scene.store.commit(batch).await.unwrap();
    scene.due(id).await;
    assert!(scene.end_of(id).await.contains("DNS record"));
    assert_eq!(scene.issued().await, 1);
}

#[tokio::test]
async fn a_closed_account_and_a_blocked_key_end_it() {
    let scene = Scene::new().await;
    let (first, second) = (scene.begun().await, scene.begun().await);
    let serial = scene.renewing(first).await.certificate.unwrap();
    let key = BlockedKey {
        spki_sha256: scene.store.certificate(serial).await.unwrap().unwrap().spki_sha256,
        since: now(),
        comment: String::new(),
    };
    let batch = Batch::new(event("key")).with(Change::BlockedKey(key));
    scene.store.commit(batch).await.unwrap();
    assert!(scene.end_of(first).await.contains("key"));
    scene.registrar.close_account(scene.account.id).await.unwrap();
    scene.clock.set(now());
    assert!(scene.end_of(second).await.contains("account"));
}

#[tokio::test]
async fn what_can_be_mended_is_tried_again_later_and_told() {
    let scene = Scene::new().await;
    let id = scene.begun().await;
    let strict = registrar(
        &scene.store,
        &scene.clock,
        &["validation.always_valid=true", "names.deny=[\"a.example\"]"],
    )
    .await;
    assert_ne!(strict.names, NameRules::default());
    for failures in 1..=3 {
        scene.due(id).await;
        let at = scene.clock.now();
        strict.renew(id, &scene.url).await.unwrap();
        let renewing = scene.renewing(id).await;
        assert_eq!(renewing.failures, failures);
        assert!(renewing.trouble.unwrap().contains(NAME));
        let pause = SignedDuration::from_secs(LIFETIME / 16 * (1 << (failures - 1)));
        assert_eq!(renewing.due, Some(at + pause));
    }
    scene.due(id).await;
    scene.renew(id).await;
    let renewing = scene.renewing(id).await;
    assert_eq!((renewing.failures, renewing.trouble), (0, None));
    assert_eq!(scene.issued().await, 2);
}

#[tokio::test]
async fn an_intention_that_got_stuck_is_replaced_after_a_while() {
    let scene = Scene::new().await;
    let id = scene.begun().await;
    scene.due(id).await;
    let stuck = Serial::random();
    let order = scene.order(id).await;
    let Progress::Renewing(renewing) = order.progress.clone() else {
        panic!()
    };
    let due = scene.clock.now() + INTENT_PATIENCE;
    let progress = Progress::Renewing(Renewing {
        next: Some(stuck),
        due: Some(due),
        ..renewing
    });
    let batch = Batch::new(event("stuck")).with(Change::Order(Order { progress, ..order }));
    scene.store.commit(batch).await.unwrap();
    scene.renew(id).await;
    assert_eq!(
        scene.renewing(id).await.next,
        Some(stuck),
        "somebody may still be at it"
    );
    scene.clock.set(due);
    scene.renew(id).await;
    let renewing = scene.renewing(id).await;
    assert_eq!(renewing.next, None);
    assert_ne!(renewing.certificate, Some(stuck));
    assert_eq!(scene.issued().await, 2);
}

#[tokio::test]
async fn two_workers_make_one_certificate() {
    let scene = Scene::new().await;
    let id = scene.begun().await;
    scene.due(id).await;
    let other = registrar(&scene.store, &scene.clock, SETTINGS).await;
    let (one, two) = tokio::join!(scene.registrar.renew(id, &scene.url), other.renew(id, &scene.url));
    one.unwrap();
    two.unwrap();
    assert_eq!(scene.issued().await, 2);
    let filter = CertificateFilter::default();
    let all = scene.store.certificates(&filter, Page::first(10)).await.unwrap();
    assert!(
        all.iter().all(|c| matches!(c.state, CertificateState::Issued { .. })),
        "{all:?}"
    );
}

#[tokio::test]
async fn the_worker_wakes_by_itself() {
    let scene = Scene::new().await;
    let (stop, stopped) = watch::channel(false);
    let worker = tokio::spawn(Renewer::new(scene.registrar.clone(), scene.url.clone()).run(stopped));
    let id = scene.begun().await;
    scene.due(id).await;
    // The clock of the test wakes nobody; any change of the store does.
    let batch = Batch::new(event("knock")).with(Change::BlockedKey(BlockedKey {
        spki_sha256: [3; 32],
        since: now(),
        comment: String::new(),
    }));
    scene.store.commit(batch).await.unwrap();
    let mut changed = scene.store.changed();
    while scene.issued().await < 2 {
        tokio::time::timeout(Duration::from_secs(20), changed.changed())
            .await
            .expect("it is renewed")
            .unwrap();
    }
    stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(20), worker)
        .await
        .unwrap()
        .unwrap();
}
