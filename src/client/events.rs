//! The log of events.

use deia_hive::model::{Event, Page, PageRequest, Timestamp};

use super::{Client, ClientError};

/// No page has more events.
const PAGE_MAX: u32 = 1_000;

/// Which events are wanted; all of what is given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// An action such as `bot.crashed`, or a kind of them such as `bot`.
    pub action: Option<String>,
    /// What it was done to.
    pub target: Option<String>,
    /// Who did it.
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
        let wanted = page.limit as usize;
        let mut all = Page {
            items: Vec::new(),
            next_cursor: page.cursor.clone(),
        };
        loop {
            let left = wanted.saturating_sub(all.items.len());
            let limit = u32::try_from(left).unwrap_or(u32::MAX).min(PAGE_MAX);
            let more: Page<Event> = self
                .get(&["api", "v1", "events"])
                .query("action", query.action.as_ref())
                .query("target", query.target.as_ref())
                .query("actor", query.actor.as_ref())
                .query("after", query.after)
                .query("before", query.before)
                .query("limit", Some(limit))
                .query("cursor", all.next_cursor.as_ref())
                .answer()
                .await?;
            if more.next_cursor.is_some() && more.next_cursor == all.next_cursor {
                return Err(self.protocol("its next page is the one that it answered".into()));
            }
            all.items.extend(more.items);
            all.next_cursor = more.next_cursor;
            if all.next_cursor.is_none() || all.items.len() >= wanted {
                return Ok(all);
            }
        }
    }
}
