//! Processes, as `/proc` shows them (proc(5)).

use std::{fs, io, path::Path};

use procfs::{
    FromRead as _, ProcError,
    process::{Stat, Status},
};
use rustix::{
    io::Errno,
    param::{clock_ticks_per_second, page_size},
};

use super::{Unknown, descriptors, machine};

pub(super) const PROC: &str = "/proc";

/// Path of the program of this process, even if its file was replaced or removed.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Id of the process.
    pub(crate) pid: i32,
    /// Id of its parent.
    pub(crate) parent: i32,
    /// Id of its process group.
    pub(crate) group: i32,
    /// True if the process has ended and was not reaped yet.
    pub(crate) zombie: bool,
    /// Time of its start, in clock ticks since boot.
    pub(crate) started: u64,
}

impl From<Stat> for Process {
    fn from(stat: Stat) -> Self {
        Self {
            pid: stat.pid,
            parent: stat.ppid,
            group: stat.pgrp,
            zombie: matches!(stat.state, 'Z' | 'X' | 'x'),
            started: stat.starttime,
        }
    }
}

impl Process {
    /// Reads one process.
    ///
    /// # Errors
    /// No process of that id exists, or it is hidden.
    pub(crate) fn read(pid: i32) -> Result<Self, Unknown> {
        Ok(Self::below(Path::new(PROC), pid)?)
    }

    /// Reads all visible processes. Processes that end meanwhile are left out.
    ///
    /// # Errors
    /// `/proc` cannot be read, or this process has no descriptor left to read with: a list
    /// without the processes that could not be opened would pass for a complete one.
    pub(crate) fn all() -> io::Result<Vec<Self>> {
        Self::all_below(Path::new(PROC))
    }

    fn below(proc: &Path, pid: i32) -> Result<Self, ProcError> {
        Stat::from_file(proc.join(format!("{pid}/stat"))).map(Self::from)
    }

    fn all_below(proc: &Path) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(proc)? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            match Self::below(proc, pid) {
                Ok(process) => found.push(process),
                Err(ProcError::Io(error, _)) if is_shortage(&error) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(found)
    }
}

fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// Reads the environment that a process was started with: variables, each terminated by a NUL.
///
/// # Errors
/// There is no such process, or it belongs to another user.
pub(crate) fn environment(pid: i32) -> Result<Vec<u8>, Unknown> {
    Ok(fs::read(format!("{PROC}/{pid}/environ"))?)
}

/// Returns the ids of the children of this process. Empty if the kernel was built without these
/// lists.
///
/// # Errors
/// The threads of this process cannot be listed.
pub fn children() -> io::Result<Vec<i32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir("/proc/self/task")? {
        // A thread may end meanwhile; one of the others has its children then.
        let listed = fs::read_to_string(thread?.path().join("children"));
        let listed = listed.unwrap_or_default();
        children.extend(listed.split_whitespace().flat_map(str::parse::<i32>));
    }
    Ok(children)
}

/// Returns the signals that this process ignores, as a mask: the lowest bit is signal 1.
///
/// # Errors
/// The mask is not known.
pub(super) fn ignored_signals() -> Result<u64, Unknown> {
    Ok(Status::from_file("/proc/self/status")?.sigign)
}

/// Resources that this process uses. Unknown figures are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system time, in seconds.
    pub(crate) cpu_seconds: Option<f64>,
    /// Number of threads.
    pub(crate) threads: Option<u64>,
    /// Address space, in bytes.
    pub(crate) virtual_bytes: Option<u64>,
    /// Memory in use, in bytes.
    pub(crate) resident_bytes: Option<u64>,
    /// Time of its start, in seconds since 1970.
    pub(crate) started_at_seconds: Option<f64>,
    /// Number of open descriptors.
    pub(crate) open_descriptors: Option<u64>,
    /// Maximum number of open descriptors; `None` also if there is no limit.
    pub(crate) max_descriptors: Option<u64>,
}

