//! One batch, applied inside the transaction of its group.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, ffi, params};

use super::{
    log, reads,
    rows::{self, Sql},
};
use crate::{
    audit::{self, Chain},
    model::{
        Account, AuditEvent, Authorization, BlockedKey, Certificate, CertificateState, CrlRecord, ExternalKey, Order,
        Progress, Serial, Version,
    },
    store::{Batch, Change, Premise, Unique},
};

/// What the writer carries from batch to batch, so that it need not be asked for each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ledger {
    /// Where the audit log stands.
    pub chain: Chain,
    /// The status feed's last position.
    pub position: u64,
}

impl Ledger {
    /// Reads where the store stands.
    pub fn read(connection: &Connection) -> Sql<Self> {
        let chain = connection
            .query_row(
                "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1",
                [],
                |row| {
                    Ok(Chain {
                        sequence: rows::number(row, 0)?,
                        hash: row.get(1)?,
                    })
                },
            )
            .optional()?
            .unwrap_or(Chain::START);
        let position = reads::status_position(connection)?.0;
        Ok(Self { chain, position })
    }
}

/// Why a batch was not applied.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Another change came first.
    Conflict,
    /// Something unique is there already.
    Duplicate(Unique),
    /// The change would undo what must never be undone.
    Forbidden(&'static str),
    /// The engine failed.
    Engine(rusqlite::Error),
    /// The engine could not take a part of the group back, so that nothing of the group may be committed.
    Spoiled(rusqlite::Error),
    /// The engine has given the group's transaction up before this one's turn came.
    Abandoned,
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

/// Applies a batch, or changes nothing.
pub(super) fn apply(connection: &Connection, ledger: &mut Ledger, batch: &Batch) -> Result<(), Refusal> {
    in_savepoint(connection, ledger, |ledger| apply_all(connection, ledger, batch))
}

/// Does something inside the group's transaction so that its failure leaves the rest of the group alone.
pub(super) fn in_savepoint<T>(
    connection: &Connection,
    ledger: &mut Ledger,
    act: impl FnOnce(&mut Ledger) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let before = *ledger;
    run(connection, "SAVEPOINT part", [])?;
    let result = act(ledger);
    // Where the engine has given the whole transaction up there is no savepoint left to go back to.
    if connection.is_autocommit() {
        return result;
    }
    if result.is_err() {
        *ledger = before;
        run(connection, "ROLLBACK TO part", []).map_err(Refusal::Spoiled)?;
    }
    run(connection, "RELEASE part", []).map_err(Refusal::Spoiled)?;
    result
}

/// Applies a batch; what a refused one has changed by then is for the caller to take back.
pub(super) fn apply_all(connection: &Connection, ledger: &mut Ledger, batch: &Batch) -> Result<(), Refusal> {
    batch
        .premises()
        .iter()
        .try_for_each(|premise| require(connection, premise))?;
    for change in &batch.changes {
        match change {
            Change::Account(account) => write_account(connection, account)?,
            Change::ExternalKey(key) => write_external_key(connection, key)?,
            Change::Order(order) => write_order(connection, order)?,
            Change::Authorization(authorization) => write_authorization(connection, authorization)?,
            Change::Certificate(certificate) => write_certificate(connection, ledger, batch, certificate)?,
            Change::BlockedKey(key) => write_blocked_key(connection, key)?,
            Change::LogEpoch(epoch) => log::set_epoch(connection, epoch)?,
            Change::Crl(crl) => write_crl(connection, crl)?,
        }
    }
    batch
        .events
        .iter()
        .try_for_each(|event| record(connection, ledger, event))
}

/// Refuses a batch whose decision rests on what is not so any more.
fn require(connection: &Connection, premise: &Premise) -> Result<(), Refusal> {
    let holds = match premise {
        Premise::Account(id, version) => connection
            .prepare_cached("SELECT 1 FROM account WHERE id = ?1 AND version = ?2")?
            .exists(params![id.as_bytes(), rows::count(version.0)])?,
        Premise::Authorization(id, version) => connection
            .prepare_cached("SELECT 1 FROM authorizations WHERE id = ?1 AND version = ?2")?
            .exists(params![id.as_bytes(), rows::count(version.0)])?,
        Premise::RenewedOrdersBelow(account, most) => reads::renewed_orders_of(connection, *account)? < *most,
        Premise::KeyNotBlocked(spki_sha256) => !connection
            .prepare_cached("SELECT 1 FROM blocked_key WHERE spki_sha256 = ?1")?
            .exists(params![spki_sha256])?,
    };
    if holds { Ok(()) } else { Err(Refusal::Conflict) }
}

/// Appends an event to the audit log.
pub(super) fn record(connection: &Connection, ledger: &mut Ledger, event: &AuditEvent) -> Result<(), Refusal> {
    let canonical = audit::canonical(event);
    let next = ledger.chain.extended(&canonical);
    let text = String::from_utf8(canonical).map_err(|_| Refusal::Forbidden("an event that is no text"))?;
    run(
        connection,
        "INSERT INTO audit (sequence, hash, event) VALUES (?1, ?2, ?3)",
        params![rows::count(next.sequence), next.hash, text],
    )?;
    log::recorded(connection, next.sequence, event)?;
    ledger.chain = next;
    Ok(())
}

/// Runs a statement and returns how many rows it touched.
pub(super) fn run(connection: &Connection, sql: &str, params: impl Params) -> Sql<usize> {
    connection.prepare_cached(sql)?.execute(params)
}

/// Inserts a record; `same_key` is what a clash of the identity means, `same_other` any other clash.
fn insert(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    same_key: Unique,
    same_other: Unique,
) -> Result<(), Refusal> {
    run(connection, sql, params)
        .map(drop)
        .map_err(|error| duplicate(error, same_key, same_other))
}

/// Replaces a record; no touched row means that its version is another one by now.
fn replace(connection: &Connection, sql: &str, params: impl Params, same_other: Unique) -> Result<(), Refusal> {
    match run(connection, sql, params) {
        Ok(0) => Err(Refusal::Conflict),
        Ok(_) => Ok(()),
        Err(error) => Err(duplicate(error, same_other, same_other)),
    }
}

fn duplicate(error: rusqlite::Error, same_key: Unique, same_other: Unique) -> Refusal {
    match error.sqlite_error().map(|e| (e.code, e.extended_code)) {
        Some((ErrorCode::ConstraintViolation, ffi::SQLITE_CONSTRAINT_PRIMARYKEY)) => Refusal::Duplicate(same_key),
        Some((ErrorCode::ConstraintViolation, ffi::SQLITE_CONSTRAINT_UNIQUE)) => Refusal::Duplicate(same_other),
        _ => Refusal::Engine(error),
    }
}

fn write_account(connection: &Connection, account: &Account) -> Result<(), Refusal> {
    let was = account.version;
    let account = Account {
        version: was.next(),
        ..account.clone()
    };
    let (id, version) = (account.id.as_bytes(), rows::count(account.version.0));
    let (thumbprint, body) = (account.thumbprint.as_bytes(), rows::to_body(&account)?);
    if was == Version::NEW {
        return insert(
            connection,
            "INSERT INTO account (id, version, thumbprint, body) VALUES (?1, ?2, ?3, ?4)",
            params![id, version, thumbprint, body],
            Unique::Identity,
            Unique::AccountKey,
        );
    }
    replace(
        connection,
        "UPDATE account SET version = ?2, thumbprint = ?3, body = ?4 WHERE id = ?1 AND version = ?5",
        params![id, version, thumbprint, body, rows::count(was.0)],
        Unique::AccountKey,
    )
}

fn write_external_key(connection: &Connection, key: &ExternalKey) -> Result<(), Refusal> {
    let version = rows::count(key.version.next().0);
    let account = key.account.as_ref().map(|id| id.as_bytes());
    if key.version == Version::NEW {
        return insert(
            connection,
            "INSERT INTO external_key (kid, version, hmac, label, created, account, disabled)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                key.kid,
                version,
                *key.hmac,
                key.label,
                rows::micros(key.created),
                account,
                key.disabled
            ],
            Unique::ExternalKey,
            Unique::ExternalKey,
        );
    }
    replace(
        connection,
        "UPDATE external_key SET version = ?2, hmac = ?3, label = ?4, account = ?5, disabled = ?6
         WHERE kid = ?1 AND version = ?7",
        params![
            key.kid,
            version,
            *key.hmac,
            key.label,
            account,
            key.disabled,
            rows::count(key.version.0)
        ],
        Unique::ExternalKey,
    )
}

