//! The decision about the moment of renewal: pure, so that every case can be tested.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sigillo_protocol::acme::renewal_info::Window;

use crate::keystore::RenewalState;

/// The server is not asked more often, whatever it says (RFC 9773 section 4.3.2).
const ASK_SOONEST: Duration = Duration::from_secs(60);
/// The server is asked at least this often, whatever it says.
const ASK_LATEST: Duration = Duration::from_secs(24 * 3600);
/// The pause after an answer that will not get better by itself (RFC 9773 section 4.3.3).
const ASK_AFTER_LONG_TERM_ERROR: Duration = Duration::from_secs(6 * 3600);
/// The pause after the first temporary failure; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(60);
/// The longest pause after failures to renew.
const RETRY_LATEST: Duration = Duration::from_secs(6 * 3600);
/// Certificates that live no longer are renewed at half their life, others at two thirds.
const SHORT_LIFE: SignedDuration = SignedDuration::from_hours(10 * 24);
/// Renewal happens at the latest when this part of the life is left, whatever the server suggests.
const LAST_PART: i32 = 20;
/// The fallback moments of many certificates are spread over this part of the life.
const JITTER_PART: i32 = 20;

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment.
    pub not_before: Timestamp,
    /// Its last moment.
    pub not_after: Timestamp,
}

impl Validity {
    fn life(&self) -> SignedDuration {
        self.not_after.duration_since(self.not_before).max(SignedDuration::ZERO)
    }
}

/// What came of asking the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A window, with when to ask again.
    Window {
        /// The window.
        window: Window,
        /// The server's Retry-After; its absence counts as a long-term error of its own.
        retry_after: Option<Duration>,
    },
    /// It did not answer, or is overloaded.
    Temporary {
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It does not know the certificate, or says what makes no sense.
    LongTerm,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask the server for its window.
    Ask,
    /// Renew.
    Renew,
    /// Nothing before this moment.
    Wait(Timestamp),
    /// Nothing ever again.
    Stop,
}

/// Returns the state of a certificate that was just obtained.
pub fn first_state(validity: &Validity, random: f64) -> RenewalState {
    RenewalState {
        renew_at: Some(fallback(validity, random)),
        ..RenewalState::default()
    }
}

/// Returns when to renew without advice: at two thirds of the life, a little spread.
fn fallback(validity: &Validity, random: f64) -> Timestamp {
    let life = validity.life();
    let from = if life <= SHORT_LIFE { life / 2 } else { life / 3 * 2 };
    let spread = (life / JITTER_PART).mul_f64(random.clamp(0.0, 1.0));
    validity
        .not_before
        .checked_add(from + spread)
        .unwrap_or(validity.not_before)
}

/// Takes note of what came of asking.
pub fn note_answer(state: &mut RenewalState, answer: &Answer, validity: &Validity, now: Timestamp, random: f64) {
    let pause = match answer {
        Answer::Window { window, retry_after } if window.end > window.start => {
            state.ask_failures = 0;
            // A moment that was chosen stays chosen: choosing anew at each poll would draw the
            // renewals together at the window's beginning.
            if state.window != Some(*window) {
                state.window = Some(*window);
                state.renew_at = Some(choose(window, validity, random));
            }
            retry_after.unwrap_or(ASK_AFTER_LONG_TERM_ERROR)
        }
        Answer::Window { .. } | Answer::LongTerm => {
            state.ask_failures = state.ask_failures.saturating_add(1);
            ASK_AFTER_LONG_TERM_ERROR
        }
        Answer::Temporary { retry_after } => {
            let backoff = doubled(state.ask_failures, ASK_AFTER_LONG_TERM_ERROR);
            state.ask_failures = state.ask_failures.saturating_add(1);
            retry_after.unwrap_or(backoff).max(backoff)
        }
    };
    state.ask_again = Some(later(now, pause.clamp(ASK_SOONEST, ASK_LATEST)));
}

