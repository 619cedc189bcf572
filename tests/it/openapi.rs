//! The description of the API is complete, and its committed copies are current.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use deia::http::{Access, catalogue_page, openapi, table};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, task, upper};

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

/// Real answers of every operation that has links, by operation. The tasks have ended.
async fn answers(app: &TestApp) -> BTreeMap<&'static str, Value> {
    // First: the lists of tasks are to begin with tasks that have ended.
    two_alerts(app).await;
    let webhook = Webhook::with_deliveries(app).await;
    let upper_spec = json!({"executor": upper(), "capabilities": {"specializations": ["general"]}});
    app.bot("upper-1", upper(), &["general"]).await;
    let failing = json!({"kind": "simulated", "success_rate": 0.0});
    app.bot("failing-1", failing, &["doomed"]).await;
    let ids = [
        app.submit(&task("a")).await,
        app.submit(&json!({"type": "doomed", "content": "", "max_attempts": 1}))
            .await,
        app.submit(&json!({"type": "doomed", "content": "", "max_attempts": 1}))
            .await,
    ];
    for id in &ids {
        app.result(id).await;
    }
    app.put("/api/v1/secrets/linked", &json!({"value": "a value"}))
        .await
        .is(204);
    let user = json!({"id": "ada", "role": "viewer"});
    let user = app.post("/api/v1/users", &user).await.is(201).body;
    let key = app
        .post(
            "/api/v1/auth/keys",
            &json!({"user": "ada", "role": "viewer"}),
        )
        .await;
    let key = key.is(201).body;
    let rotate = format!("/api/v1/auth/keys/{}/rotate", key["id"].as_str().unwrap());
    let submitted = app
        .post("/api/v1/tasks/submit", &task("b"))
        .await
        .is(202)
        .body;
    app.result(submitted["id"].as_str().unwrap()).await;
    let batch = json!({"tasks": [task("c")]});
    let batch = app.post("/api/v1/tasks/batch", &batch).await.is(202).body;
    app.result(batch["ids"][0].as_str().unwrap()).await;
    let mut answers = BTreeMap::from([
        ("submit_task", submitted),
        ("submit_tasks", batch),
        ("create_user", user),
        ("create_key", key),
        (
            "rotate_key",
            app.post(&rotate, &Value::Null).await.is(201).body,
        ),
        (
            "put_bot",
            app.put("/api/v1/bots/upper-2", &upper_spec)
                .await
                .is(201)
                .body,
        ),
    ]);
    let setting = "/api/config/value/tasks.max_batch";
    let change = app.request_as(&app.admin, Method::PATCH, setting);
    let change = change.json(&json!({"value": 900}));
    app.send(change).await.is(200);
    for (operation, path) in [
        ("list_tasks", "/api/v1/tasks?limit=1"),
        ("list_dead_tasks", "/api/v1/queue/dead?limit=1"),
        ("list_events", "/api/v1/events?limit=1"),
        ("list_alerts", "/api/v1/alerts?limit=1"),
        ("list_bots", "/api/v1/bots"),
        ("list_secrets", "/api/v1/secrets"),
        ("list_keys", "/api/v1/auth/keys"),
        ("list_users", "/api/v1/users"),
        ("list_errors", "/api/errors"),
        ("list_schemas", "/api/schemas"),
        ("get_supervisors", "/api/v1/supervisors"),
        ("list_settings_versions", "/api/config/history?limit=1"),
    ] {
        answers.insert(operation, app.get(path).await.is(200).body);
    }
    add_points(app, &mut answers).await;
    let page = format!("{WEBHOOKS}?limit=1");
    answers.insert("list_webhooks", app.get(&page).await.is(200).body);
    webhook.add_answers(app, &mut answers).await;
    add_messages(app, &mut answers).await;
    add_audit(app, &mut answers).await;
    answers
}

/// Adds the answer about restore points, whose list has another page.
async fn add_points(app: &TestApp, answers: &mut BTreeMap<&'static str, Value>) {
    let path = "/api/disaster-recovery";
    for label in ["a", "b"] {
        app.post(&format!("{path}/restore-point"), &json!({"label": label}))
            .await
            .is(201);
    }
    let list = format!("{path}/backup-history?limit=1");
    answers.insert("list_restore_points", app.get(&list).await.is(200).body);
}

/// Adds the answers about messages and sessions, whose lists have another page.
async fn add_messages(app: &TestApp, answers: &mut BTreeMap<&'static str, Value>) {
    let new = json!({"receiver_bot": "upper-1", "content": "x"});
    app.post("/api/v1/messages", &new).await.is(201);
    let sent = app.post("/api/v1/messages", &new).await.is(201).body;
    let sessions = "/api/v1/sessions";
    app.post(sessions, &json!({})).await.is(201);
    let started = app.post(sessions, &json!({})).await.is(201).body;
    answers.insert("start_task_session", started);
    answers.insert("send_message", sent);
    for (operation, path) in [
        ("take_bot_messages", "/api/v1/bots/upper-1/inbox"),
        ("list_messages", "/api/v1/messages?limit=1"),
        ("list_task_sessions", "/api/v1/sessions?limit=1"),
    ] {
        answers.insert(operation, app.get(path).await.is(200).body);
    }
}

/// The path parameter of the records of an actor, and that of the records about a target.
const OF_AUDIT: [(&str, &str); 2] = [
    ("query_audit_by_actor", "admin"),
    ("query_audit_by_target", "upper-1"),
];

