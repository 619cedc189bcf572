//! Checks of the audit trail from outside, by the files of a hive that is not running.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use deia_model::Event;
use deia_trail::{
    TrailReader,
    checkpoint::SignedCheckpoint,
    details::Details,
    entry::Entry,
    names::Pseudonyms,
    proof,
    verify::{DetailsCheck, Verification, Verifier},
};
use serde_json::Value;

use crate::support::{all_events, store_in};

/// Entries of a bundle.
const BUNDLE: u64 = 256;

/// Keeps each checkpoint that is published, as a witness that polls would see it.
pub(crate) struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Watch {
    pub(crate) fn start(data_dir: &Path) -> Self {
        let (path, over) = (data_dir.join("audit/checkpoint"), Arc::default());
        let until = Arc::clone(&over);
        let watching = move || {
            let mut seen: Vec<String> = Vec::new();
            while !AtomicBool::load(&until, Ordering::Relaxed) {
                if let Ok(text) = std::fs::read_to_string(&path)
                    && seen.last() != Some(&text)
                {
                    seen.push(text);
                }
                std::thread::park_timeout(Duration::from_millis(1));
            }
            seen
        };
        Self {
            over,
            thread: std::thread::spawn(watching),
        }
    }

    /// Returns the checkpoints in the order in which they were seen.
    pub(crate) fn end(self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The trail in that data directory.
pub(crate) fn trail_in(data_dir: &Path) -> TrailReader {
    TrailReader::new(data_dir.join("audit"))
}

/// Asserts that an auditor finds no fault in the trail, and that it has every event of the store
/// exactly once, in order, as it was recorded. Returns its entries.
pub(crate) async fn is_sound_and_complete(data_dir: &Path) -> Vec<Entry> {
    let trail = trail_in(data_dir);
    let report = Verifier::new(&trail, Verification::default())
        .unwrap()
        .run();
    assert!(report.sound, "{report:#?}");
    assert_eq!(report.details, DetailsCheck::Checked);
    let events = all_events(&store_in(data_dir)).await;
    let entries = entries(&trail);
    assert_eq!(report.size, entries.len() as u64);
    let expected: Vec<_> = events.iter().map(Event::position).collect();
    let found: Vec<_> = entries.iter().map(Entry::position).collect();
    let pairs = expected.iter().zip(&found);
    let differs = pairs.enumerate().find(|(_, (event, entry))| event != entry);
    assert!(
        expected == found,
        "{} events up to {:?}, {} entries up to {:?}; first difference: {differs:?}",
        expected.len(),
        expected.last(),
        found.len(),
        found.last(),
    );
    let details = details(&trail, report.size);
    let names = trail.pseudonyms().unwrap();
    for (index, (event, entry)) in (0..).zip(events.iter().zip(&entries)) {
        assert_eq!(as_entered(entry, &names), as_recorded(event), "{index}");
        let details = details.get(&index).unwrap_or(&Value::Null);
        assert_eq!(*details, details_of(event), "{event:#?}");
    }
    entries
}

/// Asserts that no checkpoint that was seen contradicts the newest one, or one that was seen
/// before. Returns their number.
pub(crate) fn were_kept(data_dir: &Path, seen: &[String]) -> usize {
    let trail = trail_in(data_dir);
    let keys = trail.keys().unwrap();
    let newest = trail.checkpoint().unwrap().unwrap().checkpoint;
    let tree = trail.tree(newest.head.size);
    let mut before = 0;
    for text in seen {
        let signed = SignedCheckpoint::parse(text).unwrap();
        signed.verify(&keys).unwrap();
        assert_eq!(signed.checkpoint.origin, newest.origin);
        let head = signed.checkpoint.head;
        assert!(head.size >= before, "{before} entries, and then {text}");
        before = head.size;
        let proof = proof::consistency(&tree, head.size, newest.head.size).unwrap();
        assert!(
            proof::is_consistent(head, newest.head, &proof),
            "{newest:?} contradicts {text}"
        );
    }
    seen.len()
}

fn entries(trail: &TrailReader) -> Vec<Entry> {
    let size = trail.checkpoint().unwrap().unwrap().checkpoint.head.size;
    let bundles = (0..size.div_ceil(BUNDLE)).map(|n| trail.bundle(n, size).unwrap());
    let entries = bundles.flat_map(|bundle| {
        let parsed = bundle.iter().map(|bytes| Entry::parse(bytes).unwrap());
        parsed.collect::<Vec<_>>()
    });
    entries.collect()
}

fn details(trail: &TrailReader, size: u64) -> HashMap<u64, Value> {
    let mut details = HashMap::new();
    for n in 0..size.div_ceil(BUNDLE) {
        for record in trail.details_of_bundle(n).unwrap() {
            let Details::Kept { json, .. } = record.details else {
                panic!("the details of entry {} were erased", record.index);
            };
            let value = serde_json::from_slice(&json).unwrap();
            let before = details.insert(record.index, value);
            assert_eq!(before, None, "entry {} has details twice", record.index);
        }
    }
    details
}

/// The details that the trail keeps of an event: those of callers without a key have their
/// address.
fn details_of(event: &Event) -> Value {
    let mut details = event.details.clone();
    if event.actor.starts_with("address:") {
        details["actor"] = event.actor.as_str().into();
    }
    details
}

/// The members of an event that its entry has too.
fn as_recorded(event: &Event) -> Value {
    let mut value = serde_json::to_value(event).unwrap();
    let members = value.as_object_mut().unwrap();
    members.remove("details");
    if event.actor.starts_with("address:") {
        members.insert("actor".into(), "anonymous".into());
    }
    value
}

/// An entry with the names behind its pseudonyms.
fn as_entered(entry: &Entry, names: &Pseudonyms) -> Value {
    let mut value = serde_json::to_value(entry).unwrap();
    value.as_object_mut().unwrap().remove("details_sha256");
    let mut places = vec!["/actor", "/owner"];
    if entry.target.r#type == "user" {
        places.push("/target/id");
    }
    for place in places {
        if let Some(text) = value.pointer_mut(place)
            && let Some(name) = text.as_str().and_then(|id| names.name(id))
        {
            *text = name.into();
        }
    }
    value
}
