//! The schemas of requests and answers, for programs (`docs/schemas`, `GET /api/schemas`)
//! and for people (`docs/DATA-MODEL.md`).
//!
//! The schemas of the model come with the model; here are those that only the wire has,
//! each with its example.

mod audit;
mod degradation;
mod page;

use std::sync::LazyLock;

use deia_client::{
    BatchAccepted, CreatedKey, LogLines, NewKeyRequest, SchemaEntry, SchemaList, SupervisorNode,
    TaskState, WhoAmI,
};
use deia_model::{
    DeliveryDetail, EventType, NewWebhook, Replay, SCHEMA_VERSION, TaskLog, TestDelivery,
    WebhookChange, WebhookWithSecret, schema::Entity,
};
pub use page::data_model_page;
use serde_json::{Value, json};

use crate::http::{
    api::dto::TaskBatch,
    body::{
        answer::{Answer, ok},
        problem::{Problem, ProblemBody},
    },
    context::RequestCtx,
    operation::describe,
};

/// Returns every entity of the API, with its schema and an example.
///
/// # Errors
/// None that a test has not ruled out.
pub fn entities() -> Result<&'static [Entity], &'static serde_json::Error> {
    static ALL: LazyLock<Result<Vec<Entity>, serde_json::Error>> = LazyLock::new(|| {
        let mut all = deia_model::entities()?;
        all.extend(of_the_wire()?);
        all.extend(audit::entities()?);
        all.extend(degradation::entities()?);
        Ok(all)
    });
    ALL.as_deref()
}

/// Returns the entity of that name, in any case.
///
/// # Errors
/// As [`entities`].
pub fn entity(name: &str) -> Result<Option<&'static Entity>, &'static serde_json::Error> {
    let mut all = entities()?.iter();
    Ok(all.find(|entity| entity.name.eq_ignore_ascii_case(name)))
}

