//! A restart in place: the process continues as a new start of the binary, with its id
//! and its listening socket, so that no connection is refused.
//!
//! The new binary is first asked whether it would start with the current settings. If
//! it still fails to start, it becomes the old image again ([`super::handover`]).

use std::{
    io::{self, Read},
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::{fs::MetadataExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use anyhow::Context;
use deia_hive::host::children;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use super::{
    args::SettingsArgs,
    handover::{HANDED_OVER, Handover, Image},
};

/// The line by which a check reports that a restart would succeed, and that it
/// understands the handover of this version.
pub(super) const MARKER: &str = "deia-restart-check 1 ok";
/// Maximum number of bytes that are read of a check's answer. Fixed: far above any real
/// answer of a check.
const MAX_ANSWER: u64 = 64 << 10;
/// Maximum time for the rest of the answer after the check has ended. Fixed: the check
/// has ended, so that its pipe is about to close.
const REST_WITHIN: Duration = Duration::from_secs(1);

/// The program that a restart runs: the binary at the path where it was started from,
/// which may be another one by then.
pub(super) struct Restart {
    image: Image,
    settings: SettingsArgs,
    /// The binary that passed the last check.
    checked: Mutex<Option<Stamp>>,
}

/// Identity of a file, by which a change since an earlier look is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let file = path.metadata()?;
        Ok(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// State of the running hive that a check needs.
pub(super) struct Running<'a> {
    pub(super) data_dir: &'a Path,
    pub(super) socket: &'a TcpListener,
    /// Maximum duration of the check.
    pub(super) limit: Duration,
}

impl Restart {
    /// Must be called before the binary can have been replaced. `file` is the text of
    /// the settings file as it was read.
    pub(super) fn prepare(
        settings: SettingsArgs,
        handover: &Handover,
        file: &str,
    ) -> anyhow::Result<Self> {
        let binary = match &handover.binary {
            Some(binary) => binary.clone(),
            None => std::env::current_exe().context("the path of this program is not known")?,
        };
        let image = Image::own(binary, file).context("this binary cannot be kept for a restart")?;
        Ok(Self {
            image,
            settings,
            checked: Mutex::default(),
        })
    }

    /// Returns the reason why a new start would fail, if there is one. Blocks until the
    /// new binary has answered.
    pub(super) fn check(&self, running: &Running<'_>) -> Result<(), String> {
        let binary = self.image.binary().display();
        let failed = |error: io::Error| format!("{binary} cannot be run: {error}");
        // Taken before: a file that is written while the check runs was not checked.
        let stamp = Stamp::of(self.image.binary()).map_err(failed)?;
        let socket: OwnedFd = running.socket.try_clone().map_err(failed)?.into();
        let mut check = Command::new(self.image.binary());
        check
            .arg("check")
            .arg("--for-restart")
            .arg(running.data_dir)
            .args(self.settings.to_args())
            .env_remove(HANDED_OVER)
            .stdin(socket)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = children::spawn(&mut check).map_err(failed)?;
        let answer = Answer::of(child, running.limit).map_err(failed)?;
        answer.judge(self.image.binary())?;
        *self.checked() = Some(stamp);
        Ok(())
    }

    fn checked(&self) -> MutexGuard<'_, Option<Stamp>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks again if the binary differs from the one that was checked: tasks may have
    /// taken long to end, and an update may be in progress.
    fn check_if_changed(&self, running: &Running<'_>) -> Result<(), String> {
        let now = Stamp::of(self.image.binary()).ok();
        match now.is_some() && *self.checked() == now {
            true => Ok(()),
            false => self.check(running),
        }
    }

    /// Becomes the new start, or, if that fails, this image again. Returns only if both
    /// fail.
    pub(super) fn carry_out(&self, running: &Running<'_>) -> anyhow::Error {
        let socket = running.socket;
        let reason = match self.check_if_changed(running) {
            Err(reason) => reason,
            Ok(()) => {
                let error = self.image.make_way(socket);
                format!("{} cannot be run: {error}", self.image.binary().display())
            }
        };
        tracing::error!(reason, "going back to the previous binary");
        let again = self.image.run_again(&reason, Some(socket));
        anyhow::Error::new(again).context(reason)
    }
}

/// The answer of a check.
struct Answer {
    /// `None` if the check took too long.
    status: Option<ExitStatus>,
    limit: Duration,
    out: String,
    err: String,
}

impl Answer {
    fn of(mut child: Child, limit: Duration) -> io::Result<Self> {
        let out = read(child.stdout.take());
        let err = read(child.stderr.take());
        let ended = wait(&child, limit)?;
        // Includes everything that the check has started and left. The check is not
        // reaped yet, so the number of its group belongs to nobody else.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        let status = children::reap(&mut child)?;
        let text = |from: mpsc::Receiver<String>| from.recv_timeout(REST_WITHIN);
        Ok(Self {
            status: ended.then_some(status),
            limit,
            out: text(out).unwrap_or_default(),
            err: text(err).unwrap_or_default(),
        })
    }

    fn judge(&self, binary: &Path) -> Result<(), String> {
        let binary = binary.display();
        let Some(status) = self.status else {
            return Err(format!(
                "{binary} check took longer than {} s (server.restart_check_timeout)",
                self.limit.as_secs_f64()
            ));
        };
        if status.success() {
            return match self.out.lines().any(|line| line == MARKER) {
                true => Ok(()),
                false => Err(format!(
                    "{binary} is not a deia that can take over: it did not answer `check --for-restart` with \"{MARKER}\""
                )),
            };
        }
        let errors = errors(&self.out);
        if !errors.is_empty() {
            return Err(errors);
        }
        let last = self.err.lines().rev().find(|line| !line.trim().is_empty());
        Err(format!(
            "{binary} check failed ({status}): {}",
            last.unwrap_or("it did not say why")
        ))
    }
}

/// Waits until a child has ended, without reaping it; `false` if that takes too long.
fn wait(child: &Child, limit: Duration) -> io::Result<bool> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let deadline = Instant::now() + limit;
    let ready = rustix::io::retry_on_intr(|| {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or_default();
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left))
    })?;
    Ok(ready > 0)
}

