//! A restart in place: the process goes on as a new start of the binary, with
//! its id and its listening socket kept, so that no connection is refused.
//!
//! The socket is handed over as standard input, which deia does not read: no
//! number of a file descriptor has to be trusted.

use std::{
    fs::File,
    io,
    net::{SocketAddr, TcpListener},
    os::{fd::AsFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::Context;
use deia_hive::host::descriptors;
use nix::{sys::wait::waitpid, unistd::Pid};

use super::args::SettingsArgs;
use crate::http::Tls;

/// Set for a process that was handed its socket; the value is of the children to be reaped.
const HANDED_OVER: &str = "DEIA_HANDED_OVER";

/// The socket that an earlier start of this process handed over, if it is for this address.
pub(super) fn inherited(address: SocketAddr) -> Option<TcpListener> {
    let children = std::env::var(HANDED_OVER).ok()?;
    reap(&children);
    let socket = io::stdin().as_fd().try_clone_to_owned().ok()?;
    let null = File::open("/dev/null").ok()?;
    rustix::stdio::dup2_stdin(&null).ok()?;
    let listener = TcpListener::from(socket);
    let bound = listener.local_addr().ok()?;
    let same = bound.ip() == address.ip() && [0, bound.port()].contains(&address.port());
    same.then_some(listener)
}

/// Waits for the children of the earlier start, which nobody else would.
fn reap(children: &str) {
    for pid in children.split(',').filter_map(|pid| pid.parse().ok()) {
        std::thread::spawn(move || waitpid(Pid::from_raw(pid), None));
    }
}

/// What a restart runs: the binary where it was started from, which may be another by then.
pub(super) struct Restart {
    binary: PathBuf,
    settings: SettingsArgs,
}

impl Restart {
    /// To be made before the binary can have been replaced.
    pub(super) fn prepare(settings: SettingsArgs) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("the path of this program is not known")?;
        Ok(Self { binary, settings })
    }

    /// Why a new start would fail, if it would.
    pub(super) fn check(&self) -> Result<(), String> {
        let config = self.settings.load().map_err(|error| format!("{error:#}"))?;
        Tls::load(&config.server.tls).map_err(|error| error.to_string())?;
        let shown = self.binary.display();
        let mut version = Command::new(&self.binary);
        let version = version.arg("--version").stdin(Stdio::null()).output();
        match version {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("{shown} --version failed ({})", output.status)),
            Err(error) => Err(format!("{shown} cannot be run: {error}")),
        }
    }

    /// Becomes the new start. Returns only when that fails.
    pub(super) fn carry_out(&self, listener: &TcpListener) -> anyhow::Error {
        if let Err(error) = rustix::stdio::dup2_stdin(listener) {
            return anyhow::Error::new(error).context("the socket cannot be handed over");
        }
        // The next start finds the limit as this one did, and raises it itself.
        descriptors::restore();
        let error = Command::new(&self.binary)
            .args(std::env::args_os().skip(1))
            .env(HANDED_OVER, children())
            .exec();
        anyhow::Error::new(error).context(format!("{} cannot be run", self.binary.display()))
    }
}

/// The children of this process, separated by commas.
fn children() -> String {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let of_thread = |thread: io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(thread.ok()?.path().join("children")).ok()
    };
    let all: Vec<String> = threads.filter_map(of_thread).collect();
    all.join(" ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(",")
}
