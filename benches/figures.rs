//! The figures of the whole: the real binary, over HTTP, on a disk, durable and
//! authenticated. `cargo bench --bench figures [-- NAME...]` with names from
//! `submit batch admission lifecycle latency status start memory backlog command worker webhooks audit
//! audit-verify audit-query remote idle-bots scheduler degradation reload overload
//! recovery`. A number after some names is another
//! size: `audit-query=10000000` measures among so many entries, `remote=20` so many tasks a
//! worker, `idle-bots=50` so many bots of a kind, `reload=50` so many bots.
//!
//! Each is printed with its reference from the same run, where it has one, and
//! written to `target/deia-bench/figures.json`.

#[path = "figures/admission.rs"]
mod admission;
#[path = "figures/audit.rs"]
mod audit;
#[path = "figures/audit_query.rs"]
mod audit_query;
#[path = "figures/audit_verify.rs"]
mod audit_verify;
#[path = "figures/degradation.rs"]
mod degradation;
#[path = "figures/idle_bots.rs"]
mod idle_bots;
#[path = "figures/overload.rs"]
mod overload;
#[path = "figures/raw.rs"]
mod raw;
#[path = "figures/recovery.rs"]
mod recovery;
#[path = "figures/reload.rs"]
mod reload;
#[path = "figures/remote.rs"]
mod remote;
#[path = "figures/scheduler.rs"]
mod scheduler;
#[path = "figures/server.rs"]
mod server;
#[path = "figures/webhooks.rs"]
mod webhooks;
#[path = "figures/worker.rs"]
mod worker;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Result;
use raw::{Connection, percentile, rate, request};
use serde_json::{Map, Value, json};
use server::{Server, data_dir, serve_bare};

const ROUNDS: usize = 3;
/// Entries of the trail that is queried, unless the caller names a number.
const AUDIT_ENTRIES: u64 = 200_000;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    if args.first().is_some_and(|arg| arg == "bare") {
        return serve_bare();
    }
    if args.first().is_some_and(|arg| arg == worker::PROGRAM) {
        return worker::serve();
    }
    let named = |name: &str| {
        let names = args
            .iter()
            .map(|arg| arg.split_once('=').unwrap_or((arg, "")));
        names.into_iter().find(|(arg, _)| *arg == name)
    };
    let wanted = |name: &str| args.is_empty() || named(name).is_some();
    let number = |name: &str| named(name).and_then(|(_, number)| number.parse::<usize>().ok());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut figures = Map::new();
        for name in [
            "submit",
            "batch",
            "admission",
            "lifecycle",
            "latency",
            "status",
            "start",
            "memory",
            "backlog",
            "command",
            "worker",
            "webhooks",
            "audit",
            "audit-verify",
            "audit-query",
            "remote",
            "idle-bots",
            "reload",
            "scheduler",
            "degradation",
            "overload",
            "recovery",
        ] {
            if wanted(name) {
                let figure = match name {
                    "audit-query" => audit_query::measure(
                        number(name).map_or(AUDIT_ENTRIES, |number| number as u64),
                    )?,
                    "remote" => remote::measure(number(name).unwrap_or(remote::TASKS)).await?,
                    "idle-bots" => {
                        idle_bots::measure(number(name).unwrap_or(idle_bots::BOTS)).await?
                    }
                    "reload" => reload::measure(number(name).unwrap_or(reload::BOTS)).await?,
                    "scheduler" => scheduler::measure()?,
                    _ => measure(name).await?,
                };
                println!("{name:10} {figure}");
                figures.insert(name.into(), figure);
            }
        }
        let path = output_dir().join("figures.json");
        std::fs::write(&path, serde_json::to_string_pretty(&figures)?)?;
        println!("written to {}", path.display());
        let _ = std::fs::remove_dir_all(output_dir().join("data"));
        Ok(())
    })
}

