//! The queries of the port, each inside the snapshot that its caller opened.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, params, types::Value};
use sigillo_protocol::{
    acme::{
        authorization::AuthorizationStatus,
        identifier::{DnsName, Name},
    },
    jose::Thumbprint,
};

use super::{
    log,
    rows::{self, CERTIFICATE_COLUMNS, STATUS_COLUMNS, Sql},
    schema,
};
use crate::{
    model::{
        Account, AccountId, AuditRecord, Authorization, AuthorizationId, BlockedKey, Certificate, CrlKind, CrlRecord,
        ExternalKey, IssuerId, Order, OrderId, Serial, StatusRecord,
    },
    store::{CertificateFilter, OrderView, Page},
};

/// The words of a certificate's state.
const CERTIFICATE_STATES: [&str; 4] = ["intended", "issued", "revoked", "void"];

const EXTERNAL_KEY: &str = "SELECT kid, version, hmac, label, created, account, disabled FROM external_key";

fn one<T>(c: &Connection, sql: &str, params: impl Params, read: impl FnOnce(&Row<'_>) -> Sql<T>) -> Sql<Option<T>> {
    c.prepare_cached(sql)?.query_row(params, read).optional()
}

fn many<T>(c: &Connection, sql: &str, params: impl Params, read: impl FnMut(&Row<'_>) -> Sql<T>) -> Sql<Vec<T>> {
    c.prepare_cached(sql)?.query_map(params, read)?.collect()
}

/// Returns how many rows to give at most.
fn limit(wanted: usize) -> i64 {
    rows::count(wanted.min(Page::<()>::LIMIT_MAX) as u64)
}

pub(super) fn account(c: &Connection, id: AccountId) -> Sql<Option<Account>> {
    one(c, "SELECT body FROM account WHERE id = ?1", [id.as_bytes()], |row| {
        rows::from_body(row, 0)
    })
}

pub(super) fn account_by_thumbprint(c: &Connection, thumbprint: Thumbprint) -> Sql<Option<Account>> {
    let sql = "SELECT body FROM account WHERE thumbprint = ?1";
    one(c, sql, [thumbprint.as_bytes()], |row| rows::from_body(row, 0))
}

pub(super) fn accounts(c: &Connection, page: &Page<AccountId>) -> Sql<Vec<Account>> {
    // No identity is empty, so the empty one is before the first.
    let after = page.after.as_ref().map_or(&[][..], |id| id.as_bytes());
    let sql = "SELECT body FROM account WHERE id > ?1 ORDER BY id LIMIT ?2";
    many(c, sql, params![after, limit(page.limit)], |row| rows::from_body(row, 0))
}

pub(super) fn external_key(c: &Connection, kid: &str) -> Sql<Option<ExternalKey>> {
    one(c, &format!("{EXTERNAL_KEY} WHERE kid = ?1"), [kid], rows::external_key)
}

pub(super) fn external_keys(c: &Connection, page: &Page<String>) -> Sql<Vec<ExternalKey>> {
    let sql = format!("{EXTERNAL_KEY} WHERE ?1 IS NULL OR kid > ?1 ORDER BY kid LIMIT ?2");
    many(c, &sql, params![page.after, limit(page.limit)], rows::external_key)
}

pub(super) fn order(c: &Connection, id: OrderId) -> Sql<Option<OrderView>> {
    let order = one(c, "SELECT body FROM orders WHERE id = ?1", [id.as_bytes()], |row| {
        rows::from_body(row, 0)
    })?;
    order.map(|order| view(c, order)).transpose()
}

/// Adds an order's authorizations, in its order.
fn view(c: &Connection, order: Order) -> Sql<OrderView> {
    let mut authorizations = Vec::with_capacity(order.authorizations.len());
    for id in &order.authorizations {
        authorizations.extend(authorization(c, *id)?);
    }
    Ok(OrderView { order, authorizations })
}

pub(super) fn orders_of(c: &Connection, account: AccountId, page: &Page<OrderId>) -> Sql<Vec<OrderView>> {
    orders_where(c, "account = ?1", account.as_bytes(), page)?
        .into_iter()
        .map(|order| view(c, order))
        .collect()
}

pub(super) fn orders(c: &Connection, page: &Page<OrderId>) -> Sql<Vec<Order>> {
    orders_where(c, "?1 = 0", 0, page)
}

/// Lists orders from the newest to the oldest: rows are numbered as they come. A page after an order that is
/// gone is empty: it was among the oldest, so there is nothing behind it for long.
fn orders_where(c: &Connection, condition: &str, value: impl rusqlite::ToSql, page: &Page<OrderId>) -> Sql<Vec<Order>> {
    let Some(after) = &page.after else {
        let sql = format!("SELECT body FROM orders WHERE {condition} ORDER BY rowid DESC LIMIT ?2");
        return many(c, &sql, params![value, limit(page.limit)], |row| {
            rows::from_body(row, 0)
        });
    };
    let sql = format!(
        "SELECT body FROM orders
         WHERE {condition} AND rowid < (SELECT rowid FROM orders WHERE id = ?3) ORDER BY rowid DESC LIMIT ?2"
    );
    many(c, &sql, params![value, limit(page.limit), after.as_bytes()], |row| {
        rows::from_body(row, 0)
    })
}

pub(super) fn orders_due(c: &Connection, now: Timestamp, at_most: usize) -> Sql<(Vec<Order>, Option<Timestamp>)> {
    let sql = "SELECT body FROM orders WHERE due <= ?1 ORDER BY due, id LIMIT ?2";
    let due = many(c, sql, params![rows::micros(now), limit(at_most)], |row| {
        rows::from_body(row, 0)
    })?;
    let sql = "SELECT due FROM orders WHERE due > ?1 ORDER BY due LIMIT 1";
    let next = one(c, sql, [rows::micros(now)], |row| rows::time(row, 0))?;
    Ok((due, next))
}

pub(super) fn renewed_orders_of(c: &Connection, account: AccountId) -> Sql<u64> {
    let sql = "SELECT COUNT(*) FROM orders WHERE account = ?1 AND due IS NOT NULL";
    c.prepare_cached(sql)?
        .query_row([account.as_bytes()], |row| rows::number(row, 0))
}

pub(super) fn authorization(c: &Connection, id: AuthorizationId) -> Sql<Option<Authorization>> {
    one(
        c,
        "SELECT body FROM authorizations WHERE id = ?1",
        [id.as_bytes()],
        |row| rows::from_body(row, 0),
    )
}

pub(super) fn authorization_for(
    c: &Connection,
    account: AccountId,
    name: &Name,
    status: AuthorizationStatus,
    at: Timestamp,
) -> Sql<Option<Authorization>> {
    one(
        c,
        "SELECT body FROM authorizations WHERE account = ?1 AND name = ?2 AND status = ?3 AND expires > ?4
         ORDER BY expires DESC LIMIT 1",
        params![
            account.as_bytes(),
            rows::name(name),
            rows::authorization_status(status),
            rows::micros(at)
        ],
        |row| rows::from_body(row, 0),
    )
}

pub(super) fn subdomain_authorization(
    c: &Connection,
    account: AccountId,
    names: &[DnsName],
    status: AuthorizationStatus,
    at: Timestamp,
) -> Sql<Option<Authorization>> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut values: Vec<Value> = vec![
        account.as_bytes().to_vec().into(),
        rows::authorization_status(status).to_owned().into(),
        rows::micros(at).into(),
    ];
    let fixed = values.len();
    values.extend(names.iter().map(|name| rows::tree_name(name).into()));
    let sql = format!(
        "SELECT body FROM authorizations WHERE account = ?1 AND name IN ({}) AND status = ?2 AND expires > ?3
         ORDER BY expires DESC LIMIT 1",
        places(fixed + 1..=values.len())
    );
    one(c, &sql, rusqlite::params_from_iter(values), |row| {
        rows::from_body(row, 0)
    })
}

/// Returns numbered places for values: `?4, ?5`.
fn places(numbers: std::ops::RangeInclusive<usize>) -> String {
    let places: Vec<String> = numbers.map(|number| format!("?{number}")).collect();
    places.join(", ")
}

pub(super) fn authorizations_due(
    c: &Connection,
    now: Timestamp,
    running: &[AuthorizationId],
    without: &[AccountId],
    at_most: usize,
) -> Sql<(Vec<Authorization>, Option<Timestamp>)> {
    // Those that are running are still due and stand in front: they are passed over by their identity, unread.
    let at_most = at_most.min(Page::<()>::LIMIT_MAX);
    let mut values: Vec<Value> = vec![
        rows::micros(now).into(),
        rows::count(at_most.saturating_add(running.len()) as u64).into(),
    ];
    let fixed = values.len();
    values.extend(without.iter().map(|account| account.as_bytes().to_vec().into()));
    let others = match without {
        [] => String::new(),
        _ => format!(" AND account NOT IN ({})", places(fixed + 1..=values.len())),
    };
    let sql = format!("SELECT id, body FROM authorizations WHERE due <= ?1{others} ORDER BY due, id LIMIT ?2");
    let mut due = Vec::new();
    let mut statement = c.prepare_cached(&sql)?;
    let mut found = statement.query(rusqlite::params_from_iter(values))?;
    while due.len() < at_most
        && let Some(row) = found.next()?
    {
        let id = row.get_ref(0)?.as_blob()?;
        if !running.iter().any(|running| running.as_bytes() == id) {
            due.push(rows::from_body(row, 1)?);
        }
    }
    let sql = "SELECT due FROM authorizations WHERE due > ?1 ORDER BY due LIMIT 1";
    let next = one(c, sql, [rows::micros(now)], |row| rows::time(row, 0))?;
    Ok((due, next))
}

pub(super) fn certificate(c: &Connection, serial: Serial) -> Sql<Option<Certificate>> {
    let sql = format!("SELECT {CERTIFICATE_COLUMNS} FROM certificate WHERE serial = ?1");
    one(c, &sql, [serial.as_bytes()], rows::certificate)
}

pub(super) fn certificates(c: &Connection, filter: &CertificateFilter, page: &Page<Serial>) -> Sql<Vec<Certificate>> {
    let mut conditions = Vec::new();
    let mut values = Vec::new();
    let mut narrow = |condition: &str, value: Option<Value>| {
        if let Some(value) = value {
            values.push(value);
            conditions.push(condition.replace('?', &format!("?{}", values.len())));
        }
    };
    // What ends soon is listed by its end, where nothing else says which rows to look at.
    let by_end = filter.not_after_before.is_some()
        && filter.name.is_none()
        && filter.account.is_none()
        && filter.spki_sha256.is_none()
        && filter.state.as_deref().is_none_or(|state| state == "issued");
    let (after, order) = if by_end {
        (
            "(not_after, certificate.rowid) > (SELECT not_after, rowid FROM certificate WHERE serial = ?)",
            "not_after, certificate.rowid",
        )
    } else {
        ("certificate.serial > ?", "certificate.serial")
    };
    narrow(after, page.after.map(|serial| serial.as_bytes().to_vec().into()));
    narrow("account = ?", filter.account.map(|id| id.as_bytes().to_vec().into()));
    narrow("profile = ?", filter.profile.clone().map(Value::from));
    narrow("name = ?", filter.name.as_ref().map(|name| rows::name(name).into()));
    narrow("spki_sha256 = ?", filter.spki_sha256.map(|hash| hash.to_vec().into()));
    narrow(
        "not_after < ?",
        filter.not_after_before.map(|time| rows::micros(time).into()),
    );
    // In words, since the index on the rarer states is used only where the text shows that it holds them all.
    match &filter.state {
        Some(state) if CERTIFICATE_STATES.contains(&state.as_str()) => conditions.push(if state == "issued" {
            "state = 'issued'".to_owned()
        } else {
            format!("state = '{state}' AND state <> 'issued'")
        }),
        Some(_) => return Ok(Vec::new()),
        None => {}
    }
    if filter.spki_sha256.is_some() {
        conditions.push("account IS NULL".to_owned());
    }
    values.push(limit(page.limit).into());

    let names = if filter.name.is_some() {
        " JOIN certificate_name ON certificate_name.serial = certificate.serial"
    } else {
        ""
    };
    let narrowed = if conditions.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", conditions.join(" AND "))
    };
    let sql = format!(
        "SELECT {CERTIFICATE_COLUMNS} FROM certificate{names}{narrowed} ORDER BY {order} LIMIT ?{}",
        values.len()
    );
    many(c, &sql, rusqlite::params_from_iter(values), rows::certificate)
}

