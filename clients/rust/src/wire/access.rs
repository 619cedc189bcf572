//! Shapes of users, keys and roles.

use std::net::IpAddr;

use deia_model::{
    AddressRange, BotName, KeyGrant, KeyId, KeyInfo, Login, Permission, Permissions, Principal,
    Role, TaskId, Timestamp, text::UserName,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Secret;

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeyRequest {
    /// The user who acts with it: the submitter of tasks and the actor of events.
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
    /// The only permissions of the role that it has; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, example = json!(["task:submit", "task:read"]))]
    pub scopes: Option<Vec<Permission>>,
    /// The only addresses and ranges that it may come from, up to 64; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64, example = json!(["192.0.2.7", "2001:db8::/32"]))]
    pub allow_ips: Vec<AddressRange>,
    /// Of a key of the role `bot`: the bot whose tasks it works on; that of the
    /// user's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot: Option<BotName>,
    /// Time from which it is refused; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// True to make a user who is not there, with the role of the key. When absent:
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

/// A new key: the only time that its text is seen.
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
    /// True if its user was made with it.
    pub user_created: bool,
}

/// The session in a browser that one is in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// The session.
    #[serde(flatten)]
    pub login: Login,
    /// What one may do in it, in one word.
    pub role: Role,
    /// After so many seconds without a request it is over.
    pub idle_timeout_seconds: u64,
    /// What requests that change something have to send in X-CSRF-Token.
    pub csrf_token: String,
}

/// How many sessions have ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndedSessions {
    /// So many.
    pub ended: u64,
}

/// How a key is rotated. An empty body takes the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKeyRequest {
    /// How long the old key stays in force beside the new one, in seconds;
    /// `auth.rotation_overlap` when absent. 0: the old one is refused at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 3600)]
    pub overlap_seconds: Option<u64>,
    /// From when on the new key is refused; when absent, it lives as long as the
    /// old one was meant to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// A user to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUserRequest {
    /// Names the user: 1 to 128 of `a-z A-Z 0-9 . _ @ -`.
    #[schema(value_type = UserName)]
    pub id: String,
    /// What any of their keys may do at most.
    pub role: Role,
    /// Whether they may act.
    #[serde(default = "yes")]
    pub active: bool,
}

fn yes() -> bool {
    true
}

/// What shall be different about a user; what is absent stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChangeRequest {
    /// What any of their keys may do at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Whether they may act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
}

/// What one wants to know whether one may do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CanIRequest {
    /// The permission.
    pub permission: Permission,
    /// A task that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
}

/// Whether one may.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CanI {
    /// Whether the caller may do that.
    pub allowed: bool,
    /// Why, or why not.
    #[schema(example = "the role external does not have it")]
    pub reason: String,
}

/// Who the caller is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The user that acts.
    pub user: String,
    /// What they may do, in one word.
    pub role: Role,
    /// The key; `null` when they came without one of the hive.
    pub key_id: Option<KeyId>,
    /// What they may do.
    #[schema(example = json!(["task:submit", "task:read", "task:cancel"]))]
    pub permissions: Vec<String>,
    /// Whether they see only their own tasks.
    pub sees_only_its_own: bool,
    /// Of the role `bot`: the bot whose tasks they see.
    pub bot: Option<BotName>,
    /// The address that they come from, as this server sees it.
    #[schema(value_type = Option<String>, example = "192.0.2.7")]
    pub address: Option<IpAddr>,
    /// What is known of the key.
    pub key: Option<KeyInfo>,
    /// Members that a newer server adds.
    #[serde(flatten)]
    #[schema(ignore)]
    pub more: Map<String, Value>,
}

impl WhoAmI {
    /// Returns what is said of `who`.
    pub fn new(who: Principal, address: Option<IpAddr>, key: Option<KeyInfo>) -> Self {
        Self {
            user: who.user.to_string(),
            permissions: names(who.permissions),
            sees_only_its_own: who.is_confined(),
            role: who.role,
            key_id: who.key(),
            bot: who.bot,
            address,
            key,
            more: Map::new(),
        }
    }
}

/// A role and what it includes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoleInfo {
    /// The role.
    pub role: Role,
    /// Permissions of the role.
    pub permissions: Vec<String>,
    /// Whether it sees only its own tasks: those that its user submitted, or of
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
