//! The process between the hive and a program, from which the program's descendants cannot
//! escape.
//!
//! A runner starts one program at a time, in a session of its own without a terminal. The runner
//! is the reaper of its descendants: a process whose parent has ended becomes the runner's child,
//! not that of process 1, however it changed its session, group or environment. When the attempt
//! is over, or the hive has ended, the runner ends all of its descendants. It detects that by the
//! socket on its standard input, and outlives signals that are sent to all processes of a
//! service.
//!
//! The code is plain and blocking, in a process with one thread: it never runs in the hive.

mod wire;

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, WaitOptions, kill_process_group, wait, waitpid},
};

pub(crate) use self::wire::{Answer, Holds, Start, receive_answer, send_end, send_start};
use self::wire::{Request, answer, receive};
use crate::{
    host::{Process, descriptors, signals},
    reaper::procs,
};

/// Time that killed processes have before they are looked at again. Fixed: the kernel takes less.
const DYING_WITHIN: Duration = Duration::from_millis(50);

/// Time to end descendants before the rest is reported. Ending takes longer than milliseconds only
/// for a process that the kernel cannot end (that waits for a dead disk, for example). Fixed:
/// longer only while the kernel cannot end a process, which no setting changes.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(10);

/// Time for which ended processes keep their numbers after the hive has ended, because the reaper
/// ends the same groups by number. Fixed: the reaper needs milliseconds.
const LINGER: Duration = Duration::from_secs(1);

/// Flag of glibc and musl that begins a session; the bindings lack it. Fact: spawn.h of
/// glibc and musl.
const POSIX_SPAWN_SETSID: i32 = 0x80;

/// Descriptor on which a program may report its progress. Fact: the contract with
/// programs (docs/BOT-AUTHORS-GUIDE.md).
pub(crate) const PROGRESS_FD: i32 = 3;

/// Runs a runner: obeys the hive's requests on standard input until the input ends. Must be
/// called first in the process, before any thread is started.
///
/// # Errors
/// Signals cannot be held back.
pub fn run() -> io::Result<()> {
    // This fails for the leader of a group; the hive does not make a runner one.
    let _ = rustix::process::setsid();
    let holds = Holds {
        subreaper: nix::sys::prctl::set_child_subreaper(true).is_ok(),
    };
    let stdin = io::stdin();
    let mut runner = Runner {
        socket: stdin.as_fd(),
        ended: hold_signals_back()?,
        leader: None,
    };
    if answer(runner.socket, Answer::Ready(holds)).is_ok() {
        runner.serve();
    }
    runner.hive_is_gone();
    Ok(())
}

/// Blocks the signals that a service manager sends to all processes at once, and the signal for
/// ended children, which is read from the returned descriptor.
fn hold_signals_back() -> io::Result<SignalFd> {
    let ended: SigSet = [Signal::SIGCHLD].into_iter().collect();
    let mut held = signals::for_all_processes();
    held.add(Signal::SIGCHLD);
    held.thread_block()?;
    Ok(SignalFd::with_flags(
        &ended,
        SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
    )?)
}

struct Runner<'a> {
    socket: BorrowedFd<'a>,
    /// Descriptor that is readable when a child has ended.
    ended: SignalFd,
    /// Running program, until it is reaped.
    leader: Option<Pid>,
}

impl Runner<'_> {
    fn serve(&mut self) {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.socket, PollFlags::IN),
                PollFd::from_borrowed_fd(self.ended.as_fd(), PollFlags::IN),
            ];
            // An interruption is as good as readiness: the next check decides.
            let _ = poll(&mut fds, None);
            let [asked, ended] = fds.map(|fd| !fd.revents().is_empty());
            if ended {
                while let Ok(Some(_)) = self.ended.read_signal() {}
                self.reap_orphans();
            }
            if asked && self.obey().is_none() {
                return;
            }
        }
    }

    /// Carries out a request; returns `None` if the hive has ended.
    fn obey(&mut self) -> Option<()> {
        let said = match receive(self.socket)? {
            Request::Start(start, fds) => match spawn(&start, &fds) {
                Ok(pid) => {
                    self.leader = Pid::from_raw(pid);
                    Answer::Started { pid }
                }
                Err(errno) => Answer::NotStarted {
                    errno: errno as i32,
                },
            },
            Request::End => self.end(),
        };
        answer(self.socket, said).ok()
    }

    /// Reaps orphaned processes. The leader stays until the hive no longer needs its number;
    /// processes that end meanwhile wait for that, too.
    fn reap_orphans(&self) {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let leader = self.leader.map(|leader| leader.as_raw_nonzero().get());
        while let Ok(ended) = waitid(Id::All, look) {
            let pid = match ended {
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => pid.as_raw(),
                _ => return,
            };
            if Some(pid) == leader || waitpid(Pid::from_raw(pid), WaitOptions::NOHANG).is_err() {
                return;
            }
        }
    }

    /// Ends the program's group, reaps the program, and ends the rest of its descendants.
    fn end(&mut self) -> Answer {
        let group = self.leader.map(|leader| leader.as_raw_nonzero().get());
        let status = self.leader.take().map_or(0, |leader| {
            let _ = kill_process_group(leader, rustix::process::Signal::KILL);
            let reaped = rustix::io::retry_on_intr(|| waitpid(Some(leader), WaitOptions::empty()));
            reaped
                .ok()
                .flatten()
                .map_or(0, |(_, status)| status.as_raw())
        });
        let (strays, left) = end_descendants(group, END_LIMIT);
        Answer::Ended {
            status,
            strays,
            left,
        }
    }

    /// Ends all processes after the hive has ended. The leader is not reaped before the reaper
    /// has done the same.
    fn hive_is_gone(&mut self) {
        let Some(leader) = self.leader else { return };
        let _ = kill_process_group(leader, rustix::process::Signal::KILL);
        kill_descendants(None, &mut BTreeSet::new());
        crate::reaper::pause(LINGER);
        self.end();
    }
}

