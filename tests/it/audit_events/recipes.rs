//! One call of each route that changes something, such that it does change something.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::walk::Walk;
use crate::support::task;

const SCHEDULER: &str = "/api/v1/supervisors/hive/core/scheduler";

/// Sets up what a call of the route needs, and returns the call, to be sent by the caller of
/// the walk; `None` for a route without a recipe.
pub(super) async fn request(walk: &mut Walk, route: &str) -> Option<RequestBuilder> {
    let (method, path) = route.split_once(' ').unwrap();
    let method: Method = method.parse().unwrap();
    let area = path
        .trim_start_matches("/api/v1/")
        .split('/')
        .next()
        .unwrap();
    match area {
        "tasks" => of_tasks(walk, route).await,
        "queue" => of_the_queue(walk, route).await,
        "bots" => of_bots(walk, route, method).await,
        "webhooks" => of_webhooks(walk, route, method).await,
        "auth" | "users" => of_access(walk, route, method).await,
        _ => of_the_rest(walk, route, method).await,
    }
}

/// Ends what would keep later calls from their effect.
pub(super) async fn clean_up(walk: &Walk, route: &str) {
    if route.ends_with("/config/reload") {
        walk.app
            .post("/api/config/confirm", &json!({}))
            .await
            .is(200);
    }
    if ["/queue/pause", "/queue/drain"]
        .iter()
        .any(|path| route.ends_with(path))
    {
        walk.app
            .post("/api/v1/queue/resume", &json!({}))
            .await
            .is(200);
    }
}

async fn of_tasks(walk: &mut Walk, route: &str) -> Option<RequestBuilder> {
    Some(match route {
        "POST /api/v1/tasks/submit" => walk.post("/api/v1/tasks/submit", &task("x")),
        "POST /api/v1/tasks/batch" => walk.post(
            "/api/v1/tasks/batch",
            &json!({"tasks": [task("x"), task("y")]}),
        ),
        "POST /api/v1/tasks/{id}/cancel" => {
            let id = walk.waiting_task().await;
            walk.call(Method::POST, &format!("/api/v1/tasks/{id}/cancel"))
        }
        "POST /api/v1/tasks/{id}/heartbeat" => walk.report("heartbeat", json!({})).await,
        "POST /api/v1/tasks/{id}/output" => {
            let piece = json!({"offset": 0, "text": "x"});
            walk.report("output", piece).await
        }
        "POST /api/v1/tasks/{id}/complete" => walk.report("complete", json!({})).await,
        "POST /api/v1/tasks/{id}/fail" => walk.report("fail", json!({"error": "x"})).await,
        "POST /api/v1/tasks/{id}/retry" => {
            let id = walk.ended_task().await;
            walk.call(Method::POST, &format!("/api/v1/tasks/{id}/retry"))
        }
        "DELETE /api/v1/tasks/{id}/content" => {
            let id = walk.ended_task().await;
            walk.call(Method::DELETE, &format!("/api/v1/tasks/{id}/content"))
        }
        _ => return None,
    })
}

async fn of_the_queue(walk: &mut Walk, route: &str) -> Option<RequestBuilder> {
    Some(match route {
        "POST /api/v1/queue/pause" => walk.post("/api/v1/queue/pause", &json!({})),
        "POST /api/v1/queue/resume" => {
            walk.app
                .post("/api/v1/queue/pause", &json!({}))
                .await
                .is(200);
            walk.post("/api/v1/queue/resume", &json!({}))
        }
        "POST /api/v1/queue/drain" => {
            // A pause that is there already is not paused anew, and drained all the same.
            walk.app
                .post("/api/v1/queue/pause", &json!({}))
                .await
                .is(200);
            walk.post("/api/v1/queue/drain", &json!({}))
        }
        "POST /api/v1/queue/purge" => {
            walk.waiting_task().await;
            walk.post("/api/v1/queue/purge", &json!({"type": "nobody"}))
        }
        "POST /api/v1/queue/dead/requeue" => {
            let name = walk.name();
            let fails = json!({"kind": "simulated", "success_rate": 0.0, "latency_ms": 1});
            walk.app.bot(&name, fails, &["failing"]).await;
            let failing = json!({"type": "failing", "content": "x", "max_attempts": 1});
            let id = walk.app.submit(&failing).await;
            assert_eq!(walk.app.result(&id).await["success"], false);
            walk.post("/api/v1/queue/dead/requeue", &json!({"type": "failing"}))
        }
        _ => return None,
    })
}

