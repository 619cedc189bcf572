//! Authenticated callers: their permissions and their visibility of tasks.

use std::sync::Arc;

use crate::{
    BotName, KeyId, KeyRecord, Permission, Permissions, Role, TaskFilter, Timestamp, WebSessionId,
};

/// Hash of a signing key and of the settings of its issuer: the trust anchor of an
/// accepted token. Different keys or settings never share one.
pub type TrustAnchor = [u8; 32];

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user that acts: the submitter of tasks and the actor of events.
    pub user: Arc<str>,
    /// The role of the user, or the narrower one of the key.
    pub role: Role,
    /// The permissions of the caller, given its credential.
    pub permissions: Permissions,
    /// The bot of the caller, if its role is `bot`.
    pub bot: Option<BotName>,
    /// The credential that authenticated the caller.
    pub credential: Credential,
}

/// The credential of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// An API key.
    Key(KeyId),
    /// A TLS client certificate, which stands for a bot.
    Certificate,
    /// A token of an issuer.
    Token {
        /// The configured name of the issuer.
        issuer: Arc<str>,
        /// Time from which the token is refused.
        expires_at: Timestamp,
        /// The trust anchor of the token.
        trust_anchor: TrustAnchor,
    },
    /// The cookie of a web session.
    WebSession {
        /// The id of the session.
        id: WebSessionId,
        /// The key that opened the session; `None`: a token did.
        key: Option<KeyId>,
    },
}

/// The rate-limit budget that a request is charged to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Budget {
    /// The budget of a key, shared with the sessions opened by it.
    Key(KeyId),
    /// The budget of a user without a key of the hive.
    User(Arc<str>),
}

/// The tasks that a caller may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// All tasks.
    All,
    /// The tasks that this user submitted.
    SubmittedBy(Arc<str>),
    /// The tasks that this bot runs, or ran last.
    AssignedTo(BotName),
    /// No tasks.
    Nothing,
}

impl Principal {
    /// Returns the principal of a client certificate that stands for `bot`.
    pub fn of_certificate(bot: BotName) -> Self {
        Self {
            // No user has such a name: names of users contain no colon.
            user: format!("bot:{bot}").into(),
            role: Role::Bot,
            permissions: Role::Bot.permissions(),
            bot: Some(bot),
            credential: Credential::Certificate,
        }
    }

    /// Returns whether the caller has `permission`.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(permission)
    }

    /// Returns the key that the caller used, directly or to open the session.
    pub fn key(&self) -> Option<KeyId> {
        match self.credential {
            Credential::Key(key) => Some(key),
            Credential::Certificate | Credential::Token { .. } => None,
            Credential::WebSession { key, .. } => key,
        }
    }

    /// Returns the budget to charge: that of the key, or of the user if there is no
    /// key.
    pub fn budget(&self) -> Budget {
        match self.key() {
            Some(key) => Budget::Key(key),
            None => Budget::User(self.user.clone()),
        }
    }

    /// Returns the tasks that the caller may see.
    pub fn visibility(&self) -> Visibility {
        match (self.role, &self.bot) {
            (Role::External, _) => Visibility::SubmittedBy(self.user.clone()),
            (Role::Bot, Some(bot)) => Visibility::AssignedTo(bot.clone()),
            (Role::Bot, None) => Visibility::Nothing,
            (Role::Admin | Role::Operator | Role::Viewer, _) => Visibility::All,
        }
    }

    /// Returns whether there are tasks that the caller may not see.
    pub fn is_restricted(&self) -> bool {
        self.role.sees_only_its_own()
    }

    /// Returns the part of `permissions` that the caller does not have, and so may not
    /// give.
    pub fn may_not_give(&self, permissions: Permissions) -> Option<Permission> {
        permissions.without(self.permissions).iter().next()
    }
}

impl Visibility {
    /// Returns whether a task of `submitter` that `bot` runs is visible.
    pub fn has(&self, submitter: &str, bot: Option<&BotName>) -> bool {
        match self {
            Self::All => true,
            Self::SubmittedBy(user) => **user == *submitter,
            Self::AssignedTo(own) => bot == Some(own),
            Self::Nothing => false,
        }
    }

    /// Restricts a filter to the visible tasks; `false` if there are none.
    pub fn restrict(&self, filter: &mut TaskFilter) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::SubmittedBy(user) => {
                let asked = filter.submitter.replace(user.to_string());
                asked.is_none_or(|asked| *asked == **user)
            }
            Self::AssignedTo(bot) => {
                let asked = filter.bot.replace(bot.clone());
                asked.is_none_or(|asked| asked == *bot)
            }
        }
    }
}

/// Returns the permissions left after applying `scopes` to the role.
pub fn within_scopes(role: Role, scopes: Option<&[Permission]>) -> Permissions {
    let of_role = role.permissions();
    match scopes {
        None => of_role,
        Some(scopes) => of_role.and(scopes.iter().copied().collect()),
    }
}

