//! Registration, changes and removal of endpoints.

use deia_model::{Action, DisableReason, NewEvent, Position, SecretName, WebhookId};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use super::{
    super::{
        errors::ApplyError,
        idempotency::{remember, remembered},
        positions::{cursor, number, timeline},
        transaction::Tx,
    },
    replays, rows,
};
use crate::{
    ChangeWebhook, CommitNotice, DeleteWebhook, DisableWebhook, EnableWebhook, RegisterWebhook,
    Rejection, Reply, SealedWebhookSecret, StoredWebhook, WebhookLimits,
};

/// Returns an endpoint.
pub(super) fn find(db: &Connection, id: WebhookId) -> rusqlite::Result<Option<StoredWebhook>> {
    let mut found = db
        .prepare_cached(&format!("{} WHERE id = ?1", rows::SELECT_WEBHOOK))?
        .query_row([id.as_bytes()], rows::stored)
        .optional()?;
    if let Some(stored) = &mut found {
        rows::add_missed(db, stored)?;
    }
    Ok(found)
}

/// Returns an endpoint of that version.
fn expect(
    db: &Connection,
    id: WebhookId,
    version: Option<u64>,
) -> Result<StoredWebhook, ApplyError> {
    let stored = find(db, id)?.ok_or(Rejection::NoSuchWebhook(id))?;
    match version {
        Some(expected) if expected != stored.webhook.version => Err(Rejection::VersionMismatch {
            expected,
            actual: stored.webhook.version,
        }
        .into()),
        _ => Ok(stored),
    }
}

pub(super) fn register(tx: &mut Tx<'_>, command: &RegisterWebhook) -> Result<Reply, ApplyError> {
    let owner = &command.owner;
    if let Some(idempotency) = &command.idempotency
        && let Some(id) = remembered(tx, &owner.user, idempotency)?
    {
        return Ok(Reply::Webhook(Box::new(expect(tx.db, id, None)?)));
    }
    make_room(tx.db, &owner.user, command.limits)?;
    let now = tx.now.as_millis();
    tx.db
        .prepare_cached(
            "INSERT INTO webhooks (id, owner, role, issuer, spec, version, created_at, changed_at,
                                   cursor_timeline, cursor_seq, changed_after)
             VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?6, ?7, ?8, ?8)",
        )?
        .execute(params![
            command.id.as_bytes(),
            owner.user,
            owner.role.as_str(),
            owner.issuer,
            json!(command.spec).to_string(),
            now,
            number(timeline(tx.db)?),
            number(tx.newest_event()),
        ])?;
    put_secret(tx, command.id, &command.secret)?;
    if let Some(idempotency) = &command.idempotency {
        remember(tx, &owner.user, idempotency, &command.id)?;
    }
    let details = json!({"origin": origin(&command.spec.url), "events": command.spec.events});
    log(
        tx,
        Action::WebhookRegistered,
        &owner.user,
        (command.id, &owner.user),
        details,
    )?;
    changed_to(tx, command.id)
}

fn make_room(db: &Connection, owner: &str, limits: WebhookLimits) -> Result<(), ApplyError> {
    let (all, own): (u32, u32) = db
        .prepare_cached("SELECT count(*), coalesce(sum(owner = ?1), 0) FROM webhooks")?
        .query_row([owner], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let full = match () {
        () if own >= limits.max_per_owner => {
            Some("the user has as many webhooks as webhooks.max_per_owner allows")
        }
        () if all >= limits.max => Some("there are as many webhooks as webhooks.max allows"),
        () => None,
    };
    full.map_or(Ok(()), |why| Err(Rejection::TooManyWebhooks(why).into()))
}

fn put_secret(tx: &Tx<'_>, id: WebhookId, secret: &SealedWebhookSecret) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "INSERT INTO secrets (name, sealed, created_at, changed_at) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT DO UPDATE SET sealed = excluded.sealed, changed_at = excluded.changed_at",
        )?
        .execute(params![
            SecretName::of_webhook(id).as_str(),
            secret.sealed,
            tx.now.as_millis()
        ])?;
    let notes = &secret.notes;
    tx.db
        .prepare_cached("UPDATE webhooks SET public_key = ?2, old_secret_until = ?3 WHERE id = ?1")?
        .execute(params![
            id.as_bytes(),
            notes.public_key,
            notes.old_secret_until.map(|at| at.as_millis()),
        ])?;
    Ok(())
}

