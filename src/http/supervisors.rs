//! The supervision tree.

use super::{
    call::Call,
    catalogue::Code,
    dto::SupervisorNode,
    problem::Problem,
    route::{Answer, ok},
};

#[utoipa::path(
    get, path = "/api/v1/supervisors", tag = "supervisors", operation_id = "get_supervisors",
    responses((status = 200, description = "The whole tree, live", body = SupervisorNode))
)]
/// Reads the whole supervision tree.
pub(super) async fn tree(call: Call) -> Answer {
    let starting = || Problem::new(Code::Unavailable, "the tree is starting");
    ok(&call.hive().supervisors().ok_or_else(starting)?)
}

#[utoipa::path(
    get, path = "/api/v1/supervisors/{path}", tag = "supervisors", operation_id = "get_supervisor",
    params(("path" = String, Path, description = "Names from the root on, separated by `/`, such as `hive/core/scheduler`")),
    responses((status = 200, description = "The child at that path and all below it, live", body = SupervisorNode))
)]
/// Reads one child of the supervision tree.
pub(super) async fn node(call: Call) -> Answer {
    let path = call.segment("path");
    let missing = || Problem::not_found("supervised child", path);
    ok(&call.hive().supervisor(path).ok_or_else(missing)?)
}
