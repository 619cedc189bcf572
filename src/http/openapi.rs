//! The description of the API (OpenAPI 3.1). The committed copy is `docs/openapi.json`.

use std::sync::LazyLock;

use deia_model::{
    Event,
    schema::{bound_integers, merge_all_of, relate},
};
use serde_json::{Value, json};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use crate::http::{
    api::{
        bots, events, health, keys, logs, meta, metrics, outputs, parameters, queue, schemas,
        secrets, sessions, supervisors, system, tasks, users,
    },
    body::problem,
    guard::policy::Access,
    table::table,
    viewer,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "deia",
        description = "A hive of supervised bots behind a durable task queue.\n\nEvery route but the probes needs `Authorization: Bearer <key>`. What goes wrong is told as `application/problem+json` (RFC 9457) with a stable `code`; `GET /api/errors` lists the codes. Every answer has `X-Request-Id`, `RateLimit-Policy` and `RateLimit`.",
    ),
    paths(
        health::live, health::ready, health::healthy, metrics::metrics,
        tasks::submit, tasks::submit_batch, tasks::list, tasks::get, tasks::status, tasks::result,
        tasks::cancel, tasks::retry, tasks::erase, tasks::events, tasks::explain, events::list,
        outputs::get, logs::of_task,
        bots::list, bots::get, bots::put, bots::delete, bots::launch, bots::stop, bots::drain, logs::get,
        secrets::list, secrets::put, secrets::delete,
        queue::get, queue::pause, queue::resume, queue::drain, queue::purge, queue::dead, queue::requeue,
        system::status, system::health, system::restart,
        supervisors::arbiters, supervisors::tree, supervisors::node, supervisors::restart, supervisors::suspend, supervisors::resume,
        keys::whoami, keys::can_i, keys::roles, keys::list, keys::get, keys::create, keys::rotate, keys::revoke,
        sessions::open, sessions::get, sessions::end, sessions::list, sessions::end_all, sessions::end_of_user,
        users::list, users::create, users::get, users::change, users::delete,
        meta::openapi, meta::errors, meta::error,
        schemas::list, schemas::get, viewer::page,
    ),
    components(schemas(problem::ProblemBody<'static>, deia_client::SupervisorNode, Event,
        parameters::IdempotencyKey, parameters::ETagOrAny, parameters::Any, parameters::KeyAndText, parameters::SecretName)),
    security(("key" = [])),
    modifiers(&KeyScheme),
)]
struct Api;

struct KeyScheme;

impl Modify for KeyScheme {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some("A key of the hive: deia_<id>_<secret>_<checksum>".into());
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The description, with what the route table says of each route.
///
/// # Errors
/// None that a test has not ruled out.
pub fn document() -> Result<Value, serde_json::Error> {
    let mut document = serde_json::to_value(Api::openapi())?;
    let as_derived = document.clone();
    merge_all_of(&mut document["components"], &as_derived);
    if let Some(schemas) = document.pointer_mut("/components/schemas") {
        relate(schemas);
    }
    if let Some(paths) = document["paths"].as_object_mut() {
        let operations = paths.values_mut().filter_map(Value::as_object_mut);
        operations
            .flat_map(serde_json::Map::values_mut)
            .for_each(without_null);
    }
    bound_integers(&mut document);
    for route in table() {
        let path = route.path.replace(":.*}", "}");
        let method = route.method.as_str().to_ascii_lowercase();
        // Indexing would make up what is not there, and no test would miss it.
        let described = document["paths"].get_mut(path);
        if let Some(operation) = described.and_then(|path| path.get_mut(method)) {
            describe(operation, route.access);
        }
    }
    Ok(document)
}

/// Takes `null` out of what is optional: a parameter or a body may be left out, and is
/// never `null`.
fn without_null(operation: &mut Value) {
    let parameters = operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        not_null(&mut parameter["schema"]);
    }
    let bodies = operation.pointer_mut("/requestBody/content");
    let bodies = bodies.and_then(Value::as_object_mut).into_iter().flatten();
    for (_, body) in bodies {
        not_null(&mut body["schema"]);
    }
}

fn not_null(schema: &mut Value) {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(alternatives) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        alternatives.retain(|one| one["type"] != "null");
        if let [only] = alternatives.as_slice() {
            *schema = only.clone();
        }
    }
}

fn describe(operation: &mut Value, access: Access) {
    operation["responses"]["default"] = json!({
        "description": "What went wrong",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    });
    let needs = match access {
        Access::Open => "Needs no key.".to_owned(),
        Access::AnyKey => "Needs any key.".to_owned(),
        Access::Needs(permission) => {
            operation["x-permission"] = permission.as_str().into();
            format!("Needs the permission `{}`.", permission.as_str())
        }
    };
    operation["description"] = needs.into();
}

/// The description as text, as it is served and committed.
///
/// # Errors
/// As [`document`].
pub fn text() -> Result<&'static str, &'static serde_json::Error> {
    static TEXT: LazyLock<Result<String, serde_json::Error>> = LazyLock::new(|| {
        let mut text = serde_json::to_string_pretty(&document()?)?;
        text.push('\n');
        Ok(text)
    });
    TEXT.as_ref().map(String::as_str)
}
