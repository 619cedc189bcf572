//! Keeping what a program prints.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};

use deia_model::TaskId;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Grown, OutputLimits, Outputs, Running};
use crate::host::private_dir;

/// How much of an output that is in a file is in the result as well, at most.
const HEAD_BYTES: usize = 64 << 10;

/// Why no more is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SpoolError {
    /// It is more than this many bytes.
    TooMuch {
        /// The limit.
        max_bytes: u64,
    },
    /// It cannot be written.
    Storage(String),
}

/// What was kept in the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Spooled {
    /// All of it, or its beginning when there is more in the file.
    pub(crate) bytes: Vec<u8>,
    /// How much is in the file, when there is one.
    pub(crate) in_file: Option<u64>,
}

/// Keeps the output of one attempt. Dropping it leaves the output so far in a file.
pub(crate) struct OutputSpool {
    outputs: Outputs,
    task: TaskId,
    running: Arc<Running>,
    limits: OutputLimits,
    length: u64,
    /// The beginning, once the rest is in a file.
    head: Vec<u8>,
    has_file: bool,
    writing: Option<JoinHandle<io::Result<()>>>,
    over: bool,
}

impl OutputSpool {
    pub(super) fn new(
        outputs: Outputs,
        task: TaskId,
        running: Arc<Running>,
        limits: OutputLimits,
    ) -> Self {
        Self {
            outputs,
            task,
            running,
            limits,
            length: 0,
            head: Vec::new(),
            has_file: false,
            writing: None,
            over: false,
        }
    }

    /// Returns whether what comes goes into a file, so that greater pieces are better.
    pub(crate) fn has_file(&self) -> bool {
        self.has_file
    }

    /// Takes a piece. Call [`settle`](Self::settle) before the next one.
    ///
    /// # Errors
    /// [`SpoolError::TooMuch`].
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<(), SpoolError> {
        let from = self.length;
        let length = from + piece.len() as u64;
        let max_bytes = self.limits.file.max(self.limits.memory);
        if length > max_bytes {
            // The part below the limit is kept.
            let fits = usize::try_from(max_bytes - from).unwrap_or(usize::MAX);
            if fits > 0 {
                self.take(&piece[..fits])?;
            }
            return Err(SpoolError::TooMuch { max_bytes });
        }
        self.length = length;
        if !self.has_file && length <= self.limits.memory {
            self.running.lock().memory.extend_from_slice(piece);
            self.grown();
            return Ok(());
        }
        let piece = piece.to_vec();
        if self.has_file {
            let (running, outputs) = (Arc::clone(&self.running), self.outputs.clone());
            self.writing = Some(spawn_blocking(move || {
                outputs.check_room()?;
                let file = running.lock().file.clone();
                file.ok_or_else(|| io::Error::other("the file is closed"))?
                    .write_all_at(&piece, from)
            }));
        } else {
            self.spill(piece);
        }
        Ok(())
    }

    /// Puts everything into a file from now on.
    fn spill(&mut self, piece: Vec<u8>) {
        self.has_file = true;
        // Readers go on with what is in memory until the file is there.
        let so_far = self.running.lock().memory.clone();
        let head = HEAD_BYTES.min(usize::try_from(self.limits.memory).unwrap_or(usize::MAX));
        self.head = so_far.iter().chain(&piece).take(head).copied().collect();
        let path = self.outputs.file(self.task, self.running.attempt);
        let (running, outputs) = (Arc::clone(&self.running), self.outputs.clone());
        self.writing = Some(spawn_blocking(move || {
            outputs.check_room()?;
            let file = create(&path)?;
            file.write_all_at(&so_far, 0)?;
            file.write_all_at(&piece, so_far.len() as u64)?;
            let mut kept = running.lock();
            kept.file = Some(Arc::new(file));
            kept.memory = Vec::new();
            Ok(())
        }));
    }

    /// Waits until what was taken is where it belongs. May be dropped and called
    /// again.
    ///
    /// # Errors
    /// [`SpoolError::Storage`].
    pub(crate) async fn settle(&mut self) -> Result<(), SpoolError> {
        if let Some(writing) = &mut self.writing {
            let written = writing.await;
            self.writing = None;
            written
                .unwrap_or_else(|error| Err(io::Error::other(error)))
                .map_err(|error| SpoolError::Storage(error.to_string()))?;
            self.grown();
        }
        Ok(())
    }

