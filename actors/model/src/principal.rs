//! Who is asking, what they may do, and what they see.

use std::sync::Arc;

use crate::{
    BotName, KeyId, KeyRecord, LoginId, Permission, Permissions, Role, TaskFilter, Timestamp,
};

/// Hash of a key and of the settings of its issuer, on which an accepted token rests.
/// Different keys or settings never share one.
pub type Basis = [u8; 32];

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user that acts: the submitter of tasks and the actor of events.
    pub user: Arc<str>,
    /// Their role, or the narrower one of their key.
    pub role: Role,
    /// What they may do with that key.
    pub permissions: Permissions,
    /// Of the role `bot`: their bot.
    pub bot: Option<BotName>,
    /// What they came with.
    pub via: Via,
}

/// What somebody came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// A key.
    Key(KeyId),
    /// A certificate under TLS, which stands for a bot.
    Certificate,
    /// A token of an issuer.
    Token {
        /// The name of the issuer here.
        issuer: Arc<str>,
        /// From when on it is refused.
        expires_at: Timestamp,
        /// What it rests on.
        basis: Basis,
    },
    /// The cookie of a session in a browser.
    Login {
        /// The session.
        id: LoginId,
        /// The key that it was opened with; `None`: a token.
        key: Option<KeyId>,
    },
}

/// Whose budget of requests is charged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Budget {
    /// Of a key, and of what was made with it.
    Key(KeyId),
    /// Of a user who comes without a key of the hive.
    User(Arc<str>),
}

/// Which tasks somebody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All.
    All,
    /// Those that this user submitted.
    SubmittedBy(Arc<str>),
    /// Those that this bot has, or had last.
    AssignedTo(BotName),
    /// None.
    Nothing,
}

impl Principal {
    /// Who shows a certificate that stands for that bot.
    pub fn of_certificate(bot: BotName) -> Self {
        Self {
            // No user is called so: the colon is not of their names.
            user: format!("bot:{bot}").into(),
            role: Role::Bot,
            permissions: Role::Bot.permissions(),
            bot: Some(bot),
            via: Via::Certificate,
        }
    }

    /// Whether they may do that.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(permission)
    }

    /// The key that they act with, directly or through what was made with it.
    pub fn key(&self) -> Option<KeyId> {
        match self.via {
            Via::Key(key) => Some(key),
            Via::Certificate | Via::Token { .. } => None,
            Via::Login { key, .. } => key,
        }
    }

    /// Whose budget of requests is charged: that of a key, or of a user without one.
    pub fn budget(&self) -> Budget {
        match self.key() {
            Some(key) => Budget::Key(key),
            None => Budget::User(self.user.clone()),
        }
    }

    /// Which tasks they see.
    pub fn sight(&self) -> Sight {
        match (self.role, &self.bot) {
            (Role::External, _) => Sight::SubmittedBy(self.user.clone()),
            (Role::Bot, Some(bot)) => Sight::AssignedTo(bot.clone()),
            (Role::Bot, None) => Sight::Nothing,
            (Role::Admin | Role::Operator | Role::Viewer, _) => Sight::All,
        }
    }

    /// Whether there are tasks that they do not see.
    pub fn is_confined(&self) -> bool {
        self.role.sees_only_its_own()
    }

    /// What of these permissions they have not themselves, and so may not give.
    pub fn may_not_give(&self, permissions: Permissions) -> Option<Permission> {
        permissions.without(self.permissions).iter().next()
    }
}

impl Sight {
    /// Whether a task that `submitter` submitted and `bot` has is seen.
    pub fn has(&self, submitter: &str, bot: Option<&BotName>) -> bool {
        match self {
            Self::All => true,
            Self::SubmittedBy(user) => **user == *submitter,
            Self::AssignedTo(own) => bot == Some(own),
            Self::Nothing => false,
        }
    }

    /// Narrows a filter to what is seen; `false`: that is nothing.
    pub fn confine(&self, filter: &mut TaskFilter) -> bool {
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

/// What of its role a key with these scopes has.
pub fn within_scopes(role: Role, scopes: Option<&[Permission]>) -> Permissions {
    let of_role = role.permissions();
    match scopes {
        None => of_role,
        Some(scopes) => of_role.and(scopes.iter().copied().collect()),
    }
}

/// The role and the permissions that whoever comes with this key has: those of
/// the key, as far as its user has them still. When the user's role was changed
/// to one that has nothing to do with the key's, nothing is left.
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
    fn a_key_has_what_its_user_and_its_scopes_leave_of_its_role() {
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
            // A viewer may not submit, an external user sees only its own.
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
    fn what_is_seen() {
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
                via: Via::Key(KeyId::new()),
            };
            assert_eq!(who.sight().has(submitter, assigned), expected, "{who:?}");
        }
    }

    #[test]
    fn a_filter_is_narrowed_to_what_is_seen() {
        let bot = |name: &str| name.parse::<BotName>().unwrap();
        let filter = |submitter: Option<&str>, on: Option<&str>| TaskFilter {
            submitter: submitter.map(String::from),
            bot: on.map(bot),
            ..TaskFilter::default()
        };
        let (ada, b1) = (
            Sight::SubmittedBy("ada".into()),
            Sight::AssignedTo(bot("b-1")),
        );
        for (sight, asked, expected) in [
            (
                &Sight::All,
                filter(Some("bob"), None),
                Some(filter(Some("bob"), None)),
            ),
            (&Sight::Nothing, filter(None, None), None),
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
            let some = sight.confine(&mut narrowed);
            assert_eq!(some.then_some(narrowed), expected, "{sight:?} of {asked:?}");
        }
    }
}
