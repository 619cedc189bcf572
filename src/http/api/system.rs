//! The hive as a whole.

use actix_web::http::StatusCode;
use deia_model::{HealthMetrics, SystemStatus};

use crate::http::{
    body::answer::{Answer, json, ok},
    context::RequestCtx,
};

#[utoipa::path(
    get, path = "/api/v1/system/status", tag = "system", operation_id = "get_system_status",
    responses((status = 200, description = "How the whole hive stands", body = SystemStatus))
)]
/// Reads how the whole hive stands.
pub(crate) async fn status(call: RequestCtx) -> Answer {
    ok(&call.hive().operations().status().await?)
}

#[utoipa::path(
    get, path = "/api/v1/system/health", tag = "system", operation_id = "get_system_health",
    responses((status = 200, description = "What is wrong, and the measurements behind it", body = HealthMetrics))
)]
/// Reads what is wrong, and the measurements behind it.
pub(crate) async fn health(call: RequestCtx) -> Answer {
    ok(&call.hive().operations().health().await?)
}

#[utoipa::path(
    post, path = "/api/v1/system/restart", tag = "system", operation_id = "restart_system",
    responses((status = 202, description = "It restarts in place; `started_at` changes when it has", body = SystemStatus))
)]
/// Restarts the server in place, after the binary to come has checked that it would
/// start. No request is refused meanwhile; only no attempt begins.
pub(crate) async fn restart(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let before = call.hive().operations().status().await?;
    call.hive().ask_for_restart(&call.who).await?;
    json(StatusCode::ACCEPTED, &before)
}
