//! Tests of the writer: what it writes is read back, proves what it says, and survives an end
//! at any point.

use std::{cell::Cell, panic::AssertUnwindSafe, path::Path};

use deia_model::{Event, Timestamp};
use serde_json::json;

use super::*;
use crate::{
    details::Details,
    entry::Entry,
    note::{KeyName, VerifierKey},
    proof::{consistency, inclusion, is_consistent, root_of_inclusion},
};

const ORIGIN: &str = "deia.example/audit";

fn key() -> SigningKey {
    SigningKey::generate(&KeyName::new(ORIGIN).unwrap()).unwrap()
}

fn event(timeline: u64, seq: u64) -> Event {
    let details = match seq % 3 {
        0 => json!(null),
        _ => json!({"run_ms": seq, "error": "no such file"}),
    };
    serde_json::from_value(json!({
        "seq": seq, "timeline": timeline, "at": Timestamp::from_millis(i64::try_from(seq).unwrap()),
        "action": "task.completed", "level": "info", "actor": format!("user-{}", seq % 7),
        "target": {"type": if seq.is_multiple_of(5) { "user" } else { "task" }, "id": format!("task_{seq}")},
        "owner": "ada", "result": "success", "v": 1, "details": details
    }))
    .unwrap()
}

fn events(seqs: std::ops::Range<u64>) -> Vec<Event> {
    seqs.map(|seq| event(1, seq)).collect()
}

fn options(dir: &Path, keys: &[SigningKey], hook: Hook) -> TrailOptions {
    let name = KeyName::new(ORIGIN).unwrap();
    TrailOptions {
        dir: dir.join("audit"),
        keys: keys.iter().map(|key| key.named(&name).unwrap()).collect(),
        hook,
        take_over: true,
        on_change: crate::OnChange::default(),
    }
}

thread_local! {
    /// Passes of the hook that are left before it ends the writer.
    static LEFT: Cell<u32> = const { Cell::new(u32::MAX) };
}

