//! How values stand in columns, and how rows become records.

use jiff::Timestamp;
use rusqlite::{Row, types::Type};
use serde::de::DeserializeOwned;
use sigillo_protocol::{
    acme::{
        authorization::AuthorizationStatus,
        identifier::{DnsName, Name},
    },
    x509::reason::RevocationReason,
};
use zeroize::Zeroizing;

use crate::audit;
use crate::model::{
    AccountId, AuditRecord, Authorization, BlockedKey, Certificate, CertificateState, CrlKind, CrlRecord, ExternalKey,
    IssuerId, OrderId, Pieces, Revocation, Serial, StatusRecord, Version,
};

/// A result of the engine's.
pub(super) type Sql<T> = rusqlite::Result<T>;

/// The members of a certificate, in the order in which [`certificate`] reads them.
pub(super) const CERTIFICATE_COLUMNS: &str = "certificate.serial, version, issuer, account, order_id, profile, \
     names, subject, not_before, not_after, spki_sha256, tbs, state, der, revoked_at, revoked_reason, \
     revoked_since, created, replaced_by, renew_from";

/// The members of a status record, in the order in which [`status`] reads them.
pub(super) const STATUS_COLUMNS: &str =
    "position, issuer, serial, not_after, revoked_at, revoked_reason, revoked_since";

/// A column's content that is not what this version of the program writes there.
#[derive(Debug, thiserror::Error)]
#[error("column {0} does not hold {1}")]
struct Unreadable(usize, &'static str);

fn unreadable(column: usize, wanted: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, Box::new(Unreadable(column, wanted)))
}

/// The last time that a column holds: what lies in the last second of all time could not be read back.
const LAST_MICROS: i64 = 253_402_207_200_000_000;

/// Returns a time as it stands in a column.
pub(super) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond().min(LAST_MICROS)
}

/// Returns a count as it stands in a column. Counts grow by one from zero and never reach the limit.
pub(super) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns a name as it stands in a column: `dns:*.example.org`, `ip:192.0.2.1`.
pub(super) fn name(name: &Name) -> String {
    name.identifier().to_string()
}

/// Returns a name with all below it as it stands in a column: `dns:.example.org`.
pub(super) fn tree_name(name: &DnsName) -> String {
    format!("dns:.{name}")
}

/// Returns what an authorization is for as it stands in a column.
pub(super) fn authorization_name(authorization: &Authorization) -> String {
    match &authorization.name {
        Name::Dns(base) if authorization.subdomains => tree_name(base),
        own => name(own),
    }
}

/// Returns an authorization's state as it stands in a column.
pub(super) fn authorization_status(status: AuthorizationStatus) -> &'static str {
    match status {
        AuthorizationStatus::Pending => "pending",
        AuthorizationStatus::Valid => "valid",
        AuthorizationStatus::Invalid => "invalid",
        AuthorizationStatus::Deactivated => "deactivated",
        AuthorizationStatus::Expired => "expired",
        AuthorizationStatus::Revoked => "revoked",
    }
}

/// Writes the members of a record that no query asks for, and the others with them.
pub(super) fn to_body<T: serde::Serialize>(record: &T) -> Sql<String> {
    serde_json::to_string(record).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Reads a record back from its body.
pub(super) fn from_body<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Sql<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// Reads a time.
pub(super) fn time(row: &Row<'_>, column: usize) -> Sql<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|_| unreadable(column, "a time"))
}

fn time_if_any(row: &Row<'_>, column: usize) -> Sql<Option<Timestamp>> {
    let Some(micros) = row.get::<_, Option<i64>>(column)? else {
        return Ok(None);
    };
    Timestamp::from_microsecond(micros)
        .map(Some)
        .map_err(|_| unreadable(column, "a time"))
}

/// Reads a count.
pub(super) fn number(row: &Row<'_>, column: usize) -> Sql<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| unreadable(column, "a count"))
}

fn account_id_if_any(row: &Row<'_>, column: usize) -> Sql<Option<AccountId>> {
    Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(AccountId))
}

fn order_id_if_any(row: &Row<'_>, column: usize) -> Sql<Option<OrderId>> {
    Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(OrderId))
}

fn issuer(row: &Row<'_>, column: usize) -> Sql<IssuerId> {
    row.get_ref(column)?
        .as_str()?
        .parse()
        .map_err(|_| unreadable(column, "an issuer"))
}

/// Reads the three columns of a revocation, the first of which says whether there is one.
fn revocation(row: &Row<'_>, column: usize) -> Sql<Option<Revocation>> {
    let Some(at) = time_if_any(row, column)? else {
        return Ok(None);
    };
    let reason = match row.get::<_, Option<i64>>(column + 1)? {
        None => None,
        Some(code) => Some(RevocationReason::from_code(code).ok_or_else(|| unreadable(column + 1, "a reason"))?),
    };
    Ok(Some(Revocation {
        at,
        reason,
        invalid_since: time_if_any(row, column + 2)?,
    }))
}

