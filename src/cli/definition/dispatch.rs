//! The dispatch of the commands that operate a hive.

use super::HiveNoun;
use crate::cli::{alerts, context::Context, error::CliError, events, key, roles, supervisors};

/// Runs a command.
pub(super) async fn dispatch(noun: HiveNoun, context: &Context) -> Result<(), CliError> {
    match noun {
        HiveNoun::Bot(command) => command.run(context).await,
        HiveNoun::Task(command) => command.run(context).await,
        HiveNoun::Config(command) => command.run(context).await,
        HiveNoun::Secret(command) => command.run(context).await,
        HiveNoun::Queue(command) => command.run(context).await,
        HiveNoun::System(command) => command.run(context).await,
        HiveNoun::Health(command) => command.run(context).await,
        HiveNoun::Supervisors {
            command: None,
            watch,
        } => supervisors::show(context, watch).await,
        HiveNoun::Supervisors {
            command: Some(command),
            ..
        } => command.run(context).await,
        HiveNoun::Alerts {
            command: None,
            list,
        } => alerts::list(context, list).await,
        HiveNoun::Alerts {
            command: Some(command),
            ..
        } => command.run(context).await,
        HiveNoun::Degrade(command) => command.run(context).await,
        HiveNoun::Webhook(command) => command.run(context).await,
        HiveNoun::Session(command) => command.run(context).await,
        HiveNoun::Message(command) => command.run(context).await,
        HiveNoun::Audit(command) => command.run(context).await,
        HiveNoun::Backup(command) => command.run(context).await,
        HiveNoun::Key(command) => command.run(context).await,
        HiveNoun::User(command) => command.run(context).await,
        HiveNoun::Roles => roles::list(context).await,
        HiveNoun::Events(args) => events::list(context, args).await,
        HiveNoun::CanI { permission, task } => key::can_i(context, permission, task).await,
        HiveNoun::Whoami => key::whoami(context).await,
    }
}
