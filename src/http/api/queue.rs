//! The queue.

use std::time::Duration;

use deia_model::{Changed, Drained, Page, QueueStatus, Task, TaskType};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::{
    api::{
        filter,
        filter::{Failed, Filters, Selection, Waiting, wrong},
    },
    body::{
        answer::{Answer, ok},
        json::Object,
        problem::refuse_secret,
    },
    context::RequestCtx,
    operation::describe,
};

/// The part of the queue to pause.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PauseBody {
    /// Only tasks of this type; all when absent.
    #[serde(rename = "type", default)]
    task_type: Option<TaskType>,
    /// The reason, shown with the queue: at most 1,024 characters.
    #[serde(default)]
    #[schema(max_length = 1024)]
    reason: Option<String>,
}

/// The part of the queue to resume.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResumeBody {
    /// The type whose pause is lifted; the pause of the whole queue when absent.
    #[serde(rename = "type", default)]
    task_type: Option<TaskType>,
}

/// The part of the queue to drain.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainBody {
    /// Only tasks of this type; all when absent.
    #[serde(rename = "type", default)]
    task_type: Option<TaskType>,
    /// The reason, shown with the queue: at most 1,024 characters.
    #[serde(default)]
    #[schema(max_length = 1024)]
    reason: Option<String>,
    /// Time to wait for running tasks to end, in milliseconds, up to `server.max_wait`.
    #[serde(default)]
    wait_ms: u64,
}

describe! { get:
    responses((status = 200, description = "The state of the queue", body = QueueStatus))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    ok(&call.hive().queue().status().await?)
}

describe! { pause:
    request_body = PauseBody,
    responses((status = 200, description = "The state of the queue; no paused task is started \
        any more", body = QueueStatus))
}
pub(crate) async fn pause(mut call: RequestCtx) -> Answer {
    let Object(PauseBody { task_type, reason }) = call.body().await?;
    refuse_secret("/reason", reason.as_deref())?;
    call.hive()
        .queue()
        .pause(&call.who, task_type, reason)
        .await?;
    ok(&call.hive().queue().status().await?)
}

describe! { resume:
    request_body = ResumeBody,
    responses((status = 200, description = "The state of the queue", body = QueueStatus))
}
pub(crate) async fn resume(mut call: RequestCtx) -> Answer {
    let Object(ResumeBody { task_type }) = call.body().await?;
    call.hive().queue().resume(&call.who, task_type).await?;
    ok(&call.hive().queue().status().await?)
}

describe! { drain:
    request_body = DrainBody,
    responses((status = 200, description = "The state of the queue, and whether all its tasks \
        have ended", body = Drained))
}
pub(crate) async fn drain(mut call: RequestCtx) -> Answer {
    let Object(body) = call.body::<Object<DrainBody>>().await?;
    refuse_secret("/reason", body.reason.as_deref())?;
    let wait = call
        .within_max_wait(body.wait_ms)
        .map_err(|detail| wrong("/wait_ms", detail))?;
    let (hive, who) = (call.hive(), &call.who);
    let (task_type, reason) = (body.task_type, body.reason);
    let drained = tokio::select! {
        biased;
        drained = hive.queue().drain(who, task_type.clone(), reason.clone(), wait) => drained?,
        // The pause stays; only the waiting ends with the server.
        () = call.stopping() => hive.queue().drain(who, task_type, reason, Duration::ZERO).await?,
    };
    // The pause stays, whether or not this request made it.
    call.is_unchanged()?;
    ok(&drained)
}

describe! { purge:
    request_body = Filters<Waiting>,
    responses((status = 200, description = "Number of cancelled tasks", body = Changed))
}
pub(crate) async fn purge(mut call: RequestCtx) -> Answer {
    let Object(filters) = call.body::<Object<Filters<Waiting>>>().await?;
    ok(&call
        .hive()
        .queue()
        .purge(&call.who, filters.meant()?)
        .await?)
}

describe! { dead:
    params(
        filter::InQuery,
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000; 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "Failed tasks without their content, newest first. A page may be short, or empty, and have a `next_cursor` all the same", body = Page<Task>))
}
pub(crate) async fn dead(call: RequestCtx) -> Answer {
    let (filter, page) = (filter::from_query(&call)?, call.page()?);
    ok(&call.hive().queue().dead(&call.who, filter, page).await?)
}

describe! { requeue:
    request_body = Selection<Failed>,
    responses((status = 200, description = "Number of tasks that were put back into the queue", body = Changed))
}
pub(crate) async fn requeue(mut call: RequestCtx) -> Answer {
    let body = call.bytes().await?;
    let changed = match Selection::<Failed>::read(&body)? {
        Selection::These(these) => {
            call.hive()
                .queue()
                .requeue_these(&call.who, these.meant()?)
                .await?
        }
        Selection::Fitting(filters) => {
            call.hive()
                .queue()
                .requeue_dead(&call.who, filters.meant()?)
                .await?
        }
    };
    ok(&changed)
}
