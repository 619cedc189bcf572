//! A disk that forgets what was not synced when power is lost.
//!
//! A library that is loaded before the one of C notes what each write replaces, and removes the
//! notes of a file when it is synced. After the server was killed the notes tell which bytes the
//! disk need not have.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The library, and the place of its notes.
pub(crate) struct ForgetfulDisk {
    library: PathBuf,
    notes: PathBuf,
}

/// Repeatable draws.
pub(crate) struct Draws(pub(crate) u64);

/// A write that was not synced.
struct Unsynced {
    offset: usize,
    bytes: usize,
    size_before: usize,
    replaced: Vec<u8>,
}

impl Draws {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

impl ForgetfulDisk {
    /// Builds the library. Returns `None`, and says that the test is skipped, if there is no
    /// compiler of C.
    pub(crate) fn build(dir: &Path) -> Option<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/power_loss/forget.c");
        let library = dir.join("forget.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .args(["-ldl", "-lpthread"])
            .status();
        if !built.is_ok_and(|status| status.success()) {
            let must = std::env::var_os("CI").is_some();
            assert!(
                !must,
                "the library that forgets unsynced writes cannot be built"
            );
            eprintln!("skipped: there is no compiler of C for the library of a forgetful disk");
            return None;
        }
        let notes = dir.join("unsynced");
        Some(Self { library, notes })
    }

    /// Has the writes of a server below `data_dir` noted.
    pub(crate) fn watch(&self, server: &mut Command, data_dir: &Path) {
        let _ = fs::remove_dir_all(&self.notes);
        fs::create_dir(&self.notes).unwrap();
        server
            .env("LD_PRELOAD", &self.library)
            .env("FORGET_UNDO", &self.notes)
            .env("FORGET_DIR", data_dir);
    }

    /// Makes of the files below `data_dir`, whose server was killed, files that a loss of power
    /// at the same moment may have left. Returns the number of bytes that could be lost.
    pub(crate) fn lose_power(&self, data_dir: &Path, draws: &mut Draws) -> usize {
        let mut notes = BTreeMap::new();
        for note in fs::read_dir(&self.notes).unwrap() {
            let note = note.unwrap();
            let inode: u64 = note.file_name().to_str().unwrap().parse().unwrap();
            notes.insert(inode, parse(&fs::read(note.path()).unwrap()));
        }
        let mut pending = 0;
        for (path, inode) in files_below(data_dir) {
            if let Some(writes) = notes.get(&inode) {
                let now = fs::read(&path).unwrap();
                pending += writes.iter().map(|write| write.bytes).sum::<usize>();
                fs::write(&path, after_loss(&now, writes, draws)).unwrap();
            }
        }
        pending
    }
}

/// Reads the notes of a file. The last one may have been cut by the kill: nothing was written
/// after it.
fn parse(mut bytes: &[u8]) -> Vec<Unsynced> {
    let mut writes = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<32>() {
        let number = |n: usize| {
            let field: [u8; 8] = head[8 * n..8 * n + 8].try_into().unwrap();
            usize::try_from(u64::from_ne_bytes(field)).unwrap()
        };
        let Some((replaced, rest)) = rest.split_at_checked(number(3)) else {
            break;
        };
        writes.push(Unsynced {
            offset: number(0),
            bytes: number(1),
            size_before: number(2),
            replaced: replaced.to_vec(),
        });
        bytes = rest;
    }
    writes
}

/// Returns a content that a file may have after a loss of power: each unsynced sector is as it
/// was, as it was to be, or neither.
fn after_loss(now: &[u8], writes: &[Unsynced], draws: &mut Draws) -> Vec<u8> {
    let mut synced = now.to_vec();
    for write in writes.iter().rev() {
        let end = write.offset + write.replaced.len();
        synced.resize(synced.len().max(end), 0);
        synced[write.offset..end].copy_from_slice(&write.replaced);
        synced.resize(write.size_before, 0);
    }
    let sizes = [now.len(), synced.len()];
    let longest = now.len().max(synced.len());
    let mut is_pending = vec![false; longest];
    for write in writes {
        let end = (write.offset + write.bytes).min(longest);
        is_pending[write.offset.min(end)..end].fill(true);
    }
    let mut left = synced;
    left.resize(longest, 0);
    for sector in (0..longest).step_by(SECTOR) {
        let bytes = sector..longest.min(sector + SECTOR);
        if !is_pending[bytes.clone()].contains(&true) {
            continue;
        }
        let fate = draws.below(3);
        for at in bytes.filter(|at| is_pending[*at]) {
            match fate {
                0 => {}
                1 => left[at] = now.get(at).copied().unwrap_or(0),
                _ => left[at] = u8::try_from(draws.below(256)).unwrap(),
            }
        }
    }
    left.truncate(sizes[usize::try_from(draws.below(2)).unwrap()]);
    left
}

fn files_below(dir: &Path) -> Vec<(PathBuf, u64)> {
    let (mut left, mut found) = (vec![dir.to_owned()], Vec::new());
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let about = entry.metadata().unwrap();
            match about.is_dir() {
                true => left.push(entry.path()),
                false => found.push((entry.path(), about.ino())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn only_unsynced_sectors_change() {
    let synced: Vec<u8> = (0..3_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut now = synced.clone();
    now[700..900].fill(7);
    now.extend([9; 100]);
    let write = |range: std::ops::Range<usize>| Unsynced {
        offset: range.start,
        bytes: range.len(),
        size_before: synced.len(),
        replaced: synced[range.start.min(3_000)..range.end.min(3_000)].to_vec(),
    };
    let writes = [write(700..900), write(3_000..3_100)];
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let left = after_loss(&now, &writes, &mut Draws(seed));
        assert!([3_000, 3_100].contains(&left.len()), "{}", left.len());
        assert_eq!(left[..700], synced[..700]);
        assert_eq!(left[900..3_000], synced[900..]);
        seen.insert(left[700]);
        seen.insert(left[899]);
    }
    assert!(seen.len() > 10, "{seen:?}");
}
