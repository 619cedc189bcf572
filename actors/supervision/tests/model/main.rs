//! Models of the fence, of questions and of the control channel, run by loom through all
//! interleavings of their threads. The modules are those of the library, compiled against loom's
//! synchronisation.
//!
//! A harness of its own, so that the unit tests in those modules are not run: outside of a model,
//! loom's types panic.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout
)]

#[path = "../../src/control.rs"]
mod control;
#[path = "../../src/fence.rs"]
mod fence;
mod models;
#[path = "../../src/taken_by.rs"]
mod taken_by;

/// Items of the library that the modules use.
mod panic {
    pub(crate) fn drop_quietly<T>(value: T) -> Result<(), ()> {
        drop(value);
        Ok(())
    }
}

mod record {
    #[derive(Default)]
    pub(crate) struct ChildRecord {
        pub(crate) fence: crate::fence::Fence,
    }

    impl ChildRecord {
        pub(crate) fn worker(_: String) -> std::sync::Arc<Self> {
            std::sync::Arc::default()
        }
    }
}

mod spec {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Shutdown {
        Infinity,
    }
}

mod sync {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use loom::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering, fence},
    };
}

const MODELS: [(&str, fn()); 6] = [
    ("a_revoked_task_never_runs_again", models::revoked),
    ("a_lease_is_ended_by_one_side_only", models::ended_once),
    ("a_command_is_not_missed", models::not_missed),
    (
        "an_abandoned_receiver_takes_nothing_from_its_successor",
        models::abandoned,
    ),
    (
        "a_question_of_an_abandoned_run_is_found_lost_or_left",
        models::lost_or_left,
    ),
    ("a_cut_channel_is_heard_once_empty", models::cut),
];

fn check(model: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Understands what `cargo test` and nextest say: `--list`, `--ignored`, `--exact`, and a filter.
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let filter = arguments
        .iter()
        .find(|argument| !argument.starts_with("--") && *argument != "terse");
    let is_wanted = |name: &str| match filter {
        Some(filter) if has("--exact") => filter == name,
        Some(filter) => name.contains(filter.as_str()),
        None => true,
    };
    if has("--ignored") {
        return; // there are none
    }
    for (name, model) in MODELS.into_iter().filter(|(name, _)| is_wanted(name)) {
        if has("--list") {
            println!("{name}: test");
        } else {
            check(model);
            println!("test {name} ... ok");
        }
    }
}
