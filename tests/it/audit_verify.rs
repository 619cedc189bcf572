//! `deia-admin audit verify`, on trails in directories, without a hive.

use std::{fs, path::Path};

use deia_model::{Event, Timestamp};
use deia_trail::{
    Beginning, Trail, TrailOptions, TrailReader,
    note::{KeyName, SigningKey},
    verify::{Verification, Verifier},
};
use serde_json::{Value, json};

use crate::cli_support::{Said, admin_command, run};

const ORIGIN: &str = "deia.example/audit";

/// A trail of 700 entries in `audit` below a directory.
struct Written {
    dir: tempfile::TempDir,
    key: String,
}

fn event(seq: u64) -> Event {
    serde_json::from_value(json!({
        "seq": seq, "timeline": 1, "at": "2026-11-29T08:00:00.123Z", "action": "task.completed",
        "level": "info", "actor": "ada", "target": {"type": "task", "id": format!("task_{seq}")},
        "result": "success", "v": 1, "details": {"run_ms": seq}
    }))
    .unwrap()
}

impl Written {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::generate(&KeyName::new(ORIGIN).unwrap()).unwrap();
        let public = key.verifier().to_string();
        let options = TrailOptions {
            dir: dir.path().join("audit"),
            keys: vec![key],
            hook: |_| (),
            take_over: true,
            on_change: deia_trail::OnChange::default(),
        };
        let beginning = Beginning {
            origin: ORIGIN,
            first: None,
        };
        let mut trail = Trail::begin(options, &beginning).unwrap();
        trail
            .append(&(1..=700).map(event).collect::<Vec<_>>())
            .unwrap();
        trail.seal(Timestamp::now()).unwrap();
        Self { dir, key: public }
    }

    fn audit(&self) -> std::path::PathBuf {
        self.dir.path().join("audit")
    }

    /// Verifies the trail with more arguments.
    fn verify(&self, args: &[&str]) -> Said {
        let audit = self.audit();
        let mut all = vec!["audit", "verify", "--dir", audit.to_str().unwrap()];
        all.extend(args);
        run(admin_command(&all), "")
    }

    fn alter(&self, name: &str, at: usize) {
        let path = self.audit().join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}

fn field<'t>(text: &'t str, name: &str) -> &'t str {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line[name.len()..].trim()
}

#[test]
fn sound_trail_ends_with_zero() {
    let written = Written::new();
    let said = written.verify(&["--key", &written.key]).ok();
    assert_eq!(field(&said.out, "result"), "sound");
    assert_eq!(field(&said.out, "log"), ORIGIN);
    assert_eq!(
        field(&said.out, "checked"),
        "700 entries, 4 hash tiles, 2 checkpoints, details of 700"
    );
    assert_eq!(field(&said.out, "key"), format!("{} (given)", written.key));
    assert_eq!(said.err, "");

    let said = written.verify(&["--jobs", "2", "--no-details"]).ok();
    assert!(said.out.contains("no details, as asked"), "{said:?}");
    assert!(said.err.contains("give --key"), "{said:?}");

    let json = written.verify(&["--output", "json"]).ok();
    let report = json.parsed();
    assert_eq!(report["sound"], true);
    assert_eq!(report["keys_from"], "directory");
    assert_eq!(report["checked"]["entries"], 700);
    assert_eq!(json.err, "");
    let line = written.verify(&["--output", "jsonl"]).ok();
    assert_eq!(line.out.lines().count(), 1);
    assert_eq!(line.parsed(), report);
    let yaml = written.verify(&["--output", "yaml"]).ok();
    assert!(yaml.out.contains("sound: true"), "{yaml:?}");
}

#[test]
fn faults_are_named_with_their_places() {
    let written = Written::new();
    written.alter("tile/entries/001", 5_000);
    written.alter("private/details/000000", 2_210);
    fs::remove_file(written.audit().join("tile/0/000")).unwrap();
    let said = written.verify(&[]).exits(1);
    assert_eq!(field(&said.out, "result"), "3 faults", "{said:?}");
    for part in [
        "PLACE",
        "tile/entries/001, entry 2",
        "tile/0/000",
        "private/details/000000",
    ] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    assert!(said.err.contains("is not sound: 3 faults"), "{said:?}");
    let said = written.verify(&["--output", "json"]).exits(1);
    let report = said.parsed();
    let faults = report["faults"].as_array().unwrap();
    let kinds: Vec<_> = faults.iter().map(|fault| &fault["kind"]).collect();
    assert_eq!(kinds, ["tile", "details_altered", "altered"]);
    assert_eq!(faults[2]["file"], "tile/entries/001");
    assert!(
        faults[2]["entry"]
            .as_u64()
            .is_some_and(|at| (256..512).contains(&at))
    );

    let said = written.verify(&["--from", "512", "--output", "json"]).ok();
    assert_eq!(said.parsed()["checked"]["entries"], 700 - 512);
}

#[test]
fn forged_checkpoint_is_found_with_the_key_from_elsewhere_only() {
    let written = Written::new();
    let mut intruder = Written::new();
    intruder.key.clone_from(&written.key);
    // The whole trail was written anew, with another key.
    intruder.verify(&[]).ok();
    let said = intruder.verify(&["--key", &written.key]).exits(1);
    assert!(said.out.contains("by one of the given keys"), "{said:?}");
}

#[test]
fn arguments_that_make_no_sense_are_usage_errors() {
    let written = Written::new();
    for (args, expected) in [
        (&["--key", "no key"][..], "--key"),
        (&["--from", "700"], "the log has 700"),
        (&["--from", "9", "--to", "9"], "the log has 700"),
        (&["--jobs", "0"], "--jobs"),
        (&["--resume", "no/such/dir/state"], "no/such/dir/state"),
    ] {
        let said = written.verify(args);
        let code = if args[0] == "--resume" { 1 } else { 2 };
        let said = said.exits(code).only_tells(expected);
        assert!(!said.err.contains("panicked"));
    }
    run(admin_command(&["audit", "verify"]), "")
        .exits(2)
        .only_tells("--dir");
}

#[test]
fn directory_without_a_trail_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("none")] {
        let args = ["audit", "verify", "--dir", path.to_str().unwrap()];
        run(admin_command(&args), "")
            .exits(4)
            .only_tells("there is no audit trail in");
    }
}

/// Saves the progress of a verification whose entries are all checked.
fn save_progress(audit: &Path, file: &Path) {
    let wanted = Verification::default();
    let mut verifier = Verifier::new(&TrailReader::new(audit), wanted).unwrap();
    verifier.step(3);
    assert!(!verifier.is_done());
    fs::write(file, serde_json::to_vec(verifier.state()).unwrap()).unwrap();
}

#[test]
fn verification_goes_on_where_it_was_interrupted() {
    let written = Written::new();
    let file = written.dir.path().join("verify.state");
    let resume = ["--resume", file.to_str().unwrap()];
    written.verify(&resume).ok();
    assert!(!file.exists());

    save_progress(&written.audit(), &file);
    let others = [&resume[..], &["--no-details"]].concat();
    written
        .verify(&others)
        .exits(2)
        .only_tells("other arguments");
    // Bundles that were checked already are not read again.
    written.alter("tile/entries/001", 5_000);
    let said = written.verify(&[&resume[..], &["--output", "json"]].concat());
    let report: Value = said.ok().parsed();
    assert_eq!(report["checked"]["entries"], 700);
    assert!(!file.exists());
    written.verify(&resume).exits(1);

    fs::write(&file, "{}").unwrap();
    written
        .verify(&resume)
        .exits(2)
        .only_tells("remove the file to start over");
}