async fn of_bots(walk: &mut Walk, route: &str, method: Method) -> Option<RequestBuilder> {
    let (bot, action) = match route {
        "PUT /api/v1/bots/{id}" => {
            let spec = json!({"executor": {"kind": "simulated", "latency_ms": 1}});
            let path = format!("/api/v1/bots/{}", walk.name());
            return Some(walk.call(method, &path).json(&spec));
        }
        "POST /api/v1/bots/{id}/lease" => {
            let bot = walk.remote_bot().await;
            return Some(walk.post(&format!("/api/v1/bots/{bot}/lease"), &json!({})));
        }
        "POST /api/v1/bots/{id}/input" => {
            let worker = walk.worker_bot().await;
            let path = format!("/api/v1/bots/{worker}/input");
            return Some(walk.post(&path, &json!({"text": "hello"})));
        }
        "DELETE /api/v1/bots/{id}" => (walk.stopped_bot().await, ""),
        "POST /api/v1/bots/{id}/launch" => (walk.stopped_bot().await, "/launch"),
        "POST /api/v1/bots/{id}/stop" => (walk.running_bot().await, "/stop"),
        "POST /api/v1/bots/{id}/drain" => (walk.running_bot().await, "/drain"),
        "GET /api/v1/bots/{id}/inbox" => {
            let (bot, _) = sent_message(walk).await;
            (bot, "/inbox")
        }
        _ => return None,
    };
    Some(walk.call(method, &format!("/api/v1/bots/{bot}{action}")))
}

/// Returns a bot, and a message in its inbox.
async fn sent_message(walk: &mut Walk) -> (String, String) {
    let bot = walk.stopped_bot().await;
    let message = json!({"receiver_bot": bot, "content": "x"});
    let sent = walk.app.post("/api/v1/messages", &message).await.is(201);
    (bot, sent.body["id"].as_str().unwrap().to_owned())
}

async fn of_webhooks(walk: &mut Walk, route: &str, method: Method) -> Option<RequestBuilder> {
    let url = walk.sink.url();
    let action = route.rsplit_once('}').map_or("", |(_, action)| action);
    Some(match route {
        "POST /api/v1/webhooks/register" => {
            let body = json!({"url": url, "events": ["ext"]});
            walk.post("/api/v1/webhooks/register", &body)
        }
        "PATCH /api/v1/webhooks/{id}" => {
            let path = walk.webhook(&url, json!({})).await;
            walk.call(method, &path)
                .json(&json!({"description": "other"}))
        }
        "DELETE /api/v1/webhooks/{id}"
        | "POST /api/v1/webhooks/{id}/test"
        | "POST /api/v1/webhooks/{id}/disable"
        | "POST /api/v1/webhooks/{id}/rotate-secret" => {
            let path = walk.webhook(&url, json!({})).await;
            walk.call(method, &format!("{path}{action}"))
        }
        "POST /api/v1/webhooks/{id}/enable" => {
            let path = walk.webhook(&url, json!({})).await;
            walk.app
                .post(&format!("{path}/disable"), &Value::Null)
                .await
                .is(200);
            walk.call(method, &format!("{path}/enable"))
        }
        "POST /api/v1/webhooks/{id}/deliveries/{message}/retry" => {
            let path = delivered(walk, &url).await;
            walk.call(method, &format!("{path}/retry"))
        }
        "POST /api/v1/webhooks/{id}/replays" => {
            let path = walk.webhook(&url, json!({})).await;
            walk.post(
                &format!("{path}/replays"),
                &json!({"from": "2020-01-01T00:00:00Z"}),
            )
        }
        "POST /api/v1/webhooks/{id}/replays/{replay}/stop" => {
            let path = running_replay(walk).await;
            walk.call(method, &format!("{path}/stop"))
        }
        _ => return None,
    })
}

/// Returns the path of a delivery that has arrived.
async fn delivered(walk: &Walk, url: &str) -> String {
    let wanted = json!({"events": ["task.submitted"], "task_types": ["hooked"]});
    let path = walk.webhook(url, wanted).await;
    walk.app
        .submit(&json!({"type": "hooked", "content": "x"}))
        .await;
    let deliveries = format!("{path}/deliveries");
    let state = async |app: &crate::support::TestApp| {
        let all = app.get(&deliveries).await.is(200).body;
        all["items"][0].clone()
    };
    walk.app
        .until("the event is delivered", async |app| {
            state(app).await["state"] == "delivered"
        })
        .await;
    let id = state(&walk.app).await["id"].as_str().unwrap().to_owned();
    format!("{deliveries}/{id}")
}