/// Adds the answers about the audit trail, each of which has another page.
async fn add_audit(app: &TestApp, answers: &mut BTreeMap<&'static str, Value>) {
    let [(_, actor), (_, target)] = OF_AUDIT;
    for (operation, path) in [
        ("query_audit", "query".to_owned()),
        ("query_audit_by_actor", format!("actor/{actor}")),
        ("query_audit_by_target", format!("target/{target}")),
        ("query_critical_audit", "critical".to_owned()),
    ] {
        let path = format!("/api/audit/{path}?limit=1");
        app.until("there are two pages of records", async |app| {
            let page = app.get(&path).await.is(200).body;
            page["next_cursor"].is_string()
        })
        .await;
        answers.insert(operation, app.get(&path).await.is(200).body);
    }
}

const WEBHOOKS: &str = "/api/v1/webhooks";

/// An endpoint that refuses its deliveries, as it was registered.
struct Webhook(Value);

impl Webhook {
    /// Registers two endpoints, for the second page of their list, and waits until two
    /// deliveries failed.
    async fn with_deliveries(app: &TestApp) -> Self {
        // Nothing listens on the port once the listener is gone.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let register = format!("{WEBHOOKS}/register");
        let new = json!({"url": url, "events": ["task"]});
        app.post(&register, &new).await.is(201);
        let webhook = Self(app.post(&register, &new).await.is(201).body);
        app.submit(&task("delivered")).await;
        webhook
    }

    fn id(&self) -> &str {
        self.0["id"].as_str().unwrap()
    }

    /// Adds the answers about the endpoint.
    async fn add_answers(self, app: &TestApp, answers: &mut BTreeMap<&'static str, Value>) {
        let path = format!("{WEBHOOKS}/{}", self.id());
        app.until("there are two deliveries", async |app| {
            let list = app.get(&format!("{path}/deliveries")).await.is(200).body;
            list["items"].as_array().unwrap().len() >= 2
        })
        .await;
        let list = format!("{path}/deliveries?limit=1");
        answers.insert("list_webhook_deliveries", app.get(&list).await.is(200).body);
        let replays = format!("{path}/replays");
        let range = json!({"from": "2026-01-01T00:00:00Z"});
        let started = app.post(&replays, &range).await.is(202).body;
        answers.insert("start_webhook_replay", started);
        answers.insert("list_webhook_replays", app.get(&replays).await.is(200).body);
        answers.insert("register_webhook", self.0);
    }
}

/// Waits until there is an alert of the disk and one of a bot.
async fn two_alerts(app: &TestApp) {
    let nowhere = json!({"kind": "command", "command": ["/there/is/none"]});
    app.bot("broken", nowhere, &["writing"]).await;
    app.submit(&json!({"type": "writing", "content": "x"}))
        .await;
    app.until("there are two alerts", async |app| {
        let alerts = app.get("/api/v1/alerts?open=true").await.is(200).body;
        alerts["items"].as_array().unwrap().len() == 2
    })
    .await;
}

/// Returns the value of the expression of a link. The requests below a webhook are about
/// the registered one.
fn value_of(answers: &BTreeMap<&str, Value>, from: &str, expression: &str) -> Option<String> {
    let of_audit = OF_AUDIT.iter().find(|(operation, _)| *operation == from);
    let value = match (expression, of_audit) {
        ("$request.path.id", Some((_, id))) => return Some((*id).to_owned()),
        ("$request.path.id", None) => answers["register_webhook"].pointer("/id"),
        (other, _) => answers[from].pointer(other.strip_prefix("$response.body#")?),
    };
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[tokio::test]
async fn links_lead_to_operations_with_values_of_real_answers() {
    let settings = [
        "bots.seed=[]",
        "recovery.mode=async",
        "alerts.disk_percent=1",
        "alerts.look_every=1s",
        "webhooks.allow_http=true",
        "webhooks.allow_networks=[127.0.0.0/8]",
    ];
    let app = TestApp::start_with(&settings).await;
    let answers = answers(&app).await;
    let document = openapi::document().unwrap();
    let all = operations(&document);
    let mut followed = 0;
    for (_, _, operation) in &all {
        let from = operation["operationId"].as_str().unwrap();
        let responses = operation["responses"].as_object().unwrap().values();
        let links = responses.filter_map(|response| response["links"].as_object());
        for (name, link) in links.flatten() {
            let what = format!("{from}: {name}");
            let target = all
                .iter()
                .find(|(_, _, to)| to["operationId"] == link["operationId"]);
            let (path, method, to) = target.expect(&what);
            let mut path = path.clone();
            for (parameter, expression) in link["parameters"].as_object().unwrap() {
                let value = value_of(&answers, from, expression.as_str().unwrap());
                let value = value.expect(&what);
                let declared = to["parameters"].as_array().into_iter().flatten();
                let mut declared = declared.filter(|one| one["name"] == *parameter);
                match declared.next().expect(&what)["in"].as_str().unwrap() {
                    "path" => path = path.replace(&format!("{{{parameter}}}"), &value),
                    // A cursor needs no escapes.
                    _ => path = format!("{path}?{parameter}={value}"),
                }
            }
            assert!(!path.contains('{'), "{what}: a parameter has no value");
            if method == "get" {
                let answer = app.get(&path).await;
                // A failed attempt of a simulated bot leaves no output.
                let leads_on = answer.status == 200 || answer.body["code"] == "output_missing";
                assert!(leads_on, "{what}: {answer:#?}");
                followed += 1;
            }
        }
    }
    assert!(followed > 20, "{followed} links were followed");
}

/// Compares with the committed copy; `DEIA_BLESS=1` writes the copy again.
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
