//! The hive's end of the [runners](crate::runner): starts them, lends them to
//! attempts, and keeps some ready for the next ones.

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

use super::{Guardian, Orphan, own_process};
use crate::{
    guard::{self, Marks},
    host::{children, descriptors},
    runner::{self, Answer, Holds, Start},
};

/// Time that a runner may take for an answer. It needs [`END_LIMIT`](runner::END_LIMIT)
/// at most to end what a program has left; beyond that it is stopped, or hangs.
const ANSWER_WITHIN: Duration = runner::END_LIMIT.saturating_add(Duration::from_secs(5));

/// Interval at which a runner that does not answer is continued.
const CONTINUE_EVERY: Duration = Duration::from_millis(100);

/// Why a runner did not say what came of a start.
enum Unanswered {
    /// It died before it read what to start.
    NotTaken(io::Error),
    /// It died, or hangs, with the program in hand, which may run, and may be the reason.
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

/// A runner that waits for something to do, or does it.
struct Runner {
    socket: OwnedFd,
    child: Child,
    pidfd: OwnedFd,
}

/// The runners that wait.
pub(super) struct Pool {
    program: RunnerProgram,
    idle: Mutex<Vec<Runner>>,
    holds: Holds,
}

/// A runner that is lent to an attempt. Dropping it ends everything that the
/// attempt has started.
pub(crate) struct RunnerLease {
    runner: Option<Runner>,
    guardian: Guardian,
    marks: Marks,
}

/// The end of a program and of all that it started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Processes outside of the program's group that had to be ended.
    pub(crate) strays: u32,
    /// Processes that the kernel cannot end yet.
    pub(crate) left: u32,
}

impl Runner {
    /// Starts one, and waits until it is ready.
    fn start(program: &RunnerProgram) -> io::Result<(Self, Holds)> {
        // It must not be taken for an error of the program that is to run.
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
        // The other end of the socket with it: one that dies is heard of.
        drop(command);
        let mut child = spawned?;
        // Programs get the limit that deia itself was started with.
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
            // The kernel says so when there is something that it never read.
            io::ErrorKind::ConnectionReset => Unanswered::NotTaken(error),
            _ => Unanswered::Taken,
        })
    }

    /// Waits for an answer, or that it is time to give it up. A program may stop its
    /// runner before that has said that the program runs.
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

    /// Has it end what it runs. A program may have stopped its runner.
    fn ask_to_end(&self) -> io::Result<()> {
        let _ = pidfd_send_signal(&self.pidfd, Signal::CONT);
        runner::send_end(&self.socket)
    }

    fn into_orphan(self, marks: Option<Marks>) -> Orphan {
        let _ = pidfd_send_signal(&self.pidfd, Signal::CONT);
        // Dropping the socket here tells the runner to end.
        Orphan {
            overdue_at: Instant::now() + ANSWER_WITHIN,
            child: self.child,
            pidfd: self.pidfd,
            marks,
        }
    }
}

impl Pool {
    /// Starts the first runner, which tells what runners can do here.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(program: RunnerProgram) -> io::Result<Self> {
        let (runner, holds) = Runner::start(&program)?;
        Ok(Self {
            program,
            idle: Mutex::new(vec![runner]),
            holds,
        })
    }

    /// Returns what runners can do on this machine about processes that leave their
    /// group.
    pub(super) fn holds(&self) -> Holds {
        self.holds
    }

    /// Ends those that wait. They are still to be reaped.
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

impl Guardian {
    /// Starts a program with these descriptors: standard output, standard error,
    /// the pipe for progress, and standard input if it has any. Returns its
    /// process id, too. Blocks until the kernel has loaded it.
    ///
    /// # Errors
    /// The program, or a runner for it, cannot be started;
    /// [`io::ErrorKind::ConnectionAborted`] when the runner was lost with the program.
    pub(crate) fn start_program(
        &self,
        start: &Start,
        fds: &[OwnedFd],
        marks: &Marks,
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
                guardian: self.clone(),
                marks: marks.clone(),
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
                // It died while it waited: that is no matter of this program.
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

    /// Ends everything that the attempt has started, and reaps it. Blocks until
    /// the program has ended: call it when it has, or was killed.
    ///
    /// # Errors
    /// The runner was killed, or did not answer in time and is killed; what it ran
    /// is then known only by its marks.
    pub(crate) fn end(self) -> io::Result<Ended> {
        let runner = self.runner.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let asked = runner.ask_to_end();
        let answer = asked.and_then(|()| runner::receive_answer(&runner.socket));
        match answer.inspect_err(|_| guard::end_family(&runner.pidfd, runner.pid()))? {
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

    /// Nothing runs any more.
    fn give_back(mut self) {
        let runner = self.runner.take();
        if let Some(too_many) = runner.and_then(|runner| self.guardian.pool().give_back(runner)) {
            self.guardian.adopt(too_many.into_orphan(None));
        }
    }
}

impl Drop for RunnerLease {
    fn drop(&mut self) {
        if let Some(runner) = self.runner.take() {
            // It is dead already, or ends everything and itself.
            let _ = runner.ask_to_end();
            let marks = std::mem::take(&mut self.marks);
            self.guardian.adopt(runner.into_orphan(Some(marks)));
        }
    }
}
