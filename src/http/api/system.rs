//! The hive as a whole.

use actix_web::http::StatusCode;
use deia_model::{HealthMetrics, SystemStatus};

use crate::http::{
    body::answer::{Answer, json, ok},
    context::RequestCtx,
    operation::describe,
};

describe! { status:
    responses((status = 200, description = "The state of the hive", body = SystemStatus))
}
pub(crate) async fn status(call: RequestCtx) -> Answer {
    ok(&call.hive().operations().status().await?)
}

describe! { health:
    responses((status = 200, description = "The problems, and the measurements behind them", body = HealthMetrics))
}
pub(crate) async fn health(call: RequestCtx) -> Answer {
    ok(&call.hive().operations().health().await?)
}

describe! { restart:
    responses((status = 202, description = "The restart in place has begun; `started_at` changes \
        when it is done", body = SystemStatus))
}
pub(crate) async fn restart(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let before = call.hive().operations().status().await?;
    call.hive().ask_for_restart(&call.who).await?;
    json(StatusCode::ACCEPTED, &before)
}
