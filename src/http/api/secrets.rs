//! Stored secrets that bots refer to. Their values go in and never come out.

use std::{fmt, str::FromStr};

use actix_web::HttpResponse;
use deia_client::Items;
use deia_model::{BotSecret, SecretName};

use crate::http::{
    api::{dto::SecretBody, parameters},
    body::{
        answer::{Answer, ok},
        json::decode,
        problem::Problem,
    },
    context::RequestCtx,
    operation::describe,
};

/// The name of a stored secret in a path.
struct InPath(SecretName);

impl FromStr for InPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        SecretName::of_bots(text).map(Self)
    }
}

impl fmt::Display for InPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

describe! { list:
    responses((status = 200, description = "All stored secrets that bots may refer to, by name, without their values", body = Items<BotSecret>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let all = call.hive().secrets().list().await?.into_iter();
    let items = all.filter_map(deia_model::SecretInfo::into_bot_secret);
    ok(&Items {
        items: items.collect::<Vec<BotSecret>>(),
    })
}

describe! { put:
    params(("id" = parameters::SecretName, Path, description = "The name: 1 to 64 of `a-z 0-9 - _ .`, the first a letter or a digit")),
    request_body = SecretBody,
    responses((status = 204, description = "Sealed and on disk. Attempts that start from now on get this value"))
}
pub(crate) async fn put(mut call: RequestCtx) -> Answer {
    call.no_precondition()?;
    let name: InPath = call.new_id()?;
    let body = decode(&call.bytes().await?)?;
    let value = SecretBody::value_of(body);
    let value = value.map_err(|violation| Problem::invalid(vec![violation]))?;
    let put = call
        .hive()
        .secrets()
        .put(&call.who, name.0, value.into_bytes());
    put.await?;
    Ok(HttpResponse::NoContent().finish())
}

describe! { delete:
    params(("id" = parameters::SecretName, Path, description = "The name of the secret")),
    responses((status = 204, description = "Removed. Bots that refer to it cannot start attempts any more"))
}
pub(crate) async fn delete(mut call: RequestCtx) -> Answer {
    call.no_precondition()?;
    let name: InPath = call.id("secret")?;
    call.no_body().await?;
    call.hive().secrets().delete(&call.who, name.0).await?;
    Ok(HttpResponse::NoContent().finish())
}
