//! Roles and their permissions.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Permissions;

macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal: $($role:ident)*;)*) => {
        /// A permission to do one kind of thing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Permission {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Permission {
            /// Every permission.
            pub const ALL: &'static [Permission] = &[$(Permission::$variant,)*];

            /// Returns the name.
            pub fn as_str(self) -> &'static str {
                match self { $(Permission::$variant => $name,)* }
            }
        }

        impl FromStr for Permission {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($name => Ok(Permission::$variant),)*
                    _ => Err("expected a permission such as task:read; `deia roles` and GET /api/v1/roles list them"),
                }
            }
        }

        impl Role {
            /// Returns whether this role includes `permission`. Admins have all
            /// permissions.
            pub fn may(self, permission: Permission) -> bool {
                match permission {
                    $(Permission::$variant => matches!(self, Role::Admin $(| Role::$role)*),)*
                }
            }
        }
    };
}

permissions! {
    /// Submit tasks.
    TaskSubmit = "task:submit": Operator External;
    /// Read tasks and results (external: its own tasks; bot: the tasks of its bot).
    TaskRead = "task:read": Operator Viewer External Bot;
    /// Cancel tasks (external: its own tasks).
    TaskCancel = "task:cancel": Operator External;
    /// Erase the content of finished tasks (external: its own tasks).
    TaskErase = "task:erase": Operator External;
    /// Lease tasks and report about them (bot: those of its bot).
    TaskWork = "task:work": Bot;
    /// Read the event log (external and bot: events of the tasks that they see).
    EventRead = "event:read": Operator Viewer External Bot;
    /// List bots.
    BotList = "bot:list": Operator Viewer;
    /// Read a bot.
    BotRead = "bot:read": Operator Viewer;
    /// Create and launch bots.
    BotLaunch = "bot:launch": Operator;
    /// Stop or drain a bot.
    BotStop = "bot:stop": Operator;
    /// Delete a bot, or stop it without draining.
    BotKill = "bot:kill": Operator;
    /// Send lines of text to the program of a bot that runs.
    BotAttach = "bot:attach": Operator;
    /// Start, read and end sessions (external: its own sessions).
    SessionManage = "session:manage": Operator External;
    /// Send messages to bots (bot: as itself), and take them on behalf of a bot.
    MessageSend = "message:send": Operator Bot;
    /// Read messages between bots (bot: its own messages).
    MessageRead = "message:read": Operator Viewer Bot;
    /// Read alerts.
    AlertRead = "alert:read": Operator Viewer;
    /// Acknowledge alerts.
    AlertAck = "alert:ack": Operator;
    /// Read endpoints and their deliveries (external: its own endpoints).
    WebhookRead = "webhook:read": Operator Viewer External;
    /// Register, change and delete endpoints (external: its own endpoints).
    WebhookManage = "webhook:manage": Operator External;
    /// Query the audit trail, and read its entries, proofs and checkpoints.
    AuditRead = "audit:read": Operator Viewer;
    /// Record events of other systems in the audit trail.
    AuditAppend = "audit:append": Operator External Bot;
    /// Export the audit trail.
    AuditExport = "audit:export": Operator;
    /// Read the state of the archive, and its restore points.
    RecoveryRead = "recovery:read": Operator Viewer;
    /// Make backups, verify the archive, and restore from it.
    RecoveryRun = "recovery:run": ;
    /// Set the level at which features are shed: for a drill or for maintenance.
    ModeSet = "mode:set": Operator;
    /// Read the configuration.
    SysConfigRead = "sys:config:read": Operator Viewer;
    /// Change the configuration.
    SysConfigWrite = "sys:config:write": ;
    /// Read logs.
    SysLogsRead = "sys:logs:read": Operator;
    /// Read health, metrics and the supervision tree.
    SysHealth = "sys:health": Operator Viewer;
    /// Create, change, list and delete users.
    AdminUsers = "admin:users": ;
    /// Create, list, rotate and revoke keys.
    AdminKeys = "admin:keys": ;
    /// Restart the server.
    AdminRestart = "admin:restart": ;
}

/// A role: a named set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Has all permissions.
    Admin,
    /// Runs bots and the queue.
    Operator,
    /// Reads only.
    Viewer,
    /// Submits and reads its own tasks.
    External,
    /// Runs the tasks of its bot.
    Bot,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] = [
        Role::Admin,
        Role::Operator,
        Role::Viewer,
        Role::External,
        Role::Bot,
    ];

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::External => "external",
            Self::Bot => "bot",
        }
    }

    /// Returns whether this role sees only its own tasks: those that its user
    /// submitted, or that its bot was given.
    pub fn sees_only_its_own(self) -> bool {
        matches!(self, Self::External | Self::Bot)
    }

    /// Returns the permissions of this role.
    pub fn permissions(self) -> Permissions {
        let all = Permission::ALL.iter().copied();
        all.filter(|permission| self.may(*permission)).collect()
    }

    /// Returns whether a caller of this role may grant `other`: its permissions and its
    /// visibility do not exceed those of this role.
    pub fn covers(self, other: Role) -> bool {
        let sees = self == other || !self.sees_only_its_own();
        sees && other.permissions().is_within(self.permissions())
    }
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or("expected admin, operator, viewer, external or bot")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for permission in Permission::ALL {
            assert_eq!(permission.as_str().parse(), Ok(*permission));
            let json = serde_json::to_value(permission).unwrap();
            assert_eq!(json, permission.as_str());
        }
        assert!("task:everything".parse::<Permission>().is_err());
    }

    #[test]
    fn roles_cover_roles_with_fewer_rights() {
        use Role::{Admin, Bot, External, Operator, Viewer};
        for (role, covered) in [
            (Admin, &[Admin, Operator, Viewer, External, Bot][..]),
            (Operator, &[Operator, Viewer, External]),
            (Viewer, &[Viewer]),
            (External, &[External]),
            (Bot, &[Bot]),
        ] {
            for other in Role::ALL {
                assert_eq!(
                    role.covers(other),
                    covered.contains(&other),
                    "{role} {other}"
                );
            }
        }
    }

    #[test]
    fn the_table_of_roles() {
        for permission in Permission::ALL {
            assert!(Role::Admin.may(*permission), "{permission:?}");
        }
        for (role, permission, expected) in [
            (Role::Operator, Permission::TaskSubmit, true),
            (Role::Operator, Permission::AdminKeys, false),
            (Role::Viewer, Permission::TaskRead, true),
            (Role::Viewer, Permission::TaskSubmit, false),
            (Role::External, Permission::TaskSubmit, true),
            (Role::External, Permission::BotList, false),
            (Role::Bot, Permission::TaskSubmit, false),
            (Role::Bot, Permission::BotLaunch, false),
            (Role::Viewer, Permission::AuditRead, true),
            (Role::Viewer, Permission::AuditExport, false),
            (Role::External, Permission::AuditRead, false),
            (Role::External, Permission::AuditAppend, true),
        ] {
            assert_eq!(
                role.may(permission),
                expected,
                "{role} {}",
                permission.as_str()
            );
        }
    }
}
