//! Limit of this process's open files, and the number that it needs.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd},
    path::PathBuf,
    sync::OnceLock,
};

use deia_model::{Capabilities, Executor};
use rustix::{
    fs::OFlags,
    io::{FdFlags, fcntl_setfd},
    process::{
        Pid, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, getrlimit, pidfd_getfd, pidfd_open,
        prlimit, setrlimit,
    },
};

/// Descriptors that deia holds for one running program: three standard streams, progress,
/// the process itself, a file for its output; some more for a moment while it starts.
/// Fact: the descriptors that the code opens.
const PER_PROGRAM: u64 = 8;
/// Descriptors for each connection to the store: its database, its log, and its index.
/// Fact: the files that SQLite opens in WAL mode.
const PER_READER: u64 = 3;
/// Descriptors for everything else: listeners, timers and queues of threads, logs,
/// outgoing requests. Fixed: an estimate for a warning at the start.
const RESERVE: u64 = 256;

/// Limit that this process was started with.
static ORIGINAL: OnceLock<Rlimit> = OnceLock::new();
/// Descriptors that a parent process left open.
static INHERITED: OnceLock<Vec<OwnedFd>> = OnceLock::new();

/// Limits on the number of open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// Limit in force.
    pub soft: u64,
    /// Limit up to which it can be raised without privileges.
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

/// Returns the number of descriptors that are open.
///
/// # Errors
/// The table of descriptors cannot be read.
pub(crate) fn open() -> io::Result<u64> {
    // The directory itself is open while it is read.
    Ok((fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1))
}

/// Returns a path that leads to the open file of this number, even if it has no name any more.
pub fn path_to(number: RawFd) -> PathBuf {
    format!("/proc/self/fd/{number}").into()
}

/// Returns the path by which the open file was reached, after all links.
///
/// # Errors
/// The kernel does not provide the path.
pub(crate) fn path_of(file: impl AsFd) -> io::Result<PathBuf> {
    fs::read_link(path_to(file.as_fd().as_raw_fd()))
}

/// Raises the soft limit to the hard one. The soft limit is low for the sake of programs that use
/// select(2), which deia does not; its own programs get it back.
///
/// # Errors
/// The kernel refuses.
pub fn raise() -> io::Result<()> {
    // This process continues after an `exec` that failed.
    hand_on_inherited(false);
    let original = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: original.maximum,
        maximum: original.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    let _ = ORIGINAL.set(original);
    Ok(())
}

/// Restores the original limit and the inherited descriptors for the program that this
/// process becomes by `exec`.
pub fn restore() {
    hand_on_inherited(true);
    if let Some(original) = ORIGINAL.get() {
        // Lowering the soft limit is always allowed.
        let _ = setrlimit(Resource::Nofile, *original);
    }
}

/// Gives a program that was just started the limit that deia was started with. A hook before
/// `exec` would rule out the cheap way to start: the program runs under the raised limit for some
/// microseconds.
pub(crate) fn restore_for(program: Pid) {
    if let Some(original) = ORIGINAL.get() {
        // This fails for a program that has changed its user; it keeps the raised limit.
        let _ = prlimit(Some(program), Resource::Nofile, *original);
    }
}

/// The limit of this process, lowered for a program that it starts. Dropping it restores the limit.
pub(crate) struct Lowered {
    before: Rlimit,
    limit: u64,
}

/// Lowers the limit of this process for a program that it starts, which inherits it.
pub(crate) fn lower(limit: u64) -> Lowered {
    let before = getrlimit(Resource::Nofile);
    let allowed = before.maximum.map_or(limit, |hard| hard.min(limit));
    let lowered = Rlimit {
        current: Some(allowed),
        maximum: before.maximum,
    };
    // Lowering the soft limit is always allowed.
    let _ = setrlimit(Resource::Nofile, lowered);
    Lowered {
        before,
        limit: allowed,
    }
}

impl Lowered {
    /// Keeps the started program from raising the limit again.
    pub(crate) fn keep_for(self, program: Option<Pid>) {
        let both = Rlimit {
            current: Some(self.limit),
            maximum: Some(self.limit),
        };
        // This fails for a program that has changed its user: it keeps the lower soft limit.
        let _ = program.map(|program| prlimit(Some(program), Resource::Nofile, both));
    }
}

impl Drop for Lowered {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Nofile, self.before);
    }
}

/// Takes the descriptors from 3 on that a parent process left open, so that no program of
/// a bot gets them. They stay open, since the parent may rely on that, as on a lock.
/// Returns their number.
///
/// Must be called once, at the start, before this process opens anything that another
/// program is to have.
///
/// # Errors
/// The table of descriptors cannot be read.
pub fn take_inherited() -> io::Result<usize> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        let entry = entry?;
        // The descriptor of the listing itself is closed by now.
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let number = entry.file_name().to_str().and_then(|it| it.parse().ok());
        numbers.extend(number.filter(|number| is_inherited(*number, &info)));
    }
    let kept: Vec<_> = numbers.iter().filter_map(|number| own(*number)).collect();
    let _ = INHERITED.set(kept);
    Ok(numbers.len())
}

/// Returns whether a descriptor with this entry of `fdinfo` was inherited: all that this
/// process opens is closed when another program begins.
fn is_inherited(number: i32, info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    number > 2 && flags.is_some_and(|flags| flags & OFlags::CLOEXEC.bits() == 0)
}

/// Puts a descriptor of this process that is closed on `exec` in the place of an inherited
/// one. Closes the inherited one if the kernel cannot replace it (before Linux 5.6).
fn own(number: i32) -> Option<OwnedFd> {
    let this = pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    let own = this.and_then(|this| pidfd_getfd(this, number, PidfdGetfdFlags::empty()));
    let _ = nix::unistd::close(number);
    own.ok()
}

/// Lets the image that this process becomes by `exec` inherit them again, or not.
fn hand_on_inherited(let_it: bool) {
    let flags = match let_it {
        true => FdFlags::empty(),
        false => FdFlags::CLOEXEC,
    };
    for fd in INHERITED.get().into_iter().flatten() {
        let _ = fcntl_setfd(fd, flags);
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
    executor.programs(capabilities.max_concurrent_tasks).into()
}

impl DescriptorNeed {
    /// Returns the need of that many connections and connections to the store, with
    /// `programs` at once.
    pub fn of(connections: u32, readers: u16, programs: u64) -> Self {
        Self {
            connections: connections.into(),
            programs,
            for_programs: programs.saturating_mul(PER_PROGRAM),
            reserve: RESERVE + PER_READER * u64::from(readers),
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
    fn inherited_descriptors_are_told_from_ones_own() {
        for (number, info, expected) in [
            (7, "pos:\t0\nflags:\t0100001\nmnt_id:\t23\n", true),
            (7, "pos:\t0\nflags:\t02100001\nmnt_id:\t23\n", false),
            (0, "pos:\t0\nflags:\t0100002\n", false),
            (2, "flags:\t01\n", false),
            (3, "", false),
            (3, "flags:\tx\n", false),
        ] {
            assert_eq!(is_inherited(number, info), expected, "{number} {info:?}");
        }
    }

    #[test]
    fn need_is_compared_with_the_limit() {
        let need = DescriptorNeed::of(1_000, 4, 300);
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
        assert_eq!(DescriptorNeed::of(1_000, 4, u64::MAX).total(), u64::MAX);
    }
}
