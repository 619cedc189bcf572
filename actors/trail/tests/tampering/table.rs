//! Ways of tampering, each with the faults that it must be found by.

use std::{fs, path::Path};

use deia_model::EventRows;
use deia_trail::{
    TrailReader,
    verify::{FaultKind, Report},
};
use serde_json::json;

use crate::trails::{
    Clock, Written, again, begin, craft, entries_of, event, key, trail, verify, work, write_entries,
};

type Tamper = fn(&Written, &Path);

/// A way of tampering, and the faults with file and entry or line that must be told.
struct Case {
    name: &'static str,
    tamper: Tamper,
    expected: &'static [(FaultKind, &'static str, Option<u64>)],
}

fn edit(dir: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = dir.join(name);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn edit_entries(dir: &Path, name: &str, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut entries = entries_of(&dir.join(name));
    change(&mut entries);
    write_entries(&dir.join(name), &entries);
}

fn edit_lines(dir: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let path = dir.join("checkpoints");
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = text.lines().map(|line| format!("{line}\n")).collect();
    change(&mut lines);
    fs::write(path, lines.concat()).unwrap();
}

fn swap(dir: &Path, one: &str, other: &str) {
    let (a, b) = (
        fs::read(dir.join(one)).unwrap(),
        fs::read(dir.join(other)).unwrap(),
    );
    fs::write(dir.join(one), b).unwrap();
    fs::write(dir.join(other), a).unwrap();
}

fn remove(dir: &Path, name: &str) {
    fs::remove_file(dir.join(name)).unwrap();
}

/// Returns the offset of the record of an entry in the file of details.
fn record(dir: &Path, index: u32) -> usize {
    let bytes = fs::read(dir.join("private/details/000000")).unwrap();
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    // Retention has blanked the records of earlier bundles.
    let first = 8 + 8 * usize::try_from(index / 256).unwrap();
    let mut at = usize::try_from(word(first)).unwrap();
    while word(at) & !(1 << 31) != index {
        at += 24 + usize::try_from(word(at + 4)).unwrap();
    }
    at
}

fn checkpoint_of_line(dir: &Path, line: usize) -> String {
    let history = TrailReader::new(dir).history().unwrap();
    history[line].as_ref().unwrap().checkpoint.clone()
}

const CASES: &[Case] = &[
    Case {
        name: "removed entry",
        tamper: |_, dir| edit_entries(dir, "tile/entries/005", |all| drop(all.remove(10))),
        expected: &[(FaultKind::Bundle, "tile/entries/005", Some(1_290))],
    },
    Case {
        name: "swapped entries",
        tamper: |_, dir| edit_entries(dir, "tile/entries/005", |all| all.swap(10, 20)),
        expected: &[
            (FaultKind::Altered, "tile/entries/005", Some(1_290)),
            (FaultKind::Altered, "tile/entries/005", Some(1_300)),
        ],
    },
    Case {
        name: "duplicated entry",
        tamper: |_, dir| {
            edit_entries(dir, "tile/entries/005", |all| {
                all.insert(10, all[10].clone())
            });
        },
        expected: &[(FaultKind::Bundle, "tile/entries/005", Some(1_291))],
    },
    Case {
        name: "entry behind the last one of a bundle",
        tamper: |_, dir| edit_entries(dir, "tile/entries/005", |all| all.push(all[10].clone())),
        expected: &[(FaultKind::Bundle, "tile/entries/005", Some(1_536))],
    },
    Case {
        name: "entry behind the last one",
        tamper: |_, dir| {
            edit_entries(dir, "tile/entries/011.p/27", |all| {
                all.push(all[10].clone())
            });
        },
        expected: &[(FaultKind::Bundle, "tile/entries/011.p/27", Some(2_843))],
    },
    Case {
        name: "byte behind the last entry of a bundle",
        tamper: |_, dir| edit(dir, "tile/entries/005", |bytes| bytes.push(0)),
        expected: &[(FaultKind::Bundle, "tile/entries/005", None)],
    },
    Case {
        name: "entry in the place of another",
        tamper: |_, dir| {
            edit_entries(dir, "tile/entries/005", |all| all[11] = all[10].clone());
        },
        expected: &[(FaultKind::Altered, "tile/entries/005", Some(1_291))],
    },
    Case {
        name: "altered text of an entry",
        tamper: |_, dir| {
            edit_entries(dir, "tile/entries/005", |all| {
                let text = String::from_utf8(all[7].clone()).unwrap();
                all[7] = text.replace("success", "failure").into_bytes();
            });
        },
        expected: &[(FaultKind::Altered, "tile/entries/005", Some(1_287))],
    },
    Case {
        name: "removed last entry",
        tamper: |_, dir| edit_entries(dir, "tile/entries/011.p/27", |all| drop(all.pop())),
        expected: &[(FaultKind::Bundle, "tile/entries/011.p/27", Some(2_842))],
    },
    Case {
        name: "truncated bundle",
        tamper: |_, dir| edit(dir, "tile/entries/005", |bytes| bytes.truncate(40_000)),
        expected: &[(FaultKind::Bundle, "tile/entries/005", None)],
    },
    Case {
        name: "empty bundle",
        tamper: |_, dir| edit(dir, "tile/entries/005", Vec::clear),
        expected: &[(FaultKind::Bundle, "tile/entries/005", None)],
    },
    Case {
        name: "removed bundle",
        tamper: |_, dir| remove(dir, "tile/entries/005"),
        expected: &[(FaultKind::Removed, "tile/entries/005", Some(1_280))],
    },
    Case {
        name: "removed last bundle",
        tamper: |_, dir| fs::remove_dir_all(dir.join("tile/entries/011.p")).unwrap(),
        expected: &[(FaultKind::Removed, "tile/entries/011", Some(2_816))],
    },
    Case {
        name: "more bundles removed than retention has recorded",
        tamper: |_, dir| remove(dir, "tile/entries/002"),
        expected: &[(FaultKind::Removed, "tile/entries/000", Some(0))],
    },
    Case {
        name: "swapped bundles",
        tamper: |_, dir| swap(dir, "tile/entries/005", "tile/entries/008"),
        expected: &[
            (FaultKind::Altered, "tile/entries/005", Some(1_280)),
            (FaultKind::Altered, "tile/entries/008", Some(2_048)),
        ],
    },
    Case {
        name: "removed tile",
        tamper: |_, dir| remove(dir, "tile/0/005"),
        expected: &[(FaultKind::Tile, "tile/0/005", None)],
    },
    Case {
        name: "removed tile of pruned entries",
        tamper: |_, dir| remove(dir, "tile/0/001"),
        expected: &[(FaultKind::Tile, "tile/0/001", None)],
    },
    Case {
        name: "swapped tiles",
        tamper: |_, dir| swap(dir, "tile/0/005", "tile/0/006"),
        expected: &[
            (FaultKind::Tile, "tile/0/005", None),
            (FaultKind::Tile, "tile/0/006", None),
        ],
    },
    Case {
        name: "truncated tile",
        tamper: |_, dir| edit(dir, "tile/0/005", |bytes| bytes.truncate(8_160)),
        expected: &[(FaultKind::Tile, "tile/0/005", None)],
    },
    Case {
        name: "longer tile",
        tamper: |_, dir| edit(dir, "tile/0/005", |bytes| bytes.push(0)),
        expected: &[(FaultKind::Tile, "tile/0/005", None)],
    },
    Case {
        name: "removed upper tile",
        tamper: |_, dir| remove(dir, "tile/1/000.p/11"),
        expected: &[(FaultKind::Tile, "tile/1/000.p/11", None)],
    },
    Case {
        name: "entry and its tile altered together",
        tamper: |_, dir| {
            edit_entries(dir, "tile/entries/005", |all| all.swap(10, 20));
            let swapped = |bytes: &mut Vec<u8>| {
                let (first, second) = bytes.split_at_mut(20 * 32);
                first[320..352].swap_with_slice(&mut second[..32]);
            };
            edit(dir, "tile/0/005", swapped);
        },
        expected: &[(FaultKind::Altered, "tile/entries/005", None)],
    },
    Case {
        name: "last entry and all tiles above it altered together",
        tamper: |_, dir| {
            let other = b"{}".to_vec();
            let hash = deia_trail::hash::leaf(&other);
            edit_entries(dir, "tile/entries/011.p/27", |all| all[26] = other);
            edit(dir, "tile/0/011.p/27", |bytes| {
                bytes[26 * 32..].copy_from_slice(&hash)
            });
        },
        expected: &[(FaultKind::Root, "tile", None)],
    },
    Case {
        name: "rolled back checkpoint",
        tamper: |_, dir| {
            let old = checkpoint_of_line(dir, 7);
            fs::write(dir.join("checkpoint"), old).unwrap();
        },
        expected: &[(FaultKind::RolledBack, "checkpoint", None)],
    },
    Case {
        name: "removed checkpoint",
        tamper: |_, dir| remove(dir, "checkpoint"),
        expected: &[(FaultKind::Checkpoint, "checkpoint", None)],
    },
    Case {
        name: "checkpoint that is signed by a stranger",
        tamper: |_, dir| {
            let signed = TrailReader::new(dir).checkpoint().unwrap().unwrap();
            let forged = signed.checkpoint.sign(&[key()]);
            fs::write(dir.join("checkpoint"), forged.note.to_text()).unwrap();
        },
        expected: &[(FaultKind::Signature, "checkpoint", None)],
    },
    Case {
        name: "signature of another checkpoint",
        tamper: |_, dir| {
            let mut signed = TrailReader::new(dir).checkpoint().unwrap().unwrap();
            let old = checkpoint_of_line(dir, 8);
            let old = deia_trail::checkpoint::SignedCheckpoint::parse(&old).unwrap();
            signed.note.signatures = old.note.signatures;
            fs::write(dir.join("checkpoint"), signed.note.to_text()).unwrap();
        },
        expected: &[(FaultKind::Signature, "checkpoint", None)],
    },
    Case {
        name: "checkpoint of another log of the same key",
        tamper: |written, dir| {
            let mut signed = TrailReader::new(dir).checkpoint().unwrap().unwrap();
            signed.checkpoint.origin = "deia.example/other".into();
            let forged = signed.checkpoint.sign(&[again(&written.signing[1])]);
            fs::write(dir.join("checkpoint"), forged.note.to_text()).unwrap();
        },
        expected: &[(FaultKind::Signature, "checkpoint", None)],
    },
    Case {
        name: "key of an intruder among the keys",
        tamper: |_, dir| {
            let signed = TrailReader::new(dir).checkpoint().unwrap().unwrap();
            let intruder = key();
            let line = format!("{}\n", intruder.verifier());
            edit(dir, "keys", |bytes| bytes.extend(line.as_bytes()));
            let forged = signed.checkpoint.sign(&[intruder]);
            fs::write(dir.join("checkpoint"), forged.note.to_text()).unwrap();
        },
        expected: &[
            (FaultKind::Key, "checkpoint", None),
            (FaultKind::Key, "keys", Some(3)),
        ],
    },
    Case {
        name: "removed keys",
        tamper: |_, dir| remove(dir, "keys"),
        expected: &[(FaultKind::Key, "keys", None)],
    },
    Case {
        name: "removed history",
        tamper: |_, dir| remove(dir, "checkpoints"),
        expected: &[(FaultKind::History, "checkpoints", None)],
    },
    Case {
        name: "removed checkpoint of a change of keys",
        // Lines 1 to 4 are signed by the old key, 5 by both, and the others by the new one.
        tamper: |_, dir| edit_lines(dir, |lines| drop(lines.remove(4))),
        expected: &[(FaultKind::Key, "checkpoints", Some(5))],
    },
    Case {
        name: "swapped checkpoints of the history",
        tamper: |_, dir| edit_lines(dir, |lines| lines.swap(6, 7)),
        expected: &[(FaultKind::History, "checkpoints", Some(8))],
    },
    Case {
        name: "reversed history",
        tamper: |_, dir| edit_lines(dir, |lines| lines.reverse()),
        expected: &[(FaultKind::History, "checkpoints", Some(2))],
    },
    Case {
        name: "joined lines of the history",
        tamper: |_, dir| edit(dir, "checkpoints", |bytes| bytes.retain(|b| *b != b'\n')),
        expected: &[(FaultKind::History, "checkpoints", Some(1))],
    },
    Case {
        name: "checkpoint of the history that its own key forged",
        tamper: |written, dir| {
            let text = checkpoint_of_line(dir, 7);
            let mut signed = deia_trail::checkpoint::SignedCheckpoint::parse(&text).unwrap();
            signed.checkpoint.head.root[3] ^= 1;
            let forged = signed.checkpoint.sign(&[again(&written.signing[1])]);
            let line =
                json!({"at": "2026-11-29T08:00:00.000Z", "checkpoint": forged.note.to_text()});
            edit_lines(dir, |lines| lines[7] = format!("{line}\n"));
        },
        expected: &[(FaultKind::Contradiction, "checkpoints", Some(8))],
    },
    Case {
        name: "altered details",
        tamper: |_, dir| {
            let at = record(dir, 1_300);
            edit(dir, "private/details/000000", |bytes| bytes[at + 30] ^= 1);
        },
        expected: &[(
            FaultKind::DetailsAltered,
            "private/details/000000",
            Some(1_300),
        )],
    },
    Case {
        name: "zeroed details",
        tamper: |_, dir| {
            let (at, end) = (record(dir, 1_300), record(dir, 1_302));
            edit(dir, "private/details/000000", |bytes| {
                bytes[at + 8..end].fill(0)
            });
        },
        expected: &[(
            FaultKind::DetailsAltered,
            "private/details/000000",
            Some(1_300),
        )],
    },
    Case {
        name: "details that were erased without a record",
        tamper: |_, dir| {
            TrailReader::new(dir).erase_details(1_300).unwrap();
        },
        expected: &[(FaultKind::Erased, "private/details/000000", Some(1_300))],
    },
    Case {
        name: "details of a later entry of the same target that were erased",
        // The entry 1999 records the erasure of task_250, and 2001 is of that task too.
        tamper: |_, dir| {
            TrailReader::new(dir).erase_details(2_001).unwrap();
        },
        expected: &[(FaultKind::Erased, "private/details/000000", Some(2_001))],
    },
    Case {
        name: "details that are marked as erased",
        tamper: |_, dir| {
            let at = record(dir, 1_251);
            edit(dir, "private/details/000000", |bytes| bytes[at + 12] = 1);
        },
        expected: &[(
            FaultKind::DetailsAltered,
            "private/details/000000",
            Some(1_251),
        )],
    },
    Case {
        name: "swapped details",
        tamper: |_, dir| {
            let (a, b, end) = (record(dir, 1_300), record(dir, 1_302), record(dir, 1_303));
            assert_eq!(b - a, end - b);
            edit(dir, "private/details/000000", |bytes| {
                let (first, second) = bytes.split_at_mut(b);
                first[a + 8..].swap_with_slice(&mut second[8..end - b]);
            });
        },
        expected: &[
            (
                FaultKind::DetailsAltered,
                "private/details/000000",
                Some(1_300),
            ),
            (
                FaultKind::DetailsAltered,
                "private/details/000000",
                Some(1_302),
            ),
        ],
    },
    Case {
        name: "removed details",
        tamper: |_, dir| remove(dir, "private/details/000000"),
        expected: &[(
            FaultKind::DetailsMissing,
            "private/details/000000",
            Some(513),
        )],
    },
    Case {
        name: "truncated details",
        tamper: |_, dir| {
            let at = record(dir, 2_841);
            edit(dir, "private/details/000000", |bytes| bytes.truncate(at));
        },
        expected: &[(
            FaultKind::DetailsMissing,
            "private/details/000000",
            Some(2_841),
        )],
    },
    Case {
        name: "details without the directory of details",
        tamper: |_, dir| fs::remove_dir_all(dir.join("private/details")).unwrap(),
        expected: &[(
            FaultKind::DetailsMissing,
            "private/details/000000",
            Some(513),
        )],
    },
    Case {
        name: "form of the last bundle that never was",
        tamper: |_, dir| {
            let name = "tile/entries/011.p/13";
            let mut entries = entries_of(&dir.join("tile/entries/011.p/27"));
            entries.truncate(13);
            entries.swap(0, 1);
            write_entries(&dir.join(name), &entries);
        },
        expected: &[(FaultKind::Bundle, "tile/entries/011.p/13", None)],
    },
    Case {
        name: "link in the place of a tile",
        tamper: |written, dir| {
            remove(dir, "tile/0/005");
            let target = written.path().join("tile/0/005");
            std::os::unix::fs::symlink(target, dir.join("tile/0/005")).unwrap();
        },
        expected: &[(FaultKind::Tile, "tile/0/005", None)],
    },
    Case {
        name: "link in the place of the tiles",
        tamper: |written, dir| {
            fs::remove_dir_all(dir.join("tile")).unwrap();
            std::os::unix::fs::symlink(written.path().join("tile"), dir.join("tile")).unwrap();
        },
        expected: &[(FaultKind::Unreadable, "tile", None)],
    },
];

fn has(report: &Report, kind: FaultKind, file: &str, place: Option<u64>) -> bool {
    let mut faults = report.faults.iter();
    faults.any(|fault| {
        let at = fault.entry.or(fault.line);
        fault.kind == kind && fault.file == file && (place.is_none() || at == place)
    })
}

#[test]
fn tampering_is_found_and_named() {
    let written = trail();
    for case in CASES {
        let dir = written.copy();
        (case.tamper)(&written, dir.path());
        let report = written.verify(dir.path());
        assert!(!report.sound, "{}", case.name);
        for (kind, file, place) in case.expected {
            assert!(
                has(&report, *kind, file, *place),
                "{}: expected {kind:?} {file} {place:?}, found {:#?}",
                case.name,
                report.faults
            );
        }
    }
}

/// Tampering that nothing in the directory proves, and files that are no part of it.
#[test]
fn changes_that_are_not_provable_are_no_faults() {
    let written = trail();
    let cases: [(&str, Tamper, Option<&str>); 8] = [
        (
            "names",
            |_, dir| edit(dir, "private/names", |bytes| bytes.extend(b"x")),
            None,
        ),
        (
            "a line of the history by which no key changed",
            |_, dir| edit_lines(dir, |lines| drop(lines.remove(2))),
            None,
        ),
        (
            "a line of the history that a crash has torn",
            |_, dir| edit(dir, "checkpoints", |bytes| bytes.truncate(bytes.len() - 9)),
            Some("not written to its end"),
        ),
        (
            "a narrower form of the last tile",
            |_, dir| remove(dir, "tile/0/011.p/4"),
            None,
        ),
        (
            "a wider form of the last tile",
            |_, dir| fs::write(dir.join("tile/0/011.p/28"), [7; 28 * 32]).unwrap(),
            Some("beyond the checkpoint"),
        ),
        (
            "the full form of the last bundle",
            |_, dir| fs::write(dir.join("tile/entries/011"), "x").unwrap(),
            Some("beyond the checkpoint"),
        ),
        (
            "tiles and bundles behind the tree",
            |_, dir| {
                fs::write(dir.join("tile/0/012"), "x").unwrap();
                fs::write(dir.join("tile/entries/900"), "x").unwrap();
            },
            Some("beyond the checkpoint"),
        ),
        (
            "other files",
            |_, dir| {
                fs::create_dir(dir.join("tile/0/x001")).unwrap();
                fs::write(dir.join("tile/0/x001/notes.txt"), "x").unwrap();
            },
            Some("no part of a trail"),
        ),
    ];
    for (name, tamper, note) in cases {
        let dir = written.copy();
        tamper(&written, dir.path());
        let report = written.verify(dir.path());
        assert!(report.sound, "{name}: {:?}", report.faults);
        let found = |text: &str| report.notes.iter().any(|note| note.contains(text));
        assert_eq!(note.is_none(), report.notes.is_empty(), "{name}");
        assert!(note.is_none_or(found), "{name}: {:?}", report.notes);
    }
}

/// The owner of the key writes another past.
#[test]
fn log_that_was_written_anew_contradicts_its_history() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = key();
    for dir in [one.path(), other.path()] {
        let mut trail = begin(dir, &key);
        let mut clock = Clock(0);
        for from in [1, 301, 601] {
            trail.append(&work(from..from + 300)).unwrap();
            clock.seal(&mut trail);
        }
    }
    let kept = one.path().join("audit/checkpoints");
    fs::copy(kept, other.path().join("audit/checkpoints")).unwrap();
    let report = verify(&other.path().join("audit"), &[key.verifier()]);
    let places: Vec<_> = report
        .faults
        .iter()
        .map(|fault| (fault.kind, fault.file.as_str(), fault.line))
        .collect();
    // Even the first, as salts and pseudonyms are random.
    let at = |line| (FaultKind::Contradiction, "checkpoints", Some(line));
    assert_eq!(places, [at(1), at(2), at(3)]);
}

