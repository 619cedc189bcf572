//! Alerts: conditions that need a person, from the time they are found until they are gone.

use serde::{Deserialize, Serialize};

use crate::{AlertId, EventLevel, EventTarget, TargetType, Timestamp};

macro_rules! alert_names {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $level:ident,)*) => {
        /// The kind of a condition that raises an alert.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum AlertName {
            $($(#[$doc])* $variant,)*
        }

        impl AlertName {
            /// Every kind that this version knows.
            pub const ALL: &'static [AlertName] = &[$(AlertName::$variant,)*];

            /// Returns its name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(AlertName::$variant => $name,)* }
            }

            /// Returns how urgent it is.
            pub fn level(self) -> EventLevel {
                match self { $(AlertName::$variant => EventLevel::$level,)* }
            }
        }
    };
}

alert_names! {
    /// A bot cannot carry out its tasks, or is quarantined after too many crashes.
    BotFailing = "bot_failing" Critical,
    /// A bot blocks its thread, or has messages waiting and handles none.
    BotStalled = "bot_stalled" Critical,
    /// The disk with the data directory is nearly full.
    DiskFilling = "disk_filling" Critical,
    /// Features are shed because resources are short.
    FeaturesShed = "features_shed" Warning,
    /// A follower of the event log has not kept up with it.
    FollowerLagging = "follower_lagging" Warning,
    /// The audit trail cannot be written, and administrative changes are refused.
    AuditFailing = "audit_failing" Critical,
    /// Events wait too long for their entries in the audit trail.
    AuditLagging = "audit_lagging" Warning,
    /// Events were gone before they were entered in the audit trail.
    AuditGap = "audit_gap" Critical,
    /// The archive cannot be written, or has lost its chain of commits.
    ArchiveFailing = "archive_failing" Critical,
    /// The archive has commits that the disk has lost.
    ArchiveAhead = "archive_ahead" Critical,
    /// The newest commits are not in the archive for long.
    ArchiveLagging = "archive_lagging" Warning,
    /// Objects of the archive are not sound.
    ArchiveDamaged = "archive_damaged" Critical,
    /// The newest restore point is older than two intervals of them.
    RestorePointOverdue = "restore_point_overdue" Warning,
    /// The last restore for practice failed.
    DrillFailed = "drill_failed" Critical,
    /// No restore for practice has succeeded for long.
    DrillOverdue = "drill_overdue" Warning,
    /// Deliveries to an endpoint have failed for long; it will be disabled.
    WebhookFailing = "webhook_failing" Warning,
    /// An endpoint was disabled because its deliveries failed or it was too far behind.
    WebhookDisabled = "webhook_disabled" Critical,
    /// Tasks have waited for a bot for long.
    TasksWaiting = "tasks_waiting" Warning,
    /// Settings were taken back because the hive was in trouble or nobody confirmed them.
    SettingsTakenBack = "settings_taken_back" Warning,
}

/// A condition that holds now and needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Kind of the condition.
    pub name: AlertName,
    /// Type of the target.
    pub target_type: TargetType,
    /// Id or name of the target.
    pub target: String,
    /// The condition, in a sentence without its stop.
    pub what: String,
    /// The remedy, in the same form.
    pub what_to_do: String,
}

/// An alert: a condition of one target, from the time it was found until it was gone.
///
/// At most one alert of each name and target is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Alert {
    /// Id of the alert. Ids of later alerts are greater.
    #[schema(value_type = String, example = "alert_01h455vb4pex5vsknk084sn02q")]
    pub id: AlertId,
    /// Kind of the condition: `bot_failing`, `bot_stalled`, `disk_filling`,
    /// `features_shed`, `follower_lagging`, `tasks_waiting`, `webhook_failing`, `webhook_disabled`, and others.
    #[schema(example = "bot_failing")]
    pub name: String,
    /// The part of the hive that the condition is about.
    pub target: EventTarget,
    /// Urgency: `critical` when work stands still or soon will, otherwise `warning`.
    pub level: EventLevel,
    /// Time at which the condition was found.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Time at which the condition was last found to hold, to the minute.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen: Timestamp,
    /// The condition, as of `last_seen`.
    #[schema(example = "the disk is 96 % full")]
    pub what: String,
    /// The remedy.
    #[schema(example = "free space, or lower tasks.retention or events.max_bytes")]
    pub what_to_do: String,
    /// The user who acknowledged the alert first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    /// Time of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub acknowledged_at: Option<Timestamp>,
    /// Time at which the condition was found to be gone; absent while the alert is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resolved_at: Option<Timestamp>,
}

impl Alert {
    /// Returns whether the alert is about the same thing as a condition.
    pub fn is_of(&self, condition: &Condition) -> bool {
        self.name == condition.name.as_str()
            && self.target.r#type == condition.target_type.as_str()
            && self.target.id == condition.target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = AlertName::ALL.iter().map(|name| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), AlertName::ALL.len());
    }
}
