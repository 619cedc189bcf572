//! Rows that this version cannot decode, as another version may have left them.

use deia_model::{
    Action, AttemptEnd, BotDesired, BotSpec, Dependency, EventAction, LeaseToken, NewTask,
    TaskStatus, Timestamp,
};

use super::*;
use crate::{
    Apply, AttemptReport, Claim, ClaimTasks, Claimed, DeleteBot, Demand, FinishAttempts, PutBot,
    ReleaseLeases, ReportAck, RunDue, SetDesired, Submit,
};

struct Hive {
    dir: tempfile::TempDir,
    store: SqliteStore,
}

impl Hive {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(options(dir.path())).unwrap();
        drop(store.serve().unwrap());
        Self { dir, store }
    }

    fn sql(&self, sql: &str) {
        let db = rusqlite::Connection::open(self.dir.path().join("deia.db")).unwrap();
        db.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
        db.execute_batch(sql).unwrap();
    }

    /// Starts another writer, as after a restart.
    async fn restart(&self) {
        self.store.close().await;
        drop(self.store.serve().unwrap());
    }

    async fn submit(&self, tasks: Vec<NewTask>) -> Vec<TaskId> {
        let command = Submit {
            tasks,
            submitter: "ada".into(),
            idempotency: None,
            role: deia_model::Role::Operator,
        };
        let submission = self.store.apply(command).await.unwrap();
        submission.tasks.into_iter().map(|task| task.id).collect()
    }

    async fn promote(&self) -> u64 {
        let promote = RunDue { limit: 100 };
        self.store.apply(promote).await.unwrap()
    }

    async fn ready(&self) -> Vec<TaskId> {
        let query = ReadyQuery {
            demand: Demand::of_type("general".parse().unwrap()),
            priority: Priority::default(),
            after: i64::MIN,
            limit: 100,
        };
        let ready = self.store.ready(query).await.unwrap();
        ready.into_iter().map(|task| task.id).collect()
    }

    /// Claims all of these tasks as the scheduler does.
    async fn claim(&self, tasks: &[TaskId]) -> Vec<crate::ClaimedTask> {
        let claim = |task: &TaskId| Claim {
            task: *task,
            bot: "b".parse().unwrap(),
            lease: LeaseToken::new(),
            incarnation: 1,
            expires_after: None,
            stands_in_for: None,
        };
        let claims = tasks.iter().map(claim).collect();
        let Claimed { tasks, deferred } = self.store.apply(ClaimTasks(claims)).await.unwrap();
        assert_eq!(deferred, []);
        tasks
    }

    async fn status(&self, id: TaskId) -> TaskStatus {
        self.store.task(id).await.unwrap().unwrap().status
    }

    async fn errors_about(&self, id: TaskId) -> usize {
        let events = self.store.events(0, 10_000).await.unwrap();
        let about = |event: &&Event| {
            event.action == Action::SystemError && event.target.id == id.to_string()
        };
        events.iter().filter(about).count()
    }
}

fn task() -> NewTask {
    let mut task = NewTask::new("general".parse().unwrap(), "x");
    task.tags = vec!["t".into()];
    task
}

/// Ways in which a row of `tasks` may be unreadable for this version.
const BREAKS: &[&str] = &["extra = '{'", "type = 'A type!'", "priority = 9"];

#[tokio::test]
async fn due_tasks_that_cannot_be_read_are_skipped() {
    for (broken, mended) in [
        ("extra = '{'", "extra = NULL"),
        ("priority = 9", "priority = 1"),
    ] {
        let hive = Hive::new();
        let mut delayed = task();
        delayed.run_at = Some(Timestamp::now().plus_millis(3_600_000));
        let ids = hive.submit(vec![delayed; 3]).await;
        hive.sql("UPDATE tasks SET run_at = 5");
        hive.sql(&format!("UPDATE tasks SET {broken} WHERE seq = 1"));
        assert_eq!(hive.promote().await, 2, "{broken}");
        assert_eq!(hive.ready().await, ids[1..]);
        // The task is not due again and again, and is logged once.
        assert_eq!(hive.store.next_due().await.unwrap(), None);
        assert_eq!(hive.promote().await, 0);
        assert_eq!(hive.errors_about(ids[0]).await, 1);
        // A version that can decode the task continues with it.
        hive.sql(&format!("UPDATE tasks SET {mended} WHERE seq = 1"));
        hive.restart().await;
        assert_eq!(hive.promote().await, 1);
        assert_eq!(hive.status(ids[0]).await, TaskStatus::Queued);
    }
}

#[tokio::test]
async fn claims_skip_unreadable_tasks_once() {
    for broken in BREAKS {
        let hive = Hive::new();
        let ids = hive.submit(vec![task(); 3]).await;
        hive.sql(&format!("UPDATE tasks SET {broken} WHERE seq = 2"));
        let claimed = hive.claim(&ids).await;
        assert_eq!(claimed.len(), 2, "{broken}");
        assert_eq!(hive.ready().await, [], "{broken}");
        assert_eq!(hive.errors_about(ids[1]).await, 1);
        let page = PageRequest {
            cursor: None,
            limit: 10,
        };
        let listed = hive
            .store
            .tasks(Visibility::All, TaskFilter::default(), page);
        assert_eq!(listed.await.unwrap().items.len(), 2);
        hive.store.queue().await.unwrap();
    }
}

