//! Degradation: the cost of a sample, and the time from a level to the suspended feature.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use deia_hive::testing::DegradationSamples;
use serde_json::{Value, json};

use crate::{
    raw::percentile,
    rounded,
    server::{Server, data_dir},
};

/// Changes of the level that are timed.
const ROUNDS: usize = 30;
/// Time for which each step is repeated.
const TIME: Duration = Duration::from_millis(500);
/// The longest wait for a change.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures the decision about one sample, the reading of the host beside it, and the time from a
/// request that sets level 1 to the feature that the list shows as suspended in the tree, and back.
pub(crate) async fn measure() -> Result<Value> {
    let mut samples = DegradationSamples::new();
    let decide = nanos(|| {
        black_box(samples.decide());
    });
    let read = nanos(|| samples.read_host());
    let dir = data_dir("degradation")?;
    let (deia, _) = Server::deia_with(&dir, &["limits.enabled=false"]).await?;
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let set = json!({"level": 1, "reason": "figure", "duration_seconds": 600});
        down.push(change(&deia, &set, "suspended").await?);
        up.push(change(&deia, &json!({}), "running").await?);
    }
    let ms = |waits: &mut [Duration], share| rounded(percentile(waits, share).as_secs_f64() * 1e3);
    Ok(json!({
        "decide_ns": rounded(decide), "read_host_us": rounded(read / 1e3),
        "set_to_suspended_p50_ms": ms(&mut down, 0.5), "set_to_suspended_p99_ms": ms(&mut down, 0.99),
        "end_to_running_p50_ms": ms(&mut up, 0.5), "end_to_running_p99_ms": ms(&mut up, 0.99),
    }))
}

/// Changes the level, and returns the time until the statistics are in that state.
async fn change(deia: &Server, body: &Value, state: &str) -> Result<Duration> {
    let began = Instant::now();
    deia.call("POST", "/api/degradation/mode", body).await?;
    while began.elapsed() < PATIENCE {
        let path = "/api/v1/supervisors/hive/services/statistics";
        let part = deia.call("GET", path, &Value::Null).await?;
        if part["state"].as_str().context("a state")? == state {
            return Ok(began.elapsed());
        }
    }
    anyhow::bail!("the statistics are never {state}")
}

/// Returns the time of a step.
fn nanos(mut step: impl FnMut()) -> f64 {
    let (began, mut steps) = (Instant::now(), 0_u32);
    while began.elapsed() < TIME {
        (0..16).for_each(|_| step());
        steps += 16;
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(steps)
}
