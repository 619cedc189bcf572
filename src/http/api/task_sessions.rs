//! Sessions: tasks of a user that go to one bot.

use actix_web::http::{
    StatusCode,
    header::{LOCATION, USER_AGENT},
};
use deia_client::EndSessionRequest;
use deia_hive::SessionOrigin;
use deia_model::{BotName, NewSession, Page, Session, SessionFilter, SessionId};

use crate::{
    http::{
        api::parameters::IdempotencyKey,
        body::{
            answer::{Answer, json, ok, with_header, with_replayed},
            json::decode,
        },
        context::RequestCtx,
        operation::describe,
    },
    telemetry::redact::redact,
};

describe! { start:
    params(("Idempotency-Key" = Option<IdempotencyKey>, Header, description = "1 to 255 visible ASCII characters: the same key and body start one session only, and give the same answer")),
    request_body = Option<NewSession>,
    responses((status = 201, description = "Started and on disk", body = Session,
        headers(("Location" = String, description = "The session"),
                ("Idempotency-Replayed" = Option<bool>, description = "`true`: this repeats an earlier answer"))))
}
pub(crate) async fn start(mut call: RequestCtx) -> Answer {
    let body = call.optional_bytes().await?;
    let idempotency = call.idempotency(&body)?;
    let new: NewSession = match body.is_empty() {
        true => NewSession::default(),
        false => decode(&body)?,
    };
    let agent = call.request().headers().get(USER_AGENT);
    // The user agent is stored and shown.
    let agent = agent.and_then(|agent| agent.to_str().ok()).map(redact);
    let origin = SessionOrigin {
        address: call.address(),
        user_agent: agent.as_deref(),
    };
    let (hive, who) = (call.hive(), &call.who);
    let started = hive.sessions().start(who, new, origin, idempotency).await?;
    let answer = json(StatusCode::CREATED, &started.session)?;
    let answer = with_replayed(answer, started.replayed)?;
    let place = format!("/api/v1/sessions/{}", started.session.id);
    with_header(answer, LOCATION, &place)
}

describe! { list:
    params(
        ("active" = Option<bool>, Query, description = "`true`: only active sessions; `false`: only those that ended"),
        ("user" = Option<String>, Query, description = "Only those of this user"),
        ("bot" = Option<BotName>, Query, description = "Only those of this bot"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000; 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "Sessions, newest first. A caller who sees only its own tasks sees only its own sessions. A page may be short, or empty, and have a `next_cursor` all the same", body = Page<Session>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let filter = SessionFilter {
        active: call.query("active")?,
        user: call.query("user")?,
        bot: call.query("bot")?,
    };
    let page = call.page()?;
    ok(&call.hive().sessions().list(&call.who, filter, page).await?)
}

describe! { get:
    params(("id" = SessionId, Path, description = "The session")),
    responses((status = 200, description = "The session", body = Session))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let id = call.id("session")?;
    ok(&call.hive().sessions().get(&call.who, id).await?)
}

describe! { end:
    params(("id" = SessionId, Path, description = "The session")),
    request_body = Option<EndSessionRequest>,
    responses((status = 200, description = "The session, which has ended; repeated, the request changes nothing but the fate of waiting tasks", body = Session))
}
pub(crate) async fn end(mut call: RequestCtx) -> Answer {
    let id = call.id("session")?;
    let body = call.optional_bytes().await?;
    let EndSessionRequest { cancel_waiting } = match body.is_empty() {
        true => EndSessionRequest::default(),
        false => decode(&body)?,
    };
    let (hive, who) = (call.hive(), &call.who);
    ok(&hive.sessions().end(who, id, cancel_waiting).await?)
}
