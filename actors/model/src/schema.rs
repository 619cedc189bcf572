//! JSON Schema (2020-12) of the public types.
//!
//! The one source is `utoipa::ToSchema`, which the types derive for the description of
//! the API: schemas of OpenAPI 3.1 are JSON Schema. This module makes each of them
//! self-contained.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use super::{SCHEMA_VERSION, text::BOT_NAME};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
const COMPONENTS: &str = "#/components/schemas/";
const DEFS: &str = "#/$defs/";

/// A public type: its schema and an example.
#[derive(Clone, Debug)]
pub struct Entity {
    /// The name of the entity in the documents, and of its file.
    pub name: &'static str,
    /// The schema, with all schemas that it refers to.
    pub schema: Value,
    /// The fields, in the order in which they are written.
    pub fields: Vec<String>,
    /// An example, as JSON on several lines.
    pub example: String,
}

impl Entity {
    /// Creates the entity of type `T`, called `name`, with an example.
    ///
    /// # Errors
    /// The example or the schema cannot be written as JSON.
    pub fn of<T: ToSchema + Serialize>(
        name: &'static str,
        example: &T,
    ) -> Result<Self, serde_json::Error> {
        Self::from_schema::<T>(name, serde_json::to_string_pretty(example)?)
    }

    /// Creates the entity of a type that is only read: the example is the input.
    ///
    /// # Errors
    /// The example or the schema cannot be written as JSON.
    pub fn of_input<T: ToSchema>(
        name: &'static str,
        example: &Value,
    ) -> Result<Self, serde_json::Error> {
        Self::from_schema::<T>(name, serde_json::to_string_pretty(example)?)
    }

    fn from_schema<T: ToSchema>(
        name: &'static str,
        example: String,
    ) -> Result<Self, serde_json::Error> {
        let root = T::schema();
        let mut found = Vec::new();
        T::schemas(&mut found);
        found.push((T::name().into_owned(), root.clone()));
        let mut parts = Map::new();
        for (part, schema) in found {
            parts.insert(part, serde_json::to_value(schema)?);
        }
        let mut parts = Value::Object(parts);
        relate(&mut parts);
        bound_integers(&mut parts);
        Ok(Self {
            name,
            fields: field_names(&root),
            schema: self_contained(name, &parts[&*T::name()], &parts),
            example,
        })
    }
}

