//! The tables, and the steps by which an older store gets them.
//!
//! The text keeps to what PostgreSQL takes too (there with `CREATE DOMAIN blob AS bytea`): identities,
//! hashes and DER are BLOBs, times are whole microseconds since 1970, and a record's members that no
//! query asks for stand together as JSON in `body`.

use rusqlite::{Connection, OptionalExtension, params};

use super::OpenError;

/// The steps, each from the version before it; a store's version is how many it has taken.
///
/// A step that was released is never changed: what is wrong with it is mended by the next one.
const STEPS: &[&str] = &[FIRST, RENEWED_ORDERS, FEWER_TREES, LOG, CRL_LISTS];

const FIRST: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
    CREATE TABLE counter (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
    INSERT INTO counter (name, value) VALUES ('status_position', 0);

    CREATE TABLE account (
        id BLOB PRIMARY KEY,
        version BIGINT NOT NULL,
        thumbprint BLOB NOT NULL UNIQUE,
        body TEXT NOT NULL
    );

    CREATE TABLE external_key (
        kid TEXT PRIMARY KEY,
        version BIGINT NOT NULL,
        hmac BLOB NOT NULL,
        label TEXT NOT NULL,
        created BIGINT NOT NULL,
        account BLOB,
        disabled BOOLEAN NOT NULL
    );

    CREATE TABLE orders (
        id BLOB PRIMARY KEY,
        version BIGINT NOT NULL,
        account BLOB NOT NULL,
        created BIGINT NOT NULL,
        expires BIGINT NOT NULL,
        progress TEXT NOT NULL,
        body TEXT NOT NULL
    );
    CREATE INDEX orders_by_account ON orders (account, created, id);
    CREATE INDEX orders_by_created ON orders (created, id);
    CREATE INDEX orders_by_progress ON orders (progress, created, id);
    CREATE INDEX orders_by_expires ON orders (expires);

    CREATE TABLE authorizations (
        id BLOB PRIMARY KEY,
        version BIGINT NOT NULL,
        account BLOB NOT NULL,
        name TEXT NOT NULL,
        status TEXT NOT NULL,
        expires BIGINT NOT NULL,
        due BIGINT,
        body TEXT NOT NULL
    );
    CREATE INDEX authorizations_by_name ON authorizations (account, name, status, expires);
    CREATE INDEX authorizations_by_due ON authorizations (due) WHERE due IS NOT NULL;
    CREATE INDEX authorizations_by_expires ON authorizations (expires);

    CREATE TABLE order_authorization (
        order_id BLOB NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
        place BIGINT NOT NULL,
        authorization_id BLOB NOT NULL,
        PRIMARY KEY (order_id, place)
    );
    CREATE INDEX order_authorization_by_authorization ON order_authorization (authorization_id);

    CREATE TABLE certificate (
        serial BLOB PRIMARY KEY,
        version BIGINT NOT NULL,
        issuer TEXT NOT NULL,
        account BLOB,
        order_id BLOB,
        profile TEXT NOT NULL,
        names TEXT NOT NULL,
        subject TEXT NOT NULL,
        not_before BIGINT NOT NULL,
        not_after BIGINT NOT NULL,
        spki_sha256 BLOB NOT NULL,
        tbs BLOB NOT NULL,
        state TEXT NOT NULL,
        der BLOB,
        revoked_at BIGINT,
        revoked_reason BIGINT,
        revoked_since BIGINT,
        created BIGINT NOT NULL,
        replaced_by BLOB,
        renew_from BIGINT
    );
    CREATE INDEX certificate_by_account ON certificate (account, serial);
    CREATE INDEX certificate_by_state ON certificate (state, serial);
    CREATE INDEX certificate_by_key ON certificate (spki_sha256, serial);
    CREATE INDEX certificate_by_not_after ON certificate (not_after);
    CREATE INDEX certificate_by_created ON certificate (created);

    CREATE TABLE certificate_name (
        name TEXT NOT NULL,
        serial BLOB NOT NULL REFERENCES certificate (serial) ON DELETE CASCADE,
        PRIMARY KEY (name, serial)
    );
    CREATE INDEX certificate_name_by_serial ON certificate_name (serial);

    CREATE TABLE status_feed (
        position BIGINT PRIMARY KEY,
        issuer TEXT NOT NULL,
        serial BLOB NOT NULL UNIQUE,
        not_after BIGINT NOT NULL,
        revoked_at BIGINT,
        revoked_reason BIGINT,
        revoked_since BIGINT
    );
    CREATE INDEX status_feed_by_revoked ON status_feed (issuer, serial) WHERE revoked_at IS NOT NULL;

    CREATE TABLE blocked_key (
        spki_sha256 BLOB PRIMARY KEY,
        since BIGINT NOT NULL,
        comment TEXT NOT NULL
    );

    CREATE TABLE crl (
        issuer TEXT PRIMARY KEY,
        number BIGINT NOT NULL,
        this_update BIGINT NOT NULL,
        next_update BIGINT NOT NULL,
        entries BIGINT NOT NULL,
        position BIGINT NOT NULL,
        der BLOB NOT NULL
    );

    CREATE TABLE audit (
        sequence BIGINT PRIMARY KEY,
        hash BLOB NOT NULL,
        event TEXT NOT NULL
    );
";

/// Orders whose certificates are renewed: when the next one is due, and how many of them an account has.
const RENEWED_ORDERS: &str = "
    ALTER TABLE orders ADD COLUMN due BIGINT;
    CREATE INDEX orders_by_due ON orders (due) WHERE due IS NOT NULL;
    CREATE INDEX orders_renewed_by_account ON orders (account) WHERE due IS NOT NULL;
    CREATE INDEX certificate_by_order ON certificate (order_id, not_after) WHERE order_id IS NOT NULL;
";

/// Each tree that a row stands in costs a written page for each certificate once the trees are large, so what is
/// left is what somebody asks for: integer keys where rows come in order, one entry instead of a second table, and
/// partial indexes on the few that are not as most are. What a certificate's record said twice (its status, and its
/// to-be-signed bytes within the whole) it says once.
const FEWER_TREES: &str = "
    DROP INDEX orders_by_account;
    DROP INDEX orders_by_created;
    DROP INDEX orders_by_progress;
    CREATE INDEX orders_by_account ON orders (account);

    CREATE TABLE names_order (
        authorization_id BLOB NOT NULL,
        order_id BLOB NOT NULL,
        PRIMARY KEY (authorization_id, order_id)
    ) WITHOUT ROWID;
    INSERT OR IGNORE INTO names_order SELECT authorization_id, order_id FROM order_authorization ORDER BY 1, 2;
    DROP TABLE order_authorization;
    ALTER TABLE names_order RENAME TO order_authorization;

    DROP INDEX certificate_by_state;
    DROP INDEX certificate_by_key;
    DROP INDEX certificate_by_created;
    DROP INDEX certificate_by_order;
    ALTER TABLE certificate ADD COLUMN renewed BOOLEAN NOT NULL DEFAULT FALSE;
    ALTER TABLE certificate ADD COLUMN position BIGINT;
    UPDATE certificate SET
        tbs = CASE WHEN der IS NULL THEN tbs ELSE x'' END,
        position = (SELECT position FROM status_feed WHERE status_feed.serial = certificate.serial),
        renewed = EXISTS (SELECT 1 FROM orders WHERE orders.id = certificate.order_id
            AND (orders.progress IN ('renewing', 'canceled') OR orders.due IS NOT NULL));
    CREATE INDEX certificate_by_state ON certificate (state, serial) WHERE state <> 'issued';
    CREATE INDEX certificate_by_own_key ON certificate (spki_sha256, serial) WHERE account IS NULL;
    CREATE INDEX certificate_renewed ON certificate (not_after) WHERE renewed;

    CREATE TABLE named (
        name TEXT NOT NULL,
        serial BLOB NOT NULL,
        PRIMARY KEY (name, serial)
    ) WITHOUT ROWID;
    INSERT INTO named SELECT name, serial FROM certificate_name ORDER BY 1, 2;
    DROP TABLE certificate_name;
    ALTER TABLE named RENAME TO certificate_name;

    CREATE TABLE feed (
        position INTEGER PRIMARY KEY,
        issuer TEXT NOT NULL,
        serial BLOB NOT NULL,
        not_after BIGINT NOT NULL,
        revoked_at BIGINT,
        revoked_reason BIGINT,
        revoked_since BIGINT
    );
    INSERT INTO feed SELECT position, issuer, serial, not_after, revoked_at, revoked_reason, revoked_since
        FROM status_feed ORDER BY position;
    DROP TABLE status_feed;
    ALTER TABLE feed RENAME TO status_feed;
    CREATE INDEX status_feed_by_revoked ON status_feed (issuer, serial) WHERE revoked_at IS NOT NULL;

    CREATE TABLE log (
        sequence INTEGER PRIMARY KEY,
        hash BLOB NOT NULL,
        event TEXT NOT NULL
    );
    INSERT INTO log SELECT sequence, hash, event FROM audit ORDER BY sequence;
    DROP TABLE audit;
    ALTER TABLE log RENAME TO audit;
";

/// The tree over the audit log: its full tiles (and the growing ones above the leaves), the heads that were signed, and
/// which event tells of a certificate's issuance.
const LOG: &str = "
    CREATE TABLE log_tile (
        level BIGINT NOT NULL,
        place BIGINT NOT NULL,
        hashes BLOB NOT NULL,
        PRIMARY KEY (level, place)
    );
    CREATE TABLE log_head (day BIGINT PRIMARY KEY, size BIGINT NOT NULL, note TEXT NOT NULL);
    ALTER TABLE certificate ADD COLUMN logged BIGINT;
";

/// An issuer has several lists, and each is kept in pieces: a long one is never in one block.
const CRL_LISTS: &str = "
    CREATE TABLE crl_list (
        issuer TEXT NOT NULL,
        kind TEXT NOT NULL,
        number BIGINT NOT NULL,
        this_update BIGINT NOT NULL,
        next_update BIGINT NOT NULL,
        entries BIGINT NOT NULL,
        position BIGINT NOT NULL,
        PRIMARY KEY (issuer, kind)
    );
    CREATE TABLE crl_piece (
        issuer TEXT NOT NULL,
        kind TEXT NOT NULL,
        place BIGINT NOT NULL,
        octets BLOB NOT NULL,
        PRIMARY KEY (issuer, kind, place)
    );
    INSERT INTO crl_list (issuer, kind, number, this_update, next_update, entries, position)
        SELECT issuer, 'complete', number, this_update, next_update, entries, position FROM crl;
    INSERT INTO crl_piece (issuer, kind, place, octets) SELECT issuer, 'complete', 0, der FROM crl;
    DROP TABLE crl;
";

/// The name of the store's own identity in `meta`.
pub(super) const IDENTITY: &str = "identity";

/// Brings the tables to the present version, in one transaction; a new store also gets its identity.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let known = STEPS.len() as i64;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")?;
    let found: i64 = transaction
        .query_row("SELECT version FROM schema_version", [], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    if found > known || found < 0 {
        return Err(OpenError::Newer { found, known });
    }
    for step in &STEPS[found as usize..] {
        transaction.execute_batch(step)?;
    }
    if found < known {
        transaction.execute("DELETE FROM schema_version", [])?;
        transaction.execute("INSERT INTO schema_version (version) VALUES (?1)", [known])?;
    }
    if found == 0 {
        transaction.execute(
            "INSERT INTO meta (name, value) VALUES (?1, ?2)",
            params![IDENTITY, new_identity()?],
        )?;
    }
    super::log::begin(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// Gives the store a new identity, so that whoever followed another history of it begins anew.
pub(super) fn renew_identity(connection: &Connection) -> Result<(), OpenError> {
    connection.execute(
        "UPDATE meta SET value = ?2 WHERE name = ?1",
        params![IDENTITY, new_identity()?],
    )?;
    // What was published of the old history may be more than is here, so this one has another name.
    super::log::set_epoch(connection, &super::log::new_epoch()?)?;
    Ok(())
}

fn new_identity() -> Result<[u8; 16], OpenError> {
    let mut identity = [0; 16];
    getrandom::fill(&mut identity).map_err(|error| OpenError::Io(std::io::Error::other(error.to_string())))?;
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_migration_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let identity = |c: &Connection| -> Vec<u8> {
            c.query_row("SELECT value FROM meta WHERE name = ?1", [IDENTITY], |row| row.get(0))
                .unwrap()
        };
        let before = identity(&connection);
        migrate(&mut connection).unwrap();
        assert_eq!(identity(&connection), before);
        renew_identity(&connection).unwrap();
        assert_ne!(identity(&connection), before);
    }

    #[test]
    fn an_older_store_is_brought_up_with_what_is_in_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE schema_version (version BIGINT NOT NULL); INSERT INTO schema_version VALUES (1);",
            )
            .unwrap();
        connection.execute_batch(FIRST).unwrap();
        connection
            .execute_batch(
                "INSERT INTO orders (id, version, account, created, expires, progress, body)
                 VALUES (x'01', 1, x'02', 3, 4, 'open', '{}')",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        let row: (i64, Option<i64>, i64) = connection
            .query_row(
                "SELECT expires, due, (SELECT version FROM schema_version) FROM orders",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap();
        assert_eq!(row, (4, None, STEPS.len() as i64));
    }

    #[test]
    fn a_store_before_fewer_trees_keeps_what_was_said_of_its_certificates() {
        let mut connection = Connection::open_in_memory().unwrap();
        let second = [
            "CREATE TABLE schema_version (version BIGINT NOT NULL); INSERT INTO schema_version VALUES (2);",
            FIRST,
            RENEWED_ORDERS,
            "INSERT INTO meta VALUES ('identity', zeroblob(16));
             INSERT INTO orders (id, version, account, created, expires, progress, body, due) VALUES
                (x'01', 1, x'0a', 3, 4, 'valid', '{}', NULL), (x'02', 1, x'0a', 3, 4, 'renewing', '{}', 9);
             INSERT INTO order_authorization VALUES (x'01', 0, x'aa'), (x'01', 1, x'bb'), (x'02', 0, x'aa');
             INSERT INTO certificate (serial, version, issuer, order_id, profile, names, subject, not_before, not_after,
                spki_sha256, tbs, state, der, revoked_at, created) VALUES
                (x'11', 1, 'i', x'01', 'p', '[]', '', 0, 9, x'00', x'30', 'issued', x'3030', NULL, 0),
                (x'12', 1, 'i', x'02', 'p', '[]', '', 0, 9, x'00', x'30', 'revoked', x'3030', 5, 0),
                (x'13', 1, 'i', x'02', 'p', '[]', '', 0, 9, x'00', x'31', 'intended', NULL, NULL, 0);
             INSERT INTO certificate_name VALUES ('dns:b', x'11'), ('dns:a', x'11'), ('dns:a', x'12');
             INSERT INTO status_feed VALUES (1, 'i', x'11', 9, NULL, NULL, NULL), (3, 'i', x'12', 9, 5, NULL, NULL);
             UPDATE counter SET value = 3;
             INSERT INTO audit VALUES (1, x'01', '{}'), (2, x'02', '{}');",
        ];
        for text in second {
            connection.execute_batch(text).unwrap();
        }
        migrate(&mut connection).unwrap();
        let rows = |sql: &str| -> Vec<String> {
            let mut statement = connection.prepare(sql).unwrap();
            let read = statement.query_map([], |row| row.get(0)).unwrap();
            read.collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(
            rows("SELECT format('%s %s %s %s', hex(serial), hex(tbs), position, renewed) FROM certificate ORDER BY 1"),
            ["11  1 0", "12  3 1", "13 31  1"]
        );
        assert_eq!(
            rows("SELECT format('%s %s', name, hex(serial)) FROM certificate_name").len(),
            3
        );
        assert_eq!(
            rows("SELECT hex(authorization_id) || hex(order_id) FROM order_authorization"),
            ["AA01", "AA02", "BB01"]
        );
        assert_eq!(
            rows("SELECT format('%d %s', position, hex(serial)) FROM status_feed"),
            ["1 11", "3 12"]
        );
        assert_eq!(rows("SELECT format('%d', sequence) FROM audit"), ["1", "2"]);
        assert_eq!(
            crate::store::embedded::reads::status_position(&connection).unwrap().0,
            3
        );
    }

    #[test]
    fn refuses_a_store_of_a_later_version() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection
            .execute("UPDATE schema_version SET version = version + 1", [])
            .unwrap();
        assert!(matches!(migrate(&mut connection), Err(OpenError::Newer { .. })));
    }
}
