//! This process, as the kernel sees it (proc(5)).

use std::fs;

use rustix::{
    fs::statvfs,
    param::{clock_ticks_per_second, page_size},
};

use super::{Readings, readings::NO_LABELS, table};

/// What the kernel says of this process. What cannot be read is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ProcessReading {
    cpu_seconds: Option<f64>,
    threads: Option<u64>,
    virtual_bytes: Option<u64>,
    resident_bytes: Option<u64>,
    started_at_seconds: Option<f64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
    disk: Option<(u64, u64)>,
    database_bytes: Option<u64>,
    wal_bytes: Option<u64>,
}

impl ProcessReading {
    /// Reads it. Blocks for some file accesses.
    pub(crate) fn take(database: &std::path::Path) -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let stat = Stat::parse(&text("/proc/self/stat"));
        let boot = boot_seconds(&text("/proc/stat"));
        let size = |path: &std::path::Path| path.metadata().ok().map(|data| data.len());
        let mut wal = database.as_os_str().to_owned();
        wal.push("-wal");
        let fs = database.parent().and_then(|dir| statvfs(dir).ok());
        Self {
            cpu_seconds: stat.map(|stat| seconds(stat.cpu_ticks)),
            threads: stat.map(|stat| stat.threads),
            virtual_bytes: stat.map(|stat| stat.virtual_bytes),
            resident_bytes: stat.map(|stat| stat.resident_pages * page_size() as u64),
            started_at_seconds: stat
                .zip(boot)
                .map(|(stat, boot)| boot + seconds(stat.started_ticks)),
            // The directory itself is open while it is read.
            open_fds: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|dir| (dir.count() as u64).saturating_sub(1)),
            max_fds: max_fds(&text("/proc/self/limits")),
            disk: fs.map(|fs| {
                (
                    fs.f_bavail.saturating_mul(fs.f_frsize),
                    fs.f_blocks.saturating_mul(fs.f_frsize),
                )
            }),
            database_bytes: size(database),
            wal_bytes: size(wal.as_ref()),
        }
    }

    /// Puts it among the others.
    pub(crate) fn write(&self, out: &mut Readings) {
        for (metric, value) in [
            (&table::THREADS, self.threads),
            (&table::VIRTUAL, self.virtual_bytes),
            (&table::RESIDENT, self.resident_bytes),
            (&table::OPEN_FDS, self.open_fds),
            (&table::MAX_FDS, self.max_fds),
            (&table::DISK_FREE, self.disk.map(|(free, _)| free)),
            (&table::DISK_SIZE, self.disk.map(|(_, size)| size)),
        ] {
            if let Some(value) = value {
                out.plain(metric, value);
            }
        }
        for (metric, value) in [
            (&table::CPU, self.cpu_seconds),
            (&table::STARTED, self.started_at_seconds),
        ] {
            if let Some(value) = value {
                out.number(metric, NO_LABELS, value);
            }
        }
        for (file, size) in [("database", self.database_bytes), ("wal", self.wal_bytes)] {
            out.count(&table::STORE_SIZE, [file], size.unwrap_or(0));
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "ticks to seconds")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second().max(1) as f64
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// `/proc/<pid>/stat`. The name in parentheses may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // proc(5) counts from 1; the state, the first here, is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn boot_seconds(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

/// The soft limit; `None` when there is none.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 1 2 3 4 70 30 5 6 20 0 9 0 123 4096 8 99";
        assert_eq!(
            Stat::parse(stat),
            Some(Stat {
                cpu_ticks: 100,
                threads: 9,
                started_ticks: 123,
                virtual_bytes: 4_096,
                resident_pages: 8
            })
        );
        assert_eq!(Stat::parse("nonsense"), None);
        assert_eq!(boot_seconds("cpu 1\nbtime 1700000000\n"), Some(1.7e9));
        let limits =
            "Limit  Soft Limit  Hard Limit\nMax open files            1024    4096    files\n";
        assert_eq!(max_fds(limits), Some(1_024));
    }

    #[test]
    fn this_process_is_read() {
        let reading = ProcessReading::take(std::path::Path::new("/proc/none.db"));
        assert!(reading.resident_bytes.is_some_and(|n| n > 1 << 20));
        assert!(reading.open_fds.is_some_and(|n| n > 2));
        assert!(reading.started_at_seconds.is_some_and(|at| at > 1e9));
        assert_eq!(reading.database_bytes, None);
    }
}
