//! Directories that were made to keep a verifier busy.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, Instant},
};

use deia_trail::{
    proof::Head,
    verify::{FaultKind, MAX_FAULTS, MAX_NOTES},
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::trails::{Written, key, publish, trail, verify};

/// Far more than any of these may take; a verifier that counts to 2^63 takes longer.
const ENOUGH: Duration = Duration::from_secs(60);

fn huge(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(path);
    // A hole: no room is taken.
    File::create(path).unwrap().set_len(1 << 40).unwrap();
}

fn fifo(path: &Path) {
    fs::remove_file(path).unwrap();
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

#[test]
fn size_that_is_only_claimed_takes_no_time() {
    let key = key();
    for size in [1 << 40, 1 << 62, u64::MAX - 1, u64::MAX] {
        let dir = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let root = [7; 32];
        publish(dir.path(), Head { size, root }, &key);
        let report = verify(dir.path(), &[key.verifier()]);
        assert!(!report.sound && report.complete);
        assert!(report.faults.len() < 20, "{:?}", report.faults);
        // With one bundle in the middle, there is more to tell.
        fs::create_dir_all(dir.path().join("tile/entries/x123/x456")).unwrap();
        fs::write(dir.path().join("tile/entries/x123/x456/789"), "x").unwrap();
        let report = verify(dir.path(), &[]);
        assert!(!report.sound && report.complete);
        assert!(begun.elapsed() < ENOUGH);
    }
}

#[test]
fn files_without_end_are_not_read() {
    let written = trail();
    for name in [
        "checkpoint",
        "keys",
        "tile/0/005",
        "tile/0/011.p/27",
        "tile/0/011.p/4",
        "tile/1/000.p/11",
        "tile/entries/005",
        "tile/entries/011.p/27",
        "tile/entries/011.p/24",
    ] {
        let begun = Instant::now();
        let dir = written.copy();
        huge(&dir.path().join(name));
        let report = written.verify(dir.path());
        let fault = report.faults.iter().find(|fault| fault.file == name);
        let fault = fault.unwrap_or_else(|| panic!("{name}: {:?}", report.faults));
        assert!(fault.reason.contains("longer"), "{fault}");

        fifo(&dir.path().join(name));
        let report = written.verify(dir.path());
        assert!(!report.sound || name.contains(".p/"), "{name}");
        assert!(begun.elapsed() < ENOUGH, "{name}");
    }
}

#[test]
fn details_without_end_are_read_up_to_the_first_that_are_none() {
    let written = trail();
    let begun = Instant::now();
    let dir = written.copy();
    let path = dir.path().join("private/details/000000");
    // Zeros behind the last record, which belong to no entry of the checkpoint.
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let report = written.verify(dir.path());
    assert!(report.sound, "{:?}", report.faults);
    assert!(report.notes[0].contains("000000"));
    // Zeros from the header on.
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(8 + 8 * 256 + 9)
        .unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let report = written.verify(dir.path());
    assert!(!report.sound);
    assert!(begun.elapsed() < ENOUGH);
}

#[test]
fn lines_without_end_are_passed_over() {
    let written = trail();
    let dir = written.copy();
    let path = dir.path().join("checkpoints");
    let good = fs::read_to_string(&path).unwrap();
    let lines = good.lines().count() as u64;
    for (long, at, faults) in [
        (format!("{}\n{good}", "x".repeat(3 << 20)), 1, 1),
        (format!("{good}{}\n", "x".repeat(3 << 20)), lines + 1, 1),
        (format!("{good}{}", "x".repeat(3 << 20)), lines + 1, 1),
        (format!("{good}{}", "\n".repeat(500)), lines + 1, 500),
    ] {
        fs::write(&path, long).unwrap();
        let report = written.verify(dir.path());
        let fault = &report.faults[0];
        assert_eq!((fault.kind, fault.line), (FaultKind::History, Some(at)));
        let count = report.faults.len() as u64 + report.more_faults;
        assert_eq!(count, faults, "{:?}", report.faults);
        assert!(report.faults.len() <= MAX_FAULTS);
        assert_eq!(report.checked.checkpoints, lines + 1);
    }
    // A hole of many bytes, all in one line.
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(256 << 20)
        .unwrap();
    assert!(!written.verify(dir.path()).sound);
}

fn with_strange_names(written: &Written) -> tempfile::TempDir {
    let dir = written.copy();
    let mut deep = dir.path().join("tile/0");
    for _ in 0..40 {
        deep = deep.join("x001");
    }
    fs::create_dir_all(&deep).unwrap();
    for i in 0..300 {
        fs::write(dir.path().join(format!("tile/entries/strange-{i}")), "").unwrap();
        fs::write(dir.path().join(format!("tile/0/011.p/{}", 1_000 + i)), "").unwrap();
    }
    fs::create_dir_all(dir.path().join("tile/255/000.p")).unwrap();
    fs::create_dir_all(dir.path().join("tile/7/000.p/3")).unwrap();
    fs::create_dir_all(dir.path().join("private/details/000000.p")).unwrap();
    dir
}

#[test]
fn strange_names_are_noted_within_bounds() {
    let written = trail();
    let dir = with_strange_names(&written);
    let report = written.verify(dir.path());
    assert!(report.sound, "{:?}", report.faults);
    assert_eq!(report.notes.len(), MAX_NOTES);
    assert!(report.more_notes > 400);
}

#[test]
fn faults_are_counted_beyond_those_that_are_kept() {
    let written = trail();
    let dir = written.copy();
    // Every other entry of one bundle is altered; those that follow each other are one fault.
    let path = dir.path().join("tile/entries/005");
    let mut entries = crate::trails::entries_of(&path);
    for entry in entries.iter_mut().step_by(2) {
        entry.push(b' ');
    }
    crate::trails::write_entries(&path, &entries);
    let report = written.verify(dir.path());
    assert_eq!(report.faults.len(), MAX_FAULTS);
    assert_eq!(report.more_faults, 128 - MAX_FAULTS as u64);
    entries.iter_mut().for_each(|entry| entry.push(b' '));
    crate::trails::write_entries(&path, &entries);
    let report = written.verify(dir.path());
    assert_eq!((report.faults.len(), report.more_faults), (1, 0));
}