/// Chooses a moment in a window, but never one that comes too late for the certificate.
fn choose(window: &Window, validity: &Validity, random: f64) -> Timestamp {
    let length = window.end.duration_since(window.start);
    let offset = length.mul_f64(random.clamp(0.0, 1.0));
    let chosen = window.start.checked_add(offset).unwrap_or(window.start);
    let margin = validity.life() / LAST_PART;
    chosen.min(validity.not_after.checked_sub(margin).unwrap_or(validity.not_after))
}

/// Takes note that renewing failed.
pub fn note_failure(state: &mut RenewalState, retry_after: Option<Duration>, now: Timestamp) {
    let backoff = doubled(state.renew_failures, RETRY_LATEST);
    let pause = retry_after.unwrap_or(backoff).clamp(backoff, ASK_LATEST.max(backoff));
    state.renew_failures = state.renew_failures.saturating_add(1);
    state.retry_at = Some(later(now, pause));
}

/// Decides what to do now; `ari` says whether the server gives advice.
pub fn step(state: &RenewalState, validity: &Validity, ari: bool, now: Timestamp) -> Step {
    if state.revoked {
        return Step::Stop;
    }
    // The server is not asked about an expired certificate any more (RFC 9773 section 4.3.3):
    // there is nothing left to wait for.
    let expired = now >= validity.not_after;
    let due = expired || state.renew_at.is_none_or(|at| at <= now);
    if due {
        return match state.retry_at {
            Some(at) if at > now => Step::Wait(at),
            _ => Step::Renew,
        };
    }
    if ari && state.ask_again.is_none_or(|at| at <= now) {
        return Step::Ask;
    }
    let renew_at = state.renew_at.unwrap_or(now);
    match state.ask_again {
        Some(ask_again) if ari => Step::Wait(renew_at.min(ask_again)),
        _ => Step::Wait(renew_at),
    }
}

fn doubled(failures: u32, latest: Duration) -> Duration {
    RETRY_FIRST.saturating_mul(1_u32 << failures.min(16)).min(latest)
}

