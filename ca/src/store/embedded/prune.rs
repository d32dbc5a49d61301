//! Deleting what nobody can need any more, a bounded portion at a time.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde_json::json;
use sigillo_protocol::acme::identifier::Name;

use super::{
    apply::{self, Ledger, Refusal, run},
    rows::{self, Sql},
};
use crate::{
    model::{Action, Actor, AuditEvent, Order},
    store::{PruneLimits, Pruned},
};

/// How many records of one kind are deleted in one transaction at most: some tens of milliseconds
/// during which requests wait.
const PORTION_MAX: usize = 1_000;

/// An order is over at the latest when it expires, and nothing is asked of it afterwards but to be
/// looked at; one whose certificate is being made is left to whoever finishes it.
const ORDERS: &str = "SELECT id FROM orders WHERE expires < ?1 AND progress <> 'processing'
     ORDER BY expires LIMIT ?2";

const AUTHORIZATIONS: &str = "SELECT id FROM authorizations WHERE expires < ?1 AND NOT EXISTS
        (SELECT 1 FROM order_authorization WHERE authorization_id = authorizations.id)
     ORDER BY expires LIMIT ?2";

/// A revoked certificate stays until it stood on a CRL made after it had expired (RFC 5280 section 3.3):
/// until the issuer's last CRL is from after that and knows of the revocation.
const CERTIFICATES: &str = "SELECT serial FROM certificate WHERE not_after < ?1 AND
        (state = 'issued' OR state = 'void' OR (state = 'revoked' AND EXISTS
            (SELECT 1 FROM crl_list AS crl WHERE crl.issuer = certificate.issuer AND crl.kind = 'complete'
                AND crl.this_update > certificate.not_after
                AND crl.position >= certificate.position)))
     ORDER BY not_after LIMIT ?2";

/// The certificates of an order that is or was renewed; those that were revoked go by the rule above.
const RENEWED: &str = "SELECT serial FROM certificate
     WHERE renewed AND not_after < ?1 AND state IN ('issued', 'void') ORDER BY not_after LIMIT ?2";

/// Deletes one portion, and records how much it was if it was anything.
pub(super) fn prune(
    connection: &Connection,
    ledger: &mut Ledger,
    limits: PruneLimits,
    now: Timestamp,
) -> Result<Pruned, Refusal> {
    apply::in_savepoint(connection, ledger, |ledger| prune_all(connection, ledger, limits, now))
}

fn prune_all(
    connection: &Connection,
    ledger: &mut Ledger,
    limits: PruneLimits,
    now: Timestamp,
) -> Result<Pruned, Refusal> {
    let count_max = limits.count_max.min(PORTION_MAX);
    let mut pruned = Pruned::default();
    let renewed = (RENEWED, Some(limits.renewed_expired_before));
    for (sql, bound) in [renewed, (CERTIFICATES, limits.certificates_expired_before)] {
        let Some(bound) = bound else { continue };
        let left = count_max.saturating_sub(usize::try_from(pruned.certificates).unwrap_or(usize::MAX));
        for serial in ended_before(connection, sql, bound, left)? {
            delete_certificate(connection, ledger, &serial)?;
            pruned.certificates += 1;
        }
    }
    for id in ended_before(connection, ORDERS, limits.orders_ended_before, count_max)? {
        delete_order(connection, &id)?;
        pruned.orders += 1;
    }
    for id in ended_before(connection, AUTHORIZATIONS, limits.orders_ended_before, count_max)? {
        run(connection, "DELETE FROM authorizations WHERE id = ?1", [id])?;
        pruned.authorizations += 1;
    }
    if pruned != Pruned::default() {
        apply::record(connection, ledger, &event(pruned, now))?;
    }
    Ok(pruned)
}

/// Deletes a certificate, its names and what the feed says about it; the feed's end is remembered.
fn delete_certificate(connection: &Connection, ledger: &Ledger, serial: &[u8]) -> Sql<()> {
    let (names, position): (Vec<Name>, Option<i64>) = connection
        .prepare_cached("SELECT names, position FROM certificate WHERE serial = ?1")?
        .query_row([serial], |row| Ok((rows::from_body(row, 0)?, row.get(1)?)))?;
    for name in names {
        let sql = "DELETE FROM certificate_name WHERE name = ?1 AND serial = ?2";
        run(connection, sql, params![rows::name(&name), serial])?;
    }
    if let Some(position) = position {
        if position == rows::count(ledger.position) {
            let sql = "UPDATE counter SET value = ?1 WHERE name = 'status_position'";
            run(connection, sql, [position])?;
        }
        run(connection, "DELETE FROM status_feed WHERE position = ?1", [position])?;
    }
    run(connection, "DELETE FROM certificate WHERE serial = ?1", [serial])?;
    Ok(())
}

/// Deletes an order and what says that it names authorizations.
fn delete_order(connection: &Connection, id: &[u8]) -> Sql<()> {
    let order: Order = connection
        .prepare_cached("SELECT body FROM orders WHERE id = ?1")?
        .query_row([id], |row| rows::from_body(row, 0))?;
    for authorization in &order.authorizations {
        let sql = "DELETE FROM order_authorization WHERE authorization_id = ?1 AND order_id = ?2";
        run(connection, sql, params![authorization.as_bytes(), id])?;
    }
    run(connection, "DELETE FROM orders WHERE id = ?1", [id])?;
    Ok(())
}

fn ended_before(connection: &Connection, sql: &str, bound: Timestamp, count_max: usize) -> Sql<Vec<Vec<u8>>> {
    connection
        .prepare_cached(sql)?
        .query_map(params![rows::micros(bound), rows::count(count_max as u64)], |row| {
            row.get(0)
        })?
        .collect()
}

fn event(pruned: Pruned, now: Timestamp) -> AuditEvent {
    AuditEvent {
        at: now,
        actor: Actor::System("store".into()),
        action: Action::Pruned,
        subject: "store".into(),
        detail: json!({
            "orders": pruned.orders,
            "authorizations": pruned.authorizations,
            "certificates": pruned.certificates,
        }),
    }
}