pub(super) fn change(tx: &mut Tx<'_>, command: &ChangeWebhook) -> Result<Reply, ApplyError> {
    let stored = expect(tx.db, command.id, command.if_version)?;
    tx.db
        .prepare_cached(
            "UPDATE webhooks SET spec = ?2, version = version + 1, changed_at = ?3, changed_after = ?4
             WHERE id = ?1",
        )?
        .execute(params![
            command.id.as_bytes(),
            json!(command.spec).to_string(),
            tx.now.as_millis(),
            number(tx.newest_event()),
        ])?;
    if let Some(secret) = &command.secret {
        put_secret(tx, command.id, secret)?;
    }
    let details = json!({
        "origin": origin(&command.spec.url), "events": command.spec.events, "rotated": command.rotated,
    });
    let of = (command.id, &*stored.owner.user);
    log(tx, Action::WebhookChanged, &command.actor, of, details)?;
    changed_to(tx, command.id)
}

pub(super) fn delete(tx: &mut Tx<'_>, command: &DeleteWebhook) -> Result<Reply, ApplyError> {
    let stored = expect(tx.db, command.id, command.if_version)?;
    for table in [
        "webhook_attempts WHERE webhook",
        "webhook_deliveries WHERE webhook",
        "webhook_replays WHERE webhook",
        "webhook_missed WHERE webhook",
        "webhooks WHERE id",
    ] {
        tx.db
            .prepare_cached(&format!("DELETE FROM {table} = ?1"))?
            .execute([command.id.as_bytes()])?;
    }
    tx.db
        .prepare_cached("DELETE FROM secrets WHERE name = ?1")?
        .execute([SecretName::of_webhook(command.id).as_str()])?;
    let details = json!({"origin": origin(&stored.webhook.spec.url)});
    let of = (command.id, &*stored.owner.user);
    log(tx, Action::WebhookDeleted, &command.actor, of, details)?;
    Ok(Reply::Done(1))
}

pub(super) fn enable(tx: &mut Tx<'_>, command: &EnableWebhook) -> Result<Reply, ApplyError> {
    let stored = expect(tx.db, command.id, None)?;
    let Some(disabled) = &stored.webhook.disabled else {
        return Ok(Reply::Webhook(Box::new(stored)));
    };
    let id = command.id.as_bytes();
    let from = missed_from(tx.db, stored.cursor)?.unwrap_or(disabled.at.as_millis());
    add_missed(tx, command.id, from.min(disabled.at.as_millis()))?;
    tx.db
        .prepare_cached(
            "UPDATE webhooks SET disabled_at = NULL, disabled_reason = NULL, disabled_detail = NULL,
                    disabled_by = NULL, failures = 0, failing_since = NULL, version = version + 1,
                    changed_at = ?2, cursor_timeline = ?3, cursor_seq = ?4, changed_after = ?4
             WHERE id = ?1",
        )?
        .execute(params![
            id,
            tx.now.as_millis(),
            number(timeline(tx.db)?),
            number(tx.newest_event()),
        ])?;
    let of = (command.id, &*stored.owner.user);
    log(
        tx,
        Action::WebhookEnabled,
        &command.actor,
        of,
        json!({"origin": origin(&stored.webhook.spec.url)}),
    )?;
    changed_to(tx, command.id)
}

/// Notes that an endpoint missed the events from that time until now.
pub(super) fn add_missed(tx: &Tx<'_>, id: WebhookId, from_ms: i64) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "INSERT OR REPLACE INTO webhook_missed (webhook, from_at, to_at) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![id.as_bytes(), from_ms, tx.now.as_millis()])?;
    tx.db
        .prepare_cached(
            "DELETE FROM webhook_missed WHERE webhook = ?1 AND from_at NOT IN (
                 SELECT from_at FROM webhook_missed WHERE webhook = ?1 ORDER BY from_at DESC LIMIT ?2)",
        )?
        .execute(params![id.as_bytes(), rows::MISSED_MAX])?;
    Ok(())
}

/// Notes for all enabled endpoints that are at the dispatcher's cursor that they missed the
/// events since it was last moved.
pub(in super::super) fn note_missed(tx: &Tx<'_>) -> rusqlite::Result<()> {
    tx.db
        .prepare_cached(
            "INSERT OR REPLACE INTO webhook_missed (webhook, from_at, to_at)
             SELECT id, (SELECT moved_at FROM followers WHERE name = 'webhooks'), ?1
             FROM webhooks WHERE disabled_at IS NULL AND cursor_seq IS NULL",
        )?
        .execute([tx.now.as_millis()])?;
    Ok(())
}

/// Returns the time of the first event after a cursor.
fn missed_from(db: &Connection, cursor: Option<Position>) -> rusqlite::Result<Option<i64>> {
    let Some(cursor) = cursor else {
        return Ok(None);
    };
    db.prepare_cached("SELECT at FROM events WHERE seq > ?1 ORDER BY seq LIMIT 1")?
        .query_row([number(cursor.seq)], |row| row.get(0))
        .optional()
}

