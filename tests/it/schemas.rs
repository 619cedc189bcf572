//! The schemas are current, hold for real answers, and leave nothing out.

use std::{collections::BTreeSet, fs, path::PathBuf};

use deia::http::schemas::{data_model_page, entities, entity};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::{
    cli_support::{admin_command, run},
    support::TestApp,
};

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name)
}

fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::meta::validate(schema).unwrap();
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(schema)
        .unwrap()
}

/// The schema of an entity, with what no reader would notice refused as well:
/// fields that it does not name.
fn strict(name: &str) -> Validator {
    fn close(schema: &mut Value) {
        match schema {
            Value::Object(fields) => {
                if fields.get("properties").is_some_and(Value::is_object) {
                    fields.entry("additionalProperties").or_insert(json!(false));
                }
                fields.values_mut().for_each(close);
            }
            Value::Array(items) => items.iter_mut().for_each(close),
            _ => {}
        }
    }
    let mut schema = entity(name).unwrap().unwrap().schema.clone();
    close(&mut schema);
    validator(&schema)
}

#[track_caller]
fn holds(validator: &Validator, what: &str, value: &Value) {
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{what}: {errors:#?}\n{value:#}");
}

/// Compares with the committed copy; `DEIA_BLESS=1` writes the copy again.
fn assert_current(name: &str, text: &str) {
    if std::env::var_os("DEIA_BLESS").is_some() {
        fs::write(docs(name), text).unwrap();
    }
    let committed = fs::read_to_string(docs(name)).unwrap_or_default();
    assert!(
        committed == text,
        "docs/{name} is stale: DEIA_BLESS=1 cargo test --test it schemas"
    );
}

#[test]
fn the_committed_schemas_are_current() {
    let mut names = BTreeSet::new();
    for entity in entities().unwrap() {
        let name = format!("{}.json", entity.name);
        let text = serde_json::to_string_pretty(&entity.schema).unwrap() + "\n";
        assert_current(&format!("schemas/{name}"), &text);
        names.insert(name);
    }
    for file in fs::read_dir(docs("schemas")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name), "docs/schemas/{name} is of nothing");
    }
}

#[test]
fn the_committed_data_model_is_current() {
    assert_current("DATA-MODEL.md", &data_model_page().unwrap());
}

