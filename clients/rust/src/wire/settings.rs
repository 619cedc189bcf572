//! Shapes of requests about settings.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A change of one setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSettingRequest {
    /// The value; null: that of the settings file and the other layers.
    #[schema(example = 500)]
    pub value: Value,
    /// Time in seconds within which the change must be confirmed; it is taken back otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2592000, example = 600)]
    pub confirm_within_seconds: Option<u64>,
}

/// The options of a reload. An empty body takes the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReloadSettingsRequest {
    /// Changes nothing, and answers what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Applies what may change while the hive runs, although other keys differ as well, which take
    /// effect at the next start. Without it, such a reload is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apply_rest: bool,
    /// Time in seconds within which the change must be confirmed; it is taken back otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2592000, example = 600)]
    pub confirm_within_seconds: Option<u64>,
}

/// The version to confirm. An empty body confirms the one in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmSettingsRequest {
    /// The version; refused unless it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// The version to put back. An empty body names the one that was in force before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoSettingsRequest {
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}
