//! The hive as a whole.

use deia_hive::model::{HealthMetrics, SystemStatus};

use super::{
    call::Call,
    route::{Answer, ok},
};

#[utoipa::path(
    get, path = "/api/v1/system/status", tag = "system", operation_id = "get_system_status",
    responses((status = 200, description = "How the whole hive stands", body = SystemStatus))
)]
/// Reads how the whole hive stands.
pub(super) async fn status(call: Call) -> Answer {
    ok(&call.hive().system_status().await?)
}

#[utoipa::path(
    get, path = "/api/v1/system/health", tag = "system", operation_id = "get_system_health",
    responses((status = 200, description = "What is wrong, and the measurements behind it", body = HealthMetrics))
)]
/// Reads what is wrong, and the measurements behind it.
pub(super) async fn health(call: Call) -> Answer {
    ok(&call.hive().health().await?)
}
