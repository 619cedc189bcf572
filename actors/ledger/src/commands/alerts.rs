//! Commands about alerts.

use deia_model::{Alert, AlertId, Condition, Timestamp};

use super::{Command, Reply, ledger_command};

/// A condition of an open alert that still holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenAlert {
    /// The alert.
    pub alert: AlertId,
    /// The condition, as it is now.
    pub what: String,
}

/// Any command about alerts, as a store gets it.
#[derive(Clone, Debug)]
pub enum AlertCommand {
    /// See [`SettleAlerts`].
    Settle(SettleAlerts),
    /// See [`AcknowledgeAlert`].
    Acknowledge(AcknowledgeAlert),
}

/// Brings the alerts up to date with the conditions that hold. Repeated, it changes
/// nothing: a condition whose alert is open raises no other, and a resolved alert stays
/// as it was resolved. Replies with how many alerts were raised or resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettleAlerts {
    /// Conditions that have no open alert.
    pub raise: Vec<Condition>,
    /// Open alerts whose conditions still hold.
    pub seen: Vec<SeenAlert>,
    /// Open alerts whose conditions are gone.
    pub resolve: Vec<AlertId>,
    /// Alerts that were resolved before that time are forgotten, 100 at a time.
    pub forget_before: Option<Timestamp>,
}

ledger_command!(
    SettleAlerts,
    |command| Command::Alert(AlertCommand::Settle(command)),
    u64,
    Reply::Done(n) => n
);

/// Notes that a person takes care of an alert. The first to do so stays named. Replies
/// with the alert.
#[derive(Clone, Debug)]
pub struct AcknowledgeAlert {
    /// The alert.
    pub alert: AlertId,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    AcknowledgeAlert,
    |command| Command::Alert(AlertCommand::Acknowledge(command)),
    Alert,
    Reply::Alert(alert) => *alert
);
