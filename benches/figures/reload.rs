//! Duration of a reload of the settings, and of a change over the API, while many bots run.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    rounded,
    server::{Server, data_dir},
};

/// Bots that run, unless the caller names a number.
pub(crate) const BOTS: usize = 500;
/// Changes that are measured.
const CHANGES: usize = 50;

/// Measures reloads of a file and changes of one setting, and beside them a change of a secret,
/// which is one commit with its event.
pub(crate) async fn measure(bots: usize) -> Result<Value> {
    let dir = data_dir("reload")?;
    let file = dir.with_extension("yaml");
    let limit = |n: usize| format!("secrets: {{max: {}}}\n", 1_000 + n % 2);
    std::fs::write(&file, limit(0))?;
    // A change on probation counts among the versions that are kept.
    let settings = [
        "limits.enabled=false",
        "settings.watch=false",
        "settings.probation=0s",
    ];
    let (deia, _) = Server::deia_on(&dir, &settings, Some(&file)).await?;
    for n in 0..bots {
        let name = format!("bot-{n}");
        deia.launch(&name, json!({"kind": "simulated"}), 4, &["idle"])
            .await?;
    }
    let (mut reloads, mut changes, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    for n in 1..=CHANGES {
        std::fs::write(&file, limit(n))?;
        reloads.push(timed(&deia, "POST", "/api/config/reload", json!({})).await?);
        let change = json!({"value": 60_000 + n});
        let path = "/api/config/value/secrets.max_bytes";
        changes.push(timed(&deia, "PATCH", path, change).await?);
        let secret = json!({"value": "x"});
        commits.push(timed(&deia, "PUT", "/api/v1/secrets/figure", secret).await?);
    }
    Ok(json!({
        "bots": bots,
        "reload_p50_ms": median(&mut reloads), "change_p50_ms": median(&mut changes),
        "one_commit_p50_ms": median(&mut commits),
    }))
}

async fn timed(deia: &Server, method: &str, path: &str, body: Value) -> Result<f64> {
    let begun = Instant::now();
    deia.call(method, path, &body).await?;
    Ok(begun.elapsed().as_secs_f64() * 1_000.0)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    rounded(times[times.len() / 2])
}