fn no_hook(_: &'static str) {}

fn crash(_: &'static str) {
    LEFT.with(|left| {
        left.set(left.get().saturating_sub(1));
        assert!(left.get() > 0, "ends here");
    });
}

fn start(dir: &Path, key: &SigningKey, hook: Hook) -> Trail {
    let options = || options(dir, std::slice::from_ref(key), hook);
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

fn seqs(reader: &TrailReader, size: u64) -> Vec<u64> {
    let bundles = size.div_ceil(256);
    (0..bundles)
        .flat_map(|index| {
            let bundle = reader.bundle(index, size).unwrap();
            let entries = bundle.iter().map(|entry| Entry::parse(entry).unwrap().seq);
            entries.collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn entries_details_and_proofs_are_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let mut trail = start(dir.path(), &key, no_hook);
    let mut heads = Vec::new();
    let mut from = 1;
    for upto in [2, 3, 256, 257, 258, 700, 66_000] {
        trail.append(&events(from..upto)).unwrap();
        let signed = trail.seal(Timestamp::now()).unwrap().unwrap();
        heads.push(signed.checkpoint.head);
        from = upto;
    }
    assert!(trail.seal(Timestamp::now()).unwrap().is_none());
    let reader = trail.reader().clone();
    let sealed = reader.checkpoint().unwrap().unwrap();
    let keys = reader.keys().unwrap();
    assert_eq!(keys, [trail.keys()[0].verifier()]);
    assert_eq!(sealed.verify(&keys).unwrap().len(), 1);
    let head = sealed.checkpoint.head;
    assert_eq!(seqs(&reader, head.size), (1..66_000).collect::<Vec<_>>());
    let tree = reader.tree(head.size);
    for old in &heads {
        let proof = consistency(&tree, old.size, head.size).unwrap();
        assert!(is_consistent(*old, head, &proof), "{}", old.size);
    }
    let names = reader.pseudonyms().unwrap();
    for index in [0, 1, 255, 256, 511, 65_535, 65_998] {
        let bundle = reader.bundle(index / 256, head.size).unwrap();
        let bytes = bundle.entry(usize::try_from(index % 256).unwrap()).unwrap();
        let proof = inclusion(&tree, index, head.size).unwrap();
        let root = root_of_inclusion(leaf(bytes), index, head.size, &proof);
        assert_eq!(root, Some(head.root), "{index}");
        let entry = Entry::parse(bytes).unwrap();
        let expected = event(1, index + 1);
        assert_eq!(names.name(&entry.actor), Some(expected.actor.as_str()));
        assert_eq!(names.name(entry.owner.as_deref().unwrap()), Some("ada"));
        match reader.details(index).unwrap() {
            None => assert!(expected.details.is_null() && entry.details_sha256.is_none()),
            Some(Details::Kept { salt, json }) => {
                assert_eq!(entry::canonical(&expected.details).as_bytes(), json);
                assert_eq!(entry.commitment(), Some(entry::commitment(&salt, &json)));
            }
            Some(Details::Erased) => panic!("erased"),
        }
    }
    // No incomplete form outlives the full tile.
    let audit = dir.path().join("audit");
    for index in 0..256 {
        let id = TileId::full(TileKind::Entries, index);
        assert!(!audit.join(id.partials_dir()).exists(), "{index}");
    }
}

#[test]
fn tiles_of_each_width_are_cut_from_wider_ones() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let mut trail = start(dir.path(), &key, no_hook);
    for (from, upto, size) in [(1, 100, 99), (100, 200, 199), (200, 301, 300)] {
        trail.append(&events(from..upto)).unwrap();
        trail.seal(Timestamp::now()).unwrap();
        let reader = trail.reader();
        for kind in [TileKind::Hashes(0), TileKind::Entries] {
            let whole = TileId::in_tree(kind, 0, size).unwrap();
            let bytes = reader.tile_of(whole, size).unwrap();
            for width in 1..u8::try_from(whole.width()).unwrap_or(u8::MAX) {
                let narrow = reader.tile_of(TileId::partial(kind, 0, width), size);
                let narrow = narrow.unwrap();
                assert!(bytes.starts_with(&narrow) && narrow.len() < bytes.len());
                if kind == TileKind::Entries {
                    let bundle = crate::bundle::Bundle::parse(narrow).unwrap();
                    assert_eq!(bundle.len(), usize::from(width));
                }
            }
            let wider = TileId::in_tree(kind, 0, size + 1).unwrap();
            let beyond = TileId::full(kind, 5);
            for id in [wider, beyond].into_iter().filter(|id| *id != whole) {
                let read = reader.tile_of(id, size);
                assert!(matches!(read, Err(ReadError::Missing(_))), "{id}: {read:?}");
            }
        }
    }
}

#[test]
fn events_that_come_again_are_entered_once_and_gaps_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let mut trail = start(dir.path(), &key, no_hook);
    assert_eq!(trail.append(&events(1..10)).unwrap().entries, 9);
    trail.seal(Timestamp::now()).unwrap();
    drop(trail);
    let mut trail = start(dir.path(), &key, no_hook);
    assert_eq!(trail.append(&events(5..12)).unwrap().entries, 2);
    let appended = trail.append(&events(14..15)).unwrap();
    let gap = Gap {
        after: event(1, 11).position(),
        next: event(1, 14).position(),
    };
    assert_eq!(appended.gaps, [gap]);
    // A new history goes on where the restored one ended.
    let later = trail.append(&[event(2, 12), event(2, 13)]).unwrap();
    assert_eq!((later.entries, later.gaps), (2, vec![]));
    assert_eq!(trail.append(&[event(1, 15)]).unwrap().entries, 0);
}

#[test]
fn end_at_any_point_loses_and_repeats_nothing() {
    let key = key();
    let verifier = vec![
        key.named(&KeyName::new(ORIGIN).unwrap())
            .unwrap()
            .verifier(),
    ];
    for passes in 1..40 {
        let dir = tempfile::tempdir().unwrap();
        let mut published: Vec<Head> = Vec::new();
        let mut is_done = false;
        LEFT.with(|left| left.set(passes));
        let reader = TrailReader::new(dir.path().join("audit"));
        while !is_done {
            let run = AssertUnwindSafe(|| {
                let mut trail = start(dir.path(), &key, crash);
                let mut from = trail.last().map_or(1, |last| last.seq + 1);
                for upto in [40, 255, 256, 300, 513, 1_100] {
                    if upto <= from {
                        continue;
                    }
                    // Events are read again from the cursor, which lags behind.
                    trail
                        .append(&events(from.saturating_sub(20).max(1)..upto))
                        .unwrap();
                    trail.seal(Timestamp::now()).unwrap();
                    from = upto;
                }
                trail.seal(Timestamp::now()).unwrap();
            });
            let hook = std::panic::take_hook();
            std::panic::set_hook(Box::new(|_| {}));
            is_done = std::panic::catch_unwind(run).is_ok();
            std::panic::set_hook(hook);
            LEFT.with(|left| left.set(u32::MAX));
            if let Some(signed) = reader.checkpoint().unwrap() {
                signed.verify(&verifier).unwrap();
                published.push(signed.checkpoint.head);
            }
        }
        let head = *published.last().unwrap();
        assert_eq!(head.size, 1_099, "{passes}");
        assert_eq!(seqs(&reader, head.size), (1..1_100).collect::<Vec<_>>());
        let tree = reader.tree(head.size);
        for old in &published {
            let proof = consistency(&tree, old.size, head.size).unwrap();
            assert!(is_consistent(*old, head, &proof), "{passes}: {}", old.size);
        }
        for line in reader.history().unwrap() {
            let signed = SignedCheckpoint::parse(&line.unwrap().checkpoint).unwrap();
            let old = signed.checkpoint.head;
            let proof = consistency(&tree, old.size, head.size).unwrap();
            assert!(is_consistent(old, head, &proof), "{passes}: {}", old.size);
        }
    }
}

#[test]
fn checkpoint_that_was_signed_and_lost_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let mut trail = start(dir.path(), &key, no_hook);
    let path = dir.path().join("audit/checkpoint");
    trail.append(&events(1..300)).unwrap();
    trail.seal(Timestamp::now()).unwrap();
    let old = std::fs::read(&path).unwrap();
    trail.append(&events(300..700)).unwrap();
    let lost = trail
        .seal(Timestamp::now())
        .unwrap()
        .unwrap()
        .checkpoint
        .head;
    drop(trail);
    // The power failed before the directory was on disk.
    std::fs::write(&path, old).unwrap();
    let mut trail = start(dir.path(), &key, no_hook);
    assert_eq!(trail.size(), lost.size);
    let again = trail.seal(Timestamp::now()).unwrap().unwrap();
    assert_eq!(again.checkpoint.head, lost);
}

#[test]
fn leftovers_of_a_crash_do_not_hide_what_was_signed() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let path = dir.path().join("audit/checkpoint");
    let mut trail = start(dir.path(), &key, no_hook);
    trail.append(&events(1..100)).unwrap();
    trail.seal(Timestamp::now()).unwrap();
    let old = std::fs::read(&path).unwrap();
    // A bundle that was being written when the process ended.
    let full = dir.path().join("audit/tile/entries/000");
    std::fs::write(&full, [0; 700]).unwrap();
    trail.append(&events(100..200)).unwrap();
    let lost = trail
        .seal(Timestamp::now())
        .unwrap()
        .unwrap()
        .checkpoint
        .head;
    drop(trail);
    std::fs::write(&path, old).unwrap();
    let mut trail = start(dir.path(), &key, no_hook);
    let again = trail.seal(Timestamp::now()).unwrap().unwrap();
    assert_eq!(again.checkpoint.head, lost);
    assert!(!full.exists());
}

