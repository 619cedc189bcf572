//! Replays: the events of a range of time, delivered again.

use actix_web::http::{StatusCode, header::LOCATION};
use deia_client::{Items, ReplayRequest};
use deia_model::{Replay, ReplayId, WebhookId};

use super::id;
use crate::http::{
    body::{
        answer::{Answer, json, ok, with_header},
        problem::Problem,
    },
    context::RequestCtx,
    operation::describe,
};

describe! { start:
    params(("id" = WebhookId, Path, description = "The endpoint")),
    request_body = ReplayRequest,
    responses((status = 202, description = "Started. Events of the range that match are delivered again, as far as the log keeps them, beside the new ones; `webhook-id` is that of the first delivery", body = Replay,
        headers(("Location" = String, description = "The replays of the endpoint, with their progress"))))
}
pub(crate) async fn start(mut call: RequestCtx) -> Answer {
    let ReplayRequest { from, to } = call.body().await?;
    let id = id(&call)?;
    let (hive, who) = (call.hive(), &call.who);
    let replay = hive.webhooks().replay(who, id, from, to).await?;
    let answer = json(StatusCode::ACCEPTED, &replay)?;
    with_header(answer, LOCATION, &format!("/api/v1/webhooks/{id}/replays"))
}

describe! { list:
    params(("id" = WebhookId, Path, description = "The endpoint")),
    responses((status = 200, description = "The replays of the endpoint, with their progress", body = Items<Replay>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let (hive, who) = (call.hive(), &call.who);
    let items = hive.webhooks().replays(who, id(&call)?).await?;
    ok(&Items { items })
}

describe! { stop:
    params(
        ("id" = WebhookId, Path, description = "The endpoint"),
        ("replay" = ReplayId, Path, description = "The replay"),
    ),
    responses((status = 200, description = "Stopped, or ended before. Deliveries that failed are attempted again all the same", body = Replay))
}
pub(crate) async fn stop(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let (hive, who) = (call.hive(), &call.who);
    let replay = hive.webhooks().stop_replay(who, id(&call)?, replay(&call)?);
    ok(&replay.await?)
}

fn replay(call: &RequestCtx) -> Result<ReplayId, Problem> {
    call.id_in("replay", "replay")
}
