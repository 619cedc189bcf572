//! Work of remote workers: leases, signs of life, output, and ends.

use deia_model::{
    BotName, CompletionReport, FailureReport, HeartbeatAnswer, HeartbeatReport, LeaseRequest,
    Leased, OutputAnswer, OutputReport, ReportAnswer, TaskId,
};

use crate::http::{
    api::filter::wrong,
    body::{
        answer::{Answer, ok},
        json::decode,
    },
    context::RequestCtx,
    operation::describe,
};

describe! { lease:
    params(("id" = BotName, Path, description = "The bot, whose executor is `remote`")),
    request_body = LeaseRequest,
    responses((status = 200, description = "The leased tasks; none if none came in time", body = Leased))
}
pub(crate) async fn lease(mut call: RequestCtx) -> Answer {
    let bot: BotName = call.id("bot")?;
    let request: LeaseRequest = decode(&call.bytes().await?)?;
    call.within_max_wait(request.wait_ms)
        .map_err(|detail| wrong("/wait_ms", detail))?;
    ok(&call
        .hive()
        .bots()
        .work()
        .lease(&call.who, &bot, request)
        .await?)
}

describe! { heartbeat:
    params(("id" = TaskId, Path, description = "The task")),
    request_body = HeartbeatReport,
    responses((status = 200, description = "The lease goes on; ends the attempt if `cancel` is true", body = HeartbeatAnswer))
}
pub(crate) async fn heartbeat(mut call: RequestCtx) -> Answer {
    let task: TaskId = call.id("task")?;
    let report: HeartbeatReport = decode(&call.bytes().await?)?;
    ok(&call
        .hive()
        .bots()
        .work()
        .heartbeat(&call.who, task, report)
        .await?)
}

describe! { output:
    params(("id" = TaskId, Path, description = "The task")),
    request_body = OutputReport,
    responses((status = 200, description = "The output so far", body = OutputAnswer))
}
pub(crate) async fn output(mut call: RequestCtx) -> Answer {
    let task: TaskId = call.id("task")?;
    let report: OutputReport = decode(&call.bytes().await?)?;
    ok(&call
        .hive()
        .bots()
        .work()
        .output(&call.who, task, report)
        .await?)
}

describe! { complete:
    params(("id" = TaskId, Path, description = "The task")),
    request_body = CompletionReport,
    responses((status = 200, description = "Recorded, now or by an earlier report of the same attempt", body = ReportAnswer))
}
pub(crate) async fn complete(mut call: RequestCtx) -> Answer {
    let task: TaskId = call.id("task")?;
    let report: CompletionReport = decode(&call.bytes().await?)?;
    ok(&call
        .hive()
        .bots()
        .work()
        .complete(&call.who, task, report)
        .await?)
}

describe! { fail:
    params(("id" = TaskId, Path, description = "The task")),
    request_body = FailureReport,
    responses((status = 200, description = "Recorded, now or by an earlier report of the same attempt", body = ReportAnswer))
}
pub(crate) async fn fail(mut call: RequestCtx) -> Answer {
    let task: TaskId = call.id("task")?;
    let report: FailureReport = decode(&call.bytes().await?)?;
    ok(&call
        .hive()
        .bots()
        .work()
        .fail(&call.who, task, report)
        .await?)
}
