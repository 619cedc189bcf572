//! A flipped bit anywhere in any file.

use std::{fs, ops::Range, path::Path};

use deia_trail::verify::{FaultKind, Report};

use crate::trails::{PRUNED, Written, files, high_trail, trail};

/// Returns the parts of a file that nothing proves.
pub(crate) fn not_covered(name: &str, bytes: &[u8]) -> Vec<Range<usize>> {
    let only = |range| std::iter::once(range).collect();
    match name {
        "private/names" => only(0..bytes.len()),
        // Details of entries that were removed.
        "private/details/000000" => {
            let slot = 8 + 8 * usize::try_from(PRUNED).unwrap();
            let kept = u64::from_le_bytes(bytes[slot..slot + 8].try_into().unwrap());
            only(8 + 8 * 256..usize::try_from(kept).unwrap())
        }
        // The times of the history.
        "checkpoints" => {
            let text = std::str::from_utf8(bytes).unwrap();
            let starts = text
                .match_indices("{\"at\":\"")
                .map(|(at, it)| at + it.len());
            starts.map(|at| at..at + 24).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns whether a fault has the file as its place, or entries of it.
fn names(report: &Report, file: &str) -> bool {
    let faults = &mut report.faults.iter();
    faults.any(|fault| fault.file == file)
}

fn offsets(length: usize, count: usize) -> Vec<usize> {
    let mut offsets: Vec<_> = (0..count).map(|i| i * length / count).collect();
    offsets.extend([length - 1, length / 2 + 1, 1, 2].map(|at| at.min(length - 1)));
    offsets.sort_unstable();
    offsets.dedup();
    offsets
}

fn every_flip_is_found(written: &Written, count: usize, is_wanted: impl Fn(&str) -> bool) {
    let dir = written.copy();
    let mut flipped = 0;
    for name in files(dir.path()).iter().filter(|name| is_wanted(name)) {
        let path = dir.path().join(name);
        let bytes = fs::read(&path).unwrap();
        let not_covered = not_covered(name, &bytes);
        for offset in offsets(bytes.len(), count) {
            let mut altered = bytes.clone();
            altered[offset] ^= 1 << ((offset + offset / 8) % 8);
            fs::write(&path, &altered).unwrap();
            let report = written.verify(dir.path());
            if not_covered.iter().any(|range| range.contains(&offset)) {
                continue;
            }
            flipped += 1;
            assert!(!report.sound, "{name} at {offset}");
            let faults = &report.faults;
            assert!(names(&report, name), "{name} at {offset}: {faults:?}");
            // One bit is no reason to find fault with other files, unless it made a key unknown
            // or the record of a removal unreadable.
            let follows = |kind| matches!(kind, FaultKind::Erased | FaultKind::Removed);
            let others = faults.iter().filter(|fault| fault.file != *name);
            let others = others.filter(|fault| !follows(fault.kind)).count();
            let expected = ["keys", "checkpoints"].contains(&name.as_str());
            assert!(expected || others == 0, "{name} at {offset}: {faults:?}");
        }
        fs::write(&path, bytes).unwrap();
    }
    assert!(flipped > 20 * count, "{flipped}");
    assert!(written.verify(dir.path()).sound);
}

#[test]
fn flipped_bit_in_any_file_is_found_and_named() {
    every_flip_is_found(&trail(), 8, |_| true);
}

#[test]
fn flipped_bit_in_any_level_of_a_high_tree_is_found_and_named() {
    let of_interest = |name: &str| {
        let highest = ["tile/1/", "tile/2/"].iter().any(|at| name.starts_with(at));
        let edge = [
            "tile/0/000",
            "tile/0/255",
            "tile/0/256",
            "tile/entries/255",
            "private/details/000001",
        ];
        highest || edge.contains(&name) || name.contains("/257.p/")
    };
    every_flip_is_found(&high_trail(), 1, of_interest);
}

#[test]
fn every_bit_of_the_checkpoint_counts() {
    let written = trail();
    let dir = written.copy();
    let path: &Path = &dir.path().join("checkpoint");
    let bytes = fs::read(path).unwrap();
    for bit in 0..8 * bytes.len() {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        fs::write(path, &altered).unwrap();
        // Few entries, for speed: the checkpoint is checked in any case.
        let report = written.verify_end(dir.path());
        assert!(
            names(&report, "checkpoint"),
            "bit {bit}: {:?}",
            report.faults
        );
    }
}
