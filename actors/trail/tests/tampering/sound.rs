//! Trails that nobody has tampered with.

use std::num::NonZero;

use deia_trail::{
    TrailReader,
    verify::{
        Checked, DetailsCheck, FaultKind, KeySource, State, Verification, Verifier, VerifyError,
    },
};

use crate::trails::{PRUNED, SIZE, high_trail, trail, verify, work};

#[test]
fn sound_trail_is_told_to_be_sound() {
    let written = trail();
    let report = written.verify(&written.path());
    assert_eq!(report.faults, []);
    assert!(report.sound && report.complete);
    assert_eq!(report.size, SIZE);
    assert_eq!((report.from, report.to), (0, SIZE));
    assert_eq!(report.pruned, PRUNED * 256);
    // The events 1251 and 1254 have no details, those between them have.
    assert_eq!(report.erased, 3);
    assert_eq!(report.keys_from, KeySource::Given);
    assert_eq!(report.details, DetailsCheck::Checked);
    let tiles = SIZE.div_ceil(256) + 1;
    // Each seal is in the history, but for the one that was published last it is there twice.
    let expected = Checked {
        entries: SIZE - PRUNED * 256,
        tiles,
        checkpoints: report.checked.checkpoints,
        details: report.checked.details,
    };
    assert_eq!(report.checked, expected);
    let with_details = (PRUNED * 256 + 1..=SIZE).filter(|seq| match seq {
        2_000 => false,
        2_001 | 2_002 => true,
        seq => seq % 3 != 0,
    });
    assert_eq!(report.checked.details, with_details.count() as u64);
    let lines = std::fs::read_to_string(written.path().join("checkpoints")).unwrap();
    assert_eq!(report.checked.checkpoints, lines.lines().count() as u64 + 1);
    assert_eq!(report.notes, Vec::<String>::new());

    let report = verify(&written.path(), &[]);
    assert!(report.sound);
    assert_eq!(report.keys_from, KeySource::Directory);
    assert_eq!(report.keys.len(), 2);
}

#[test]
fn introduced_keys_are_told_unless_they_are_given() {
    let written = trail();
    for given in 0..2 {
        let report = verify(&written.path(), &written.keys[given..=given]);
        assert!(report.sound, "{:?}", report.faults);
        let other = written.keys[1 - given].to_string();
        assert!(report.notes.iter().any(|note| note.contains(&other)));
    }
    let stranger = crate::trails::key().verifier();
    let report = verify(&written.path(), &[stranger]);
    let kinds: Vec<_> = report.faults.iter().map(|fault| fault.kind).collect();
    assert_eq!(
        kinds,
        [FaultKind::Signature, FaultKind::Key, FaultKind::Key]
    );
}

#[test]
fn high_trees_are_walked_by_any_number_of_threads() {
    let written = high_trail();
    let reader = TrailReader::new(written.path());
    let mut reports = Vec::new();
    for jobs in [1, 3] {
        let mut verifier = Verifier::new(&reader, Verification::default()).unwrap();
        verifier.set_jobs(NonZero::new(jobs).unwrap()).unwrap();
        reports.push(verifier.run());
    }
    assert_eq!(reports[0], reports[1]);
    assert!(reports[0].sound, "{:?}", reports[0].faults);
    assert_eq!(reports[0].checked.entries, 66_000);
    // 258 at the lowest level, 2 above, and the highest one.
    assert_eq!(reports[0].checked.tiles, 261);
}

