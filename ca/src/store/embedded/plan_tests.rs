//! No statement may read a growing table from end to end: what is fast with a thousand rows has to be so with ten million.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use rusqlite::{
    Connection,
    trace::{TraceEvent, TraceEventCodes},
};
use sigillo_protocol::{acme::authorization::AuthorizationStatus, jose::Thumbprint};

use super::{apply::Ledger, connection, prune, reads, schema};
use crate::{
    model::{AccountId, AuthorizationId, OrderId, Serial},
    store::{
        CertificateFilter, Page, PruneLimits,
        contract::records::{at, issuer, name},
    },
};

/// Tables that grow with what was issued. The others hold a row for each issuer, each key of the operator's, and the like.
const GROWING: [&str; 9] = [
    "account",
    "orders",
    "authorizations",
    "order_authorization",
    "certificate",
    "certificate_name",
    "status_feed",
    "audit",
    "blocked_key",
];

/// Asks everything that the port can be asked.
fn ask_everything(c: &Connection) {
    let (account, order, serial, now) = (AccountId::random(), OrderId::random(), Serial::random(), at(0));
    reads::account(c, account).unwrap();
    reads::account_by_thumbprint(c, Thumbprint([1; 32])).unwrap();
    reads::accounts(c, &Page::after(account, 9)).unwrap();
    reads::order(c, order).unwrap();
    for page in [Page::first(9), Page::after(order, 9)] {
        reads::orders_of(c, account, &page).unwrap();
        reads::orders(c, &page).unwrap();
    }
    reads::orders_due(c, now, 9).unwrap();
    reads::renewed_orders_of(c, account).unwrap();
    reads::authorization(c, AuthorizationId::random()).unwrap();
    let valid = AuthorizationStatus::Valid;
    reads::authorization_for(c, account, &name("a.example"), valid, now).unwrap();
    let above = ["a.example".parse().unwrap(), "example".parse().unwrap()];
    reads::subdomain_authorization(c, account, &above, valid, now).unwrap();
    reads::authorizations_due(c, now, &[], &[account], 9).unwrap();
    reads::certificate(c, serial).unwrap();
    for filter in filters(account, now) {
        for page in [Page::first(9), Page::after(serial, 9)] {
            reads::certificates(c, &filter, &page).unwrap();
        }
    }
    reads::certificates_intended(c, 9).unwrap();
    reads::revoked(c, &issuer(), now, &Page::after(serial, 9)).unwrap();
    reads::blocked_key(c, [0; 32]).unwrap();
    reads::blocked_keys(c, &Page::after([0; 32], 9)).unwrap();
    reads::status_feed(c, 1, 9).unwrap();
    reads::status_position(c).unwrap();
    reads::status(c, serial).unwrap();
    reads::audit(c, 1, 9).unwrap();
    let mut ledger = Ledger::read(c).unwrap();
    let limits = PruneLimits {
        orders_ended_before: now,
        certificates_expired_before: Some(now),
        renewed_expired_before: now,
        count_max: 9,
    };
    prune::prune(c, &mut ledger, limits, now).unwrap();
}

fn filters(account: AccountId, now: Timestamp) -> Vec<CertificateFilter> {
    let any = CertificateFilter::default;
    let mut filters = vec![
        CertificateFilter {
            account: Some(account),
            ..any()
        },
        CertificateFilter {
            name: Some(name("a.example")),
            ..any()
        },
        CertificateFilter {
            spki_sha256: Some([0; 32]),
            ..any()
        },
        CertificateFilter {
            not_after_before: Some(now),
            ..any()
        },
    ];
    filters.extend(["intended", "revoked", "void"].map(|state| CertificateFilter {
        state: Some(state.into()),
        ..any()
    }));
    filters
}

#[test]
fn nothing_scans_a_table_that_grows() {
    let mut c = connection::in_memory().unwrap();
    schema::migrate(&mut c).unwrap();
    // What was asked, with its values written into it.
    let asked: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let notes = asked.clone();
    let note = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(statement, _) = event
            && let Some(text) = statement.expanded_sql()
        {
            notes.lock().unwrap().insert(text);
        }
    };
    c.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note)).unwrap();
    ask_everything(&c);
    let asked = asked.lock().unwrap().clone();
    assert!(asked.len() > 40, "only {} statements were seen", asked.len());
    let mut scans = Vec::new();
    for text in asked.iter().filter(|text| text.starts_with("SELECT")) {
        let mut explained = c.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let steps: Vec<String> = explained
            .query_map([], |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        // A page of a list that begins at its beginning, in the order of the table or of an index, is bounded by LIMIT.
        let is_first_page =
            text.contains("LIMIT") && (!text.contains("WHERE") || text.contains("WHERE 0 = 0 ORDER BY rowid"));
        let whole = |step: &str| {
            GROWING.iter().any(|table| {
                step.strip_prefix("SCAN ")
                    .is_some_and(|rest| rest.split(' ').next() == Some(table))
            })
        };
        let bad = steps
            .iter()
            .any(|step| (whole(step) && !is_first_page) || step.contains("AUTOMATIC"));
        if bad {
            scans.push(format!("{text}: {steps:?}"));
        }
    }
    assert!(scans.is_empty(), "{scans:#?}");
}
