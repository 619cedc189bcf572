//! Reading the output of a program, while it runs and afterwards.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path, sync::Arc};

use tokio::{sync::watch, task::spawn_blocking};

use super::{Grown, Running};

/// Maximum size of one read, in bytes. Fixed: a buffer, whose size changes nothing that
/// can be seen.
const PIECE_BYTES: usize = 64 << 10;

/// A reader of the output of one attempt, from an offset on, in bounded memory.
pub struct TaskOutput {
    attempt: u32,
    position: u64,
    source: Source,
}

enum Source {
    Running {
        running: Arc<Running>,
        grown: watch::Receiver<Grown>,
    },
    File {
        file: Arc<File>,
        length: u64,
    },
    Text(Vec<u8>),
}

/// Place of the next piece.
enum Place {
    Here(Vec<u8>),
    File(Arc<File>, u64),
    Nowhere,
}

impl TaskOutput {
    pub(super) fn running(running: Arc<Running>, offset: u64) -> Self {
        Self {
            attempt: running.attempt,
            position: offset,
            source: Source::Running {
                grown: running.grown.subscribe(),
                running,
            },
        }
    }

    /// Returns the recorded output of an attempt, from its result.
    pub(crate) fn text(attempt: u32, text: String, offset: u64) -> Self {
        Self {
            attempt,
            position: offset,
            source: Source::Text(text.into_bytes()),
        }
    }

    /// Returns the recorded output of an attempt, from that file. Blocks.
    pub(crate) fn file(attempt: u32, path: &Path, offset: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let file = Arc::new(file);
        Ok(Self {
            attempt,
            position: offset,
            source: Source::File { file, length },
        })
    }

    /// Returns the offset of the next byte to read.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Returns the same output, read from that byte on.
    #[must_use]
    pub fn starting_at(mut self, position: u64) -> Self {
        self.position = position;
        self
    }

    /// Returns the number of the attempt.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the number of bytes so far, from the beginning.
    pub fn length(&self) -> u64 {
        match &self.source {
            Source::Running { grown, .. } => grown.borrow().length,
            Source::File { length, .. } => *length,
            Source::Text(text) => text.len() as u64,
        }
    }

    /// Returns whether the output may still grow beyond [`length`](Self::length).
    pub fn goes_on(&self) -> bool {
        matches!(&self.source, Source::Running { grown, .. } if !grown.borrow().over)
    }

    /// Returns the next bytes, at most 64 KiB, as soon as there are any; `None` when the attempt is
    /// over and everything was read. Cancel safe.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.next_up_to(PIECE_BYTES).await
    }

    /// Returns the next bytes like [`next`](Self::next), at most that many.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn next_up_to(&mut self, max_bytes: usize) -> io::Result<Option<Vec<u8>>> {
        if let Source::Running { grown, .. } = &mut self.source {
            let position = self.position;
            // The sender lives as long as the output, which is held here.
            let _ = grown.wait_for(|grown| grown.has_news(position)).await;
        }
        let left = self.length().saturating_sub(self.position);
        let most = PIECE_BYTES.min(max_bytes);
        let wanted = most.min(usize::try_from(left).unwrap_or(most));
        if wanted == 0 {
            return Ok(None);
        }
        let piece = match self.place(wanted) {
            Place::Here(piece) => piece,
            Place::File(file, at) => read_at(file, at, wanted).await?,
            Place::Nowhere => return Ok(None),
        };
        self.position += piece.len() as u64;
        Ok(Some(piece))
    }

    fn place(&self, wanted: usize) -> Place {
        let at = usize::try_from(self.position).unwrap_or(usize::MAX);
        let of = |bytes: &[u8]| match bytes.get(at..at.saturating_add(wanted)) {
            Some(piece) => Place::Here(piece.to_vec()),
            None => Place::Nowhere,
        };
        match &self.source {
            Source::Running { running, .. } => {
                let so_far = running.lock();
                match &so_far.file {
                    Some(file) => Place::File(Arc::clone(file), self.position),
                    None => of(&so_far.memory),
                }
            }
            Source::File { file, .. } => Place::File(Arc::clone(file), self.position),
            Source::Text(text) => of(text),
        }
    }
}

async fn read_at(file: Arc<File>, at: u64, wanted: usize) -> io::Result<Vec<u8>> {
    let reading = spawn_blocking(move || {
        let mut piece = vec![0; wanted];
        file.read_exact_at(&mut piece, at)?;
        Ok(piece)
    });
    reading.await.map_err(io::Error::other)?
}
