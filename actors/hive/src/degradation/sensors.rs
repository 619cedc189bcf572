//! The sensors: each is read beside the actor, since files of the kernel, disks and the store may
//! hang, and its last reading counts until it is too old.

use std::{
    future::Future,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deia_ledger::{Ledger, metrics::StoreMetrics, reserve};
use deia_model::{Bot, BotDesired, BotStatus};

use super::{
    latency::Window,
    signals::{BotCount, Measured, Sensed},
};
use crate::{
    audit::AuditApi,
    bots::{BotsApi, is_up},
    config::{CommitSignal, Config},
    host::{Cgroup, DiskSpace, Memory, Pressure, Unknown, descriptors, pressure::Stalls},
};

/// Figures of the machine and the control group.
#[derive(Clone, Debug)]
struct HostFigures {
    memory_percent: Sensed<f64>,
    cpu_stall_percent: Sensed<f64>,
    memory_stall_percent: Sensed<f64>,
    io_stall_percent: Sensed<f64>,
}

/// Figures of the disk with the data directory.
#[derive(Clone, Debug)]
struct DiskFigures {
    space: Sensed<DiskSpace>,
    is_reserve_in_use: bool,
}

/// The last reading of a sensor, and whether the next one is under way.
struct Slot<T> {
    latest: Arc<Mutex<Option<(Instant, T)>>>,
    is_busy: Arc<AtomicBool>,
}

/// Marks a slot as idle again, even if its reading panics.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            latest: Arc::default(),
            is_busy: Arc::default(),
        }
    }
}

impl<T: Clone + Send + 'static> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, Option<(Instant, T)>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a reading that may block, unless one is under way or the last one is recent.
    fn read_blocking(&self, every: Duration, read: impl FnOnce() -> T + Send + 'static) {
        if let Some((busy, latest)) = self.begin(every) {
            tokio::task::spawn_blocking(move || {
                let _busy = busy;
                let reading = read();
                *latest.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), reading));
            });
        }
    }

    /// Begins a reading that waits, unless one is under way or the last one is recent.
    fn read(&self, every: Duration, read: impl Future<Output = T> + 'static) {
        if let Some((busy, latest)) = self.begin(every) {
            tokio::task::spawn_local(async move {
                let _busy = busy;
                let reading = read.await;
                *latest.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), reading));
            });
        }
    }

    #[allow(clippy::type_complexity, reason = "the two halves of a reading")]
    fn begin(&self, every: Duration) -> Option<(Busy, Arc<Mutex<Option<(Instant, T)>>>)> {
        let is_recent = |(at, _): &(Instant, T)| at.elapsed() < every;
        if self.lock().as_ref().is_some_and(is_recent) {
            return None;
        }
        let was_busy = self.is_busy.swap(true, Ordering::AcqRel);
        (!was_busy).then(|| (Busy(self.is_busy.clone()), self.latest.clone()))
    }

    /// Returns the last reading unless it is too old.
    fn get(&self, stale_after: Duration) -> Sensed<T> {
        match &*self.lock() {
            None => Err("its sensor has not answered yet".to_owned()),
            Some((at, _)) if at.elapsed() > stale_after => Err(format!(
                "its sensor has not answered for {} s",
                at.elapsed().as_secs()
            )),
            Some((_, reading)) => Ok(reading.clone()),
        }
    }
}

/// The sensors of a hive.
pub(super) struct Sensors {
    ledger: Ledger,
    bots: BotsApi,
    audit: AuditApi,
    store: Arc<StoreMetrics>,
    host: Slot<HostFigures>,
    disk: Slot<DiskFigures>,
    descriptors: Slot<Sensed<f64>>,
    bot_count: Slot<Sensed<BotCount>>,
    window: Mutex<Window>,
    full: Mutex<FullDisk>,
}

/// Writes that found no space.
#[derive(Debug, Default)]
struct FullDisk {
    seen: u64,
    at: Option<Instant>,
}

impl Sensors {
    pub(super) fn new(
        ledger: Ledger,
        bots: BotsApi,
        audit: AuditApi,
        store: Arc<StoreMetrics>,
    ) -> Self {
        let full = FullDisk {
            seen: store.full.get(),
            at: None,
        };
        Self {
            ledger,
            bots,
            audit,
            store,
            host: Slot::default(),
            disk: Slot::default(),
            descriptors: Slot::default(),
            bot_count: Slot::default(),
            window: Mutex::default(),
            full: Mutex::new(full),
        }
    }

    /// Begins the readings that are due.
    pub(super) fn refresh(&self, config: &Config) {
        let settings = &config.degradation;
        let (often, seldom) = (settings.sample_every, settings.count_every);
        self.host.read_blocking(often, host_figures);
        let data_dir = config.data_dir.clone();
        self.disk
            .read_blocking(seldom, move || disk_figures(data_dir));
        self.descriptors.read_blocking(seldom, descriptors_percent);
        let bots = self.bots.clone();
        self.bot_count.read(seldom, async move {
            let bots = bots.list().await.map_err(|error| error.to_string())?;
            Ok(count(&bots))
        });
    }

