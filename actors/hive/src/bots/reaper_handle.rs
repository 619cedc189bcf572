//! The hive's end of the [reaper](crate::reaper): starts the reaper, reports the living process groups
//! to it, replaces it when it dies, and reaps abandoned programs.

mod monitor;
mod runners;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt::Write as _,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use deia_model::ContainmentMeans;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::{Errno, retry_on_intr},
};
use tokio::sync::oneshot;
use uuid::Uuid;

pub(crate) use self::runners::{Ended, RunnerLease, RunnerProgram};
use self::{
    monitor::{Reaper, ReaperMonitor, RunningReaper},
    runners::Pool,
};
use crate::{host::process, reaper::EnvTags, runner::Holds};

/// Time for which a new reaper may leave its pipe unread. A reaper that stalls longer is killed and
/// replaced. Fixed: the reaper reads within microseconds.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// The program that runs [`reaper::run`](crate::reaper::run).
#[derive(Clone, Debug)]
pub(crate) struct ReaperProgram {
    /// Instance whose programs are watched: see [`reaper::instance_tag`](crate::reaper::instance_tag).
    pub(crate) instance: String,
    /// Run whose programs are watched: see [`reaper::run_tag`](crate::reaper::run_tag).
    pub(crate) run: String,
    /// Path of the reaper program.
    pub(crate) path: PathBuf,
    /// Arguments of the reaper program.
    pub(crate) args: Vec<OsString>,
    /// Complete environment of the reaper program. Nothing in it may mark it as a program of the
    /// hive.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// The program that runs programs.
    pub(crate) runner: RunnerProgram,
}

impl ReaperProgram {
    /// Returns this very program, as `<program> reaper <instance> <run>`.
    ///
    /// # Errors
    /// The path of this program is unknown.
    #[cfg_attr(test, expect(dead_code, reason = "a test binary is no deia"))]
    pub(crate) fn this_program(instance: &str) -> io::Result<Self> {
        // The file may be replaced by a new version, or removed, while deia runs: the
        // kernel still has the one that runs.
        let path = PathBuf::from(process::OWN_PROGRAM);
        path.try_exists()?;
        let run = new_run();
        Ok(Self {
            runner: RunnerProgram {
                path: path.clone(),
                args: vec!["runner".into()],
                env: Vec::new(),
                max_idle: 0,
            },
            args: vec!["reaper".into(), instance.into(), run.clone().into()],
            instance: instance.to_owned(),
            run,
            path,
            env: Vec::new(),
        })
    }
}

/// A handle that reports living process groups to the reaper. Cheap to clone; dropping the last
/// clone ends the reaper. Never blocks.
#[derive(Clone)]
pub(crate) struct ReaperHandle(Arc<Handle>);

struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closing = true;
        state.orphans.extend(self.0.pool.close());
        drop(state);
        self.0.wake();
    }
}

