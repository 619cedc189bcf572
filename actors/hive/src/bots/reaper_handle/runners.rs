//! The hive's end of the [runners](crate::runner): starts runners, lends them to attempts, and
//! keeps some ready for the next ones.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    path::PathBuf,
    process::{Child, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        AddressFamily, SocketFlags, SocketType, socketpair,
        sockopt::{Timeout, set_socket_timeout},
    },
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{Orphan, ReaperHandle, own_process};
use crate::{
    host::{children, descriptors},
    reaper::{self, EnvTags},
    runner::{self, Answer, Holds, Start},
};

/// Time within which a runner must answer. It needs at most [`END_LIMIT`](runner::END_LIMIT) to end
/// the processes of a program; beyond that it is stopped or hangs. Fixed: longer only while the
/// kernel cannot end a process, which no setting changes.
const ANSWER_WITHIN: Duration = runner::END_LIMIT.saturating_add(Duration::from_secs(5));

/// Interval at which a runner that does not answer is continued. Fixed: short enough that
/// nobody waits for it, and each look costs little.
const CONTINUE_EVERY: Duration = Duration::from_millis(100);

/// Reason why a runner did not report the outcome of a start.
enum Unanswered {
    /// The runner died before it read the request.
    NotTaken(io::Error),
    /// The runner died or hangs after it read the request. The program may run, and may be the
    /// cause.
    Taken,
}

/// The program that runs [`runner::run`].
#[derive(Clone, Debug)]
pub(crate) struct RunnerProgram {
    /// Path of the program.
    pub(crate) path: PathBuf,
    /// Arguments of the program.
    pub(crate) args: Vec<OsString>,
    /// Complete environment of the program. Nothing in it may mark it as a program of
    /// the hive.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Number of runners kept ready when no attempt needs them.
    pub(crate) max_idle: usize,
}

/// A runner, idle or busy.
struct Runner {
    socket: OwnedFd,
    child: Child,
    pidfd: OwnedFd,
}

/// The idle runners.
pub(super) struct Pool {
    program: RunnerProgram,
    idle: Mutex<Vec<Runner>>,
    holds: Holds,
}

/// A runner lent to an attempt. Dropping it ends everything that the attempt has started.
pub(crate) struct RunnerLease {
    runner: Option<Runner>,
    reaper: ReaperHandle,
    env_tags: EnvTags,
}

/// The end of a program and of everything that it started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Processes outside of the program's group that had to be ended.
    pub(crate) strays: u32,
    /// Processes that the kernel cannot end yet.
    pub(crate) left: u32,
}

impl Runner {
    /// Starts a runner and waits until it is ready.
    fn start(program: &RunnerProgram) -> io::Result<(Self, Holds)> {
        // The error must not be taken for one of the program to be run.
        Self::try_start(program)
            .map_err(|error| io::Error::other(format!("its runner cannot be started: {error}")))
    }

    fn try_start(program: &RunnerProgram) -> io::Result<(Self, Holds)> {
        let flags = SocketFlags::CLOEXEC;
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        for direction in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&socket, direction, Some(ANSWER_WITHIN))?;
        }
        let mut command = own_process(&program.path, &program.args, &program.env);
        command.stdin(Stdio::from(theirs));
        let spawned = children::spawn(&mut command);
        // Closes the other end of the socket, so that the death of the runner is noticed.
        drop(command);
        let mut child = spawned?;
        // Programs get the descriptor limit that deia itself was started with.
        descriptors::restore_for(Pid::from_child(&child));
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        match (pidfd, runner::receive_answer(&socket)) {
            (Ok(pidfd), Ok(Answer::Ready(holds))) => {
                let runner = Self {
                    socket,
                    child,
                    pidfd,
                };
                Ok((runner, holds))
            }
            (pidfd, _) => {
                child.kill()?;
                children::reap(&mut child)?;
                Err(pidfd.err().map_or_else(
                    || io::Error::other("it does not say that it is ready"),
                    io::Error::from,
                ))
            }
        }
    }

    fn ask(&self, start: &Start, fds: &[BorrowedFd<'_>]) -> Result<Answer, Unanswered> {
        runner::send_start(&self.socket, start, fds).map_err(Unanswered::NotTaken)?;
        self.await_answer();
        runner::receive_answer(&self.socket).map_err(|error| match error.kind() {
            // The kernel returns this if the runner left data unread.
            io::ErrorKind::ConnectionReset => Unanswered::NotTaken(error),
            _ => Unanswered::Taken,
        })
    }

    /// Waits until an answer is readable or the time is up. A program may stop its runner before
    /// the runner has reported the start.
    fn await_answer(&self) {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let look_every = Timespec::try_from(CONTINUE_EVERY).unwrap_or_default();
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        while Instant::now() < deadline && poll(&mut fds, Some(&look_every)) == Ok(0) {
            let _ = pidfd_send_signal(&self.pidfd, Signal::CONT);
        }
    }

    fn pid(&self) -> i32 {
        Pid::from_child(&self.child).as_raw_nonzero().get()
    }

    /// Asks the runner to end its program. Continues the runner first, as the program may have
    /// stopped it.
    fn ask_to_end(&self) -> io::Result<()> {
        let _ = pidfd_send_signal(&self.pidfd, Signal::CONT);
        runner::send_end(&self.socket)
    }

    fn into_orphan(self, env_tags: Option<EnvTags>) -> Orphan {
        let _ = pidfd_send_signal(&self.pidfd, Signal::CONT);
        // Dropping the socket here tells the runner to end.
        Orphan {
            overdue_at: Instant::now() + ANSWER_WITHIN,
            child: self.child,
            pidfd: self.pidfd,
            env_tags,
        }
    }
}

