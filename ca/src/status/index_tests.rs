//! The index: it keeps what it is given, and is thrown away whenever it cannot be trusted.

use std::{num::NonZeroU32, path::Path};

use jiff::SignedDuration;
use sigillo_protocol::x509::reason::RevocationReason;

use super::{
    index::{IndexError, StatusIndex},
    testing::{revocation, serial},
};
use crate::model::StatusRecord;

const STORE: [u8; 16] = [7; 16];
const OTHER_STORE: [u8; 16] = [8; 16];

const SLOTS: NonZeroU32 = NonZeroU32::new(4_096).unwrap();

fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_800_000_000).unwrap()
}

fn record(position: u64, number: u128) -> StatusRecord {
    StatusRecord {
        position,
        issuer: "issuing".parse().unwrap(),
        serial: serial(number),
        not_after: now() + SignedDuration::from_hours(1),
        revocation: None,
    }
}

fn revoked(position: u64, number: u128) -> StatusRecord {
    let mut revocation = revocation(now(), Some(RevocationReason::Superseded));
    revocation.invalid_since = Some(now() - SignedDuration::from_hours(5));
    StatusRecord {
        revocation: Some(revocation),
        ..record(position, number)
    }
}

fn filled(dir: &Path) -> StatusIndex {
    let index = StatusIndex::open(dir, STORE, 0, SLOTS).unwrap();
    let records: Vec<_> = (1..=2_000).map(|number| record(number, number.into())).collect();
    index.apply(&records).unwrap();
    index.apply(&[revoked(2_001, 5)]).unwrap();
    index
}

#[test]
fn keeps_records_and_position_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    filled(&path).flush().unwrap();
    let index = StatusIndex::open(&path, STORE, 2_001, SLOTS).unwrap();
    assert_eq!(index.position(), 2_001);
    assert_eq!(index.get(serial(5)).unwrap(), Some(revoked(2_001, 5)));
    assert_eq!(index.get(serial(6)).unwrap(), Some(record(6, 6)));
    assert_eq!(index.get(serial(9_999)).unwrap(), None);
}

#[test]
fn the_latest_of_several_records_about_one_certificate_counts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let index = StatusIndex::open(&path, STORE, 0, SLOTS).unwrap();
    index.apply(&[record(1, 1), revoked(2, 1), record(3, 2)]).unwrap();
    assert_eq!(index.get(serial(1)).unwrap(), Some(revoked(2, 1)));
    drop(index);
    assert_eq!(
        StatusIndex::open(&path, STORE, 3, SLOTS).unwrap().position(),
        3,
        "it adds up"
    );
}

#[test]
fn is_made_anew_for_another_store_and_when_it_is_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    for (identity, store_position, what) in [
        (OTHER_STORE, 2_001, "another store"),
        (STORE, 2_000, "ahead of the store"),
    ] {
        drop(StatusIndex::open(&path, [0; 16], 0, SLOTS).unwrap());
        filled(&path).flush().unwrap();
        let index = StatusIndex::open(&path, identity, store_position, SLOTS).unwrap();
        assert_eq!(index.position(), 0, "{what}");
        assert_eq!(index.get(serial(5)).unwrap(), None, "{what}");
    }
}

