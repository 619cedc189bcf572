//! Callers, and what each may do with the trail.

use serde_json::json;

use super::{LOG, append, settled};
use crate::support::TestApp;

const READS: [&str; 10] = [
    "/api/audit/query",
    "/api/audit/actor/admin",
    "/api/audit/target/x",
    "/api/audit/critical",
    "/api/audit/statistics",
    "/api/audit/proof/0",
    "/api/audit/consistency?from=1",
    "/api/audit/checkpoint",
    "/api/audit/log/checkpoint",
    "/api/audit/log/tile/0/000.p/1",
];

#[actix_rt::test]
async fn roles_read_export_and_append_as_they_may() {
    let app = TestApp::start().await;
    append(&app, "ext.deploy", "release 7", json!({})).await;
    settled(&app).await;
    let event = json!({"action": "ext.deploy", "target": "release 8"});
    for (role, reads, exports, appends) in [
        ("operator", true, true, true),
        ("viewer", true, false, false),
        ("external", false, false, true),
        ("bot", false, false, true),
    ] {
        let key = app.key(&format!("a-{role}"), role).await;
        for path in READS {
            let answer = app.client_get(&key, path).await;
            let expected = if reads { 200 } else { 403 };
            assert_eq!(answer.status(), expected, "{role} {path}");
        }
        let exported = app.client_get(&key, "/api/audit/export").await;
        assert_eq!(exported.status(), if exports { 200 } else { 403 }, "{role}");
        let appended = app.post_as(&key, LOG, &event).await;
        assert_eq!(appended.status, if appends { 201 } else { 403 }, "{role}");
    }
    // A key that is held to one of the three.
    let body =
        json!({"user": "ci", "role": "operator", "new_user": true, "scopes": ["audit:append"]});
    let key = app.post("/api/v1/auth/keys", &body).await.is(201).body;
    let key = key["key"].as_str().unwrap();
    app.post_as(key, LOG, &event).await.is(201);
    let refused = app.get_as(key, "/api/audit/query").await;
    let refused = refused.refuses(403, "permission_denied");
    assert_eq!(refused.body["permission"], "audit:read");
    let refused = app.get_as(key, "/api/audit/export").await;
    let refused = refused.refuses(403, "permission_denied");
    assert_eq!(refused.body["permission"], "audit:export");
}
