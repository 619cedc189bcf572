//! Commands about versions of the settings.

use deia_model::{NewEvent, SettingsOutcome, SettingsVersion, Timestamp};
use serde_json::Value;

use super::{Command, Reply, ledger_command};

/// A version of the settings with its content, from which a start can restore it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSettings {
    /// Description of the version.
    pub version: SettingsVersion,
    /// Content, as the hive writes it. Without secrets.
    pub content: Value,
}

/// The versions that a start needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettingsRecord {
    /// Number of the newest version; 0 if there is none.
    pub newest: u64,
    /// The newest version that was confirmed.
    pub confirmed: Option<StoredSettings>,
    /// Versions that are pending, and later ones on probation, the oldest first.
    pub open: Vec<StoredSettings>,
    /// Hash of the content of the settings file that was taken back.
    pub rejected: Option<String>,
    /// Reason of the last time that settings were taken back, until they are changed or confirmed.
    pub taken_back: Option<String>,
    /// True if the run before did not end in order, or if one is under way.
    pub is_running: bool,
    /// The version on probation under which a run ended that did not end in order.
    pub ended_under: Option<String>,
}

/// The new state of an earlier version.
#[derive(Clone, Debug, PartialEq)]
pub struct SettledVersion {
    /// Number of the version.
    pub version: u64,
    /// The state.
    pub outcome: SettingsOutcome,
    /// Reason of the state, unless that stays as it is.
    pub reason: Option<String>,
    /// End of the probation, unless that stays as it is.
    pub probation_until: Option<Timestamp>,
    /// Time by which the version must be confirmed, unless that stays as it is.
    pub confirm_by: Option<Timestamp>,
    /// The user who has confirmed it, unless that stays as it is.
    pub confirmed_by: Option<String>,
}

impl SettledVersion {
    /// Returns a change of the state alone.
    pub fn to(version: u64, outcome: SettingsOutcome) -> Self {
        Self {
            version,
            outcome,
            reason: None,
            probation_until: None,
            confirm_by: None,
            confirmed_by: None,
        }
    }
}

/// A change of a text that is kept beside the versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Note {
    /// The text stays as it is.
    #[default]
    Keep,
    /// There is no text.
    Clear,
    /// The text is this one.
    Set(String),
}

/// Records a version of the settings, the outcomes of earlier ones and their events, all or
/// nothing. Refused if the newest version is another than expected. Replies with the number of
/// the newest version.
#[derive(Clone, Debug, Default)]
pub struct WriteSettings {
    /// Number of the newest version; 0: there is none.
    pub expected: u64,
    /// States of earlier versions.
    pub settle: Vec<SettledVersion>,
    /// A version to add. Its number must be one more than `expected`; its time is that of the
    /// transaction.
    pub add: Option<StoredSettings>,
    /// Hash of the content of the settings file that was taken back.
    pub rejected: Note,
    /// Reason of the last time that settings were taken back.
    pub taken_back: Note,
    /// Number of the version on probation under which a run ended that did not end in order.
    pub ended_under: Note,
    /// Events of the change.
    pub events: Vec<NewEvent>,
    /// Number of versions that are kept. The last confirmed one and later ones always are.
    pub keep: u32,
    /// True if settings are taken back or confirmed, which must be possible on a full disk.
    pub mends: bool,
}

ledger_command!(
    WriteSettings,
    |command| Command::WriteSettings(Box::new(command)),
    u64,
    Reply::Done(n) => n
);