pub(super) fn disable(tx: &mut Tx<'_>, command: &DisableWebhook) -> Result<Reply, ApplyError> {
    let stored = expect(tx.db, command.id, None)?;
    if stored.webhook.disabled.is_some() {
        return Ok(Reply::Webhook(Box::new(stored)));
    }
    // From here on the dispatcher moves on without the endpoint.
    let dispatcher = cursor(tx.db, "webhooks")?;
    let cursor = stored.cursor.unwrap_or(dispatcher);
    tx.db
        .prepare_cached(
            "UPDATE webhooks SET disabled_at = ?2, disabled_reason = ?3, disabled_detail = ?4,
                    disabled_by = ?5, version = version + 1, changed_at = ?2,
                    cursor_timeline = ?6, cursor_seq = ?7 WHERE id = ?1",
        )?
        .execute(params![
            command.id.as_bytes(),
            tx.now.as_millis(),
            command.reason.as_str(),
            command.detail,
            command.actor,
            number(cursor.timeline),
            number(cursor.seq),
        ])?;
    replays::stop_of(tx, command.id)?;
    let details = json!({
        "origin": origin(&stored.webhook.spec.url), "reason": command.reason, "detail": command.detail,
    });
    let of = (command.id, &*stored.owner.user);
    log(tx, Action::WebhookDisabled, &command.actor, of, details)?;
    changed_to(tx, command.id)
}

/// Disables the endpoints of a user who is deleted: a later user of that name is another one,
/// whose events they must not get.
pub(in super::super) fn disable_of_user(
    tx: &mut Tx<'_>,
    user: &str,
    actor: &str,
) -> Result<(), ApplyError> {
    // Owners with an issuer are not among the users.
    let ids: Vec<WebhookId> = tx
        .db
        .prepare_cached(
            "SELECT id FROM webhooks
             WHERE owner = ?1 AND issuer IS NULL AND disabled_at IS NULL ORDER BY id",
        )?
        .query_map([user], |row| Ok(WebhookId::from_bytes(row.get(0)?)))?
        .collect::<Result<_, _>>()?;
    for id in ids {
        let command = DisableWebhook {
            id,
            reason: DisableReason::OwnerLostRights,
            detail: "its owner was deleted".to_owned(),
            actor: actor.to_owned(),
        };
        disable(tx, &command)?;
    }
    Ok(())
}

/// Sets the cursors of endpoints. Those of disabled ones stay.
pub(in super::super) fn set_cursors(
    tx: &Tx<'_>,
    cursors: &[(WebhookId, Option<Position>)],
) -> rusqlite::Result<()> {
    let mut set = tx.db.prepare_cached(
        "UPDATE webhooks SET cursor_timeline = ?2, cursor_seq = ?3
         WHERE id = ?1 AND disabled_at IS NULL",
    )?;
    for (id, cursor) in cursors {
        set.execute(params![
            id.as_bytes(),
            cursor.map(|at| number(at.timeline)),
            cursor.map(|at| number(at.seq)),
        ])?;
    }
    Ok(())
}

fn changed_to(tx: &mut Tx<'_>, id: WebhookId) -> Result<Reply, ApplyError> {
    let stored = expect(tx.db, id, None)?;
    tx.notice(CommitNotice::WebhookVersion(id, stored.webhook.version));
    Ok(Reply::Webhook(Box::new(stored)))
}

/// Returns scheme, host and port of an address. The rest may be secret, and events reach others.
fn origin(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find(['/', '?', '#']);
    end.map_or(url, |end| &url[..after_scheme + end])
}

/// Records an event of an endpoint whose settings are not at hand.
pub(super) fn log_of(
    tx: &mut Tx<'_>,
    action: Action,
    actor: &str,
    id: WebhookId,
    details: serde_json::Value,
) -> Result<(), ApplyError> {
    let stored = expect(tx.db, id, None)?;
    let event = NewEvent::new(action, actor, id.to_string()).owner(&*stored.owner.user);
    Ok(tx.log_event(&event.details(details))?)
}

pub(super) fn log(
    tx: &mut Tx<'_>,
    action: Action,
    actor: &str,
    (id, owner): (WebhookId, &str),
    details: serde_json::Value,
) -> rusqlite::Result<()> {
    let event = NewEvent::new(action, actor, id.to_string()).owner(owner);
    tx.log_event(&event.details(details))?;
    tx.notice_once(CommitNotice::WebhooksChanged);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_leaves_out_what_may_be_secret() {
        for (url, expected) in [
            ("https://a.example", "https://a.example"),
            (
                "https://a.example:8443/services/T0/key",
                "https://a.example:8443",
            ),
            ("https://a.example?key=1", "https://a.example"),
        ] {
            assert_eq!(origin(url), expected);
        }
    }
}
