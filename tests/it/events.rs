//! The log of events, page by page, and who sees what of it.

use serde_json::{Value, json};

use crate::support::TestApp;

async fn pages(app: &TestApp, key: &str, query: &str, limit: u32) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/events?limit={limit}{query}{cursor}");
        let page = app.get_as(key, &path).await;
        assert_eq!(page.status, 200, "{path} {:?}", page.body);
        let items = page.body["items"].as_array().unwrap();
        assert!(items.len() <= limit as usize);
        all.extend(items.clone());
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

async fn submit(app: &TestApp, key: &str) -> String {
    let body = json!({"type": "general", "content": "x"});
    let request = app.request_as(key, reqwest::Method::POST, "/api/v1/tasks/submit");
    let id = app.send(request.json(&body)).await.body["id"].clone();
    let id = id.as_str().unwrap().to_owned();
    let result = format!("/api/v1/tasks/{id}/result?wait_ms=20000");
    assert_eq!(app.get_as(key, &result).await.status, 200);
    id
}

#[actix_rt::test]
async fn the_log_is_read_page_by_page_and_filtered() {
    let app = TestApp::start_with(&[]).await;
    let id = submit(&app, &app.admin).await;
    let admin = app.admin.clone();
    let all = pages(&app, &admin, "", 1_000).await;
    let numbers: Vec<_> = all.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a > b), "{numbers:?}");
    let small = pages(&app, &admin, "&action=bot", 2).await;
    assert!(small.len() >= 3, "{small:?}");
    assert!(
        small
            .iter()
            .all(|e| e["action"].as_str().unwrap().starts_with("bot."))
    );
    let of_task = pages(&app, &admin, &format!("&target={id}"), 1).await;
    let actions: Vec<_> = of_task
        .iter()
        .map(|e| e["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        ["task.completed", "task.started", "task.submitted"]
    );
    for bad in ["cursor=x", "after=yesterday", "limit=0", "colour=red"] {
        let answer = app.get(&format!("/api/v1/events?{bad}")).await;
        assert_eq!(answer.status, 422, "{bad} {:?}", answer.body);
    }
}

#[actix_rt::test]
async fn restricted_caller_learns_nothing_of_others_from_the_event_log() {
    let app = TestApp::start_with(&[]).await;
    let ada = app.key("ada", "external").await;
    let bob = app.key("bob", "external").await;
    let first = submit(&app, &ada).await;
    let before = pages(&app, &ada, "", 2).await;
    for _ in 0..5 {
        submit(&app, &bob).await;
    }
    // Not by numbers, not by cursors, not by the length of pages.
    let after = pages(&app, &ada, "", 2).await;
    assert_eq!(before, after);
    assert!(
        after
            .iter()
            .all(|event| event["target"]["id"] == first.as_str())
    );
    let numbers: Vec<_> = after.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [3, 2, 1]);
    let page = app.get_as(&ada, "/api/v1/events?limit=1").await.body;
    let own = page["next_cursor"].as_str().unwrap().to_owned();
    let page = app.get("/api/v1/events?limit=1").await.body;
    let of_log = page["next_cursor"].as_str().unwrap();
    for (key, cursor) in [(&ada, of_log), (&app.admin, &own)] {
        let answer = app
            .get_as(key, &format!("/api/v1/events?cursor={cursor}"))
            .await;
        assert_eq!(answer.body["code"], "bad_cursor");
    }
    let second = submit(&app, &ada).await;
    let newest = pages(&app, &ada, "", 2).await;
    assert_eq!(newest.len(), 6);
    assert!(
        newest[..3]
            .iter()
            .all(|event| event["target"]["id"] == second.as_str())
    );
}
