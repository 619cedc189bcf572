//! The hive's end of the [guard](crate::guard): starts it, tells it which
//! process groups live, replaces it when it dies, and reaps programs that
//! nobody waits for any more.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt::Write as _,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

use crate::guard::{self, Marks};

/// The least time between two starts of a guard.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Room asked for in the pipe to the guard: some 100,000 lines.
const PIPE_BYTES: usize = 1 << 20;

/// The program that runs [`guard::run`].
#[derive(Clone, Debug)]
pub(crate) struct GuardianProgram {
    /// Its path.
    pub(crate) path: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// Its whole environment. Nothing in it may mark it as a program of the hive.
    pub(crate) env: Vec<(OsString, OsString)>,
}

impl GuardianProgram {
    /// This very program, as `<program> guard <hive_id>`.
    ///
    /// # Errors
    /// The path of this program is not known.
    pub(crate) fn this_program(hive_id: &str) -> io::Result<Self> {
        let path = std::env::current_exe()?;
        Ok(Self {
            // Replaced by a new version meanwhile: the kernel still has the old one.
            path: if path.exists() {
                path
            } else {
                "/proc/self/exe".into()
            },
            args: vec!["guard".into(), hive_id.into()],
            env: Vec::new(),
        })
    }
}

/// Tells the guard which process groups live. Cheap to clone; when the last
/// clone is dropped, the guard ends. Never blocks.
#[derive(Clone)]
pub(crate) struct Guardian(Arc<Handle>);

struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closing = true;
        self.0.wake();
    }
}

/// A program that nobody waits for any more: its group was killed, it is still
/// to be reaped.
pub(crate) struct Orphan {
    /// The leader of the group.
    pub(crate) child: Child,
    /// Becomes readable when it has ended.
    pub(crate) pidfd: Arc<OwnedFd>,
    /// Marks of its environment, by which processes that left its group are found.
    pub(crate) marks: Marks,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    wake: OwnedFd,
}

#[derive(Default)]
struct State {
    live: BTreeSet<i32>,
    /// Absent while there is no guard.
    pipe: Option<OwnedFd>,
    /// The guard does not read: it is to be killed, and only then its pipe closed,
    /// lest it end what lives.
    stuck: bool,
    orphans: Vec<Orphan>,
    closing: bool,
    guard_pid: Option<u32>,
}

impl Guardian {
    /// Starts the guard.
    ///
    /// # Errors
    /// The guard, or the thread that looks after it, cannot be started.
    pub(crate) fn start(program: GuardianProgram) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let handle = Handle(Arc::clone(&shared));
        let guard = Guard::start(&program)?;
        let guard = shared.install(guard);
        let keeper = Keeper {
            shared,
            program,
            not_before: Instant::now() + RETRY_AFTER,
        };
        std::thread::Builder::new()
            .name("deia-guardian".into())
            .spawn(move || keeper.keep(Some(guard)))?;
        Ok(Self(Arc::new(handle)))
    }

    /// This group lives from now on. To be called right after its start.
    pub(crate) fn watch(&self, group: i32) {
        let mut state = self.0.0.lock();
        state.live.insert(group);
        self.0.0.tell(&mut state, '+', group);
    }

    /// This group is ended. To be called before its leader is reaped: until
    /// then its number cannot become somebody else's.
    pub(crate) fn forget(&self, group: i32) {
        self.0.0.forget(group);
    }

    /// Reaps a program when it has ended, and ends what left its group.
    pub(crate) fn adopt(&self, orphan: Orphan) {
        self.0.0.lock().orphans.push(orphan);
        self.0.0.wake();
    }

    /// The process id of the guard; `None` while there is none.
    pub(crate) fn guard_pid(&self) -> Option<u32> {
        self.0.0.lock().guard_pid
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // Fails only when the counter is full: it is awake then.
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
        // Short lines are written whole or not at all.
        match rustix::io::write(pipe, format!("{what}{group}\n").as_bytes()) {
            Ok(_) => {}
            Err(rustix::io::Errno::PIPE) => state.pipe = None,
            Err(_) => {
                state.stuck = true;
                self.wake();
            }
        }
    }

    /// Tells a new guard what lives, and makes it the one that is told from now on.
    fn install(&self, guard: Guard) -> RunningGuard {
        let Guard { child, pidfd, pipe } = guard;
        let known = self.lock().live.clone();
        // Outside of the lock and blocking: there may be many.
        let mut told = write_all(&pipe, &lines('+', &known));
        let mut state = self.lock();
        // What changed meanwhile is little.
        told = told
            .and_then(|()| rustix::io::ioctl_fionbio(&pipe, true))
            .and_then(|()| write_all(&pipe, &lines('-', known.difference(&state.live))))
            .and_then(|()| write_all(&pipe, &lines('+', state.live.difference(&known))));
        state.stuck = told.is_err();
        state.guard_pid = Some(child.id());
        state.pipe = Some(pipe);
        if state.stuck {
            self.wake();
        }
        RunningGuard { child, pidfd }
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

fn write_all(pipe: &OwnedFd, text: &str) -> rustix::io::Result<()> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(pipe, rest))?;
        rest = &rest[written..];
    }
    Ok(())
}

