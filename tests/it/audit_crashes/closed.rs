//! A trail that cannot be written: nothing happens that gives rights, runs programs or sends
//! data out; tasks go on, and so does all that takes something away.

use std::path::PathBuf;

use deia::http::table;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    access_table::path_of,
    audit_trail::is_sound_and_complete,
    support::{TestApp, silent, task},
    webhook_support::{LOOPBACK, register},
};

/// Routes that change something and are refused while the trail cannot be written. All others
/// go on: a new route belongs here if it gives rights, runs programs or sends data out.
const CLOSED: [&str; 20] = [
    "DELETE /api/v1/tasks/{id}/content",
    "PATCH /api/config/value/{key}",
    "PATCH /api/v1/users/{id}",
    "PATCH /api/v1/webhooks/{id}",
    "POST /api/audit/key/rotate",
    "POST /api/config/confirm",
    "POST /api/config/reload",
    "POST /api/v1/auth/keys",
    "POST /api/v1/auth/keys/{id}/rotate",
    "POST /api/v1/bots/{id}/launch",
    "POST /api/v1/queue/resume",
    "POST /api/v1/users",
    "POST /api/v1/webhooks/register",
    "POST /api/v1/webhooks/{id}/deliveries/{message}/retry",
    "POST /api/v1/webhooks/{id}/enable",
    "POST /api/v1/webhooks/{id}/replays",
    "POST /api/v1/webhooks/{id}/rotate-secret",
    "POST /api/v1/webhooks/{id}/test",
    "PUT /api/v1/bots/{id}",
    "PUT /api/v1/secrets/{id}",
];

/// Lists of what the refused changes are about.
const LISTS: [&str; 5] = [
    "/api/v1/auth/keys",
    "/api/v1/bots",
    "/api/v1/secrets",
    "/api/v1/users",
    "/api/v1/webhooks",
];

/// A directory of the trail that a file has taken the place of.
struct Broken {
    partials: PathBuf,
    aside: PathBuf,
}

impl Broken {
    async fn make(app: &TestApp) -> Self {
        let entries = app.data_dir().join("audit/tile/entries");
        let broken = Self {
            partials: entries.join("000.p"),
            aside: entries.join("aside"),
        };
        app.until("the trail has its first entries", async |_| {
            broken.partials.is_dir()
        })
        .await;
        std::fs::rename(&broken.partials, &broken.aside).unwrap();
        std::fs::write(&broken.partials, "").unwrap();
        broken
    }

    fn mend(self) {
        std::fs::remove_file(&self.partials).unwrap();
        std::fs::rename(&self.aside, &self.partials).unwrap();
    }
}

/// The answer to a privileged request that would change nothing.
async fn probe(app: &TestApp) -> u16 {
    app.post("/api/v1/users", &json!({})).await.status
}

/// Waits until the trail has failed to take an event.
async fn until_closed(app: &TestApp) {
    app.submit(&task("x")).await;
    app.until("it closes", async |app| probe(app).await == 503)
        .await;
}

async fn until_open(app: &TestApp) {
    app.until("it opens", async |app| probe(app).await == 422)
        .await;
}

async fn start() -> TestApp {
    let settings = ["bots.seed=[]", "limits.enabled=false"];
    TestApp::start_with(&[&settings[..], &LOOPBACK].concat()).await
}

#[actix_rt::test]
async fn routes_that_are_refused_while_the_trail_cannot_be_written() {
    let mut app = start().await;
    let broken = Broken::make(&app).await;
    until_closed(&app).await;
    let mut closed = Vec::new();
    let mut open = 0;
    for route in table().into_iter().filter(|it| it.leaves.is_some()) {
        let template = route.template();
        let method: Method = route.method.as_str().parse().unwrap();
        // A request that comes to its handler is refused for its body: nothing is changed.
        let request = app.request_as(&app.admin, method.clone(), &path_of(&template));
        let answer = app.send(request.body("{")).await;
        if answer.status == 503 {
            answer.refuses(503, "audit_unavailable");
            closed.push(format!("{method} {template}"));
        } else {
            assert!(answer.status < 500, "{method} {template}: {answer:#?}");
            open += 1;
        }
    }
    closed.sort_unstable();
    assert_eq!(closed, CLOSED);
    assert!(open > 20, "{open}");
    broken.mend();
    until_open(&app).await;
    assert!(app.stop().success());
    is_sound_and_complete(app.data_dir()).await;
}

/// Returns what the lists have, without what changes by itself.
async fn lists(app: &TestApp) -> Vec<Value> {
    let mut all = Vec::new();
    for path in LISTS {
        let items = app.get(path).await.is(200).body["items"].take();
        for mut item in items.as_array().unwrap().iter().cloned() {
            let members = item.as_object_mut().unwrap();
            members.retain(|name, _| !name.ends_with("_at") && !name.ends_with("_ms"));
            all.push(item);
        }
    }
    all
}

/// Objects that exist before the trail breaks.
struct Scene {
    key: String,
    webhook: String,
    waits: String,
}

