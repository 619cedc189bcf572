//! The log of events.

use deia_model::{Event, Page, PageRequest, Timestamp};

use super::{Client, ClientError};

/// A query for events. An event must match every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// An action such as `bot.crashed`, or a kind of them such as `bot`.
    pub action: Option<String>,
    /// The event's target.
    pub target: Option<String>,
    /// The event's actor.
    pub actor: Option<String>,
    /// Recorded then or later.
    pub after: Option<Timestamp>,
    /// Recorded before.
    pub before: Option<Timestamp>,
}

impl Client {
    /// Lists events, the newest first; pages that are short are followed until
    /// `page.limit` events are there or none are left.
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
