//! The log of a bot: the standard error of its programs, and notes of deia about them.
//!
//! Logging never blocks: lines go into a bounded buffer that one thread of the process writes out.
//! Lines that do not fit are counted, and the count is written as soon as there is room.
//! count is written as soon as there is room.

mod follow;
mod of_task;
mod positions;

use std::{
    collections::VecDeque,
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use deia_model::{TaskId, Timestamp};

pub use self::follow::{LogFollower, LogPiece, LogStart};
pub(crate) use self::of_task::of_task;
use crate::metrics::BOT_LOGS;

/// Maximum size of the unwritten lines of one log, in bytes. Fixed: a bot's log that the
/// disk does not take is dropped beyond it, and counted.
const MAX_PENDING_BYTES: usize = 256 << 10;

/// Origin of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The standard error of a program.
    Stderr,
    /// Messages of a worker for the log.
    Worker,
    /// Deia itself.
    Deia,
}

impl Stream {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stderr => "stderr",
            Self::Worker => "worker",
            Self::Deia => "deia",
        }
    }
}

/// The attempt that a line of a log is about, written as `task_...#2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoggedAttempt {
    pub(crate) task: TaskId,
    pub(crate) attempt: u32,
}

impl std::fmt::Display for LoggedAttempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.task, self.attempt)
    }
}

/// The log of one bot. Cheap to clone; never blocks.
#[derive(Clone)]
pub(crate) struct BotLog(Arc<Shared>);

struct Shared {
    path: PathBuf,
    max_bytes: u64,
    pending: Mutex<Pending>,
    idle: Condvar,
    write_errors: AtomicU64,
}

#[derive(Default)]
struct Pending {
    text: String,
    /// Lines that did not fit since the last write.
    dropped: u64,
    /// True if the log is queued for the writer or being written.
    scheduled: bool,
}

impl BotLog {
    /// Opens the log at `path`, created with the first line. When a line would make the file
    /// greater than `max_bytes`, the file is renamed to `<path>.1`, replacing an older one, and a
    /// new file is begun.
    pub(crate) fn open(path: impl Into<PathBuf>, max_bytes: u64) -> Self {
        Self(Arc::new(Shared {
            path: path.into(),
            max_bytes,
            pending: Mutex::default(),
            idle: Condvar::new(),
            write_errors: AtomicU64::new(0),
        }))
    }

    /// Adds a line: time, attempt, stream, text. Escapes control characters.
    pub(crate) fn line(&self, of: Option<LoggedAttempt>, stream: Stream, text: &str) {
        let mut pending = self.0.lock();
        if pending.text.len() + text.len() > MAX_PENDING_BYTES {
            pending.dropped += 1;
            return;
        }
        append_line(&mut pending.text, Timestamp::now(), of, stream, text);
        if !std::mem::replace(&mut pending.scheduled, true) {
            drop(pending);
            schedule(&self.0);
        }
    }

    #[cfg(test)]
    /// Returns the number of failed writes (a full disk, for example). Their lines are lost.
    pub(crate) fn write_errors(&self) -> u64 {
        self.0.write_errors.load(Ordering::Relaxed)
    }