/// Returns the command that starts a process of deia itself, without the environment, directory and
/// streams of this process.
fn own_process(path: &Path, args: &[OsString], env: &[(OsString, OsString)]) -> Command {
    let mut command = Command::new(path);
    command
        .arg0("deia")
        .args(args)
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// An abandoned runner: it ends by itself and must still be reaped.
struct Orphan {
    child: Child,
    /// Becomes readable when the runner has ended.
    pidfd: OwnedFd,
    /// Environment tags of the runner's processes, to find them if the runner is killed.
    env_tags: Option<EnvTags>,
    /// Time at which the runner is killed if it has not ended by itself.
    overdue_at: Instant,
}

/// Processes that may have left their group, and the caller that waits for their end.
struct Escaped {
    env_tags: EnvTags,
    ended: oneshot::Sender<()>,
}

/// Returns a name unique to this run.
fn new_run() -> String {
    format!("run-{}", Uuid::now_v7().simple())
}

struct Shared {
    instance: String,
    run: String,
    pool: Pool,
    state: Mutex<State>,
    /// Wakes the monitor thread.
    wake: OwnedFd,
}

#[derive(Default)]
struct State {
    live: BTreeSet<i32>,
    /// `None` while there is no reaper.
    pipe: Option<OwnedFd>,
    /// True if the reaper does not read its pipe. It must be killed before the pipe is closed, or it
    /// would end living programs.
    stuck: bool,
    orphans: Vec<Orphan>,
    escaped: Vec<Escaped>,
    closing: bool,
    reaper_pid: Option<u32>,
}

impl ReaperHandle {
    /// Starts the reaper.
    ///
    /// # Errors
    /// The reaper or its monitor thread cannot be started.
    pub(crate) fn start(program: ReaperProgram) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            instance: program.instance.clone(),
            run: program.run.clone(),
            pool: Pool::start(program.runner.clone())?,
            state: Mutex::default(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let handle = Handle(Arc::clone(&shared));
        let reaper = Reaper::start(&program)?;
        let reaper = shared.install(reaper);
        let monitor = ReaperMonitor::new(shared, program);
        std::thread::Builder::new()
            .name("deia-reaper".into())
            .spawn(move || monitor.keep(reaper))?;
        Ok(Self(Arc::new(handle)))
    }

    /// Returns the instance whose programs are watched.
    pub(crate) fn instance(&self) -> &str {
        &self.0.0.instance
    }

    /// Returns the run whose programs are watched.
    pub(crate) fn run(&self) -> &str {
        &self.0.0.run
    }

    /// Reports a new living group. Must be called right after the start of the group.
    pub(crate) fn watch(&self, group: i32) {
        let mut state = self.0.0.lock();
        state.live.insert(group);
        self.0.0.tell(&mut state, '+', group);
    }

    /// Reports that a group has ended. Must be called before its leader is reaped: until then no
    /// other group gets its number.
    pub(crate) fn forget(&self, group: i32) {
        self.0.0.forget(group);
    }

    /// Reaps a runner once it has ended.
    fn adopt(&self, orphan: Orphan) {
        self.0.0.lock().orphans.push(orphan);
        self.0.0.wake();
    }

    /// Ends the processes with these environment tags, which left their group. Concurrent calls share one scan
    /// of all processes, which takes about 30 ms.
    pub(crate) async fn end_escaped(&self, env_tags: EnvTags) {
        let (ended, wait) = oneshot::channel();
        self.0.0.lock().escaped.push(Escaped { env_tags, ended });
        self.0.0.wake();
        // The monitor lives as long as this handle, and answers.
        let _ = wait.await;
    }

    /// Returns the means by which descendants of a program are held on this machine.
    pub(crate) fn holds(&self) -> Holds {
        self.pool().holds()
    }

    /// Returns the means of [`Self::holds`] as users see it.
    pub(crate) fn means(&self) -> ContainmentMeans {
        match self.holds().subreaper {
            true => ContainmentMeans::Subreaper,
            false => ContainmentMeans::EnvironmentMarks,
        }
    }

    fn pool(&self) -> &Pool {
        &self.0.0.pool
    }

    #[cfg(test)]
    /// Returns the process id of the reaper; `None` while there is none.
    pub(crate) fn reaper_pid(&self) -> Option<u32> {
        self.0.0.lock().reaper_pid
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // Fails only if the counter is full, and then the monitor is awake.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn forget(&self, group: i32) {
        let mut state = self.lock();
        if state.live.remove(&group) {
            self.tell(&mut state, '-', group);
        }
    }

    fn tell(&self, state: &mut State, what: char, group: i32) {
        let Some(pipe) = &state.pipe else { return };
        // Short lines are written completely or not at all.
        match rustix::io::write(pipe, format!("{what}{group}\n").as_bytes()) {
            Ok(_) => {}
            Err(rustix::io::Errno::PIPE) => state.pipe = None,
            Err(_) => {
                state.stuck = true;
                self.wake();
            }
        }
    }

    /// Reports the living groups to a new reaper and makes it the current one.
    fn install(&self, reaper: Reaper) -> RunningReaper {
        let Reaper { child, pidfd, pipe } = reaper;
        let known = self.lock().live.clone();
        // Outside of the lock: there may be many groups, and the reaper may be slow.
        let mut told = rustix::io::ioctl_fionbio(&pipe, true)
            .and_then(|()| write_all(&pipe, &lines('+', &known), READ_WITHIN));
        let mut state = self.lock();
        // Few groups have changed meanwhile.
        let tell = |what, groups: Vec<&i32>| write_all(&pipe, &lines(what, groups), Duration::ZERO);
        told = told
            .and_then(|()| tell('-', known.difference(&state.live).collect()))
            .and_then(|()| tell('+', state.live.difference(&known).collect()));
        state.stuck = told.is_err();
        state.reaper_pid = Some(child.id());
        state.pipe = Some(pipe);
        if state.stuck {
            self.wake();
        }
        RunningReaper { child, pidfd }
    }
}

fn lines<'a>(what: char, groups: impl IntoIterator<Item = &'a i32>) -> String {
    let mut text = String::new();
    for group in groups {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{what}{group}");
    }
    text
}

/// Writes to a non-blocking pipe. Fails if the pipe takes nothing for `pause`.
fn write_all(pipe: &OwnedFd, text: &str, pause: Duration) -> rustix::io::Result<()> {
    let mut rest = text.as_bytes();
    let pause = Timespec::try_from(pause).unwrap_or_default();
    while !rest.is_empty() {
        match rustix::io::write(pipe, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(pipe, PollFlags::OUT)];
                if retry_on_intr(|| poll(&mut fds, Some(&pause)))? == 0 {
                    return Err(Errno::TIMEDOUT);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