fn later(now: Timestamp, pause: Duration) -> Timestamp {
    now.checked_add(pause).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn ninety_days() -> Validity {
        Validity {
            not_before: at("2026-01-01T00:00:00Z"),
            not_after: at("2026-04-01T00:00:00Z"),
        }
    }

    fn window(start: &str, end: &str) -> Window {
        Window {
            start: at(start),
            end: at(end),
        }
    }

    fn answer(start: &str, end: &str, retry_after: u64) -> Answer {
        let retry_after = Some(Duration::from_secs(retry_after));
        Answer::Window {
            window: window(start, end),
            retry_after,
        }
    }

    #[test]
    fn c9773_4_3_3_01_renews_at_a_chosen_moment_of_the_window() {
        let validity = ninety_days();
        let now = at("2026-02-01T00:00:00Z");
        let mut state = first_state(&validity, 0.0);
        assert_eq!(step(&state, &validity, true, now), Step::Ask);
        let told = answer("2026-02-10T00:00:00Z", "2026-02-12T00:00:00Z", 21600);
        note_answer(&mut state, &told, &validity, now, 0.25);
        assert_eq!(state.renew_at, Some(at("2026-02-10T12:00:00Z")));
        assert_eq!(
            step(&state, &validity, true, now),
            Step::Wait(at("2026-02-01T06:00:00Z"))
        );
        // The same window again does not move the chosen moment.
        let now = at("2026-02-10T11:00:00Z");
        assert_eq!(step(&state, &validity, true, now), Step::Ask);
        note_answer(&mut state, &told, &validity, now, 0.9);
        assert_eq!(
            step(&state, &validity, true, now),
            Step::Wait(at("2026-02-10T12:00:00Z"))
        );
        assert_eq!(step(&state, &validity, true, at("2026-02-10T12:00:00Z")), Step::Renew);
    }

    #[test]
    fn c9773_4_3_3_01_a_window_in_the_past_means_now() {
        let validity = ninety_days();
        let now = at("2026-02-01T00:00:00Z");
        let mut state = first_state(&validity, 0.0);
        let told = answer("2026-01-10T00:00:00Z", "2026-01-12T00:00:00Z", 21600);
        note_answer(&mut state, &told, &validity, now, 0.99);
        assert_eq!(step(&state, &validity, true, now), Step::Renew);
    }

    #[test]
    fn c9773_4_3_3_01_asks_again_as_told_within_own_limits() {
        let validity = ninety_days();
        let now = at("2026-02-01T00:00:00Z");
        let asked_again = |answer: &Answer| {
            let mut state = first_state(&validity, 0.0);
            note_answer(&mut state, answer, &validity, now, 0.5);
            state.ask_again.unwrap().duration_since(now).as_secs()
        };
        let (start, end) = ("2026-02-10T00:00:00Z", "2026-02-12T00:00:00Z");
        assert_eq!(asked_again(&answer(start, end, 0)), 60);
        assert_eq!(asked_again(&answer(start, end, 21600)), 21600);
        assert_eq!(asked_again(&answer(start, end, 10_000_000)), 24 * 3600);
        assert_eq!(asked_again(&Answer::LongTerm), 6 * 3600);
        // An end before its start is an error that will not go away by itself.
        assert_eq!(asked_again(&answer(end, start, 60)), 6 * 3600);
        let silent = Answer::Window {
            window: window(start, end),
            retry_after: None,
        };
        assert_eq!(asked_again(&silent), 6 * 3600);
    }

    #[test]
    fn c9773_4_3_3_01_temporary_errors_back_off_up_to_six_hours() {
        let validity = ninety_days();
        let now = at("2026-02-01T00:00:00Z");
        let mut state = first_state(&validity, 0.0);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let failed = Answer::Temporary { retry_after: None };
            note_answer(&mut state, &failed, &validity, now, 0.5);
            pauses.push(state.ask_again.unwrap().duration_since(now).as_secs());
        }
        assert_eq!(pauses[..4], [60, 120, 240, 480]);
        assert_eq!(pauses[11], 6 * 3600);
        assert!(state.renew_at.is_some(), "the fallback stays while the server is away");
    }

    #[test]
    fn c9773_4_3_3_01_stops_asking_about_the_expired_and_the_revoked() {
        let validity = ninety_days();
        let mut state = first_state(&validity, 0.0);
        assert_eq!(step(&state, &validity, true, at("2026-05-01T00:00:00Z")), Step::Renew);
        note_failure(&mut state, None, at("2026-05-01T00:00:00Z"));
        assert_eq!(
            step(&state, &validity, true, at("2026-05-01T00:00:01Z")),
            Step::Wait(at("2026-05-01T00:01:00Z"))
        );
        state.revoked = true;
        assert_eq!(step(&state, &validity, true, at("2026-02-01T00:00:00Z")), Step::Stop);
    }

    #[test]
    fn without_advice_it_renews_at_two_thirds_of_the_life() {
        let validity = ninety_days();
        let state = first_state(&validity, 0.0);
        assert_eq!(state.renew_at, Some(at("2026-03-02T00:00:00Z")));
        let now = at("2026-02-01T00:00:00Z");
        assert_eq!(
            step(&state, &validity, false, now),
            Step::Wait(at("2026-03-02T00:00:00Z"))
        );
        assert_eq!(first_state(&validity, 1.0).renew_at, Some(at("2026-03-06T12:00:00Z")));
        let short = Validity {
            not_before: at("2026-01-01T00:00:00Z"),
            not_after: at("2026-01-07T00:00:00Z"),
        };
        assert_eq!(first_state(&short, 0.0).renew_at, Some(at("2026-01-04T00:00:00Z")));
    }

    #[test]
    fn a_window_after_the_expiry_does_not_let_the_certificate_expire() {
        let validity = ninety_days();
        let mut state = first_state(&validity, 0.0);
        let told = answer("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z", 60);
        note_answer(&mut state, &told, &validity, at("2026-02-01T00:00:00Z"), 0.5);
        assert!(state.renew_at.unwrap() < validity.not_after);
    }
}
