//! The demands of a route on its requests.

use deia_model::Permission;

use crate::http::guard::class::RouteClass;

/// The access that a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: a health probe, or the page that shows the API.
    Open,
    /// Any key in force.
    AnyKey,
    /// A key whose role has this permission.
    Needs(Permission),
}

/// The demands of one route.
#[derive(Clone, Copy)]
pub(crate) struct RoutePolicy {
    pub(crate) access: Access,
    pub(crate) class: RouteClass,
    /// The query parameters that the route takes; any query when absent.
    pub(crate) query: Option<&'static [String]>,
}
