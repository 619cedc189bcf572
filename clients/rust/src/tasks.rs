//! Tasks.

use std::time::Duration;

use deia_model::{
    Event, NewTask, Page, PageRequest, Submitted, Task, TaskExplanation, TaskFilter, TaskId,
    TaskLog, TaskResult, join_key,
};
use reqwest::Method;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Client, ClientError, TaskState, transport::Call, wire::BatchAccepted};

const TASKS: [&str; 3] = ["api", "v1", "tasks"];
/// Longest single poll, tried first; the hive's `server.max_wait` is not known here.
/// Fixed: of the client library, whose callers do not depend on it.
pub(super) const POLL: Duration = Duration::from_secs(20);
/// The minimum of `server.max_wait`: a poll that no hive refuses. Fixed: of the client
/// library, whose callers do not depend on it.
pub(super) const SHORT_POLL: Duration = Duration::from_secs(1);
/// Pause before the next poll if the hive answered without waiting. Fixed: of the client
/// library, whose callers do not depend on it.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Batch<'a> {
    tasks: &'a [NewTask],
}

impl Client {
    /// Returns the last lines about a task in the logs of bots, of one attempt or all.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn task_log(
        &self,
        id: TaskId,
        attempt: Option<u32>,
        lines: u32,
    ) -> Result<TaskLog, ClientError> {
        self.get(&["api", "v1", "tasks", &id.to_string(), "logs"])
            .query("attempt", attempt)
            .query("lines", Some(lines))
            .answer()
            .await
    }

    /// Submits a task, which is on disk when this returns. With an idempotency key the
    /// call may be repeated: the task is submitted once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn submit(
        &self,
        task: &NewTask,
        idempotency_key: Option<&str>,
    ) -> Result<Submitted, ClientError> {
        self.post(&["api", "v1", "tasks", "submit"])
            .idempotency_key(idempotency_key)?
            .json(task)?
            .answer()
            .await
    }

    /// Submits tasks, all or none.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn submit_batch(
        &self,
        tasks: &[NewTask],
        idempotency_key: Option<&str>,
    ) -> Result<Vec<TaskId>, ClientError> {
        let accepted: BatchAccepted = self
            .post(&["api", "v1", "tasks", "batch"])
            .idempotency_key(idempotency_key)?
            .json(&Batch { tasks })?
            .answer()
            .await?;
        Ok(accepted.ids)
    }

    /// Lists tasks, newest first, without their content: as many as the page asks for,
    /// in as many requests as necessary.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tasks(
        &self,
        filter: &TaskFilter,
        page: &PageRequest,
    ) -> Result<Page<Task>, ClientError> {
        self.gather(page, || filtered(self.get(&TASKS), filter))
            .await
    }

    /// Lists tasks that failed and can be put back, like [`tasks`](Self::tasks).
    /// Ignores a status in the filter.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn dead_tasks(
        &self,
        filter: &TaskFilter,
        page: &PageRequest,
    ) -> Result<Page<Task>, ClientError> {
        let filter = TaskFilter {
            status: None,
            ..filter.clone()
        };
        self.gather(page, || {
            filtered(self.get(&["api", "v1", "queue", "dead"]), &filter)
        })
        .await
    }

    /// Returns the events of a task, the oldest first; the last 1,000.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn task_events(&self, id: TaskId) -> Result<Page<Event>, ClientError> {
        self.get(&["api", "v1", "tasks", &id.to_string(), "events"])
            .answer()
            .await
    }

    /// Explains why a task has not started, or its current state.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn explain_task(&self, id: TaskId) -> Result<TaskExplanation, ClientError> {
        self.get(&["api", "v1", "tasks", &id.to_string(), "explain"])
            .answer()
            .await
    }

    /// Erases the content and the outcome of a finished task.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict while it has not ended.
    pub async fn erase_task(&self, id: TaskId) -> Result<(), ClientError> {
        let path = ["api", "v1", "tasks", &id.to_string(), "content"];
        self.call(Method::DELETE, &path).done().await
    }

    /// Puts a finished task back into the queue, with all its attempts restored.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict while it has not ended.
    pub async fn retry_task(&self, id: TaskId) -> Result<Task, ClientError> {
        self.post(&["api", "v1", "tasks", &id.to_string(), "retry"])
            .answer()
            .await
    }

    /// Returns a task, content included.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn task(&self, id: TaskId) -> Result<Task, ClientError> {
        self.get(&["api", "v1", "tasks", &id.to_string()])
            .answer()
            .await
    }

    /// Returns the state of a task without its content: the cheapest query about it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn task_status(&self, id: TaskId) -> Result<TaskState, ClientError> {
        self.get(&["api", "v1", "tasks", &id.to_string(), "status"])
            .answer()
            .await
    }

    /// Returns the recorded result of a task. The hive waits for it up to `wait`, and
    /// no longer than its `server.max_wait`.
    ///
    /// # Errors
    /// A problem with code `task_not_finished` if it has not ended by then.
    pub async fn task_result(&self, id: TaskId, wait: Duration) -> Result<TaskResult, ClientError> {
        self.get(&["api", "v1", "tasks", &id.to_string(), "result"])
            .query("wait_ms", (!wait.is_zero()).then_some(wait.as_millis()))
            .waiting(wait)
            .answer()
            .await
    }

    /// Waits for the recorded result of a task, with as many polls as necessary.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] if it has not ended `within` that time.
    pub async fn wait_for_result(
        &self,
        id: TaskId,
        within: Duration,
    ) -> Result<TaskResult, ClientError> {
        let (start, mut longest) = (Instant::now(), POLL);
        loop {
            let left = within.saturating_sub(start.elapsed());
            let (asked_at, wait) = (Instant::now(), left.min(longest));
            match self.task_result(id, wait).await {
                Err(error) if error.has_code("task_not_finished") => {}
                Err(error) if error.has_code("invalid_parameter") && wait > SHORT_POLL => {
                    longest = SHORT_POLL;
                    continue;
                }
                other => return other,
            }
            if start.elapsed() >= within {
                return Err(ClientError::TimedOut {
                    what: format!("{id} has not ended"),
                    after: within,
                });
            }
            if asked_at.elapsed() < wait / 2 {
                sleep(PAUSE.min(within.saturating_sub(start.elapsed()))).await;
            }
        }
    }

    /// Cancels a task; a running one is cancelled as soon as its bot has ended it.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict when it has ended already.
    pub async fn cancel_task(&self, id: TaskId) -> Result<Task, ClientError> {
        self.post(&["api", "v1", "tasks", &id.to_string(), "cancel"])
            .answer()
            .await
    }
}

