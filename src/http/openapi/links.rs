//! Links between operations (OpenAPI 3.1, Link Object): a value in the answer of one
//! operation that others take as a parameter.
//!
//! The targets come from the table, so a new route of a resource is linked to by itself.

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
    handle(&["list_secrets"],               "/items/0/name", "/api/v1/secrets/{id}",       "id"),
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
        let link = json!({
            "operationId": to.operation_id,
            "parameters": {parameter: format!("$response.body#{pointer}")},
        });
        links.insert(name.to_owned(), link);
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
}
