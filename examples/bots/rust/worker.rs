//! A worker in Rust: answers each task with the number of its lines, several tasks at a time.
//!
//! ```sh
//! cargo build --example worker
//! deia bot add lines --worker target/debug/examples/worker --max-concurrent 4 --launch
//! ```
//!
//! It needs serde_json only. One thread reads, each task has a thread of its own.

use std::{
    collections::HashMap,
    io::{BufRead as _, Write as _},
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

/// An attempt at a task.
type Key = (String, u64);

/// The running attempts, each with the wish that it ends.
static RUNNING: LazyLock<Mutex<HashMap<Key, Arc<AtomicBool>>>> = LazyLock::new(Mutex::default);

/// Writes a message. A line is written at once, under the lock of standard output.
fn say(message: &Value) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more, and the program is about to be ended.
    let _ = writeln!(out, "{message}").and_then(|()| out.flush());
}

/// Carries out a task: replace this. Looks from time to time whether the task is still wanted.
fn work(task: &Value, cancelled: &AtomicBool) -> Result<String, String> {
    let content = task["content"].as_str().unwrap_or_default();
    let mut lines = 0;
    for _ in content.lines() {
        if cancelled.load(Ordering::Relaxed) {
            return Err("given up".into());
        }
        lines += 1;
    }
    Ok(format!("{lines} lines"))
}

fn key_of(message: &Value) -> Option<Key> {
    let id = message["id"].as_str()?.to_owned();
    Some((id, message["attempt"].as_u64()?))
}

/// Carries out a task on a thread of its own, and answers it once.
fn begin(task: Value) {
    let Some(key) = key_of(&task) else { return };
    let cancelled = Arc::new(AtomicBool::new(false));
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.insert(key.clone(), Arc::clone(&cancelled));
    drop(running);
    thread::spawn(move || {
        let (id, attempt) = &key;
        say(&match work(&task, &cancelled) {
            Ok(output) => json!({"type": "result", "id": id, "attempt": attempt, "output": output}),
            Err(said) => json!({"type": "error", "id": id, "attempt": attempt, "message": said}),
        });
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&key);
    });
}

fn cancel(message: &Value) {
    let Some(key) = key_of(message) else { return };
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    // It may have been answered meanwhile.
    if let Some(cancelled) = running.get(&key) {
        cancelled.store(true, Ordering::Relaxed);
    }
}

fn main() -> std::io::Result<()> {
    say(&json!({"type": "hello", "protocol": 1}));
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line?)?;
        match message["type"].as_str() {
            Some("task") => begin(message),
            Some("cancel") => cancel(&message),
            Some("ping") => say(&json!({"type": "pong", "n": message["n"]})),
            Some("input") => {
                let said = format!("someone said: {}", message["text"]);
                say(&json!({"type": "log", "level": "info", "message": said}));
            }
            Some("shutdown") => break,
            _ => {}
        }
    }
    Ok(())
}
