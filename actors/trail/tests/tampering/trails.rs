//! Trails to tamper with, written by the writer of the product.

use std::{
    fs,
    path::{Path, PathBuf},
};

use deia_model::{Event, Timestamp};
use deia_trail::{
    Beginning, Trail, TrailOptions, TrailReader,
    bundle::Bundle,
    checkpoint::Checkpoint,
    edge::Edge,
    hash::leaf,
    note::{KeyName, SigningKey, VerifierKey},
    proof::Head,
    tile::{TileId, TileKind},
    verify::{Report, Verification, Verifier},
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const ORIGIN: &str = "deia.example/audit";

/// A trail, and the keys that signed it.
pub(crate) struct Written {
    dir: TempDir,
    pub(crate) keys: Vec<VerifierKey>,
    /// The signing keys, for forgeries.
    pub(crate) signing: Vec<SigningKey>,
}

impl Written {
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    pub(crate) fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_all(&self.path(), copy.path());
        copy
    }

    pub(crate) fn verify(&self, dir: &Path) -> Report {
        verify(dir, &self.keys)
    }

    /// Verifies the last entry, with all checkpoints.
    pub(crate) fn verify_end(&self, dir: &Path) -> Report {
        let verification = Verification {
            from: Some(SIZE - 1),
            keys: self.keys.clone(),
            ..Verification::default()
        };
        let mut verifier = Verifier::new(&TrailReader::new(dir), verification).unwrap();
        verifier.run()
    }
}

pub(crate) fn verify(dir: &Path, keys: &[VerifierKey]) -> Report {
    let verification = Verification {
        keys: keys.to_vec(),
        ..Verification::default()
    };
    let mut verifier = Verifier::new(&TrailReader::new(dir), verification).unwrap();
    verifier.run()
}

