//! The API about itself.

use actix_web::HttpResponse;
use deia_client::Items;

use crate::http::{
    api::dto::ErrorEntry,
    body::{
        answer::{Answer, ok},
        catalogue::Code,
        problem::Problem,
    },
    context::RequestCtx,
    operation::describe,
};

describe! { openapi:
    responses((status = 200, description = "This document", body = Object))
}
pub(crate) async fn openapi(call: RequestCtx) -> Answer {
    let text = (call.description())().map_err(|error| Problem::internal(error.to_string()))?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(text))
}

describe! { errors:
    responses((status = 200, description = "The catalogue of errors", body = Items<ErrorEntry>))
}
pub(crate) async fn errors(_: RequestCtx) -> Answer {
    let items = Code::ALL.iter().copied().map(ErrorEntry::from).collect();
    ok(&Items { items })
}

describe! { error:
    params(("code" = String, Path, description = "The code")),
    responses((status = 200, description = "The meaning of the code, and the remedy", body = ErrorEntry))
}
pub(crate) async fn error(call: RequestCtx) -> Answer {
    let name = &call.path_param("code");
    let code = Code::parse(name).ok_or_else(|| Problem::not_found("error code", name))?;
    ok(&ErrorEntry::from(code))
}
