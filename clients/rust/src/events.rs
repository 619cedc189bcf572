//! The event log.

use deia_model::{Event, Page, PageRequest, TaskType, Timestamp};

use super::{Client, ClientError, transport::Call};

/// A query for events. An event must match every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// An action such as `bot.crashed`, or a kind of action such as `bot`.
    pub action: Option<String>,
    /// Id or name of the target.
    pub target: Option<String>,
    /// The actor.
    pub actor: Option<String>,
    /// Type of the task.
    pub task_type: Option<TaskType>,
    /// Tags of the task, all of them.
    pub tags: Vec<String>,
    /// Recorded at this time or later.
    pub after: Option<Timestamp>,
    /// Recorded before this time.
    pub before: Option<Timestamp>,
}

impl Client {
    /// Lists events, the newest first; follows short pages until there are `page.limit`
    /// events or none are left.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events(
        &self,
        query: &EventQuery,
        page: &PageRequest,
    ) -> Result<Page<Event>, ClientError> {
        self.gather(page, || {
            self.events_call(query)
                .query("after", query.after)
                .query("before", query.before)
        })
        .await
    }

    /// Creates a request for the events that match, whenever they were recorded.
    pub(super) fn events_call(&self, query: &EventQuery) -> Call<'_> {
        let call = self
            .get(&["api", "v1", "events"])
            .query("action", query.action.as_ref())
            .query("target", query.target.as_ref())
            .query("actor", query.actor.as_ref())
            .query("task_type", query.task_type.as_ref());
        let tags = query.tags.iter();
        tags.fold(call, |call, tag| call.query("tag", Some(tag)))
    }
}
