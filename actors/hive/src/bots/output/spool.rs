//! Storing the output of a program.

mod durable;

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use deia_archive::Change;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Grown, OutputLimits, Outputs, Running, shelf::mark_ended};
use crate::host::private_dir;

/// Maximum size of the part of a stored output that is repeated in the result, in bytes.
/// Fact: the API, whose schema states it.
const HEAD_BYTES: usize = 64 << 10;

/// Reason why no more output is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SpoolError {
    /// The output exceeds its limit.
    TooMuch {
        /// The limit, in bytes.
        max_bytes: u64,
    },
    /// The outputs of all attempts take as much as they may, and no more can be removed.
    NoRoom {
        /// The limit of all outputs, in bytes.
        max_bytes: u64,
    },
    /// The output cannot be written.
    Storage(String),
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        Self::Storage(error.to_string())
    }
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
    running: Arc<Running>,
    limits: OutputLimits,
    length: u64,
    /// The beginning of the output, once the rest is in a file.
    head: Vec<u8>,
    has_file: bool,
    /// True if each piece is on disk once it is settled.
    durable: bool,
    /// True if the file was found, and had been ended.
    was_ended: bool,
    /// True if there was no room below the limit of all outputs.
    no_room: bool,
    writing: Option<JoinHandle<Result<(), SpoolError>>>,
    over: bool,
}

