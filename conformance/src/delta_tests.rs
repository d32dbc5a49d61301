//! Judges right and wrong delta, sharded and indirect CRLs.

use super::*;
use crate::mock::authority::Authority;
use crate::mock::list::{List, entry};
use crate::read::crl::REASON_CODE;
use crate::read::ocsp::extension;
use crate::request::name;

fn reason(code: u8) -> Vec<u8> {
    extension(REASON_CODE, false, &der::tlv(der::ENUMERATED, [code]))
}

fn plain(serial: u8) -> Vec<u8> {
    entry(&[serial], &[])
}

/// An issuing distribution point of this address, perhaps indirect.
fn point(uri: &str, indirect: bool) -> Vec<u8> {
    let uri = der::tlv(der::context(6), uri);
    let full = der::tlv(der::constructed(0), der::tlv(der::constructed(0), uri));
    let flag = if indirect {
        der::tlv(der::context(4), [0xff])
    } else {
        Vec::new()
    };
    extension(ISSUING_DISTRIBUTION_POINT, true, &der::sequence(&[full, flag]))
}

#[test]
fn a_delta_names_a_base_that_was_published() {
    let ca = Authority::new("ca");
    let complete = [List::new(3).sign(&ca), List::new(5).sign(&ca)];
    assert_eq!(names_a_base(&List::delta(6, 5).sign(&ca), &complete), Ok(()));
    assert_eq!(
        names_a_base(&List::delta(6, 2).sign(&ca), &complete),
        Ok(()),
        "before the run"
    );
    assert!(names_a_base(&List::delta(6, 4).sign(&ca), &complete).is_err());
    assert!(names_a_base(&List::delta(5, 6).sign(&ca), &complete).is_err());
    assert!(names_a_base(&List::delta(6, 5).sign(&ca), &[]).is_err());
    let lax = List::new(6).extended(extension(DELTA_INDICATOR, false, &der::unsigned(&[5])));
    assert!(names_a_base(&lax.sign(&ca), &complete).is_err());
}

#[test]
fn base_and_delta_have_one_scope_and_one_key() {
    let (ca, twin) = (Authority::new("ca"), Authority::new("ca"));
    let base = List::new(5).extended(point("http://a/", false)).sign(&ca);
    let delta = |list: List, signer: &Authority| has_the_scope_of(&list.sign(signer), &base, &ca.certificate);
    assert_eq!(
        delta(List::delta(6, 5).extended(point("http://a/", false)), &ca),
        Ok(())
    );
    assert!(delta(List::delta(6, 5), &ca).is_err(), "no distribution point");
    assert!(delta(List::delta(6, 5).extended(point("http://b/", false)), &ca).is_err());
    assert!(delta(List::delta(6, 5).extended(point("http://a/", false)), &twin).is_err());
}

#[test]
fn a_delta_tells_every_change() {
    let ca = Authority::new("ca");
    let base = List::new(5).with(plain(1)).with(entry(&[2], &[reason(6)])).sign(&ca);
    let now: BTreeMap<Vec<u8>, Option<u8>> = [(vec![1], None), (vec![3], Some(4))].into();
    let delta = List::delta(6, 5)
        .with(entry(&[2], &[reason(8)]))
        .with(entry(&[3], &[reason(4)]));
    assert_eq!(tells_every_change(&base, &delta.sign(&ca), &now), Ok(()));
    assert_eq!(combined(&base, &delta.sign(&ca)), Ok(now.clone()));
    assert!(tells_every_change(&base, &List::delta(6, 5).sign(&ca), &now).is_err());
    let wrong = List::delta(6, 5).with(entry(&[3], &[reason(1)])).sign(&ca);
    assert!(tells_every_change(&base, &wrong, &now).is_err());
}

#[test]
fn what_is_released_is_taken_from_the_base() {
    let ca = Authority::new("ca");
    let base = List::new(5).with(entry(&[2], &[reason(6)])).sign(&ca);
    let told = |list: List| tells_the_release(&base, &list.sign(&ca), &[2]);
    assert_eq!(told(List::delta(6, 5).with(entry(&[2], &[reason(8)]))), Ok(()));
    assert!(told(List::delta(6, 5)).is_err());
    assert!(told(List::delta(6, 5).with(plain(2))).is_err());
}

