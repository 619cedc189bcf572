//! Trails as another implementation of the specifications reads them: the crates `signed_note`
//! and `tlog_tiles`, which have nothing in common with this one. What is checked here goes
//! through no code of this crate; it only writes the trails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    cell::Cell,
    fs,
    ops::Range,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
};

use deia_model::{Event, Timestamp};
use deia_trail::{
    Beginning, Hook, Trail, TrailOptions,
    note::{KeyName, SigningKey},
};
use serde_json::{Value, json};
use signed_note::{Note, StandardVerifier, Verifier, VerifierList};
use tlog_tiles::{
    Checkpoint, Error, HashReader, Tile, TileHashReader, TileReader, check_record, check_tree,
    prove_record, prove_tree, record_hash, stored_hash_index, tree_hash,
};

/// Height of the tiles of C2SP tlog-tiles.
const HEIGHT: u8 = 8;
const ORIGIN: &str = "deia.example/audit";

/// A directory of tiles, as a client of the log sees it.
struct Client {
    dir: PathBuf,
    vkeys: Vec<String>,
}

/// Returns the path of a tile by C2SP tlog-tiles, which has no height in it, and calls data
/// entries.
fn path_of(tile: &Tile) -> String {
    let path = tile.path().replace("tile/8/", "tile/");
    path.replace("tile/data/", "tile/entries/")
}

impl TileReader for Client {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let read = |tile: &Tile| {
            let width = usize::try_from(tile.width()).unwrap();
            // An incomplete tile may be gone once it is complete.
            let full = Tile::new(HEIGHT, tile.level(), tile.level_index(), 256, false);
            let bytes = fs::read(self.dir.join(path_of(tile)))
                .or_else(|_| fs::read(self.dir.join(path_of(&full))));
            let mut bytes = bytes.map_err(|_| Error::InvalidTile)?;
            bytes.truncate(32 * width);
            Ok(bytes)
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

impl Client {
    /// Opens a signed checkpoint.
    fn open(&self, note: &[u8]) -> Checkpoint {
        let verifier =
            |vkey: &String| -> Box<dyn Verifier> { Box::new(StandardVerifier::new(vkey).unwrap()) };
        let known = VerifierList::new(self.vkeys.iter().map(verifier).collect());
        let note = Note::from_bytes(note).unwrap();
        let (verified, unverified) = note.verify(&known).unwrap();
        assert!(!verified.is_empty() && unverified.is_empty());
        let checkpoint = Checkpoint::from_reader(&mut note.text(), false).unwrap();
        assert_eq!(checkpoint.origin(), ORIGIN);
        assert_eq!(checkpoint.extension(), "");
        checkpoint
    }

    /// Returns the entries of a bundle: each after its length in two bytes.
    fn entries(&self, index: u64, size: u64) -> Vec<Vec<u8>> {
        let width = u32::try_from((size - index * 256).min(256)).unwrap();
        let tile = |width| path_of(&Tile::new(HEIGHT, 0, index, width, true));
        let bytes = fs::read(self.dir.join(tile(width)))
            .or_else(|_| fs::read(self.dir.join(tile(256))))
            .unwrap();
        let mut rest = &bytes[..];
        let mut entries = Vec::new();
        while entries.len() < usize::try_from(width).unwrap() {
            let length = usize::from(u16::from_be_bytes(rest[..2].try_into().unwrap()));
            entries.push(rest[2..2 + length].to_vec());
            rest = &rest[2 + length..];
        }
        entries
    }

    /// Checks everything that there is of the entries from a bundle on. Returns the numbers of
    /// their events.
    fn check(&self, first_bundle: u64) -> Vec<u64> {
        let published = self.open(&fs::read(self.dir.join("checkpoint")).unwrap());
        let (size, root) = (published.size(), *published.hash());
        let reader = TileHashReader::new(size, root, self);
        assert_eq!(tree_hash(size, &reader).unwrap(), root);

        let mut seqs = Vec::new();
        for bundle in first_bundle..size.div_ceil(256) {
            let entries = self.entries(bundle, size);
            let first = bundle * 256;
            let indices: Vec<_> = (first..first + entries.len() as u64)
                .map(|index| stored_hash_index(0, index))
                .collect();
            let leaves = reader.read_hashes(&indices).unwrap();
            for (entry, leaf) in entries.iter().zip(leaves) {
                assert_eq!(record_hash(entry), leaf);
                let value: Value = serde_json::from_slice(entry).unwrap();
                seqs.push(value["seq"].as_u64().unwrap());
            }
            for at in [0, entries.len() / 2, entries.len() - 1] {
                let index = first + at as u64;
                let proof = prove_record(size, index, &reader).unwrap();
                let hash = record_hash(&entries[at]);
                check_record(&proof, size, root, index, hash).unwrap();
            }
        }
        for old in self.history() {
            if (1..=size).contains(&old.size()) {
                let proof = prove_tree(size, old.size(), &reader).unwrap();
                check_tree(&proof, size, root, old.size(), *old.hash()).unwrap();
            }
        }
        seqs
    }

