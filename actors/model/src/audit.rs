//! Answers of the audit trail: records, statistics and proofs.

use serde::{Deserialize, Serialize};

use crate::{EventLevel, EventResult, EventTarget, Timestamp};

/// A filter of the entries of the audit trail. An entry must match every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditFilter {
    /// The actor: its name, or the pseudonym that the trail has of it.
    pub actor: Option<String>,
    /// Id or name of the target, or its pseudonym.
    pub target: Option<String>,
    /// Type of the target.
    pub target_type: Option<String>,
    /// An action such as `bot.crashed`, or a kind of action such as `bot`.
    pub action: Option<String>,
    /// The level.
    pub level: Option<EventLevel>,
    /// The lowest level.
    pub min_level: Option<EventLevel>,
    /// The result.
    pub result: Option<EventResult>,
    /// Recorded at this time or later.
    pub after: Option<Timestamp>,
    /// Recorded before this time.
    pub before: Option<Timestamp>,
    /// A text that the action, the actor, the target or the details contain, in upper or lower
    /// case.
    pub text: Option<String>,
    /// Index of the first entry.
    pub from_entry: Option<u64>,
    /// Index after the last entry.
    pub to_entry: Option<u64>,
    /// Lowest sequence number.
    pub min_seq: Option<u64>,
    /// Highest sequence number.
    pub max_seq: Option<u64>,
}

/// The order of the records of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum AuditOrder {
    /// The newest first.
    #[default]
    #[serde(rename = "newest")]
    NewestFirst,
    /// The oldest first.
    #[serde(rename = "oldest")]
    OldestFirst,
}

impl AuditOrder {
    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewestFirst => "newest",
            Self::OldestFirst => "oldest",
        }
    }
}

impl std::str::FromStr for AuditOrder {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "newest" => Ok(Self::NewestFirst),
            "oldest" => Ok(Self::OldestFirst),
            _ => Err("expected newest or oldest"),
        }
    }
}

/// An entry of the audit trail, with the names behind its pseudonyms and its details.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditRecord {
    /// Index of the entry in the trail.
    pub index: u64,
    /// Sequence number of the event.
    pub seq: u64,
    /// The history that the sequence number belongs to.
    pub timeline: u64,
    /// Time at which the event was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The action.
    #[schema(example = "key.revoked")]
    pub action: String,
    /// The level.
    pub level: EventLevel,
    /// The result.
    pub result: EventResult,
    /// The actor: a user, a bot, or `deia`; the pseudonym if the name is not known.
    pub actor: String,
    /// The pseudonym that the entry has in place of the actor's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "user_mfrggzdfmztwq2lkmfrggzdfmy")]
    pub actor_id: Option<String>,
    /// The target, with its name if it is a user.
    pub target: EventTarget,
    /// The pseudonym that the entry has in place of the target's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_id: Option<String>,
    /// User whose visibility decides who may see the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The pseudonym that the entry has in place of the owner's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<String>,
    /// Type of the task, for events of tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// The bot that has or had the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot_id: Option<String>,
    /// Tags of the task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The attempt at the task, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Status of the task after the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The session that the event belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The W3C trace that the event belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Version of the form of the details.
    pub v: u32,
    /// Details of the event. Absent if it has none, if they were erased, or if this copy of the
    /// trail is without them.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub details: serde_json::Value,
    /// True if the details were erased.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
    /// SHA-256 of the salt and the details, in hexadecimal digits; absent if the event has no
    /// details.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details_sha256: Option<String>,
}

/// One page of the records that match a filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditPage {
    /// The records. A page may have fewer than were asked for, or none, and go on.
    pub items: Vec<AuditRecord>,
    /// Cursor of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Number of entries that the index has. Later ones are not in the answer yet.
    pub indexed_upto: u64,
    /// Number of entries of the trail.
    pub size: u64,
    /// Parts of the trail that belong to this page and are damaged; `verify` finds the place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

/// A number of entries of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditCount {
    /// The action, actor, level or result that they have in common.
    pub name: String,
    /// The pseudonym that the entries have in place of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Number of entries.
    pub entries: u64,
}

/// Numbers of entries by name, the highest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditCounts {
    /// The highest numbers, 100 at most.
    pub top: Vec<AuditCount>,
    /// Number of entries of all others.
    pub others: u64,
}

/// Numbers of entries of a span of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditSpan {
    /// Beginning of the span.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Number of entries.
    pub entries: u64,
    /// Number of entries of level `warning`.
    pub warning: u64,
    /// Number of entries of level `critical`.
    pub critical: u64,
}

