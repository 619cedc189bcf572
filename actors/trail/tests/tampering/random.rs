//! Random changes of random files.

use std::{cell::OnceCell, fs, path::Path};

use proptest::{prelude::*, sample::Index};

use crate::{
    flips::not_covered,
    trails::{Written, files, trail},
};

#[derive(Clone, Debug)]
enum Change {
    Flip { at: Index, bit: u8 },
    Set { at: Index, bytes: Vec<u8> },
    Insert { at: Index, bytes: Vec<u8> },
    Cut { from: Index, length: usize },
    Truncate { at: Index },
    Swap { with: Index },
    Replace { bytes: Vec<u8> },
    Remove,
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    let bytes = || prop::collection::vec(any::<u8>(), 1..40);
    prop_oneof![
        (index(), 0..8_u8).prop_map(|(at, bit)| Change::Flip { at, bit }),
        (index(), bytes()).prop_map(|(at, bytes)| Change::Set { at, bytes }),
        (index(), bytes()).prop_map(|(at, bytes)| Change::Insert { at, bytes }),
        (index(), 1..400_usize).prop_map(|(from, length)| Change::Cut { from, length }),
        index().prop_map(|at| Change::Truncate { at }),
        index().prop_map(|with| Change::Swap { with }),
        prop::collection::vec(any::<u8>(), 0..600).prop_map(|bytes| Change::Replace { bytes }),
        Just(Change::Remove),
    ]
}

/// Applies a change. Returns the files that it changed.
fn apply(dir: &Path, names: &[String], name: &str, change: &Change) -> Vec<String> {
    let path = dir.join(name);
    let Ok(mut bytes) = fs::read(&path) else {
        return Vec::new();
    };
    let length = bytes.len().max(1);
    match change {
        Change::Flip { at, bit } => {
            if let Some(byte) = bytes.get_mut(at.index(length)) {
                *byte ^= 1 << bit;
            }
        }
        Change::Set { at, bytes: new } => {
            let at = at.index(length);
            for (byte, new) in bytes.iter_mut().skip(at).zip(new) {
                *byte = *new;
            }
        }
        Change::Insert { at, bytes: new } => {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, new.iter().copied());
        }
        Change::Cut { from, length: cut } => {
            let from = from.index(length).min(bytes.len());
            bytes.drain(from..(from + cut).min(bytes.len()));
        }
        Change::Truncate { at } => bytes.truncate(at.index(length)),
        Change::Swap { with } => {
            let other = with.get(names);
            let Ok(others) = fs::read(dir.join(other)) else {
                return Vec::new();
            };
            fs::write(&path, others).unwrap();
            fs::write(dir.join(other), bytes).unwrap();
            return vec![name.to_owned(), other.clone()];
        }
        Change::Replace { bytes: new } => bytes.clone_from(new),
        Change::Remove => {
            fs::remove_file(path).unwrap();
            return vec![name.to_owned()];
        }
    }
    fs::write(path, bytes).unwrap();
    vec![name.to_owned()]
}

/// Returns a file without what nothing proves; `None` if nothing proves that it is there.
fn covered(name: &str, bytes: Option<Vec<u8>>, original: &[u8]) -> Option<Vec<u8>> {
    let is_last = [
        "tile/0/011.p/27",
        "tile/1/000.p/11",
        "tile/entries/011.p/27",
    ];
    let Some(mut bytes) = bytes else {
        // Narrower forms of the last tiles need not be there.
        let is_needed = !name.contains(".p/") || is_last.contains(&name);
        return (is_needed && name != "private/names").then(Vec::new);
    };
    match name {
        // Lines that are not there prove nothing, and neither does the beginning of one.
        "checkpoints" if original.starts_with(&bytes) => return None,
        // Behind the last record there may be those of later entries.
        "private/details/000000" if bytes.starts_with(original) => return None,
        _ => {}
    }
    let same_length = bytes.len() == original.len();
    for range in not_covered(name, original) {
        if same_length || name == "private/names" {
            let end = range.end.min(bytes.len());
            bytes[range.start..end].fill(0);
        }
    }
    match name {
        "private/names" => None,
        _ => Some(bytes),
    }
}

thread_local! {
    static TRAIL: OnceCell<Written> = const { OnceCell::new() };
}

fn check(picks: &[(Index, Change)]) -> Result<(), TestCaseError> {
    TRAIL.with(|written| {
        let written = written.get_or_init(trail);
        let original = written.path();
        let dir = written.copy();
        let names = files(&original);
        let mut changed = Vec::new();
        for (pick, change) in picks {
            let name: &String = pick.get(&names);
            changed.extend(apply(dir.path(), &names, name, change));
        }
        let is_same = |name: &String| {
            let before = fs::read(original.join(name)).unwrap();
            let after = covered(name, fs::read(dir.path().join(name)).ok(), &before);
            after.is_none() || after == covered(name, Some(before.clone()), &before)
        };
        let report = written.verify(dir.path());
        prop_assert!(report.complete);
        if report.sound {
            let altered: Vec<_> = changed.iter().filter(|name| !is_same(name)).collect();
            prop_assert!(altered.is_empty(), "sound, though changed: {:?}", altered);
        } else {
            prop_assert!(!changed.is_empty());
        }
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 50, ..ProptestConfig::default() })]
    #[test]
    fn random_changes_are_never_sound(
        picks in prop::collection::vec((any::<Index>(), change()), 1..4)
    ) {
        check(&picks)?;
    }
}
