//! Signal settings that a parent process left behind.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{SignalKind, signal};

use super::process;

/// Returns the signals that a service manager or a terminal sends to all processes
/// of the hive at once. The reaper and the runners end with deia, not before.
pub(crate) fn for_all_processes() -> SigSet {
    [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGPIPE,
    ]
    .into_iter()
    .collect()
}

/// Returns the signals that a server handles once it is set up.
fn of_server() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
        .into_iter()
        .collect()
}

/// Blocks the signals that a server handles until [`let_through`]: without a handler they end the
/// process, in the middle of a start or a restart in place. Must be called while there is one
/// thread, or right before `exec`.
///
/// # Errors
/// The mask of this thread cannot be changed.
pub fn hold_back() -> io::Result<()> {
    Ok(of_server().thread_block()?)
}

/// Unblocks the signals that [`hold_back`] blocked, once handlers are installed.
///
/// # Errors
/// The mask of this thread cannot be changed.
pub fn let_through() -> io::Result<()> {
    Ok(of_server().thread_unblock()?)
}

/// Undoes settings of the parent that would break this process: blocked signals (deia would not
/// receive SIGTERM, nor would the programs, which inherit the mask), and SIGCHLD being ignored
/// (the kernel would then discard the exit status of each program). Must be called before any
/// thread is started. SIGPIPE is ignored by Rust's start already; programs get it back. The
/// signals of [`hold_back`] are blocked when this returns.
///
/// # Errors
/// The settings cannot be changed.
pub fn reset() -> io::Result<()> {
    of_server().thread_set_mask()?;
    // If that is unknown, the handler does no harm.
    let ignored = process::ignored_signals();
    match ignored.is_ok_and(|mask| !contains(mask, Signal::SIGCHLD)) {
        true => Ok(()),
        false => handle_child_signal(),
    }
}

/// Returns true if `signal` is in a mask (proc(5)).
fn contains(mask: u64, signal: Signal) -> bool {
    mask & (1 << (signal as i32 - 1)) != 0
}

/// Installs a handler that does nothing: as good as the default for `wait`, and programs start
/// with the default. The runtime that it needs is dropped after this, while the handler stays.
fn handle_child_signal() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _entered = runtime.enter();
    signal(SignalKind::child()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_found_in_a_mask() {
        for (mask, expected) in [
            (0, false),
            (1 << 16, true),
            (1 << 12, false),
            (u64::MAX, true),
        ] {
            assert_eq!(contains(mask, Signal::SIGCHLD), expected, "{mask:x}");
        }
        // Rust ignores SIGPIPE from the start on, and tests inherit that.
        let ignored = process::ignored_signals().unwrap();
        assert!(contains(ignored, Signal::SIGPIPE));
        assert!(!contains(ignored, Signal::SIGCHLD));
    }
}