/// Numbers of entries of the audit trail over a time, in whole hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditStatistics {
    /// Beginning of the time.
    #[schema(value_type = String, format = DateTime)]
    pub after: Timestamp,
    /// End of the time.
    #[schema(value_type = String, format = DateTime)]
    pub before: Timestamp,
    /// Number of entries.
    pub entries: u64,
    /// Numbers by action.
    pub by_action: AuditCounts,
    /// Numbers by actor.
    pub by_actor: AuditCounts,
    /// Numbers by level.
    pub by_level: Vec<AuditCount>,
    /// Numbers by result.
    pub by_result: Vec<AuditCount>,
    /// Length of the spans of `by_time`: an hour, or a day, a week or 30 days if there were more
    /// than 1,000 spans.
    pub span_seconds: u64,
    /// Numbers by time, the oldest first, without spans that have no entries; 1,000 at most.
    pub by_time: Vec<AuditSpan>,
    /// Number of entries that the index has. Later ones are not counted yet.
    pub indexed_upto: u64,
    /// Number of entries of the trail.
    pub size: u64,
}

/// A name behind a pseudonym.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditName {
    /// The pseudonym.
    pub id: String,
    /// The name.
    pub name: String,
}

/// Everything that shows a third party that an entry is in the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditProof {
    /// Index of the entry.
    pub index: u64,
    /// The entry, byte for byte as it was hashed.
    pub entry: String,
    /// The details, byte for byte as they were hashed; absent if there are none, or none any
    /// more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// The salt that was hashed before the details, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// True if the details were erased.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
    /// The proof, as <https://c2sp.org/tlog-proof> defines it.
    pub proof: String,
    /// The checkpoint that the proof leads to, as <https://c2sp.org/tlog-checkpoint> defines it.
    pub checkpoint: String,
    /// The verifier keys of the trail, the oldest first, as <https://c2sp.org/signed-note> defines
    /// them. A third party must know them from elsewhere.
    pub keys: Vec<String>,
    /// The names behind the pseudonyms of the entry, as far as they are known.
    pub names: Vec<AuditName>,
}

/// A proof that the trail of one size is the beginning of that of a later size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditConsistency {
    /// The earlier size.
    pub from: u64,
    /// The later size.
    pub to: u64,
    /// The hashes in base64, as RFC 6962 (section 2.1.2) orders them.
    pub hashes: Vec<String>,
}

/// The newest checkpoint of the audit trail, and how far behind the events it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditCheckpoint {
    /// The identity of the log.
    #[schema(example = "example.com/deia")]
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the Merkle tree over the entries, in base64.
    pub root: String,
    /// Time at which it was signed; absent if that was before the last start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sealed_at: Option<Timestamp>,
    /// The checkpoint, as <https://c2sp.org/tlog-checkpoint> defines it.
    pub checkpoint: String,
    /// The verifier keys of the log, the oldest first, as <https://c2sp.org/signed-note> defines
    /// them.
    pub keys: Vec<String>,
    /// Number of events that wait for their entries.
    pub lag_events: u64,
    /// Time for which the oldest of these has waited, in milliseconds.
    pub lag_ms: u64,
    /// Reason why the trail cannot be written now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
}

/// A place of the audit trail that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditFault {
    /// The place, in words.
    pub place: String,
    /// The file, below the directory of the trail.
    pub file: String,
    /// Index of the entry, if the fault is that of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// Sequence number of its event, if it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The fault.
    pub reason: String,
}

/// The result of a verification of the audit trail, with the keys that its directory names. An
/// auditor who must not trust the machine verifies a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditReport {
    /// True if everything in the range was checked.
    pub complete: bool,
    /// True if it is complete and nothing is wrong.
    pub sound: bool,
    /// The identity of the log; absent if no checkpoint can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Number of entries of the newest checkpoint.
    pub size: u64,
    /// Root of its tree, in base64.
    pub root: String,
    /// Index of the first entry of the range.
    pub from: u64,
    /// Index after the last entry of the range.
    pub to: u64,
    /// Number of entries that were checked.
    pub entries: u64,
    /// Number of tiles that were checked.
    pub tiles: u64,
    /// Number of checkpoints that were checked.
    pub checkpoints: u64,
    /// Number of details that were checked.
    pub details: u64,
    /// False if the trail has no private part, so that no details could be checked.
    pub details_checked: bool,
    /// Number of entries whose details were erased on request.
    pub erased: u64,
    /// Number of entries that retention has removed.
    pub pruned: u64,
    /// The faults, 100 at most.
    pub faults: Vec<AuditFault>,
    /// Number of further faults.
    pub more_faults: u64,
    /// Remarks that are no faults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A verification of the whole audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditVerification {
    /// Time at which it was started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Name of the user who started it.
    pub started_by: String,
    /// Time at which it ended; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Units that are done: 256 entries, or 64 KiB of checkpoints, each.
    pub done: u64,
    /// Units in total.
    pub total: u64,
    /// The result so far.
    pub report: AuditReport,
}

/// The verification under way, and the last one that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditVerifications {
    /// The verification under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<AuditVerification>,
    /// The last one that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<AuditVerification>,
    /// The range that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<AuditReport>,
}