#[test]
fn verification_goes_on_from_any_saved_state() {
    let written = trail();
    let dir = written.copy();
    let reader = TrailReader::new(dir.path());
    // A fault in each part, so that what was found is kept too.
    let damage = |name: &str, at: usize| {
        let path = dir.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    damage("tile/entries/005", 700);
    damage("private/details/000000", 60_000);
    damage("checkpoints", 120);
    std::fs::remove_file(dir.path().join("tile/0/007")).unwrap();
    let whole = Verifier::new(&reader, Verification::default())
        .unwrap()
        .run();
    assert!(whole.faults.len() >= 4, "{:?}", whole.faults);

    let mut verifier = Verifier::new(&reader, Verification::default()).unwrap();
    let mut done = 0;
    while !verifier.is_done() {
        assert!(!verifier.report().complete && !verifier.report().sound);
        let progress = verifier.step(1);
        assert!(progress.done >= done && progress.done <= progress.total);
        done = progress.done;
        let saved = serde_json::to_vec(verifier.state()).unwrap();
        let state: State = serde_json::from_slice(&saved).unwrap();
        verifier = Verifier::resume(&reader, state).unwrap();
    }
    assert_eq!(verifier.report(), whole);
    assert_eq!(verifier.progress().done, verifier.progress().total);
    assert!(done > 10);
}

#[test]
fn range_is_checked_without_the_rest() {
    let written = trail();
    let dir = written.copy();
    let path = dir.path().join("tile/entries/005");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[700] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let run = |from, to| {
        let verification = Verification {
            from,
            to,
            keys: written.keys.clone(),
            check_details: true,
        };
        Verifier::new(&TrailReader::new(dir.path()), verification).map(|mut it| it.run())
    };
    for (from, to, entries, sound) in [
        (Some(600), Some(601), 256, true),
        (Some(1_536), None, SIZE - 1_536, true),
        (Some(2_843 - 1), None, SIZE % 256, true),
        (Some(1_280), Some(1_537), 512, false),
        // The records of the erasure of 1250, and of the removal of 0, are behind the fault.
        (Some(1_279), Some(1_280), SIZE - 1_024, false),
        (None, Some(700), SIZE - PRUNED * 256, false),
    ] {
        let report = run(from, to).unwrap();
        assert_eq!(report.sound, sound, "{from:?} {to:?} {:?}", report.faults);
        assert_eq!(report.checked.entries, entries, "{from:?} {to:?}");
    }
    for (from, to) in [(Some(SIZE), None), (Some(5), Some(5)), (Some(9), Some(8))] {
        assert!(matches!(run(from, to), Err(VerifyError::Range { .. })));
    }
}

#[test]
fn copy_without_the_private_part_verifies() {
    let written = trail();
    let dir = written.copy();
    std::fs::remove_dir_all(dir.path().join("private")).unwrap();
    let report = written.verify(dir.path());
    assert!(report.sound);
    assert_eq!(report.details, DetailsCheck::Absent);
    assert_eq!(report.checked.details, 0);

    let verification = Verification {
        check_details: false,
        ..Verification::default()
    };
    let mut verifier = Verifier::new(&TrailReader::new(written.path()), verification).unwrap();
    let report = verifier.run();
    assert!(report.sound);
    assert_eq!(report.details, DetailsCheck::NotAsked);
    assert_eq!(report.checked.details, 0);
}

#[test]
fn no_trail_is_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("none")] {
        let verifier = Verifier::new(&TrailReader::new(path), Verification::default());
        assert!(matches!(verifier, Err(VerifyError::NoTrail(_))));
    }
}

#[test]
fn trail_that_grows_meanwhile_is_verified_up_to_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let key = crate::trails::key();
    let mut clock = crate::trails::Clock(0);
    let mut trail = crate::trails::begin(dir.path(), &key);
    trail.append(&work(1..700)).unwrap();
    clock.seal(&mut trail);
    let reader = trail.reader().clone();
    let mut verifier = Verifier::new(&reader, Verification::default()).unwrap();
    verifier.step(1);
    // The last tiles of the checkpoint become full, and their narrower forms are removed.
    trail.append(&work(700..2_000)).unwrap();
    clock.seal(&mut trail);
    assert!(!reader.dir().join("tile/0/002.p").exists());
    let state = verifier.state().clone();
    let mut resumed = Verifier::resume(&reader, state).unwrap();
    for report in [verifier.run(), resumed.run()] {
        assert!(report.sound, "{:?}", report.faults);
        assert_eq!((report.size, report.checked.entries), (699, 699));
    }
}

#[test]
fn empty_log_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let key = crate::trails::key();
    let mut trail = crate::trails::begin(dir.path(), &key);
    crate::trails::Clock(0).seal(&mut trail);
    let report = verify(trail.reader().dir(), &[key.verifier()]);
    assert!(report.sound, "{:?}", report.faults);
    assert_eq!(report.size, 0);
}
