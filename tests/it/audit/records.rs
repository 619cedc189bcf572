//! Queries and statistics.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{QUERY, all, append, each, settled};
use crate::support::{TestApp, upper};

#[actix_rt::test]
async fn pages_to_the_end_are_what_happened() {
    let app = TestApp::start().await;
    app.bot("up", upper(), &["general"]).await;
    app.key("ada", "external").await;
    for n in 0..4 {
        let task = json!({"type": "general", "content": "x", "tags": [format!("t{n}")]});
        let id = app.submit(&task).await;
        app.result(&id).await;
        append(
            &app,
            "ext.deploy.approved",
            &format!("release {n}"),
            json!({}),
        )
        .await;
    }
    let size = settled(&app).await;
    let oldest_first = all(&app, &format!("{QUERY}?order=oldest&limit=7")).await;
    let indexes: Vec<_> = oldest_first.iter().map(|it| it["index"].as_u64()).collect();
    let expected: Vec<_> = (0..size).map(Some).collect();
    assert_eq!(indexes, expected);
    let mut newest_first = all(&app, &format!("{QUERY}?limit=5")).await;
    newest_first.reverse();
    assert_eq!(newest_first, oldest_first);

    let mut events = all(&app, "/api/v1/events?limit=50").await;
    events.reverse();
    assert_eq!(events.len(), oldest_first.len());
    for (event, record) in events.iter().zip(&oldest_first) {
        for (field, of_event) in event.as_object().unwrap() {
            assert_eq!(record[field], *of_event, "{field} of {record:#}");
        }
        assert_eq!(record["erased"], Value::Null);
        let has_details = event.get("details").is_some();
        assert_eq!(
            record["details_sha256"].is_string(),
            has_details,
            "{record:#}"
        );
    }
}

#[actix_rt::test]
async fn filters_select_what_they_name() {
    let app = TestApp::start().await;
    let made = json!({"user": "ada", "role": "external", "new_user": true});
    let made = app.post("/api/v1/auth/keys", &made).await.is(201).body;
    let (ada, key) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    let severe = json!({"level": "critical", "result": "failure", "details": {"Cause": "Größe"}});
    append(&app, "ext.deploy.failed", "release 7", severe).await;
    // Sleeps: the times of two records are compared, and have milliseconds.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let warning = json!({"level": "warning", "result": "partial"});
    let seq = append(&app, "ext.backup.checked", "nas/1 + 2%", warning).await;
    let body = json!({"action": "ext.deploy.approved", "target": "release 8"});
    app.post_as(ada, super::LOG, &body).await.is(201);
    settled(&app).await;
    let body = app
        .get(&format!("{QUERY}?action=ext&order=oldest"))
        .await
        .is(200)
        .body;
    let (first, second) = (&body["items"][0], &body["items"][1]);
    let (after, index) = (second["at"].as_str().unwrap(), &second["index"]);
    let pseudonym = body["items"][2]["actor_id"].as_str().unwrap();
    assert!(pseudonym.starts_with("user_"), "{body:#}");

    let (failed, checked, approved) = (
        "ext.deploy.failed",
        "ext.backup.checked",
        "ext.deploy.approved",
    );
    for (query, expected) in [
        ("action=ext.deploy.failed".to_owned(), &[failed][..]),
        ("action=ext&level=critical".into(), &[failed]),
        ("action=ext&min_level=warning".into(), &[failed, checked]),
        ("action=ext&result=partial".into(), &[checked]),
        ("action=ext&actor=ada".into(), &[approved]),
        (format!("action=ext&actor={pseudonym}"), &[approved]),
        ("target=release%208".into(), &[approved]),
        ("target_type=ext".into(), &[failed, checked, approved]),
        ("text=RELEASE%208".into(), &[approved]),
        ("text=gr%C3%B6%C3%9Fe".into(), &[failed]),
        ("text=backup.CHECKED".into(), &[checked]),
        (
            format!("action=ext&from_entry={index}"),
            &[checked, approved],
        ),
        (format!("action=ext&to_entry={index}"), &[failed]),
        (format!("min_seq={seq}&max_seq={seq}"), &[checked]),
        (format!("action=ext&after={after}"), &[checked, approved]),
        (
            format!("action=ext&target=release%207&before={after}"),
            &[failed],
        ),
        ("action=ext&actor=nobody".into(), &[]),
        ("action=no.such".into(), &[]),
        ("from_entry=18446744073709551615".into(), &[]),
        ("min_seq=18446744073709551615".into(), &[]),
    ] {
        let found = all(&app, &format!("{QUERY}?{query}&order=oldest")).await;
        assert_eq!(each(&found, "/action"), expected, "{query}");
    }
    assert_eq!(first["details"], json!({"Cause": "Größe"}));

    // The same by path, with what a path has to escape.
    for (path, expected) in [
        ("actor/ada?action=ext".to_owned(), &[approved][..]),
        (format!("actor/{pseudonym}?action=ext"), &[approved]),
        ("actor/nobody?".into(), &[]),
        ("target/release%207?".into(), &[failed]),
        ("target/nas%2F1%20%2B%202%25?".into(), &[checked]),
        (format!("target/{key}?"), &["key.created"]),
        ("critical?action=ext".into(), &[failed]),
    ] {
        let found = all(&app, &format!("/api/audit/{path}&order=oldest")).await;
        assert_eq!(each(&found, "/action"), expected, "{path}");
    }
    let of_user = all(&app, "/api/audit/target/ada?target_type=user").await;
    assert_eq!(each(&of_user, "/action"), ["user.created"]);
    assert_eq!(of_user[0]["target"]["id"], "ada");
    assert_eq!(of_user[0]["target_id"], pseudonym);
}

