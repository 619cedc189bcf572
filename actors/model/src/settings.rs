//! Settings of a running hive: their values with the place that each comes from, and the versions
//! that were in force.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Timestamp;

/// The layer that a value of a setting comes from, the lowest first: each overrides the ones
/// before.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SettingLayer {
    /// The defaults, which are compiled in.
    Default,
    /// The settings file.
    File,
    /// A variable in the environment of the server.
    Environment,
    /// The option `--set` of the server, or one that stands for it.
    Option,
    /// A change over the API.
    Api,
}

impl SettingLayer {
    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Option => "option",
            Self::Api => "api",
        }
    }
}

/// The origin of a value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SettingSource {
    /// The layer.
    pub layer: SettingLayer,
    /// Place within the layer: path and line of the file, name of the variable, or the option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/etc/deia.yaml:12")]
    pub place: Option<String>,
    /// The user who set it over the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Time at which that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
}

impl SettingSource {
    /// Returns the origin of a value in that place of a layer.
    pub fn of(layer: SettingLayer, place: Option<String>) -> Self {
        Self {
            layer,
            place,
            by: None,
            at: None,
        }
    }
}

/// The value of one setting that is in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CurrentSetting {
    /// The key, in dotted form.
    #[schema(example = "tasks.max_batch")]
    pub key: String,
    /// The value; absent for a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// For a secret, whether it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_set: Option<bool>,
    /// The origin of the value.
    pub source: SettingSource,
}

/// All settings in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CurrentSettings {
    /// Version of the settings.
    pub version: u64,
    /// Every setting, in the order of the reference.
    pub items: Vec<CurrentSetting>,
}

/// One setting: its value, and the values that it may have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SettingValue {
    /// The key, in dotted form.
    #[schema(example = "tasks.max_batch")]
    pub key: String,
    /// The value in force; absent for a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// For a secret, whether it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_set: Option<bool>,
    /// The origin of the value.
    pub source: SettingSource,
    /// The value that it would have without the change over the API; absent unless there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_api: Option<Value>,
    /// The default; absent for a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Kind of value: `integer`, `number`, `boolean`, `duration`, `size`, `text`, `address`,
    /// `list` or `map`.
    #[schema(example = "integer")]
    pub kind: String,
    /// Range of the value, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "1 to 10000")]
    pub allowed: Option<String>,
    /// Time at which a change takes effect: `live`, at once; `restart`, at the next start.
    #[schema(example = "live")]
    pub takes_effect: String,
    /// The consequence of a change now, in a sentence.
    pub on_change: String,
    /// Meaning of the setting.
    pub description: String,
    /// Version of the settings.
    pub version: u64,
}

/// A difference in one setting. A secret has neither value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SettingChange {
    /// The key, in dotted form.
    #[schema(example = "tasks.max_batch")]
    pub key: String,
    /// Value before; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// Value after; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
    /// True for a secret, whose values are not shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

/// The way in which a version of the settings came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingsOrigin {
    /// The server was started with it.
    Start,
    /// The file was read again on request.
    Reload,
    /// The file was read again because it had changed.
    File,
    /// The file was read again because of SIGHUP.
    Signal,
    /// One setting was changed over the API.
    Api,
    /// A person put an earlier version back.
    Undo,
    /// The hive put the last confirmed version back.
    TakenBack,
}

/// The state of a version of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingsOutcome {
    /// Recorded, and not yet in force.
    Pending,
    /// In force, and taken back if the hive gets into trouble or if nobody confirms it in time.
    Probation,
    /// In force, or once in force, for good.
    Confirmed,
    /// Taken back.
    Reverted,
    /// Refused by a part of the hive, or never put in force because the hive ended.
    Failed,
}

macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal,)* }) => {
        impl $type {
            /// Every value.
            pub const ALL: &'static [$type] = &[$($type::$variant,)*];

            /// Returns the name on the wire and in the store.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }

            /// Returns the value of that name.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some($type::$variant),)* _ => None }
            }
        }
    };
}

