//! Lists that are longer than a page, and pages that are shorter than requested.

use deia_model::{AuditPage, Page, PageRequest};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Client, ClientError, transport::Call};

/// Maximum number of items in one page of the hive. Fact: the API, whose schema states
/// it.
const PAGE_MAX: u32 = 1_000;

/// A page that others can be joined to.
pub(super) trait Joined: DeserializeOwned {
    /// Returns the number of items.
    fn len(&self) -> usize;
    /// Returns the cursor of the next page.
    fn next_cursor(&mut self) -> &mut Option<String>;
    /// Adds the next page.
    fn join(&mut self, next: Self);
}

impl<T: DeserializeOwned> Joined for Page<T> {
    fn len(&self) -> usize {
        self.items.len()
    }

    fn next_cursor(&mut self) -> &mut Option<String> {
        &mut self.next_cursor
    }

    fn join(&mut self, next: Self) {
        self.items.extend(next.items);
        self.next_cursor = next.next_cursor;
    }
}

impl Joined for AuditPage {
    fn len(&self) -> usize {
        self.items.len()
    }

    fn next_cursor(&mut self) -> &mut Option<String> {
        &mut self.next_cursor
    }

    /// The earlier page says how far the index was: with that of the later one, records in
    /// between would be taken for absent.
    fn join(&mut self, next: Self) {
        self.items.extend(next.items);
        self.next_cursor = next.next_cursor;
        for part in next.unreadable {
            if !self.unreadable.contains(&part) {
                self.unreadable.push(part);
            }
        }
    }
}

/// The part of a page that says if there is anything.
#[derive(Deserialize)]
struct Rest {
    items: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    next_cursor: Option<String>,
}

impl Client {
    /// Follows pages until there are `page.limit` items or none are left: a page may be
    /// short, even empty, before the last one. `list` makes the request, without its
    /// `limit` and `cursor`.
    ///
    /// # Errors
    /// [`ClientError`], also when a page leads to itself.
    pub(super) async fn gather<'c, P: Joined>(
        &'c self,
        page: &PageRequest,
        list: impl Fn() -> Call<'c>,
    ) -> Result<P, ClientError> {
        let wanted = page.limit as usize;
        let (mut all, mut cursor) = (None::<P>, page.cursor.clone());
        loop {
            let left = wanted.saturating_sub(all.as_ref().map_or(0, Joined::len));
            let limit = u32::try_from(left).unwrap_or(u32::MAX).min(PAGE_MAX);
            let mut more: P = list()
                .query("limit", Some(limit))
                .query("cursor", cursor.as_ref())
                .answer()
                .await?;
            let next = more.next_cursor().clone();
            if next.is_some() && next == cursor {
                return Err(self.protocol("its next page is the same page".into()));
            }
            let mut joined = match all.take() {
                None => more,
                Some(mut before) => {
                    before.join(more);
                    before
                }
            };
            if next.is_none() {
                return Ok(joined);
            }
            if joined.len() >= wanted {
                // A full page has a cursor even if nothing comes after it.
                let rest: Rest = list()
                    .query("limit", Some(1))
                    .query("cursor", next.as_ref())
                    .answer()
                    .await?;
                if rest.items.is_empty() && rest.next_cursor.is_none() {
                    *joined.next_cursor() = None;
                }
                return Ok(joined);
            }
            (all, cursor) = (Some(joined), next);
        }
    }
}