pub(super) fn certificates_intended(c: &Connection, at_most: usize) -> Sql<Vec<Certificate>> {
    let sql = format!(
        "SELECT {CERTIFICATE_COLUMNS} FROM certificate WHERE state = 'intended' AND state <> 'issued'
         ORDER BY serial LIMIT ?1"
    );
    many(c, &sql, [limit(at_most)], rows::certificate)
}

pub(super) fn revoked(
    c: &Connection,
    issuer: &IssuerId,
    since: Timestamp,
    page: &Page<Serial>,
) -> Sql<Vec<StatusRecord>> {
    let after = page.after.as_ref().map_or(&[][..], |serial| &serial.as_bytes()[..]);
    let sql = format!(
        "SELECT {STATUS_COLUMNS} FROM status_feed
         WHERE issuer = ?1 AND serial > ?2 AND revoked_at IS NOT NULL AND not_after > ?3
         ORDER BY serial LIMIT ?4"
    );
    many(
        c,
        &sql,
        params![issuer.as_str(), after, rows::micros(since), limit(page.limit)],
        rows::status,
    )
}

pub(super) fn blocked_key(c: &Connection, spki_sha256: [u8; 32]) -> Sql<Option<BlockedKey>> {
    let sql = "SELECT spki_sha256, since, comment FROM blocked_key WHERE spki_sha256 = ?1";
    one(c, sql, [spki_sha256], rows::blocked_key)
}

