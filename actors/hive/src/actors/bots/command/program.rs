//! One program, its process group, and the end of both.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use crate::{
    actors::bots::guardian::{Guardian, Orphan},
    guard::Marks,
    host::{children, descriptors},
};

/// The process ids of the programs that a bot runs now. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pids(Arc<Mutex<BTreeSet<u32>>>);

impl Pids {
    /// The lowest of them, at most `limit`.
    pub(crate) fn first(&self, limit: usize) -> Vec<u32> {
        self.lock().iter().take(limit).copied().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells a program the number of the descriptor on which it may say how far it is.
const PROGRESS_FD: &str = "DEIA_PROGRESS_FD";

/// All that is needed to start a program.
pub(super) struct Launch {
    pub(super) file: PathBuf,
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) directory: PathBuf,
    pub(super) has_input: bool,
    pub(super) marks: Marks,
    pub(super) guardian: Guardian,
    pub(super) pids: Pids,
}

/// The ends of a program's standard streams.
pub(super) struct Pipes {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
    /// What it says of how far it is.
    pub(super) progress: OwnedFd,
}

/// A running program that leads a process group of its own. Dropping it kills
/// the whole group at once; the guardian reaps it.
pub(super) struct Program {
    /// Taken when it is reaped.
    child: Option<Child>,
    group: Pid,
    pidfd: Arc<OwnedFd>,
    marks: Marks,
    guardian: Guardian,
    pids: Pids,
}

impl Launch {
    /// Starts the program. Blocks until the kernel has loaded it.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(super) fn start(self) -> io::Result<(Program, Pipes)> {
        let (progress, said) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut command = Command::new(&self.file);
        // With an absolute file, no hook before `exec`, and a group that is asked
        // for here, the standard library uses `posix_spawn`, which is cheap however
        // much memory this process has.
        command
            .args(self.command.iter().skip(1))
            .env_clear()
            .envs(self.environment)
            .env(PROGRESS_FD, said.as_raw_fd().to_string())
            .current_dir(self.directory)
            .process_group(0)
            .stdin(if self.has_input {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(name) = self.command.first() {
            command.arg0(name);
        }
        let mut child = spawn_with(command, said)?;
        let group = Pid::from_child(&child);
        self.guardian.watch(group.as_raw_nonzero().get());
        // Nobody else reaps it, so the id is still its own.
        let pidfd = match pidfd_open(group, PidfdFlags::empty()) {
            Ok(pidfd) => Arc::new(pidfd),
            Err(error) => {
                let _ = kill_process_group(group, Signal::KILL);
                self.guardian.forget(group.as_raw_nonzero().get());
                children::reap(&mut child)?;
                return Err(error.into());
            }
        };
        let pipes = Pipes {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            progress,
        };
        self.pids.lock().insert(child.id());
        let program = Program {
            child: Some(child),
            group,
            pidfd,
            marks: self.marks,
            guardian: self.guardian,
            pids: self.pids,
        };
        Ok((program, pipes))
    }
}

/// Starts a program that inherits `given` under the same number. One at a time,
/// so that no other program inherits it, too; the hook before `exec` that could
/// do this in the child would cost the cheap way to start.
fn spawn_with(mut command: Command, given: OwnedFd) -> io::Result<Child> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    fcntl_setfd(&given, FdFlags::empty())?;
    let started = children::spawn(&mut command);
    drop(given);
    if let Ok(child) = &started {
        descriptors::restore_for(Pid::from_child(child));
    }
    started
}

impl Program {
    /// Becomes readable when the program has ended, before it is reaped.
    pub(super) fn pidfd(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.pidfd)
    }

    /// The number of its group. Its own until it is reaped.
    pub(super) fn group(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// What its processes carry in their environment.
    pub(super) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Asks the whole group to end; stopped processes are continued, to hear it.
    pub(super) fn ask_to_end(&self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Kills the whole group.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // Until it is reaped the number of the group cannot be anybody else's.
        // That all have ended already is fine.
        if self.child.is_some() {
            let _ = kill_process_group(self.group, signal);
        }
    }

    /// Kills what is left of the group and reaps the program, which has ended.
    ///
    /// # Errors
    /// Its exit status is not known.
    pub(super) fn reap(mut self) -> io::Result<ExitStatus> {
        self.kill();
        self.guardian.forget(self.group());
        let mut child = self
            .child
            .take()
            .ok_or_else(|| io::Error::other("reaped already"))?;
        self.pids.lock().remove(&child.id());
        // Does not block: it has ended.
        children::reap(&mut child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if let Some(child) = self.child.take() {
            self.pids.lock().remove(&child.id());
            self.guardian.adopt(Orphan {
                child,
                pidfd: Arc::clone(&self.pidfd),
                marks: std::mem::take(&mut self.marks),
            });
        }
    }
}
