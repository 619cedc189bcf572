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
    operation::describe,
};

/// The reason for a suspension.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SuspendBody {
    /// The reason, shown with the tree: at most 1,024 characters.
    #[serde(default)]
    #[schema(max_length = 1024)]
    reason: Option<String>,
}

describe! { arbiters:
    responses((status = 200, description = "The threads that actors run on, the thread of the \
        supervisors first", body = Items<Arbiter>))
}
pub(crate) async fn arbiters(call: RequestCtx) -> Answer {
    ok(&Items {
        items: call.hive().operations().arbiters(),
    })
}

describe! { tree:
    responses((status = 200, description = "The whole tree, live", body = SupervisorNode))
}
pub(crate) async fn tree(call: RequestCtx) -> Answer {
    let starting = || Problem::new(Code::Unavailable, "the tree is starting");
    ok(&call
        .hive()
        .operations()
        .supervisors()
        .ok_or_else(starting)?)
}

describe! { node:
    params(("path" = String, Path, description = "Names from the root on, separated by `/`, such as `hive/core/scheduler`")),
    responses((status = 200, description = "The child at that path and all below it, live", body = SupervisorNode))
}
pub(crate) async fn node(call: RequestCtx) -> Answer {
    let path = &call.path_param("path");
    let missing = || Problem::not_found("supervised child", path);
    ok(&call
        .hive()
        .operations()
        .supervisor(path)
        .ok_or_else(missing)?)
}

describe! { restart:
    params(("path" = String, Path, description = "Names from the root on, separated by `/`, such as `hive/core/scheduler`")),
    responses((status = 200, description = "The part was restarted, with all below it", body = SupervisorNode))
}
pub(crate) async fn restart(call: RequestCtx) -> Answer {
    act(call, PartAction::Restart).await
}

describe! { suspend:
    params(("path" = String, Path, description = "Names from the root on, separated by `/`, such as `hive/core/scheduler`")),
    request_body(content = SuspendBody, description = "None, or the reason"),
    responses((status = 200, description = "The part is suspended; its place is kept", body = SupervisorNode))
}
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
        .operations()
        .act_on_part(&call.who, path, PartAction::Suspend, reason)
        .await?)
}

describe! { resume:
    params(("path" = String, Path, description = "Names from the root on, separated by `/`, such as `hive/core/scheduler`")),
    responses((status = 200, description = "It runs again", body = SupervisorNode))
}
pub(crate) async fn resume(call: RequestCtx) -> Answer {
    act(call, PartAction::Resume).await
}

async fn act(mut call: RequestCtx, action: PartAction) -> Answer {
    call.no_body().await?;
    let path = &call.path_param("path");
    ok(&call
        .hive()
        .operations()
        .act_on_part(&call.who, path, action, None)
        .await?)
}
