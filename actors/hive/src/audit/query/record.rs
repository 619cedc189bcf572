//! Records: entries with their names and details.

use deia_model::{AuditRecord, EventTarget};
use deia_trail::{
    details::{Details, Record},
    entry::Entry,
    names::Pseudonyms,
};
use serde_json::Value;

/// Returns the details of an entry among those of its bundle, which are in order.
pub(super) fn details_in(records: &[Record], index: u64) -> Option<&Details> {
    let found = records.binary_search_by_key(&index, |record| record.index);
    found.ok().map(|at| &records[at].details)
}

/// Returns the text of details that were not erased.
pub(super) fn json_of(details: Option<&Details>) -> Option<&[u8]> {
    match details? {
        Details::Kept { json, .. } => Some(json),
        Details::Erased => None,
    }
}

/// Returns the name behind a pseudonym, or the text itself.
pub(super) fn name_of<'n>(names: &'n Pseudonyms, id: &'n str) -> &'n str {
    names.name(id).unwrap_or(id)
}

/// Makes the record of an entry.
pub(super) fn record(
    index: u64,
    entry: Entry,
    details: Option<&Details>,
    names: &Pseudonyms,
) -> AuditRecord {
    // A name, and the pseudonym if it has one.
    let resolved = |id: String| match names.name(&id) {
        Some(name) => (name.to_owned(), Some(id)),
        None => (id, None),
    };
    let (actor, actor_id) = resolved(entry.actor);
    let (owner, owner_id) = match entry.owner.map(resolved) {
        Some((owner, id)) => (Some(owner), id),
        None => (None, None),
    };
    let (target, target_id) = match entry.target.r#type.as_str() {
        "user" => resolved(entry.target.id),
        _ => (entry.target.id, None),
    };
    AuditRecord {
        index,
        seq: entry.seq,
        timeline: entry.timeline,
        at: entry.at,
        action: entry.action,
        level: entry.level,
        result: entry.result,
        actor,
        actor_id,
        target: EventTarget {
            r#type: entry.target.r#type,
            id: target,
        },
        target_id,
        owner,
        owner_id,
        task_type: entry.task_type,
        bot_id: entry.bot_id,
        tags: entry.tags,
        attempt: entry.attempt,
        status: entry.status,
        session_id: entry.session_id,
        trace_id: entry.trace_id,
        v: entry.v,
        details: match json_of(details) {
            Some(json) => serde_json::from_slice(json)
                .unwrap_or_else(|_| String::from_utf8_lossy(json).into()),
            None => Value::Null,
        },
        erased: details == Some(&Details::Erased),
        details_sha256: entry.details_sha256,
    }
}