#[test]
fn is_made_anew_when_its_files_are_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let truncate = |path: &Path, keep: fn(u64) -> u64| {
        let file = std::fs::OpenOptions::new().write(true).open(path.join("db")).unwrap();
        file.set_len(keep(file.metadata().unwrap().len())).unwrap();
    };
    type Damage = Box<dyn Fn(&Path)>;
    let damages: [(&str, Damage); 5] = [
        ("cut in half", Box::new(move |path| truncate(path, |length| length / 2))),
        ("cut to nothing", Box::new(move |path| truncate(path, |_| 0))),
        (
            "configuration gone",
            Box::new(|path| std::fs::remove_file(path.join("conf")).unwrap()),
        ),
        (
            "configuration garbage",
            Box::new(|path| std::fs::write(path.join("conf"), b"garbage").unwrap()),
        ),
        (
            "data garbage",
            Box::new(|path| std::fs::write(path.join("db"), vec![0x5a; 1 << 20]).unwrap()),
        ),
    ];
    for (what, damage) in damages {
        let path = dir.path().join(what.replace(' ', "-"));
        filled(&path).flush().unwrap();
        damage(&path);
        let index = StatusIndex::open(&path, STORE, 2_001, SLOTS).unwrap();
        // What is left must be all, or nothing: never a part that passes for all.
        match index.position() {
            0 => assert_eq!(index.get(serial(5)).unwrap(), None, "{what}"),
            2_001 => assert_eq!(index.get(serial(5)).unwrap(), Some(revoked(2_001, 5)), "{what}"),
            // An older, whole state is followed up from its position.
            position => assert!(
                position < 2_001 && index.get(serial(5)).unwrap().is_some_and(|r| r.position <= position),
                "{what}"
            ),
        }
        index.apply(&[revoked(2_002, 77)]).unwrap();
        assert_eq!(
            index.get(serial(77)).unwrap(),
            Some(revoked(2_002, 77)),
            "{what}: in use again"
        );
    }
}

#[test]
fn a_later_certificate_takes_the_slot_and_no_earlier_state_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let slots = NonZeroU32::new(10).unwrap();
    let index = StatusIndex::open(&path, STORE, 0, slots).unwrap();
    index.apply(&[record(1, 3), record(2, 4)]).unwrap();
    index.apply(&[revoked(3, 13)]).unwrap();
    assert_eq!(index.get(serial(3)).unwrap(), None, "it has made room");
    assert_eq!(index.get(serial(13)).unwrap(), Some(revoked(3, 13)));
    assert_eq!(index.get(serial(4)).unwrap(), Some(record(2, 4)));
    index.apply(&[revoked(4, 3), record(5, 23)]).unwrap();
    for (number, expected) in [(3, None), (13, None), (23, Some(record(5, 23)))] {
        assert_eq!(index.get(serial(number)).unwrap(), expected, "{number}");
    }
    drop(index);
    assert_eq!(
        StatusIndex::open(&path, STORE, 5, slots).unwrap().position(),
        5,
        "it adds up"
    );
}

#[test]
fn begins_where_what_it_can_hold_begins_and_is_made_anew_when_it_is_too_far_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let slots = NonZeroU32::new(10).unwrap();
    let index = StatusIndex::open(&path, STORE, 1_000, slots).unwrap();
    assert_eq!(index.position(), 990);
    index.apply(&[record(991, 1)]).unwrap();
    drop(index);
    let index = StatusIndex::open(&path, STORE, 1_001, slots).unwrap();
    assert_eq!(
        (index.position(), index.get(serial(1)).unwrap()),
        (991, Some(record(991, 1)))
    );
    drop(index);
    let index = StatusIndex::open(&path, STORE, 1_002, slots).unwrap();
    assert_eq!(
        (index.position(), index.get(serial(1)).unwrap()),
        (992, None),
        "a change may be missed"
    );
    drop(index);
    let index = StatusIndex::open(&path, STORE, 1_002, SLOTS).unwrap();
    assert_eq!(index.position(), 0, "another size");
}

#[test]
fn takes_in_more_records_than_one_batch_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let index = filled(&path);
    for number in 1..=2_000 {
        let expected = if number == 5 {
            revoked(2_001, 5)
        } else {
            record(number, number.into())
        };
        assert_eq!(index.get(serial(number.into())).unwrap(), Some(expected));
    }
}

#[test]
fn is_left_alone_while_somebody_else_has_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let index = filled(&path);
    assert!(matches!(
        StatusIndex::open(&path, STORE, 2_001, SLOTS),
        Err(IndexError::InUse)
    ));
    assert_eq!(index.get(serial(6)).unwrap(), Some(record(6, 6)));
}
