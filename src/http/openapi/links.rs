//! Links between operations (OpenAPI 3.1, Link Object): a value in the answer of one
//! operation that others take as a parameter.
//!
//! The targets come from the table, so a new route of a resource is linked to by itself. A
//! target below the path of the first request takes the parameters of that path as well.

use serde_json::{Map, Value, json};

use crate::http::route::Route;

/// The place of a handle (an id or a name) in answers, and the routes that take it.
struct Handle {
    /// The operations whose answers have the handle at `pointer`.
    from: &'static [&'static str],
    pointer: &'static str,
    /// Every route at this path or below takes the handle.
    resource: &'static str,
    parameter: &'static str,
}

#[rustfmt::skip]
const HANDLES: &[Handle] = &[
    handle(&["submit_task"],                "/id",           "/api/v1/tasks/{id}",         "id"),
    handle(&["submit_tasks"],               "/ids/0",        "/api/v1/tasks/{id}",         "id"),
    handle(&["list_tasks", "list_dead_tasks"], "/items/0/id", "/api/v1/tasks/{id}",        "id"),
    handle(&["list_alerts"],                "/items/0/id",   "/api/v1/alerts/{id}",        "id"),
    handle(&["put_bot"],                    "/id",           "/api/v1/bots/{id}",          "id"),
    handle(&["list_bots"],                  "/items/0/id",   "/api/v1/bots/{id}",          "id"),
    handle(&["start_task_session"],         "/id",           "/api/v1/sessions/{id}",      "id"),
    handle(&["list_task_sessions"],         "/items/0/id",   "/api/v1/sessions/{id}",      "id"),
    handle(&["send_message"],               "/id",           "/api/v1/messages/{id}",      "id"),
    handle(&["list_messages", "take_bot_messages"], "/items/0/id", "/api/v1/messages/{id}", "id"),
    handle(&["list_secrets"],               "/items/0/name", "/api/v1/secrets/{id}",       "id"),
    handle(&["register_webhook"],           "/id",           "/api/v1/webhooks/{id}",      "id"),
    handle(&["list_webhooks"],              "/items/0/id",   "/api/v1/webhooks/{id}",      "id"),
    handle(&["list_webhook_deliveries"],    "/items/0/id",   "/api/v1/webhooks/{id}/deliveries/{message}", "message"),
    handle(&["start_webhook_replay"],       "/id",           "/api/v1/webhooks/{id}/replays/{replay}", "replay"),
    handle(&["list_webhook_replays"],       "/items/0/id",   "/api/v1/webhooks/{id}/replays/{replay}", "replay"),
    handle(&["query_audit", "query_audit_by_actor", "query_audit_by_target", "query_critical_audit"],
                                            "/items/0/index", "/api/audit/proof/{index}",  "index"),
    handle(&["get_supervisors"],            "/path",         "/api/v1/supervisors/{path}", "path"),
    handle(&["create_key", "rotate_key"],   "/id",           "/api/v1/auth/keys/{id}",     "id"),
    handle(&["list_keys"],                  "/items/0/id",   "/api/v1/auth/keys/{id}",     "id"),
    handle(&["create_user"],                "/id",           "/api/v1/users/{id}",         "id"),
    handle(&["list_users"],                 "/items/0/id",   "/api/v1/users/{id}",         "id"),
    handle(&["list_errors"],                "/items/0/code", "/api/errors/{code}",         "code"),
    handle(&["list_schemas"],               "/items/0/name", "/api/schemas/{name}",        "name"),
];

const fn handle(
    from: &'static [&'static str],
    pointer: &'static str,
    resource: &'static str,
    parameter: &'static str,
) -> Handle {
    Handle {
        from,
        pointer,
        resource,
        parameter,
    }
}

