//! The supervision tree.

use deia_client::{Arbiter, Items, SupervisorNode};
use deia_hive::PartAction;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::{
    body::{
        answer::{Answer, ok},
        catalogue::Code,
        json::decode,
        problem::{Problem, refuse_secret},
    },
    context::RequestCtx,
};

/// The reason why something is suspended.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SuspendBody {
    /// Why, for whoever looks at the tree: at most 1,024 characters.
    #[serde(default)]
    #[schema(max_length = 1024)]
    reason: Option<String>,
}

#[utoipa::path(
    get, path = "/api/v1/arbiters", tag = "supervisors", operation_id = "list_arbiters",
    responses((status = 200, description = "The threads that actors run on, that of the supervisors first", body = Items<Arbiter>))
)]
/// Lists the threads that actors run on.
pub(crate) async fn arbiters(call: RequestCtx) -> Answer {
    ok(&Items {
        items: call.hive().operations().arbiters(),
    })
}

#[utoipa::path(
    get, path = "/api/v1/supervisors", tag = "supervisors", operation_id = "get_supervisors",
    responses((status = 200, description = "The whole tree, live", body = SupervisorNode))
)]
/// Reads the whole supervision tree.
pub(crate) async fn tree(call: RequestCtx) -> Answer {
    let starting = || Problem::new(Code::Unavailable, "the tree is starting");
    ok(&call.hive().operations().supervisors().ok_or_else(starting)?)
}

#[utoipa::path(
    get, path = "/api/v1/supervisors/{path}", tag = "supervisors", operation_id = "get_supervisor",
    params(("path" = String, Path, description = "Names from the root on, separated by `/`, such as `hive/core/scheduler`")),
    responses((status = 200, description = "The child at that path and all below it, live", body = SupervisorNode))
)]
/// Reads one child of the supervision tree.
pub(crate) async fn node(call: RequestCtx) -> Answer {
    let path = &call.path_param("path");
    let missing = || Problem::not_found("supervised child", path);
    ok(&call.hive().operations().supervisor(path).ok_or_else(missing)?)
}

#[utoipa::path(
    post, path = "/api/v1/supervisors/{path}/restart", tag = "supervisors", operation_id = "restart_supervisor",
    params(("path" = String, Path, description = "Names from the root on, separated by `/`, such as `hive/core/scheduler`")),
    responses((status = 200, description = "It was restarted, with all below it", body = SupervisorNode))
)]
/// Restarts one child of the supervision tree.
pub(crate) async fn restart(call: RequestCtx) -> Answer {
    act(call, PartAction::Restart).await
}

#[utoipa::path(
    post, path = "/api/v1/supervisors/{path}/suspend", tag = "supervisors", operation_id = "suspend_supervisor",
    params(("path" = String, Path, description = "Names from the root on, separated by `/`, such as `hive/core/scheduler`")),
    request_body(content = SuspendBody, description = "None, or the reason"),
    responses((status = 200, description = "It is stopped on purpose; its place is kept", body = SupervisorNode))
)]
/// Suspends one child of the supervision tree.
pub(crate) async fn suspend(mut call: RequestCtx) -> Answer {
    let body = call.optional_bytes().await?;
    let SuspendBody { reason } = match body.is_empty() {
        true => SuspendBody::default(),
        false => decode(&body)?,
    };
    refuse_secret("/reason", reason.as_deref())?;
    let path = &call.path_param("path");
    let hive = call.hive();
    ok(&hive
        .operations().act_on_part(&call.who, path, PartAction::Suspend, reason)
        .await?)
}

#[utoipa::path(
    post, path = "/api/v1/supervisors/{path}/resume", tag = "supervisors", operation_id = "resume_supervisor",
    params(("path" = String, Path, description = "Names from the root on, separated by `/`, such as `hive/core/scheduler`")),
    responses((status = 200, description = "It runs again", body = SupervisorNode))
)]
/// Resumes one child of the supervision tree.
pub(crate) async fn resume(call: RequestCtx) -> Answer {
    act(call, PartAction::Resume).await
}

async fn act(mut call: RequestCtx, action: PartAction) -> Answer {
    call.no_body().await?;
    let path = &call.path_param("path");
    ok(&call
        .hive()
        .operations().act_on_part(&call.who, path, action, None)
        .await?)
}