impl Usage {
    /// Reads the figures of this process. Blocks for some file accesses.
    pub(crate) fn of_this_process() -> Self {
        let stat = Stat::from_file("/proc/self/stat").ok();
        let max = descriptors::limit().soft;
        Self {
            open_descriptors: descriptors::open().ok(),
            max_descriptors: (max < u64::MAX).then_some(max),
            ..Self::of(stat.as_ref(), machine::booted_at_seconds().ok())
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970")]
    fn of(stat: Option<&Stat>, booted_at_seconds: Option<u64>) -> Self {
        let Some(stat) = stat else {
            return Self::default();
        };
        Self {
            cpu_seconds: Some(seconds(stat.utime.saturating_add(stat.stime))),
            threads: u64::try_from(stat.num_threads).ok(),
            virtual_bytes: Some(stat.vsize),
            resident_bytes: Some(stat.rss.saturating_mul(page_size() as u64)),
            started_at_seconds: booted_at_seconds.map(|at| at as f64 + seconds(stat.starttime)),
            ..Self::default()
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "ticks to seconds")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = "S 7 8 9 0 -1 4194560 1 2 3 4 70 30 7 8 20 0 3 0 123456 4096 8 \
         18446744073709551615 1 1 0 0 0 0 0 4096 1 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0";

    fn stat(text: &str) -> Option<Stat> {
        Stat::from_read(text.as_bytes()).ok()
    }

    #[test]
    fn line_of_stat_is_read_whatever_the_name() {
        for name in ["cat", "a) Z (b", "", "ä\u{fffd}"] {
            let process: Process = stat(&format!("42 ({name}) {FIELDS}\n")).unwrap().into();
            let expected = Process {
                pid: 42,
                parent: 7,
                group: 8,
                zombie: false,
                started: 123_456,
            };
            assert_eq!(process, expected, "{name}");
        }
        let zombie: Process = stat(&format!("1 (a) {}", FIELDS.replacen('S', "Z", 1)))
            .unwrap()
            .into();
        assert!(zombie.zombie);
        for broken in ["", "1", "1 (a", "1 (a) S 1", "x (a) S 1 2 3"] {
            assert!(stat(broken).is_none(), "{broken}");
        }
    }

    #[test]
    fn processes_that_end_meanwhile_or_are_hidden_are_left_out() {
        let proc = tempfile::tempdir().unwrap();
        let add = |pid: &str, stat: Option<String>| {
            let dir = proc.path().join(pid);
            fs::create_dir(&dir).unwrap();
            if let Some(stat) = stat {
                fs::write(dir.join("stat"), stat).unwrap();
            }
        };
        add("10", Some(format!("10 (a) {FIELDS}")));
        add("11", None);
        add("12", Some("12 (cut".into()));
        add("self", Some(format!("10 (a) {FIELDS}")));
        let found = Process::all_below(proc.path()).unwrap();
        assert_eq!(found.iter().map(|p| p.pid).collect::<Vec<_>>(), [10]);
        assert!(Process::all_below(&proc.path().join("none")).is_err());
    }

    #[test]
    fn this_very_process_is_seen() {
        let own = i32::try_from(std::process::id()).unwrap();
        let seen = Process::all().unwrap();
        let this = seen.iter().find(|p| p.pid == own).unwrap();
        assert!(!this.zombie && this.started > 0 && this.parent > 0);
        assert_eq!(Process::read(own).as_ref(), Ok(this));
        assert_eq!(Process::read(i32::MAX), Err(Unknown::Absent));
        let path = environment(own).unwrap();
        assert!(path.windows(5).any(|part| part == b"PATH="));
        assert_eq!(environment(i32::MAX), Err(Unknown::Absent));
    }

    #[test]
    fn figures_come_from_stat() {
        let stat = stat(&format!("42 (a b) {FIELDS}")).unwrap();
        let usage = Usage::of(Some(&stat), Some(1_700_000_000));
        let ticks = clock_ticks_per_second() as f64;
        assert_eq!(usage.cpu_seconds, Some(100.0 / ticks));
        assert_eq!(usage.threads, Some(3));
        assert_eq!(usage.virtual_bytes, Some(4_096));
        assert_eq!(usage.resident_bytes, Some(8 * page_size() as u64));
        assert_eq!(usage.started_at_seconds, Some(1.7e9 + 123_456.0 / ticks));
        assert_eq!(Usage::of(Some(&stat), None).started_at_seconds, None);
        assert_eq!(Usage::of(None, Some(1)), Usage::default());
    }

    #[test]
    fn figures_of_this_process_are_known() {
        let usage = Usage::of_this_process();
        assert!(usage.resident_bytes.is_some_and(|n| n > 1 << 20));
        assert!(usage.open_descriptors.is_some_and(|n| n > 2));
        assert!(usage.started_at_seconds.is_some_and(|at| at > 1e9));
        assert!(usage.threads.is_some_and(|n| n > 0));
    }
}