pub(super) fn blocked_keys(c: &Connection, page: &Page<[u8; 32]>) -> Sql<Vec<BlockedKey>> {
    let after = page.after.as_ref().map_or(&[][..], |hash| &hash[..]);
    let sql = "SELECT spki_sha256, since, comment FROM blocked_key WHERE spki_sha256 > ?1
         ORDER BY spki_sha256 LIMIT ?2";
    many(c, sql, params![after, limit(page.limit)], rows::blocked_key)
}

pub(super) fn crl(c: &Connection, issuer: &IssuerId, kind: CrlKind) -> Sql<Option<CrlRecord>> {
    let sql = "SELECT issuer, number, this_update, next_update, entries, position FROM crl_list
         WHERE issuer = ?1 AND kind = ?2";
    let key = [issuer.as_str(), kind.as_str()];
    let Some(record) = one(c, sql, key, |row| rows::crl(row, kind))? else {
        return Ok(None);
    };
    let sql = "SELECT octets FROM crl_piece WHERE issuer = ?1 AND kind = ?2 ORDER BY place";
    let pieces: Vec<Vec<u8>> = many(c, sql, key, |row| row.get(0))?;
    let der = pieces.into_iter().map(Bytes::from).collect::<Vec<_>>().into();
    Ok(Some(CrlRecord { der, ..record }))
}

