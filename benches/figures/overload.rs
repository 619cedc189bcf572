//! Goodput under overload: submissions that are accepted in time at three times the load that the
//! server can take, beside those at once that load; and health probes meanwhile.

use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tokio::time::{sleep, sleep_until};

use crate::{
    ROUNDS, median, micros,
    raw::{Connection, percentile, request},
    rounded,
    server::{Server, data_dir},
};

/// Callers, among whom the load is divided evenly.
const CALLERS: usize = 16;
/// Connections at once the load, and at overload: more than the places of submissions, so that some
/// wait.
const CONNECTIONS: usize = 64;
const CONNECTIONS_OVERLOADED: usize = 2_048;
/// Time within which an answer is of use.
const DEADLINE: Duration = Duration::from_secs(1);
/// Time of a round, after the time in which the admission settles.
const TIME: Duration = Duration::from_secs(8);
const SETTLES: Duration = Duration::from_secs(8);

/// The answers of a round.
#[derive(Default)]
struct Counts {
    good: AtomicU64,
    late: AtomicU64,
    refused: AtomicU64,
}

/// Measures the goodput at 1x (as fast as 64 connections go) and at 3x that rate, in turn. The
/// server and the client have a processor each where `taskset` is there, so that the load takes
/// nothing from the server.
pub(crate) async fn measure() -> Result<Value> {
    let settings = ["limits.enabled=false"];
    let (deia, _) = Server::deia_with(&data_dir("overload")?, &settings).await?;
    let is_pinned = pin(deia.pid(), "0") && pin(std::process::id(), "1");
    let submits = submits(&deia).await?;
    let (mut once, mut threefold, mut ratios) = (vec![], vec![], vec![]);
    let (mut refused, mut late) = (vec![], vec![]);
    let (mut calm, mut busy) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let (at_1, _, _) = round(&deia, &submits, CONNECTIONS, None, &mut calm).await?;
        let offered = Some(3.0 * at_1);
        let (at_3, refusals, lates) =
            round(&deia, &submits, CONNECTIONS_OVERLOADED, offered, &mut busy).await?;
        once.push(at_1);
        threefold.push(at_3);
        ratios.push(at_3 / at_1);
        refused.push(refusals);
        late.push(lates);
    }
    if is_pinned {
        pin(std::process::id(), "0,1");
    }
    Ok(json!({
        "goodput_at_1x": rounded(median(once)), "goodput_at_3x": rounded(median(threefold)),
        "of_1x": rounded(median(ratios)), "refused_per_second_at_3x": rounded(median(refused)),
        "late_per_second_at_3x": rounded(median(late)), "pinned": is_pinned,
        "probe_us_p99_at_1x": micros(percentile(&mut calm, 0.99)),
        "probe_us_p99_at_3x": micros(percentile(&mut busy, 0.99)),
    }))
}

/// Returns a submission of each caller.
async fn submits(deia: &Server) -> Result<Vec<Vec<u8>>> {
    let body = json!({"type": "general", "content": "hello"}).to_string();
    let mut submits = Vec::new();
    for n in 0..CALLERS {
        let user = json!({"user": format!("user-{n}"), "role": "operator", "new_user": true});
        let made = deia.call("POST", "/api/v1/auth/keys", &user).await?;
        let key = made["key"].as_str().unwrap_or_default();
        submits.push(request("POST", "/api/v1/tasks/submit", key, &body));
    }
    Ok(submits)
}

/// Submits over so many connections: that many a second, or as fast as the answers come. Returns
/// the accepted in time, the refused and the late a second.
#[allow(clippy::cast_precision_loss, reason = "counts to rates")]
async fn round(
    deia: &Server,
    submits: &[Vec<u8>],
    connections: usize,
    offered: Option<f64>,
    probes: &mut Vec<Duration>,
) -> Result<(f64, f64, f64)> {
    let counts = Counts::default();
    let begun = Instant::now();
    let (from, until) = (begun + SETTLES, begun + SETTLES + TIME);
    let pause = offered.map(|rate| Duration::from_secs_f64(connections as f64 / rate));
    let submitting = (0..connections).map(|n| {
        let (submit, counts) = (&submits[n % submits.len()], &counts);
        async move {
            let mut connection = Connection::open(deia.addr).await?;
            // The connections do not send all at once.
            let first = pause
                .unwrap_or_default()
                .mul_f64(n as f64 / connections as f64);
            let mut due = Instant::now() + first;
            while Instant::now() < until {
                if let Some(pause) = pause {
                    sleep_until(due.into()).await;
                    due += pause;
                }
                let sent = Instant::now();
                let (status, _) = connection.send(submit).await?;
                if sent >= from {
                    let in_time = sent.elapsed() <= DEADLINE;
                    let counter = match (status, in_time) {
                        (202, true) => &counts.good,
                        (202, false) => &counts.late,
                        _ => &counts.refused,
                    };
                    counter.fetch_add(1, Relaxed);
                }
            }
            Ok::<_, anyhow::Error>(())
        }
    });
    let probing = async {
        let mut connection = Connection::open(deia.addr).await?;
        let probe = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        while Instant::now() < until {
            let sent = Instant::now();
            connection.send(probe).await?;
            if sent >= from {
                probes.push(sent.elapsed());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    tokio::try_join!(try_join_all(submitting), probing)?;
    let rate = |count: &AtomicU64| count.load(Relaxed) as f64 / TIME.as_secs_f64();
    Ok((
        rate(&counts.good),
        rate(&counts.refused),
        rate(&counts.late),
    ))
}

/// Has all threads of a process run on these processors. Returns false where that is not possible.
fn pin(pid: u32, processors: &str) -> bool {
    let mut taskset = Command::new("taskset");
    taskset.args([
        "--all-tasks",
        "--cpu-list",
        "--pid",
        processors,
        &pid.to_string(),
    ]);
    let done = taskset.stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}
