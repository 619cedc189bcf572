//! The audit trail from the outside: the real server, over HTTP and from the command line.

mod appending;
mod caches;
mod cli;
mod exports;
mod proofs;
mod records;
mod refusals;
mod rights;
mod tile_client;
mod verification;

use deia_hive::testing::until;
use serde_json::{Value, json};

use crate::support::TestApp;

const LOG: &str = "/api/audit/log";
const QUERY: &str = "/api/audit/query";

/// Waits until every event so far can be found in the trail, and returns the number of entries.
async fn settled(app: &TestApp) -> u64 {
    let status = app.get("/api/v1/system/status").await.is(200).body;
    let last = status["last_event_seq"].as_u64().unwrap();
    until("every event is in the trail and its index", async || {
        let path = format!("{QUERY}?min_seq={last}&limit=1");
        let page = app.get(&path).await.is(200).body;
        let found = !page["items"].as_array().unwrap().is_empty();
        let indexed = page["indexed_upto"] == page["size"];
        (found && indexed).then(|| page["size"].as_u64().unwrap())
    })
    .await
}

/// Returns all records of a query, page by page.
async fn all(app: &TestApp, query: &str) -> Vec<Value> {
    let mut records = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut page = app.get(&format!("{query}{cursor}")).await.is(200).body;
        records.append(page["items"].as_array_mut().unwrap());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return records,
        }
    }
}

/// Records an event of another system, and returns its number.
async fn append(app: &TestApp, action: &str, target: &str, more: Value) -> u64 {
    let mut body = json!({"action": action, "target": target});
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    let made = app.post(LOG, &body).await.is(201);
    made.body["seq"].as_u64().unwrap()
}

/// Returns one field of each record.
fn each<'r>(records: &'r [Value], pointer: &str) -> Vec<&'r str> {
    let field = |record: &'r Value| record.pointer(pointer).and_then(Value::as_str);
    records
        .iter()
        .map(|record| field(record).unwrap_or_default())
        .collect()
}
