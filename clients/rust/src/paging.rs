//! Lists that are longer than a page, and pages that are shorter than requested.

use deia_model::{Page, PageRequest};
use serde::de::DeserializeOwned;

use super::{Client, ClientError, transport::Call};

/// Maximum number of items in one page of the hive.
const PAGE_MAX: u32 = 1_000;

impl Client {
    /// Follows pages until there are `page.limit` items or none are left: a page may be
    /// short, even empty, before the last one. `list` makes the request, without its
    /// `limit` and `cursor`.
    ///
    /// # Errors
    /// [`ClientError`], also when a page leads to itself.
    pub(super) async fn gather<'c, T: DeserializeOwned>(
        &'c self,
        page: &PageRequest,
        list: impl Fn() -> Call<'c>,
    ) -> Result<Page<T>, ClientError> {
        let wanted = page.limit as usize;
        let mut all = Page {
            items: Vec::new(),
            next_cursor: page.cursor.clone(),
        };
        loop {
            let left = wanted.saturating_sub(all.items.len());
            let limit = u32::try_from(left).unwrap_or(u32::MAX).min(PAGE_MAX);
            let more: Page<T> = list()
                .query("limit", Some(limit))
                .query("cursor", all.next_cursor.as_ref())
                .answer()
                .await?;
            if more.next_cursor.is_some() && more.next_cursor == all.next_cursor {
                return Err(self.protocol("its next page is the same page".into()));
            }
            all.items.extend(more.items);
            all.next_cursor = more.next_cursor;
            if all.next_cursor.is_none() {
                return Ok(all);
            }
            if all.items.len() >= wanted {
                // A full page has a cursor even if nothing comes after it.
                let next: Page<serde_json::Value> = list()
                    .query("limit", Some(1))
                    .query("cursor", all.next_cursor.as_ref())
                    .answer()
                    .await?;
                if next.items.is_empty() && next.next_cursor.is_none() {
                    all.next_cursor = None;
                }
                return Ok(all);
            }
        }
    }
}
