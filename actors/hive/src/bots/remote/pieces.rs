//! The output of an attempt that its worker reports in pieces. A piece is on disk when it is
//! answered, so that a later start of the hive goes on where this one ended.

use std::sync::Arc;

use deia_model::TaskId;
use tokio::{
    sync::{Mutex, MutexGuard},
    task::spawn_blocking,
};

use crate::{
    HiveError,
    bots::output::{OutputLimits, OutputSpool, Outputs, SpoolError, Spooled},
};

/// The output of an attempt so far. Dropping it leaves the output in its file.
#[derive(Clone)]
pub(super) struct Pieces(Arc<Mutex<SoFar>>);

/// The place of the output of an attempt.
#[derive(Clone)]
pub(super) struct OutputOf {
    pub(super) outputs: Outputs,
    pub(super) task: TaskId,
    pub(super) attempt: u32,
    pub(super) limits: OutputLimits,
}

struct SoFar {
    of: OutputOf,
    /// `None` before the first piece, and once the output has ended.
    spool: Option<OutputSpool>,
    length: u64,
    /// True if an earlier start of the hive ended the output, but could not record the end of the
    /// attempt.
    was_ended: bool,
    /// The ended output: the record of the end may have to be repeated.
    kept: Option<Kept>,
}

/// The output of an ended attempt, as its result has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) output: Option<String>,
    pub(super) output_bytes: Option<u64>,
}

impl Pieces {
    pub(super) fn new(of: OutputOf) -> Self {
        Self(Arc::new(Mutex::new(SoFar {
            of,
            spool: None,
            length: 0,
            was_ended: false,
            kept: None,
        })))
    }

    /// Returns the output, with what an earlier start of the hive stored of it.
    async fn open(&self) -> Result<MutexGuard<'_, SoFar>, HiveError> {
        let mut so_far = self.0.lock().await;
        if so_far.spool.is_none() && so_far.kept.is_none() {
            let of = so_far.of.clone();
            let opening =
                spawn_blocking(move || of.outputs.keep_durably(of.task, of.attempt, of.limits));
            let opened = opening.await.map_err(|error| cannot_store(&error))?;
            let spool = opened.map_err(|error| cannot_store(&error))?;
            so_far.length = spool.length();
            so_far.was_ended = spool.was_ended();
            so_far.spool = Some(spool);
        }
        Ok(so_far)
    }

    /// Stores a piece, without the part that is there already. Returns the length so far.
    ///
    /// # Errors
    /// [`HiveError::OutputGap`], [`HiveError::OutputTooLarge`], or the output cannot be stored.
    pub(super) async fn take(&self, offset: u64, bytes: &[u8]) -> Result<u64, HiveError> {
        let mut so_far = self.open().await?;
        let length = so_far.length;
        if offset > length {
            return Err(HiveError::OutputGap { length });
        }
        let known = usize::try_from(length - offset).unwrap_or(usize::MAX);
        so_far.add(bytes.get(known..).unwrap_or_default()).await?;
        Ok(so_far.length)
    }

    /// Ends the output with its last piece. With `evidence` all of it is in a file. Ending it again
    /// changes nothing.
    ///
    /// # Errors
    /// [`HiveError::OutputTooLarge`], or the output cannot be stored.
    pub(super) async fn finish(&self, last: &[u8], evidence: bool) -> Result<Kept, HiveError> {
        let mut so_far = self.open().await?;
        if let Some(kept) = &so_far.kept {
            return Ok(kept.clone());
        }
        so_far.add(last).await?;
        let Some(spool) = so_far.spool.take() else {
            return Ok(Kept::default());
        };
        let finished = spool.finish(evidence).await;
        let Spooled { bytes, in_file } = finished.map_err(|(fault, _)| refused(fault))?;
        let kept = Kept {
            output: Some(String::from_utf8_lossy(&bytes).into_owned()),
            output_bytes: in_file,
        };
        so_far.kept = Some(kept.clone());
        Ok(kept)
    }
}

impl SoFar {
    async fn add(&mut self, bytes: &[u8]) -> Result<(), HiveError> {
        let is_complete = self.was_ended || bytes.is_empty();
        let Some(spool) = self.spool.as_mut().filter(|_| !is_complete) else {
            return Ok(());
        };
        // A piece that does not fit leaves no part of itself.
        let max_bytes = self.of.limits.file.max(self.of.limits.memory);
        if self.length + bytes.len() as u64 > max_bytes {
            return Err(HiveError::OutputTooLarge { max_bytes });
        }
        spool.take(bytes).map_err(refused)?;
        spool.settle().await.map_err(refused)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

fn cannot_store(error: &impl ToString) -> HiveError {
    HiveError::Internal(format!(
        "the output cannot be stored: {}",
        error.to_string()
    ))
}

fn refused(error: SpoolError) -> HiveError {
    match error {
        SpoolError::TooMuch { max_bytes } => HiveError::OutputTooLarge { max_bytes },
        SpoolError::NoRoom { .. } => HiveError::OutputsFull,
        SpoolError::Storage(reason) => cannot_store(&reason),
    }
}
