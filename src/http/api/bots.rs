//! Bots.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::LOCATION},
};
use deia_client::Items;
use deia_hive::PutHow;
use deia_model::{Bot, BotFilter, BotName, BotSpec, Permission, TaskId};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::{
    api::{
        dto::BotSpecBody,
        parameters::{Any, ETagOrAny, KeyAndValue},
    },
    body::{
        answer::{Answer, ok, with_header},
        etag::versioned,
        json::Object,
        problem::Problem,
    },
    context::RequestCtx,
    operation::describe,
};

describe! { list:
    params(
        ("group" = Option<String>, Query, description = "Only those of this group"),
        ("label" = Option<Vec<KeyAndValue>>, Query, description = "Only those with this label, as `key=value`; may be there more than once"),
    ),
    responses((status = 200, description = "The bots, by name", body = Items<Bot>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let labels = call.queries("label").map(label).collect::<Result<_, _>>()?;
    let filter = BotFilter {
        group: call.query::<String>("group")?,
        labels,
    };
    let items = call.hive().bots().select(&filter).await?;
    ok(&Items { items })
}

fn label(text: &str) -> Result<(String, String), Problem> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) =
        pair.ok_or_else(|| Problem::parameter("label", "is not valid: expected key=value"))?;
    Ok((key.to_owned(), value.to_owned()))
}

describe! { get:
    params(("id" = BotName, Path, description = "The bot")),
    responses((status = 200, description = "The bot", body = Bot,
        headers(("ETag" = String, description = "The version of the bot's specification"))))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let bot = call.hive().bots().get(&call.id("bot")?).await?;
    versioned(StatusCode::OK, &bot, bot.version)
}

describe! { put:
    params(
        ("id" = BotName, Path, description = "The bot: 1 to 63 of `a-z 0-9 -`, the first a letter or a digit"),
        ("now" = Option<bool>, Query, description = "`true`: the running tasks of a launched bot are given back at once. Otherwise they end first, for `bots.replace_drain` at most"),
        ("If-Match" = Option<ETagOrAny>, Header, description = "ETag of the version to change; \
            `*`: the bot must exist"),
        ("If-None-Match" = Option<Any>, Header, description = "`*`: the bot must not exist"),
    ),
    request_body = BotSpec,
    responses(
        (status = 200, description = "Replaced; a launched bot is restarted with it", body = Bot,
            headers(("ETag" = String, description = "The version of the bot's specification"))),
        (status = 201, description = "Put in place", body = Bot,
            headers(("ETag" = String, description = "The version of the bot's specification"),
                    ("Location" = String, description = "The bot"))),
    )
}
pub(crate) async fn put(mut call: RequestCtx) -> Answer {
    let name: BotName = call.new_id()?;
    let precondition = call.precondition()?;
    let at_once = call.query::<bool>("now")?.unwrap_or(false);
    let body: BotSpecBody = call.body().await?;
    let spec = BotSpec::try_from(body).map_err(|violation| Problem::invalid(vec![violation]))?;
    let current = async || Ok(call.hive().bots().get(&name).await?.version);
    let how = PutHow {
        if_version: precondition.version(current).await?,
        at_once,
    };
    let put = call.hive().bots().put(&call.who, name, spec, how).await?;
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
    responses((status = 202, description = "The bot takes no new tasks, finishes its running \
        ones, and is then stopped; its status follows. A stopped bot stays stopped", body = Bot))
}
pub(crate) async fn drain(mut call: RequestCtx) -> Answer {
    let name = call.id("bot")?;
    call.no_body().await?;
    let bot = call.hive().bots().drain(&call.who, &name).await?;
    accepted(&call, bot)
}

/// A line of text for the program of a bot.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputBody {
    /// The text, without the end of the line. It is not recorded.
    text: String,
    /// The task that the line is about, if it is about one. The bot must be running it.
    #[serde(default)]
    task_id: Option<TaskId>,
}

describe! { input:
    params(("id" = BotName, Path, description = "The bot")),
    request_body = InputBody,
    responses((status = 202, description = "The program gets the line next; the call is recorded, the text is not", body = Bot))
}
pub(crate) async fn input(mut call: RequestCtx) -> Answer {
    let name = call.id("bot")?;
    let Object(InputBody { text, task_id }) = call.body().await?;
    let bots = call.hive().bots();
    let bot = bots.input(&call.who, &name, (text, task_id)).await?;
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
