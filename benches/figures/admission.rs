//! Cost of admission of a request: the framer, the key, the rate limit, the places.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::Result;
use deia_framer::RequestFramer;
use deia_model::ApiKey;
use serde_json::{Value, json};

use crate::{
    ROUNDS, median,
    raw::{rate, request},
    rounded,
    server::{Server, data_dir},
};

const LOOPS: u32 = 200_000;

/// Submissions with limits and places, and without, in turn; and the time of what
/// cannot be turned off, as a share of the time that a submission has on all CPUs.
pub(crate) async fn measure() -> Result<Value> {
    let off = ["limits.enabled=false", "server.admission.enabled=false"];
    let (with, _) = Server::deia(&data_dir("admission-on")?).await?;
    let (without, _) = Server::deia_with(&data_dir("admission-off")?, &off).await?;
    let body = json!({"type": "general", "content": "hello"}).to_string();
    let time = Duration::from_secs(4);
    let (mut rates, mut ratios) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let submit = request("POST", "/api/v1/tasks/submit", &without.key, &body);
        let (free, _) = rate(without.addr, 64, time, &submit, 202).await?;
        let submit = request("POST", "/api/v1/tasks/submit", &with.key, &body);
        let (limited, _) = rate(with.addr, 64, time, &submit, 202).await?;
        rates.push(limited);
        ratios.push(limited / free);
    }
    let request = request("POST", "/api/v1/tasks/submit", &with.key, &body);
    let framer = nanos(|| {
        let mut framer = RequestFramer::default();
        black_box(framer.pass(black_box(&request)));
    });
    let key = nanos(|| {
        let key = ApiKey::parse(black_box(&with.key));
        black_box(key.map(|key| key.secret_sha256()).ok());
    });
    let (rate, ratio) = (median(rates), median(ratios));
    let cpus = std::thread::available_parallelism().map_or(1.0, |n| {
        f64::from(u32::try_from(n.get()).unwrap_or(u32::MAX))
    });
    let share = (framer + key) / (cpus * 1e9 / rate);
    Ok(json!({
        "per_second": rounded(rate), "of_unlimited": rounded(ratio),
        "guard_ns": rounded(framer), "key_ns": rounded(key),
        "share_of_submit": rounded((1.0 - ratio).max(0.0) + share),
    }))
}

fn nanos(step: impl Fn()) -> f64 {
    let begun = Instant::now();
    (0..LOOPS).for_each(|_| step());
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(LOOPS)
}