/// Returns the path of a replay to a receiver that does not answer.
async fn running_replay(walk: &Walk) -> String {
    let url = format!("http://{}/", walk.silent.local_addr().unwrap());
    let path = walk
        .webhook(&url, json!({"events": ["task"], "concurrency": 1}))
        .await;
    let replays = format!("{path}/replays");
    let body = json!({"from": "2020-01-01T00:00:00Z"});
    let replay = walk.app.post(&replays, &body).await.is(202).body;
    assert_eq!(replay["state"], "running", "{replay:#}");
    format!("{replays}/{}", replay["id"].as_str().unwrap())
}

async fn of_access(walk: &mut Walk, route: &str, method: Method) -> Option<RequestBuilder> {
    Some(match route {
        "POST /api/v1/auth/can-i" => {
            walk.post("/api/v1/auth/can-i", &json!({"permission": "task:read"}))
        }
        "POST /api/v1/auth/keys" => {
            let body = json!({"user": walk.name(), "role": "viewer", "new_user": true});
            walk.post("/api/v1/auth/keys", &body)
        }
        "POST /api/v1/auth/keys/{id}/rotate" => {
            let (_, id, _) = walk.user_with_key().await;
            walk.call(method, &format!("/api/v1/auth/keys/{id}/rotate"))
        }
        "POST /api/v1/auth/keys/{id}/revoke" => {
            let (_, id, _) = walk.user_with_key().await;
            walk.call(method, &format!("/api/v1/auth/keys/{id}/revoke"))
        }
        "POST /api/v1/users" => {
            let body = json!({"id": walk.name(), "role": "viewer"});
            walk.post("/api/v1/users", &body)
        }
        "PATCH /api/v1/users/{id}" => {
            let (user, ..) = walk.user_with_key().await;
            let path = format!("/api/v1/users/{user}");
            walk.call(method, &path).json(&json!({"role": "operator"}))
        }
        "DELETE /api/v1/users/{id}" => {
            let (user, ..) = walk.user_with_key().await;
            walk.call(method, &format!("/api/v1/users/{user}"))
        }
        "DELETE /api/v1/users/{id}/sessions" => {
            let (user, _, key) = walk.user_with_key().await;
            walk.open_session(&key).await;
            walk.call(method, &format!("/api/v1/users/{user}/sessions"))
        }
        "POST /api/v1/auth/session" => walk.call(method, "/api/v1/auth/session"),
        "DELETE /api/v1/auth/session" => end_of_own_session(walk).await,
        "DELETE /api/v1/auth/sessions" => {
            walk.open_session(&walk.key).await;
            walk.call(method, "/api/v1/auth/sessions")
        }
        _ => return None,
    })
}

/// Returns the request by which a page of the hive logs its user out.
async fn end_of_own_session(walk: &Walk) -> RequestBuilder {
    let opened = walk.open_session(&walk.key).await;
    let cookie = opened.header("set-cookie").split_once("; ").unwrap().0;
    let csrf = opened.body["csrf_token"].as_str().unwrap();
    walk.app
        .request(Method::DELETE, "/api/v1/auth/session")
        .header("cookie", cookie)
        .header("origin", &walk.app.url)
        .header("sec-fetch-site", "same-origin")
        .header("x-csrf-token", csrf)
}

/// Changes a setting, and confirms what waited for it.
async fn changed_setting(walk: &Walk, change: Value) {
    // Nothing may wait for a confirmation.
    walk.app.post("/api/config/confirm", &json!({})).await;
    let path = "/api/config/value/secrets.max";
    let patch = walk.app.request_as(&walk.app.admin, Method::PATCH, path);
    walk.app.send(patch.json(&change)).await.is(200);
}

