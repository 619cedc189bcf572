//! The moment that a restore ends with, as options of a command.

use clap::Args;
use deia_model::{EventNumber, RestoreMoment, TaskId, Timestamp};

/// The moment of a restore.
#[derive(Clone, Copy, Debug, Default, Args)]
#[group(id = "moment", multiple = false)]
pub(crate) struct MomentArgs {
    /// The newest commit at this time.
    #[arg(long, value_name = "TIME")]
    pub(super) at: Option<Timestamp>,
    /// The commit that recorded this event: its number, or the history, a dot and the number.
    #[arg(long, value_name = "SEQ")]
    pub(super) event: Option<EventNumber>,
    /// The newest commit before this event.
    #[arg(long, value_name = "SEQ")]
    pub(super) before_event: Option<EventNumber>,
    /// The commit that accepted this task: it is restored, and has not begun.
    #[arg(long, value_name = "ID")]
    pub(super) task: Option<TaskId>,
    /// The newest commit before this task was accepted.
    #[arg(long, value_name = "ID")]
    pub(super) before_task: Option<TaskId>,
}

impl MomentArgs {
    /// Returns the moment; `None` if no option is given.
    pub(crate) fn moment(&self) -> Option<RestoreMoment> {
        let at = self.at.map(RestoreMoment::At);
        at.or(self.event.map(RestoreMoment::Event))
            .or(self.before_event.map(RestoreMoment::BeforeEvent))
            .or(self.task.map(RestoreMoment::Task))
            .or(self.before_task.map(RestoreMoment::BeforeTask))
    }
}