async fn set_up(app: &TestApp) -> Scene {
    app.bot("worker", silent(), &["general"]).await;
    app.put("/api/v1/bots/spare", &spare()).await.is(201);
    let key = json!({"user": "ada", "role": "viewer", "new_user": true});
    let key = app.post("/api/v1/auth/keys", &key).await.is(201).body;
    let webhook = register(app, "http://127.0.0.1:9/", json!({})).await;
    let text = |value: &Value| value["id"].as_str().unwrap().to_owned();
    Scene {
        key: text(&key),
        webhook: text(&webhook),
        waits: app.submit(&json!({"type": "waits", "content": ""})).await,
    }
}

fn spare() -> Value {
    json!({"executor": {"kind": "simulated", "latency_ms": 1}})
}

/// Privileged changes, and the answers that they have when all is well.
fn privileged(scene: &Scene) -> Vec<(Method, String, Value, u16)> {
    let webhook = format!("/api/v1/webhooks/{}", scene.webhook);
    let key = format!("/api/v1/auth/keys/{}", scene.key);
    let changed = json!({"executor": {"kind": "simulated", "latency_ms": 2}});
    let hook = json!({"url": "http://127.0.0.1:9/other", "events": ["task"]});
    let other = json!({"user": "bob", "role": "admin", "new_user": true});
    [
        ("POST", "/api/v1/auth/keys".into(), other, 201),
        ("POST", format!("{key}/rotate"), Value::Null, 201),
        ("PUT", "/api/v1/bots/other".into(), spare(), 201),
        ("PUT", "/api/v1/bots/spare".into(), changed, 200),
        ("POST", "/api/v1/bots/spare/launch".into(), Value::Null, 202),
        ("POST", "/api/v1/webhooks/register".into(), hook, 201),
        ("PATCH", webhook, json!({"description": "other"}), 200),
        (
            "POST",
            "/api/v1/users".into(),
            json!({"id": "eve", "role": "viewer"}),
            201,
        ),
        (
            "PATCH",
            "/api/v1/users/ada".into(),
            json!({"role": "operator"}),
            200,
        ),
        (
            "PUT",
            "/api/v1/secrets/token".into(),
            json!({"value": "x"}),
            204,
        ),
        (
            "PATCH",
            "/api/config/value/secrets.max".into(),
            json!({"value": 77}),
            200,
        ),
    ]
    .map(|(method, path, body, status)| (method.parse().unwrap(), path, body, status))
    .into()
}

async fn send(app: &TestApp, method: &Method, path: &str, body: &Value) -> crate::support::Answer {
    let request = app.request_as(&app.admin, method.clone(), path);
    let request = match body {
        Value::Null => request,
        body => request.json(body),
    };
    app.send(request).await
}

#[actix_rt::test]
async fn privileged_changes_wait_for_the_trail_and_tasks_do_not() {
    let mut app = start().await;
    let scene = set_up(&app).await;
    let broken = Broken::make(&app).await;
    until_closed(&app).await;

    let before = lists(&app).await;
    for (method, path, body, _) in privileged(&scene) {
        let answer = send(&app, &method, &path, &body).await;
        let refused = answer.refuses(503, "audit_unavailable");
        assert!(!refused.header("retry-after").is_empty(), "{refused:#?}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(
            detail.contains("audit trail cannot be written"),
            "{detail:?}"
        );
    }
    assert_eq!(lists(&app).await, before);

    // These go on.
    let submitted = app.submit(&task("while it is closed")).await;
    let second = app.submit(&json!({"type": "waits", "content": ""})).await;
    let Scene {
        key,
        webhook,
        waits,
    } = &scene;
    for (path, status) in [
        (format!("/api/v1/tasks/{waits}/cancel"), 200),
        ("/api/v1/queue/pause".into(), 200),
        ("/api/v1/bots/worker/stop".into(), 202),
        (format!("/api/v1/webhooks/{webhook}/disable"), 200),
        (format!("/api/v1/auth/keys/{key}/revoke"), 200),
    ] {
        let body = match path.ends_with("/pause") {
            true => json!({"reason": "the trail cannot be written"}),
            false => Value::Null,
        };
        app.post(&path, &body).await.is(status);
    }
    app.until("the bot is stopped", async |app| {
        app.get("/api/v1/bots/worker").await.body["status"] == "stopped"
    })
    .await;
    assert_eq!(probe(&app).await, 503);

    broken.mend();
    until_open(&app).await;
    let again = json!({"user": "ada", "role": "viewer"});
    let again = app.post("/api/v1/auth/keys", &again).await.is(201).body;
    let scene = Scene {
        key: again["id"].as_str().unwrap().to_owned(),
        ..scene
    };
    for (method, path, body, status) in privileged(&scene) {
        send(&app, &method, &path, &body).await.is(status);
    }
    app.post("/api/v1/queue/resume", &json!({})).await.is(200);
    assert!(app.stop().success(), "{}", app.log());
    let entries = is_sound_and_complete(app.data_dir()).await;
    for (action, id) in [
        ("task.submitted", &*submitted),
        ("task.submitted", &second),
        ("task.cancelled", &scene.waits),
        ("bot.stopped", "worker"),
        ("webhook.disabled", &scene.webhook),
        ("bot.created", "other"),
    ] {
        let of = |it: &&deia_trail::entry::Entry| it.action == action && it.target.id == id;
        assert_eq!(entries.iter().filter(of).count(), 1, "{action} of {id}");
    }
}
