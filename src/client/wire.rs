//! Shapes of the API that the model of the hive does not have.

use std::fmt;

use deia_model::{AddressRange, BotName, KeyInfo, Permission, Role, TaskId, TaskStatus, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A text that neither `Debug` nor `Display` shows. It is sent and serialised.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` out of logs and messages.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// What `GET /api/v1/tasks/{id}/status` answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskState {
    /// The task.
    #[serde(alias = "task_id")]
    pub id: TaskId,
    /// Where it is in its life.
    pub status: TaskStatus,
    /// The number of the last attempt, from 1; 0 before the first.
    #[serde(default)]
    pub attempt: u32,
    /// How far it is, 0 to 1.
    #[serde(default)]
    pub progress: f64,
    /// The bot that has it, or had it last.
    #[serde(default)]
    pub assigned_bot: Option<BotName>,
    /// Whatever else the hive says of it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A role, as `GET /api/v1/roles` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleInfo {
    /// Name of the role.
    pub role: String,
    /// Permissions of the role.
    pub permissions: Vec<String>,
    /// True if its holders see only their own tasks.
    pub sees_only_its_own: bool,
}

/// What `GET /api/v1/bots/{id}/logs` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLines {
    /// The last lines of the log, the oldest first.
    pub lines: Vec<String>,
}

/// What `POST /api/v1/auth/keys` takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewKeyRequest {
    /// Who acts with it.
    pub user: String,
    /// What it may do.
    pub role: Role,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The only permissions of the role that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Permission>>,
    /// The only addresses that it may come from; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_ips: Vec<AddressRange>,
    /// Of a key of the role `bot`: its bot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bot: Option<BotName>,
    /// From when on it is refused; never when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether a user who is not there is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_user: Option<bool>,
}

/// What `POST /api/v1/auth/keys/{id}/rotate` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RotateKeyRequest {
    /// How long both keys are in force; as the hive is set when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<u64>,
    /// From when on the new key is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What `POST /api/v1/users` takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewUserRequest {
    /// Names the user.
    pub id: String,
    /// What any of their keys may do at most.
    pub role: Role,
    /// Whether they may act.
    pub active: bool,
}

/// What `PATCH /api/v1/users/{id}` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UserChangeRequest {
    /// What any of their keys may do at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Whether they may act.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
}

/// What `POST /api/v1/auth/can-i` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanI {
    /// Whether the caller may do that.
    pub allowed: bool,
    /// Why, or why not.
    pub reason: String,
}

/// A new key: the only time that its text is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedKey {
    /// What listings show of it.
    #[serde(flatten)]
    pub info: KeyInfo,
    /// The key itself.
    pub key: Secret,
    /// Whether its user was made with it.
    #[serde(default)]
    pub user_created: bool,
}

/// What `GET /api/v1/auth/whoami` answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhoAmI {
    /// The user that acts with this key.
    pub user: String,
    /// What they may do, in one word.
    pub role: Role,
    /// Whatever else the hive says of them.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What `POST /api/v1/tasks/batch` answers.
#[derive(Deserialize)]
pub(super) struct BatchIds {
    pub(super) ids: Vec<TaskId>,
}
