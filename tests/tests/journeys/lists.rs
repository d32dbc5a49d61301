//! The list of an account's orders (RFC 8555 section 7.1.2.1).

use std::collections::BTreeSet;

use sigillo_tests::daemon::Daemon;

use super::expect::{link, refused, status};

/// More than stand on one page and on two.
const ORDERS: usize = 205;

#[test]
fn every_order_is_listed_once_over_all_pages() {
    let daemon = Daemon::start();
    let acme = daemon.register().unwrap();
    let made: BTreeSet<String> = (0..ORDERS)
        .map(|n| acme.new_order(&[&format!("n{n}.test")]).unwrap().0)
        .collect();
    assert_eq!(made.len(), ORDERS);
    let stranger = daemon.register().unwrap();
    let first = acme.read(&acme.kid).unwrap().json()["orders"]
        .as_str()
        .expect("orders")
        .to_owned();
    let (mut next, mut listed, mut pages) = (Some(first.clone()), Vec::new(), 0);
    while let Some(url) = next {
        let answer = acme.read(&url).unwrap();
        status(&answer, 200);
        refused(&stranger.read(&url).unwrap(), 403, "unauthorized");
        let page = answer.json();
        let orders = page["orders"].as_array().expect("a list");
        listed.extend(orders.iter().filter_map(|order| order.as_str().map(str::to_owned)));
        next = link(&answer, "next");
        pages += 1;
        assert!(pages <= ORDERS, "the pages never end");
    }
    assert!(pages > 2, "{pages} pages");
    assert_eq!(listed.len(), ORDERS, "none twice");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), made);

    let empty = stranger.read(&stranger.kid).unwrap().json()["orders"]
        .as_str()
        .expect("orders")
        .to_owned();
    let answer = stranger.read(&empty).unwrap();
    assert_eq!(answer.json()["orders"].as_array().map(Vec::len), Some(0));
    assert_eq!(link(&answer, "next"), None);
}
