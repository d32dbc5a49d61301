//! The responder: looks up what is asked, decides what is said, and keeps answers that serve again.

use std::{num::NonZeroU32, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use super::{
    Answer, ErrorStatus, Malformed, OcspIssuer, OcspRequest, RequestedStatus, Responder,
    cache::{AnswerCache, Cached},
    response::{Statement, Status, Times, response, response_data},
};
use crate::{
    clock::SharedClock,
    signer::SignError,
    status::{
        index::INDEX_CERTIFICATES_DEFAULT,
        time_guard::TimeGuard,
        view::{Known, Revision, StatusView},
    },
};

/// How answers are made.
#[derive(Debug, Clone, Copy)]
pub struct OcspSettings {
    /// From thisUpdate to nextUpdate.
    pub validity: SignedDuration,
    /// How long an answer is given out before a fresher one is made; at most half the validity is used.
    pub refresh: SignedDuration,
    /// How much memory ready-made answers may take.
    pub cache_octets: u64,
    /// How many certificates the local index holds.
    pub index_certificates: NonZeroU32,
}

impl Default for OcspSettings {
    /// Twelve hours, refreshed hourly.
    fn default() -> Self {
        Self {
            validity: SignedDuration::from_hours(12),
            refresh: SignedDuration::from_hours(1),
            cache_octets: super::CACHE_OCTETS_DEFAULT,
            index_certificates: NonZeroU32::new(INDEX_CERTIFICATES_DEFAULT).unwrap_or(NonZeroU32::MIN),
        }
    }
}

/// How long a relying party may believe that a certificate is unknown: it may be issued any moment.
const UNKNOWN_REFRESH: SignedDuration = SignedDuration::from_mins(1);

/// How many slow signatures may be under way or waited for: each holds a thread of the blocking pool.
const SLOW_SIGNATURES_MAX: usize = 32;

/// How long a request waits for its turn to be signed before it is told to try later.
const SIGNATURE_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// What a request gets.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A signed answer.
    Answer(Arc<Answer>),
    /// Only a status.
    Error(ErrorStatus),
}

/// Answers for a set of issuers.
pub struct OcspResponder {
    issuers: Vec<OcspIssuer>,
    settings: OcspSettings,
    view: Arc<StatusView>,
    clock: SharedClock,
    guard: Arc<TimeGuard>,
    cache: AnswerCache,
    slow_signatures: Arc<Semaphore>,
}

/// What the requests of one message come to, before it is signed.
struct Findings<'a> {
    statements: Vec<Statement<'a>>,
    known_at: Timestamp,
}

impl OcspResponder {
    /// Makes a responder over what is known.
    pub fn new(
        issuers: Vec<OcspIssuer>,
        settings: OcspSettings,
        view: Arc<StatusView>,
        clock: SharedClock,
        guard: Arc<TimeGuard>,
    ) -> Self {
        let cache = AnswerCache::new(settings.cache_octets);
        let slow_signatures = Arc::new(Semaphore::new(SLOW_SIGNATURES_MAX));
        Self {
            issuers,
            settings,
            view,
            clock,
            guard,
            cache,
            slow_signatures,
        }
    }

    /// Returns the issuers, for example to renew a responder's certificate.
    pub fn issuers(&self) -> &[OcspIssuer] {
        &self.issuers
    }

    /// Answers a request's bytes.
    pub async fn answer(&self, request: &[u8]) -> Reply {
        let now = self.clock.now();
        if let Some(answer) = self.ready_made(request, now) {
            return Reply::Answer(answer);
        }
        match self.make(request, now).await {
            Ok(answer) => Reply::Answer(answer),
            Err(status) => Reply::Error(status),
        }
    }

    /// Finds a ready-made answer that still says what is known.
    fn ready_made(&self, request: &[u8], now: Timestamp) -> Option<Arc<Answer>> {
        let cached = self.cache.get(request)?;
        let holds = cached.answer.is_fresh(now)
            && self.view.is_current(cached.revision)
            && !(cached.answer.says_good && self.view.is_in_doubt());
        holds.then_some(cached.answer)
    }

    async fn make(&self, octets: &[u8], now: Timestamp) -> Result<Arc<Answer>, ErrorStatus> {
        let request = OcspRequest::from_der(octets).map_err(refuse)?;
        let now = self.guard.check(now).map_err(|error| {
            tracing::error!(%error, "no OCSP answer is signed");
            ErrorStatus::TryLater
        })?;
        let issuer = self
            .issuers
            .iter()
            .find(|issuer| request.requests.iter().any(|asked| names(issuer, asked)))
            .ok_or(ErrorStatus::Unauthorized)?;
        // Read before the status is looked up: a change in between makes the revision, and the answer, outdated.
        let revision = request
            .requests
            .first()
            .and_then(|asked| asked.serial)
            .map(|serial| self.view.revision(serial));
        let findings = self.find(issuer, &request.requests, now).await?;
        let responder = issuer.responder();
        let times = self.times(&responder, findings.known_at, self.clock.now())?;
        let refresh_at = self.refresh_at(&findings, times);
        let says_good = findings
            .statements
            .iter()
            .any(|statement| statement.status == Status::Good);
        let keep = request.is_plain
            && findings
                .statements
                .iter()
                .all(|statement| statement.status != Status::Unknown);
        let der = self
            .sign(&responder, &findings.statements, times, request.nonce)
            .await?;
        let answer = Arc::new(Answer::new(
            der,
            times.this_update,
            times.next_update,
            refresh_at,
            says_good,
            request.nonce.is_none(),
        ));
        if keep && let Some(revision) = revision {
            self.keep(octets, &answer, revision);
        }
        Ok(answer)
    }

