//! The worker with a real store, a name server on loopback, and a clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use jiff::SignedDuration;
use sigillo_protocol::acme::account::AccountStatus;
use sigillo_protocol::acme::authorization::AuthorizationStatus;
use sigillo_protocol::acme::challenge::{ChallengeStatus, ChallengeType, dns01_value};
use sigillo_protocol::acme::identifier::Name;
use sigillo_protocol::acme::problem::ErrorType;
use sigillo_protocol::jose::Thumbprint;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::testing::{Act, NameServer, Reply, WebServer, mute, validator};
use super::super::{Failure, ValidationSettings};
use super::*;
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::model::Version;
use crate::store::embedded::SqliteStore;

const OWNER: &str = "_acme-challenge.zone.test";

fn key_authorization() -> String {
    "token.thumbprint".to_owned()
}

struct House {
    store: Arc<dyn Store>,
    clock: SharedClock,
    names: NameServer,
    account: AccountId,
}

impl House {
    async fn new(clock: SharedClock) -> Self {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open_in_memory().unwrap());
        let account = Account {
            id: AccountId::random(),
            version: Version::NEW,
            status: AccountStatus::Valid,
            jwk: "{}".into(),
            thumbprint: Thumbprint([7; 32]),
            earlier_keys: vec![],
            contact: vec![],
            terms_agreed: None,
            binding: None,
            created: clock.now(),
        };
        let house = Self {
            store,
            clock,
            names: NameServer::start().await,
            account: account.id,
        };
        house.commit(Change::Account(account), Action::AccountCreated).await;
        house
    }

    async fn another_account(&self) -> AccountId {
        let account = Account {
            id: AccountId::random(),
            version: Version::NEW,
            thumbprint: Thumbprint([6; 32]),
            ..self.store.account(self.account).await.unwrap().unwrap()
        };
        let id = account.id;
        self.commit(Change::Account(account), Action::AccountCreated).await;
        id
    }

    async fn commit(&self, change: Change, action: Action) {
        let event = AuditEvent {
            at: self.clock.now(),
            actor: Actor::System("test".into()),
            action,
            subject: "test".into(),
            detail: json!({}),
        };
        self.store.commit(Batch::new(event).with(change)).await.unwrap();
    }

    /// Writes an authorization for `zone.test` whose first challenge was answered.
    async fn answered(&self, kind: ChallengeType) -> AuthorizationId {
        self.answered_by(self.account, kind).await
    }

    async fn answered_by(&self, account: AccountId, kind: ChallengeType) -> AuthorizationId {
        let now = self.clock.now();
        let challenge = |kind, status| Challenge {
            kind,
            token: "token".into(),
            status,
            key_authorization: Some(key_authorization()),
            tries: 0,
            next_try: (status == ChallengeStatus::Processing).then_some(now),
            validated: None,
            error: None,
        };
        let authorization = Authorization {
            id: AuthorizationId::random(),
            version: Version::NEW,
            account,
            name: Name::Dns("zone.test".parse().unwrap()),
            subdomains: false,
            status: AuthorizationStatus::Pending,
            created: now,
            expires: now + SignedDuration::from_hours(1),
            persist_until: None,
            challenges: vec![
                challenge(kind, ChallengeStatus::Processing),
                challenge(ChallengeType::TlsAlpn01, ChallengeStatus::Pending),
            ],
        };
        let id = authorization.id;
        self.commit(Change::Authorization(authorization), Action::AuthorizationCreated)
            .await;
        id
    }

    fn start(&self, change: impl FnOnce(&mut ValidationSettings)) -> Worker {
        self.start_with(Arc::new(validator(&self.names, change)))
    }

    fn start_with(&self, validator: Arc<Validator>) -> Worker {
        let end: AuthorizationEnd = Arc::new(|now| now + SignedDuration::from_hours(24));
        let applicant: ApplicantOf = Arc::new(|account| Applicant {
            account_url: format!("https://ca.test/account/{}", account.id),
            hash_prefix: "https://ca.test/hash/".into(),
            thumbprints: account.thumbprints(),
        });
        let worker = ValidationWorker::new(self.store.clone(), self.clock.clone(), validator, end, applicant);
        let (stop, stopped) = watch::channel(false);
        Worker {
            task: tokio::spawn(worker.run(stopped)),
            stop,
        }
    }

    async fn read(&self, id: AuthorizationId) -> Authorization {
        self.store.authorization(id).await.unwrap().unwrap()
    }

    /// Waits until the authorization is as wanted.
    async fn wait(&self, id: AuthorizationId, wanted: impl Fn(&Authorization) -> bool) -> Authorization {
        for _ in 0..1200 {
            let authorization = self.read(id).await;
            if wanted(&authorization) {
                return authorization;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it stays {:?}", self.read(id).await);
    }

    async fn decided(&self, id: AuthorizationId) -> Authorization {
        self.wait(id, |a| a.status != AuthorizationStatus::Pending).await
    }

    async fn actions(&self) -> Vec<Action> {
        let records = self.store.audit(0, 100).await.unwrap();
        records.into_iter().map(|record| record.event.action).collect()
    }
}

struct Worker {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Worker {
    async fn stop(self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(2), self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

fn at(address: SocketAddr) -> impl FnOnce(&mut ValidationSettings) {
    move |settings| settings.http01_port = address.port()
}

#[tokio::test]
async fn a_challenge_that_is_answered_becomes_valid() {
    let house = House::new(Arc::new(SystemClock)).await;
    house.names.txt(OWNER, &[&[&dns01_value(&key_authorization())]]);
    let worker = house.start(|_| ());
    let id = house.answered(ChallengeType::Dns01).await;
    let authorization = house.decided(id).await;
    assert_eq!(authorization.status, AuthorizationStatus::Valid);
    assert!(authorization.expires > house.clock.now() + SignedDuration::from_hours(23));
    let challenge = authorization.validated_by().unwrap();
    assert_eq!((challenge.kind, challenge.tries), (ChallengeType::Dns01, 1));
    assert!(challenge.validated.is_some() && challenge.error.is_none());
    assert_eq!(authorization.due(), None);
    assert_eq!(house.actions().await.last(), Some(&Action::ChallengeValidated));
    worker.stop().await;
}

#[tokio::test]
async fn a_first_failure_is_shown_and_tried_again() {
    let house = House::new(Arc::new(SystemClock)).await;
    house
        .names
        .set(OWNER, RecordType::TXT, Reply::Code(ResponseCode::ServFail));
    let worker = house.start(|_| ());
    let id = house.answered(ChallengeType::Dns01).await;
    let waiting = house.wait(id, |a| a.challenges[0].tries == 1).await;
    assert_eq!(waiting.status, AuthorizationStatus::Pending);
    let challenge = &waiting.challenges[0];
    assert_eq!(challenge.status, ChallengeStatus::Processing);
    assert_eq!(challenge.error.as_ref().unwrap().kind, ErrorType::Dns);
    assert!(challenge.next_try.unwrap() > house.clock.now());
    house.names.txt(OWNER, &[&[&dns01_value(&key_authorization())]]);
    assert_eq!(house.decided(id).await.status, AuthorizationStatus::Valid);
    worker.stop().await;
}

#[tokio::test]
async fn decides_after_three_tries_and_says_why() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let house = House::new(clock.clone()).await;
    house.names.txt(OWNER, &[&["wrong"]]);
    let id = house.answered(ChallengeType::Dns01).await;
    let worker = house.start(|_| ());
    for tries in 1..=3 {
        let authorization = house.wait(id, |a| a.challenges[0].tries == tries).await;
        let last = tries == 3;
        assert_eq!(authorization.status == AuthorizationStatus::Invalid, last, "{tries}");
        assert_eq!(
            authorization.challenges[0].status == ChallengeStatus::Invalid,
            last,
            "{tries}"
        );
        assert_eq!(authorization.due().is_none(), last, "{tries}");
        let error = authorization.challenges[0].error.as_ref().unwrap();
        assert_eq!(error.kind, ErrorType::IncorrectResponse);
        clock.advance_seconds(10);
        // Any change of the store wakes the worker; a manual clock does not.
        let _ = house.answered(ChallengeType::Dns01).await;
    }
    let failed = house
        .actions()
        .await
        .iter()
        .filter(|a| **a == Action::ChallengeFailed)
        .count();
    assert!(failed >= 3, "each try is recorded: {failed}");
    worker.stop().await;
}

#[tokio::test]
async fn what_cannot_succeed_is_decided_at_once() {
    let house = House::new(Arc::new(SystemClock)).await;
    let worker = house.start(|_| ());
    let id = house.answered(ChallengeType::Dns01).await;
    let mut authorization = house.read(id).await;
    worker.stop().await;
    authorization = house.read(authorization.id).await;
    authorization.name = Name::Ip("127.0.0.1".parse().unwrap());
    house
        .commit(Change::Authorization(authorization), Action::AuthorizationCreated)
        .await;
    let worker = house.start(|_| ());
    let authorization = house.decided(id).await;
    assert_eq!(authorization.status, AuthorizationStatus::Invalid);
    let error = authorization.challenges[0].error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorType::Unauthorized);
    worker.stop().await;
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_run_was() {
    let house = House::new(Arc::new(SystemClock)).await;
    house.names.here("zone.test");
    let (silent, _kept) = mute().await;
    let id = house.answered(ChallengeType::Http01).await;
    let worker = house.start(at(silent));
    tokio::time::sleep(Duration::from_millis(100)).await;
    worker.stop().await;
    let untouched = house.read(id).await;
    assert_eq!(
        untouched.challenges[0].tries, 0,
        "a try that was broken off does not count"
    );
    let server = WebServer::start(|_| Act::ok("token.thumbprint")).await;
    let worker = house.start(at(server.address));
    assert_eq!(house.decided(id).await.status, AuthorizationStatus::Valid);
    worker.stop().await;
}

#[tokio::test]
async fn many_run_at_once() {
    let house = House::new(Arc::new(SystemClock)).await;
    house.names.here("zone.test");
    let server = WebServer::start(|_| {
        Act::Drip(
            b"HTTP/1.1 200 X\r\nContent-Length: 18\r\n\r\ntoken.thumbpri".to_vec(),
            b"nt\r\n".to_vec(),
        )
    })
    .await;
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(house.answered(ChallengeType::Http01).await);
    }
    let worker = house.start(at(server.address));
    for id in ids {
        assert_eq!(house.decided(id).await.status, AuthorizationStatus::Valid);
    }
    assert_eq!(server.requests().len(), 100, "each was tried once");
    worker.stop().await;
}

#[tokio::test]
async fn a_change_during_the_try_is_kept() {
    for (status, wanted) in [
        (AuthorizationStatus::Pending, AuthorizationStatus::Valid),
        (AuthorizationStatus::Deactivated, AuthorizationStatus::Deactivated),
    ] {
        let house = House::new(Arc::new(SystemClock)).await;
        house.names.here("zone.test");
        let server = WebServer::start(|_| {
            Act::Drip(
                b"HTTP/1.1 200 X\r\n\r\ntoken.thumbprint".to_vec(),
                b"\r\n\r\n\r\n".to_vec(),
            )
        })
        .await;
        let id = house.answered(ChallengeType::Http01).await;
        let worker = house.start(at(server.address));
        while server.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What a client's second response, or its deactivation, writes.
        let mut changed = house.read(id).await;
        changed.status = status;
        changed.challenges[0].next_try = Some(house.clock.now());
        house
            .commit(Change::Authorization(changed), Action::ChallengeAnswered)
            .await;
        if wanted == AuthorizationStatus::Valid {
            house.decided(id).await;
        } else {
            tokio::time::sleep(Duration::from_millis(1200)).await;
        }
        let authorization = house.read(id).await;
        assert_eq!(authorization.status, wanted);
        assert_eq!(
            authorization.validated_by().is_some(),
            wanted == AuthorizationStatus::Valid
        );
        worker.stop().await;
    }
}

#[tokio::test]
async fn an_expired_authorization_does_not_stay_due() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let house = House::new(clock.clone()).await;
    let id = house.answered(ChallengeType::Dns01).await;
    clock.advance_seconds(7200);
    let worker = house.start(|_| ());
    let authorization = house.decided(id).await;
    assert_eq!(authorization.status, AuthorizationStatus::Expired);
    assert_eq!(authorization.challenges[0].status, ChallengeStatus::Invalid);
    assert_eq!(authorization.due(), None);
    assert!(house.names.asked(RecordType::TXT).is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn one_account_leaves_places_to_the_others() {
    let house = House::new(Arc::new(SystemClock)).await;
    house.names.here("zone.test");
    let (silent, kept) = mute().await;
    for _ in 0..3 * CONCURRENCY_MAX {
        house.answered(ChallengeType::Http01).await;
    }
    let other = house.another_account().await;
    let worker = house.start(|settings| {
        at(silent)(settings);
        settings.attempt_timeout = Duration::from_secs(60);
    });
    house.names.txt(OWNER, &[&[&dns01_value(&key_authorization())]]);
    let theirs = house.answered_by(other, ChallengeType::Dns01).await;
    assert_eq!(
        house.decided(theirs).await.status,
        AuthorizationStatus::Valid,
        "it does not wait for the silent ones"
    );
    // What stays due for longer is not started again and again.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(kept.lock().unwrap().len(), PER_ACCOUNT_MAX);
    worker.stop().await;
}

#[tokio::test]
async fn a_closed_account_proves_nothing_more() {
    let house = House::new(Arc::new(SystemClock)).await;
    house.names.txt(OWNER, &[&[&dns01_value(&key_authorization())]]);
    let id = house.answered(ChallengeType::Dns01).await;
    let account = house.store.account(house.account).await.unwrap().unwrap();
    let closed = Account {
        status: AccountStatus::Deactivated,
        ..account
    };
    house.commit(Change::Account(closed), Action::AccountDeactivated).await;
    let worker = house.start(|_| ());
    let authorization = house.decided(id).await;
    assert_eq!(authorization.status, AuthorizationStatus::Invalid);
    let error = authorization.challenges[0].error.as_ref().unwrap();
    assert_eq!(error.kind, ErrorType::Unauthorized);
    assert!(house.names.asked(RecordType::TXT).is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn a_record_under_an_earlier_key_is_good_until_it_ends() {
    let house = House::new(Arc::new(SystemClock)).await;
    let account = house.store.account(house.account).await.unwrap().unwrap();
    let until = house.clock.now().as_second() + 600;
    let applicant = Applicant {
        account_url: format!("https://ca.test/account/{}", account.id),
        hash_prefix: "https://ca.test/hash/".into(),
        thumbprints: vec![],
    };
    let uri = applicant.account_uri(None, account.thumbprint);
    let record = format!("ca.test; accounturi={uri}; persistUntil={until}");
    house
        .names
        .txt("_validation-persist.zone.test", &[&[&record[..90], &record[90..]]]);
    let changed = account.with_key("{}".into(), Thumbprint([8; 32]));
    house.commit(Change::Account(changed), Action::AccountKeyChanged).await;
    let id = house.answered(ChallengeType::DnsPersist01).await;
    let worker = house.start(|settings| settings.dns_persist_names = vec!["ca.test".into()]);
    let authorization = house.decided(id).await;
    assert_eq!(authorization.status, AuthorizationStatus::Valid);
    let until = Timestamp::from_second(until).unwrap();
    assert_eq!(
        (authorization.expires, authorization.persist_until),
        (until, Some(until))
    );
    worker.stop().await;
}

#[tokio::test]
async fn persisting_failures_have_to_wait() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let house = House::new(clock.clone()).await;
    let validator = Arc::new(validator(&house.names, |settings| {
        settings.dns_persist_names = vec!["ca.test".into()];
        settings.failed_persist_per_hour = Some(1);
    }));
    let name = Name::Dns("zone.test".parse().unwrap());
    let waits = |account| validator.persist_wait(account, &name, clock.now()).is_some();
    let worker = house.start_with(validator.clone());
    let id = house.answered(ChallengeType::DnsPersist01).await;
    for tries in 1..=TRIES_MAX {
        house.wait(id, |a| a.challenges[0].tries == tries).await;
        assert_eq!(waits(house.account), tries == TRIES_MAX, "after {tries} tries");
        clock.advance_seconds(10);
        let _ = house.answered(ChallengeType::Http01).await;
    }
    assert!(!waits(AccountId::random()));
    worker.stop().await;
}

#[test]
fn pauses_grow_and_end() {
    let failure = |transient| Failure {
        problem: Problem::new(ErrorType::Dns, "x"),
        transient,
    };
    let seconds = |tries| pause(&failure(true), tries).map(|pause| pause.as_secs());
    assert_eq!(
        [seconds(1), seconds(2), seconds(3), seconds(4)],
        [Some(2), Some(5), None, None]
    );
    assert_eq!(pause(&failure(false), 1), None);
}
