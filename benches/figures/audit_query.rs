//! Queries of the audit trail: the first page by actor and by task among many entries, the rate
//! at which the index takes entries in, and the bytes of an entry.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use deia_hive::testing::audit::IndexedTrail;
use deia_model::{
    AuditFilter, Event, EventAction, EventLevel, EventResult, EventTarget, TaskId, Timestamp,
};
use serde_json::{Value, json};

use crate::{micros, raw::percentile, rounded, server::data_dir};

/// Users who submit tasks.
const USERS: u64 = 1_000;
/// Bots that work on them.
const BOTS: u64 = 100;
/// Tasks a second of the recorded time.
const TASKS_PER_SECOND: u64 = 1_000;
/// Entries that one checkpoint seals.
const SEALED: u64 = 30_000;
/// Queries of each kind.
const QUERIES: u64 = 2_000;
/// Records of a page.
const LIMIT: u32 = 100;
/// Time of the first event, in milliseconds.
const EPOCH: i64 = 1_800_000_000_000;

/// Measures queries among so many entries.
pub(crate) fn measure(entries: u64) -> Result<Value> {
    let dir = data_dir("audit-query")?;
    fs::create_dir_all(&dir)?;
    let mut trail = IndexedTrail::begin(&dir);
    let (mut appended, mut indexed) = (Duration::ZERO, Duration::ZERO);
    let mut from = 0;
    while from < entries {
        let upto = entries.min(from + SEALED);
        let events: Vec<Event> = (from..upto).map(event).collect();
        let begun = Instant::now();
        trail.append(&events);
        appended += begun.elapsed();
        let begun = Instant::now();
        trail.index();
        indexed += begun.elapsed();
        from = upto;
    }
    let by_user = queries(&trail, |random| AuditFilter {
        actor: Some(user(random % USERS)),
        ..AuditFilter::default()
    })?;
    let by_bot = queries(&trail, |random| AuditFilter {
        actor: Some(bot(random % BOTS)),
        ..AuditFilter::default()
    })?;
    let by_operator = queries(&trail, |_| AuditFilter {
        actor: Some("operator".into()),
        ..AuditFilter::default()
    })?;
    let by_task = queries(&trail, |random| AuditFilter {
        target: Some(task(random % (entries / 3)).to_string()),
        ..AuditFilter::default()
    })?;
    let rate = |time: Duration| rounded(number(entries) / time.as_secs_f64());
    let per_entry = |bytes: u64| rounded(number(bytes) / number(entries));
    Ok(json!({
        "entries": entries,
        "by_user_us": by_user, "by_bot_us": by_bot, "by_operator_us": by_operator,
        "by_task_us": by_task,
        "appended_per_second": rate(appended), "indexed_per_second": rate(indexed),
        "trail_bytes_per_entry": per_entry(size_of(&dir.join("audit"))?),
        "index_bytes_per_entry": per_entry(fs::metadata(dir.join("audit-index.db"))?.len()),
    }))
}

/// Returns the median and the 99th percentile of the first page, in microseconds.
fn queries(trail: &IndexedTrail, filter: impl Fn(u64) -> AuditFilter) -> Result<Value> {
    let mut times = Vec::new();
    for n in 0..QUERIES {
        let filter = filter(random(n));
        let begun = Instant::now();
        let (found, _) = trail.first_page(&filter, LIMIT);
        times.push(begun.elapsed());
        ensure!(found > 0, "nothing matches {filter:?}");
    }
    Ok(json!({
        "p50": micros(percentile(&mut times, 0.5)),
        "p99": micros(percentile(&mut times, 0.99)),
    }))
}

/// Returns the n-th event: three for each task, and one of an operator among a thousand.
fn event(n: u64) -> Event {
    let of = n / 3;
    let (action, actor, bot_id, details) = match n % 3 {
        _ if n % 1_000 == 999 => return operators(n),
        0 => (
            "task.submitted",
            user(random(of) % USERS),
            None,
            Value::Null,
        ),
        1 => {
            let bot = bot(random(of) % BOTS);
            (
                "task.started",
                bot.clone(),
                Some(bot),
                json!({"wait_ms": of % 50}),
            )
        }
        _ => {
            let bot = bot(random(of) % BOTS);
            let details = json!({"run_ms": of % 900, "wait_ms": of % 50});
            ("task.completed", bot.clone(), Some(bot), details)
        }
    };
    Event {
        task_type: "general".parse().ok(),
        attempt: Some(1),
        owner: Some(user(random(of) % USERS)),
        bot_id: bot_id.and_then(|bot| bot.parse().ok()),
        details,
        ..basic(n, action, actor, ("task", task(of).to_string()))
    }
}

fn operators(n: u64) -> Event {
    let details = json!({"reason": "planned work", "version": n});
    Event {
        details,
        ..basic(n, "bot.changed", "operator".into(), ("bot", bot(n % BOTS)))
    }
}

fn basic(n: u64, action: &str, actor: String, target: (&str, String)) -> Event {
    Event {
        seq: n + 1,
        timeline: 1,
        at: time(n / 3),
        action: EventAction::from(action.to_owned()),
        level: EventLevel::Info,
        actor,
        target: EventTarget {
            r#type: target.0.to_owned(),
            id: target.1,
        },
        owner: None,
        result: EventResult::Success,
        task_type: None,
        bot_id: None,
        tags: Vec::new(),
        attempt: None,
        status: None,
        session_id: None,
        v: 1,
        details: Value::Null,
        trace_id: None,
    }
}

fn user(n: u64) -> String {
    format!("user-{n}")
}

fn bot(n: u64) -> String {
    format!("bot-{n:03}")
}

fn time(task: u64) -> Timestamp {
    Timestamp::from_millis(EPOCH).plus_millis(task * 1_000 / TASKS_PER_SECOND)
}

fn task(n: u64) -> TaskId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&time(n).as_millis().to_be_bytes()[2..]);
    bytes[8..].copy_from_slice(&random(n).to_be_bytes());
    TaskId::from_bytes(bytes)
}

/// Returns a number that looks random: the same for the same `n`.
fn random(n: u64) -> u64 {
    let mixed = (n.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[allow(clippy::cast_precision_loss, reason = "a count to a rate")]
fn number(n: u64) -> f64 {
    n as f64
}

/// Returns the bytes of all files below a directory.
fn size_of(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => size_of(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}