impl OutputSpool {
    pub(super) fn new(outputs: Outputs, running: Arc<Running>, limits: OutputLimits) -> Self {
        Self {
            outputs,
            running,
            limits,
            length: 0,
            head: Vec::new(),
            has_file: false,
            durable: false,
            was_ended: false,
            no_room: false,
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
        if !self.has_file && !self.durable && length <= self.limits.memory {
            self.running.lock().memory.extend_from_slice(piece);
            self.grown();
            return Ok(());
        }
        let piece = piece.to_vec();
        if self.has_file {
            let more = self.head_bytes().saturating_sub(self.head.len());
            self.head.extend(piece.iter().take(more));
            let (running, outputs) = (Arc::clone(&self.running), self.outputs.clone());
            let durable = self.durable;
            self.writing = Some(spawn_blocking(move || {
                outputs.check_room()?;
                outputs.claim(&running, piece.len() as u64)?;
                let file = running.lock().file.clone();
                let file = file.ok_or_else(|| io::Error::other("the file is closed"))?;
                file.write_all_at(&piece, from)?;
                if durable {
                    file.sync_data()?;
                }
                outputs.note_changed(&running, Change::Grown);
                Ok(())
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
        let head = self.head_bytes();
        self.head = so_far.iter().chain(&piece).take(head).copied().collect();
        let (running, outputs) = (Arc::clone(&self.running), self.outputs.clone());
        let (durable, path) = (self.durable, self.path());
        self.writing = Some(spawn_blocking(move || {
            outputs.check_room()?;
            let file = create(&outputs, &running, (so_far.len() + piece.len()) as u64)?;
            file.write_all_at(&so_far, 0)?;
            file.write_all_at(&piece, so_far.len() as u64)?;
            if durable {
                sync(&file, &path)?;
            }
            outputs.note_changed(&running, Change::Rewritten);
            let mut kept = running.lock();
            kept.file = Some(Arc::new(file));
            kept.memory = Vec::new();
            Ok(())
        }));
    }

    /// Returns the size of the part that the result repeats.
    fn head_bytes(&self) -> usize {
        HEAD_BYTES.min(usize::try_from(self.limits.memory).unwrap_or(usize::MAX))
    }

    /// Returns the length of the output so far, in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Returns whether the output was found in a file that had been ended.
    pub(crate) fn was_ended(&self) -> bool {
        self.was_ended
    }

    /// Waits until the output taken so far is stored. Cancel safe.
    ///
    /// # Errors
    /// [`SpoolError::Storage`], [`SpoolError::NoRoom`].
    pub(crate) async fn settle(&mut self) -> Result<(), SpoolError> {
        if let Some(writing) = &mut self.writing {
            let written = writing.await;
            self.writing = None;
            let written = written.unwrap_or_else(|error| Err(io::Error::other(error).into()));
            if let Err(fault) = written {
                self.no_room |= matches!(fault, SpoolError::NoRoom { .. });
                // The last piece is not stored.
                self.length = self.running.grown.borrow().length;
                return Err(fault);
            }
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
    /// [`SpoolError::Storage`] or [`SpoolError::NoRoom`], with the part that fits in memory.
    pub(crate) async fn finish(mut self, evidence: bool) -> Result<Spooled, (SpoolError, Spooled)> {
        // Bytes beyond the limit were refused already and do not matter here.
        let settled = self.settle().await;
        let is_text = || std::str::from_utf8(&self.running.lock().memory).is_ok();
        let needs_file = self.has_file || !is_text();
        let stored = match settled {
            Ok(()) if needs_file || evidence => self.put_on_disk(!evidence).await,
            settled => settled,
        };
        self.put_away().await;
        match stored {
            Ok(()) if self.durable && !evidence && self.length <= self.limits.memory => {
                Ok(self.end_as_result().await)
            }
            Ok(()) => {
                let length = self.length;
                Ok(self.end_with(needs_file.then_some(length)))
            }
            Err(fault) if needs_file => Err((fault, self.end_with(None))),
            Err(fault) => {
                let task = self.running.task;
                tracing::warn!(%task, ?fault, "the output of a failed attempt cannot be stored");
                Ok(self.end_with(None))
            }
        }
    }

    async fn put_on_disk(&mut self, is_success: bool) -> Result<(), SpoolError> {
        if !self.has_file {
            self.copy_to_file();
            self.settle().await?;
        }
        let path = self.path();
        let file = self.running.lock().file.clone();
        let (running, outputs) = (Arc::clone(&self.running), self.outputs.clone());
        let synced = spawn_blocking(move || match file {
            Some(file) => {
                mark_ended(&file, is_success)?;
                outputs.note_changed(&running, Change::Grown);
                sync(&file, &path)
            }
            None => Err(io::Error::other("the file is closed")),
        });
        let synced = synced.await;
        Ok(synced.unwrap_or_else(|error| Err(io::Error::other(error)))?)
    }

    /// Hands the file over to those that may be removed, or notes that there was no room for it.
    async fn put_away(&self) {
        if !self.no_room && self.running.claimed.load(Ordering::Relaxed) == 0 {
            return;
        }
        let (outputs, running) = (self.outputs.clone(), Arc::clone(&self.running));
        if spawn_blocking(move || put_away(&outputs, &running))
            .await
            .is_err()
        {
            tracing::warn!(task = %self.running.task, "the size of an output was not counted");
        }
    }

    fn path(&self) -> PathBuf {
        let Running { task, attempt, .. } = *self.running;
        self.outputs.file(task, attempt)
    }

    /// Writes the output to a file, and holds it in memory as well.
    fn copy_to_file(&mut self) {
        let (running, outputs) = (Arc::clone(&self.running), self.outputs.clone());
        self.writing = Some(spawn_blocking(move || {
            outputs.check_room()?;
            write_whole(&outputs, &running)
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
        self.outputs.ended(self.running.task, &self.running);
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
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (outputs, running) = (self.outputs.clone(), Arc::clone(&self.running));
            // A durable output is in its file already, as far as there is any.
            let has_file = self.has_file || self.durable;
            runtime.spawn_blocking(move || {
                if !has_file && let Err(fault) = write_whole(&outputs, &running) {
                    let task = running.task;
                    tracing::warn!(%task, ?fault, "the output of a dropped attempt cannot be stored");
                }
                put_away(&outputs, &running);
            });
        }
    }
}

/// Hands the file of an attempt over to those that may be removed. Blocks.
fn put_away(outputs: &Outputs, running: &Running) {
    outputs.put_away(running);
    if running.lock().file.is_none()
        && let Err(error) = outputs.note_no_room(running)
    {
        let task = running.task;
        tracing::warn!(%task, %error, "nothing says that an output was not kept for the limit");
    }
}

fn write_whole(outputs: &Outputs, running: &Running) -> Result<(), SpoolError> {
    let bytes = running.lock().memory.clone();
    let file = create(outputs, running, bytes.len() as u64)?;
    file.write_all_at(&bytes, 0)?;
    outputs.note_changed(running, Change::Rewritten);
    running.lock().file = Some(Arc::new(file));
    Ok(())
}

/// Creates the file of an attempt, with room for so many bytes.
fn create(outputs: &Outputs, running: &Running, bytes: u64) -> Result<File, SpoolError> {
    outputs.claim(running, bytes)?;
    outputs.clear(running)?;
    let path = outputs.file(running.task, running.attempt);
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
            .open(&path)
    };
    // The end of an earlier attempt may have removed the directory just now.
    let opened = open().or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => open(),
        _ => Err(error),
    });
    Ok(opened?)
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