async fn measure(name: &str) -> Result<Value> {
    match name {
        "submit" => submit().await,
        "batch" => batch().await,
        "admission" => admission::measure().await,
        "degradation" => degradation::measure().await,
        "lifecycle" => lifecycle().await,
        "latency" => latency().await,
        "status" => status().await,
        "start" => start().await,
        "memory" => memory().await,
        "backlog" => backlog().await,
        "worker" => worker::measure().await,
        "webhooks" => webhooks::measure().await,
        "overload" => overload::measure().await,
        "recovery" => recovery::measure().await,
        "audit" => {
            tokio::task::LocalSet::new()
                .run_until(audit::measure())
                .await
        }
        "audit-verify" => audit_verify::measure(),
        _ => command().await,
    }
}

pub(crate) fn output_dir() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("deia-bench")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn rounded(value: f64) -> f64 {
    if value >= 100.0 {
        value.round()
    } else {
        (value * 100.0).round() / 100.0
    }
}

fn micros(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e6)
}

/// Submits one task a request over 64 connections, beside a bare echo under the same client.
async fn submit() -> Result<Value> {
    let (deia, _) = Server::deia(&data_dir("submit")?).await?;
    let bare = Server::bare()?;
    let body = json!({"type": "general", "content": "hello"}).to_string();
    let time = Duration::from_secs(4);
    let (mut ours, mut theirs, mut ratios) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let echo = request("POST", "/api/v1/tasks/submit", &bare.key, &body);
        let (bare_rate, _) = rate(bare.addr, 64, time, &echo, 202).await?;
        let submit = request("POST", "/api/v1/tasks/submit", &deia.key, &body);
        let (rate, _) = rate(deia.addr, 64, time, &submit, 202).await?;
        ours.push(rate);
        theirs.push(bare_rate);
        ratios.push(rate / bare_rate);
    }
    let (ours, theirs, ratio) = (median(ours), median(theirs), median(ratios));
    Ok(
        json!({"per_second": rounded(ours), "bare_per_second": rounded(theirs), "of_bare": rounded(ratio)}),
    )
}

/// Submits a thousand tasks a request.
async fn batch() -> Result<Value> {
    let (deia, _) = Server::deia(&data_dir("batch")?).await?;
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        deia.submit("general", 200_000).await?;
        rates.push(200_000.0 / begun.elapsed().as_secs_f64());
    }
    Ok(json!({"tasks_per_second": rounded(median(rates))}))
}

/// Measures submit, claim, run, result and three events, with growing backlogs.
async fn lifecycle() -> Result<Value> {
    let mut figure = Map::new();
    for n in [1_000usize, 50_000, 200_000, 1_000_000] {
        let rounds = if n > 100_000 { 1 } else { ROUNDS };
        let mut rates = Vec::new();
        for _ in 0..rounds {
            let (deia, _) = Server::deia(&data_dir("lifecycle")?).await?;
            for name in ["noop-1", "noop-2"] {
                deia.launch(name, json!({"kind": "simulated"}), 256, &["noop"])
                    .await?;
            }
            let begun = Instant::now();
            deia.submit("noop", n).await?;
            deia.drained().await?;
            #[allow(clippy::cast_precision_loss, reason = "a count to a rate")]
            rates.push(n as f64 / begun.elapsed().as_secs_f64());
        }
        figure.insert(
            format!("tasks_per_second_at_{n}"),
            rounded(median(rates)).into(),
        );
    }
    Ok(figure.into())
}

