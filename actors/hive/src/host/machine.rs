//! Processors, memory and load of the machine, as `/proc` shows them (proc(5)).

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use procfs::{
    CpuTime, FromRead as _, FromReadSI as _, KernelStats, LoadAverage, Meminfo, current_system_info,
};

use super::Unknown;

/// Minimum time over which the use of the processors is measured. Fact: /proc/stat counts
/// in hundredths of a second.
const CPU_WINDOW: Duration = Duration::from_secs(1);

/// Returns when the machine was started, in seconds since 1970.
///
/// # Errors
/// The figure is not known.
pub(super) fn booted_at_seconds() -> Result<u64, Unknown> {
    Ok(kernel(Path::new("/"))?.btime)
}

fn kernel(root: &Path) -> Result<KernelStats, Unknown> {
    let path = root.join("proc/stat");
    Ok(KernelStats::from_file(path, current_system_info())?)
}

/// Memory of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Size, in bytes.
    pub(crate) bytes: u64,
    /// Bytes that programs can get without swapping.
    pub(crate) available_bytes: u64,
}

impl Memory {
    /// Reads the memory of the machine.
    ///
    /// # Errors
    /// The figure is not known.
    pub(crate) fn of_machine() -> Result<Self, Unknown> {
        Self::below(Path::new("/"))
    }

    fn below(root: &Path) -> Result<Self, Unknown> {
        let info = Meminfo::from_file(root.join("proc/meminfo"))?;
        Ok(Self {
            bytes: info.mem_total,
            available_bytes: info.mem_available.ok_or(Unknown::Absent)?,
        })
    }

    /// Returns the share in use, in percent.
    pub(crate) fn used_percent(self) -> f64 {
        super::used_percent(self.available_bytes, self.bytes)
    }
}

/// Processes that run or wait for a processor or a disk, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load {
    /// Average over a minute.
    pub(crate) one_minute: f64,
    /// Average over five minutes.
    pub(crate) five_minutes: f64,
    /// Average over a quarter of an hour.
    pub(crate) fifteen_minutes: f64,
}

impl Load {
    /// Reads the load of the machine.
    ///
    /// # Errors
    /// The figure is not known.
    pub(crate) fn of_machine() -> Result<Self, Unknown> {
        Self::below(Path::new("/"))
    }

    fn below(root: &Path) -> Result<Self, Unknown> {
        let load = LoadAverage::from_file(root.join("proc/loadavg"))?;
        Ok(Self {
            one_minute: super::hundredths(load.one),
            five_minutes: super::hundredths(load.five),
            fifteen_minutes: super::hundredths(load.fifteen),
        })
    }
}

/// Clock ticks of all processors since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    total: u64,
}

impl Ticks {
    fn below(root: &Path) -> Result<Self, Unknown> {
        Ok(Self::of(&kernel(root)?.total))
    }

    fn of(time: &CpuTime) -> Self {
        let or_none = |ticks: Option<u64>| ticks.unwrap_or(0);
        let busy = [
            time.user,
            time.nice,
            time.system,
            or_none(time.irq),
            or_none(time.softirq),
            or_none(time.steal),
        ];
        let busy = busy.iter().sum();
        Self {
            busy,
            total: busy + time.idle + or_none(time.iowait),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "ticks to a share")]
    fn percent_since(self, before: Self) -> f64 {
        let passed = self.total.saturating_sub(before.total).max(1);
        self.busy.saturating_sub(before.busy) as f64 * 100.0 / passed as f64
    }
}

/// Measures how busy the processors were since the last measurement.
#[derive(Debug, Default)]
pub(crate) struct CpuMeter(Mutex<Option<Sample>>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    ticks: Ticks,
    percent: f64,
}