/// Returns the findings of a check that would stop a start; each may have several
/// lines.
fn errors(out: &str) -> String {
    let mut errors = Vec::new();
    let mut in_error = false;
    for line in out.lines() {
        let error = line.strip_prefix("error ");
        in_error = error.is_some() || (in_error && !line.starts_with("ok "));
        if in_error {
            let words: Vec<&str> = error.unwrap_or(line).split_whitespace().collect();
            errors.push(words.join(" "));
        }
    }
    errors.join("; ")
}

/// Reads the beginning of a stream, and discards the rest.
fn read(from: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (read, text) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _ = from.by_ref().take(MAX_ANSWER).read_to_end(&mut bytes);
            let _ = read.send(String::from_utf8_lossy(&bytes).into_owned());
            let _ = io::copy(&mut from, &mut io::sink());
        }
    });
    text
}

/// Returns the path as a process in another directory must write it.
pub(super) fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(script: &str, limit: Duration) -> Result<(), String> {
        let child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        Answer::of(child, limit).unwrap().judge(Path::new("deia"))
    }

    #[test]
    fn only_a_marked_answer_lets_a_restart_happen() {
        let ok = format!("echo 'ok     settings'; echo '{MARKER}'");
        for (script, expected) in [
            (ok.clone(), Ok(())),
            (format!("{ok}; exit 1"), Err("check failed (exit status: 1)")),
            ("echo deia 1.0.0".to_owned(), Err("is not a deia that can take over")),
            ("true".to_owned(), Err("is not a deia that can take over")),
            (
                "echo 'deia-restart-check 2 ok'".to_owned(),
                Err("is not a deia that can take over"),
            ),
            (
                "echo 'error  address         in use'; echo '  on port 8'; echo 'ok     TLS'; echo ' no'; echo 'error  store           too new'; exit 1"
                    .to_owned(),
                Err("address in use; on port 8; store too new"),
            ),
            (
                "echo; echo 'unexpected argument' >&2; echo >&2; exit 2".to_owned(),
                Err("exit status: 2): unexpected argument"),
            ),
            ("kill -9 $$".to_owned(), Err("it did not say why")),
        ] {
            let judged = answer(&script, Duration::from_secs(60));
            match (&judged, expected) {
                (Ok(()), Ok(())) => {}
                (Err(said), Err(part)) if said.contains(part) => {}
                _ => panic!("{script}: {judged:?}"),
            }
        }
    }

    #[test]
    fn a_check_that_hangs_is_ended_with_all_that_it_started() {
        let begun = Instant::now();
        let said = answer("sleep 1000 & sleep 1000", Duration::from_millis(50)).unwrap_err();
        assert!(said.contains("server.restart_check_timeout"), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(500));
    }
}