/// A guard that was just started.
struct Guard {
    child: Child,
    pidfd: OwnedFd,
    pipe: OwnedFd,
}

/// A guard whose pipe is in [`State`].
struct RunningGuard {
    child: Child,
    pidfd: OwnedFd,
}

impl Guard {
    fn start(program: &GuardianProgram) -> io::Result<Self> {
        let mut child = Command::new(&program.path)
            .args(&program.args)
            .env_clear()
            .envs(program.env.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            // Ctrl-C in a terminal is not for it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        match (pidfd, child.stdin.take()) {
            (Ok(pidfd), Some(pipe)) => {
                // A smaller pipe will do: it is only asked for.
                let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_BYTES);
                Ok(Self {
                    child,
                    pidfd,
                    pipe: pipe.into(),
                })
            }
            (pidfd, _) => {
                child.kill()?;
                child.wait()?;
                Err(pidfd.err().map_or_else(
                    || io::Error::other("the guard has no standard input"),
                    io::Error::from,
                ))
            }
        }
    }
}

/// The thread that looks after the guard and the orphans.
struct Keeper {
    shared: Arc<Shared>,
    program: GuardianProgram,
    /// No guard is started before: one that dies at once is not started in a loop.
    not_before: Instant,
}

impl Keeper {
    fn keep(mut self, mut guard: Option<RunningGuard>) {
        let mut orphans = Vec::new();
        loop {
            let closing = self.look_around(&mut orphans, guard.as_ref());
            if closing && guard.is_none() && orphans.is_empty() {
                return;
            }
            let retry = (guard.is_none() && !closing)
                .then(|| self.not_before.saturating_duration_since(Instant::now()));
            self.wait(guard.as_ref(), &orphans, retry);
            self.reap(&mut orphans);
            let ended = |guard: &mut RunningGuard| !matches!(guard.child.try_wait(), Ok(None));
            if guard.as_mut().is_some_and(ended) {
                guard = None;
                self.guard_has_ended();
            }
            if guard.is_none() {
                guard = self.start_another();
            }
        }
    }

    /// Takes over what was asked for. Whether the last handle is gone.
    fn look_around(&self, orphans: &mut Vec<Orphan>, guard: Option<&RunningGuard>) -> bool {
        let mut state = self.shared.lock();
        orphans.append(&mut state.orphans);
        if let Some(guard) = guard.filter(|_| state.stuck) {
            // It is ours and not reaped: the id is its own.
            let _ = kill_process(Pid::from_child(&guard.child), Signal::KILL);
        }
        // An orphan may still have escaped processes: the guard stays until it is reaped.
        if state.closing && orphans.is_empty() && !state.stuck {
            state.pipe = None;
        }
        state.closing
    }

    fn wait(&self, guard: Option<&RunningGuard>, orphans: &[Orphan], limit: Option<Duration>) {
        let mut fds = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        fds.extend(guard.map(|guard| PollFd::new(&guard.pidfd, PollFlags::IN)));
        fds.extend(
            orphans
                .iter()
                .map(|orphan| PollFd::from_borrowed_fd(orphan.pidfd.as_fd(), PollFlags::IN)),
        );
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        // Interrupted is as good as ready: everything is looked at anyway.
        let _ = poll(&mut fds, limit.as_ref());
        let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
    }

    fn reap(&self, orphans: &mut Vec<Orphan>) {
        let mut left_behind = Vec::new();
        orphans.retain_mut(|orphan| {
            if !has_ended(&orphan.pidfd) {
                return true;
            }
            let pid = Pid::from_child(&orphan.child).as_raw_nonzero().get();
            self.shared.forget(pid);
            if let Err(error) = orphan.child.wait() {
                tracing::warn!(pid, %error, "a program cannot be reaped");
            }
            left_behind.push(std::mem::take(&mut orphan.marks));
            false
        });
        if left_behind.is_empty() {
            return;
        }
        if let Err(error) = guard::sweep_marked(&left_behind) {
            tracing::warn!(%error, "what left the groups of ended programs cannot be ended");
        }
    }

    fn guard_has_ended(&self) {
        let mut state = self.shared.lock();
        state.pipe = None;
        state.stuck = false;
        state.guard_pid = None;
        if !state.closing {
            tracing::warn!("the guard of this hive's programs has died; starting another");
        }
    }

    /// Another guard, unless all is over or the last start was just now.
    fn start_another(&mut self) -> Option<RunningGuard> {
        let now = Instant::now();
        if self.shared.lock().closing || now < self.not_before {
            return None;
        }
        self.not_before = now + RETRY_AFTER;
        match Guard::start(&self.program) {
            Ok(guard) => Some(self.shared.install(guard)),
            Err(error) => {
                tracing::error!(%error, "no guard: programs would outlive a kill of this server");
                None
            }
        }
    }
}

/// Whether the process behind this pidfd has ended.
fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
pub(crate) mod tests;
