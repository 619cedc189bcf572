//! The audit trail: its cost to the life of tasks, the time until events are sealed, and the
//! bytes that entries take.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{
    ROUNDS, median,
    raw::{Connection, request},
    rounded,
    server::{Server, data_dir},
};

/// Tasks whose lives are measured.
const TASKS: usize = 50_000;
/// Bots that run them, made by the start: while the trail fails nobody may launch any.
const BOTS: &str = "bots.seed=[{name: noop-1, executor: {kind: simulated}, capabilities: {bot_type: simulated, specializations: [noop], max_concurrent_tasks: 256}}, {name: noop-2, executor: {kind: simulated}, capabilities: {bot_type: simulated, specializations: [noop], max_concurrent_tasks: 256}}]";

/// Measures the figures of the audit trail. The reference is the same hive whose trail cannot
/// be opened, so that no event is entered.
pub(crate) async fn measure() -> Result<Value> {
    let (mut rates, mut ratios, mut lags, mut caught_up, mut bytes) =
        (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let without = lifecycle(false).await?;
        let with = lifecycle(true).await?;
        rates.push(with.per_second);
        ratios.push(with.per_second / without.per_second);
        lags.push(with.lag_seconds);
        caught_up.push(with.caught_up_seconds);
        bytes.push(with.bytes_per_entry);
    }
    Ok(json!({
        "lifecycle_per_second": rounded(median(rates)),
        "lifecycle_of_without": rounded(median(ratios)),
        "largest_lag_seconds": rounded(median(lags)),
        "caught_up_after_seconds": rounded(median(caught_up)),
        "bytes_per_entry": rounded(median(bytes)),
    }))
}

/// One measured run.
struct Run {
    per_second: f64,
    /// Largest time for which an event waited for its checkpoint.
    lag_seconds: f64,
    /// Time from the end of the last task until everything was sealed.
    caught_up_seconds: f64,
    bytes_per_entry: f64,
}

async fn lifecycle(with_trail: bool) -> Result<Run> {
    let dir = data_dir("audit")?;
    if !with_trail {
        std::fs::create_dir_all(dir.join("audit"))?;
        std::fs::write(dir.join("audit/checkpoint"), "not one\n")?;
    }
    let (deia, _) = Server::deia_with(&dir, &[BOTS]).await?;
    for name in ["noop-1", "noop-2"] {
        let path = format!("/api/v1/bots/{name}");
        while deia.call("GET", &path, &Value::Null).await?["status"] != "healthy" {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let watching =
        with_trail.then(|| tokio::task::spawn_local(largest_lag(deia.addr, deia.key.clone())));
    let begun = Instant::now();
    deia.submit("noop", TASKS).await?;
    deia.drained().await?;
    let took = begun.elapsed();
    #[allow(clippy::cast_precision_loss, reason = "a count to a rate")]
    let per_second = TASKS as f64 / took.as_secs_f64();
    let Some(watching) = watching else {
        return Ok(Run {
            per_second,
            lag_seconds: 0.0,
            caught_up_seconds: 0.0,
            bytes_per_entry: 0.0,
        });
    };
    let ended = Instant::now();
    while lag_events(deia.addr, &deia.key).await? > 0.0 {
        if ended.elapsed() > Duration::from_secs(120) {
            bail!("the trail does not catch up");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let caught_up_seconds = ended.elapsed().as_secs_f64();
    watching.abort();
    let lag_seconds = LAG.with(std::cell::Cell::take);
    let entries = metric(&metrics(deia.addr, &deia.key).await?, "deia_audit_entries")?;
    let bytes_per_entry = size_of(&dir.join("audit"))? / entries;
    Ok(Run {
        per_second,
        lag_seconds,
        caught_up_seconds,
        bytes_per_entry,
    })
}

thread_local! {
    static LAG: std::cell::Cell<f64> = const { std::cell::Cell::new(0.0) };
}

/// Notes the largest lag until it is stopped.
async fn largest_lag(addr: std::net::SocketAddr, key: String) {
    loop {
        let lag = async { metric(&metrics(addr, &key).await?, "deia_audit_lag_seconds") }.await;
        if let Ok(lag) = lag {
            LAG.with(|slot| slot.set(slot.get().max(lag)));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn lag_events(addr: std::net::SocketAddr, key: &str) -> Result<f64> {
    metric(&metrics(addr, key).await?, "deia_audit_lag_events")
}

async fn metrics(addr: std::net::SocketAddr, key: &str) -> Result<String> {
    let mut connection = Connection::open(addr).await?;
    let (_, body) = connection
        .send(&request("GET", "/metrics", key, ""))
        .await?;
    Ok(String::from_utf8_lossy(body).into_owned())
}

fn metric(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(' '))
    });
    let value = line.and_then(|line| line.rsplit(' ').next());
    Ok(value.with_context(|| format!("no {name}"))?.parse()?)
}

/// Returns the bytes of the files below a directory.
#[allow(clippy::cast_precision_loss, reason = "a count to a mean")]
fn size_of(dir: &Path) -> Result<f64> {
    let mut bytes = 0.0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => size_of(&entry.path())?,
            false => entry.metadata()?.len() as f64,
        };
    }
    Ok(bytes)
}