pub(super) fn status_feed(c: &Connection, after: u64, at_most: usize) -> Sql<Vec<StatusRecord>> {
    let sql = format!("SELECT {STATUS_COLUMNS} FROM status_feed WHERE position > ?1 ORDER BY position LIMIT ?2");
    many(c, &sql, [rows::count(after), limit(at_most)], rows::status)
}

pub(super) fn status_position(c: &Connection) -> Sql<(u64, [u8; 16])> {
    // The feed's end, unless that was pruned: then it stands in the counter.
    let sql = "SELECT MAX(counter.value, COALESCE((SELECT MAX(position) FROM status_feed), 0)), meta.value
         FROM counter, meta WHERE counter.name = 'status_position' AND meta.name = ?1";
    c.prepare_cached(sql)?
        .query_row([schema::IDENTITY], |row| Ok((rows::number(row, 0)?, row.get(1)?)))
}

pub(super) fn status(c: &Connection, serial: Serial) -> Sql<Option<StatusRecord>> {
    let sql = format!("SELECT {STATUS_COLUMNS} FROM certificate WHERE serial = ?1 AND position IS NOT NULL");
    one(c, &sql, [serial.as_bytes()], rows::status)
}

pub(super) fn audit(c: &Connection, after: u64, at_most: usize) -> Sql<Vec<AuditRecord>> {
    let sql = "SELECT sequence, hash, event FROM audit WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
    let secret = log::secret(c)?;
    many(c, sql, [rows::count(after), limit(at_most)], |row| {
        rows::audit(row, &secret)
    })
}