/// Measures the time until a submission is answered and until its result is there, at 50
/// tasks a second, beside a bare echo at the same pace: the time that the machine takes to
/// wake up.
async fn latency() -> Result<Value> {
    let bare = Server::bare()?;
    let echo = json!({"type": "noop", "content": "hello"}).to_string();
    let echo = request("POST", "/api/v1/tasks/submit", &bare.key, &echo);
    let mut echoed = vec![];
    let mut connection = Connection::open(bare.addr).await?;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..500 {
        tick.tick().await;
        let begun = Instant::now();
        connection.send(&echo).await?;
        echoed.push(begun.elapsed());
    }
    drop(bare);
    let (deia, _) = Server::deia(&data_dir("latency")?).await?;
    deia.launch("noop", json!({"kind": "simulated"}), 64, &["noop"])
        .await?;
    let body = json!({"type": "noop", "content": "hello"}).to_string();
    let submit = request("POST", "/api/v1/tasks/submit", &deia.key, &body);
    let (mut submitted, mut completed) = (vec![], vec![]);
    let mut connection = Connection::open(deia.addr).await?;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..500 {
        tick.tick().await;
        let begun = Instant::now();
        let task: Value = serde_json::from_slice(connection.send(&submit).await?.1)?;
        submitted.push(begun.elapsed());
        let id = task["id"].as_str().unwrap_or_default();
        let result = request(
            "GET",
            &format!("/api/v1/tasks/{id}/result?wait_ms=5000"),
            &deia.key,
            "",
        );
        anyhow::ensure!(connection.send(&result).await?.0 == 200, "no result");
        completed.push(begun.elapsed());
    }
    Ok(json!({
        "bare_us_p50": micros(percentile(&mut echoed, 0.5)), "bare_us_p99": micros(percentile(&mut echoed, 0.99)),
        "submit_us_p50": micros(percentile(&mut submitted, 0.5)), "submit_us_p99": micros(percentile(&mut submitted, 0.99)),
        "completed_us_p50": micros(percentile(&mut completed, 0.5)), "completed_us_p99": micros(percentile(&mut completed, 0.99)),
    }))
}

/// Measures `GET status` while 64 connections submit.
async fn status() -> Result<Value> {
    let (deia, _) = Server::deia(&data_dir("status")?).await?;
    let task = deia
        .call(
            "POST",
            "/api/v1/tasks/submit",
            &json!({"type": "general", "content": ""}),
        )
        .await?;
    let path = format!(
        "/api/v1/tasks/{}/status",
        task["id"].as_str().unwrap_or_default()
    );
    let body = json!({"type": "general", "content": "hello"}).to_string();
    let (submit, read) = (
        request("POST", "/api/v1/tasks/submit", &deia.key, &body),
        request("GET", &path, &deia.key, ""),
    );
    let time = Duration::from_secs(4);
    let (load, reads) = tokio::try_join!(
        rate(deia.addr, 63, time, &submit, 202),
        rate(deia.addr, 1, time, &read, 200)
    )?;
    let mut latencies = reads.1;
    Ok(json!({
        "p50_us": micros(percentile(&mut latencies, 0.5)), "p99_us": micros(percentile(&mut latencies, 0.99)),
        "submits_per_second_meanwhile": rounded(load.0),
    }))
}

/// Measures the time until `/readyz` answers, with 100,000 tasks queued, after `kill -9`.
async fn start() -> Result<Value> {
    let dir = data_dir("start")?;
    let (deia, fresh) = Server::deia(&dir).await?;
    deia.submit("nobody", 100_000).await?;
    deia.kill();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let (deia, took) = Server::deia(&dir).await?;
        deia.kill();
        times.push(took.as_secs_f64() * 1e3);
    }
    Ok(
        json!({"ready_ms_empty": rounded(fresh.as_secs_f64() * 1e3), "ready_ms_at_100000": rounded(median(times))}),
    )
}

/// Measures the resident memory of the server and its reaper.
#[allow(clippy::cast_precision_loss, reason = "bytes to megabytes")]
async fn memory() -> Result<Value> {
    let (deia, _) = Server::deia(&data_dir("memory")?).await?;
    let idle = deia.memory_bytes();
    deia.submit("nobody", 1_000_000).await?;
    let full = deia.memory_bytes();
    Ok(json!({"idle_mb": rounded(idle as f64 / 1e6), "mb_at_1000000": rounded(full as f64 / 1e6)}))
}