fn filtered<'c>(call: Call<'c>, filter: &TaskFilter) -> Call<'c> {
    let mut call = call
        .query("status", filter.status.map(|status| status.as_str()))
        .query("type", filter.task_type.as_ref())
        .query(
            "priority",
            filter.priority.map(|p| format!("P{}", p.rank())),
        )
        .query("bot", filter.bot.as_ref())
        .query("submitter", filter.submitter.as_ref())
        .query("reason", filter.end_reason.map(|reason| reason.as_str()))
        .query("session_id", filter.session)
        .query("dedup_key", filter.dedup_key.as_ref())
        .query("created_after", filter.created_after)
        .query("created_before", filter.created_before);
    for tag in &filter.tags {
        call = call.query("tag", Some(tag));
    }
    for (key, value) in &filter.metadata {
        call = call.query("metadata", Some(join_key(key, value, ':')));
    }
    call
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread::JoinHandle,
    };

    use serde_json::json;

    use super::*;

    /// Answers each connection with one of these cursors and no tasks, and returns the
    /// requests.
    fn server(cursors: Vec<Option<&'static str>>) -> (Client, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let answer = |cursor| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = vec![0; 65_536];
                let n = stream.read(&mut asked).unwrap();
                let body = json!({"items": [], "next_cursor": cursor}).to_string();
                let length = body.len();
                let head = format!("content-length: {length}\r\nconnection: close");
                write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").unwrap();
                let asked = String::from_utf8_lossy(&asked[..n]);
                asked.split(' ').nth(1).unwrap_or_default().to_owned()
            };
            cursors.into_iter().map(answer).collect()
        });
        (Client::builder(url).build().unwrap(), thread)
    }

    #[tokio::test]
    async fn short_pages_are_followed_to_the_last() {
        let page = PageRequest {
            limit: 5,
            cursor: None,
        };
        let (client, thread) = server(vec![Some("a"), Some("b"), None]);
        let all = client.tasks(&TaskFilter::default(), &page).await.unwrap();
        assert_eq!((all.items.len(), all.next_cursor), (0, None));
        let asked = thread.join().unwrap();
        let expected = ["", "&cursor=a", "&cursor=b"];
        assert_eq!(
            asked,
            expected.map(|rest| format!("/api/v1/tasks?limit=5{rest}"))
        );
    }

    #[tokio::test]
    async fn a_page_that_leads_to_itself_is_refused() {
        let page = PageRequest {
            limit: 5,
            cursor: Some("a".into()),
        };
        let (client, thread) = server(vec![Some("a")]);
        let refused = client.tasks(&TaskFilter::default(), &page).await;
        assert!(
            matches!(refused, Err(ClientError::Protocol { .. })),
            "{refused:?}"
        );
        thread.join().unwrap();
    }
}
