//! Tasks a second through programs that are started once, beside a bare loop over the same
//! program's pipes.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    ROUNDS, median, rounded,
    server::{Server, data_dir},
};

/// Tasks of a round, and how many the program is handed at a time.
const TASKS: u32 = 20_000;
const AT_A_TIME: u32 = 8;

/// The first argument of this binary when it is the program that is measured.
pub(crate) const PROGRAM: &str = "answer-tasks";

/// Answers tasks until there are no more: the program that is measured.
pub(crate) fn serve() -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", json!({"type": "hello", "protocol": 1}))?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line?)?;
        let answer = match message["type"].as_str() {
            Some("task") => json!({"type": "result", "id": message["id"],
                "attempt": message["attempt"], "output": "done"}),
            Some("ping") => json!({"type": "pong", "n": message["n"]}),
            Some("shutdown") => break,
            _ => continue,
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// Hands the program that many tasks, `AT_A_TIME` ahead of its answers. Returns tasks a second.
fn bare_exchange(tasks: u32) -> Result<f64> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(PROGRAM)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut to = child.stdin.take().context("no standard input")?;
    let from = child.stdout.take().context("no standard output")?;
    let mut answers = BufReader::new(from).lines();
    answers.next().context("no greeting")??;
    let begun = Instant::now();
    for n in 0..tasks + AT_A_TIME {
        if n < tasks {
            let task = json!({"type": "task", "id": "task_0", "attempt": 1, "content": "x"});
            writeln!(to, "{task}")?;
        }
        if n >= AT_A_TIME {
            answers.next().context("no answer")??;
        }
    }
    let rate = f64::from(tasks) / begun.elapsed().as_secs_f64();
    drop(to);
    child.wait()?;
    Ok(rate)
}

/// Measures order, answer and record.
pub(crate) async fn measure() -> Result<Value> {
    let (deia, _) = Server::deia(&data_dir("worker")?).await?;
    let program = std::env::current_exe()?;
    let executor = json!({"kind": "worker", "command": [program, PROGRAM]});
    deia.launch("works", executor, AT_A_TIME, &["work"]).await?;
    let (mut rates, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(tokio::task::spawn_blocking(|| bare_exchange(TASKS)).await??);
        let begun = Instant::now();
        deia.submit("work", TASKS as usize).await?;
        deia.drained().await?;
        rates.push(f64::from(TASKS) / begun.elapsed().as_secs_f64());
    }
    let (rate, bare) = (median(rates), median(bare));
    Ok(json!({
        "tasks_per_second": rounded(rate),
        "bare_exchanges_per_second": rounded(bare),
        "of_bare": rate / bare,
    }))
}
