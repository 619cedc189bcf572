//! The moments that can be restored: over HTTP and offline, and those that are refused.

use std::{collections::BTreeSet, time::Duration};

use deia_model::Timestamp;
use serde_json::{Value, json};

use super::{Archived, tasks_in};
use crate::support::task;

/// A hive with three tasks, each submitted on its own, and their submissions.
struct Three {
    archived: Archived,
    /// A point after the first task.
    point: String,
    tasks: Vec<String>,
    /// Numbers of the events of their submissions.
    seqs: Vec<u64>,
    /// A time after the second task.
    between: Timestamp,
}

impl Three {
    async fn start() -> Self {
        let archived = Archived::start(&[]).await;
        let app = &archived.app;
        let mut tasks = vec![app.submit(&task("0")).await];
        let point = archived.mark().await;
        tasks.push(app.submit(&task("1")).await);
        let between = Timestamp::now();
        // Sleeps: the next commit has a later time.
        tokio::time::sleep(Duration::from_millis(20)).await;
        tasks.push(app.submit(&task("2")).await);
        archived.until_archived().await;
        let mut seqs = Vec::new();
        for id in &tasks {
            let path = format!("/api/v1/tasks/{id}/events");
            let events = app.get(&path).await.is(200).body;
            assert_eq!(events["items"][0]["timeline"], 1);
            seqs.push(events["items"][0]["seq"].as_u64().unwrap());
        }
        Self {
            archived,
            point,
            tasks,
            seqs,
            between,
        }
    }

    fn first(&self, count: usize) -> BTreeSet<String> {
        self.tasks[..count].iter().cloned().collect()
    }

    /// Restores over HTTP, and returns the restored tasks.
    async fn restored(&self, from: &str, name: &str, moment: &Value) -> BTreeSet<String> {
        let to = self.archived.dir.path().join(name);
        let mut body = moment.clone();
        body["to"] = json!(to);
        let path = format!("/api/disaster-recovery/restore/{from}");
        self.archived.app.post(&path, &body).await.is(202);
        let job = self.archived.job().await;
        assert_eq!(job["state"], "succeeded", "{moment}: {job}");
        assert_eq!(job["report"]["compared_with"], "store", "{job}");
        tasks_in(&to).await
    }
}

#[tokio::test]
async fn each_moment_is_restored_over_http_and_offline() {
    let three = Three::start().await;
    let (seq, id) = (three.seqs[1], &three.tasks[1]);
    let table = [
        ("event", format!("{seq}"), 2),
        ("event", format!("1.{seq}"), 2),
        ("before_event", format!("1.{seq}"), 1),
        ("at", three.between.to_string(), 2),
        ("task", id.clone(), 2),
        ("before_task", id.clone(), 1),
    ];
    for (index, (name, value, count)) in table.iter().enumerate() {
        let option = format!("--{}", name.replace('_', "-"));
        let offline = format!("offline-{index}");
        let options = [option.as_str(), value];
        let found = three.archived.restored_tasks(&offline, &options).await;
        assert_eq!(found, three.first(*count), "{option} {value}");
        for from in ["newest", &three.point] {
            let dir = format!("http-{index}-{from}");
            let moment = json!({ *name: value });
            let found = three.restored(from, &dir, &moment).await;
            assert_eq!(found, three.first(*count), "{from} {moment}");
        }
    }
    let found = three.restored("newest", "newest", &json!({})).await;
    assert_eq!(found, three.first(3));
    let found = three.restored(&three.point, "point", &json!({})).await;
    assert_eq!(found, three.first(1));
}

#[tokio::test]
async fn moments_that_the_archive_does_not_have_are_refused_with_those_that_it_has() {
    let three = Three::start().await;
    let app = &three.archived.app;
    let seq = three.seqs[1];
    let newest = "/api/disaster-recovery/restore/newest";
    let of_point = format!("/api/disaster-recovery/restore/{}", three.point);
    let unknown = deia_model::TaskId::new().to_string();
    let tomorrow = Timestamp::from_millis(Timestamp::now().as_millis() + 86_400_000);
    let reach = "the archive can restore from event 1.";
    for (path, moment, pointers, words) in [
        (
            newest,
            json!({"at": "2001-01-01T00:00:00Z"}),
            vec!["/at"],
            reach,
        ),
        (newest, json!({"at": tomorrow}), vec!["/at"], "future"),
        (newest, json!({"event": "999999"}), vec!["/event"], reach),
        (
            newest,
            json!({"before_event": format!("2.{seq}")}),
            vec!["/before_event"],
            "of another history",
        ),
        (
            newest,
            json!({"task": unknown}),
            vec!["/task"],
            "name an event or a time",
        ),
        (
            newest,
            json!({"event": "0"}),
            vec!["/event"],
            "number of an event",
        ),
        (
            &of_point,
            json!({"event": three.seqs[0].to_string(), "to": "/tmp/x"}),
            vec![],
            "",
        ),
        (
            newest,
            json!({"event": "1", "task": unknown}),
            vec!["/event", "/task"],
            "only moment",
        ),
    ] {
        let mut body = moment.clone();
        body["to"] = json!("/nowhere/at/all");
        let answer = app.post(path, &body).await;
        if pointers.is_empty() {
            // The commit of the point itself.
            answer.is(202);
            three.archived.job().await;
            continue;
        }
        let text = answer.body.to_string();
        assert!(text.contains(words), "{moment}: {text}");
        assert_eq!(answer.is(422).pointers(), pointers, "{moment}");
    }
    app.post(
        "/api/disaster-recovery/restore/oldest",
        &json!({"to": "in_place"}),
    )
    .await
    .is(404);
    let other = format!("2.{seq}");
    for (options, words) in [
        (vec!["--event", "999999"], reach),
        (vec!["--at", "2001-01-01T00:00:00Z"], reach),
        (vec!["--event", &other], "of another history"),
        (vec!["--before-task", &unknown], "name an event or a time"),
        (
            vec!["--event", "1", "--at", "2001-01-01T00:00:00Z"],
            "cannot be used with",
        ),
    ] {
        let refused = three.archived.restore("refused", &options);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{options:?}");
        assert!(said.contains(words), "{options:?}: {said}");
    }
}
