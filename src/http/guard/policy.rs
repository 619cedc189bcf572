//! What a route demands of its requests.

use deia_model::Permission;

use crate::http::guard::class::RouteClass;

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: a health probe, or the page that shows the API.
    Open,
    /// Any key in force.
    AnyKey,
    /// A key whose role has this permission.
    Needs(Permission),
}

/// What a row asks of its requests.
#[derive(Clone, Copy)]
pub(crate) struct RoutePolicy {
    pub(crate) access: Access,
    pub(crate) query: &'static [&'static str],
    pub(crate) class: RouteClass,
}