/// Returns the role and the permissions that a key gives: those of the key, restricted
/// to what its user still has. If the current role of the user has nothing in common
/// with that of the key, nothing is left.
pub fn rights(key: &KeyRecord) -> (Role, Permissions) {
    let (own, most) = (key.info.role, key.owner.role);
    let scoped = within_scopes(own, key.info.scopes.as_deref());
    if most.covers(own) {
        (own, scoped)
    } else if own.covers(most) {
        (most, scoped.and(most.permissions()))
    } else {
        (most, Permissions::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ApiKey, KeyGrant};

    fn key(role: Role, user_role: Role, scopes: Option<Vec<Permission>>) -> KeyRecord {
        let grant = KeyGrant {
            scopes,
            ..KeyGrant::new("ada", role)
        };
        let mut key = ApiKey::generate().unwrap().record(grant);
        key.owner.role = user_role;
        key
    }

    #[test]
    fn rights_of_a_key_are_limited_by_its_user_and_its_scopes() {
        use Permission::{AdminKeys, TaskRead, TaskSubmit};
        use Role::{Admin, Bot, External, Operator, Viewer};
        let all_of = |role: Role| role.permissions();
        let of = |some: &[Permission]| some.iter().copied().collect::<Permissions>();
        for (role, user, scopes, expected) in [
            (Admin, Admin, None, (Admin, all_of(Admin))),
            (Viewer, Admin, None, (Viewer, all_of(Viewer))),
            (Admin, Operator, None, (Operator, all_of(Operator))),
            (Operator, Viewer, None, (Viewer, all_of(Viewer))),
            (Operator, External, None, (External, all_of(External))),
            // A viewer may not submit, an external user sees only its own tasks.
            (Viewer, External, None, (External, of(&[]))),
            (Bot, External, None, (External, of(&[]))),
            (External, Viewer, None, (Viewer, of(&[]))),
            (Bot, Bot, None, (Bot, all_of(Bot))),
            (
                Operator,
                Operator,
                Some(vec![TaskRead]),
                (Operator, of(&[TaskRead])),
            ),
            (Operator, Operator, Some(vec![]), (Operator, of(&[]))),
            (
                Operator,
                Viewer,
                Some(vec![TaskRead, TaskSubmit]),
                (Viewer, of(&[TaskRead])),
            ),
            (
                Operator,
                Operator,
                Some(vec![AdminKeys]),
                (Operator, of(&[])),
            ),
        ] {
            let key = key(role, user, scopes.clone());
            assert_eq!(rights(&key), expected, "{role} of {user}, {scopes:?}");
        }
    }

    #[test]
    fn each_role_sees_its_tasks() {
        let (mine, other): (BotName, BotName) = ("b-1".parse().unwrap(), "b-2".parse().unwrap());
        for (role, bot, submitter, assigned, expected) in [
            (Role::Viewer, None, "bob", None, true),
            (Role::External, None, "ada", None, true),
            (Role::External, None, "bob", None, false),
            (Role::External, Some(&mine), "bob", Some(&mine), false),
            (Role::Bot, Some(&mine), "bob", Some(&mine), true),
            (Role::Bot, Some(&mine), "ada", Some(&other), false),
            (Role::Bot, Some(&mine), "ada", None, false),
            (Role::Bot, None, "ada", Some(&mine), false),
            (Role::Bot, None, "ada", None, false),
        ] {
            let who = Principal {
                user: "ada".into(),
                role,
                permissions: role.permissions(),
                bot: bot.cloned(),
                credential: Credential::Key(KeyId::new()),
            };
            assert_eq!(
                who.visibility().has(submitter, assigned),
                expected,
                "{who:?}"
            );
        }
    }

    #[test]
    fn filters_are_restricted_to_visible_tasks() {
        let bot = |name: &str| name.parse::<BotName>().unwrap();
        let filter = |submitter: Option<&str>, on: Option<&str>| TaskFilter {
            submitter: submitter.map(String::from),
            bot: on.map(bot),
            ..TaskFilter::default()
        };
        let (ada, b1) = (
            Visibility::SubmittedBy("ada".into()),
            Visibility::AssignedTo(bot("b-1")),
        );
        for (visibility, asked, expected) in [
            (
                &Visibility::All,
                filter(Some("bob"), None),
                Some(filter(Some("bob"), None)),
            ),
            (&Visibility::Nothing, filter(None, None), None),
            (&ada, filter(None, None), Some(filter(Some("ada"), None))),
            (
                &ada,
                filter(Some("ada"), Some("b-2")),
                Some(filter(Some("ada"), Some("b-2"))),
            ),
            (&ada, filter(Some("bob"), None), None),
            (
                &b1,
                filter(Some("bob"), None),
                Some(filter(Some("bob"), Some("b-1"))),
            ),
            (
                &b1,
                filter(None, Some("b-1")),
                Some(filter(None, Some("b-1"))),
            ),
            (&b1, filter(None, Some("b-2")), None),
        ] {
            let mut narrowed = asked.clone();
            let some = visibility.restrict(&mut narrowed);
            assert_eq!(
                some.then_some(narrowed),
                expected,
                "{visibility:?} of {asked:?}"
            );
        }
    }
}
