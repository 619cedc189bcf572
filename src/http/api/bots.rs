//! Bots.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::LOCATION},
};
use deia_client::Items;
use deia_model::{Bot, BotName, BotSpec, Permission};

use crate::http::{
    api::{
        dto::BotSpecBody,
        parameters::{Any, ETagOrAny},
    },
    body::{
        answer::{Answer, ok, with_header},
        etag::versioned,
        problem::Problem,
    },
    context::RequestCtx,
    operation::describe,
};

describe! { list:
    responses((status = 200, description = "All bots, by name", body = Items<Bot>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let items = call.hive().bots().list().await?;
    ok(&Items { items })
}

describe! { get:
    params(("id" = BotName, Path, description = "The bot")),
    responses((status = 200, description = "The bot", body = Bot,
        headers(("ETag" = String, description = "The version of its specification"))))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let bot = call.hive().bots().get(&call.id("bot")?).await?;
    versioned(StatusCode::OK, &bot, bot.version)
}

describe! { put:
    params(
        ("id" = BotName, Path, description = "The bot: 1 to 63 of `a-z 0-9 -`, the first a letter or a digit"),
        ("If-Match" = Option<ETagOrAny>, Header, description = "The ETag on which the change is made; `*`: the bot must be there"),
        ("If-None-Match" = Option<Any>, Header, description = "`*`: the bot must not be there"),
    ),
    request_body = BotSpec,
    responses(
        (status = 200, description = "Replaced; a launched bot is restarted with it", body = Bot,
            headers(("ETag" = String, description = "The version of its specification"))),
        (status = 201, description = "Put in place", body = Bot,
            headers(("ETag" = String, description = "The version of its specification"),
                    ("Location" = String, description = "The bot"))),
    )
}
pub(crate) async fn put(mut call: RequestCtx) -> Answer {
    let name: BotName = call.new_id()?;
    let precondition = call.precondition()?;
    let body: BotSpecBody = call.body().await?;
    let spec = BotSpec::try_from(body).map_err(|violation| Problem::invalid(vec![violation]))?;
    let current = async || Ok(call.hive().bots().get(&name).await?.version);
    let version = precondition.version(current).await?;
    let put = call
        .hive()
        .bots()
        .put(&call.who, name, spec, version)
        .await?;
    if !put.created {
        return versioned(StatusCode::OK, &put.bot, put.bot.version);
    }
    let answer = versioned(StatusCode::CREATED, &put.bot, put.bot.version)?;
    with_header(answer, LOCATION, &format!("/api/v1/bots/{}", put.bot.id))
}

describe! { delete:
    params(("id" = BotName, Path, description = "The bot")),
    responses((status = 204, description = "Removed"))
}
pub(crate) async fn delete(mut call: RequestCtx) -> Answer {
    call.no_precondition()?;
    let name = call.id("bot")?;
    call.no_body().await?;
    call.hive().bots().delete(&call.who, &name).await?;
    Ok(HttpResponse::NoContent().finish())
}

describe! { launch:
    params(("id" = BotName, Path, description = "The bot")),
    responses((status = 202, description = "Launching; its status follows", body = Bot))
}
pub(crate) async fn launch(mut call: RequestCtx) -> Answer {
    let name = call.id("bot")?;
    call.no_body().await?;
    let bot = call.hive().bots().launch(&call.who, &name).await?;
    accepted(&call, bot)
}

describe! { stop:
    params(("id" = BotName, Path, description = "The bot")),
    responses((status = 202, description = "Stopping; its running tasks are given back", body = Bot))
}
pub(crate) async fn stop(mut call: RequestCtx) -> Answer {
    let name = call.id("bot")?;
    call.no_body().await?;
    let bot = call.hive().bots().stop(&call.who, &name).await?;
    accepted(&call, bot)
}

describe! { drain:
    params(("id" = BotName, Path, description = "The bot")),
    responses((status = 202, description = "It takes nothing new, finishes its running tasks, and is stopped then; its status follows. One that is stopped stays so", body = Bot))
}
pub(crate) async fn drain(mut call: RequestCtx) -> Answer {
    let name = call.id("bot")?;
    call.no_body().await?;
    let bot = call.hive().bots().drain(&call.who, &name).await?;
    accepted(&call, bot)
}

/// Answers with the bot that a command was given to, as far as the caller may read it.
fn accepted(call: &RequestCtx, bot: Bot) -> Answer {
    let bot = match call.who.may(Permission::BotRead) {
        true => bot,
        false => bot.outline(),
    };
    versioned(StatusCode::ACCEPTED, &bot, bot.version)
}
