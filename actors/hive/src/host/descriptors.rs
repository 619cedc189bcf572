//! Limit of this process's open files, and the number that it needs.

use std::{io, sync::OnceLock};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::{
    config::Config,
    model::{Capabilities, Executor},
};

/// Descriptors that deia holds for one running program: three standard streams,
/// progress, the process itself, a file for its output; some more for a moment
/// while it starts.
const PER_PROGRAM: u64 = 8;
/// The store's database, its log, and its index, for each connection.
const PER_READER: u64 = 3;
/// All else: listeners, timers and queues of threads, logs, requests to others.
const RESERVE: u64 = 256;

/// The limit that this process was started with.
static ORIGINAL: OnceLock<Rlimit> = OnceLock::new();

/// Open files that are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// In force.
    pub soft: u64,
    /// As far as it can be raised without privileges.
    pub hard: u64,
}

/// Reads the limit of this process.
pub fn limit() -> DescriptorLimit {
    let limit = getrlimit(Resource::Nofile);
    DescriptorLimit {
        soft: limit.current.unwrap_or(u64::MAX),
        hard: limit.maximum.unwrap_or(u64::MAX),
    }
}

/// Raises the soft limit to the hard one. The soft limit is low for programs
/// that use select(2), which deia does not; its own programs get it back.
///
/// # Errors
/// The kernel refuses.
pub fn raise() -> io::Result<()> {
    let original = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: original.maximum,
        maximum: original.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    let _ = ORIGINAL.set(original);
    Ok(())
}

/// Restores the original limit for the program that this process becomes by `exec`.
pub fn restore() {
    if let Some(original) = ORIGINAL.get() {
        // Lowering the soft limit is always allowed.
        let _ = setrlimit(Resource::Nofile, *original);
    }
}

/// Gives a program that was just started the limit that deia was started with.
/// A hook before `exec` would cost the cheap way to start: the program runs
/// under the raised limit for some microseconds.
pub(crate) fn restore_for(program: Pid) {
    if let Some(original) = ORIGINAL.get() {
        // Fails for a program that has changed its user; it keeps the raised limit.
        let _ = prlimit(Some(program), Resource::Nofile, *original);
    }
}

/// Descriptors that the settings and the bots take at full load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorNeed {
    /// For connections of clients (server.max_connections).
    pub connections: u64,
    /// Programs that may run at once.
    pub programs: u64,
    /// For these programs.
    pub for_programs: u64,
    /// For deia itself.
    pub reserve: u64,
}

/// Returns how many programs such a bot may run at once.
pub fn programs(executor: &Executor, capabilities: &Capabilities) -> u64 {
    match executor {
        Executor::Command(_) => capabilities.max_concurrent_tasks.into(),
        Executor::Simulated(_) => 0,
    }
}

impl DescriptorNeed {
    /// Returns the need of these settings with `programs` at once.
    pub fn of(config: &Config, programs: u64) -> Self {
        Self {
            connections: config.server.max_connections.into(),
            programs,
            for_programs: programs.saturating_mul(PER_PROGRAM),
            reserve: RESERVE + PER_READER * u64::from(config.store.readers),
        }
    }

    /// Returns the need without any client.
    pub fn without_clients(&self) -> u64 {
        self.for_programs.saturating_add(self.reserve)
    }

    /// Returns the whole need.
    pub fn total(&self) -> u64 {
        self.without_clients().saturating_add(self.connections)
    }

    /// Returns advice about `limit`, if it does not suffice.
    pub fn beyond(&self, limit: u64) -> Option<String> {
        (self.total() > limit).then(|| {
            format!(
                "at most {limit} files may be open, and full load takes {}: {} for connections \
                 (server.max_connections), {} for {} programs at once, {} for deia itself; raise \
                 the hard limit (LimitNOFILE= of a systemd unit, ulimit -Hn) or lower these",
                self.total(),
                self.connections,
                self.for_programs,
                self.programs,
                self.reserve
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn need_is_compared_with_the_limit() {
        let mut config = Config::defaults().unwrap();
        config.server.max_connections = 1_000;
        config.store.readers = 4;
        let need = DescriptorNeed::of(&config, 300);
        assert_eq!((need.without_clients(), need.total()), (2_668, 3_668));
        assert_eq!(need.beyond(3_668), None);
        let beyond = need.beyond(3_667).unwrap();
        for part in [
            "at most 3667 files",
            "takes 3668",
            "1000 for conn",
            "2400 for 300 prog",
        ] {
            assert!(beyond.contains(part), "{part}: {beyond}");
        }
        assert_eq!(DescriptorNeed::of(&config, u64::MAX).total(), u64::MAX);
    }
}