    fn keep(&self, request: &[u8], answer: &Arc<Answer>, revision: Revision) {
        self.cache.insert(
            request,
            Cached {
                answer: answer.clone(),
                revision,
            },
        );
    }

    /// Looks up each certificate. One of another issuer than the one that signs is unknown in this answer:
    /// a responder speaks with authority for its own issuer only.
    async fn find<'a>(
        &self,
        issuer: &OcspIssuer,
        requests: &[RequestedStatus<'a>],
        now: Timestamp,
    ) -> Result<Findings<'a>, ErrorStatus> {
        let mut findings = Findings {
            statements: Vec::with_capacity(requests.len()),
            known_at: now,
        };
        for asked in requests {
            let status = match asked.serial {
                Some(serial) if names(issuer, asked) => {
                    let known = self.view.lookup(issuer.id(), serial).await.map_err(|error| {
                        tracing::warn!(%error, %serial, "a status cannot be looked up");
                        ErrorStatus::TryLater
                    })?;
                    let status = status_of(&known);
                    findings.known_at = findings.known_at.min(known.at);
                    // A change that came while this was looked up is known since then, not since before.
                    if let Status::Revoked(revocation) = status {
                        findings.known_at = findings.known_at.max(revocation.at);
                    }
                    status
                }
                _ => Status::Unknown,
            };
            findings.statements.push(Statement {
                cert_id: asked.cert_id,
                status,
            });
        }
        Ok(findings)
    }

    /// Decides the times of an answer, or that none can be given.
    fn times(&self, responder: &Responder, known_at: Timestamp, now: Timestamp) -> Result<Times, ErrorStatus> {
        if !responder.is_valid(now) {
            tracing::error!(not_after = %responder.not_after, "the OCSP responder's certificate is not valid now; renew it");
            return Err(ErrorStatus::InternalError);
        }
        let next_update = known_at
            .checked_add(self.settings.validity)
            .map_or(responder.not_after, |wanted| wanted.min(responder.not_after));
        if next_update.as_second() <= now.as_second() {
            tracing::error!(%known_at, "what is known is too old for an OCSP answer");
            return Err(ErrorStatus::TryLater);
        }
        Ok(Times {
            produced_at: now,
            this_update: known_at,
            next_update,
        })
    }

    fn refresh_at(&self, findings: &Findings<'_>, times: Times) -> Timestamp {
        let unknown = findings
            .statements
            .iter()
            .any(|statement| statement.status == Status::Unknown);
        let wanted = if unknown {
            UNKNOWN_REFRESH.min(self.settings.refresh)
        } else {
            self.settings.refresh
        };
        let half = times.next_update.duration_since(times.produced_at) / 2;
        times
            .produced_at
            .checked_add(wanted.min(half))
            .unwrap_or(times.next_update)
    }

    async fn sign(
        &self,
        responder: &Arc<Responder>,
        statements: &[Statement<'_>],
        times: Times,
        nonce: Option<&[u8]>,
    ) -> Result<Vec<u8>, ErrorStatus> {
        let data = response_data(responder, statements, times, nonce).map_err(|error| {
            tracing::error!(%error, "an OCSP answer cannot be encoded");
            ErrorStatus::InternalError
        })?;
        let (data, signature) = if responder.slow {
            self.sign_aside(responder.clone(), data).await?
        } else {
            let signature = responder.signer.sign(&data);
            (data, signature)
        };
        match signature {
            Ok(signature) => Ok(response(responder, &data, &signature)),
            Err(error) => {
                tracing::error!(%error, "an OCSP answer was not signed");
                Err(ErrorStatus::InternalError)
            }
        }
    }

    /// Signs on another thread; gives back what was signed.
    async fn sign_aside(
        &self,
        responder: Arc<Responder>,
        data: Vec<u8>,
    ) -> Result<(Vec<u8>, Result<Vec<u8>, SignError>), ErrorStatus> {
        let turn = tokio::time::timeout(SIGNATURE_WAIT, self.slow_signatures.clone().acquire_owned());
        let Ok(Ok(permit)) = turn.await else {
            return Err(ErrorStatus::TryLater);
        };
        let work = tokio::task::spawn_blocking(move || {
            let signature = responder.signer.sign(&data);
            drop(permit);
            (data, signature)
        });
        work.await.map_err(|error| {
            tracing::error!(%error, "signing an OCSP answer broke off");
            ErrorStatus::InternalError
        })
    }
}

fn refuse(reason: Malformed) -> ErrorStatus {
    tracing::debug!(%reason, "an OCSP request is refused");
    ErrorStatus::MalformedRequest
}

fn names(issuer: &OcspIssuer, asked: &RequestedStatus<'_>) -> bool {
    asked
        .hash
        .is_some_and(|algorithm| issuer.is_named_by(algorithm, asked.name_hash, asked.key_hash))
}

fn status_of(known: &Known) -> Status {
    match &known.record {
        None => Status::Unknown,
        Some(record) => record.revocation.map_or(Status::Good, Status::Revoked),
    }
}
