//! Remote workers: leases and completions over HTTP.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::{
    ROUNDS, median, micros,
    raw::{Connection, percentile, rate, request},
    rounded,
    server::{Server, data_dir},
};

/// Workers at a time, each on a connection of its own.
const WORKERS: usize = 100;
/// Tasks a round for each worker, unless the caller names a number.
pub(crate) const TASKS: usize = 200;

/// Measures lease and completion of a task by a hundred workers of one bot, one task at a time
/// each, beside a bare echo under the same client. A round trip is two requests.
pub(crate) async fn measure(tasks: usize) -> Result<Value> {
    let (deia, _) = Server::deia_with(&data_dir("remote")?, &["limits.enabled=false"]).await?;
    let bare = Server::bare()?;
    add_bot(&deia).await?;
    let echoed = json!({"attempt": 1, "lease_token": "x", "output": "done"}).to_string();
    let echo = request("POST", "/api/v1/tasks/submit", &bare.key, &echoed);
    let (mut ours, mut theirs, mut ratios) = (vec![], vec![], vec![]);
    let mut latencies = Vec::new();
    for _ in 0..ROUNDS {
        let time = Duration::from_secs(4);
        let (bare_rate, _) = rate(bare.addr, WORKERS, time, &echo, 202).await?;
        let count = tasks * WORKERS;
        deia.submit("far", count.next_multiple_of(1_000)).await?;
        let begun = Instant::now();
        let workers = (0..WORKERS).map(|n| worker(&deia, n, tasks));
        let trips = try_join_all(workers).await?;
        #[allow(clippy::cast_precision_loss, reason = "a count to a rate")]
        let our_rate = count as f64 / begun.elapsed().as_secs_f64();
        latencies.extend(trips.into_iter().flatten());
        ours.push(our_rate);
        theirs.push(bare_rate);
        ratios.push(2.0 * our_rate / bare_rate);
    }
    Ok(json!({
        "round_trips_per_second": rounded(median(ours)),
        "bare_per_second": rounded(median(theirs)),
        "requests_of_bare": rounded(median(ratios)),
        "trip_us_p50": micros(percentile(&mut latencies, 0.5)),
        "trip_us_p99": micros(percentile(&mut latencies, 0.99)),
    }))
}

/// Puts the bot in place. It is not healthy before a worker asks, so nothing waits for that.
async fn add_bot(deia: &Server) -> Result<()> {
    let spec = json!({
        "executor": {"kind": "remote"},
        "capabilities": {"specializations": ["far"], "max_concurrent_tasks": 2 * WORKERS},
    });
    deia.call("PUT", "/api/v1/bots/far", &spec).await?;
    deia.call("POST", "/api/v1/bots/far/launch", &Value::Null)
        .await?;
    Ok(())
}

/// Leases and completes so many tasks, one after the other. Returns the time of each.
async fn worker(deia: &Server, n: usize, tasks: usize) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(deia.addr).await?;
    let ask = json!({"max": 1, "wait_ms": 20_000, "worker": format!("w-{n}")}).to_string();
    let ask = request("POST", "/api/v1/bots/far/lease", &deia.key, &ask);
    let mut trips = Vec::with_capacity(tasks);
    for _ in 0..tasks {
        let begun = Instant::now();
        let leased: Value = serde_json::from_slice(connection.send(&ask).await?.1)?;
        let task = &leased["tasks"][0];
        let id = task["id"].as_str().with_context(|| leased.to_string())?;
        let body = json!({"attempt": task["attempt"], "lease_token": task["lease_token"],
            "output": "done"});
        let path = format!("/api/v1/tasks/{id}/complete");
        let report = request("POST", &path, &deia.key, &body.to_string());
        let (status, answer) = connection.send(&report).await?;
        ensure!(
            status == 200,
            "{path}: {status} {}",
            String::from_utf8_lossy(answer)
        );
        trips.push(begun.elapsed());
    }
    Ok(trips)
}