fn write_order(connection: &Connection, order: &Order) -> Result<(), Refusal> {
    let was = order.version;
    let order = Order {
        version: was.next(),
        ..order.clone()
    };
    let (id, version) = (order.id.as_bytes(), rows::count(order.version.0));
    let (expires, progress) = (rows::micros(order.expires), order.progress.as_str());
    let due = order.due().map(rows::micros);
    let body = rows::to_body(&order)?;
    if was != Version::NEW {
        return replace(
            connection,
            "UPDATE orders SET version = ?2, expires = ?3, progress = ?4, due = ?5, body = ?6
             WHERE id = ?1 AND version = ?7",
            params![id, version, expires, progress, due, body, rows::count(was.0)],
            Unique::Identity,
        );
    }
    insert(
        connection,
        "INSERT INTO orders (id, version, account, created, expires, progress, due, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            id,
            version,
            order.account.as_bytes(),
            rows::micros(order.created),
            expires,
            progress,
            due,
            body
        ],
        Unique::Identity,
        Unique::Identity,
    )?;
    // The list never changes afterwards, so it is written with the order and never again.
    for authorization in &order.authorizations {
        run(
            connection,
            "INSERT INTO order_authorization (authorization_id, order_id) VALUES (?1, ?2)",
            params![authorization.as_bytes(), id],
        )?;
    }
    Ok(())
}

