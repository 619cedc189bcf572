//! Cursor pagination.

use serde::{Deserialize, Serialize};

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many items, 1 to 1,000.
    pub limit: u32,
    /// The `next_cursor` of the page before, absent for the first.
    pub cursor: Option<String>,
}

/// One page of a list in a stable order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items, newest first where the list is of things that happened.
    pub items: Vec<T>,
    /// Hand this back as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
