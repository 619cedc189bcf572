//! Work of remote workers: leases on tasks, and reports about them. [`Worker`](super::Worker)
//! makes these calls in the right order.

use std::time::Duration;

use deia_model::{
    BotName, CompletionReport, FailureReport, HeartbeatAnswer, HeartbeatReport, LeaseRequest,
    Leased, OutputAnswer, OutputReport, ReportAnswer, TaskId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Client, ClientError};

impl Client {
    /// Leases tasks of a bot whose executor is `remote`. The hive waits up to `wait_ms` of
    /// the request for the first one, and answers with none if none came. A request with a
    /// `worker` and a `request` may be repeated: it is given the same tasks.
    ///
    /// # Errors
    /// A problem with code `not_found` if there is no such bot, or the key is for another;
    /// `wrong_executor` if the bot is not remote; `invalid_input` for a `wait_ms` above
    /// the hive's `server.max_wait`.
    pub async fn lease_tasks(
        &self,
        bot: &BotName,
        request: &LeaseRequest,
    ) -> Result<Leased, ClientError> {
        self.post(&["api", "v1", "bots", bot.as_str(), "lease"])
            .waiting(Duration::from_millis(request.wait_ms))
            .json(request)?
            .answer()
            .await
    }

    /// Tells that a worker still holds a task. The answer says whether to end it.
    ///
    /// # Errors
    /// A problem with code `stale_lease` if the lease has ended: the task was cancelled, ran
    /// out of time or was given to another worker; `not_found` if it is none of the bot's.
    pub async fn heartbeat_task(
        &self,
        id: TaskId,
        report: &HeartbeatReport,
    ) -> Result<HeartbeatAnswer, ClientError> {
        self.report(id, "heartbeat", report).await
    }

    /// Appends a piece to the output of a task. It may be repeated: what the hive has already
    /// is left out.
    ///
    /// # Errors
    /// A problem with code `stale_lease` or `not_found` as for
    /// [`heartbeat_task`](Self::heartbeat_task); `output_gap` if the offset lies behind the
    /// end of what came so far; `output_too_large` above the hive's
    /// `tasks.max_output_file_bytes`.
    pub async fn append_task_output(
        &self,
        id: TaskId,
        report: &OutputReport,
    ) -> Result<OutputAnswer, ClientError> {
        self.report(id, "output", report).await
    }

    /// Reports that a task succeeded; the result is on disk when this returns. It may be
    /// repeated: `repeated` of the answer is then true.
    ///
    /// # Errors
    /// A problem with code `stale_lease` or `not_found` as for
    /// [`heartbeat_task`](Self::heartbeat_task); `output_too_large`.
    pub async fn complete_task(
        &self,
        id: TaskId,
        report: &CompletionReport,
    ) -> Result<ReportAnswer, ClientError> {
        self.report(id, "complete", report).await
    }

    /// Reports that a task failed; the class decides what follows. It may be repeated, like
    /// [`complete_task`](Self::complete_task).
    ///
    /// # Errors
    /// A problem with code `stale_lease` or `not_found` as for
    /// [`heartbeat_task`](Self::heartbeat_task); `invalid_input` without a reason.
    pub async fn fail_task(
        &self,
        id: TaskId,
        report: &FailureReport,
    ) -> Result<ReportAnswer, ClientError> {
        self.report(id, "fail", report).await
    }

    async fn report<T: DeserializeOwned>(
        &self,
        id: TaskId,
        what: &str,
        report: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.post(&["api", "v1", "tasks", &id.to_string(), what])
            .json(report)?
            .answer()
            .await
    }
}
