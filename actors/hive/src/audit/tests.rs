//! The audit trail of a whole hive.

use std::path::{Path, PathBuf};

use deia_ledger::{Apply, RecordEvents};
use deia_model::{Action, AlertName, NewEvent, PageRequest};
use deia_trail::{TrailReader, entry::Entry, proof};

use crate::{
    HiveError,
    testing::{TestHive, until},
};

fn audit_of(hive: &TestHive) -> PathBuf {
    hive.config().audit_dir()
}

/// Returns the entries that the newest checkpoint covers, after a check of its root.
fn entries(dir: &Path) -> Vec<Entry> {
    let trail = TrailReader::new(dir);
    let signed = trail.checkpoint().unwrap().unwrap();
    signed.verify(&trail.keys().unwrap()).unwrap();
    let head = signed.checkpoint.head;
    let root = proof::root(&trail.tree(head.size), head.size).unwrap();
    assert_eq!(root, Some(head.root));
    let bundles = (0..head.size.div_ceil(256)).map(|n| trail.bundle(n, head.size).unwrap());
    let all = bundles.flat_map(|bundle| {
        let parsed = bundle.iter().map(|entry| Entry::parse(entry).unwrap());
        parsed.collect::<Vec<_>>()
    });
    all.collect()
}

/// Asserts that the trail has every event of the store once, in order.
async fn has_every_event(hive: &TestHive) {
    let ledger = &hive.ledger();
    let newest = until("all is sealed", async || {
        let head = ledger.log_head().await.unwrap().seq;
        (hive.audit().progress().seq == head).then_some(head)
    })
    .await;
    let events = ledger.events(0, u32::MAX).await.unwrap();
    let expected: Vec<_> = events.iter().map(deia_model::Event::position).collect();
    assert_eq!(expected.len() as u64, newest);
    let found: Vec<_> = entries(&audit_of(hive))
        .iter()
        .filter(|entry| entry.timeline > 0)
        .map(Entry::position)
        .collect();
    assert_eq!(found, expected);
}

fn block_on<F: Future<Output = ()>>(test: F) {
    actix_rt::System::new().block_on(test);
}

#[test]
fn every_event_has_an_entry_across_restarts() {
    block_on(async {
        let mut hive = TestHive::start().await;
        for _ in 0..3 {
            hive.simulated("b").await;
            for _ in 0..20 {
                hive.submit_one().await;
            }
            has_every_event(&hive).await;
            hive.shutdown().await;
            let size = entries(&audit_of(&hive)).len();
            hive = hive.start_again().await;
            assert!(entries(&audit_of(&hive)).len() >= size);
        }
        has_every_event(&hive).await;
        hive.shutdown().await;
    });
}

#[test]
fn quiet_restart_admits_changes() {
    block_on(async {
        let hive = TestHive::start().await;
        has_every_event(&hive).await;
        hive.shutdown().await;
        let hive = hive.start_again().await;
        let limit = std::time::Duration::from_secs(1);
        until("nothing waits", async || {
            let waits = hive.audit().lag() > limit || hive.audit().progress().seq == 0;
            (!waits).then_some(())
        })
        .await;
        // Sleeps: longer than events may wait for their entries, if any did.
        tokio::time::sleep(limit * 2).await;
        assert!(hive.audit().lag() < limit);
        has_every_event(&hive).await;
        hive.shutdown().await;
    });
}

