//! The end of a program.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::io::{Interest, unix::AsyncFd};

use super::launch::Program;
use crate::{bots::reaper_handle::Ended, reaper};

/// Time for which the outputs may stay open after all processes of a program are gone: a process
/// that cannot be killed may hold them. Fixed: longer only while the kernel cannot end a process,
/// which no setting changes.
pub(in crate::bots) const EOF_WITHIN: Duration = Duration::from_secs(1);

/// Interval of checks for a process group whose leader has ended, during its grace.
/// Fixed: short enough that nobody waits for it, and each look costs little.
const GROUP_CHECK_INTERVAL: Duration = Duration::from_millis(25);

/// A watch for the end of a program.
pub(in crate::bots) type ExitWatch = AsyncFd<Arc<OwnedFd>>;

/// Returns a watch for the end of a program.
///
/// # Errors
/// The runtime cannot watch it.
#[allow(
    deprecated,
    reason = "its successor is unsafe for the sake of types whose descriptor may change; an owned one cannot"
)]
pub(in crate::bots) fn watch_exit(program: &Program) -> io::Result<ExitWatch> {
    AsyncFd::with_interest(program.pidfd(), Interest::READABLE)
}

/// Waits until the leader has ended. It stays a zombie until it is reaped.
pub(in crate::bots) async fn exited(exit: &ExitWatch) {
    // An error means that the runtime is shutting down, which drops this future.
    if exit.readable().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until the program and its whole group have ended.
pub(in crate::bots) async fn group_gone(program: &Program, exit: &ExitWatch) {
    exited(exit).await;
    while group_lives(program.group()).await {
        tokio::time::sleep(GROUP_CHECK_INTERVAL).await;
    }
}

async fn group_lives(group: i32) -> bool {
    let looked = tokio::task::spawn_blocking(move || reaper::group_lives(group)).await;
    matches!(looked, Ok(Ok(true)))
}

/// Error of an attempt whose runner was lost.
pub(in crate::bots) const RUNNER_KILLED: &str =
    "the runner above the program was killed or stopped while it ran";

/// Returns the way in which a program ended, for people.
pub(in crate::bots) fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("ended by signal {number} ({})", signal.as_str()),
            Err(_) => format!("ended by signal {number}"),
        },
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// Returns notes about processes outside of the program's group at its end.
pub(in crate::bots) fn strays(ended: &Ended) -> Vec<String> {
    let processes = |n: u32| match n {
        1 => "1 process".to_owned(),
        n => format!("{n} processes"),
    };
    let mut notes = Vec::new();
    if ended.strays > 0 {
        let strays = processes(ended.strays);
        notes.push(format!("ended {strays} that left the process group"));
    }
    if ended.left > 0 {
        let left = processes(ended.left);
        notes.push(format!("{left} cannot be ended: the kernel holds them"));
    }
    notes
}