    /// Returns the last readings.
    pub(super) fn measured(&self, config: &Config) -> Measured {
        let settings = &config.degradation;
        let stale_after = settings.stale_after;
        let host = self.host.get(stale_after);
        let disk = self.disk.get(stale_after);
        let of_host = |of: fn(&HostFigures) -> &Sensed<f64>| match &host {
            Ok(figures) => of(figures).clone(),
            Err(why) => Err(why.clone()),
        };
        let has_found_no_space = self.has_found_no_space(settings.count_every * 2);
        Measured {
            memory_percent: of_host(|it| &it.memory_percent),
            cpu_stall_percent: of_host(|it| &it.cpu_stall_percent),
            memory_stall_percent: of_host(|it| &it.memory_stall_percent),
            io_stall_percent: of_host(|it| &it.io_stall_percent),
            commit_p99: Ok(self.commit_p99(settings.cpu_and_commits)),
            is_disk_full: match &disk {
                _ if has_found_no_space => Ok(true),
                Ok(figures) => Ok(figures.is_reserve_in_use),
                Err(why) => Err(why.clone()),
            },
            disk: disk.and_then(|figures| figures.space),
            descriptors_percent: self.descriptors.get(stale_after).and_then(|it| it),
            bots: self.bot_count.get(stale_after).and_then(|it| it),
            audit_lag: Ok(self.audit.lag()),
        }
    }

    /// Returns the ledger, for the records of changes.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn commit_p99(&self, limits: CommitSignal) -> Duration {
        let is_waiting = self.store.waiting() > 0;
        let snapshot = self.store.commit.snapshot();
        let mut seen = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        seen.p99(Instant::now(), snapshot, is_waiting, limits)
    }

    /// Returns true if a command has found a full disk lately, even if there is no reserve.
    fn has_found_no_space(&self, lately: Duration) -> bool {
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.store.full.get();
        if seen != full.seen {
            full.seen = seen;
            full.at = Some(Instant::now());
        }
        full.at.is_some_and(|at| at.elapsed() < lately)
    }
}

fn host_figures() -> HostFigures {
    let group = Cgroup::of_this_process();
    let (machine, of_group) = (Pressure::of_machine(), group.pressure());
    // The group's own pressure leaves out that of its neighbours.
    let stalls = |of: fn(&Pressure) -> Result<Stalls, Unknown>| of(&of_group).or(of(&machine));
    let full = |stalls: Result<Stalls, Unknown>| {
        let full = stalls.and_then(|stalls| stalls.full.ok_or(Unknown::Absent));
        full.map(|stall| stall.avg10_percent).map_err(words)
    };
    let some = stalls(|it| it.cpu).map(|stalls| stalls.some.avg10_percent);
    HostFigures {
        memory_percent: memory_percent(&group),
        cpu_stall_percent: some.map_err(words),
        memory_stall_percent: full(stalls(|it| it.memory)),
        io_stall_percent: full(stalls(|it| it.io)),
    }
}

/// Reads the host once, for its cost.
#[cfg(any(test, feature = "testing"))]
pub(super) fn read_host() {
    drop(host_figures());
}

fn words(unknown: Unknown) -> String {
    unknown.in_words().to_owned()
}

/// Measures the fuller one of the group and the machine: either runs out.
fn memory_percent(group: &Cgroup) -> Sensed<f64> {
    let machine = Memory::of_machine().map(Memory::used_percent);
    let group = group.memory().ok().and_then(|it| it.used_percent());
    match (group, machine) {
        (Some(group), Ok(machine)) => Ok(group.max(machine)),
        (Some(group), Err(_)) => Ok(group),
        (None, machine) => machine.map_err(words),
    }
}

fn disk_figures(data_dir: PathBuf) -> DiskFigures {
    DiskFigures {
        space: DiskSpace::of(&data_dir).map_err(|error| error.to_string()),
        is_reserve_in_use: reserve::leave_alone(&data_dir).is_err(),
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts to a share")]
fn descriptors_percent() -> Sensed<f64> {
    let open = descriptors::open().map_err(|error| error.to_string())?;
    Ok(open as f64 * 100.0 / descriptors::limit().soft.max(1) as f64)
}

/// Counts the bots that should run. One that is stopped although it should run is suspended with
/// its supervisor, on purpose.
fn count(bots: &[Bot]) -> BotCount {
    let mut counted = BotCount {
        healthy: 0,
        wanted: 0,
    };
    for bot in bots {
        if bot.desired == BotDesired::Launched && bot.status != BotStatus::Stopped {
            counted.wanted += 1;
            counted.healthy += u32::from(is_up(bot));
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_measured_or_says_why_not() {
        let figures = host_figures();
        let memory = figures.memory_percent.unwrap();
        assert!((0.0..=100.0).contains(&memory), "{memory}");
        for figure in [
            figures.cpu_stall_percent,
            figures.memory_stall_percent,
            figures.io_stall_percent,
        ] {
            match figure {
                Ok(percent) => assert!((0.0..=100.0).contains(&percent), "{percent}"),
                Err(why) => assert!(!why.is_empty()),
            }
        }
        assert!(descriptors_percent().unwrap() > 0.0);
        let disk = disk_figures("/".into());
        assert!(disk.space.unwrap().bytes > 0 && !disk.is_reserve_in_use);
    }

    #[tokio::test]
    async fn reading_counts_until_it_is_too_old_and_one_is_under_way_at_a_time() {
        let slot = Slot::<u32>::default();
        let never = Duration::from_secs(3_600);
        assert!(slot.get(never).unwrap_err().contains("not answered yet"));
        let (release, held) = std::sync::mpsc::channel::<()>();
        slot.read_blocking(Duration::ZERO, move || {
            let _ = held.recv();
            1
        });
        slot.read_blocking(Duration::ZERO, || panic!("one is under way"));
        release.send(()).unwrap();
        crate::testing::until("it was read", async || slot.get(never) == Ok(1)).await;
        slot.read_blocking(never, || panic!("the last one is recent"));
        let old = slot.get(Duration::ZERO).unwrap_err();
        assert!(old.contains("not answered for 0 s"), "{old}");
    }
}
