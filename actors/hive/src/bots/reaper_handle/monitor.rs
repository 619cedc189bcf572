//! The thread behind a [`ReaperHandle`](super::ReaperHandle).

use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

use super::{Escaped, Orphan, ReaperProgram, Shared, own_process};
use crate::{
    host::children,
    reaper::{self, EnvTags, Swept},
};

/// Minimum time between two starts of a reaper. Fixed: a fault is not tried in a loop,
/// and its end is noticed soon.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Time that a killed runner may take to end before it is killed again. Fixed: longer
/// only while the kernel cannot end a process, which no setting changes.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// Size requested for the pipe to the reaper: about 100,000 lines. Fixed: a buffer, whose
/// size changes nothing that can be seen.
const PIPE_BYTES: usize = 1 << 20;

/// A reaper that was just started.
pub(super) struct Reaper {
    pub(super) child: Child,
    pub(super) pidfd: OwnedFd,
    pub(super) pipe: OwnedFd,
}

/// A reaper whose pipe is in [`State`](super::State).
pub(super) struct RunningReaper {
    pub(super) child: Child,
    pub(super) pidfd: OwnedFd,
}

impl Reaper {
    pub(super) fn start(program: &ReaperProgram) -> io::Result<Self> {
        let mut command = own_process(&program.path, &program.args, &program.env);
        // Ctrl-C in a terminal must not reach the reaper.
        command.process_group(0).stdin(Stdio::piped());
        let mut child = children::spawn(&mut command)?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        match (pidfd, child.stdin.take()) {
            (Ok(pidfd), Some(pipe)) => {
                // The size is a request; a smaller pipe is enough.
                let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_BYTES);
                Ok(Self {
                    child,
                    pidfd,
                    pipe: pipe.into(),
                })
            }
            (pidfd, _) => {
                child.kill()?;
                children::reap(&mut child)?;
                Err(pidfd.err().map_or_else(
                    || io::Error::other("the reaper has no standard input"),
                    io::Error::from,
                ))
            }
        }
    }
}

/// The thread that tends the reaper, the orphans and the escaped processes.
pub(super) struct ReaperMonitor {
    shared: Arc<Shared>,
    program: ReaperProgram,
    orphans: Vec<Orphan>,
    escaped: Vec<Escaped>,
    /// Earliest time of the next start: a reaper that dies at once must not be started in a loop.
    not_before: Instant,
}

impl ReaperMonitor {
    pub(super) fn new(shared: Arc<Shared>, program: ReaperProgram) -> Self {
        Self {
            shared,
            program,
            orphans: Vec::new(),
            escaped: Vec::new(),
            not_before: Instant::now() + RETRY_AFTER,
        }
    }

    /// Runs until the last handle is dropped, and then finishes the remaining work.
    pub(super) fn keep(mut self, reaper: RunningReaper) {
        let mut reaper = Some(reaper);
        loop {
            let closing = self.look_around(reaper.as_ref());
            self.end_what_is_left();
            self.let_the_reaper_go();
            let ended = |reaper: &mut RunningReaper| {
                !matches!(children::try_reap(&mut reaper.child), Ok(None))
            };
            if reaper.as_mut().is_some_and(ended) {
                reaper = None;
                self.reaper_has_ended();
            }
            if reaper.is_none() {
                reaper = self.start_another();
            }
            if closing && reaper.is_none() && self.orphans.is_empty() {
                return;
            }
            self.wait(reaper.as_ref(), closing);
        }
    }

    /// Takes over pending requests. Returns `true` if the last handle is gone.
    fn look_around(&mut self, reaper: Option<&RunningReaper>) -> bool {
        let mut state = self.shared.lock();
        self.orphans.append(&mut state.orphans);
        self.escaped.append(&mut state.escaped);
        if let Some(reaper) = reaper.filter(|_| state.stuck) {
            // The reaper is our child and not reaped: no other process has its id.
            let _ = kill_process(Pid::from_child(&reaper.child), Signal::KILL);
        }
        state.closing
    }

