//! Erasure of the content and the outcome of tasks.

use deia_model::{Action, AttemptEnd, NewTask, TaskId, TaskStatus, Visibility};
use serde_json::json;

use super::{
    actions, claim, end, finish, promote, refused, report, stored, submit, submit_one, task_of,
};
use crate::{Apply, AttemptReport, EraseTask, Ledger, Rejection, RetryTask};

fn erase(task: TaskId) -> EraseTask {
    EraseTask {
        task,
        actor: "bob".into(),
    }
}

pub(crate) async fn content_and_outcome_are_erased_and_the_record_stays(ledger: Ledger) {
    const SAID: &str = "hunter2";
    for (content, last) in [
        (SAID.to_owned(), AttemptEnd::Failed),
        (SAID.repeat(20_000), AttemptEnd::Failed),
        (SAID.to_owned(), AttemptEnd::Succeeded),
    ] {
        let task = NewTask {
            tags: vec!["kept".into()],
            metadata: [(format!("{SAID}-key"), json!({"a": SAID}))].into(),
            dedup_key: Some("kept too".into()),
            ..task_of("general", &content)
        };
        let id = submit(&ledger, vec![task]).await[0].id;
        for end in [AttemptEnd::Failed, last] {
            let claimed = claim(&ledger, id, "b").await.unwrap();
            let said = AttemptReport {
                output: Some(SAID.into()),
                output_bytes: Some(1_000),
                error: (end == AttemptEnd::Failed).then(|| SAID.into()),
                ..report(&claimed, end)
            };
            finish(&ledger, said).await;
            promote(&ledger).await;
        }
        let before = stored(&ledger, id).await;
        let all = |events: &Vec<deia_model::Event>| serde_json::to_string(events).unwrap();
        let events = ledger.task_events(id, Visibility::All).await.unwrap();
        assert!(all(&events).contains(SAID), "it was there");

        assert!(ledger.apply(erase(id)).await.unwrap());
        let task = stored(&ledger, id).await;
        let result = ledger.result(id).await.unwrap().unwrap();
        let after = ledger.task_events(id, Visibility::All).await.unwrap();
        let texts = [
            serde_json::to_string(&task).unwrap(),
            serde_json::to_string(&result).unwrap(),
            all(&after),
        ];
        for text in texts {
            assert!(!text.contains(SAID), "{text}");
        }
        assert!(task.erased_at.is_some() && result.erased_at == task.erased_at);
        assert_eq!((task.content, result.output_bytes), (None, None));
        assert!(task.metadata.is_empty());
        assert_eq!(
            (task.status, task.tags, task.dedup_key, task.attempt),
            (before.status, before.tags, before.dedup_key, 2)
        );
        assert_eq!(task.failed_attempts.len(), before.failed_attempts.len());
        assert_eq!(after.len(), events.len() + 1);
        let last = after.last().unwrap();
        assert_eq!(
            (&last.action, last.actor.as_str()),
            (&Action::TaskErased.into(), "bob")
        );
    }
}

pub(crate) async fn only_finished_tasks_are_erased_and_only_once(ledger: Ledger) {
    let unknown = TaskId::new();
    let rejection = refused(&ledger, erase(unknown)).await;
    assert_eq!(rejection, Rejection::NoSuchTask(unknown));
    let id = submit_one(&ledger).await;
    for status in [TaskStatus::Queued, TaskStatus::Running] {
        if status == TaskStatus::Running {
            claim(&ledger, id, "b").await.unwrap();
        }
        let rejection = refused(&ledger, erase(id)).await;
        assert_eq!(rejection, Rejection::TaskIsUnfinished { task: id, status });
    }
    let other = submit_one(&ledger).await;
    end(&ledger, other, AttemptEnd::Succeeded).await;
    let before = actions(&ledger).await.len();
    for expected in [true, false, false] {
        let done = ledger.apply(erase(other)).await.unwrap();
        assert_eq!(done, expected);
    }
    assert_eq!(actions(&ledger).await.len(), before + 1);
}

pub(crate) async fn erased_tasks_are_not_requeued(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    end(&ledger, id, AttemptEnd::Failed).await;
    ledger.apply(erase(id)).await.unwrap();
    let retry = RetryTask {
        task: id,
        actor: "ada".into(),
        only_failed: false,
        role: deia_model::Role::Admin,
    };
    assert_eq!(refused(&ledger, retry).await, Rejection::TaskIsErased(id));
}