/// Returns the description of an entity, in one line.
pub fn summary(entity: &Entity) -> String {
    let text = entity.schema["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn task_log() -> Value {
    json!({
        "lines": [{
            "at": "2026-11-20T08:30:00.110Z", "bot": "upper-1", "attempt": 1,
            "stream": "stderr", "line": "no space left on device",
        }],
        "total": 1,
    })
}

fn of_the_wire() -> Result<Vec<Entity>, serde_json::Error> {
    Ok(vec![
        Entity::of_input::<TaskState>("TaskState", &task_state())?,
        Entity::of_input::<TaskBatch>("TaskBatch", &task_batch())?,
        Entity::of_input::<BatchAccepted>("BatchAccepted", &batch_accepted())?,
        Entity::of_input::<LogLines>("LogLines", &json!({"lines": ["started", "ready"]}))?,
        Entity::of_input::<TaskLog>("TaskLog", &task_log())?,
        Entity::of_input::<NewKeyRequest>("NewKey", &new_key())?,
        Entity::of_input::<CreatedKey>("CreatedKey", &created_key())?,
        Entity::of_input::<WhoAmI>("WhoAmI", &who_am_i())?,
        Entity::of_input::<NewWebhook>("NewWebhook", &new_webhook())?,
        Entity::of_input::<WebhookChange>("WebhookChange", &json!({"events": ["task", "alert"]}))?,
        Entity::of_input::<WebhookWithSecret>("WebhookWithSecret", &webhook_with_secret())?,
        Entity::of_input::<DeliveryDetail>("DeliveryDetail", &delivery_detail())?,
        Entity::of_input::<TestDelivery>("TestDelivery", &test_delivery())?,
        Entity::of_input::<Replay>("Replay", &replay())?,
        Entity::of_input::<EventType>("EventType", &event_type())?,
        Entity::of_input::<SupervisorNode>("SupervisorNode", &supervisor_node())?,
        Entity::of_input::<ProblemBody<'static>>("Problem", &problem())?,
    ])
}

const TASK: &str = "task_01h455vb4pex5vsknk084sn02q";
const KEY: &str = "key_01h455vb4pex5vsknk084sn02q";
const WEBHOOK: &str = "webhook_01h455vb4pex5vsknk084sn02q";
const MESSAGE: &str = "msg_01h455vb4pex5vsknk084sn02q";

fn task_state() -> Value {
    json!({
        "id": TASK, "status": "running", "progress": 0.5, "attempt": 1, "max_attempts": 3,
        "assigned_bot": "upper-1",
        "created_at": "2026-11-20T08:30:00.000Z", "run_at": "2026-11-20T08:30:00.000Z",
        "started_at": "2026-11-20T08:30:00.120Z", "completed_at": null,
    })
}

fn task_batch() -> Value {
    json!({"tasks": [{"type": "general", "content": "a"}, {"type": "general", "content": "b"}]})
}

fn batch_accepted() -> Value {
    json!({"ids": [TASK, "task_01h455vb4pex5vsknk084sn02r"]})
}

fn new_key() -> Value {
    json!({
        "user": "ci", "role": "external", "name": "nightly builds",
        "scopes": ["task:submit", "task:read"], "allow_ips": ["192.0.2.7", "2001:db8::/32"],
        "bot": null, "expires_at": "2027-11-20T08:00:00.000Z", "new_user": true,
    })
}

fn created_key() -> Value {
    json!({
        "id": KEY, "name": "nightly builds", "user": "ci", "role": "external",
        "scopes": null, "allow_ips": [], "bot": null, "family": KEY,
        "created_at": "2026-11-20T08:00:00.000Z", "expires_at": null, "revoked_at": null,
        "last_used_at": null,
        "key": "deia_01h455vb4pex5vsknk084sn02q_abcdefghijklmnopqrstuvwxyz234567_89abcdef",
        "user_created": true,
    })
}

fn who_am_i() -> Value {
    json!({
        "user": "ci", "role": "external", "key_id": KEY,
        "permissions": ["task:submit", "task:read", "task:cancel"],
        "sees_only_its_own": true, "bot": null, "address": "192.0.2.7", "key": null,
    })
}

fn new_webhook() -> Value {
    json!({
        "url": "https://hooks.example.com/deia", "description": "failed builds",
        "events": ["task.failed"], "task_types": ["development"], "tags": ["nightly"],
        "owners": ["ci"], "headers": {"x-team": "billing"}, "signatures": ["v1"],
        "concurrency": 4, "rate_per_second": 50,
    })
}

fn webhook_with_secret() -> Value {
    json!({
        "id": WEBHOOK, "url": "https://hooks.example.com/deia", "description": "failed builds",
        "events": ["task.failed"], "task_types": [], "tags": [], "owners": [],
        "headers": ["x-team"], "signatures": ["v1"], "owner": "ci", "status": "enabled",
        "failures_in_a_row": 0, "waiting": 0, "lag_ms": 0, "missed": [], "version": 1,
        "created_at": "2026-11-20T08:30:00.000Z", "changed_at": "2026-11-20T08:30:00.000Z",
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    })
}

fn attempt() -> Value {
    json!({
        "attempt": 1, "at": "2026-11-20T08:30:00.000Z", "duration_ms": 38, "status": 503,
        "error": "the endpoint answered 503", "response": "overloaded",
        "response_truncated": false,
    })
}

fn delivery_detail() -> Value {
    json!({
        "id": MESSAGE, "type": "task.failed", "state": "waiting", "attempts": 1,
        "first_attempt_at": "2026-11-20T08:30:00.000Z",
        "last_attempt_at": "2026-11-20T08:30:00.000Z",
        "next_attempt_at": "2026-11-20T08:30:05.000Z", "tries": [attempt()],
    })
}

fn test_delivery() -> Value {
    json!({"id": MESSAGE, "delivered": false, "attempt": attempt()})
}

fn replay() -> Value {
    json!({
        "id": "replay_01h455vb4pex5vsknk084sn02q", "from": "2026-11-20T06:00:00.000Z",
        "to": "2026-11-20T08:30:00.000Z", "state": "running", "progress_percent": 40.0,
        "delivered": 119, "failed": 1, "actor": "ci", "started_at": "2026-11-20T08:30:00.000Z",
    })
}

fn event_type() -> Value {
    json!({
        "type": "task.failed", "description": "A task failed and has no attempts left.",
        "example": {"type": "task.failed", "timestamp": "2026-11-20T08:30:00.000Z", "data": {}},
    })
}

fn supervisor_node() -> Value {
    json!({
        "name": "scheduler", "path": "hive/core/scheduler", "kind": "worker", "strategy": null,
        "state": "running", "incarnation": 1, "uptime_ms": 21000, "restarts": 0,
        "mailbox_depth": 0, "handled": 68, "arbiter": "tree", "stalled": false,
        "suspended": null, "last_exit": null, "exits": [], "children": [],
    })
}

fn problem() -> Value {
    json!({
        "type": "/api/errors/invalid_input", "title": "Invalid input", "status": 422,
        "code": "invalid_input",
        "detail": "/max_attempts is 0; allowed are 1 to 100. Correct the places that are named.",
        "request_id": "req-1f00d5eedc0ffee1-2a",
        "errors": [{"pointer": "/max_attempts", "detail": "is 0; allowed are 1 to 100"}],
    })
}

describe! { list:
    responses((status = 200, description = "The names of all schemas", body = SchemaList))
}
pub(crate) async fn list(_: RequestCtx) -> Answer {
    let entities = entities().map_err(|error| Problem::internal(error.to_string()))?;
    ok(&SchemaList {
        schema_version: SCHEMA_VERSION.into(),
        items: entities.iter().map(entry).collect(),
    })
}

describe! { get:
    params(("name" = String, Path, description = "The name of the entity", example = "Task")),
    responses((status = 200, description = "Its JSON Schema (2020-12), with all that it refers to", body = Object, content_type = "application/schema+json"))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let name = &call.path_param("name");
    let found = entity(name).map_err(|error| Problem::internal(error.to_string()))?;
    let found = found.ok_or_else(|| Problem::not_found("schema", name))?;
    let mut answer = ok(&found.schema)?;
    let headers = answer.headers_mut();
    headers.insert(
        actix_web::http::header::CONTENT_TYPE,
        actix_web::http::header::HeaderValue::from_static("application/schema+json"),
    );
    Ok(answer)
}

fn entry(entity: &Entity) -> SchemaEntry {
    SchemaEntry {
        name: entity.name.into(),
        description: summary(entity),
        url: format!("/api/schemas/{}", entity.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_have_distinct_names_and_descriptions() {
        let mut names = std::collections::BTreeSet::new();
        for entity in entities().unwrap() {
            assert!(names.insert(entity.name.to_lowercase()), "{}", entity.name);
            assert!(!summary(entity).is_empty(), "{}", entity.name);
        }
        assert_eq!(entity("tASK").unwrap().unwrap().name, "Task");
        assert!(entity("Rocket").unwrap().is_none());
    }
}
