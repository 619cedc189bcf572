//! Commands of the hive about itself.

use deia_model::NewEvent;

use super::{Command, Reply, ledger_command};

/// Records events that accompany no other change.
#[derive(Clone, Debug)]
pub struct RecordEvents(pub Vec<NewEvent>);

ledger_command!(RecordEvents, Command::RecordEvents, (), Reply::Done(_) => ());

/// Writes a page without meaning, to find out whether a submission could be committed.
#[derive(Clone, Copy, Debug)]
pub struct ProbeWrite;

ledger_command!(ProbeWrite, Command::ProbeWrite, (), Reply::Done(_) => ());

/// Records whether the hive is running, so that the next start knows how this run
/// ended.
#[derive(Clone, Copy, Debug)]
pub struct MarkRunning(pub bool);

ledger_command!(MarkRunning, Command::MarkRunning, (), Reply::Done(_) => ());