pub(crate) fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_all(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Returns the names of all files below a directory, sorted.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false => found.push(path.strip_prefix(dir).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn event(seq: u64, action: &str, target: (&str, &str), details: &Value) -> Event {
    let at = Timestamp::from_millis(1_790_000_000_000 + i64::try_from(seq).unwrap());
    serde_json::from_value(json!({
        "seq": seq, "timeline": 1, "at": at, "action": action, "level": "info",
        "actor": format!("user-{}", seq % 7), "target": {"type": target.0, "id": target.1},
        "owner": "ada \"l\"", "result": "success", "v": 1, "details": details,
        "tags": match seq % 4 { 0 => json!(["eu", "\u{1f41d}"]), _ => json!([]) },
        "attempt": match seq % 2 { 0 => json!(1), _ => json!(null) }
    }))
    .unwrap()
}

pub(crate) fn work(seqs: std::ops::Range<u64>) -> Vec<Event> {
    let one = |seq: u64| {
        let details = match seq % 3 {
            0 => json!(null),
            _ => json!({"run_ms": seq, "error": "no such file"}),
        };
        let task = format!("task_{}", seq / 5);
        event(seq, "task.completed", ("task", &task), &details)
    };
    seqs.map(one).collect()
}

pub(crate) fn key() -> SigningKey {
    SigningKey::generate(&KeyName::new(ORIGIN).unwrap()).unwrap()
}

pub(crate) fn again(key: &SigningKey) -> SigningKey {
    SigningKey::parse(&key.to_text()).unwrap()
}

pub(crate) fn begin(dir: &Path, key: &SigningKey) -> Trail {
    let options = TrailOptions {
        dir: dir.join("audit"),
        keys: vec![again(key)],
        hook: |_| (),
        take_over: true,
        on_change: deia_trail::OnChange::default(),
    };
    let beginning = Beginning {
        origin: ORIGIN,
        first: None,
    };
    Trail::begin(options, &beginning).unwrap()
}

/// Seals ten minutes apart, so that each checkpoint stands in the history.
pub(crate) struct Clock(pub(crate) i64);

impl Clock {
    pub(crate) fn seal(&mut self, trail: &mut Trail) {
        self.0 += 601_000;
        let now = Timestamp::from_millis(1_790_000_000_000 + self.0);
        trail.seal(now).unwrap();
    }
}

/// The bundles that retention has removed in [`trail`].
pub(crate) const PRUNED: u64 = 2;
/// Number of entries of [`trail`].
pub(crate) const SIZE: u64 = 2_843;

/// A trail with a rotation of keys, erased details, a pruned beginning, and narrower forms of
/// its last tiles.
pub(crate) fn trail() -> Written {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (key(), key());
    let mut clock = Clock(0);
    let mut trail = begin(dir.path(), &old);
    let mut from = 1;
    let mut grow = |trail: &mut Trail, clock: &mut Clock, upto: u64| {
        trail.append(&work(from..upto)).unwrap();
        clock.seal(trail);
        from = upto;
    };
    for upto in [2, 257, 300, 1_000] {
        grow(&mut trail, &mut clock, upto);
    }
    trail.set_keys(vec![again(&old), again(&new)]).unwrap();
    clock.seal(&mut trail);
    trail.set_keys(vec![again(&new)]).unwrap();
    grow(&mut trail, &mut clock, 2_000);
    // The events 1250 to 1254 are of task_250.
    for index in 1_249..1_254 {
        trail.reader().erase_details(index).unwrap();
    }
    let erased = event(2_000, "task.erased", ("task", "task_250"), &json!(null));
    trail.append(&[erased]).unwrap();
    let details = json!({"reason": "retention"});
    let target = format!("0-{}", 256 * PRUNED + 100);
    let pruned = event(2_001, "audit.pruned", ("audit_entries", &target), &details);
    trail.append(&[pruned]).unwrap();
    clock.seal(&mut trail);
    trail.prune(256 * PRUNED + 100).unwrap();
    let details = json!({"by": "ada"});
    let later = event(2_002, "task.read", ("task", "task_250"), &details);
    trail.append(&[later]).unwrap();
    trail.append(&work(2_003..2_800)).unwrap();
    clock.seal(&mut trail);
    for seq in 2_800..=SIZE {
        trail.append(&work(seq..seq + 1)).unwrap();
        if seq % 5 == 0 || seq == SIZE {
            clock.seal(&mut trail);
        }
    }
    Written {
        dir,
        keys: vec![old.verifier(), new.verifier()],
        signing: vec![old, new],
    }
}

/// A trail whose hash tiles have three levels.
pub(crate) fn high_trail() -> Written {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let mut clock = Clock(0);
    let mut trail = begin(dir.path(), &key);
    for (from, upto) in [(1, 300), (300, 65_538), (65_538, 66_001)] {
        trail.append(&work(from..upto)).unwrap();
        clock.seal(&mut trail);
    }
    Written {
        dir,
        keys: vec![key.verifier()],
        signing: vec![key],
    }
}

/// Returns the entries of a bundle.
pub(crate) fn entries_of(path: &Path) -> Vec<Vec<u8>> {
    let bundle = Bundle::parse(fs::read(path).unwrap()).unwrap();
    bundle.iter().map(<[u8]>::to_vec).collect()
}

/// Writes entries as a bundle.
pub(crate) fn write_entries(path: &Path, entries: &[Vec<u8>]) {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend(u16::try_from(entry.len()).unwrap().to_be_bytes());
        bytes.extend(entry);
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Writes a trail of any entries, as the writer would never do.
pub(crate) fn craft(dir: &Path, entries: &[Vec<u8>], key: &SigningKey) {
    let size = entries.len() as u64;
    let write = |name: String, bytes: &[u8]| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let (mut edge, mut full) = (Edge::default(), Vec::new());
    for entry in entries {
        edge.push(leaf(entry), &mut full);
    }
    for tile in &full {
        write(tile.id.to_string(), tile.hashes.as_flattened());
    }
    for (id, hashes) in edge.partial_tiles() {
        write(id.to_string(), hashes.as_flattened());
    }
    for (index, some) in (0..).zip(entries.chunks(256)) {
        let id = TileId::in_tree(TileKind::Entries, index, size).unwrap();
        write_entries(&dir.join(id.to_string()), some);
    }
    let head = Head {
        size,
        root: edge.root(),
    };
    publish(dir, head, key);
}

/// Signs a checkpoint, and publishes it with a history and a list of keys of its own.
pub(crate) fn publish(dir: &Path, head: Head, key: &SigningKey) {
    let checkpoint = Checkpoint {
        origin: ORIGIN.into(),
        head,
    };
    let note = checkpoint.sign(&[again(key)]).note.to_text();
    fs::write(dir.join("checkpoint"), &note).unwrap();
    let line = json!({"at": "2026-11-29T08:00:00.000Z", "checkpoint": note});
    fs::write(dir.join("checkpoints"), format!("{line}\n")).unwrap();
    fs::write(dir.join("keys"), format!("{}\n", key.verifier())).unwrap();
}
