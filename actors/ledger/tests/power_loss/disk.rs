//! The state of a directory after a power loss.

use std::{collections::BTreeMap, fs, path::Path};

use crate::vfs::{Diary, Op};

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Repeatable draws.
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Fate of writes that were not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unsynced {
    /// No write is on disk.
    Lost,
    /// Some are, some are not, and of some only a few sectors, in any order.
    Random,
}

/// Behaviour of a disk, or of a layer above it, on a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncs {
    /// Correct.
    Kept,
    /// Syncs are ignored, as with `synchronous=OFF`.
    Ignored,
}

#[derive(Default)]
struct State<'a> {
    /// Content that is on disk for certain.
    bytes: Vec<u8>,
    /// True if the name of the file is on disk for certain.
    is_there: bool,
    /// Writes since the last sync.
    pending: Vec<&'a Op>,
    /// Creation or removal since the directory was synced.
    renamed: Option<bool>,
    /// The next sync of the file also syncs its directory, as SQLite does for a new log
    /// or journal.
    syncs_dir: bool,
}

impl State<'_> {
    fn settle(&mut self) {
        for op in std::mem::take(&mut self.pending) {
            apply(&mut self.bytes, op);
        }
    }
}

fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write(_, at, data) => write(bytes, usize::try_from(*at).unwrap(), data),
        Op::Truncate(_, length) => bytes.resize(usize::try_from(*length).unwrap(), 0),
        _ => {}
    }
}

fn write(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    let end = at + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(data);
}

/// Writes some sectors of a write.
fn tear(bytes: &mut Vec<u8>, op: &Op, draws: &mut Draws) {
    let Op::Write(_, at, data) = op else {
        return apply(bytes, op);
    };
    let mut from = 0;
    while from < data.len() {
        let at = usize::try_from(*at).unwrap() + from;
        let to = (from + SECTOR - at % SECTOR).min(data.len());
        if draws.below(2) == 0 {
            write(bytes, at, &data[from..to]);
        }
        from = to;
    }
}

/// Returns the files after a power loss just before operation `until`, by name.
pub(crate) fn after_loss(
    diary: &Diary,
    until: usize,
    (unsynced, syncs): (Unsynced, Syncs),
    draws: &mut Draws,
) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<usize, State<'_>> = BTreeMap::new();
    for op in &diary.ops[..until] {
        match op {
            Op::Create(file) => {
                let state = files.entry(*file).or_default();
                state.bytes.clear();
                state.pending.clear();
                state.renamed = Some(true);
                let name = &diary.files[*file];
                state.syncs_dir = name.ends_with("-wal") || name.ends_with("-journal");
            }
            Op::Write(file, ..) | Op::Truncate(file, _) => {
                state(&mut files, *file).pending.push(op)
            }
            Op::Sync(file) if syncs == Syncs::Kept => {
                let state = state(&mut files, *file);
                state.settle();
                if std::mem::take(&mut state.syncs_dir) {
                    sync_dir(&mut files);
                }
            }
            // Linux reports a failed write-back once, and does not retry it.
            Op::SyncFailed(file) => state(&mut files, *file).pending.clear(),
            Op::Delete(file, synced) => {
                state(&mut files, *file).renamed = Some(false);
                if *synced && syncs == Syncs::Kept {
                    sync_dir(&mut files);
                }
            }
            Op::Sync(_) | Op::Mark(_) => {}
        }
    }
    let mut left = BTreeMap::new();
    for (file, mut state) in files {
        if let (Some(now), Unsynced::Random) = (state.renamed, unsynced)
            && draws.below(2) == 0
        {
            state.is_there = now;
        }
        if !state.is_there {
            continue;
        }
        if let Unsynced::Random = unsynced {
            for op in std::mem::take(&mut state.pending) {
                match draws.below(3) {
                    0 => {}
                    1 => apply(&mut state.bytes, op),
                    _ => tear(&mut state.bytes, op, draws),
                }
            }
        }
        left.insert(diary.files[file].clone(), state.bytes);
    }
    left
}

/// Returns the state of a file. One that existed before the diary began was empty, and
/// its name on disk.
fn state<'a, 'b>(files: &'b mut BTreeMap<usize, State<'a>>, file: usize) -> &'b mut State<'a> {
    files.entry(file).or_insert_with(|| State {
        is_there: true,
        ..State::default()
    })
}

fn sync_dir(files: &mut BTreeMap<usize, State<'_>>) {
    for state in files.values_mut() {
        if let Some(now) = state.renamed.take() {
            state.is_there = now;
        }
    }
}

/// Writes the files into an empty directory.
pub(crate) fn put(files: &BTreeMap<String, Vec<u8>>, dir: &Path) {
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

#[test]
fn a_sync_keeps_what_came_before_it_and_nothing_else() {
    let mut diary = Diary::default();
    let file = diary.file("x-wal");
    diary.ops = vec![
        Op::Create(file),
        Op::Write(file, 0, vec![1; 2]),
        Op::Sync(file),
        Op::Write(file, 1, vec![2; 2]),
        Op::Truncate(file, 1),
        Op::Sync(file),
        Op::Delete(file, false),
        Op::Write(file, 0, vec![3; 9]),
        Op::SyncFailed(file),
        Op::Sync(file),
    ];
    let kept = (Unsynced::Lost, Syncs::Kept);
    for (until, expected) in [
        (2, None),
        (3, Some(vec![1, 1])),
        (5, Some(vec![1, 1])),
        (6, Some(vec![1])),
        (7, Some(vec![1])),
        (10, Some(vec![1])),
    ] {
        let left = after_loss(&diary, until, kept, &mut Draws(1));
        assert_eq!(left.get("x-wal").cloned(), expected, "{until}");
    }
    let ignored = (Unsynced::Lost, Syncs::Ignored);
    assert!(after_loss(&diary, 6, ignored, &mut Draws(1)).is_empty());
}
