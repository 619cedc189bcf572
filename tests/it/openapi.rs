//! The description of the API is complete, and its committed copies are current.

use std::{collections::BTreeSet, fs, path::PathBuf};

use deia::http::{Access, catalogue_page, openapi, table};
use serde_json::Value;

fn routes() -> BTreeSet<(String, String)> {
    let named =
        |route: &deia::http::Route| (route.template(), route.method.as_str().to_lowercase());
    table().iter().map(named).collect()
}

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &'_ Value)| {
        let path = path.clone();
        item.as_object()
            .unwrap()
            .keys()
            .map(move |method| (path.clone(), method.clone()))
            .collect::<Vec<_>>()
    };
    let named: Vec<_> = paths.iter().flat_map(of_path).collect();
    named
        .into_iter()
        .map(|(path, method)| {
            let operation = &document["paths"][&path][&method];
            (path, method, operation)
        })
        .collect()
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document = openapi::document().unwrap();
    let described: BTreeSet<_> = operations(&document)
        .into_iter()
        .map(|(path, method, _)| (path, method))
        .collect();
    assert_eq!(described, routes());
    assert_eq!(table().len(), described.len(), "no route is there twice");
}

#[test]
fn operations_are_named_once_and_tell_what_may_go_wrong() {
    let document = openapi::document().unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} is there twice");
        let problem = &operation["responses"]["default"]["content"]["application/problem+json"];
        assert_eq!(
            problem["schema"]["$ref"], "#/components/schemas/Problem",
            "{method} {path}"
        );
        let route = table().into_iter().find(|route| {
            route.template() == path && route.method.as_str().to_lowercase() == method
        });
        let route = route.unwrap();
        match route.access {
            // An empty list instead of that of the whole: no key is needed.
            Access::Open => assert_eq!(operation["security"], serde_json::json!([]), "{path}"),
            Access::AnyKey => assert_eq!(operation["x-permission"], Value::Null),
            Access::Needs(permission) => assert_eq!(operation["x-permission"], permission.as_str()),
        }
        for name in path
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
        {
            let parameters = operation["parameters"].as_array().unwrap();
            let described = parameters
                .iter()
                .any(|p| p["name"] == name && p["in"] == "path");
            assert!(described, "{method} {path}: {name}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(to) = fields.get("$ref").and_then(Value::as_str) {
                    let pointer = to.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{to}");
                }
                fields.values().for_each(|field| walk(field, document));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, document)),
            _ => {}
        }
    }
    let document = openapi::document().unwrap();
    walk(&document, &document);
}

/// `DEIA_BLESS=1` writes the copy anew.
fn assert_current(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    if std::env::var_os("DEIA_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/{name} is stale: DEIA_BLESS=1 cargo test --test it openapi"
    );
}

#[test]
fn the_committed_description_is_current() {
    assert_current("openapi.json", openapi::text().unwrap());
}

#[test]
fn the_committed_catalogue_of_errors_is_current() {
    assert_current("ERRORS.md", &catalogue_page());
}
