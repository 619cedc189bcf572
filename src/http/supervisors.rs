//! The supervision tree.

use deia_hive::PartAction;

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
    let path = &call.segment("path");
    let missing = || Problem::not_found("supervised child", path);
    ok(&call.hive().supervisor(path).ok_or_else(missing)?)
}

#[utoipa::path(
    post, path = "/api/v1/supervisors/{path}/restart", tag = "supervisors", operation_id = "restart_supervisor",
    params(("path" = String, Path, description = "Names from the root on, separated by `/`, such as `hive/core/scheduler`")),
    responses((status = 200, description = "It was restarted, with all below it", body = SupervisorNode))
)]
/// Restarts one child of the supervision tree.
pub(super) async fn restart(call: Call) -> Answer {
    act(call, PartAction::Restart).await
}

#[utoipa::path(
    post, path = "/api/v1/supervisors/{path}/suspend", tag = "supervisors", operation_id = "suspend_supervisor",
    params(("path" = String, Path, description = "Names from the root on, separated by `/`, such as `hive/core/scheduler`")),
    responses((status = 200, description = "It is stopped on purpose; its place is kept", body = SupervisorNode))
)]
/// Suspends one child of the supervision tree.
pub(super) async fn suspend(call: Call) -> Answer {
    act(call, PartAction::Suspend).await
}

#[utoipa::path(
    post, path = "/api/v1/supervisors/{path}/resume", tag = "supervisors", operation_id = "resume_supervisor",
    params(("path" = String, Path, description = "Names from the root on, separated by `/`, such as `hive/core/scheduler`")),
    responses((status = 200, description = "It runs again", body = SupervisorNode))
)]
/// Resumes one child of the supervision tree.
pub(super) async fn resume(call: Call) -> Answer {
    act(call, PartAction::Resume).await
}

async fn act(mut call: Call, action: PartAction) -> Answer {
    call.no_body().await?;
    let path = &call.segment("path");
    ok(&call.hive().act_on_part(&call.who, path, action).await?)
}
