//! A program and its process group.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{ChildStderr, ChildStdin, ChildStdout},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use crate::{
    bots::reaper_handle::{Ended, ReaperHandle, RunnerLease},
    reaper::EnvTags,
    runner::{PROGRESS_FD, Start},
};

/// The process ids of the running programs of a bot. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pids(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    programs: BTreeMap<u32, (u64, EnvTags)>,
    /// Incarnations up to this number must not start programs any more.
    retired: u64,
}

impl Pids {
    /// Returns the lowest process ids, at most `limit`.
    pub(crate) fn first(&self, limit: usize) -> Vec<u32> {
        self.lock().programs.keys().take(limit).copied().collect()
    }

    /// Returns the number of programs.
    pub(crate) fn len(&self) -> usize {
        self.lock().programs.len()
    }

    /// Forbids incarnations up to this number to start programs, and returns the environment tags of the
    /// programs that they still run. An incarnation whose thread is blocked cannot end its programs
    /// itself.
    pub(crate) fn retire(&self, up_to: u64) -> Vec<EnvTags> {
        let mut running = self.lock();
        running.retired = running.retired.max(up_to);
        let left = running.programs.values();
        let left = left.filter(|(incarnation, _)| *incarnation <= up_to);
        left.map(|(_, env_tags)| env_tags.clone()).collect()
    }

    /// Adds a program. Returns `false` if its incarnation is retired.
    fn add(&self, pid: u32, incarnation: u64, env_tags: &EnvTags) -> bool {
        let mut running = self.lock();
        running
            .programs
            .insert(pid, (incarnation, env_tags.clone()));
        incarnation > running.retired
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Variable with the number of the descriptor to which a program may write its progress.
const PROGRESS_FD_VARIABLE: &str = "DEIA_PROGRESS_FD";

/// Everything needed to start a program.
pub(in crate::bots) struct Launch {
    pub(in crate::bots) file: PathBuf,
    pub(in crate::bots) command: Vec<String>,
    pub(in crate::bots) environment: Vec<(OsString, OsString)>,
    pub(in crate::bots) directory: PathBuf,
    pub(in crate::bots) has_input: bool,
    /// True if the program may report progress on a descriptor of its own.
    pub(in crate::bots) tells_progress: bool,
    pub(in crate::bots) env_tags: EnvTags,
    pub(in crate::bots) reaper: ReaperHandle,
    pub(in crate::bots) pids: Pids,
    /// Incarnation of the bot that starts the program.
    pub(in crate::bots) incarnation: u64,
    /// Limit of the open descriptors of each process; `None` for that of deia.
    pub(in crate::bots) descriptors: Option<u64>,
}

/// Deia's ends of a program's pipes.
pub(in crate::bots) struct Pipes {
    pub(in crate::bots) stdin: Option<ChildStdin>,
    pub(in crate::bots) stdout: ChildStdout,
    pub(in crate::bots) stderr: ChildStderr,
    /// Pipe on which the program reports its progress.
    pub(in crate::bots) progress: OwnedFd,
}

/// A running program that leads its own session and process group. Dropping it kills everything
/// that it has started; the reaper reaps its runner.
pub(in crate::bots) struct Program {
    /// `None` once the program is reaped.
    runner: Option<RunnerLease>,
    group: Pid,
    pidfd: Arc<OwnedFd>,
    env_tags: EnvTags,
    reaper: ReaperHandle,
    pids: Pids,
}

impl Launch {
    /// Starts the program. Blocks until the kernel has loaded it.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(in crate::bots) fn start(mut self) -> io::Result<(Program, Pipes)> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC);
        let ((progress, said), (stdout, out), (stderr, err)) = (pipe()?, pipe()?, pipe()?);
        let mut given = vec![out, err, said];
        let mut stdin = None;
        if self.has_input {
            let (content, input) = pipe()?;
            given.push(content);
            stdin = Some(ChildStdin::from(input));
        }
        if self.tells_progress {
            let number = PROGRESS_FD.to_string();
            self.environment
                .push((PROGRESS_FD_VARIABLE.into(), number.into()));
        }
        let start = Start::new(
            &self.file,
            &self.command,
            &self.environment,
            &self.directory,
        )?;
        let start = start.with_descriptors(self.descriptors);
        let (runner, pid) = self.reaper.start_program(&start, &given, &self.env_tags)?;
        drop(given);
        let group = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
        // The runner reaps the program only when asked, so its id cannot be reused yet.
        let pidfd = Arc::new(pidfd_open(group, PidfdFlags::empty())?);
        self.reaper.watch(pid);
        let is_wanted = self
            .pids
            .add(pid.unsigned_abs(), self.incarnation, &self.env_tags);
        let pipes = Pipes {
            stdin,
            stdout: stdout.into(),
            stderr: stderr.into(),
            progress,
        };
        let program = Program {
            runner: Some(runner),
            group,
            pidfd,
            env_tags: self.env_tags,
            reaper: self.reaper,
            pids: self.pids,
        };
        match is_wanted {
            true => Ok((program, pipes)),
            // Dropping the program ends it.
            false => Err(io::Error::other("the bot was restarted in the meantime")),
        }
    }
}

impl Program {
    /// Returns a descriptor that becomes readable when the program has ended, before it is reaped.
    pub(in crate::bots) fn pidfd(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.pidfd)
    }

    /// Returns the number of the process group, which is not reused before the program is reaped.
    pub(in crate::bots) fn group(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// Sends TERM to the whole group. Stopped processes are continued, so that they receive it.
    pub(in crate::bots) fn ask_to_end(&self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Kills the whole group.
    pub(in crate::bots) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // Until the program is reaped, no other group has its number. An empty group is fine.
        if self.runner.is_some() {
            let _ = kill_process_group(self.group, signal);
        }
    }

    /// Kills the rest of the group, ends every other process that the program has started, and
    /// reaps the program, which has ended.
    ///
    /// # Errors
    /// The exit status is unknown: the program's runner was killed.
    pub(in crate::bots) async fn reap(mut self) -> io::Result<Ended> {
        let runner = self.let_go().ok_or(io::ErrorKind::NotConnected)?;
        let ended = tokio::task::spawn_blocking(move || runner.end()).await;
        let ended = ended.unwrap_or_else(|error| Err(io::Error::other(error)));
        if ended.is_err() || !self.reaper.holds().subreaper {
            self.reaper
                .end_escaped(std::mem::take(&mut self.env_tags))
                .await;
        }
        ended
    }

    /// Kills the group and gives up its number.
    fn let_go(&mut self) -> Option<RunnerLease> {
        self.kill();
        let runner = self.runner.take()?;
        self.reaper.forget(self.group());
        self.pids
            .lock()
            .programs
            .remove(&self.group().unsigned_abs());
        Some(runner)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.let_go();
    }
}
