//! Renewing what is due, once or for as long as the program runs.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;

use super::moment::{self, Step};
use super::{ask, random_fraction, validity_of};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::keystore::{CertificateName, Keystore, Renewal, StoredCertificate};
use crate::progress::{Event, Progress};
use crate::solver;

/// The longest sleep: certificates and settings may be changed by other commands meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(3600);
/// The shortest sleep, so that a clock that jumps cannot make the loop spin.
const SLEEP_MIN: Duration = Duration::from_secs(1);

/// What happened to one certificate.
#[derive(Debug)]
pub enum Outcome {
    /// It was renewed.
    Renewed(Box<StoredCertificate>),
    /// Nothing was to be done before this time; `None` when nothing ever is.
    NotDue(Option<Timestamp>),
    /// It could not be renewed; the next try is at this time.
    Failed(Error, Option<Timestamp>),
}

/// Looks at every certificate and renews what is due.
///
/// `connect` makes a client for the server that a certificate came from.
///
/// # Errors
/// When the folder cannot be read; what goes wrong with one certificate is its [`Outcome`].
pub async fn run_due<C, F>(
    store: &Keystore,
    connect: C,
    progress: &dyn Progress,
) -> Result<Vec<(CertificateName, Outcome)>>
where
    C: Fn(Renewal) -> F,
    F: Future<Output = Result<Client>>,
{
    let mut outcomes = Vec::new();
    for name in store.certificate_names()? {
        let outcome = match look_at(store, &name, &connect, progress).await {
            Ok(outcome) => outcome,
            Err(e) => Outcome::Failed(e, None),
        };
        outcomes.push((name, outcome));
    }
    Ok(outcomes)
}

async fn look_at<C, F>(
    store: &Keystore,
    name: &CertificateName,
    connect: &C,
    progress: &dyn Progress,
) -> Result<Outcome>
where
    C: Fn(Renewal) -> F,
    F: Future<Output = Result<Client>>,
{
    let mut stored = store.require_certificate(name)?;
    let validity = validity_of(&stored.leaf)?;
    // Whether the server gives advice is known only after its directory was read, which is not
    // worth a connection before something is to be asked.
    let mut next = moment::step(&stored.renewal.state, &validity, true, Timestamp::now());
    let client = match next {
        Step::Stop => return Ok(Outcome::NotDue(None)),
        Step::Wait(at) => return Ok(Outcome::NotDue(Some(at))),
        Step::Ask | Step::Renew => match connect(stored.renewal.clone()).await {
            Ok(client) => client,
            Err(e) => {
                let due = next == Step::Renew;
                let state = &mut stored.renewal.state;
                if due {
                    moment::note_failure(state, e.retry_after(), Timestamp::now());
                } else {
                    let failed = moment::Answer::Temporary {
                        retry_after: e.retry_after(),
                    };
                    moment::note_answer(state, &failed, &validity, Timestamp::now(), 0.0);
                }
                store.update_renewal(&stored)?;
                let at = stored.renewal.state.retry_at.or(stored.renewal.state.ask_again);
                return Ok(Outcome::Failed(e, at));
            }
        },
    };
    if next == Step::Ask {
        let answer = ask::ask(client.session(), &stored.leaf).await;
        let (now, random) = (Timestamp::now(), random_fraction()?);
        moment::note_answer(&mut stored.renewal.state, &answer, &validity, now, random);
        store.update_renewal(&stored)?;
        next = moment::step(&stored.renewal.state, &validity, true, now);
    }
    match next {
        Step::Renew => renew(store, &client, stored, progress).await,
        Step::Wait(at) => Ok(Outcome::NotDue(Some(at))),
        Step::Ask | Step::Stop => Ok(Outcome::NotDue(stored.renewal.state.ask_again)),
    }
}

async fn renew(
    store: &Keystore,
    client: &Client,
    mut stored: StoredCertificate,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let renewed = match solver::from_settings(&stored.renewal.challenges) {
        Ok(solvers) => client.renew(&stored.name, &solvers, progress).await,
        Err(e) => Err(e),
    };
    match renewed {
        Ok(renewed) => {
            if let Err(e) = client.deploy(&renewed, progress).await {
                progress.event(&Event::Warning(e.to_string()));
            }
            Ok(Outcome::Renewed(Box::new(renewed)))
        }
        Err(e) => {
            let state = &mut stored.renewal.state;
            moment::note_failure(state, e.retry_after(), Timestamp::now());
            let at = state.retry_at;
            store.update_renewal(&stored)?;
            Ok(Outcome::Failed(e, at))
        }
    }
}

/// Renews what is due again and again until `stop` is ready.
///
/// # Errors
/// When the folder cannot be read.
pub async fn watch<C, F>(
    store: &Keystore,
    connect: C,
    progress: &dyn Progress,
    stop: impl Future<Output = ()>,
    mut report: impl FnMut(&CertificateName, &Outcome),
) -> Result<()>
where
    C: Fn(Renewal) -> F,
    F: Future<Output = Result<Client>>,
{
    tokio::pin!(stop);
    loop {
        let round = run_due(store, &connect, progress);
        let outcomes = tokio::select! {
            outcomes = round => outcomes?,
            () = &mut stop => return Ok(()),
        };
        for (name, outcome) in &outcomes {
            report(name, outcome);
        }
        let pause = pause_until_next(&outcomes, Timestamp::now());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut stop => return Ok(()),
        }
    }
}

/// Returns how long to sleep before the next certificate is due.
fn pause_until_next(outcomes: &[(CertificateName, Outcome)], now: Timestamp) -> Duration {
    let moments = outcomes.iter().filter_map(|(_, outcome)| match outcome {
        // A new certificate's window is asked for in the next round, soon.
        Outcome::Renewed(_) => Some(now),
        Outcome::NotDue(at) | Outcome::Failed(_, at) => *at,
    });
    let next = moments.min().map_or(SLEEP_MAX, |at| {
        Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
    });
    next.clamp(SLEEP_MIN, SLEEP_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_until_the_next_moment_within_bounds() {
        let now: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        let name: CertificateName = "a.example".parse().unwrap();
        let pause = |moments: &[Option<i64>]| {
            let outcome = |m: &Option<i64>| {
                let at = m.map(|s| Timestamp::from_second(now.as_second() + s).unwrap());
                (name.clone(), Outcome::NotDue(at))
            };
            let outcomes: Vec<_> = moments.iter().map(outcome).collect();
            pause_until_next(&outcomes, now).as_secs()
        };
        assert_eq!(pause(&[]), 3600);
        assert_eq!(pause(&[None]), 3600);
        assert_eq!(pause(&[Some(900), Some(60), None]), 60);
        assert_eq!(pause(&[Some(-900)]), 1);
        assert_eq!(pause(&[Some(900_000)]), 3600);
    }
}