/// Measures pages of lists, and the rates of other tasks, with a million tasks queued that
/// nobody takes.
async fn backlog() -> Result<Value> {
    let (deia, _) = Server::deia(&data_dir("backlog")?).await?;
    deia.launch("noop", json!({"kind": "simulated"}), 256, &["noop"])
        .await?;
    let mut figure = Map::new();
    for queued in [0, 1_000_000] {
        deia.submit("nobody", queued).await?;
        let body = json!({"type": "general", "content": "hello"}).to_string();
        let submit = request("POST", "/api/v1/tasks/submit", &deia.key, &body);
        let (rate, _) = rate(deia.addr, 64, Duration::from_secs(4), &submit, 202).await?;
        let begun = Instant::now();
        deia.submit("noop", 50_000).await?;
        deia.ran("noop").await?;
        let lifecycle = 50_000.0 / begun.elapsed().as_secs_f64();
        figure.insert(
            format!("submits_per_second_at_{queued}"),
            rounded(rate).into(),
        );
        figure.insert(
            format!("lifecycle_per_second_at_{queued}"),
            rounded(lifecycle).into(),
        );
    }
    for (name, path) in [
        ("newest", "/api/v1/tasks?limit=100"),
        ("of_type", "/api/v1/tasks?limit=100&type=nobody"),
        ("of_priority", "/api/v1/tasks?limit=100&priority=P2"),
        ("failed", "/api/v1/tasks?limit=100&status=failed"),
        ("running", "/api/v1/tasks?limit=100&status=running"),
        ("of_nobody", "/api/v1/tasks?limit=100&submitter=nobody"),
        ("no_such_tag", "/api/v1/tasks?limit=100&tag=none"),
        ("queue", "/api/v1/queue"),
    ] {
        let page = request("GET", path, &deia.key, "");
        let mut connection = Connection::open(deia.addr).await?;
        let mut times = Vec::new();
        for _ in 0..51 {
            let begun = Instant::now();
            let (status, body) = connection.send(&page).await?;
            anyhow::ensure!(status == 200, "{path}: {}", String::from_utf8_lossy(body));
            times.push(begun.elapsed());
        }
        figure.insert(
            format!("list_{name}_us_p50"),
            micros(percentile(&mut times, 0.5)).into(),
        );
    }
    Ok(figure.into())
}

/// Starts programs and waits for them, in a bare loop. Returns the rate per second.
fn bare_spawns(count: u32, at_a_time: u32) -> Result<f64> {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let spawning = |_| {
            scope.spawn(|| -> Result<()> {
                for _ in 0..count / at_a_time {
                    let mut child = std::process::Command::new("true")
                        .stdin(std::process::Stdio::null())
                        .stdout(std::process::Stdio::piped())
                        .stderr(std::process::Stdio::piped())
                        .spawn()?;
                    child.wait()?;
                }
                Ok(())
            })
        };
        let threads: Vec<_> = (0..at_a_time).map(spawning).collect();
        threads.into_iter().try_for_each(|thread| {
            let spawned = thread.join();
            spawned.unwrap_or_else(|_| anyhow::bail!("a thread that spawns has panicked"))
        })
    })?;
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// Measures start, run of `true` and record, beside a bare loop that spawns and waits.
async fn command() -> Result<Value> {
    let (deia, _) = Server::deia(&data_dir("command")?).await?;
    deia.launch(
        "runs",
        json!({"kind": "command", "command": ["true"]}),
        8,
        &["run"],
    )
    .await?;
    let (mut rates, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(tokio::task::spawn_blocking(|| bare_spawns(2_000, 8)).await??);
        let begun = Instant::now();
        deia.submit("run", 2_000).await?;
        deia.drained().await?;
        rates.push(2_000.0 / begun.elapsed().as_secs_f64());
    }
    let (rate, bare) = (median(rates), median(bare));
    Ok(json!({
        "tasks_per_second": rounded(rate),
        "bare_spawns_per_second": rounded(bare),
        "of_bare": rate / bare,
    }))
}
