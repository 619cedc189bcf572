//! Memory of bots that have nothing to do, by kind.

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::{
    rounded,
    server::{Server, data_dir},
};

/// Bots of a kind, unless the caller names a number.
pub(crate) const BOTS: usize = 500;

/// A kind of bot.
struct Kind {
    name: &'static str,
    executor: fn() -> Value,
    /// Status of an idle bot of that kind.
    idle: &'static str,
}

/// The kinds that are measured. A further kind is a line here.
const KINDS: &[Kind] = &[
    Kind {
        name: "simulated",
        executor: || json!({"kind": "simulated"}),
        idle: "healthy",
    },
    Kind {
        name: "command",
        executor: || json!({"kind": "command", "command": ["true"]}),
        idle: "healthy",
    },
    // No worker asks.
    Kind {
        name: "remote",
        executor: || json!({"kind": "remote"}),
        idle: "degraded",
    },
];

/// Measures the growth of the resident memory of the server and its children by so many launched
/// bots of each kind, in a server of its own.
pub(crate) async fn measure(bots: usize) -> Result<Value> {
    let mut figure = Map::new();
    for kind in KINDS {
        let per_bot = kib_of(kind, bots).await?;
        figure.insert(format!("{}_kib", kind.name), rounded(per_bot).into());
    }
    Ok(figure.into())
}

#[allow(clippy::cast_precision_loss, reason = "bytes to kilobytes")]
async fn kib_of(kind: &Kind, bots: usize) -> Result<f64> {
    let dir = data_dir(&format!("idle-{}", kind.name))?;
    let (deia, _) = Server::deia_with(&dir, &["limits.enabled=false"]).await?;
    // The first bot brings what all share.
    add(&deia, kind, 0).await?;
    let before = deia.memory_bytes();
    for n in 1..=bots {
        add(&deia, kind, n).await?;
    }
    let grown = deia.memory_bytes().saturating_sub(before);
    Ok(grown as f64 / 1_024.0 / bots as f64)
}

async fn add(deia: &Server, kind: &Kind, n: usize) -> Result<()> {
    let name = format!("idle-{n}");
    let executor = (kind.executor)();
    deia.launch_until(&name, executor, 4, &["idle"], kind.idle)
        .await
}
