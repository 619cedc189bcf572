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
};

#[utoipa::path(
    get, path = "/api/openapi.json", tag = "meta", operation_id = "get_openapi",
    responses((status = 200, description = "This document", body = Object))
)]
/// Reads the description of this API (OpenAPI 3.1).
pub(crate) async fn openapi(call: RequestCtx) -> Answer {
    let text = (call.description())().map_err(|error| Problem::internal(error.to_string()))?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(text))
}

#[utoipa::path(
    get, path = "/api/errors", tag = "meta", operation_id = "list_errors",
    responses((status = 200, description = "The catalogue of errors", body = Items<ErrorEntry>))
)]
/// Lists the codes of all errors.
pub(crate) async fn errors(_: RequestCtx) -> Answer {
    let items = Code::ALL.iter().copied().map(ErrorEntry::from).collect();
    ok(&Items { items })
}

#[utoipa::path(
    get, path = "/api/errors/{code}", tag = "meta", operation_id = "get_error",
    params(("code" = String, Path, description = "The code")),
    responses((status = 200, description = "What the code means and what to do", body = ErrorEntry))
)]
/// Reads what a code means.
pub(crate) async fn error(call: RequestCtx) -> Answer {
    let name = &call.path_param("code");
    let code = Code::parse(name).ok_or_else(|| Problem::not_found("error code", name))?;
    ok(&ErrorEntry::from(code))
}
