//! The signals by which the process is asked to stop.

use anyhow::Context;
use deia_hive::host;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Handles signals from now on; the second value is SIGHUP.
    pub(super) fn listen() -> anyhow::Result<(Self, Signal)> {
        let to = |kind| signal(kind).context("signals cannot be handled");
        let signals = Self {
            terminate: to(SignalKind::terminate())?,
            interrupt: to(SignalKind::interrupt())?,
        };
        let hangup = to(SignalKind::hangup())?;
        host::signals::let_through().context("signals cannot be handled")?;
        Ok((signals, hangup))
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