/// Starts a program in a session of its own.
fn spawn(start: &Start, fds: &[OwnedFd]) -> Result<i32, Errno> {
    use std::os::fd::AsRawFd as _;
    let [stdout, stderr, progress, stdin @ ..] = fds else {
        return Err(Errno::EBADF);
    };
    let mut files = PosixSpawnFileActions::init()?;
    // Makes sure that no descriptor that is passed on has the number of a standard stream.
    let nothing;
    let stdin = match stdin {
        [stdin, ..] => stdin.as_raw_fd(),
        [] => {
            let opened = std::fs::File::open("/dev/null");
            nothing = opened.map_err(|error| errno_of(&error))?;
            nothing.as_raw_fd()
        }
    };
    files.add_dup2(stdin, 0)?;
    files.add_dup2(stdout.as_raw_fd(), 1)?;
    files.add_dup2(stderr.as_raw_fd(), 2)?;
    files.add_dup2(progress.as_raw_fd(), PROGRESS_FD)?;
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigmask(&SigSet::empty())?;
    // The standard library ignores SIGPIPE, and the process that started deia may ignore any
    // signal: programs do not expect that, and most cannot undo it.
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_flags(
        PosixSpawnFlags::from_bits_retain(POSIX_SPAWN_SETSID)
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    nix::unistd::chdir(start.directory.as_c_str())?;
    // The program inherits the limit: a hook before `exec` would rule out the cheap way to start.
    let limited = start.descriptors.map(descriptors::lower);
    let started = posix_spawn(
        start.file.as_c_str(),
        &files,
        &attributes,
        &start.args,
        &start.environment,
    );
    if let (Some(limited), Ok(pid)) = (limited, started) {
        limited.keep_for(Pid::from_raw(pid.as_raw()));
    }
    // The working directory must not keep a directory from being removed.
    let _ = nix::unistd::chdir("/");
    started.map(nix::unistd::Pid::as_raw)
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Ends and reaps all descendants. Returns how many outside of `group`, which is killed already,
/// had to be ended, and how many remain at the limit.
fn end_descendants(group: Option<i32>, limit: Duration) -> (u32, u32) {
    let deadline = Instant::now() + limit;
    let mut ended = BTreeSet::new();
    let count = |found: usize| u32::try_from(found).unwrap_or(u32::MAX);
    loop {
        match rustix::io::retry_on_intr(|| wait(WaitOptions::NOHANG)) {
            Ok(Some(_)) => {}
            // A reaper without children has no descendants.
            Err(_) => return (count(ended.len()), 0),
            Ok(None) if Instant::now() >= deadline => {
                return (
                    count(ended.len()),
                    count(kill_descendants(group, &mut ended).len()),
                );
            }
            Ok(None) => {
                let dying = kill_descendants(group, &mut ended);
                crate::reaper::wait_for_all(&dying, Instant::now() + DYING_WITHIN);
            }
        }
    }
}

/// Kills all current descendants, and records those outside of `group`.
fn kill_descendants(group: Option<i32>, ended: &mut BTreeSet<(i32, u64)>) -> Vec<OwnedFd> {
    let own = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
    let Ok(processes) = Process::all() else {
        return Vec::new();
    };
    let descendants = procs::descendants(&processes, own);
    let kill = |process: &Process| {
        let dying = procs::end(process)?;
        if Some(process.group) != group {
            ended.insert((process.pid, process.started));
        }
        Some(dying)
    };
    descendants.iter().filter_map(kill).collect()
}
