//! Workers on a connection that drops, delays and cuts: nothing is lost, and nothing is completed
//! twice.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Worker, far};
use crate::support::{TestApp, client};

const TASKS: usize = 120;
const WORKERS: usize = 6;

/// Passes connections on; of each request and answer some are cut, or come late.
async fn proxy(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let n = count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(pass(from, to, n));
        }
    });
    address
}

async fn pass(mut from: TcpStream, to: SocketAddr, n: u64) -> Option<()> {
    let mut to = TcpStream::connect(to).await.ok()?;
    let mut request = vec![0; 65_536];
    let read = from.read(&mut request).await.ok()?;
    match n % 7 {
        // The request is lost.
        0 => return None,
        // Sleeps: the connection is slow.
        1 => tokio::time::sleep(Duration::from_millis(30 * (n % 5))).await,
        _ => {}
    }
    to.write_all(&request[..read]).await.ok()?;
    let mut answer = Vec::new();
    to.read_to_end(&mut answer).await.ok()?;
    match n % 7 {
        // The answer is lost, or cut.
        2 => return None,
        3 => from.write_all(&answer[..answer.len() / 2]).await.ok()?,
        _ => from.write_all(&answer).await.ok()?,
    }
    from.shutdown().await.ok()
}

/// Sends a request until an answer comes through.
async fn insist(http: &reqwest::Client, url: &str, key: &str, body: &Value) -> (u16, Value) {
    loop {
        let request = http
            .post(url)
            .bearer_auth(key)
            .header("Connection", "close")
            .json(body);
        if let Ok(answer) = request.send().await {
            let status = answer.status().as_u16();
            if let Ok(body) = answer.json().await {
                return (status, body);
            }
        }
    }
}

#[actix_rt::test]
async fn nothing_is_lost_or_completed_twice_on_a_flaky_connection() {
    let app = TestApp::start().await;
    let worker = Worker::of(
        &app,
        "far-1",
        json!({"kind": "remote", "heartbeat_seconds": 2}),
    )
    .await;
    let mut ids = Vec::new();
    for n in 0..TASKS {
        ids.push(app.submit(&far(&format!("{n}"))).await);
    }
    let hive: SocketAddr = app.url.trim_start_matches("http://").parse().unwrap();
    let base = format!("http://{}", proxy(hive).await);
    let http = client().timeout(Duration::from_secs(5)).build().unwrap();
    let recorded = AtomicU64::new(0);
    let work = async |name: usize| {
        for request in 0.. {
            let ask = json!({"max": 3, "wait_ms": 300, "worker": format!("w{name}"), "request": format!("{request}")});
            let url = format!("{base}/api/v1/bots/far-1/lease");
            let (status, leased) = insist(&http, &url, &worker.key, &ask).await;
            assert_eq!(status, 200, "{leased}");
            for task in leased["tasks"].as_array().unwrap() {
                let done = json!({"attempt": task["attempt"], "lease_token": task["lease_token"], "output": task["content"]});
                let url = format!(
                    "{base}/api/v1/tasks/{}/complete",
                    task["id"].as_str().unwrap()
                );
                match insist(&http, &url, &worker.key, &done).await {
                    (200, answer) => {
                        recorded
                            .fetch_add(u64::from(answer["repeated"] == false), Ordering::Relaxed);
                    }
                    // The lease ended while the worker insisted.
                    (409, answer) => assert_eq!(answer["code"], "stale_lease", "{answer}"),
                    other => panic!("{other:?}"),
                }
            }
            let mut left = 0;
            for status in ["pending", "queued", "running"] {
                let path = format!("/api/v1/tasks?status={status}&limit=1");
                left += app.get(&path).await.is(200).body["items"]
                    .as_array()
                    .unwrap()
                    .len();
            }
            if left == 0 {
                return;
            }
        }
    };
    futures_util::future::join_all((0..WORKERS).map(work)).await;
    assert!(recorded.load(Ordering::Relaxed) <= TASKS as u64);
    for (n, id) in ids.iter().enumerate() {
        let result = app.result(id).await;
        assert_eq!(
            (&result["success"], &result["output"]),
            (&json!(true), &json!(format!("{n}")))
        );
        let events = app
            .get(&format!("/api/v1/tasks/{id}/events"))
            .await
            .is(200)
            .body;
        let ends = events["items"].as_array().unwrap().iter();
        let ends = ends
            .filter(|event| event["action"] == "task.completed")
            .count();
        assert_eq!(ends, 1, "{events:#}");
    }
}