#[test]
fn examples_fit_their_schemas() {
    for entity in entities().unwrap() {
        let example = serde_json::from_str(&entity.example).unwrap();
        holds(&validator(&entity.schema), entity.name, &example);
        holds(&strict(entity.name), entity.name, &example);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for (name, value) in [
        ("NewTask", json!({"type": "general"})),
        (
            "NewTask",
            json!({"type": "general", "content": "x", "rocket": 1}),
        ),
        (
            "NewTask",
            json!({"type": "general", "content": "x", "priority": "P9"}),
        ),
        (
            "NewTask",
            json!({"type": "general", "content": "x", "run_at": "soon"}),
        ),
        (
            "NewTask",
            json!({"type": "general", "content": "x", "max_attempts": 0}),
        ),
        ("BotSpec", json!({"executor": {"kind": "rocket"}})),
        (
            "BotSpec",
            json!({"executor": {"kind": "command", "command": ["a"], "shell": true}}),
        ),
        ("Task", json!({})),
    ] {
        let schema = &entity(name).unwrap().unwrap().schema;
        assert!(!validator(schema).is_valid(&value), "{name}: {value}");
    }
}

#[actix_rt::test]
async fn real_answers_fit_their_schemas() {
    let app = TestApp::start().await;
    let spec = json!({"kind": "command", "command": ["tr", "a-z", "A-Z"], "env": {"A": "b"}});
    app.bot("upper-1", spec, &["general"]).await;
    let sim = json!({"kind": "simulated", "behavior": "slow", "latency_ms": {"min": 60000, "max": 60000}});
    app.bot("sim-1", sim, &["writing"]).await;
    let task = json!({"type": "general", "content": "hello", "tags": ["t"], "metadata": {"n": 1}});
    let accepted = app.post("/api/v1/tasks/submit", &task).await.is(202).body;
    holds(&strict("Submitted"), "submit", &accepted);
    let id = accepted["id"].as_str().unwrap().to_owned();
    app.result(&id).await;
    let batch = json!({"tasks": [{"type": "writing", "content": "x"}, {"type": "general", "content": "y"}]});
    let batch = app.post("/api/v1/tasks/batch", &batch).await.is(202).body;
    holds(&strict("BatchAccepted"), "batch", &batch);
    let new_key = json!({"user": "ci", "role": "external"});
    let key = app.post("/api/v1/auth/keys", &new_key).await.is(201).body;
    holds(&strict("CreatedKey"), "create key", &key);
    for (name, path) in [
        ("Task", format!("/api/v1/tasks/{id}")),
        ("TaskState", format!("/api/v1/tasks/{id}/status")),
        ("Result", format!("/api/v1/tasks/{id}/result")),
        ("Bot", "/api/v1/bots/upper-1".into()),
        ("Bot", "/api/v1/bots/sim-1".into()),
        ("LogLines", "/api/v1/bots/upper-1/logs".into()),
        ("QueueStatus", "/api/v1/queue".into()),
        ("SystemStatus", "/api/v1/system/status".into()),
        ("HealthMetrics", "/api/v1/system/health".into()),
        ("WhoAmI", "/api/v1/auth/whoami".into()),
        ("DegradationStatus", "/api/degradation/status".into()),
    ] {
        holds(&strict(name), &path, &app.get(&path).await.is(200).body);
    }
    for (name, path) in [
        ("Task", "/api/v1/tasks"),
        ("Bot", "/api/v1/bots"),
        ("Key", "/api/v1/auth/keys"),
        ("FeatureStatus", "/api/degradation/features"),
    ] {
        let list = app.get(path).await.is(200).body;
        let items = list["items"].as_array().unwrap();
        assert!(!items.is_empty(), "{path}");
        items
            .iter()
            .for_each(|item| holds(&strict(name), path, item));
    }
    let event = json!({"action": "ext.a", "target": "x", "details": {"b": 1}});
    app.post("/api/audit/log", &event).await.is(201);
    app.until("the event is in the trail", async |app| {
        let page = app.get("/api/audit/query?action=ext").await.is(200).body;
        page["items"][0].is_object()
    })
    .await;
    let page = app.get("/api/audit/query").await.is(200).body;
    for record in page["items"].as_array().unwrap() {
        holds(&strict("AuditRecord"), "a record", record);
        let proof = format!("/api/audit/proof/{}", record["index"]);
        holds(
            &strict("AuditProof"),
            &proof,
            &app.get(&proof).await.is(200).body,
        );
    }
    for (name, path) in [
        ("AuditConsistency", "/api/audit/consistency?from=1"),
        ("AuditCheckpoint", "/api/audit/checkpoint"),
        ("AuditStatistics", "/api/audit/statistics"),
    ] {
        holds(&strict(name), path, &app.get(path).await.is(200).body);
    }
    let verify = "/api/audit/verify";
    app.post(verify, &Value::Null).await.is(202);
    app.until("the trail is verified", async |app| {
        app.get(verify).await.is(200).body["last"].is_object()
    })
    .await;
    let verified = app.get(verify).await.is(200).body;
    holds(&strict("AuditVerification"), verify, &verified["last"]);
    let tree = app.get("/api/v1/supervisors").await.is(200).body;
    let node = &entity("SupervisorNode").unwrap().unwrap().schema;
    holds(&validator(node), "supervisors", &tree);
    for answer in [
        app.get("/api/v1/tasks/nothing").await,
        app.post("/api/v1/tasks/submit", &json!({"type": 5})).await,
        app.get("/api/nowhere").await,
        app.get_as("no-key", "/api/v1/queue").await,
    ] {
        assert!(answer.status >= 400, "{answer:?}");
        holds(&strict("Problem"), "a problem", &answer.body);
    }
}

#[actix_rt::test]
async fn schemas_are_served() {
    let app = TestApp::start().await;
    let list = app.get("/api/schemas").await.is(200).body;
    assert_eq!(list["schema_version"], "1.0.0");
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), entities().unwrap().len());
    for item in items {
        let schema = app.get(item["url"].as_str().unwrap()).await.is(200);
        assert_eq!(schema.header("content-type"), "application/schema+json");
        assert_eq!(schema.body["title"], item["name"]);
    }
    app.get("/api/schemas/Rocket")
        .await
        .refuses(404, "not_found");
    app.get_as("no-key", "/api/schemas/Task")
        .await
        .refuses(401, "key_malformed");
}

#[test]
fn the_command_line_knows_the_schemas_without_a_hive() {
    let admin = |args: &[&str]| run(admin_command(args), "");
    let listed = admin(&["schema"]).ok();
    for entity in entities().unwrap() {
        assert!(listed.out.contains(entity.name), "{listed:?}");
        let shown = admin(&["schema", entity.name]).ok().parsed();
        assert_eq!(shown, entity.schema);
    }
    let yaml = admin(&["schema", "task", "--output", "yaml"]).ok();
    assert!(yaml.out.contains("title: Task\n"), "{yaml:?}");
    let list = admin(&["schema", "--output", "json"]).ok().parsed();
    assert_eq!(list["items"][0]["name"], "Task");
    admin(&["schema", "Rocket"]).exits(4).only_tells("Task");
}
