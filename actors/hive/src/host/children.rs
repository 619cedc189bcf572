//! The children of this process: its own, and those that it inherited.
//!
//! As the first process of a PID namespace (a container without an init) or as a child subreaper,
//! deia becomes the parent of orphaned processes. No other code waits for these, so a thread
//! reaps them when they have ended. Processes started by [`spawn`] are left alone: their exit
//! status belongs to the code that waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    process::{Child, Command, ExitStatus},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{Timespec, poll},
    process::{Pid, WaitId, WaitIdOptions, waitid},
};

use super::{Process, process};

/// Minimum time that a child that was not started by [`spawn`] stays a zombie. A library
/// may start a process by itself and wait for it at once. Fixed: a library that starts a
/// process waits for it at once.
const GRACE: Duration = Duration::from_secs(1);

static OWN: Mutex<Own> = Mutex::new(Own::new());

/// Children that a caller of [`reap`] or [`try_reap`] waits for.
struct Own {
    pids: BTreeSet<i32>,
    /// Starts in progress, by their number: their children have no entry yet.
    starting: BTreeSet<u64>,
    /// Number of the next start.
    next_start: u64,
}

impl Own {
    const fn new() -> Self {
        Self {
            pids: BTreeSet::new(),
            starting: BTreeSet::new(),
            next_start: 0,
        }
    }

    fn lock() -> MutexGuard<'static, Self> {
        OWN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if all starts below this number are over.
    fn has_started(&self, below: u64) -> bool {
        self.starting.first().is_none_or(|first| *first >= below)
    }
}

fn pid_of(child: &Child) -> i32 {
    Pid::from_child(child).as_raw_nonzero().get()
}

/// Starts a process that the caller must wait for with [`reap`] or [`try_reap`].
///
/// # Errors
/// The errors of [`Command::spawn`].
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let mut own = Own::lock();
    let start = own.next_start;
    own.next_start += 1;
    own.starting.insert(start);
    drop(own);
    // This may take long if the program's file system hangs.
    let child = command.spawn();
    let mut own = Own::lock();
    own.starting.remove(&start);
    own.pids.extend(child.as_ref().map(pid_of));
    child
}

/// Waits until the child has ended, and reaps it.
///
/// # Errors
/// The errors of [`Child::wait`].
pub fn reap(child: &mut Child) -> io::Result<ExitStatus> {
    drop(child.stdin.take());
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    // This fails if the child was reaped before; the status is known then.
    let pid = Pid::from_child(child);
    let _ = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), ended));
    let mut own = Own::lock();
    own.pids.remove(&pid_of(child));
    // This does not block: the child has ended.
    child.wait()
}

/// Reaps the child if it has ended.
///
/// # Errors
/// The errors of [`Child::try_wait`].
pub fn try_reap(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let mut own = Own::lock();
    let status = child.try_wait();
    if !matches!(status, Ok(None)) {
        own.pids.remove(&pid_of(child));
    }
    status
}

/// Returns true if orphaned processes become children of this one.
pub fn adopts_orphans() -> bool {
    std::process::id() == 1 || nix::sys::prctl::get_child_subreaper().unwrap_or(false)
}

/// Starts the thread that reaps orphaned processes, unless it runs. Must be called if
/// [`adopts_orphans`].
///
/// # Errors
/// The thread cannot be started.
pub fn reap_orphans() -> io::Result<()> {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if STARTED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let thread = std::thread::Builder::new().name("deia-reaper".into());
    thread.spawn(reap_for_ever).map(drop)
}

fn reap_for_ever() {
    let mut seen = BTreeMap::new();
    let mut seen_at = 0;
    loop {
        // The call returns at once while there is any zombie, also one of our own: the pause
        // below limits the frequency of scans.
        let _ = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let pause = Timespec::try_from(GRACE).unwrap_or_default();
        let _ = poll(&mut [], Some(&pause));
        let zombies = match zombies() {
            Ok(zombies) => zombies,
            Err(error) => {
                tracing::warn!(%error, "children cannot be listed; retrying");
                continue;
            }
        };
        let own = Own::lock();
        // A zombie of the last scan may be one whose start is still in progress.
        if !own.has_started(seen_at) {
            continue;
        }
        seen_at = own.next_start;
        for pid in forgotten(&zombies, &own.pids, &mut seen) {
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            // This fails if the code that started the child has waited for it meanwhile.
            let _ = Pid::from_raw(pid).map(|pid| waitid(WaitId::Pid(pid), ended));
        }
    }
}

/// Chooses the zombies to reap: those that were `seen` before and that no caller waits for. Both
/// are pairs of a process id and its start, which distinguishes processes that had the same id.
/// `seen` is updated for the next scan.
fn forgotten(
    zombies: &[(i32, u64)],
    own: &BTreeSet<i32>,
    seen: &mut BTreeMap<i32, u64>,
) -> Vec<i32> {
    let foreign = || zombies.iter().filter(|(pid, _)| !own.contains(pid));
    let due = foreign().filter(|(pid, start)| seen.get(pid) == Some(start));
    let due: Vec<i32> = due.map(|(pid, _)| *pid).collect();
    *seen = foreign().copied().collect();
    due
}

/// Returns the children of this process that have ended and were not reaped: id, and start
/// in clock ticks since boot.
///
/// # Errors
/// `/proc` cannot be read.
fn zombies() -> io::Result<Vec<(i32, u64)>> {
    let listed = process::children()?;
    let seen = match listed.is_empty() {
        // Kernels may be built without these lists.
        true => {
            let own = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
            let mut all = Process::all()?;
            all.retain(|process| process.parent == own);
            all
        }
        false => listed.iter().flat_map(|pid| Process::read(*pid)).collect(),
    };
    let zombies = seen.iter().filter(|process| process.zombie);
    Ok(zombies
        .map(|process| (process.pid, process.started))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zombies_seen_twice_and_nobodys_are_reaped() {
        let own = [10].into();
        let mut seen = BTreeMap::new();
        for (zombies, expected) in [
            (vec![(10, 1), (11, 2)], vec![]),
            (vec![(10, 1), (11, 2), (12, 3)], vec![11]),
            // The id was reused.
            (vec![(11, 9), (12, 3)], vec![12]),
            (vec![], vec![]),
            // The scans are not consecutive.
            (vec![(11, 9)], vec![]),
        ] {
            assert_eq!(
                forgotten(&zombies, &own, &mut seen),
                expected,
                "{zombies:?}"
            );
        }
    }

    #[test]
    fn own_children_are_registered_until_they_are_reaped() {
        let registered = |child: &Child| Own::lock().pids.contains(&pid_of(child));
        let mut child = spawn(&mut Command::new("true")).unwrap();
        assert!(registered(&child));
        assert!(reap(&mut child).unwrap().success());
        assert!(!registered(&child));
        assert!(reap(&mut child).unwrap().success(), "known from before");

        let mut child = spawn(Command::new("cat").stdin(std::process::Stdio::piped())).unwrap();
        assert_eq!(try_reap(&mut child).unwrap(), None);
        assert!(registered(&child));
        child.kill().unwrap();
        assert!(!reap(&mut child).unwrap().success());
        assert_eq!(
            try_reap(&mut child).unwrap().map(|end| end.success()),
            Some(false)
        );
        assert!(spawn(&mut Command::new("/nonexistent")).is_err());
    }
}