#[test]
fn trail_that_cannot_be_written_closes_and_opens_again() {
    block_on(async {
        let hive = TestHive::start_with(&[("alerts.look_every", "1s")]).await;
        has_every_event(&hive).await;
        hive.audit().admits_changes().unwrap();
        // A file in the place of a directory: no bundle can be written.
        let partials = audit_of(&hive).join("tile/entries/000.p");
        let aside = audit_of(&hive).join("aside");
        std::fs::rename(&partials, &aside).unwrap();
        std::fs::write(&partials, "").unwrap();
        let task = hive.submit_one().await;
        let refusal = until("it closes", async || hive.audit().admits_changes().err()).await;
        assert!(
            matches!(refusal, HiveError::AuditUnavailable(_)),
            "{refusal}"
        );
        // Tasks go on, and a person is told.
        hive.submit_one().await;
        let raised = async || {
            let page = PageRequest {
                limit: 10,
                cursor: None,
            };
            let open = hive.alerts().list(true, page).await.unwrap().items;
            open.into_iter()
                .find(|alert| alert.name == AlertName::AuditFailing.as_str())
        };
        until("the alert is raised", raised).await;
        std::fs::remove_file(&partials).unwrap();
        std::fs::rename(&aside, &partials).unwrap();
        until("it opens", async || hive.audit().admits_changes().ok()).await;
        has_every_event(&hive).await;
        let of_task = |entry: &Entry| entry.target.id == task.to_string();
        assert!(entries(&audit_of(&hive)).iter().any(of_task));
        hive.shutdown().await;
    });
}

#[test]
fn trail_that_is_gone_or_rolled_back_is_followed_by_a_new_log() {
    block_on(async {
        let hive = TestHive::start().await;
        has_every_event(&hive).await;
        let dir = audit_of(&hive);
        hive.shutdown().await;
        let backup = dir.with_file_name("backup");
        copy(&dir, &backup);

        // Later entries are lost with the copy that is put back.
        let hive = hive.start_again().await;
        hive.submit_one().await;
        has_every_event(&hive).await;
        hive.shutdown().await;
        let lost = TrailReader::new(&dir).checkpoint().unwrap().unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        copy(&backup, &dir);
        let hive = hive.start_again().await;
        let new = until("a new log is sealed", async || {
            let signed = TrailReader::new(&dir).checkpoint().ok()??;
            (signed.checkpoint.origin != lost.checkpoint.origin).then_some(signed)
        })
        .await;
        let follows = format!("{}/2-", lost.checkpoint.origin);
        assert!(new.checkpoint.origin.starts_with(&follows));
        let first = &entries(&dir)[0];
        assert_eq!(
            (&*first.action, &*first.target.id),
            ("audit.began", &*lost.note.to_text())
        );
        let former = TrailReader::new(dir.with_file_name("audit-former").join("1"));
        assert!(former.checkpoint().unwrap().is_some());
        until("it is recorded", async || {
            let all = entries(&dir);
            all.iter()
                .any(|it| it.action == "audit.began" && it.timeline > 0)
                .then_some(())
        })
        .await;
        hive.shutdown().await;

        // The same without any copy.
        std::fs::remove_dir_all(&dir).unwrap();
        let hive = hive.start_again().await;
        let third = until("a third log is sealed", async || {
            TrailReader::new(&dir).checkpoint().ok()?
        })
        .await;
        let follows = format!("{}/3-", lost.checkpoint.origin);
        assert!(third.checkpoint.origin.starts_with(&follows));
        hive.shutdown().await;
    });
}

#[test]
fn trail_beside_an_older_store_goes_on_in_a_new_history() {
    block_on(async {
        let hive = TestHive::start().await;
        has_every_event(&hive).await;
        let dir = hive.config().data_dir.clone();
        hive.shutdown().await;
        let store = dir.join("deia.db");
        let backup = dir.join("deia.db.backup");
        std::fs::copy(&store, &backup).unwrap();
        let hive = hive.start_again().await;
        for _ in 0..5 {
            hive.submit_one().await;
        }
        has_every_event(&hive).await;
        hive.shutdown().await;
        let before = entries(&dir.join("audit"));
        for name in ["deia.db-wal", "deia.db-shm"] {
            let _ = std::fs::remove_file(dir.join(name));
        }
        std::fs::copy(&backup, &store).unwrap();

        let hive = hive.start_again().await;
        hive.submit_one().await;
        let newest = until("the events of the new history are sealed", async || {
            let all = entries(&dir.join("audit"));
            let last = all.last()?.clone();
            (last.timeline == 2 && last.action == "task.submitted").then_some(all)
        })
        .await;
        assert_eq!(newest[..before.len()], before, "nothing is rolled back");
        hive.audit().admits_changes().unwrap();
        hive.shutdown().await;
    });
}