    /// Blocks until every line is written or `limit` has passed. Returns `true` if every line is
    /// written. Not for an arbiter.
    pub(crate) fn flush(&self, limit: std::time::Duration) -> bool {
        let pending = self.0.lock();
        self.0
            .idle
            .wait_timeout_while(pending, limit, |pending| pending.scheduled)
            .is_ok_and(|(_, wait)| !wait.timed_out())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the pending lines; `None` if there are none, and then the log must be scheduled again.
    fn take(&self) -> Option<(String, u64)> {
        let mut pending = self.lock();
        if pending.text.is_empty() && pending.dropped == 0 {
            pending.scheduled = false;
            self.idle.notify_all();
            return None;
        }
        Some((
            std::mem::take(&mut pending.text),
            std::mem::take(&mut pending.dropped),
        ))
    }

    fn write_out(&self) {
        while let Some((mut text, dropped)) = self.take() {
            if dropped > 0 {
                BOT_LOGS.dropped.add(dropped);
                let said = format!("{dropped} lines dropped: the log could not keep up");
                append_line(&mut text, Timestamp::now(), None, Stream::Deia, &said);
            }
            if let Err(error) = append(&self.path, self.max_bytes, &text) {
                let count = self.write_errors.fetch_add(1, Ordering::Relaxed);
                if count == 0 {
                    tracing::warn!(path = %self.path.display(), %error, "a bot's log cannot be written");
                }
            }
        }
    }
}

/// Hands the log to the writer thread. Each log is in the channel at most once (`scheduled`), so
/// the channel is bounded by the number of logs.
fn schedule(log: &Arc<Shared>) {
    static WRITER: OnceLock<Option<mpsc::Sender<Arc<Shared>>>> = OnceLock::new();
    let writer = WRITER.get_or_init(|| {
        let (send, receive) = mpsc::channel::<Arc<Shared>>();
        std::thread::Builder::new()
            .name("deia-bot-logs".into())
            .spawn(move || {
                while let Ok(log) = receive.recv() {
                    log.write_out();
                }
            })
            .ok()
            .map(|_| send)
    });
    let sent = writer
        .as_ref()
        .is_some_and(|writer| writer.send(Arc::clone(log)).is_ok());
    if !sent {
        let mut pending = log.lock();
        pending.text.clear();
        pending.scheduled = false;
        log.write_errors.fetch_add(1, Ordering::Relaxed);
    }
}

fn append_line(
    out: &mut String,
    at: Timestamp,
    of: Option<LoggedAttempt>,
    stream: Stream,
    text: &str,
) {
    let stream = stream.as_str();
    // Writing to a string does not fail.
    let _ = match of {
        Some(attempt) => write!(out, "{at} {attempt} {stream} "),
        None => write!(out, "{at} - {stream} "),
    };
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out.push('\n');
}

/// Returns the path of the older log beside `path`.
fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Appends whole lines, rotating first if they would make the log too large.
fn append(path: &Path, max_bytes: u64, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    let open = || options.open(path);
    let mut rest = text;
    while !rest.is_empty() {
        let mut file = open().or_else(|error| match (error.kind(), path.parent()) {
            (io::ErrorKind::NotFound, Some(parent)) => {
                std::fs::create_dir_all(parent)?;
                open()
            }
            _ => Err(error),
        })?;
        let metadata = file.metadata()?;
        let length = metadata.len();
        if length == 0 {
            positions::note(path, &metadata)?;
        }
        let room = usize::try_from(max_bytes.saturating_sub(length)).unwrap_or(usize::MAX);
        let now = lines_within(rest, room, length == 0);
        if now == 0 {
            std::fs::rename(path, older(path))?;
            continue;
        }
        if let Err(error) = file.write_all(&rest.as_bytes()[..now]) {
            // Removes half a line, which the next one would continue.
            let _ = file.set_len(length);
            return Err(error);
        }
        BOT_LOGS.bytes.add(now as u64);
        rest = &rest[now..];
    }
    Ok(())
}

/// Returns how many bytes of `text` fit into `room` as whole lines; with `at_least_one`, the first
/// line is always included.
fn lines_within(text: &str, room: usize, at_least_one: bool) -> usize {
    if text.len() <= room {
        return text.len();
    }
    let fitting = text.as_bytes()[..room].iter().rposition(|b| *b == b'\n');
    match fitting {
        Some(at) => at + 1,
        None if at_least_one => text.find('\n').map_or(text.len(), |at| at + 1),
        None => 0,
    }
}

/// Returns the last lines of the log at `path`, oldest first: at most `lines` of them, from at most
/// its last `max_bytes` bytes. Continues into the older log if the newer one has too few. A missing
/// log has no lines. Blocks: not for an arbiter.
///
/// # Errors
/// The log exists and cannot be read.
pub(crate) fn tail(path: &Path, lines: usize, max_bytes: usize) -> io::Result<Vec<String>> {
    let mut found = VecDeque::new();
    let mut budget = max_bytes;
    let mut newer = None;
    for path in [path.to_owned(), older(path)] {
        if found.len() >= lines || budget == 0 {
            break;
        }
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        // The log was rotated between the two opens: this file was read already.
        if newer.replace(metadata.ino()) == Some(metadata.ino()) {
            break;
        }
        let read = read_end(&mut file, metadata.len(), budget)?;
        // The cut-off part of a first line counts as well, so that there is no gap before it.
        let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        budget = budget.saturating_sub(length);
        for line in String::from_utf8_lossy(&read).lines().rev() {
            if found.len() == lines {
                break;
            }
            found.push_front(line.to_owned());
        }
    }
    Ok(found.into())
}

/// Returns whole lines from the last `max_bytes` of a file of `length` bytes.
fn read_end(file: &mut File, length: u64, max_bytes: usize) -> io::Result<Vec<u8>> {
    let budget = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    let skipped = length.saturating_sub(budget);
    // The byte before says whether the first line is whole.
    file.seek(SeekFrom::Start(skipped.saturating_sub(1)))?;
    let mut bytes = Vec::new();
    file.take(length - skipped.saturating_sub(1))
        .read_to_end(&mut bytes)?;
    if skipped > 0 {
        let first = bytes
            .iter()
            .position(|b| *b == b'\n')
            .map_or(bytes.len(), |at| at + 1);
        bytes.drain(..first);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
