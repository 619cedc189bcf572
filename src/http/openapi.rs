//! The OpenAPI 3.1 document. The committed copy is `docs/openapi.json`.

mod links;

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
    api::parameters, body::problem, guard::policy::Access, route::Route, table::table,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "deia",
        description = "A hive of supervised bots behind a durable task queue.\n\nEvery route but the probes needs `Authorization: Bearer <key>`. Errors are `application/problem+json` (RFC 9457) with a stable `code`; `GET /api/errors` lists the codes. Every answer has `X-Request-Id`, `RateLimit-Policy` and `RateLimit`.",
    ),
    components(schemas(problem::ProblemBody<'static>, deia_client::SupervisorNode, Event,
        parameters::ActionOrKind, parameters::IdempotencyKey, parameters::ETagOrAny, parameters::Any, parameters::KeyAndText, parameters::KeyAndValue, parameters::SecretName)),
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

/// Returns the document: the operations of the route table, and the schemas that they
/// refer to.
///
/// # Errors
/// None that a test has not ruled out.
pub fn document() -> Result<Value, serde_json::Error> {
    let mut api = Api::openapi();
    let components = api.components.get_or_insert_default();
    let table = table();
    for route in &table {
        let schemas = route.description.schemas.iter().cloned();
        components.schemas.extend(schemas);
    }
    let mut document = serde_json::to_value(api)?;
    for route in &table {
        let method = route.method.as_str().to_ascii_lowercase();
        document["paths"][route.template()][method] = operation(route, &table)?;
    }
    let as_derived = document.clone();
    merge_all_of(&mut document["components"], &as_derived);
    if let Some(schemas) = document.pointer_mut("/components/schemas") {
        relate(schemas);
    }
    bound_integers(&mut document);
    Ok(document)
}

/// Returns the operation of a route: the description of its handler, the labels of its
/// row, and links to other operations.
fn operation(route: &Route, table: &[Route]) -> Result<Value, serde_json::Error> {
    let mut operation = serde_json::to_value(&route.description.operation)?;
    without_null(&mut operation);
    operation["operationId"] = route.operation_id.into();
    operation["tags"] = json!([route.tag]);
    operation["summary"] = route.summary.into();
    operation["responses"]["default"] = json!({
        "description": "The request was refused or failed",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    });
    let needs = match route.access {
        Access::Open => {
            // An empty list in place of that of the whole document: no key is needed.
            operation["security"] = json!([]);
            "Needs no key.".to_owned()
        }
        Access::AnyKey => "Needs any key.".to_owned(),
        Access::Needs(permission) => {
            operation["x-permission"] = permission.as_str().into();
            format!("Needs the permission `{}`.", permission.as_str())
        }
    };
    operation["description"] = needs.into();
    if let Some(class) = route.class {
        operation["x-class"] = class.as_str().into();
    }
    links::link(&mut operation, route, table);
    Ok(operation)
}

/// Removes `null` from optional schemas: a parameter or a body may be left out, and is
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

/// Returns the document as text, as it is served and committed.
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