    fn grown(&self) {
        let length = self.length;
        self.running
            .grown
            .send_modify(|grown| grown.length = length);
    }

    /// Ends the output. Output that does not fit into a result, or is no text, is on
    /// disk when this returns. With `evidence` all of it is in a file: the attempt did
    /// not succeed, and the task's result may come from a later one.
    ///
    /// # Errors
    /// [`SpoolError::Storage`], with the part that could be kept in memory.
    pub(crate) async fn finish(mut self, evidence: bool) -> Result<Spooled, (SpoolError, Spooled)> {
        // Bytes beyond the limit were refused already and do not matter here.
        if let Err(fault) = self.settle().await {
            return Err((fault, self.end_with(None)));
        }
        let is_text = || std::str::from_utf8(&self.running.lock().memory).is_ok();
        if self.has_file || !is_text() {
            return match self.put_on_disk().await {
                Ok(()) => {
                    let length = self.length;
                    Ok(self.end_with(Some(length)))
                }
                Err(fault) => Err((fault, self.end_with(None))),
            };
        }
        if evidence && let Err(fault) = self.put_on_disk().await {
            let task = self.task;
            tracing::warn!(%task, ?fault, "what a failed attempt printed cannot be kept");
        }
        Ok(self.end_with(None))
    }

    async fn put_on_disk(&mut self) -> Result<(), SpoolError> {
        if !self.has_file {
            self.copy_to_file();
            self.settle().await?;
        }
        let path = self.outputs.file(self.task, self.running.attempt);
        let file = self.running.lock().file.clone();
        let synced = spawn_blocking(move || match file {
            Some(file) => sync(&file, &path),
            None => Err(io::Error::other("the file is closed")),
        });
        synced
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| SpoolError::Storage(error.to_string()))
    }

    /// Writes what is in memory to a file, and keeps it in memory as well.
    fn copy_to_file(&mut self) {
        let path = self.outputs.file(self.task, self.running.attempt);
        let (running, outputs) = (Arc::clone(&self.running), self.outputs.clone());
        self.writing = Some(spawn_blocking(move || {
            outputs.check_room()?;
            write_whole(&running, &path)
        }));
    }

    fn end_with(&mut self, in_file: Option<u64>) -> Spooled {
        let bytes = match self.has_file && self.running.lock().memory.is_empty() {
            true => std::mem::take(&mut self.head),
            false => self.take_memory(),
        };
        self.end();
        Spooled { bytes, in_file }
    }

    /// Readers keep what they read from.
    fn take_memory(&self) -> Vec<u8> {
        let mut so_far = self.running.lock();
        if Arc::strong_count(&self.running) == 1 {
            std::mem::take(&mut so_far.memory)
        } else {
            so_far.memory.clone()
        }
    }

    fn end(&mut self) {
        self.over = true;
        self.outputs.ended(self.task, &self.running);
        self.running.grown.send_modify(|grown| grown.over = true);
    }
}

/// Nobody waits for the end of the attempt: what was printed by now stays.
impl Drop for OutputSpool {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.end();
        if !self.has_file
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let path = self.outputs.file(self.task, self.running.attempt);
            let (task, running) = (self.task, Arc::clone(&self.running));
            runtime.spawn_blocking(move || {
                if let Err(error) = write_whole(&running, &path) {
                    tracing::warn!(%task, %error, "what a broken-off attempt printed cannot be kept");
                }
            });
        }
    }
}

fn write_whole(running: &Running, path: &Path) -> io::Result<()> {
    let bytes = running.lock().memory.clone();
    let file = create(path)?;
    file.write_all_at(&bytes, 0)?;
    running.lock().file = Some(Arc::new(file));
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    let open = || {
        if let Some(directory) = path.parent() {
            private_dir::make(directory)?;
        }
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
    };
    // The end of an earlier attempt may have removed the directory just now.
    open().or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => open(),
        _ => Err(error),
    })
}

/// The file, its directory, and the directory of all of them.
fn sync(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    for directory in path.ancestors().skip(1).take(3) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

impl Grown {
    /// Returns whether there is something after that many bytes, or never will be.
    pub(super) fn has_news(self, position: u64) -> bool {
        self.over || self.length > position
    }
}