#[test]
fn key_is_replaced_with_the_signatures_of_both() {
    block_on(async {
        let hive = TestHive::start().await;
        has_every_event(&hive).await;
        let trail = TrailReader::new(audit_of(&hive));
        let old = trail.keys().unwrap();
        let new = hive.audit().rotate_key(&hive.admin).await.unwrap();
        let keys = trail.keys().unwrap();
        assert_eq!(keys[..1], old);
        assert_eq!(keys[1].to_string(), new);
        let both = trail.history().unwrap().into_iter().any(|line| {
            let note = line.unwrap().checkpoint;
            let signed = deia_trail::checkpoint::SignedCheckpoint::parse(&note).unwrap();
            signed.verify(&keys).unwrap().len() == 2
        });
        assert!(both);
        let rotated = |entry: &Entry| entry.action == "audit.key_rotated" && entry.target.id == new;
        assert!(entries(&audit_of(&hive)).iter().any(rotated));
        let signed = trail.checkpoint().unwrap().unwrap();
        assert_eq!(signed.verify(&keys).unwrap(), [&keys[1]]);
        hive.shutdown().await;
        let hive = hive.start_again().await;
        has_every_event(&hive).await;
        hive.shutdown().await;
    });
}

#[test]
fn missing_key_is_not_replaced() {
    block_on(async {
        let hive = TestHive::start().await;
        has_every_event(&hive).await;
        let key = hive.config().audit_key_path();
        hive.shutdown().await;
        let text = std::fs::read(&key).unwrap();
        std::fs::remove_file(&key).unwrap();
        let hive = hive.start_again().await;
        let refusal = until("it closes", async || hive.audit().admits_changes().err()).await;
        assert!(
            refusal.to_string().contains("audit.key is missing"),
            "{refusal}"
        );
        assert!(!key.exists());
        std::fs::write(&key, text).unwrap();
        until("it opens", async || hive.audit().admits_changes().ok()).await;
        has_every_event(&hive).await;
        hive.shutdown().await;
    });
}

#[test]
fn burst_is_entered_whole() {
    block_on(async {
        let hive = TestHive::start().await;
        let ledger = hive.ledger();
        let some = || {
            let event = NewEvent::new(Action::BotCrashed, "ada", "b");
            RecordEvents(vec![event.details(serde_json::json!({"n": 1})); 5_000])
        };
        for _ in 0..8 {
            ledger.apply(some()).await.unwrap();
        }
        has_every_event(&hive).await;
        assert!(ledger.hive_id().len() > 1);
        hive.shutdown().await;
    });
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn log_that_waits_for_the_trail_accepts_no_tasks_beyond_its_size() {
    block_on(async {
        let hive = TestHive::start_with(&[("events.max_bytes", "16MiB")]).await;
        has_every_event(&hive).await;
        let partials = audit_of(&hive).join("tile/entries/000.p");
        let aside = audit_of(&hive).join("aside");
        std::fs::rename(&partials, &aside).unwrap();
        std::fs::write(&partials, "").unwrap();
        let long = || {
            let event = NewEvent::new(Action::BotCrashed, "deia", "b");
            let details = serde_json::json!({"error": "x".repeat(4_000)});
            RecordEvents(vec![event.details(details); 1_000])
        };
        for _ in 0..6 {
            hive.ledger().apply(long()).await.unwrap();
        }
        let submit = async || {
            let task = deia_model::NewTask::new("general".parse().unwrap(), "x");
            hive.tasks().submit(&hive.admin, vec![task], None).await
        };
        let refusal = until("submissions are refused", async || submit().await.err()).await;
        assert!(
            matches!(refusal, HiveError::AuditUnavailable(_)),
            "{refusal}"
        );
        std::fs::remove_file(&partials).unwrap();
        std::fs::rename(&aside, &partials).unwrap();
        until("submissions are accepted", async || submit().await.ok()).await;
        hive.shutdown().await;
    });
}
