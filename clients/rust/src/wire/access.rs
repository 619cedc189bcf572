//! Shapes of users, keys and roles.

use std::net::IpAddr;

use deia_model::{
    AddressRange, BotName, KeyGrant, KeyId, KeyInfo, Permission, Permissions, Principal, Role,
    TaskId, Timestamp, WebSession, text::UserName,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Secret;

/// A key to be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeyRequest {
    /// The user that acts with the key: the submitter of tasks and the actor of events.
    #[schema(value_type = UserName)]
    pub user: String,
    /// Role of the key.
    pub role: Role,
    /// A description in your words: at most 128 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(
        example = "nightly builds",
        max_length = 128,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"
    )]
    pub name: String,
    /// The permissions that the role is restricted to; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, example = json!(["task:submit", "task:read"]))]
    pub scopes: Option<Vec<Permission>>,
    /// The addresses and ranges that the key may be used from, up to 64; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64, example = json!(["192.0.2.7", "2001:db8::/32"]))]
    pub allow_ips: Vec<AddressRange>,
    /// The bot whose tasks the key works on, for the role `bot`; that of the user's
    /// name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot: Option<BotName>,
    /// Time from which the key is refused; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// True to create a user who does not exist, with the role of the key. When absent:
    /// yes, but not with the role admin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = true)]
    pub new_user: Option<bool>,
}

impl From<NewKeyRequest> for KeyGrant {
    fn from(body: NewKeyRequest) -> Self {
        Self {
            user: body.user,
            role: body.role,
            name: body.name,
            scopes: body.scopes,
            allow_ips: body.allow_ips,
            bot: body.bot,
            expires_at: body.expires_at,
        }
    }
}

/// A new key: the only answer with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedKey {
    /// The key as listings show it.
    #[serde(flatten)]
    pub info: KeyInfo,
    /// The key itself. Keep it: it is not shown again.
    #[schema(
        value_type = String,
        example = "deia_01h455vb4pex5vsknk084sn02q_abcdefghijklmnopqrstuvwxyz234567_89abcdef"
    )]
    pub key: Secret,
    /// True if the user was created together with the key.
    pub user_created: bool,
}

/// The current web session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// The session.
    #[serde(flatten)]
    pub web_session: WebSession,
    /// The role of the caller in the session.
    pub role: Role,
    /// Seconds without a request after which the session ends.
    pub idle_timeout_seconds: u64,
    /// The value that requests with changes must send in X-CSRF-Token.
    pub csrf_token: String,
}

/// The number of sessions that were ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndedSessions {
    /// Number of sessions.
    pub ended: u64,
}

/// The options of a rotation. An empty body takes the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKeyRequest {
    /// Time for which the old key stays in force beside the new one, in seconds;
    /// `auth.rotation_overlap` when absent. 0: the old one is refused at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 3600)]
    pub overlap_seconds: Option<u64>,
    /// Time from which the new key is refused; the expiry of the old one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// A user to be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUserRequest {
    /// Name of the user: 1 to 128 of `a-z A-Z 0-9 . _ @ -`.
    #[schema(value_type = UserName)]
    pub id: String,
    /// The role of the user, which limits the rights of all its keys.
    pub role: Role,
    /// True if the user may act.
    #[serde(default = "yes")]
    pub active: bool,
}

fn yes() -> bool {
    true
}

/// A change of a user; absent fields stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChangeRequest {
    /// The new role, which limits the rights of all keys of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// True to activate the user, false to deactivate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
}

/// A question whether the caller has a permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CanIRequest {
    /// The permission.
    pub permission: Permission,
    /// The task that it concerns, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
}

/// The answer whether the caller has a permission.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CanI {
    /// True if the caller has the permission.
    pub allowed: bool,
    /// The reason.
    #[schema(example = "the role external does not have it")]
    pub reason: String,
}

/// The identity of the caller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The user that acts.
    pub user: String,
    /// The role of the caller.
    pub role: Role,
    /// The key; `null` if the caller has none of the hive.
    pub key_id: Option<KeyId>,
    /// The permissions of the caller.
    #[schema(example = json!(["task:submit", "task:read", "task:cancel"]))]
    pub permissions: Vec<String>,
    /// True if the caller sees only its own tasks.
    pub sees_only_its_own: bool,
    /// The bot whose tasks the caller sees, if its role is `bot`.
    pub bot: Option<BotName>,
    /// The address of the caller, as this server sees it.
    #[schema(value_type = Option<String>, example = "192.0.2.7")]
    pub address: Option<IpAddr>,
    /// The key, as listings show it.
    pub key: Option<KeyInfo>,
    /// Members that a newer server adds.
    #[serde(flatten)]
    #[schema(ignore)]
    pub more: Map<String, Value>,
}

impl WhoAmI {
    /// Describes the caller `who`.
    pub fn new(who: Principal, address: Option<IpAddr>, key: Option<KeyInfo>) -> Self {
        Self {
            user: who.user.to_string(),
            permissions: names(who.permissions),
            sees_only_its_own: who.is_restricted(),
            role: who.role,
            key_id: who.key(),
            bot: who.bot,
            address,
            key,
            more: Map::new(),
        }
    }
}

/// A role and its permissions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoleInfo {
    /// The role.
    pub role: Role,
    /// Permissions of the role.
    pub permissions: Vec<String>,
    /// True if the role sees only its own tasks: those that its user submitted, or for
    /// the role `bot` those that its bot was given.
    pub sees_only_its_own: bool,
}

impl From<Role> for RoleInfo {
    fn from(role: Role) -> Self {
        Self {
            role,
            permissions: names(role.permissions()),
            sees_only_its_own: role.sees_only_its_own(),
        }
    }
}

fn names(permissions: Permissions) -> Vec<String> {
    let names = permissions.iter().map(Permission::as_str);
    names.map(String::from).collect()
}