    /// Returns the checkpoints of the history; that of a crash may be ahead of the published one.
    fn history(&self) -> Vec<Checkpoint> {
        let text = fs::read_to_string(self.dir.join("checkpoints")).unwrap();
        let note = |line: &str| {
            let value: Value = serde_json::from_str(line).unwrap();
            self.open(value["checkpoint"].as_str().unwrap().as_bytes())
        };
        text.lines().map(note).collect()
    }
}

fn events(seqs: Range<u64>) -> Vec<Event> {
    let event = |seq: u64| {
        serde_json::from_value(json!({
            "seq": seq, "timeline": 1, "at": Timestamp::from_millis(1_790_000_000_000),
            "action": "task.completed", "level": "info", "actor": format!("user-{}", seq % 7),
            "target": {"type": "task", "id": format!("task_{seq}")}, "result": "success", "v": 1,
            "details": if seq.is_multiple_of(3) { json!(null) } else { json!({"run_ms": seq}) }
        }))
        .unwrap()
    };
    seqs.map(event).collect()
}

fn key() -> SigningKey {
    SigningKey::generate(&KeyName::new(ORIGIN).unwrap()).unwrap()
}

fn again(key: &SigningKey) -> SigningKey {
    SigningKey::parse(&key.to_text()).unwrap()
}

fn start(dir: &Path, keys: &[&SigningKey], hook: Hook) -> Trail {
    let options = || TrailOptions {
        dir: dir.join("audit"),
        keys: keys.iter().map(|key| again(key)).collect(),
        hook,
        take_over: true,
        on_change: deia_trail::OnChange::default(),
    };
    let beginning = Beginning {
        origin: ORIGIN,
        first: None,
    };
    match Trail::open(options()) {
        Ok(Some(trail)) => trail,
        Ok(None) => Trail::begin(options(), &beginning).unwrap(),
        Err((error, _)) => panic!("{error}"),
    }
}

fn client(dir: &Path, keys: &[&SigningKey]) -> Client {
    Client {
        dir: dir.join("audit"),
        vkeys: keys.iter().map(|key| key.verifier().to_string()).collect(),
    }
}

fn no_hook(_: &'static str) {}

#[test]
fn trail_is_read_after_load_restarts_rotation_and_pruning() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (key(), key());
    let client = client(dir.path(), &[&old, &new]);
    let mut from = 1;
    let mut minutes = 0;
    let mut now = || {
        minutes += 11;
        Timestamp::from_millis(1_790_000_000_000 + minutes * 60_000)
    };
    let mut trail = start(dir.path(), &[&old], no_hook);
    for upto in [2, 3, 256, 257, 258, 512, 513, 700, 5_000] {
        trail.append(&events(from..upto)).unwrap();
        trail.seal(now()).unwrap();
        from = upto;
        assert_eq!(client.check(0), (1..upto).collect::<Vec<_>>());
    }
    drop(trail);
    let mut trail = start(dir.path(), &[&old, &new], no_hook);
    trail.seal(now()).unwrap();
    trail.append(&events(4_990..5_300)).unwrap();
    trail.seal(now()).unwrap();
    drop(trail);
    let mut trail = start(dir.path(), &[&new], no_hook);
    trail.append(&events(5_300..66_400)).unwrap();
    trail.seal(now()).unwrap();
    assert_eq!(client.check(0), (1..66_400).collect::<Vec<_>>());
    assert_eq!(client.history().len(), 12);

    trail.prune(60_000).unwrap();
    assert!(!client.dir.join("tile/entries/233").exists());
    trail.append(&events(66_400..66_900)).unwrap();
    trail.seal(now()).unwrap();
    assert_eq!(
        client.check(234),
        (234 * 256 + 1..66_900).collect::<Vec<_>>()
    );
}

thread_local! {
    /// Passes of the hook that are left before it ends the writer.
    static LEFT: Cell<u32> = const { Cell::new(u32::MAX) };
}

fn crash(_: &'static str) {
    LEFT.with(|left| {
        left.set(left.get().saturating_sub(1));
        assert!(left.get() > 0, "ends here");
    });
}

#[test]
fn trail_is_read_after_an_end_at_any_point() {
    let key = key();
    std::panic::set_hook(Box::new(|_| {}));
    for passes in 1..20 {
        let dir = tempfile::tempdir().unwrap();
        let client = client(dir.path(), &[&key]);
        LEFT.with(|left| left.set(passes));
        let mut ends = 0;
        loop {
            let run = AssertUnwindSafe(|| {
                let mut trail = start(dir.path(), &[&key], crash);
                for upto in [40, 255, 256, 300, 513] {
                    let from = trail.last().map_or(1, |last| last.seq + 1);
                    trail.append(&events(from.min(upto)..upto)).unwrap();
                    trail.seal(Timestamp::now()).unwrap();
                }
            });
            let is_done = std::panic::catch_unwind(run).is_ok();
            LEFT.with(|left| left.set(u32::MAX));
            // The published part is whole at any time, also before the next start.
            if client.dir.join("checkpoint").exists() {
                let seqs = client.check(0);
                assert_eq!(
                    seqs,
                    (1..=seqs.len() as u64).collect::<Vec<_>>(),
                    "{passes}"
                );
            }
            if is_done {
                break;
            }
            ends += 1;
        }
        assert_eq!(client.check(0).len(), 512, "{passes}");
        assert!(ends == 1 || passes == 1 || ends == 0, "{passes}: {ends}");
    }
    let _ = std::panic::take_hook();
}