#[tokio::test]
async fn ends_are_recorded_beside_a_row_that_cannot_be_read() {
    for broken in BREAKS {
        let hive = Hive::new();
        let ids = hive.submit(vec![task(); 4]).await;
        let claimed = hive.claim(&ids).await;
        hive.sql(&format!("UPDATE tasks SET {broken} WHERE seq = 1"));
        let reports = claimed[..2]
            .iter()
            .map(|claimed| AttemptReport::given_back(claimed, "x"))
            .collect();
        let ends = hive.store.apply(FinishAttempts(reports)).await.unwrap();
        assert_eq!(ends[1], ReportAck::Recorded(TaskStatus::Queued));
        // The same holds for the start after a crash.
        hive.restart().await;
        let bots = hive.store.bots_with_running_tasks().await.unwrap();
        let give_back = ReleaseLeases {
            bots,
            started_before: None,
            end: AttemptEnd::GivenBack,
            reason: "x".into(),
        };
        hive.store.apply(give_back).await.unwrap();
        for id in &ids[1..] {
            assert_eq!(hive.status(*id).await, TaskStatus::Queued, "{broken}");
        }
    }
}

#[tokio::test]
async fn a_dependent_that_cannot_be_read_is_settled_when_it_can() {
    let hive = Hive::new();
    let parent = hive.submit(vec![task()]).await[0];
    let mut child = task();
    child.depends_on = vec![Dependency::Task(parent)];
    let children = hive.submit(vec![child; 2]).await;
    hive.sql("UPDATE tasks SET extra = '{' WHERE seq = 2");
    let claimed = hive.claim(&[parent]).await.remove(0);
    let report = AttemptReport {
        end: AttemptEnd::Succeeded,
        ..AttemptReport::given_back(&claimed, "x")
    };
    hive.store
        .apply(FinishAttempts(vec![report]))
        .await
        .unwrap();
    hive.promote().await;
    assert_eq!(hive.status(children[1]).await, TaskStatus::Queued);
    assert_eq!(hive.store.next_due().await.unwrap(), None);
    hive.sql("UPDATE tasks SET extra = NULL WHERE seq = 2");
    hive.restart().await;
    hive.promote().await;
    assert_eq!(hive.status(children[0]).await, TaskStatus::Queued);
}

#[tokio::test]
async fn a_bot_that_cannot_be_read_hides_no_other() {
    let hive = Hive::new();
    let spec: BotSpec = serde_json::from_value(serde_json::json!({
        "executor": {"kind": "simulated"}, "capabilities": {"specializations": ["general"]}}))
    .unwrap();
    let put = |name: &str| PutBot {
        name: name.parse().unwrap(),
        spec: spec.clone(),
        actor: "ada".into(),
        if_version: None,
        ports: crate::BotPorts {
            first: 7_000,
            last: 8_000,
            in_use: Vec::new(),
        },
        max_bots: 10,
    };
    for name in ["a", "b", "c"] {
        hive.store.apply(put(name)).await.unwrap();
    }
    hive.sql(
        r#"UPDATE bots SET spec = '{"executor":{"kind":"from_the_future"}}' WHERE name = 'b'"#,
    );
    let names: Vec<String> = hive
        .store
        .bots()
        .await
        .unwrap()
        .into_iter()
        .map(|bot| bot.name.to_string())
        .collect();
    assert_eq!(names, ["a", "c"]);
    let stop = SetDesired {
        name: "a".parse().unwrap(),
        desired: BotDesired::Stopped,
        actor: "ada".into(),
    };
    hive.store.apply(stop).await.unwrap();
    // The bot can be replaced and deleted all the same.
    let delete = DeleteBot {
        name: "b".parse().unwrap(),
        actor: "ada".into(),
    };
    hive.store.apply(put("b")).await.unwrap();
    assert_eq!(hive.store.bots().await.unwrap().len(), 3);
    hive.sql("UPDATE bots SET spec = '{' WHERE name = 'b'");
    hive.store.apply(delete).await.unwrap();
}

#[tokio::test]
async fn events_of_another_version_are_read_as_they_are() {
    let hive = Hive::new();
    let id = hive.submit(vec![task()]).await[0];
    hive.sql("UPDATE events SET action = 'task.dreamt', details = '{' WHERE seq = 1");
    for events in [
        hive.store.events(0, 10).await.unwrap(),
        hive.store.task_events(id, Visibility::All).await.unwrap(),
    ] {
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].action, EventAction::Other("task.dreamt".into()));
        assert_eq!(events[0].details, "{");
    }
}

#[tokio::test]
async fn a_store_opens_with_counters_that_cannot_be_read() {
    let hive = Hive::new();
    hive.submit(vec![task()]).await;
    hive.sql("INSERT INTO task_counts VALUES ('A type!', 1, 1, 1), ('general', 1, 77, 1)");
    hive.restart().await;
    hive.submit(vec![task()]).await;
    assert_eq!(hive.store.ready_lanes().await.unwrap().len(), 1);
    assert_eq!(hive.store.queue().await.unwrap().lanes.len(), 1);
}
