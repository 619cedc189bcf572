//! Real trails with generated events, for tests.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use deia_model::{Event, EventLevel, EventResult, EventTarget, TaskId, Timestamp};
use deia_trail::{
    Beginning, Trail, TrailOptions, TrailReader,
    note::{KeyName, SigningKey},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::AuditReads;
use crate::audit::index::{AuditIndex, Caught, Scope};

pub(crate) const ORIGIN: &str = "deia.example/audit";
/// Time of the first event. Fixed: of tests.
pub(crate) const EPOCH: i64 = 1_800_000_000_000;

pub(crate) const ACTORS: [&str; 6] = ["deia", "b-1", "b-2", "ada", "bob", "eve"];
pub(crate) const ACTIONS: [(&str, EventLevel); 12] = [
    ("task.submitted", EventLevel::Info),
    ("task.started", EventLevel::Info),
    ("task.completed", EventLevel::Info),
    ("task.failed", EventLevel::Warning),
    ("task.retrying", EventLevel::Warning),
    ("task.cancelled", EventLevel::Info),
    ("task.cancel_requested", EventLevel::Info),
    ("task.dead", EventLevel::Critical),
    ("bot.crashed", EventLevel::Warning),
    ("user.changed", EventLevel::Warning),
    ("key.created", EventLevel::Info),
    ("ext.deploy", EventLevel::Info),
];

/// A trail in a directory of its own, and the events that it has.
pub(crate) struct Sample {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) trail: Trail,
    pub(crate) events: Vec<Event>,
}

fn no_hook(_: &'static str) {}

impl Sample {
    pub(crate) fn new() -> Self {
        Self::of(ORIGIN)
    }

    pub(crate) fn of(origin: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::generate(&KeyName::new(origin).unwrap()).unwrap();
        let options = TrailOptions {
            dir: dir.path().join("audit"),
            keys: vec![key],
            hook: no_hook,
            take_over: true,
            on_change: deia_trail::OnChange::default(),
        };
        let beginning = Beginning {
            origin,
            first: None,
        };
        Self {
            trail: Trail::begin(options, &beginning).unwrap(),
            events: Vec::new(),
            dir,
        }
    }

    /// Appends events with the next numbers, and seals them.
    pub(crate) fn append(&mut self, events: impl IntoIterator<Item = Event>) {
        let first = self.events.len();
        for mut event in events {
            if let Some(last) = self.events.last() {
                event.timeline = event.timeline.max(last.timeline);
                event.seq += match event.timeline == last.timeline {
                    true => last.seq,
                    false => last.seq / 2,
                };
            }
            self.events.push(event);
        }
        self.trail.append(&self.events[first..]).unwrap();
        self.trail.seal(Timestamp::now()).unwrap();
        assert_eq!(self.trail.size(), self.events.len() as u64);
    }

    pub(crate) fn size(&self) -> u64 {
        self.trail.size()
    }

    pub(crate) fn reader(&self) -> &TrailReader {
        self.trail.reader()
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.dir.path().join("audit-index.db")
    }

    pub(crate) fn open_index(&self) -> AuditIndex {
        AuditIndex::open(&self.index_path(), self.trail.origin(), Scope::default()).unwrap()
    }

    /// Takes everything in.
    pub(crate) fn index(&self) -> Caught {
        let mut index = self.open_index();
        index
            .catch_up(self.reader(), self.size(), u64::MAX)
            .unwrap()
    }

    pub(crate) fn reads(&self) -> Arc<AuditReads> {
        Arc::new(AuditReads::new(self.reader().clone(), &self.index_path()))
    }

    /// Returns the path of a file of the trail.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.reader().dir().join(name)
    }

    /// Changes a file of the trail.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.file(name);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }
}

/// Returns the id of a task that was submitted at that time, the same for the same number.
pub(crate) fn task(at: i64, number: u8) -> String {
    let mut bytes = [number; 16];
    bytes[..6].copy_from_slice(&at.to_be_bytes()[2..]);
    TaskId::from_bytes(bytes).to_string()
}

/// Returns an event; its number is the distance to the one before.
pub(crate) fn event(action: &str, actor: &str, target: (&str, &str), details: Value) -> Event {
    let level = ACTIONS.iter().find(|(name, _)| *name == action);
    Event {
        seq: 1,
        timeline: 1,
        at: Timestamp::from_millis(EPOCH),
        action: action.to_owned().into(),
        level: level.map_or(EventLevel::Info, |(_, level)| *level),
        actor: actor.to_owned(),
        target: EventTarget {
            r#type: target.0.to_owned(),
            id: target.1.to_owned(),
        },
        owner: None,
        result: EventResult::Success,
        task_type: None,
        bot_id: actor.starts_with("b-").then(|| actor.parse().unwrap()),
        tags: Vec::new(),
        attempt: None,
        status: None,
        session_id: None,
        v: 1,
        details,
        trace_id: None,
    }
}

fn details() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        (0..50_u32).prop_map(|ms| json!({"run_ms": ms, "wait_ms": 1})),
        prop::sample::select(vec!["No such file", "\u{c9}t\u{e9}", "timeout"])
            .prop_map(|error| json!({"error": error, "run_ms": 5})),
    ]
}

/// Generates an event at a time that is a step after the one before, or now and then before it.
fn step() -> impl Strategy<Value = (Event, i64)> {
    let result = prop_oneof![
        6 => Just(EventResult::Success),
        1 => Just(EventResult::Failure),
        1 => Just(EventResult::Partial)
    ];
    let millis = prop_oneof![
        40 => 0..2_000_i64,
        1 => -4_000_000..4_000_000_i64
    ];
    (
        0..ACTIONS.len(),
        0..ACTORS.len(),
        (0..40_u8, 0..4_usize),
        details(),
        result,
        millis,
        (prop_oneof![20 => Just(1_u64), 1 => 2..9_u64], 0..300_u16),
    )
        .prop_map(
            |(action, actor, (number, user), details, result, millis, at)| {
                let action = ACTIONS[action].0;
                let kind = action.split('.').next().unwrap();
                let target = match kind {
                    "task" => ("task", number.to_string()),
                    "user" => ("user", ACTORS[2 + user].to_owned()),
                    "bot" => ("bot", "b-1".to_owned()),
                    kind => (kind, format!("{kind}-{}", number % 4)),
                };
                let mut event = event(action, ACTORS[actor], (target.0, &target.1), details);
                event.result = result;
                event.seq = at.0;
                // Now and then a new history begins.
                event.timeline = u64::from(at.1 == 0);
                event.owner = (actor % 2 == 0).then(|| "ada".to_owned());
                (event, millis)
            },
        )
}

/// Generates events in order. A task is submitted when its first event is recorded.
pub(crate) fn events(max: usize) -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(step(), 1..max).prop_map(|steps| {
        let (mut at, mut timeline) = (EPOCH, 1);
        let mut tasks = BTreeMap::new();
        let in_order = |(mut event, millis): (Event, i64)| {
            at = (at + millis).max(EPOCH);
            timeline += event.timeline;
            event.timeline = timeline;
            event.at = Timestamp::from_millis(at);
            if event.target.r#type == "task" {
                let number = event.target.id.parse().unwrap();
                let id = tasks.entry(number).or_insert_with(|| task(at, number));
                event.target.id.clone_from(id);
            }
            event
        };
        steps.into_iter().map(in_order).collect()
    })
}
