//! The queue.

use deia_hive::model::QueueStatus;

use super::{
    call::Call,
    route::{Answer, ok},
};

#[utoipa::path(
    get, path = "/api/v1/queue", tag = "queue", operation_id = "get_queue",
    responses((status = 200, description = "How the queue stands", body = QueueStatus))
)]
/// Reads how the queue stands.
pub(super) async fn get(call: Call) -> Answer {
    ok(&call.hive().queue().await?)
}
