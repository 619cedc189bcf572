//! Writes: commands, and their notices.

use std::sync::Arc;

use super::{BoxFuture, StoreError};
use crate::{Command, CommitNotice, DirectDispatch, Reply, TaskPolicy};

/// A callback that receives the changes of each commit. It must not block.
pub type CommitListener = Arc<dyn Fn(&[CommitNotice]) + Send + Sync>;

/// Applies commands, and sends notices of each commit.
pub trait CommandLog: Send + Sync + 'static {
    /// Starts the writer. The future resolves when the writer has ended, with the
    /// reason; it may be started again then.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if it cannot be started.
    fn serve(&self) -> Result<BoxFuture<'static, String>, StoreError>;

    /// Finishes the commands that were accepted and ends what [`Self::serve`] started.
    /// Later commands are answered with [`StoreError::Closed`].
    fn close(&self) -> BoxFuture<'_, ()>;

    /// Applies a command in one transaction with its events; resolves when it is on
    /// disk. Dropping the future does not withdraw the command.
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Reply, StoreError>>;

    /// Applies a command about something that has already happened and must not be
    /// lost: while there is no space on the disk it is kept in memory, in order, and
    /// nothing else is applied before it. The caller bounds how many wait; beyond a
    /// limit they are refused as by [`Self::execute`]. A command that is still kept
    /// when the store is closed is lost.
    fn execute_deferred(&self, command: Command) -> BoxFuture<'_, Result<Reply, StoreError>>;

    /// Calls `sink` with the changes of each commit. It must not block.
    fn subscribe(&self, sink: CommitListener);

    /// Asks `direct` for a slot when a task is submitted that may start at once.
    fn dispatch_to(&self, direct: Arc<dyn DirectDispatch>);

    /// Has these rules apply to the commands that follow.
    fn apply_policy(&self, policy: TaskPolicy);

    /// Returns the id of the data that the store holds; it is kept through restarts.
    fn hive_id(&self) -> String;

    /// Returns whether the previous run ended with an orderly stop.
    fn previous_shutdown_clean(&self) -> bool;
}
