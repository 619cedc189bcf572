//! The event log.

use deia_model::{Event, Page, PageRequest, Timestamp};

use super::{Client, ClientError};

/// A query for events. An event must match every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// An action such as `bot.crashed`, or a kind of action such as `bot`.
    pub action: Option<String>,
    /// Id or name of the target.
    pub target: Option<String>,
    /// The actor.
    pub actor: Option<String>,
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
            self.get(&["api", "v1", "events"])
                .query("action", query.action.as_ref())
                .query("target", query.target.as_ref())
                .query("actor", query.actor.as_ref())
                .query("after", query.after)
                .query("before", query.before)
        })
        .await
    }
}