    /// Ends the reaper once no handle and no orphan is left. An orphaned runner may still have
    /// processes to end, so the reaper stays until the runner is reaped.
    fn let_the_reaper_go(&self) {
        let mut state = self.shared.lock();
        let has_orphans = !(self.orphans.is_empty() && state.orphans.is_empty());
        if state.closing && !has_orphans && !state.stuck {
            state.pipe = None;
        }
    }

    /// Waits until there is work.
    fn wait(&self, reaper: Option<&RunningReaper>, closing: bool) {
        let mut fds = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        fds.extend(reaper.map(|reaper| PollFd::new(&reaper.pidfd, PollFlags::IN)));
        fds.extend(
            self.orphans
                .iter()
                .map(|orphan| PollFd::from_borrowed_fd(orphan.pidfd.as_fd(), PollFlags::IN)),
        );
        let retry_at = (reaper.is_none() && !closing).then_some(self.not_before);
        let overdue_at = self.orphans.iter().map(|orphan| orphan.overdue_at).min();
        let retry = retry_at
            .into_iter()
            .chain(overdue_at)
            .min()
            .map(|at| at.saturating_duration_since(Instant::now()))
            .and_then(|limit| Timespec::try_from(limit).ok());
        // An interrupted poll is harmless: everything is checked anyway.
        let _ = poll(&mut fds, retry.as_ref());
        let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
    }

    /// Reaps the orphans that have ended; ends escaped processes in one scan.
    fn end_what_is_left(&mut self) {
        let now = Instant::now();
        for orphan in self.orphans.iter_mut().filter(|it| it.overdue_at <= now) {
            tracing::warn!(pid = orphan.child.id(), "a runner does not end; killing it");
            let pid = i32::try_from(orphan.child.id()).unwrap_or(i32::MAX);
            reaper::end_family(&orphan.pidfd, pid);
            orphan.overdue_at = now + KILLED_WITHIN;
        }
        let reaped = self
            .orphans
            .extract_if(.., |orphan| reaper::has_ended(&orphan.pidfd))
            .filter_map(reap);
        let mut env_tags: Vec<EnvTags> = reaped.collect();
        let escaped = std::mem::take(&mut self.escaped);
        let (of_escaped, waiting): (Vec<_>, Vec<_>) =
            escaped.into_iter().map(|e| (e.env_tags, e.ended)).unzip();
        env_tags.extend(of_escaped);
        if env_tags.is_empty() {
            return;
        }
        match reaper::sweep_tagged(&env_tags) {
            Ok(Swept { ended: 0, left: 0 }) => {}
            Ok(Swept { ended, left }) => {
                tracing::info!(ended, left, "ended processes that had left their group");
            }
            Err(error) => {
                tracing::warn!(%error, "processes that left their group cannot be ended");
            }
        }
        for waiting in waiting {
            // The caller may have been dropped.
            let _ = waiting.send(());
        }
    }

    fn reaper_has_ended(&self) {
        let mut state = self.shared.lock();
        state.pipe = None;
        state.stuck = false;
        let pid = state.reaper_pid.take();
        if !state.closing {
            tracing::warn!(
                pid,
                "the reaper of this hive's programs died; starting another"
            );
        }
    }

    /// Starts another reaper, unless the hive has ended or the last start was too recent.
    fn start_another(&mut self) -> Option<RunningReaper> {
        let now = Instant::now();
        if self.shared.lock().closing || now < self.not_before {
            return None;
        }
        self.not_before = now + RETRY_AFTER;
        match Reaper::start(&self.program) {
            Ok(reaper) => Some(self.shared.install(reaper)),
            Err(error) => {
                tracing::error!(%error, "the reaper cannot be started; programs would outlive a kill of this server");
                None
            }
        }
    }
}

/// Reaps a runner that has ended. Returns the environment tags of its processes if the runner was killed and
/// could not end them.
fn reap(mut orphan: Orphan) -> Option<EnvTags> {
    match children::reap(&mut orphan.child) {
        Ok(status) if status.success() => None,
        Ok(status) => {
            tracing::warn!(pid = orphan.child.id(), %status, "a runner was killed");
            orphan.env_tags
        }
        Err(error) => {
            tracing::warn!(pid = orphan.child.id(), %error, "a runner cannot be reaped");
            orphan.env_tags
        }
    }
}