impl Handle {
    fn is_taken_by(&self, route: &Route) -> bool {
        let path = route.template();
        let below = path.strip_prefix(self.resource);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Adds the links of a route to its answers of success.
pub(super) fn link(operation: &mut Value, from: &Route, table: &[Route]) {
    let links = links(from, table);
    if links.is_empty() {
        return;
    }
    let answers = operation["responses"].as_object_mut();
    for (status, answer) in answers.into_iter().flatten() {
        if status.starts_with('2') {
            answer["links"] = links.clone().into();
        }
    }
}

/// Returns the links of a route by their names: those of their targets, and `next_page`.
fn links(from: &Route, table: &[Route]) -> Map<String, Value> {
    let mut links = Map::new();
    let mut link = |name: &str, to: &Route, parameter: &str, pointer: &str| {
        if let Some(mut parameters) = of_path(from, to, parameter) {
            let value = format!("$response.body#{pointer}");
            parameters.insert(parameter.to_owned(), value.into());
            let link = json!({"operationId": to.operation_id, "parameters": parameters});
            links.insert(name.to_owned(), link);
        }
    };
    let handles = HANDLES.iter();
    for handle in handles.filter(|handle| handle.from.contains(&from.operation_id)) {
        for to in table.iter().filter(|to| handle.is_taken_by(to)) {
            if to.operation_id != from.operation_id {
                link(to.operation_id, to, handle.parameter, handle.pointer);
            }
        }
    }
    if from.description.query.iter().any(|name| name == "cursor") {
        link("next_page", from, "cursor", "/next_cursor");
    }
    links
}

/// Returns the parameters in the path of `to`, but for `given`, with the values that they
/// have in the path of `from`; `None` if one is not there.
fn of_path(from: &Route, to: &Route, given: &str) -> Option<Map<String, Value>> {
    let (from, to) = (from.template(), to.template());
    let known: Vec<&str> = parameters(&from).collect();
    let missing = parameters(&to).filter(|name| *name != given);
    let value = |name: &str| {
        let value = format!("$request.path.{name}");
        known
            .contains(&name)
            .then(|| (name.to_owned(), value.into()))
    };
    missing.map(value).collect()
}

/// Returns the names of the parameters in a path.
fn parameters(path: &str) -> impl Iterator<Item = &str> {
    let parts = path.split('{').skip(1);
    parts.filter_map(|part| part.split_once('}').map(|(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::table::table;

    #[test]
    fn handles_name_operations_and_resources_of_the_table() {
        let table = table();
        for handle in HANDLES {
            for from in handle.from {
                let known = table.iter().any(|route| route.operation_id == *from);
                assert!(known, "{from}");
            }
            let taken = table.iter().any(|route| handle.is_taken_by(route));
            assert!(taken, "{}", handle.resource);
        }
    }

    #[test]
    fn operations_below_a_resource_are_linked_from_its_creation() {
        let table = table();
        let submit = table
            .iter()
            .find(|route| route.operation_id == "submit_task");
        let links = links(submit.unwrap(), &table);
        assert_eq!(
            links["cancel_task"],
            json!({"operationId": "cancel_task", "parameters": {"id": "$response.body#/id"}})
        );
        assert!(links.contains_key("get_task_result") && !links.contains_key("list_tasks"));
    }

    #[test]
    fn links_below_a_resource_take_its_id_from_the_request() {
        let table = table();
        let of = |operation: &str| {
            let mut routes = table.iter();
            let from = routes.find(|route| route.operation_id == operation);
            links(from.unwrap(), &table)
        };
        let deliveries = of("list_webhook_deliveries");
        assert_eq!(
            deliveries["get_webhook_delivery"]["parameters"],
            json!({"id": "$request.path.id", "message": "$response.body#/items/0/id"})
        );
        assert_eq!(
            deliveries["next_page"]["parameters"],
            json!({"id": "$request.path.id", "cursor": "$response.body#/next_cursor"})
        );
        // The message is not known there.
        let registered = of("register_webhook");
        assert!(registered.contains_key("list_webhook_deliveries"));
        assert!(!registered.contains_key("get_webhook_delivery"));
    }
}
