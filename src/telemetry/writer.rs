//! The writer of log lines to standard error.
//!
//! No caller ever waits: a line is put into a buffer of limited size, and one thread
//! writes the buffer out. Lines that do not fit, or that standard error does not accept
//! (its reader is gone, its disk is full), are dropped and counted; the next line that
//! can be written is preceded by their number.
//!
//! `tracing-appender` is not used for this because it limits lines rather than bytes,
//! and because its end prints to standard output, which may block or panic.

use std::{
    io::{self, Write},
    os::fd::AsFd as _,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

/// Makes the line that reports how many lines were dropped.
pub(super) type Notice = Box<dyn Fn(u64) -> String + Send>;

/// Writes lines to a stream that may stall, break or be full. Cheap to clone.
#[derive(Clone)]
pub(super) struct LogWriter(Arc<Shared>);

struct Shared {
    pending: Mutex<Pending>,
    /// Signalled when there is something to write.
    work: Condvar,
    /// Signalled when everything was written or dropped.
    idle: Condvar,
    dropped: AtomicU64,
    max_bytes: usize,
}

#[derive(Default)]
struct Pending {
    lines: Vec<u8>,
    /// Bytes that the thread took and has not written yet.
    in_hand: usize,
    /// Lines that did not fit since the thread last looked.
    overflown: u64,
}

impl LogWriter {
    /// Starts the thread that writes to `sink`. At most `max_bytes` wait for it.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(
        sink: impl Write + Send + 'static,
        max_bytes: usize,
        notice: Notice,
    ) -> io::Result<Self> {
        let writer = Self(Arc::new(Shared {
            pending: Mutex::default(),
            work: Condvar::new(),
            idle: Condvar::new(),
            dropped: AtomicU64::new(0),
            max_bytes,
        }));
        let shared = Arc::clone(&writer.0);
        let mut output = Output {
            sink,
            notice,
            cut_short: false,
            untold: 0,
        };
        std::thread::Builder::new()
            .name("deia-log".into())
            .spawn(move || shared.write_out(&mut output))?;
        Ok(writer)
    }

    /// Returns the number of lines dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Waits until every line is written or dropped, for `limit` at most.
    /// Returns `false` when some still wait.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let pending = self.0.lock();
        let busy = |pending: &mut Pending| !pending.is_idle();
        let waited = self.0.idle.wait_timeout_while(pending, limit, busy);
        waited.is_ok_and(|(_, timeout)| !timeout.timed_out())
    }
}

impl Write for LogWriter {
    /// Takes `lines` whole or drops them; never fails and never waits for the stream.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut pending = self.0.lock();
        let waiting = pending.lines.len() + pending.in_hand;
        if waiting + lines.len() > self.0.max_bytes {
            let dropped = count_lines(lines);
            pending.overflown += dropped;
            self.0.dropped.fetch_add(dropped, Ordering::Relaxed);
        } else {
            pending.lines.extend_from_slice(lines);
        }
        drop(pending);
        self.0.work.notify_one();
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Pending {
    fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.in_hand == 0 && self.overflown == 0
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until the process ends.
    fn write_out<W: Write>(&self, output: &mut Output<W>) {
        let mut batch = Vec::new();
        loop {
            let overflown = self.take(&mut batch);
            let lost = output.write_batch(&batch, overflown);
            self.dropped.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// Waits for lines, and swaps them with the written `batch`. Returns the number of
    /// lines that did not fit after them.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        batch.clear();
        let mut pending = self.lock();
        pending.in_hand = 0;
        while pending.is_idle() {
            self.idle.notify_all();
            let woken = self.work.wait(pending);
            pending = woken.unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut pending.lines, batch);
        pending.in_hand = batch.len();
        std::mem::take(&mut pending.overflown)
    }
}

/// The stream, and the state of its notices.
struct Output<W> {
    sink: W,
    notice: Notice,
    /// True if the last line was written in part.
    cut_short: bool,
    /// Dropped lines that no notice has reported.
    untold: u64,
}

impl<W: Write> Output<W> {
    /// Writes the notice of earlier losses, the batch, and the notice of the
    /// `overflown` lines after it. Returns the number of lines of the batch that were
    /// lost.
    fn write_batch(&mut self, batch: &[u8], overflown: u64) -> u64 {
        let written = self.tell().and_then(|()| self.write(batch));
        let lost = match written {
            Ok(()) => 0,
            Err(written) => count_lines(&batch[written..]),
        };
        self.untold += lost + overflown;
        if lost == 0 {
            // A notice that cannot be written is retried before the next batch.
            let _ = self.tell();
        }
        lost
    }

    /// Reports how many lines were dropped, if there were any. Fails with 0: nothing of
    /// the batch after it was written.
    fn tell(&mut self) -> Result<(), usize> {
        if self.untold == 0 {
            return Ok(());
        }
        let notice = (self.notice)(self.untold);
        self.write(notice.as_bytes()).map_err(|_| 0usize)?;
        self.untold = 0;
        Ok(())
    }

    /// Writes complete lines. Fails with the number of bytes that were written.
    fn write(&mut self, lines: &[u8]) -> Result<(), usize> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.cut_short {
            self.sink.write_all(b"\n").map_err(|_| 0usize)?;
            self.cut_short = false;
        }
        let mut at = 0;
        while at < lines.len() {
            match self.sink.write(&lines[at..]) {
                Ok(n @ 1..) => at += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    self.cut_short = at > 0 && lines[at - 1] != b'\n';
                    return Err(at);
                }
            }
        }
        Ok(())
    }
}