fn write_authorization(connection: &Connection, authorization: &Authorization) -> Result<(), Refusal> {
    let was = authorization.version;
    let authorization = Authorization {
        version: was.next(),
        ..authorization.clone()
    };
    let (id, version) = (authorization.id.as_bytes(), rows::count(authorization.version.0));
    let status = rows::authorization_status(authorization.status);
    let (expires, due) = (
        rows::micros(authorization.expires),
        authorization.due().map(rows::micros),
    );
    let body = rows::to_body(&authorization)?;
    if was != Version::NEW {
        return replace(
            connection,
            "UPDATE authorizations SET version = ?2, status = ?3, expires = ?4, due = ?5, body = ?6
             WHERE id = ?1 AND version = ?7",
            params![id, version, status, expires, due, body, rows::count(was.0)],
            Unique::Identity,
        );
    }
    insert(
        connection,
        "INSERT INTO authorizations (id, version, account, name, status, expires, due, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            id,
            version,
            authorization.account.as_bytes(),
            rows::authorization_name(&authorization),
            status,
            expires,
            due,
            body
        ],
        Unique::Identity,
        Unique::Identity,
    )
}

fn write_certificate(
    connection: &Connection,
    ledger: &mut Ledger,
    batch: &Batch,
    certificate: &Certificate,
) -> Result<(), Refusal> {
    let is_new = certificate.version == Version::NEW;
    let told = if is_new {
        None
    } else {
        told_status(connection, certificate.serial)?
    };
    let now = rows::revocation_columns(certificate.revocation());
    let position = match (&told, &certificate.state) {
        (None, CertificateState::Intended | CertificateState::Void) => None,
        (Some(_), CertificateState::Intended | CertificateState::Void) => {
            return Err(Refusal::Forbidden(
                "a certificate that was signed cannot become one that was not",
            ));
        }
        (Some((position, told)), _) if *told == now => Some(*position),
        _ => Some(ledger.position + 1),
    };
    if is_new {
        insert_certificate(
            connection,
            certificate,
            position,
            is_renewed(connection, batch, certificate)?,
        )?;
    } else {
        replace_certificate(connection, certificate, position)?;
    }
    match (position, told.map(|(position, _)| position)) {
        (Some(position), before) if before != Some(position) => {
            tell_status(connection, ledger, certificate, now, before)
        }
        _ => Ok(()),
    }
}

