//! `kill -9` while the key is replaced.

use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitStatus},
};

use deia_trail::{
    TrailReader,
    note::VerifierKey,
    verify::{Verification, Verifier},
};

use crate::{
    Hive,
    config::{Config, Layers},
    testing::{TestHive, until},
};

/// Variable with the data directory for a process that is to end.
const DIR: &str = "DEIA_TEST_ROTATION_IN";

fn config(dir: &Path) -> Config {
    let settings = Layers::default()
        .set("data_dir", dir.display().to_string())
        .set("bots.seed", "[]")
        .set("server.drain_timeout", "0s");
    settings.load().unwrap()
}

/// Starts a hive, and waits until all its events are sealed.
async fn start(dir: &Path) -> Hive {
    let hive = TestHive::try_start(config(dir)).await.unwrap();
    until("all is sealed", async || {
        hive.audit().lag().is_zero() && hive.audit().progress().seq > 0
    })
    .await;
    hive
}

#[test]
#[ignore = "ends its process: the tests below start it in one of its own"]
fn key_is_replaced_in_a_process_of_its_own() {
    let dir = std::env::var_os(DIR).unwrap();
    actix_rt::System::new().block_on(async {
        let hive = start(Path::new(&dir)).await;
        let key = std::fs::read_to_string(hive.config().admin_key_path()).unwrap();
        let admin = hive.access().authenticate(key.trim(), None).unwrap();
        hive.audit().rotate_key(&admin).await.unwrap();
        hive.shutdown().await;
    });
}

/// Runs the test above in a process that ends at that point.
fn run_until(point: &str, dir: &Path) -> ExitStatus {
    let test = "audit::rotation::tests::key_is_replaced_in_a_process_of_its_own";
    let run = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored"])
        .env(DIR, dir)
        .env("DEIA_FAILPOINT", point)
        .output();
    run.unwrap().status
}

/// Asserts that an auditor who has the first key only finds the trail sound, and that it is
/// signed with the second one now.
fn is_signed_by_the_second(dir: &Path, first: &VerifierKey) {
    let trail = TrailReader::new(dir.join("audit"));
    for keys in [vec![first.clone()], Vec::new()] {
        let verification = Verification {
            keys,
            ..Verification::default()
        };
        let report = Verifier::new(&trail, verification).unwrap().run();
        assert!(report.sound, "{report:#?}");
    }
    let keys = trail.keys().unwrap();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert_eq!(&keys[0], first);
    let newest = trail.checkpoint().unwrap().unwrap();
    assert_eq!(newest.verify(&keys).unwrap(), [&keys[1]]);
}

#[test]
fn change_of_keys_that_was_killed_is_completed_by_the_next_start() {
    for points in [
        &["audit_between_keys"][..],
        &["audit_both_signed"],
        &["audit_between_keys", "audit_new_key_stored"],
        &["audit_both_signed", "audit_new_key_stored"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        actix_rt::System::new().block_on(async {
            start(dir).await.shutdown().await;
        });
        let trail = TrailReader::new(dir.join("audit"));
        let first = trail.keys().unwrap().remove(0);
        for point in points {
            let status = run_until(point, dir);
            assert_eq!(status.signal(), Some(9), "{point}: {status}");
        }
        actix_rt::System::new().block_on(async {
            start(dir).await.shutdown().await;
        });
        is_signed_by_the_second(dir, &first);
        let text = std::fs::read_to_string(config(dir).audit_key_path()).unwrap();
        assert_eq!(text.lines().count(), 1, "{points:?}");
    }
}
