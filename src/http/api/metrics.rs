//! `GET /metrics`.

use actix_web::{HttpResponse, http::header::HeaderValue};
use deia_hive::metrics::CONTENT_TYPE;

use crate::{
    http::{
        body::{answer::Answer, problem::Problem},
        context::RequestCtx,
        operation::describe,
    },
    telemetry,
};

describe! { metrics:
    responses((status = 200, description = "The metrics, in the OpenMetrics text format; \
        `docs/METRICS.md` explains the names", body = String, content_type = "application/openmetrics-text"))
}
pub(crate) async fn metrics(call: RequestCtx) -> Answer {
    let mut readings = call.hive().operations().metrics().await;
    call.http_metrics().write(&mut readings);
    call.write_admission(&mut readings);
    telemetry::write_metrics(&mut readings);
    let text = readings
        .into_text()
        .map_err(|error| Problem::internal(format!("the metrics cannot be written: {error}")))?;
    Ok(HttpResponse::Ok()
        .content_type(HeaderValue::from_static(CONTENT_TYPE))
        .body(text))
}
