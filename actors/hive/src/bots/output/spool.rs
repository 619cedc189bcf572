//! Storing the output of a program.

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

/// Maximum size of the part of a stored output that is repeated in the result, in bytes.
const HEAD_BYTES: usize = 64 << 10;

/// Reason why no more output is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SpoolError {
    /// The output exceeds its limit.
    TooMuch {
        /// The limit, in bytes.
        max_bytes: u64,
    },
    /// The output cannot be written.
    Storage(String),
}

/// The stored output of an ended attempt.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Spooled {
    /// The whole output, or its beginning if there is more in the file.
    pub(crate) bytes: Vec<u8>,
    /// Length of the file in bytes, if there is one.
    pub(crate) in_file: Option<u64>,
}

/// Stores the output of one attempt. Dropping it leaves the output so far in a file.
pub(crate) struct OutputSpool {
    outputs: Outputs,
    task: TaskId,
    running: Arc<Running>,
    limits: OutputLimits,
    length: u64,
    /// The beginning of the output, once the rest is in a file.
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

    /// Returns whether output goes to a file, which makes larger pieces better.
    pub(crate) fn has_file(&self) -> bool {
        self.has_file
    }

    /// Takes a piece of output. Call [`settle`](Self::settle) before the next one.
    ///
    /// # Errors
    /// [`SpoolError::TooMuch`].
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<(), SpoolError> {
        let from = self.length;
        let length = from + piece.len() as u64;
        let max_bytes = self.limits.file.max(self.limits.memory);
        if length > max_bytes {
            // The part below the limit is stored.
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

    /// Moves the output to a file from now on.
    fn spill(&mut self, piece: Vec<u8>) {
        self.has_file = true;
        // Readers read from memory until the file is there.
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

    /// Waits until the output taken so far is stored. Cancel safe.
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

    /// Ends the output. Output that does not fit into a result or is not text is on disk when this
    /// returns. With `evidence` all of it is in a file: the attempt did not succeed, and the task's
    /// result may come from a later attempt.
    ///
    /// # Errors
    /// [`SpoolError::Storage`], with the part that fits in memory.
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
            tracing::warn!(%task, ?fault, "the output of a failed attempt cannot be stored");
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

    /// Writes the output to a file, and holds it in memory as well.
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

    /// Takes the output out of memory, without taking it from readers.
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

/// Stores the output so far when the attempt is dropped.
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
                    tracing::warn!(%task, %error, "the output of a dropped attempt cannot be stored");
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

/// Syncs the file, its directory, and the directory of all outputs.
fn sync(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    for directory in path.ancestors().skip(1).take(3) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

impl Grown {
    /// Returns whether there are bytes after that position, or the output is complete.
    pub(super) fn has_news(self, position: u64) -> bool {
        self.over || self.length > position
    }
}