/// Tells whether a certificate is one of an order's that is renewed.
fn is_renewed(connection: &Connection, batch: &Batch, certificate: &Certificate) -> Sql<bool> {
    let Some(id) = certificate.order else {
        return Ok(false);
    };
    let in_batch = batch.changes.iter().find_map(|change| match change {
        Change::Order(order) if order.id == id => Some(order),
        _ => None,
    });
    match in_batch {
        Some(order) => {
            let renewed = matches!(order.progress, Progress::Renewing(_) | Progress::Canceled { .. });
            Ok(renewed || order.auto_renewal.is_some())
        }
        None => connection
            .prepare_cached(
                "SELECT 1 FROM orders WHERE id = ?1 AND (progress IN ('renewing', 'canceled') OR due IS NOT NULL)",
            )?
            .exists([id.as_bytes()]),
    }
}

fn insert_certificate(
    connection: &Connection,
    certificate: &Certificate,
    position: Option<u64>,
    renewed: bool,
) -> Result<(), Refusal> {
    let serial = certificate.serial.as_bytes();
    let (revoked_at, reason, since) = rows::revocation_columns(certificate.revocation());
    insert(
        connection,
        "INSERT INTO certificate (serial, version, issuer, account, order_id, profile, names, subject, not_before,
            not_after, spki_sha256, tbs, state, der, revoked_at, revoked_reason, revoked_since, created,
            replaced_by, renew_from, position, renewed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)",
        params![
            serial,
            rows::count(certificate.version.next().0),
            certificate.issuer.as_str(),
            certificate.account.as_ref().map(|id| id.as_bytes()),
            certificate.order.as_ref().map(|id| id.as_bytes()),
            certificate.profile,
            rows::to_body(&certificate.names)?,
            certificate.subject,
            rows::micros(certificate.not_before),
            rows::micros(certificate.not_after),
            certificate.spki_sha256,
            certificate.tbs,
            certificate.state.as_str(),
            certificate.der(),
            revoked_at,
            reason,
            since,
            rows::micros(certificate.created),
            certificate.replaced_by.as_ref().map(|id| id.as_bytes()),
            certificate.renew_from.map(rows::micros),
            position.map(rows::count),
            renewed,
        ],
        Unique::Serial,
        Unique::Serial,
    )?;
    let names: std::collections::BTreeSet<String> = certificate.names.iter().map(rows::name).collect();
    for name in names {
        run(
            connection,
            "INSERT INTO certificate_name (name, serial) VALUES (?1, ?2)",
            params![name, serial],
        )?;
    }
    Ok(())
}

/// Replaces what can change. What was decided before the signature (names, key, times) never does.
fn replace_certificate(
    connection: &Connection,
    certificate: &Certificate,
    position: Option<u64>,
) -> Result<(), Refusal> {
    let (revoked_at, reason, since) = rows::revocation_columns(certificate.revocation());
    replace(
        connection,
        "UPDATE certificate SET version = ?2, state = ?3, der = ?4, revoked_at = ?5, revoked_reason = ?6,
            revoked_since = ?7, replaced_by = ?8, renew_from = ?9, position = ?11, tbs = ?12
         WHERE serial = ?1 AND version = ?10",
        params![
            certificate.serial.as_bytes(),
            rows::count(certificate.version.next().0),
            certificate.state.as_str(),
            certificate.der(),
            revoked_at,
            reason,
            since,
            certificate.replaced_by.as_ref().map(|id| id.as_bytes()),
            certificate.renew_from.map(rows::micros),
            rows::count(certificate.version.0),
            position.map(rows::count),
            certificate.tbs,
        ],
        Unique::Serial,
    )
}

