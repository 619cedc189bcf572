//! Writes: commands, and what follows from them.

use std::sync::Arc;

use super::{BoxFuture, StoreError};
use crate::{Command, DirectDispatch, Hint, Reply};

/// A callback that hears of the changes of each commit. It must not block.
pub type HintSink = Arc<dyn Fn(&[Hint]) + Send + Sync>;

/// Applies commands, and tells of each commit.
pub trait CommandLog: Send + Sync + 'static {
    /// Starts what applies commands. The future resolves when that has ended,
    /// with the reason; it may be started again then.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when it cannot be started.
    fn serve(&self) -> Result<BoxFuture<'static, String>, StoreError>;

    /// Finishes the commands that were accepted and ends what [`Self::serve`] started.
    /// Later commands are answered with [`StoreError::Closed`].
    fn close(&self) -> BoxFuture<'_, ()>;

    /// Applies a command in one transaction with its events; resolves when it is on
    /// disk. Dropping the future does not withdraw the command.
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Reply, StoreError>>;

    /// Applies a command about something that has happened already and must not be
    /// forgotten: while there is no room on the disk it is kept in memory, in order, and
    /// nothing else is applied before it. The caller bounds how many wait; beyond a limit
    /// they are refused as by [`Self::execute`]. A command that is kept when the store is
    /// closed is lost.
    fn execute_deferred(&self, command: Command) -> BoxFuture<'_, Result<Reply, StoreError>>;

    /// Calls `sink` after each commit with what changed. It must not block.
    fn subscribe(&self, sink: HintSink);

    /// Asks `direct` for a bot when a task comes in that may start at once.
    fn dispatch_to(&self, direct: Arc<dyn DirectDispatch>);

    /// Returns the name of the data that the store holds; it stays through restarts.
    fn hive_id(&self) -> String;

    /// Returns whether the run before this one ended in an orderly way.
    fn previous_shutdown_clean(&self) -> bool;
}