async fn of_the_rest(walk: &mut Walk, route: &str, method: Method) -> Option<RequestBuilder> {
    Some(match route {
        "POST /api/v1/alerts/{id}/acknowledge" => {
            let open = "/api/v1/alerts?open=true";
            walk.app
                .until("there is an alert", async |app| {
                    app.get(open).await.is(200).body["items"][0].is_object()
                })
                .await;
            let alerts = walk.app.get(open).await.is(200).body;
            let id = alerts["items"][0]["id"].as_str().unwrap();
            walk.call(method, &format!("/api/v1/alerts/{id}/acknowledge"))
        }
        "POST /api/degradation/mode" => {
            let drill = json!({"level": 0, "reason": "drill", "duration_seconds": 60});
            walk.post("/api/degradation/mode", &drill)
        }
        "POST /api/v1/sessions" => walk.post("/api/v1/sessions", &json!({})),
        "POST /api/v1/sessions/{id}/end" => {
            let started = walk.app.post("/api/v1/sessions", &json!({})).await.is(201);
            let id = started.body["id"].as_str().unwrap().to_owned();
            walk.call(method, &format!("/api/v1/sessions/{id}/end"))
        }
        "POST /api/v1/messages" => {
            let bot = walk.stopped_bot().await;
            let message = json!({"receiver_bot": bot, "content": "x"});
            walk.post("/api/v1/messages", &message)
        }
        "POST /api/v1/messages/{id}/read" => {
            let (_, id) = sent_message(walk).await;
            walk.call(method, &format!("/api/v1/messages/{id}/read"))
        }
        "PUT /api/v1/secrets/{id}" => {
            let path = format!("/api/v1/secrets/{}", walk.name());
            walk.call(method, &path).json(&json!({"value": "x"}))
        }
        "DELETE /api/v1/secrets/{id}" => {
            let path = format!("/api/v1/secrets/{}", walk.name());
            walk.app.put(&path, &json!({"value": "x"})).await.is(204);
            walk.call(method, &path)
        }
        "POST /api/audit/log" => {
            let event = json!({"action": "ext.walk.done", "target": "x"});
            walk.post("/api/audit/log", &event)
        }
        "POST /api/audit/verify" => walk.call(method, "/api/audit/verify"),
        "POST /api/disaster-recovery/restore-point" => {
            walk.first_point().await;
            walk.post(
                "/api/disaster-recovery/restore-point",
                &json!({"label": "x"}),
            )
        }
        "POST /api/disaster-recovery/backup" => {
            walk.post("/api/disaster-recovery/backup", &json!({}))
        }
        "POST /api/disaster-recovery/verify" => {
            walk.first_point().await;
            walk.call(method, "/api/disaster-recovery/verify")
        }
        "POST /api/disaster-recovery/drill" => {
            walk.first_point().await;
            walk.post("/api/disaster-recovery/drill", &json!({}))
        }
        "POST /api/disaster-recovery/restore/{id}" => {
            let id = walk.first_point().await;
            let name = walk.name();
            let to = walk.data_dir().with_file_name(name);
            let path = format!("/api/disaster-recovery/restore/{id}");
            walk.post(&path, &json!({"to": to}))
        }
        "POST /api/disaster-recovery/resume" => {
            // The mark that a restore leaves.
            let mark = json!({
                "restored_at": "2026-11-20T08:30:00Z", "to": "2026-11-20T08:00:00Z",
                "position": "1.1", "paused": true, "notes": [],
            });
            walk.app.stop();
            std::fs::write(walk.data_dir().join("restored.json"), mark.to_string()).unwrap();
            walk.start_again().await;
            walk.call(method, "/api/disaster-recovery/resume")
        }
        "POST /api/disaster-recovery/mark-shutdown" => {
            walk.call(method, "/api/disaster-recovery/mark-shutdown")
        }
        "POST /api/audit/key/rotate" => walk.call(method, "/api/audit/key/rotate"),
        "PATCH /api/config/value/{key}" => {
            let path = "/api/config/value/secrets.max_bytes";
            walk.call(method, path).json(&json!({"value": "32KiB"}))
        }
        "POST /api/config/reload" => {
            std::fs::write(walk.settings_file(), "secrets: {max: 49}\n").unwrap();
            walk.post(
                "/api/config/reload",
                &json!({"confirm_within_seconds": 600}),
            )
        }
        "POST /api/config/check-reload" => walk.call(method, "/api/config/check-reload"),
        "POST /api/config/confirm" => {
            changed_setting(walk, json!({"value": 48, "confirm_within_seconds": 600})).await;
            walk.call(method, "/api/config/confirm")
        }
        "POST /api/config/undo" => {
            changed_setting(walk, json!({"value": 47})).await;
            walk.call(method, "/api/config/undo")
        }
        "POST /api/v1/system/restart" => walk.call(method, "/api/v1/system/restart"),
        "POST /api/v1/supervisors/{path}/restart" => {
            walk.call(method, &format!("{SCHEDULER}/restart"))
        }
        "POST /api/v1/supervisors/{path}/suspend" => {
            let bot = walk.running_bot().await;
            let path = format!("/api/v1/supervisors/hive/core/bots/{bot}/suspend");
            walk.post(&path, &json!({"reason": "walk"}))
        }
        "POST /api/v1/supervisors/{path}/resume" => {
            let bot = walk.running_bot().await;
            let path = format!("/api/v1/supervisors/hive/core/bots/{bot}");
            walk.app
                .post(&format!("{path}/suspend"), &Value::Null)
                .await
                .is(200);
            walk.call(method, &format!("{path}/resume"))
        }
        _ => return None,
    })
}
