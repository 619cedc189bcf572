//! Messages between bots.

use std::time::Duration;

use actix_web::http::{Method, StatusCode, header::LOCATION};
use deia_client::Items;
use deia_model::{
    BotMessageId, BotName, DeliveryStatus, Message, MessageFilter, NewMessage, Page, SessionId,
};

use crate::http::{
    api::parameters::IdempotencyKey,
    body::{
        answer::{Answer, json, ok, with_header, with_replayed},
        json::decode,
    },
    context::RequestCtx,
    operation::describe,
};

/// Messages in the answer to a request for an inbox when it does not say. Fact: the API,
/// whose schema states it.
const DEFAULT_DELIVERY: u64 = 10;
/// Maximum number of messages in such an answer: each leaves an event. Fact: the API,
/// whose schema states it.
const MAX_DELIVERY: u64 = 100;

describe! { send:
    params(("Idempotency-Key" = Option<IdempotencyKey>, Header, description = "1 to 255 visible ASCII characters: the same key and body send one message only, and give the same answer")),
    request_body = NewMessage,
    responses((status = 201, description = "Accepted and on disk; without its text", body = Message,
        headers(("Location" = String, description = "The message"),
                ("Idempotency-Replayed" = Option<bool>, description = "`true`: this repeats an earlier answer"))))
}
pub(crate) async fn send(mut call: RequestCtx) -> Answer {
    let body = call.bytes().await?;
    let idempotency = call.idempotency(&body)?;
    let message: NewMessage = decode(&body)?;
    let (hive, who) = (call.hive(), &call.who);
    let sent = hive.messages().send(who, message, idempotency).await?;
    let answer = json(StatusCode::CREATED, &sent.message)?;
    let answer = with_replayed(answer, sent.replayed)?;
    let place = format!("/api/v1/messages/{}", sent.message.id);
    with_header(answer, LOCATION, &place)
}

describe! { list:
    params(
        ("status" = Option<DeliveryStatus>, Query, description = "Only those in this state"),
        ("sender" = Option<BotName>, Query, description = "Only those that this bot sent"),
        ("receiver" = Option<BotName>, Query, description = "Only those for this bot"),
        ("session" = Option<SessionId>, Query, description = "Only those of this session"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000; 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "Messages without their text, newest first. A bot sees those that it sent or receives. A page may be short, or empty, and have a `next_cursor` all the same", body = Page<Message>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let filter = MessageFilter {
        status: call.query("status")?,
        sender: call.query("sender")?,
        receiver: call.query("receiver")?,
        session: call.query("session")?,
    };
    let page = call.page()?;
    ok(&call.hive().messages().list(&call.who, filter, page).await?)
}

describe! { get:
    params(("id" = BotMessageId, Path, description = "The message")),
    responses((status = 200, description = "The message with its text. This does not mark it as read", body = Message))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let id = call.id("message")?;
    ok(&call.hive().messages().get(&call.who, id).await?)
}

describe! { read:
    params(("id" = BotMessageId, Path, description = "The message")),
    responses((status = 200, description = "The message, which is read; repeated, the request changes nothing", body = Message))
}
pub(crate) async fn read(mut call: RequestCtx) -> Answer {
    let id = call.id("message")?;
    call.no_body().await?;
    ok(&call.hive().messages().read(&call.who, id).await?)
}

describe! { inbox:
    params(
        ("id" = BotName, Path, description = "The bot"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "At most this many, 1 to 100; 10 when absent"),
        ("wait_ms" = Option<u64>, Query, description = "How long to wait for a message, in milliseconds, up to `server.max_wait`; 0 when absent"),
    ),
    responses((status = 200, description = "Messages that the bot is given now, the most urgent first; none if none came. Each is given again after `messaging.redeliver_after` unless it was read", body = Items<Message>))
}
pub(crate) async fn inbox(call: RequestCtx) -> Answer {
    let bot: BotName = call.id("bot")?;
    let limit = call.number("limit", 1..=MAX_DELIVERY, DEFAULT_DELIVERY)?;
    let (limit, wait) = (u32::try_from(limit).unwrap_or(u32::MAX), call.wait()?);
    // The answer would not reach the caller, and its messages would count as delivered.
    let (limit, wait) = match *call.request().method() == Method::HEAD {
        true => (0, Duration::ZERO),
        false => (limit, wait),
    };
    let taking = call.hive().messages().take(&call.who, bot, limit, wait);
    let items = tokio::select! {
        biased;
        items = taking => items?,
        () = call.stopping(), if !wait.is_zero() => Vec::new(),
    };
    ok(&Items { items })
}
