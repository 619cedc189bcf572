//! Stored answers, so that a repeated request is harmless.

use rusqlite::{OptionalExtension, params};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{errors::ApplyError, rows, transaction::Tx};
use crate::{Idempotency, Rejection};

/// Returns the stored answer to the same request; refuses a request that differs.
pub(super) fn remembered<T: DeserializeOwned>(
    tx: &mut Tx<'_>,
    submitter: &str,
    idempotency: &Idempotency,
) -> Result<Option<T>, ApplyError> {
    let oldest = tx.now.as_millis()
        - i64::try_from(tx.policy.idempotency_retention.as_millis()).unwrap_or(i64::MAX);
    let mut find = tx.db.prepare_cached(
        "SELECT fingerprint, answer, created_at FROM idempotency WHERE submitter = ?1 AND key = ?2",
    )?;
    let found: Option<(Vec<u8>, String, i64)> = find
        .query_row(params![submitter, idempotency.key], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    match found {
        None => Ok(None),
        Some((_, answer, created_at)) if created_at <= oldest => {
            tx.db
                .prepare_cached("DELETE FROM idempotency WHERE submitter = ?1 AND key = ?2")?
                .execute(params![submitter, idempotency.key])?;
            let bytes = i64::try_from(answer.len()).unwrap_or(i64::MAX);
            tx.count_answers(submitter, -1, -bytes)?;
            Ok(None)
        }
        Some((fingerprint, _, _)) if fingerprint != idempotency.fingerprint => {
            Err(Rejection::IdempotencyMismatch.into())
        }
        Some((_, answer, _)) => Ok(Some(rows::from_json(1, &answer)?)),
    }
}

/// Maximum number of answers of one submitter that are deleted at once. Fixed: bounds one
/// step, so that others get their turn; the whole has no limit here.
const FORGET_AT_ONCE: usize = 64;

/// Stores an answer. Beyond the limits of one submitter the oldest answers of that
/// submitter are deleted: nobody loses an answer because of another.
pub(super) fn remember(
    tx: &mut Tx<'_>,
    submitter: &str,
    idempotency: &Idempotency,
    answer: &impl Serialize,
) -> rusqlite::Result<()> {
    let answer = json!(answer).to_string();
    let bytes = i64::try_from(answer.len()).unwrap_or(i64::MAX);
    let (mut answers, mut all_bytes) = tx.count_answers(submitter, 1, bytes)?;
    let (most, most_bytes) = (
        tx.policy.max_idempotency_answers,
        tx.policy.max_idempotency_bytes,
    );
    while (answers > most || all_bytes > most_bytes) && answers > 1 {
        let beyond = usize::try_from(answers.saturating_sub(most).max(1)).unwrap_or(usize::MAX);
        let gone = forget_oldest(tx, submitter, beyond.min(FORGET_AT_ONCE))?;
        if gone.answers == 0 {
            break;
        }
        (answers, all_bytes) = tx.count_answers(submitter, -gone.answers, -gone.bytes)?;
    }
    tx.db
        .prepare_cached(
            "INSERT INTO idempotency (submitter, key, fingerprint, answer, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            submitter,
            idempotency.key,
            idempotency.fingerprint,
            answer,
            tx.now.as_millis()
        ])?;
    Ok(())
}

/// Answers that were deleted.
#[derive(Default)]
struct Gone {
    answers: i64,
    bytes: i64,
}

/// Deletes the oldest answers of a submitter, at most `limit`.
fn forget_oldest(tx: &Tx<'_>, submitter: &str, limit: usize) -> rusqlite::Result<Gone> {
    let mut gone = Gone::default();
    let mut delete = tx.db.prepare_cached(
        "DELETE FROM idempotency WHERE submitter = ?1 AND key IN
             (SELECT key FROM idempotency INDEXED BY idempotency_of WHERE submitter = ?1
              ORDER BY created_at LIMIT ?2)
         RETURNING octet_length(answer)",
    )?;
    let mut rows = delete.query(params![submitter, limit])?;
    while let Some(row) = rows.next()? {
        gone.answers += 1;
        gone.bytes += row.get::<_, i64>(0)?;
    }
    Ok(gone)
}

/// Deletes answers that were stored at `oldest` or before, at most `limit`; returns the
/// number.
pub(super) fn forget_before(tx: &mut Tx<'_>, oldest: i64, limit: usize) -> rusqlite::Result<usize> {
    let gone: Vec<(String, i64)> = tx
        .db
        .prepare_cached(
            "DELETE FROM idempotency WHERE (submitter, key) IN
                 (SELECT submitter, key FROM idempotency INDEXED BY idempotency_age WHERE created_at <= ?1 LIMIT ?2)
             RETURNING submitter, octet_length(answer)",
        )?
        .query_map(params![oldest, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (submitter, bytes) in &gone {
        tx.count_answers(submitter, -1, -bytes)?;
    }
    Ok(gone.len())
}

/// Deletes the answers of a submitter: a later user of the same name is a different
/// one.
pub(super) fn forget(tx: &mut Tx<'_>, submitter: &str) -> rusqlite::Result<()> {
    loop {
        let gone = forget_oldest(tx, submitter, FORGET_AT_ONCE)?;
        if gone.answers == 0 {
            return Ok(());
        }
        tx.count_answers(submitter, -gone.answers, -gone.bytes)?;
    }
}
