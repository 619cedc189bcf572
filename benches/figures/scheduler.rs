//! Time of a single decision of the scheduler, by the number of bots.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use deia_hive::testing::Decisions;
use serde_json::{Map, Value, json};

use crate::rounded;

const BOTS: [usize; 4] = [10, 100, 1_000, 5_000];
/// Number of types that the bots share, and the most that a hive has by default.
const TYPES: [(&str, usize); 2] = [("of_10_types", 10), ("of_a_type_each", 1_000)];
/// Time for which each decision is repeated.
const TIME: Duration = Duration::from_millis(500);

/// Measures the decisions with 10 to 5,000 bots that share ten types, and that take one each, up
/// to the thousand types that a hive has. No store, no actors: the tables alone.
pub(crate) fn measure() -> Result<Value> {
    let mut figure = Map::new();
    for (name, types) in TYPES {
        for bots in BOTS {
            let costs = decisions(bots, types.min(bots))?;
            figure.insert(format!("at_{bots}_bots_{name}"), costs);
        }
    }
    Ok(figure.into())
}

fn decisions(bots: usize, types: usize) -> Result<Value> {
    let mut decisions = Decisions::new(bots, types);
    ensure!(decisions.take_directly(bots / 2), "a bot has room");
    let direct = nanos(bots, |n| {
        black_box(decisions.take_directly(n));
    });
    let heartbeat = nanos(bots, |n| decisions.heartbeat(n));
    decisions.fill();
    ensure!(decisions.replace(bots / 2) == 1, "a task waits for the bot");
    let assign = nanos(bots, |n| {
        black_box(decisions.replace(n));
    });
    let read = nanos(bots, |_| decisions.read());
    let polled = nanos(bots, |_| decisions.polled());
    Ok(json!({
        "assign_ns": rounded(assign), "take_directly_ns": rounded(direct),
        "heartbeat_ns": rounded(heartbeat), "read_of_all_us": rounded(read / 1e3),
        "poll_us": rounded(polled / 1e3),
    }))
}

/// Returns the time of a step, which is repeated for one bot after the other.
fn nanos(bots: usize, mut step: impl FnMut(usize)) -> f64 {
    let (begun, mut steps) = (Instant::now(), 0_u32);
    while begun.elapsed() < TIME {
        for _ in 0..16 {
            // A prime distance: neighbours in the tables are not neighbours in time.
            step((steps as usize * 7_919) % bots);
            steps += 1;
        }
    }
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(steps)
}