/// The three columns of a revocation.
pub(super) type RevocationColumns = (Option<i64>, Option<u8>, Option<i64>);

/// Returns a revocation as it stands in its three columns.
pub(super) fn revocation_columns(revocation: Option<Revocation>) -> RevocationColumns {
    let Some(revocation) = revocation else {
        return (None, None, None);
    };
    (
        Some(micros(revocation.at)),
        revocation.reason.map(RevocationReason::code),
        revocation.invalid_since.map(micros),
    )
}

/// Reads an external key: `kid, version, hmac, label, created, account, disabled`.
pub(super) fn external_key(row: &Row<'_>) -> Sql<ExternalKey> {
    Ok(ExternalKey {
        kid: row.get(0)?,
        version: Version(number(row, 1)?),
        hmac: Zeroizing::new(row.get(2)?),
        label: row.get(3)?,
        created: time(row, 4)?,
        account: account_id_if_any(row, 5)?,
        disabled: row.get(6)?,
    })
}

/// Reads a certificate: [`CERTIFICATE_COLUMNS`].
pub(super) fn certificate(row: &Row<'_>) -> Sql<Certificate> {
    Ok(Certificate {
        serial: Serial::from_bytes(row.get(0)?),
        version: Version(number(row, 1)?),
        issuer: issuer(row, 2)?,
        account: account_id_if_any(row, 3)?,
        order: order_id_if_any(row, 4)?,
        profile: row.get(5)?,
        names: from_body(row, 6)?,
        subject: row.get(7)?,
        not_before: time(row, 8)?,
        not_after: time(row, 9)?,
        spki_sha256: row.get(10)?,
        tbs: row.get(11)?,
        state: certificate_state(row)?,
        created: time(row, 17)?,
        replaced_by: order_id_if_any(row, 18)?,
        renew_from: time_if_any(row, 19)?,
    })
}

fn certificate_state(row: &Row<'_>) -> Sql<CertificateState> {
    let der = || row.get::<_, Vec<u8>>(13);
    match row.get_ref(12)?.as_str()? {
        "intended" => Ok(CertificateState::Intended),
        "issued" => Ok(CertificateState::Issued { der: der()? }),
        "revoked" => {
            let revocation = revocation(row, 14)?.ok_or_else(|| unreadable(14, "a revocation"))?;
            Ok(CertificateState::Revoked {
                der: der()?,
                revocation,
            })
        }
        "void" => Ok(CertificateState::Void),
        _ => Err(unreadable(12, "a certificate's state")),
    }
}

/// Reads a status record: [`STATUS_COLUMNS`].
pub(super) fn status(row: &Row<'_>) -> Sql<StatusRecord> {
    Ok(StatusRecord {
        position: number(row, 0)?,
        issuer: issuer(row, 1)?,
        serial: Serial::from_bytes(row.get(2)?),
        not_after: time(row, 3)?,
        revocation: revocation(row, 4)?,
    })
}

/// Reads a blocked key: `spki_sha256, since, comment`.
pub(super) fn blocked_key(row: &Row<'_>) -> Sql<BlockedKey> {
    Ok(BlockedKey {
        spki_sha256: row.get(0)?,
        since: time(row, 1)?,
        comment: row.get(2)?,
    })
}

/// Reads a CRL without its octets: `issuer, number, this_update, next_update, entries, position`.
pub(super) fn crl(row: &Row<'_>, kind: CrlKind) -> Sql<CrlRecord> {
    Ok(CrlRecord {
        issuer: issuer(row, 0)?,
        number: number(row, 1)?,
        this_update: time(row, 2)?,
        next_update: time(row, 3)?,
        entries: number(row, 4)?,
        position: number(row, 5)?,
        kind,
        der: Pieces::default(),
    })
}

/// Reads an audit record: `sequence, hash, event`.
/// Reads a record of the audit log, with the salt that its place has under the log's secret.
pub(super) fn audit(row: &Row<'_>, secret: &[u8; 32]) -> Sql<AuditRecord> {
    let sequence = number(row, 0)?;
    let salt = audit::salt(secret, sequence);
    let text = row.get_ref(2)?.as_str()?;
    Ok(AuditRecord {
        sequence,
        hash: row.get(1)?,
        leaf: audit::leaf_of(&salt, text.as_bytes()),
        salt,
        event: from_body(row, 2)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_can_be_read_back() {
        assert_eq!(LAST_MICROS, Timestamp::MAX.as_second() * 1_000_000);
        for time in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            let read = Timestamp::from_microsecond(micros(time)).unwrap();
            assert!(time.duration_since(read) < jiff::SignedDuration::from_secs(1));
        }
    }
}
