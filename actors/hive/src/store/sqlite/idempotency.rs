//! Answers that are remembered for a while, so that a repeated request is harmless.

use rusqlite::{OptionalExtension, params};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{apply::ApplyError, rows, transaction::Tx};
use crate::ledger::{Dedup, Refusal};

/// What was answered to the same request before; a request that differs is refused.
pub(super) fn remembered<T: DeserializeOwned>(
    tx: &Tx<'_>,
    submitter: &str,
    dedup: &Dedup,
) -> Result<Option<T>, ApplyError> {
    let oldest = tx.now.as_millis()
        - i64::try_from(tx.policy.idempotency_retention.as_millis()).unwrap_or(i64::MAX);
    let mut find = tx.db.prepare_cached(
        "SELECT fingerprint, answer, created_at FROM idempotency WHERE submitter = ?1 AND key = ?2",
    )?;
    let found: Option<(Vec<u8>, String, i64)> = find
        .query_row(params![submitter, dedup.key], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    match found {
        None => Ok(None),
        Some((_, _, created_at)) if created_at <= oldest => {
            tx.db
                .prepare_cached("DELETE FROM idempotency WHERE submitter = ?1 AND key = ?2")?
                .execute(params![submitter, dedup.key])?;
            Ok(None)
        }
        Some((fingerprint, _, _)) if fingerprint != dedup.fingerprint => {
            Err(Refusal::IdempotencyMismatch.into())
        }
        Some((_, answer, _)) => Ok(Some(rows::from_json(1, &answer)?)),
    }
}

/// Remembers an answer.
pub(super) fn remember(
    tx: &Tx<'_>,
    submitter: &str,
    dedup: &Dedup,
    answer: &impl Serialize,
) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "INSERT INTO idempotency (submitter, key, fingerprint, answer, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            submitter,
            dedup.key,
            dedup.fingerprint,
            json!(answer).to_string(),
            tx.now.as_millis()
        ])?;
    Ok(())
}

/// Forgets what was answered under that name: whoever gets it later is another.
pub(super) fn forget(tx: &Tx<'_>, submitter: &str) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached("DELETE FROM idempotency WHERE submitter = ?1")?
        .execute([submitter])?;
    Ok(())
}
