//! Checkpoints, and those that fail.

use rusqlite::config::DbConfig;

use super::{
    super::errors::{CheckpointFault, checkpoint_fault},
    Writer,
};

impl Writer {
    pub(super) fn checkpoint_if_due(&mut self, idle: bool) -> Result<(), String> {
        match self.checkpointer.is_due(idle) && self.may_fold() {
            true => self.checkpoint(),
            false => Ok(()),
        }
    }

    fn checkpoint(&mut self) -> Result<(), String> {
        let run = self.checkpointer.run(&self.db);
        self.checkpointed(run)
    }

    /// Checkpoints at the end of the store, after which the next start has no log to read.
    pub(super) fn last_checkpoint(&mut self) -> Result<(), String> {
        let run = match self.shipped_log {
            Some(_) => self.checkpointer.finish(&self.db),
            None => self.checkpointer.run(&self.db),
        };
        self.checkpointed(run)
    }

    fn checkpointed(&mut self, run: rusqlite::Result<()>) -> Result<(), String> {
        self.note_folded();
        self.metrics.checkpointed(run.is_ok());
        match run {
            Ok(()) => Ok(()),
            Err(error) => self.checkpoint_failed(&error),
        }
    }

    /// After an I/O error the pages of an earlier, partial checkpoint may be on no
    /// disk, and the index of the log says that they need not be written again
    /// (Linux reports a failed write-back once). All connections of this process
    /// share that index: only the next process rebuilds it from the log.
    pub(super) fn checkpoint_failed(&mut self, error: &rusqlite::Error) -> Result<(), String> {
        let full = self.is_full(error);
        match checkpoint_fault(error, full) {
            CheckpointFault::Full => Ok(()),
            CheckpointFault::Later => {
                // The log stays and is checkpointed later; nothing is lost.
                tracing::warn!(%error, "checkpoint failed; retrying with the next one");
                Ok(())
            }
            CheckpointFault::Untrusted => {
                let file = self.db.path().unwrap_or_default().to_owned();
                let reason = format!(
                    "{file} could not be synced by a checkpoint ({error}): check the disk; the next start writes it again from the write-ahead log"
                );
                tracing::error!(%error, file, "checkpoint failed; the process must end");
                // The next start needs the log, even if another process closes the file last.
                let kept = self
                    .db
                    .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
                if let Err(error) = kept {
                    tracing::error!(%error, "closing the store may checkpoint again");
                }
                let _ = self.shared.untrusted.set(reason.clone());
                Err(reason)
            }
        }
    }
}