#[test]
fn all_lists_of_a_scope_share_one_numbering() {
    let ca = Authority::new("ca");
    let base = || List::new(5).with(plain(1));
    let delta = || List::delta(6, 5).with(plain(2));
    let together = || List::new(6).with(plain(1)).with(plain(2));
    let judged = |lists: &[List]| share_one_numbering(&lists.iter().map(|list| list.sign(&ca)).collect::<Vec<_>>());
    assert_eq!(judged(&[base(), delta(), together()]), Ok(()));
    assert!(
        judged(&[base(), delta(), List::new(6).with(plain(1))]).is_err(),
        "they disagree"
    );
    let late = List {
        this_update: delta().this_update,
        ..List::new(7).with(plain(1)).with(plain(2))
    };
    assert!(judged(&[base(), delta(), late]).is_err(), "one time, two numbers");
    let backwards = List {
        this_update: base()
            .this_update
            .checked_sub(jiff::SignedDuration::from_secs(5))
            .expect("near"),
        ..delta()
    };
    assert!(judged(&[base(), backwards]).is_err());
}

#[test]
fn what_a_delta_shows_stays_until_it_was_on_a_complete_crl() {
    let ca = Authority::new("ca");
    let judged = |lists: &[List]| keeps_until_complete(&lists.iter().map(|list| list.sign(&ca)).collect::<Vec<_>>());
    let first = || List::delta(6, 5).with(plain(2));
    assert_eq!(
        judged(&[
            List::new(5),
            first(),
            List::delta(7, 5).with(plain(2)),
            List::new(8).with(plain(2))
        ]),
        Ok(())
    );
    assert_eq!(
        judged(&[first(), List::new(8).with(plain(2)), List::delta(9, 8)]),
        Ok(())
    );
    assert!(judged(&[first(), List::delta(7, 5)]).is_err());
    assert!(
        judged(&[first(), List::new(8), List::delta(9, 8)]).is_err(),
        "the complete CRL left it out"
    );
}

#[test]
fn freshest_crl_has_names_alone_and_is_in_no_delta() {
    let ca = Authority::new("ca");
    let uri = der::tlv(der::context(6), "http://a/delta");
    let name = der::tlv(der::constructed(0), der::tlv(der::constructed(0), uri));
    let value = |parts: &[Vec<u8>]| der::sequence(&[der::sequence(parts)]);
    let sound = extension(FRESHEST_CRL, false, &value(std::slice::from_ref(&name)));
    assert_eq!(
        freshest(&List::new(5).extended(sound.clone()).sign(&ca)),
        Ok(vec!["http://a/delta".to_owned()])
    );
    assert_eq!(freshest(&List::new(5).sign(&ca)), Ok(Vec::new()));
    assert!(freshest(&List::delta(6, 5).extended(sound).sign(&ca)).is_err());
    let reasons = der::tlv(der::context(1), [0, 0xff]);
    let more = extension(FRESHEST_CRL, false, &value(&[name, reasons]));
    assert!(freshest(&List::new(5).extended(more).sign(&ca)).is_err());
}

#[test]
fn entries_of_an_indirect_crl_carry_their_issuer_over() {
    let ca = Authority::new("ca");
    let other = name(&[("2.5.4.3".into(), "other".into())]);
    let names = der::sequence(&[der::tlv(der::constructed(4), &other)]);
    let of_other = |critical| extension(CERTIFICATE_ISSUER, critical, &names);
    let entries = |critical| [plain(1), entry(&[2], &[of_other(critical)]), plain(3)];
    let list = |indirect, critical| {
        let list = List::new(5).extended(point("http://a/", indirect));
        entries(critical).into_iter().fold(list, List::with).sign(&ca)
    };
    let own = ca.certificate.subject.clone();
    assert_eq!(
        issuers(&list(true, true)),
        Ok(vec![(own, vec![1]), (other.clone(), vec![2]), (other.clone(), vec![3])])
    );
    assert!(issuers(&list(true, false)).is_err(), "not critical");
    assert!(issuers(&list(false, true)).is_err(), "not indirect");
}

#[test]
fn a_certificate_is_on_its_shard_alone() {
    let ca = Authority::new("ca");
    let shard = |uri: &str, list: List| (uri.to_owned(), list.extended(point(uri, false)).sign(&ca));
    let own = ["http://a/".to_owned()];
    let judged = |a: List, b: List| is_on_its_shard_alone(&[1], &own, &[shard("http://a/", a), shard("http://b/", b)]);
    assert_eq!(judged(List::new(5).with(plain(1)), List::new(6)), Ok(()));
    assert!(judged(List::new(5), List::new(6)).is_err(), "between the shards");
    assert!(judged(List::new(5).with(plain(1)), List::new(6).with(plain(1))).is_err());
}
