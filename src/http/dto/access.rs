//! Shapes of users, keys and roles.

use std::{net::IpAddr, time::Duration};

use deia_hive::KeyRotation;
use deia_model::{
    AddressRange, BotName, KeyGrant, KeyId, KeyInfo, Login, Permission, Permissions, Principal,
    Role, TaskId, Timestamp, text::UserName,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewKeyBody {
    /// Who acts with it: the submitter of tasks and the actor of events.
    #[schema(value_type = UserName)]
    pub(in crate::http) user: String,
    /// What it may do.
    pub(in crate::http) role: Role,
    /// What it is for, in your words: at most 128 characters.
    #[serde(default)]
    #[schema(
        example = "nightly builds",
        max_length = 128,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"
    )]
    pub(in crate::http) name: String,
    /// The only permissions of the role that it has; all of them when absent.
    #[serde(default)]
    #[schema(min_items = 1, example = json!(["task:submit", "task:read"]))]
    pub(in crate::http) scopes: Option<Vec<Permission>>,
    /// The only addresses and ranges that it may come from, up to 64; empty: any.
    #[serde(default)]
    #[schema(max_items = 64, example = json!(["192.0.2.7", "2001:db8::/32"]))]
    pub(in crate::http) allow_ips: Vec<AddressRange>,
    /// Of a key of the role `bot`: the bot whose tasks it works on; that of the
    /// user's name when absent.
    #[serde(default)]
    pub(in crate::http) bot: Option<BotName>,
    /// From when on it is refused; never when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(in crate::http) expires_at: Option<Timestamp>,
    /// Whether a user who is not there is made, with the role of the key. When absent:
    /// yes, but not with the role admin.
    #[serde(default)]
    #[schema(example = true)]
    pub(in crate::http) new_user: Option<bool>,
}

impl From<NewKeyBody> for KeyGrant {
    fn from(body: NewKeyBody) -> Self {
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
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CreatedKey {
    /// What listings show of it.
    #[serde(flatten)]
    pub(in crate::http) info: KeyInfo,
    /// The key itself. Keep it: it is not shown again.
    #[schema(
        example = "deia_01h455vb4pex5vsknk084sn02q_abcdefghijklmnopqrstuvwxyz234567_89abcdef"
    )]
    pub(in crate::http) key: String,
    /// Whether its user was made with it.
    pub(in crate::http) user_created: bool,
}

/// The session in a browser that one is in.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct SessionView {
    /// The session.
    #[serde(flatten)]
    pub(in crate::http) login: Login,
    /// What one may do in it, in one word.
    pub(in crate::http) role: Role,
    /// After so many seconds without a request it is over.
    pub(in crate::http) idle_timeout_seconds: u64,
    /// What requests that change something have to send in X-CSRF-Token.
    pub(in crate::http) csrf_token: String,
}

/// How many sessions have ended.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EndedSessions {
    /// So many.
    pub(in crate::http) ended: u64,
}

/// How a key is rotated. An empty body takes the defaults.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RotateKeyBody {
    /// How long the old key stays in force beside the new one, in seconds;
    /// `auth.rotation_overlap` when absent. 0: the old one is refused at once.
    #[serde(default)]
    #[schema(example = 3600)]
    pub(in crate::http) overlap_seconds: Option<u64>,
    /// From when on the new key is refused; when absent, it lives as long as the
    /// old one was meant to.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(in crate::http) expires_at: Option<Timestamp>,
}

impl From<RotateKeyBody> for KeyRotation {
    fn from(body: RotateKeyBody) -> Self {
        Self {
            overlap: body.overlap_seconds.map(Duration::from_secs),
            expires_at: body.expires_at,
        }
    }
}

/// A user to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewUserBody {
    /// Names the user: 1 to 128 of `a-z A-Z 0-9 . _ @ -`.
    #[schema(value_type = UserName)]
    pub(in crate::http) id: String,
    /// What any of their keys may do at most.
    pub(in crate::http) role: Role,
    /// Whether they may act.
    #[serde(default = "yes")]
    pub(in crate::http) active: bool,
}

fn yes() -> bool {
    true
}

/// What shall be different about a user; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct UserChangeBody {
    /// What any of their keys may do at most.
    #[serde(default)]
    pub(in crate::http) role: Option<Role>,
    /// Whether they may act.
    #[serde(default)]
    pub(in crate::http) active: Option<bool>,
}

/// What one wants to know whether one may do it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CanIBody {
    /// The permission.
    pub(in crate::http) permission: Permission,
    /// A task that it is about.
    #[serde(default)]
    pub(in crate::http) task: Option<TaskId>,
}

/// Whether one may.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CanIAnswer {
    /// Whether the caller may do that.
    pub(in crate::http) allowed: bool,
    /// Why, or why not.
    #[schema(example = "the role external does not have it")]
    pub(in crate::http) reason: String,
}

/// Who the caller is.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct WhoAmI {
    /// The user that acts.
    user: String,
    /// What they may do, in one word.
    role: Role,
    /// The key; `null` when they came without one of the hive.
    key_id: Option<KeyId>,
    /// What they may do.
    #[schema(example = json!(["task:submit", "task:read", "task:cancel"]))]
    permissions: Vec<&'static str>,
    /// Whether they see only their own tasks.
    sees_only_its_own: bool,
    /// Of the role `bot`: the bot whose tasks they see.
    bot: Option<BotName>,
    /// The address that they come from, as this server sees it.
    #[schema(value_type = Option<String>, example = "192.0.2.7")]
    address: Option<IpAddr>,
    /// What is known of the key.
    key: Option<KeyInfo>,
}

impl WhoAmI {
    pub(in crate::http) fn new(
        who: Principal,
        address: Option<IpAddr>,
        key: Option<KeyInfo>,
    ) -> Self {
        Self {
            user: who.user.to_string(),
            permissions: names(who.permissions),
            sees_only_its_own: who.is_confined(),
            role: who.role,
            key_id: who.key(),
            bot: who.bot,
            address,
            key,
        }
    }
}

/// A role and what it includes.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct RoleInfo {
    /// The role.
    role: Role,
    /// What it may do.
    permissions: Vec<&'static str>,
    /// Whether it sees only its own tasks: those that its user submitted, or of
    /// the role `bot` those that its bot was given.
    sees_only_its_own: bool,
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

fn names(permissions: Permissions) -> Vec<&'static str> {
    permissions.iter().map(Permission::as_str).collect()
}