fn field_names(schema: &RefOr<Schema>) -> Vec<String> {
    match schema {
        RefOr::T(Schema::Object(object)) => object.properties.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// Returns the schema of the entity `name`, with the `parts` that it refers to.
fn self_contained(name: &str, root: &Value, parts: &Value) -> Value {
    let components = json!({ "components": { "schemas": parts } });
    let mut document = adapted(root.clone(), &components);
    let mut defs = Map::new();
    let mut left: Vec<String> = references(&document).into_iter().collect();
    while let Some(part) = left.pop() {
        if let (false, Some(schema)) = (defs.contains_key(&part), parts.get(part.as_str())) {
            let schema = adapted(schema.clone(), &components);
            left.extend(references(&schema));
            defs.insert(part, schema);
        }
    }
    if let Some(fields) = document.as_object_mut() {
        fields.insert("$schema".into(), DIALECT.into());
        fields.insert(
            "$id".into(),
            format!("urn:deia:schema:{SCHEMA_VERSION}:{name}").into(),
        );
        fields.insert("schema_version".into(), SCHEMA_VERSION.into());
        fields.insert("title".into(), name.into());
        if !defs.is_empty() {
            fields.insert("$defs".into(), defs.into());
        }
    }
    document
}

/// Adapts a component to be part of a self-contained schema.
fn adapted(mut schema: Value, components: &Value) -> Value {
    merge_all_of(&mut schema, components);
    walk(&mut schema, &mut |fields| {
        if let Some(Value::String(to)) = fields.get_mut("$ref")
            && let Some(part) = to.strip_prefix(COMPONENTS)
        {
            *to = format!("{DEFS}{part}");
        }
        // OpenAPI has `example`, JSON Schema has `examples`.
        if let Some(example) = fields.remove("example") {
            fields.insert("examples".into(), json!([example]));
        }
    });
    schema
}

/// Returns the names of the parts that the schema refers to.
fn references(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(&mut schema.clone(), &mut |fields| {
        let to = fields.get("$ref").and_then(Value::as_str);
        found.extend(to.and_then(|to| to.strip_prefix(DEFS)).map(str::to_owned));
    });
    found
}

/// Adds to components, by their names, the relations between their fields, which cannot
/// be derived from types.
pub fn relate(components: &mut Value) {
    let both = |one: &str, other: &str| {
        json!({
            "required": [one, other],
            "properties": {one: {"not": {"type": "null"}}, other: {"not": {"type": "null"}}},
        })
    };
    let secrets_of_simulated = json!({
        "required": ["executor", "secrets"],
        "properties": {
            "executor": {"required": ["kind"], "properties": {"kind": {"const": "simulated"}}},
            "secrets": {"minProperties": 1},
        },
    });
    let a_bot = json!({"required": ["bot"], "properties": {"bot": {"type": "string"}}});
    let is_bot = json!({"properties": {"role": {"const": "bot"}}});
    let named_as_bot = json!({"properties": {"user": {"pattern": BOT_NAME}}});
    let bot_of_key = json!({
        "anyOf": [
            {"allOf": [a_bot, {"not": is_bot}]},
            // A key of the role bot belongs to the bot with the name of its user, or
            // names another one.
            {"allOf": [is_bot, {"not": a_bot}, {"not": named_as_bot}]},
        ],
    });
    for (name, refused) in [
        (
            "NewTask",
            json!({"anyOf": [both("run_at", "delay_ms"), both("expires_at", "expires_in_ms")]}),
        ),
        ("BotSpec", secrets_of_simulated),
        ("NewKeyRequest", bot_of_key),
    ] {
        if let Some(schema) = components.get_mut(name) {
            schema["not"] = refused;
        }
    }
}

/// Adds the range of integers to schemas, which the formats of OpenAPI leave open, and
/// gives these formats their names in the OpenAPI registry (`uint32`; derived is
/// `u-int32`).
pub fn bound_integers(schema: &mut Value) {
    walk(schema, &mut |fields| {
        let format = fields.get("format").and_then(Value::as_str);
        let Some(bits) = format.and_then(|format| format.strip_prefix("u-int")) else {
            return;
        };
        let most = match bits.parse::<u32>() {
            Ok(bits @ 1..=64) => u64::MAX >> (64 - bits),
            _ => return,
        };
        let format = format!("uint{bits}");
        fields.insert("format".into(), format.into());
        fields.entry("maximum").or_insert_with(|| most.into());
    });
}

/// Merges each `allOf` of objects into one object. If one of them is closed
/// (`additionalProperties: false`) it would refuse the fields of the others, so that no
/// value would be valid. `document` contains the components that are referred to.
pub fn merge_all_of(schema: &mut Value, document: &Value) {
    walk(schema, &mut |fields| {
        let Some(Value::Array(members)) = fields.get("allOf") else {
            return;
        };
        let mut resolved = Vec::new();
        resolve_all(members, document, &mut resolved);
        if !resolved.iter().all(|m| m["properties"].is_object()) {
            return;
        }
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for member in &resolved {
            properties.extend(
                member["properties"]
                    .as_object()
                    .cloned()
                    .unwrap_or_default(),
            );
            required.extend(member["required"].as_array().cloned().unwrap_or_default());
        }
        let closed = resolved.iter().any(|m| m["additionalProperties"] == false);
        fields.remove("allOf");
        fields.insert("type".into(), "object".into());
        fields.insert("properties".into(), properties.into());
        fields.insert("required".into(), required.into());
        if closed {
            fields.insert("additionalProperties".into(), false.into());
        }
    });
}

/// Adds the members of an `allOf`; a member that is an `allOf` as well by its members.
fn resolve_all<'a>(members: &'a [Value], document: &'a Value, into: &mut Vec<&'a Value>) {
    for member in members {
        let member = resolve(member, document);
        match &member["allOf"] {
            Value::Array(members) => resolve_all(members, document, into),
            _ => into.push(member),
        }
    }
}

fn resolve<'a>(member: &'a Value, document: &'a Value) -> &'a Value {
    let to = member["$ref"].as_str().and_then(|to| to.strip_prefix('#'));
    to.and_then(|pointer| document.pointer(pointer))
        .unwrap_or(member)
}

/// Calls `visit` with every schema in `value`, parts first. Names of examples and of
/// properties are not mistaken for keywords.
fn walk(value: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, visit)),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match (name.as_str(), field) {
                    ("example" | "examples" | "default" | "const" | "enum", _) => {}
                    ("properties" | "$defs" | "schemas", Value::Object(named)) => {
                        named.values_mut().for_each(|schema| walk(schema, visit));
                    }
                    (_, field) => walk(field, visit),
                }
            }
            visit(fields);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_objects_are_merged_with_their_siblings() {
        let document = json!({"components": {"schemas": {"A": {
            "type": "object", "properties": {"a": {"type": "string"}},
            "required": ["a"], "additionalProperties": false}}}});
        let mut schema = json!({"oneOf": [{"description": "d", "allOf": [
            {"$ref": "#/components/schemas/A"},
            {"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"]}]}]});
        merge_all_of(&mut schema, &document);
        let expected = json!({"oneOf": [{"description": "d", "type": "object",
            "properties": {"a": {"type": "string"}, "kind": {"type": "string"}},
            "required": ["a", "kind"], "additionalProperties": false}]});
        assert_eq!(schema, expected);
        let mut nested = json!({"allOf": [
            {"allOf": [{"$ref": "#/components/schemas/A"}, {"properties": {"b": {}}}]},
            {"properties": {"c": {}}}]});
        let mut members = Vec::new();
        resolve_all(nested["allOf"].as_array().unwrap(), &document, &mut members);
        assert_eq!(members.len(), 3);
        merge_all_of(&mut nested, &document);
        let properties = nested["properties"].as_object().unwrap().keys();
        assert_eq!(properties.collect::<Vec<_>>(), ["a", "b", "c"]);
        let open = json!({"allOf": [{"type": "string"}]});
        let mut same = open.clone();
        merge_all_of(&mut same, &document);
        assert_eq!(same, open);
    }

    #[test]
    fn a_property_may_have_the_name_of_a_keyword() {
        let mut schema = json!({"properties": {"example": {"type": "string", "example": "x"}}});
        schema = adapted(schema, &Value::Null);
        let expected = json!({"properties": {"example": {"type": "string", "examples": ["x"]}}});
        assert_eq!(schema, expected);
    }

    #[test]
    fn each_schema_is_self_contained_and_versioned() {
        for entity in super::super::entities().unwrap() {
            let text = entity.schema.to_string();
            assert!(!text.contains(COMPONENTS), "{}", entity.name);
            assert_eq!(entity.schema["schema_version"], SCHEMA_VERSION);
            for part in references(&entity.schema) {
                assert!(entity.schema["$defs"][&part].is_object(), "{part}");
            }
        }
    }
}
