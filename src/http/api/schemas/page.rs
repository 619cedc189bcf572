//! `docs/DATA-MODEL.md`, written from the schemas.

use std::collections::BTreeMap;

use deia_model::{SCHEMA_VERSION, schema::Entity};
use serde_json::Value;

use super::{entities, summary};

/// Types that are the same as an entity of another name.
const SAME: &[(&str, &str)] = &[("TaskResult", "Result"), ("KeyInfo", "Key")];

/// Returns the page as Markdown.
///
/// # Errors
/// As [`entities`].
pub fn data_model_page() -> Result<String, &'static serde_json::Error> {
    let all = entities()?;
    let mut out = format!(
        "# Data model\n\n\
         Schema version {SCHEMA_VERSION}. Written from the types; a test fails when it is stale.\n\
         `DEIA_BLESS=1 cargo test --test it schemas` generates it and [`docs/schemas`](schemas).\n\n\
         Each entity has a JSON Schema (2020-12): in [`docs/schemas`](schemas), from a running hive at\n\
         `GET /api/schemas/{{name}}`, and from `deia schema NAME`. Times are RFC 3339 in UTC;\n\
         durations are in the unit that the name of the field ends with; ids are a prefix for\n\
         the kind of object and a UUIDv7 in base32. Unknown fields in requests are refused; answers\n\
         may get new fields, and readers must ignore fields that they do not know. Within one major\n\
         version of the schema no field is removed and no field changes its type or meaning.\n\n\
         | entity | description |\n|---|---|\n"
    );
    for entity in all {
        let (name, anchor) = (entity.name, anchor(entity.name));
        out += &format!("| [{name}](#{anchor}) | {} |\n", cell(&summary(entity)));
    }
    for entity in all {
        out += &section(entity);
    }
    out += "\n## Parts\n\nTypes that the entities above are composed of.\n";
    for (name, schema) in parts(all) {
        out += &format!("\n### {name}\n\n{}\n", flat(&schema["description"]));
        out += &body(&schema, &names_of(&schema));
    }
    Ok(out)
}

fn section(entity: &Entity) -> String {
    let name = entity.name;
    let mut out = format!("\n## {name}\n\n{}\n", summary(entity));
    let fields = match entity.fields.as_slice() {
        [] => names_of(&entity.schema),
        fields => fields.to_vec(),
    };
    out += &body(&entity.schema, &fields);
    out += &format!("\n```json\n{}\n```\n", entity.example);
    out += &format!("\n[Schema](schemas/{name}.json)\n");
    out
}

/// Returns the parts that are not entities themselves, each once.
fn parts(all: &[Entity]) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for entity in all {
        for (name, schema) in entity.schema["$defs"].as_object().into_iter().flatten() {
            if !all.iter().any(|entity| entity.name == entity_name(name)) {
                found.insert(name.clone(), schema.clone());
            }
        }
    }
    found
}

fn names_of(schema: &Value) -> Vec<String> {
    let named = schema["properties"].as_object();
    named.into_iter().flat_map(|p| p.keys().cloned()).collect()
}

/// Describes the fields of an object, the values of an enumeration, or the alternatives.
fn body(schema: &Value, fields: &[String]) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let shown: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
        return format!("\nOne of {}.\n", shown.join(", "));
    }
    if let Some(alternatives) = schema["oneOf"].as_array() {
        let mut out = "\nOne of:\n".to_owned();
        for one in alternatives {
            let what = flat(&one["description"]);
            out += &format!("\n- {}: {what}\n", type_of(one));
            if one["properties"].is_object() {
                out += &body(one, &names_of(one)).replace('\n', "\n  ");
                out = out.trim_end().to_owned() + "\n";
            }
        }
        return out;
    }
    if fields.is_empty() {
        return format!("\nA {}.\n", type_of(schema));
    }
    table(schema, fields)
}

fn table(schema: &Value, fields: &[String]) -> String {
    let mut out = "\n| field | type | | meaning |\n|---|---|---|---|\n".to_owned();
    let required = schema["required"].as_array();
    for name in fields {
        let field = &schema["properties"][name];
        let needed = required.is_some_and(|all| all.iter().any(|one| one == name));
        let needed = if needed { "required" } else { "" };
        let meaning = cell(&description(field));
        let kind = cell(&type_of(field));
        out += &format!(
            "| `{name}` | {kind} | {needed} | {meaning}{} |\n",
            range(field)
        );
    }
    out
}

/// Returns the description of a field, or that of its alternative to `null`.
fn description(field: &Value) -> String {
    let own = flat(&field["description"]);
    if !own.is_empty() {
        return own;
    }
    let alternatives = field["oneOf"].as_array().into_iter().flatten();
    let mut said = alternatives.map(|one| flat(&one["description"]));
    said.find(|text| !text.is_empty()).unwrap_or_default()
}

fn range(field: &Value) -> String {
    match (&field["minimum"], &field["maximum"]) {
        (Value::Number(_), Value::Number(max)) if max.as_u64().is_some_and(is_of_type) => {
            String::new()
        }
        (Value::Number(min), Value::Number(max)) => format!(" {min} to {max}."),
        _ => String::new(),
    }
}

/// Returns whether a maximum is only that of the integer type.
fn is_of_type(max: u64) -> bool {
    [u8::MAX.into(), u16::MAX.into(), u32::MAX.into(), u64::MAX].contains(&max)
}

fn type_of(schema: &Value) -> String {
    if let Some(to) = schema["$ref"].as_str() {
        return link(to);
    }
    if let Some([one]) = schema["enum"].as_array().map(Vec::as_slice) {
        return format!("`{one}`");
    }
    if let Some(alternatives) = schema["oneOf"].as_array() {
        let types: Vec<_> = alternatives.iter().map(type_of).collect();
        return types.join(" or ");
    }
    let named: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return "any JSON value".into(),
    };
    let shown = named.iter().map(|name| match *name {
        "array" => format!("list of {}", type_of(&schema["items"])),
        "string" if schema["format"] == "date-time" => "time".into(),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map to {}", type_of(&schema["additionalProperties"]))
        }
        other => other.into(),
    });
    shown.collect::<Vec<String>>().join(" or ")
}

fn link(to: &str) -> String {
    let name = to.rsplit('/').next().unwrap_or(to);
    format!("[{name}](#{})", anchor(entity_name(name)))
}

fn entity_name(part: &str) -> &str {
    let same = SAME.iter().find(|(of, _)| *of == part);
    same.map_or(part, |(_, entity)| entity)
}

fn anchor(name: &str) -> String {
    name.to_lowercase()
}

fn flat(text: &Value) -> String {
    let words = text.as_str().unwrap_or_default().split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