/// Returns where and what the status feed last told about a serial, if anything.
fn told_status(connection: &Connection, serial: Serial) -> Sql<Option<(u64, rows::RevocationColumns)>> {
    connection
        .prepare_cached(
            "SELECT position, revoked_at, revoked_reason, revoked_since FROM certificate
             WHERE serial = ?1 AND position IS NOT NULL",
        )?
        .query_row([serial.as_bytes()], |row| {
            Ok((rows::number(row, 0)?, (row.get(1)?, row.get(2)?, row.get(3)?)))
        })
        .optional()
}

/// Moves a certificate's entry to the end of the feed, so that the feed holds one entry for each.
fn tell_status(
    connection: &Connection,
    ledger: &mut Ledger,
    certificate: &Certificate,
    (revoked_at, reason, since): rows::RevocationColumns,
    before: Option<u64>,
) -> Result<(), Refusal> {
    ledger.position += 1;
    if let Some(before) = before {
        run(
            connection,
            "DELETE FROM status_feed WHERE position = ?1",
            [rows::count(before)],
        )?;
    }
    run(
        connection,
        "INSERT INTO status_feed (position, issuer, serial, not_after, revoked_at, revoked_reason, revoked_since)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            rows::count(ledger.position),
            certificate.issuer.as_str(),
            certificate.serial.as_bytes(),
            rows::micros(certificate.not_after),
            revoked_at,
            reason,
            since
        ],
    )?;
    Ok(())
}

fn write_blocked_key(connection: &Connection, key: &BlockedKey) -> Result<(), Refusal> {
    run(
        connection,
        "INSERT INTO blocked_key (spki_sha256, since, comment) VALUES (?1, ?2, ?3)
         ON CONFLICT (spki_sha256) DO NOTHING",
        params![key.spki_sha256, rows::micros(key.since), key.comment],
    )?;
    Ok(())
}

/// Keeps the issuer's last CRL of each kind only: the earlier ones can be hundreds of megabytes that nobody asks for.
fn write_crl(connection: &Connection, crl: &CrlRecord) -> Result<(), Refusal> {
    let (issuer, kind) = (crl.issuer.as_str(), crl.kind.as_str());
    let written = run(
        connection,
        "INSERT INTO crl_list (issuer, kind, number, this_update, next_update, entries, position)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS
            (SELECT 1 FROM crl_list WHERE issuer = ?1
             AND (number > ?3 OR (number = ?3 AND (kind = ?2 OR this_update <> ?4))))
         ON CONFLICT (issuer, kind) DO UPDATE SET number = excluded.number, this_update = excluded.this_update,
            next_update = excluded.next_update, entries = excluded.entries, position = excluded.position",
        params![
            issuer,
            kind,
            rows::count(crl.number),
            rows::micros(crl.this_update),
            rows::micros(crl.next_update),
            rows::count(crl.entries),
            rows::count(crl.position),
        ],
    )?;
    if written == 0 {
        return Err(Refusal::Duplicate(Unique::CrlNumber));
    }
    run(
        connection,
        "DELETE FROM crl_piece WHERE issuer = ?1 AND kind = ?2",
        [issuer, kind],
    )?;
    // A piece at a time, so that the engine never holds a copy of the whole.
    for (place, piece) in crl.der.pieces().iter().enumerate() {
        run(
            connection,
            "INSERT INTO crl_piece (issuer, kind, place, octets) VALUES (?1, ?2, ?3, ?4)",
            params![issuer, kind, rows::count(place as u64), &piece[..]],
        )?;
    }
    Ok(())
}