/// Standard error, without the lock of the standard library: a stalled reader would
/// hold up all others that take that lock. Waits for the reader even if another process
/// has made the stream non-blocking.
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        loop {
            match rustix::io::write(stderr.as_fd(), bytes) {
                Err(Errno::AGAIN) => {
                    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
                    let _ = poll(&mut fds, None);
                }
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts the lines in `text`, including an incomplete last one.
fn count_lines(text: &[u8]) -> u64 {
    let ends = text.iter().filter(|byte| **byte == b'\n').count();
    let rest = text.last().is_some_and(|last| *last != b'\n');
    ends as u64 + u64::from(rest)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn notice() -> Notice {
        Box::new(|lines| format!("dropped {lines}\n"))
    }

    /// A stream that asks before each write how many bytes it takes; an error when that
    /// is `None`.
    struct Scripted {
        takes: Receiver<Option<usize>>,
        asked: Sender<()>,
        text: Arc<Mutex<String>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.asked.send(());
            // Takes everything once the script is finished.
            let takes = self.takes.recv().unwrap_or(Some(usize::MAX));
            let Some(takes) = takes else {
                return Err(io::ErrorKind::StorageFull.into());
            };
            let taken = &bytes[..takes.min(bytes.len())];
            let text = std::str::from_utf8(taken).unwrap();
            self.text.lock().unwrap().push_str(text);
            Ok(taken.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn stalled_stream_drops_and_counts_and_blocks_nobody() {
        let (take, takes) = mpsc::channel();
        let (asked, stalled) = mpsc::channel();
        let text = Arc::<Mutex<String>>::default();
        let sink = Scripted {
            takes,
            asked,
            text: text.clone(),
        };
        let mut writer = LogWriter::start(sink, 12, notice()).unwrap();
        writer.write_all(b"first\n").unwrap();
        stalled.recv_timeout(PATIENCE).unwrap();
        writer.write_all(b"two\n").unwrap();
        // No space for this one, but for a shorter one after it.
        writer.write_all(b"three\n").unwrap();
        writer.write_all(b"4\n").unwrap();
        writer.write_all(b"5\n6\n").unwrap();
        assert!(!writer.flush(Duration::from_millis(1)));
        assert_eq!(writer.dropped(), 3);
        drop(take);
        assert!(writer.flush(PATIENCE));
        assert_eq!(*text.lock().unwrap(), "first\ntwo\n4\ndropped 3\n");
    }

    #[test]
    fn failed_writes_lose_their_lines_only() {
        for (takes, expected, lost) in [
            (vec![Some(99), Some(99)], "a1\na2\nb\n", 0),
            // Slow, but complete.
            (vec![Some(1), Some(4), Some(1)], "a1\na2\nb\n", 0),
            (vec![None], "dropped 2\nb\n", 2),
            // The notice fails with its batch; both are reported together.
            (vec![None, None], "dropped 3\n", 3),
            // Cut within the second line: the next text begins on a line of its own.
            (vec![Some(4), None], "a1\na\ndropped 1\nb\n", 1),
            (vec![Some(3), None], "a1\ndropped 1\nb\n", 1),
        ] {
            let (take, script) = mpsc::channel();
            let text = Arc::<Mutex<String>>::default();
            let mut output = Output {
                sink: Scripted {
                    takes: script,
                    asked: mpsc::channel().0,
                    text: text.clone(),
                },
                notice: notice(),
                cut_short: false,
                untold: 0,
            };
            takes.iter().for_each(|n| take.send(*n).unwrap());
            drop(take);
            let dropped = output.write_batch(b"a1\na2\n", 0) + output.write_batch(b"b\n", 0);
            output.write_batch(b"", 0);
            assert_eq!(*text.lock().unwrap(), expected, "{takes:?}");
            assert_eq!((dropped, output.untold), (lost, 0), "{takes:?}");
        }
    }

    #[test]
    fn lines_are_counted() {
        for (text, lines) in [("", 0), ("a", 1), ("a\n", 1), ("a\nb\n", 2), ("a\nb", 2)] {
            assert_eq!(count_lines(text.as_bytes()), lines, "{text:?}");
        }
    }
}
