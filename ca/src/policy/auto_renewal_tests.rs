//! Terms and due times, played through without a clock.

use super::*;
use crate::{
    model::{CertificateState, Serial, Version},
    policy::Profiles,
};

const RULE: AutoRenewalRule = AutoRenewalRule {
    min_lifetime_seconds: 60,
    max_duration_seconds: 30 * 86400,
    allow_get: true,
    orders_max: 10,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn wish(start: Option<i64>, end: i64, lifetime: i64) -> Wish {
    Wish {
        start_date: start.map(at),
        end_date: at(end),
        lifetime,
        lifetime_adjust: None,
        allow_certificate_get: None,
    }
}

fn profile() -> Profile {
    Profiles::check(&Default::default()).unwrap().default_profile().clone()
}

fn renewal(start: Option<i64>, end: i64, lifetime_seconds: i64, adjust_seconds: i64) -> AutoRenewal {
    AutoRenewal {
        start: start.map(at),
        start_given: start.is_some(),
        end: at(end),
        lifetime_seconds,
        adjust_seconds: Some(adjust_seconds),
        allow_get: false,
        csr: None,
    }
}

fn made(term: Validity, created: Timestamp) -> Certificate {
    Certificate {
        serial: Serial::random(),
        version: Version::NEW,
        issuer: "issuing-1".parse().unwrap(),
        account: None,
        order: None,
        profile: "default".into(),
        names: vec![],
        subject: String::new(),
        not_before: term.not_before,
        not_after: term.not_after,
        spki_sha256: [0; 32],
        tbs: vec![],
        state: CertificateState::Intended,
        created,
        replaced_by: None,
        renew_from: None,
    }
}

#[test]
fn what_is_sound_is_taken_and_adjusted_to_whole_seconds() {
    let asked = Wish {
        start_date: Some("2027-01-15T08:00:00.25Z".parse().unwrap()),
        end_date: "2027-01-20T08:00:00.75Z".parse().unwrap(),
        lifetime_adjust: Some(1_000_000),
        allow_certificate_get: Some(true),
        ..wish(None, 0, 86400)
    };
    let taken = RULE.accept(&asked, &profile(), at(0)).unwrap();
    assert_eq!(taken.start, Some("2027-01-15T08:00:01Z".parse().unwrap()));
    assert_eq!(taken.end, "2027-01-20T08:00:00Z".parse().unwrap());
    assert_eq!(taken.adjust_seconds, Some(86400), "no further back than the lifetime");
    assert!(taken.allow_get);
    let closed = AutoRenewalRule {
        allow_get: false,
        ..RULE
    };
    assert!(!closed.accept(&asked, &profile(), at(0)).unwrap().allow_get);
    let silent = RULE.accept(&wish(None, 1000, 60), &profile(), at(0)).unwrap();
    assert_eq!(
        (silent.start, silent.adjust_seconds, silent.allow_get),
        (None, None, false)
    );
}

#[test]
fn dating_back_leaves_the_profile_its_limit() {
    let asked = Wish {
        lifetime_adjust: Some(60 * 86400),
        ..wish(None, 20 * 86400, 60 * 86400)
    };
    let taken = RULE.accept(&asked, &profile(), at(0)).unwrap();
    assert_eq!(taken.adjust_seconds, Some(30 * 86400), "of the 90 days 60 are taken");
}

#[test]
fn what_cannot_be_met_is_refused() {
    let cases = [
        (wish(None, 0, 60), WishError::Over),
        (wish(None, -5, 60), WishError::Over),
        (wish(Some(500), 500, 60), WishError::Over),
        (wish(Some(500), 400, 60), WishError::Over),
        (wish(None, 30 * 86400 + 1, 60), WishError::Duration(30 * 86400)),
        (wish(Some(-86400), 30 * 86400, 60), WishError::Duration(30 * 86400)),
        (wish(None, 1000, 59), WishError::Short(60)),
        (wish(None, 1000, 0), WishError::Short(60)),
        (wish(None, 1000, i64::MIN), WishError::Short(60)),
        (wish(None, 1000, 90 * 86400 + 1), WishError::Long(90 * 86400)),
        (wish(None, 1000, i64::MAX), WishError::Long(90 * 86400)),
    ];
    for (wish, error) in cases {
        assert_eq!(RULE.accept(&wish, &profile(), at(0)), Err(error), "{wish:?}");
    }
    let negative = Wish {
        lifetime_adjust: Some(-1),
        ..wish(None, 1000, 60)
    };
    assert_eq!(RULE.accept(&negative, &profile(), at(0)), Err(WishError::Adjust));
}

/// Plays an order through, and holds every certificate against the text.
fn play(renewal: &AutoRenewal, finalized: i64, delay_milliseconds: i64) -> Vec<Validity> {
    let mut renewal = renewal.clone();
    let mut terms: Vec<Validity> = Vec::new();
    let mut now = at(finalized) + SignedDuration::from_millis(300);
    loop {
        let Some(term) = term(&renewal, now) else {
            panic!("nothing is issued at {now} after {terms:?}");
        };
        let certificate = made(term, now);
        let published = now + SignedDuration::from_millis(delay_milliseconds);
        let life = term.not_after.as_second() - term.not_before.as_second() + 1;
        let adjust = renewal.adjust_seconds.unwrap_or(0);
        assert!(life <= renewal.lifetime_seconds + adjust, "{term:?} lasts too long");
        assert!(term.not_after <= renewal.end, "{term:?} outlives the order");
        assert!(renewal.start.is_none_or(|start| term.not_before >= start), "{term:?}");
        if let Some(before) = terms.last() {
            assert!(term.not_before <= published, "{term:?} is not valid when it appears");
            let whole = before.not_after.as_second() + 1 - before.not_before.as_second();
            let half = before.not_before + SignedDuration::from_millis(whole * 500);
            let short_pad = adjust * 2 <= renewal.lifetime_seconds;
            assert!(
                published <= half || !short_pad,
                "{before:?} was replaced at {published}"
            );
        }
        terms.push(term);
        assert!(terms.len() < 1000, "it does not end");
        renewal.start.get_or_insert(term.not_before);
        match next_due(&renewal, &certificate) {
            Some(due) => {
                assert!(due > now, "due at once: {term:?}");
                now = due;
            }
            None => return terms,
        }
    }
}

#[test]
fn each_one_is_there_by_half_of_the_one_before_and_none_outlives_the_order() {
    for (lifetime, adjust) in [
        (4, 0),
        (6, 2),
        (60, 0),
        (60, 30),
        (3600, 600),
        (345_600, 259_200),
        (86400, 86400),
    ] {
        let renewal = renewal(None, lifetime * 10, lifetime, adjust);
        let terms = play(&renewal, 0, lifetime * 20);
        assert_eq!(terms.last().unwrap().not_after, renewal.end);
        assert!(terms.len() > 10, "{}", terms.len());
        assert!(
            terms.len() < 10 * usize::try_from(PAUSE_MIN).unwrap() + 2,
            "{lifetime} {adjust}: {} certificates",
            terms.len()
        );
    }
}

#[test]
fn certificates_that_another_end_cuts_are_not_renewed_ever_faster() {
    let renewal = renewal(None, 100_000, 1600, 0);
    for left in [1, 10, 99] {
        let cut = Validity {
            not_before: at(0),
            not_after: at(left),
        };
        let due = next_due(&renewal, &made(cut, at(0))).unwrap();
        assert!(due >= at(100), "{left}: {due}");
    }
}

#[test]
fn the_first_begins_with_the_start() {
    let later = renewal(Some(1000), 5000, 100, 50);
    assert_eq!(wait_for_start(&later, at(0)), None);
    let terms = play(&later, 0, 0);
    assert_eq!((terms[0].not_before, terms[0].not_after), (at(1000), at(1099)));
    let past = renewal(Some(-1000), 5000, 100, 50);
    let terms = play(&past, 0, 0);
    assert_eq!(
        (terms[0].not_before, terms[0].not_after),
        (at(-50), at(99)),
        "dated back, since the start is past"
    );
}

#[test]
fn a_start_far_ahead_is_waited_for() {
    let far = renewal(Some(10 * 86400), 20 * 86400, 86400, 0);
    assert_eq!(wait_for_start(&far, at(0)), Some(at(8 * 86400)));
    assert_eq!(wait_for_start(&far, at(8 * 86400)), None);
    let first = term(&far, at(8 * 86400)).unwrap();
    assert_eq!(first.not_before, at(10 * 86400));
}

#[test]
fn what_is_over_gets_no_more() {
    let over = renewal(None, 100, 60, 0);
    assert!(term(&over, at(98)).is_some());
    assert_eq!(term(&over, at(100)), None);
    assert_eq!(term(&over, at(200)), None);
}

#[test]
fn a_standstill_is_made_up_for() {
    let renewal = renewal(Some(0), 100_000, 100, 20);
    let late = term(&renewal, at(50_000)).unwrap();
    assert_eq!((late.not_before, late.not_after), (at(49_980), at(50_099)));
}

#[test]
fn failures_wait_longer_each_time_and_not_beyond_the_end() {
    let renewal = renewal(None, 100_000, 1600, 0);
    let pause = |failures| retry(&renewal, failures, at(0)).unwrap().as_second() - at(0).as_second();
    assert_eq!([1, 2, 3, 4, 5].map(pause), [100, 200, 400, 800, 1600]);
    assert_eq!([6, 7, 40, u32::MAX].map(pause), [3200, 3600, 3600, 3600]);
    assert_eq!(retry(&renewal, 1, at(99_950)), None);
    let short = AutoRenewal {
        lifetime_seconds: 2,
        ..renewal
    };
    assert_eq!(retry(&short, 1, at(0)), Some(at(1)));
}