names! { SettingsOrigin {
    Start = "start",
    Reload = "reload",
    File = "file",
    Signal = "signal",
    Api = "api",
    Undo = "undo",
    TakenBack = "taken_back",
}}

names! { SettingsOutcome {
    Pending = "pending",
    Probation = "probation",
    Confirmed = "confirmed",
    Reverted = "reverted",
    Failed = "failed",
}}

impl SettingsOutcome {
    /// Returns true if the version is in force, or was until a later one came.
    pub fn was_in_force(self) -> bool {
        matches!(self, Self::Probation | Self::Confirmed)
    }
}

/// A version of the settings: a change, by whom, and its outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SettingsVersion {
    /// Number of the version, from 1.
    pub version: u64,
    /// Time at which it was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The user who asked for it; `deia` if nobody did.
    #[schema(example = "admin")]
    pub actor: String,
    /// The way in which it came about.
    pub origin: SettingsOrigin,
    /// The version whose values were put back, if it came about so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
    /// Differences from the version that was in force before.
    pub changes: Vec<SettingChange>,
    /// The state.
    pub outcome: SettingsOutcome,
    /// Reason of the outcome or of the version, in a sentence without its stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Time until which trouble of the hive takes the version back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub probation_until: Option<Timestamp>,
    /// Time by which the version must be confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub confirm_by: Option<Timestamp>,
    /// The user who has confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<String>,
}

/// The state of the settings file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SettingsFile {
    /// Path of the file.
    #[schema(example = "/etc/deia.yaml")]
    pub path: String,
    /// The means by which changes are noticed: `events`, `polling`, or `off`.
    #[schema(example = "events")]
    pub watched: String,
    /// True if the content is the one in force.
    pub in_force: bool,
    /// True if the content was taken back: it is not applied until it changes.
    pub rejected: bool,
    /// Reason why the content is not in force, if the last attempt to apply it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The state of the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SettingsStatus {
    /// The version in force.
    pub in_force: SettingsVersion,
    /// The version that is put back if the one in force is taken back.
    pub confirmed: u64,
    /// Keys that were changed over the API.
    pub overrides: Vec<String>,
    /// Keys whose value in the file differs and takes effect at the next start.
    pub at_restart: Vec<String>,
    /// The settings file; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<SettingsFile>,
    /// Reason of the last time that settings were taken back, until they are changed or confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_back: Option<String>,
}

/// The result of a reload, of an attempt at one, or of another change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SettingsReload {
    /// The version in force after it.
    pub version: u64,
    /// True if settings have changed.
    pub applied: bool,
    /// Differences that are in force now; of an attempt, that would be.
    pub changes: Vec<SettingChange>,
    /// Keys that differ and take effect at the next start.
    pub at_restart: Vec<String>,
    /// Time until which trouble of the hive takes the change back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub probation_until: Option<Timestamp>,
    /// Time by which the change must be confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub confirm_by: Option<Timestamp>,
    /// True if settings are out of force, and the store could not record that yet; it is retried.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub record_pending: bool,
}

/// The difference between the settings file and the settings in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReloadCheck {
    /// True if the content of the file is not the one in force.
    pub differs: bool,
    /// True if that content was taken back.
    pub rejected: bool,
    /// Differences that a reload would put in force.
    pub changes: Vec<SettingChange>,
    /// Keys that differ and take effect at the next start.
    pub at_restart: Vec<String>,
    /// Reasons why a reload would be refused.
    pub problems: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_are_those_on_the_wire() {
        for origin in SettingsOrigin::ALL {
            assert_eq!(SettingsOrigin::parse(origin.as_str()), Some(*origin));
            assert_eq!(serde_json::to_value(origin).unwrap(), origin.as_str());
        }
        for outcome in SettingsOutcome::ALL {
            assert_eq!(SettingsOutcome::parse(outcome.as_str()), Some(*outcome));
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
        for layer in [SettingLayer::Default, SettingLayer::Api] {
            assert_eq!(serde_json::to_value(layer).unwrap(), layer.as_str());
        }
    }
}
