//! Forward migrations, compiled in and recorded with a checksum.

use deia_model::Timestamp;
use ring::digest;
use rusqlite::{Connection, OptionalExtension, params};

const MIGRATIONS: &[&str] = &[
    include_str!("../sql/0001_initial.sql"),
    include_str!("../sql/0002_alerts.sql"),
    include_str!("../sql/0003_webhooks.sql"),
    include_str!("../sql/0004_audit.sql"),
    include_str!("../sql/0005_messaging.sql"),
    include_str!("../sql/0006_sessions.sql"),
    include_str!("../sql/0007_settings.sql"),
    include_str!("../sql/0008_operator_level.sql"),
];

/// Reason why the schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The file was created by a newer deia.
    #[error("its schema has version {found}, this binary knows up to {known}: run a newer deia")]
    Newer {
        /// The version in the file.
        found: usize,
        /// The newest version that this binary knows.
        known: usize,
    },
    /// An applied migration differs from the one in this binary.
    #[error(
        "it was created by another build of deia with another migration {0}: use the build that created it, or another data directory (stores of builds before the first release are not carried over)"
    )]
    Changed(usize),
    /// An error of SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Migrates the schema to the current version.
pub(super) fn migrate(db: &mut Connection) -> Result<(), SchemaError> {
    apply(db, MIGRATIONS)
}

/// Applies the migrations that are missing, all or none.
fn apply(db: &mut Connection, migrations: &[&str]) -> Result<(), SchemaError> {
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             version INTEGER PRIMARY KEY, checksum BLOB NOT NULL, applied_at INTEGER NOT NULL) STRICT",
    )?;
    for (i, sql) in migrations
        .iter()
        .enumerate()
        .skip(applied(&tx, migrations)?)
    {
        tx.execute_batch(sql)?;
        tx.execute(
            "INSERT INTO schema_migrations (version, checksum, applied_at) VALUES (?1, ?2, ?3)",
            params![i + 1, checksum(sql), Timestamp::now().as_millis()],
        )?;
    }
    Ok(tx.commit()?)
}

/// Checks that [`migrate`] would succeed, and changes nothing.
pub(super) fn verify(db: &Connection) -> Result<(), SchemaError> {
    match is_new(db)? {
        true => Ok(()),
        false => applied(db, MIGRATIONS).map(drop),
    }
}

/// Returns whether no migration was ever applied.
pub(super) fn is_new(db: &Connection) -> rusqlite::Result<bool> {
    let there = db
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE name = 'schema_migrations'",
            [],
            |_| Ok(()),
        )
        .optional()?;
    Ok(there.is_none())
}

/// Returns the number of applied migrations, after checking that each is the one in
/// this binary.
fn applied(db: &Connection, migrations: &[&str]) -> Result<usize, SchemaError> {
    let mut all = db.prepare("SELECT checksum FROM schema_migrations ORDER BY version")?;
    let found = all
        .query_map([], |row| row.get::<_, Vec<u8>>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let changed = found
        .iter()
        .zip(migrations)
        .position(|(found, sql)| *found != checksum(sql));
    match changed {
        Some(i) => Err(SchemaError::Changed(i + 1)),
        None if found.len() > migrations.len() => Err(SchemaError::Newer {
            found: found.len(),
            known: migrations.len(),
        }),
        None => Ok(found.len()),
    }
}

fn checksum(sql: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, sql.as_bytes())
        .as_ref()
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut db = Connection::open_in_memory().unwrap();
        verify(&db).unwrap();
        migrate(&mut db).unwrap();
        migrate(&mut db).unwrap();
        verify(&db).unwrap();
    }

    #[test]
    fn migrations_are_applied_all_or_none() {
        let mut db = Connection::open_in_memory().unwrap();
        let one = "CREATE TABLE a (x)";
        apply(&mut db, &[one]).unwrap();
        let fails = [one, "CREATE TABLE b (x)", "CREATE TABLE a (x)"];
        assert!(apply(&mut db, &fails).is_err());
        let tables = |db: &Connection| {
            db.query_row(
                "SELECT group_concat(name, ' ') FROM sqlite_schema WHERE type = 'table'",
                [],
                |row| row.get::<_, String>(0),
            )
            .unwrap()
        };
        assert_eq!(tables(&db), "schema_migrations a");
        // The older binary can still use the schema; the newer one continues from
        // there.
        assert_eq!(applied(&db, &[one]).unwrap(), 1);
        apply(&mut db, &fails[..2]).unwrap();
        assert_eq!(tables(&db), "schema_migrations a b");
        assert!(matches!(
            applied(&db, &[one]),
            Err(SchemaError::Newer { found: 2, known: 1 })
        ));
    }

    #[test]
    fn a_newer_schema_and_a_changed_one_are_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db).unwrap();
        db.execute("INSERT INTO schema_migrations VALUES (99, x'00', 0)", [])
            .unwrap();
        assert!(matches!(
            migrate(&mut db),
            Err(SchemaError::Newer { found, known }) if found == known + 1
        ));
        db.execute_batch("DELETE FROM schema_migrations WHERE version = 99; UPDATE schema_migrations SET checksum = x'00'")
            .unwrap();
        assert!(matches!(migrate(&mut db), Err(SchemaError::Changed(1))));
    }
}