/// Entries that the key of the log signed, and that are wrong all the same.
#[test]
fn signed_entries_are_checked_too() {
    let good = {
        let dir = tempfile::tempdir().unwrap();
        let mut trail = begin(dir.path(), &key());
        let failed = |seq| event(seq, "task.failed", ("task", "t"), &json!(null));
        trail
            .append(&(1..=600).map(failed).collect::<Vec<_>>())
            .unwrap();
        Clock(0).seal(&mut trail);
        let names = ["000", "001", "002.p/88"];
        let bundle = |name: &str| entries_of(&dir.path().join("audit/tile/entries").join(name));
        names.map(bundle).concat()
    };
    type Change = fn(&mut Vec<Vec<u8>>);
    let cases: [(&str, Change, FaultKind, u64); 5] = [
        ("gap", |all| drop(all.remove(299)), FaultKind::Gap, 299),
        (
            "gap between bundles",
            |all| drop(all.remove(256)),
            FaultKind::Gap,
            256,
        ),
        ("order", |all| all.swap(299, 300), FaultKind::Order, 300),
        (
            "twice",
            |all| all.insert(300, all[299].clone()),
            FaultKind::Order,
            300,
        ),
        (
            "no entry",
            |all| all[300] = b"{}".to_vec(),
            FaultKind::Entry,
            300,
        ),
    ];
    let key = key();
    for (name, change, kind, entry) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut entries = good.clone();
        change(&mut entries);
        craft(dir.path(), &entries, &key);
        let report = verify(dir.path(), &[key.verifier()]);
        assert!(
            has(&report, kind, &bundle_of(entry, entries.len()), Some(entry)),
            "{name}: {:?}",
            report.faults
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let mut entries = good.clone();
    entries[5].push(b' ');
    craft(dir.path(), &entries, &key);
    let report = verify(dir.path(), &[key.verifier()]);
    assert_eq!(report.faults.len(), 1);
    assert!(report.faults[0].reason.contains("canonical"));

    craft(dir.path(), &good, &key);
    assert!(verify(dir.path(), &[key.verifier()]).sound);
}

fn bundle_of(entry: u64, size: usize) -> String {
    let (index, size) = (entry / 256, size as u64);
    match (index + 1) * 256 <= size {
        true => format!("tile/entries/{index:03}"),
        false => format!("tile/entries/{index:03}.p/{}", size % 256),
    }
}

/// The first entry of a log that follows another one has the number of none before it.
#[test]
fn numbers_begin_behind_the_first_entry_of_a_log_that_follows_another() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let first = event(0, "audit.began", ("checkpoint", "bm90ZQ=="), &json!(null));
    let options = deia_trail::TrailOptions {
        dir: dir.path().join("audit"),
        keys: vec![again(&key)],
        hook: |_| (),
        take_over: true,
        on_change: deia_trail::OnChange::default(),
    };
    let rows: EventRows = [&first].into_iter().collect();
    let first = rows.iter().next().unwrap();
    let beginning = deia_trail::Beginning {
        origin: "deia.example/audit",
        first: Some(&first),
    };
    let mut trail = deia_trail::Trail::begin(options, &beginning).unwrap();
    trail.append(&work(5_000..5_400)).unwrap();
    Clock(0).seal(&mut trail);
    let report = verify(trail.reader().dir(), &[key.verifier()]);
    assert!(report.sound, "{:?}", report.faults);
}