impl CpuMeter {
    /// Returns the share of time that all processors together were busy, in percent. The first
    /// measurement covers the time since boot.
    ///
    /// # Errors
    /// The figure is not known.
    pub(crate) fn percent(&self) -> Result<f64, Unknown> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sample) = last.filter(|sample| sample.at.elapsed() < CPU_WINDOW) {
            return Ok(sample.percent);
        }
        let ticks = Ticks::below(Path::new("/"))?;
        let percent = ticks.percent_since(last.map_or(Ticks::default(), |sample| sample.ticks));
        *last = Some(Sample {
            at: Instant::now(),
            ticks,
            percent,
        });
        Ok(percent)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        for (name, text) in files {
            fs::write(root.path().join("proc").join(name), text).unwrap();
        }
        root
    }

    #[test]
    fn figures_of_the_machine_are_read() {
        let stat = "cpu  10 1 5 80 4 2 1 1 0 0\ncpu0 10 1 5 80 4 2 1 1 0 0\nctxt 5\n\
                    btime 1700000000\nprocesses 9\nprocs_running 1\nprocs_blocked 0\n";
        let meminfo = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    250 kB\n\
                       Buffers: 1 kB\nCached: 1 kB\nSwapCached: 0 kB\nActive: 1 kB\nInactive: 1 kB\n\
                       SwapTotal: 0 kB\nSwapFree: 0 kB\nDirty: 0 kB\nWriteback: 0 kB\nMapped: 0 kB\n\
                       Slab: 0 kB\nCommitted_AS: 0 kB\nVmallocTotal: 0 kB\nVmallocUsed: 0 kB\n\
                       VmallocChunk: 0 kB\n";
        let root = host(&[
            ("stat", stat),
            ("meminfo", meminfo),
            ("loadavg", "0.25 1.50 3.01 2/300 4242\n"),
        ]);
        let ticks = Ticks::below(root.path()).unwrap();
        assert_eq!((ticks.busy, ticks.total), (20, 104));
        assert_eq!(kernel(root.path()).unwrap().btime, 1_700_000_000);
        let memory = Memory::below(root.path()).unwrap();
        assert_eq!(memory.bytes, 1_000 << 10);
        assert!((memory.used_percent() - 75.0).abs() < 1e-9);
        let load = Load::below(root.path()).unwrap();
        let all = [load.one_minute, load.five_minutes, load.fifteen_minutes];
        assert_eq!(all, [0.25, 1.5, 3.01]);
    }

    #[test]
    fn figures_that_are_not_there_are_unknown() {
        for (files, expected) in [
            (&[] as &[_], Unknown::Absent),
            (
                &[("stat", "x"), ("meminfo", "x"), ("loadavg", "x")],
                Unknown::Unreadable,
            ),
        ] {
            let root = host(files);
            assert_eq!(Ticks::below(root.path()), Err(expected));
            assert_eq!(Memory::below(root.path()), Err(expected));
            assert_eq!(Load::below(root.path()), Err(expected));
        }
    }

    #[test]
    fn use_of_processors_is_that_between_two_looks() {
        let ticks = |busy, total| Ticks { busy, total };
        for (now, before, expected) in [
            (ticks(50, 100), ticks(0, 0), 50.0),
            (ticks(60, 140), ticks(50, 100), 25.0),
            (ticks(50, 100), ticks(50, 100), 0.0),
            // The time of waiting for a disk may run backwards (proc(5)).
            (ticks(50, 99), ticks(50, 100), 0.0),
        ] {
            let percent = now.percent_since(before);
            assert!((percent - expected).abs() < 1e-9, "{now:?} {before:?}");
        }
        let meter = CpuMeter::default();
        let first = meter.percent().unwrap();
        assert!((0.0..=100.0).contains(&first), "{first}");
    }

    #[test]
    fn this_machine_is_known() {
        let memory = Memory::of_machine().unwrap();
        assert!(memory.bytes > memory.available_bytes);
        assert!(Load::of_machine().unwrap().one_minute >= 0.0);
        assert!(booted_at_seconds().unwrap() > 1_000_000_000);
    }
}