#[test]
fn nothing_that_a_checkpoint_covers_is_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let mut trail = start(dir.path(), &key, no_hook);
    trail.append(&events(1..100)).unwrap();
    trail.seal(Timestamp::now()).unwrap();
    let bundle = dir.path().join("audit/tile/entries/000.p/99");
    let before = std::fs::metadata(&bundle).unwrap().modified().unwrap();
    let name = KeyName::new(ORIGIN).unwrap();
    let same = vec![trail.keys()[0].named(&name).unwrap()];
    trail.set_keys(same).unwrap();
    assert!(!trail.is_sealed());
    trail.seal(Timestamp::now()).unwrap().unwrap();
    assert!(trail.is_sealed());
    let after = std::fs::metadata(&bundle).unwrap().modified().unwrap();
    assert_eq!(before, after);
}

#[test]
fn caller_without_a_key_is_known_by_details_only() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let mut trail = start(dir.path(), &key, no_hook);
    let mut denied = event(1, 1);
    denied.actor = "address:203.0.113.7/32".into();
    trail.append(&[denied]).unwrap();
    trail.seal(Timestamp::now()).unwrap();
    let bundle = trail.reader().bundle(0, 1).unwrap();
    let entry = Entry::parse(bundle.entry(0).unwrap()).unwrap();
    assert_eq!(entry.actor, entry::ANONYMOUS);
    match trail.reader().details(0).unwrap() {
        Some(Details::Kept { json, .. }) => {
            let text = String::from_utf8(json).unwrap();
            assert!(
                text.contains("203.0.113.7") && text.contains("no such file"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_change_with_the_signatures_of_both() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (
        key(),
        SigningKey::generate(&KeyName::new("x").unwrap()).unwrap(),
    );
    let mut trail = start(dir.path(), &old, no_hook);
    trail.append(&events(1..3)).unwrap();
    trail.seal(Timestamp::now()).unwrap();
    let name = KeyName::new(ORIGIN).unwrap();
    let (old, new) = (old.named(&name).unwrap(), new.named(&name).unwrap());
    let keys: Vec<VerifierKey> = vec![old.verifier(), new.verifier()];
    let both = vec![old.named(&name).unwrap(), new.named(&name).unwrap()];
    trail.set_keys(both).unwrap();
    let signed = trail.seal(Timestamp::now()).unwrap().unwrap();
    assert_eq!(signed.verify(&keys).unwrap().len(), 2);
    trail.set_keys(vec![new.named(&name).unwrap()]).unwrap();
    let signed = trail.seal(Timestamp::now()).unwrap().unwrap();
    assert_eq!(signed.verify(&keys).unwrap(), [&keys[1]]);
    assert_eq!(trail.reader().keys().unwrap(), keys);
    drop(trail);
    let with_old = Trail::open(options(dir.path(), &[old], no_hook));
    assert!(matches!(with_old, Err((TrailError::Untrusted(_), _))));
    assert!(Trail::open(options(dir.path(), &[new], no_hook)).is_ok());
}

#[test]
fn damage_is_found_before_the_trail_goes_on() {
    let key = key();
    for (file, expected) in [
        ("tile/0/001.p/43", "root"),
        ("tile/1/000.p/1", "root"),
        ("checkpoint", "signed"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut trail = start(dir.path(), &key, no_hook);
        trail.append(&events(1..300)).unwrap();
        trail.seal(Timestamp::now()).unwrap();
        drop(trail);
        let path = dir.path().join("audit").join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[25] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let name = KeyName::new(ORIGIN).unwrap();
        let keys = [key.named(&name).unwrap()];
        let error = Trail::open(options(dir.path(), &keys, no_hook)).err();
        let (error, _) = error.unwrap();
        let text = error.to_string();
        assert!(
            text.contains(expected) || text.contains("damaged"),
            "{text}"
        );
    }
}

#[test]
fn old_bundles_go_and_proofs_of_the_others_hold() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let mut trail = start(dir.path(), &key, no_hook);
    trail.append(&events(1..1_000)).unwrap();
    trail.seal(Timestamp::now()).unwrap();
    trail.prune(600).unwrap();
    let reader = trail.reader();
    let head = reader.checkpoint().unwrap().unwrap().checkpoint.head;
    assert_eq!(reader.first_bundle(head.size).unwrap(), 2);
    assert!(matches!(
        reader.bundle(1, head.size),
        Err(ReadError::Missing(_))
    ));
    let bundle = reader.bundle(2, head.size).unwrap();
    let proof = inclusion(&reader.tree(head.size), 512, head.size).unwrap();
    let root = root_of_inclusion(leaf(bundle.entry(0).unwrap()), 512, head.size, &proof);
    assert_eq!(root, Some(head.root));
    trail.prune(u64::MAX).unwrap();
    assert_eq!(trail.reader().first_bundle(head.size).unwrap(), 3);
    drop(trail);
    let trail = start(dir.path(), &key, no_hook);
    assert_eq!(trail.last(), Some(event(1, 999).position()));
}

#[test]
fn forms_that_a_crash_has_left_are_removed_with_their_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let mut trail = start(dir.path(), &key, no_hook);
    trail.append(&events(1..100)).unwrap();
    trail.seal(Timestamp::now()).unwrap();
    drop(trail);
    // The process ends after a checkpoint is published, and before the forms are removed.
    let mut trail = start(dir.path(), &key, |at| assert_ne!(at, "audit_after_publish"));
    trail.append(&events(100..1_000)).unwrap();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let sealed = std::panic::catch_unwind(AssertUnwindSafe(|| drop(trail.seal(Timestamp::now()))));
    std::panic::set_hook(hook);
    assert!(sealed.is_err());
    let forms = dir.path().join("audit/tile/entries/000.p");
    assert!(forms.exists());
    let mut trail = start(dir.path(), &key, no_hook);
    for (end, first) in [(300, 1), (600, 2)] {
        trail.prune(end).unwrap();
        assert_eq!(trail.reader().first_bundle(trail.size()).unwrap(), first);
        assert!(!forms.exists());
    }
}
