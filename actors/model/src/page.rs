//! Cursor pagination.

use serde::{Deserialize, Serialize};

/// The requested part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Maximum number of items, 1 to 1,000.
    pub limit: u32,
    /// The `next_cursor` of the previous page, absent for the first.
    pub cursor: Option<String>,
}

/// One page of a list in a stable order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items; the newest first in lists of events and tasks.
    pub items: Vec<T>,
    /// Cursor of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