impl Pool {
    /// Starts the first runner, which reports the means of containment of this machine.
    ///
    /// # Errors
    /// The runner cannot be started.
    pub(super) fn start(program: RunnerProgram) -> io::Result<Self> {
        let (runner, holds) = Runner::start(&program)?;
        Ok(Self {
            program,
            idle: Mutex::new(vec![runner]),
            holds,
        })
    }

    /// Returns the means by which runners hold processes that leave their group on this machine.
    pub(super) fn holds(&self) -> Holds {
        self.holds
    }

    /// Ends the idle runners and returns them to be reaped.
    pub(super) fn close(&self) -> Vec<Orphan> {
        let idle = std::mem::take(&mut *self.lock());
        idle.into_iter()
            .map(|runner| runner.into_orphan(None))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Runner>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, runner: Runner) -> Option<Runner> {
        let mut idle = self.lock();
        if idle.len() < self.program.max_idle {
            idle.push(runner);
            return None;
        }
        Some(runner)
    }
}

impl ReaperHandle {
    /// Starts a program with these descriptors: standard output, standard error, the progress pipe,
    /// and standard input if any. Also returns its process id. Blocks until the kernel has loaded
    /// the program.
    ///
    /// # Errors
    /// The program, or a runner for it, cannot be started;
    /// [`io::ErrorKind::ConnectionAborted`] when the runner was lost with the program.
    pub(crate) fn start_program(
        &self,
        start: &Start,
        fds: &[OwnedFd],
        env_tags: &EnvTags,
    ) -> io::Result<(RunnerLease, i32)> {
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        let pool = self.pool();
        loop {
            let waiting = pool.lock().pop();
            let is_new = waiting.is_none();
            let runner = match waiting {
                Some(runner) => runner,
                None => Runner::start(&pool.program)?.0,
            };
            let lease = RunnerLease {
                runner: Some(runner),
                reaper: self.clone(),
                env_tags: env_tags.clone(),
            };
            match lease.ask(start, &fds) {
                Ok(Answer::Started { pid }) => return Ok((lease, pid)),
                Ok(Answer::NotStarted { errno }) => {
                    lease.give_back();
                    return Err(io::Error::from_raw_os_error(errno));
                }
                Ok(_) => return Err(io::Error::other("a runner is not understood")),
                Err(Unanswered::Taken) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Err(Unanswered::NotTaken(error)) if is_new => return Err(error),
                // The runner died while it was idle: the program is not at fault.
                Err(Unanswered::NotTaken(_)) => {}
            }
        }
    }
}

impl RunnerLease {
    fn ask(&self, start: &Start, fds: &[BorrowedFd<'_>]) -> Result<Answer, Unanswered> {
        let gone = || Unanswered::NotTaken(io::ErrorKind::NotConnected.into());
        self.runner.as_ref().ok_or_else(gone)?.ask(start, fds)
    }

    /// Ends and reaps everything that the attempt has started. Blocks until the program has ended,
    /// so call it after the program has ended or was killed.
    ///
    /// # Errors
    /// The runner was killed, or did not answer in time and is killed; its processes are then known
    /// by their environment tags only.
    pub(crate) fn end(self) -> io::Result<Ended> {
        let runner = self.runner.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let asked = runner.ask_to_end();
        let answer = asked.and_then(|()| runner::receive_answer(&runner.socket));
        match answer.inspect_err(|_| reaper::end_family(&runner.pidfd, runner.pid()))? {
            Answer::Ended {
                status,
                strays,
                left,
            } => {
                if left == 0 {
                    self.give_back();
                }
                Ok(Ended {
                    status: ExitStatus::from_raw(status),
                    strays,
                    left,
                })
            }
            _ => Err(io::Error::other("a runner is not understood")),
        }
    }

    /// Returns the runner to the pool. Nothing of the attempt runs any more.
    fn give_back(mut self) {
        let runner = self.runner.take();
        if let Some(too_many) = runner.and_then(|runner| self.reaper.pool().give_back(runner)) {
            self.reaper.adopt(too_many.into_orphan(None));
        }
    }
}

impl Drop for RunnerLease {
    fn drop(&mut self) {
        if let Some(runner) = self.runner.take() {
            // The runner is dead already, or ends everything and itself.
            let _ = runner.ask_to_end();
            let env_tags = std::mem::take(&mut self.env_tags);
            self.reaper.adopt(runner.into_orphan(Some(env_tags)));
        }
    }
}