#[actix_rt::test]
async fn details_that_were_erased_are_told_as_erased() {
    let app = TestApp::start().await;
    let fails = json!({"kind": "command", "command": ["sh", "-c", "echo telltale >&2; exit 3"]});
    app.bot("fails", fails, &["fails"]).await;
    let task = json!({"type": "fails", "content": "x", "max_attempts": 1});
    let id = app.submit(&task).await;
    assert_eq!(app.result(&id).await["success"], false);
    settled(&app).await;
    let records = format!("/api/audit/target/{id}?order=oldest");
    let before = all(&app, &records).await;
    assert!(
        before.iter().any(|it| it["details"].is_object()),
        "{before:#?}"
    );
    assert_eq!(all(&app, &format!("{QUERY}?text=telltale")).await.len(), 1);

    let path = format!("/api/v1/tasks/{id}/content");
    app.send(app.request_as(&app.admin, Method::DELETE, &path))
        .await
        .is(204);
    settled(&app).await;
    let after = all(&app, &records).await;
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(after.last().unwrap()["action"], "task.erased");
    let mut erased = Vec::new();
    for (before, after) in before.iter().zip(&after) {
        // The record and its hash stay.
        for field in ["index", "action", "details_sha256"] {
            assert_eq!(after[field], before[field], "{after:#}");
        }
        assert!(!after.to_string().contains("telltale"), "{after:#}");
        if before.to_string().contains("telltale") {
            assert_eq!(
                (&after["erased"], &after["details"]),
                (&json!(true), &Value::Null)
            );
            erased.push(&after["index"]);
        }
    }
    assert_eq!(all(&app, &format!("{QUERY}?text=telltale")).await.len(), 0);
    let erased = erased[0];
    let proof = app
        .get(&format!("/api/audit/proof/{erased}"))
        .await
        .is(200)
        .body;
    assert_eq!(proof["erased"], true, "{proof:#}");
    assert_eq!(
        (&proof["details"], &proof["salt"]),
        (&Value::Null, &Value::Null)
    );
}

#[actix_rt::test]
async fn statistics_count_what_the_query_finds() {
    let app = TestApp::start().await;
    for n in 0..3 {
        append(&app, "ext.deploy.approved", &format!("r{n}"), json!({})).await;
    }
    append(
        &app,
        "ext.deploy.failed",
        "r3",
        json!({"level": "critical", "result": "failure"}),
    )
    .await;
    settled(&app).await;
    let records = all(&app, &format!("{QUERY}?limit=100")).await;
    let statistics = app.get("/api/audit/statistics").await.is(200).body;
    let total = u64::try_from(records.len()).unwrap();
    assert_eq!(statistics["entries"], total, "{statistics:#}");
    let count = |of: &str, name: &str| {
        let all = statistics[of].get("top").unwrap_or(&statistics[of]);
        let mut all = all.as_array().unwrap().iter();
        let found = all.find(|it| it["name"] == name);
        found.map_or(0, |it| it["entries"].as_u64().unwrap())
    };
    let counted = |pointer: &str, name: &str| {
        let all = each(&records, pointer).into_iter();
        u64::try_from(all.filter(|it| *it == name).count()).unwrap()
    };
    assert_eq!(count("by_action", "ext.deploy.approved"), 3);
    assert_eq!(count("by_actor", "admin"), counted("/actor", "admin"));
    for level in ["info", "warning", "critical"] {
        assert_eq!(
            count("by_level", level),
            counted("/level", level),
            "{level}"
        );
    }
    assert_eq!(count("by_result", "failure"), counted("/result", "failure"));
    let spans = statistics["by_time"].as_array().unwrap();
    let of_spans: u64 = spans.iter().map(|it| it["entries"].as_u64().unwrap()).sum();
    assert_eq!(
        (of_spans, &statistics["span_seconds"]),
        (total, &json!(3_600))
    );

    let long_ago = "after=2020-01-01T00:30:00Z&before=2020-01-01T01:30:00Z";
    let nothing = app
        .get(&format!("/api/audit/statistics?{long_ago}"))
        .await
        .is(200)
        .body;
    assert_eq!(nothing["entries"], 0);
    assert_eq!(nothing["after"], "2020-01-01T00:00:00.000Z");
    assert_eq!(nothing["before"], "2020-01-01T02:00:00.000Z");
}
