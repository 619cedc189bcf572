//! Keys.

use std::time::Duration;

use super::{Hive, NewKey, tasks::unexpected, users::limits};
use crate::{
    HiveError,
    auth::{ApiKey, Permission, Principal, Role, within_scopes},
    ledger::{AccessCommand, Command, Dedup, Outcome, Refusal},
    model::{AddressRange, KeyGrant, KeyId, KeyInfo, Timestamp, User, Violation},
};

/// Addresses and ranges that a key may be held to.
const ALLOW_IPS_MAX: usize = 64;
const NAME_MAX: usize = 128;

/// How a key is rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyRotation {
    /// How long both keys are in force; `None`: `auth.rotation_overlap`.
    pub overlap: Option<Duration>,
    /// From when on the new key is refused; `None`: it lives as long as the old
    /// one was meant to.
    pub expires_at: Option<Timestamp>,
}

impl Hive {
    /// Makes a key. Its text is in the answer and nowhere else. A user who is
    /// not there is made, if the caller may make users.
    ///
    /// # Errors
    /// [`HiveError::Invalid`] with a pointer to each fault; [`HiveError::MayNotGive`]
    /// when the key would be able to do what the caller's is not; that there are
    /// as many as may be, or that the same request made its key already.
    pub async fn create_key(
        &self,
        who: &Principal,
        mut grant: KeyGrant,
        dedup: Option<Dedup>,
    ) -> Result<NewKey, HiveError> {
        if grant.role == Role::Bot && grant.bot.is_none() {
            grant.bot = grant.user.parse().ok();
        }
        let mut violations = violations(&grant, Timestamp::now());
        if let Some(own) = who.key().and_then(|own| self.known_key(own)) {
            violations.extend(beyond(&own, grant.expires_at, &grant.allow_ips));
        }
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let may_make_user =
            who.may(Permission::AdminUsers) && who.may_not_give(grant.role.permissions()).is_none();
        let permissions = within_scopes(grant.role, grant.scopes.as_deref());
        if let Some(lacking) = who.may_not_give(permissions) {
            return Err(HiveError::MayNotGive(lacking));
        }
        let key = ApiKey::generate()?;
        let command = AccessCommand::AddKey {
            key: key.record(grant),
            new_user: may_make_user,
            dedup,
            actor: who.user.to_string(),
            limits: limits(self.config()),
        };
        self.new_key(&key, command).await
    }

    /// Puts a new key in the place of one in force, which goes on for a while.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], [`HiveError::Invalid`]; that the key is not in
    /// force, or being rotated already; [`HiveError::MayNotGive`].
    pub async fn rotate_key(
        &self,
        who: &Principal,
        id: KeyId,
        rotation: KeyRotation,
        dedup: Option<Dedup>,
    ) -> Result<NewKey, HiveError> {
        let settings = &self.config().auth;
        let overlap = rotation.overlap.unwrap_or(settings.rotation_overlap);
        let violations = rotation_violations(
            overlap,
            settings.max_rotation_overlap,
            rotation.expires_at,
            Timestamp::now(),
        );
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let all = self.inner.ledger.keys().await?;
        let old = all.iter().find(|key| key.info.id == id);
        let old = &old.ok_or(Refusal::NoSuchKey(id))?.info;
        // What it may be good for again, should its user get back another role.
        let permissions = within_scopes(old.role, old.scopes.as_deref());
        if let Some(lacking) = who.may_not_give(permissions) {
            return Err(HiveError::MayNotGive(lacking));
        }
        let key = ApiKey::generate()?;
        let command = AccessCommand::RotateKey {
            old: id,
            new: key.id(),
            secret_sha256: key.secret_sha256(),
            expires_at: rotation.expires_at,
            overlap,
            dedup,
            actor: who.user.to_string(),
            limits: limits(self.config()),
        };
        self.new_key(&key, command).await
    }

    async fn new_key(&self, key: &ApiKey, command: AccessCommand) -> Result<NewKey, HiveError> {
        Ok(NewKey {
            info: self.change_key(command).await?,
            text: key.reveal(),
        })
    }

    /// All keys, oldest first.
    ///
    /// # Errors
    /// What keeps the store from reading.
    pub async fn keys(&self) -> Result<Vec<KeyInfo>, HiveError> {
        let keys = self.inner.ledger.keys().await?;
        let known = |mut info: KeyInfo| {
            info.last_used_at = self.inner.keyring.last_used(info.id).or(info.last_used_at);
            info
        };
        Ok(keys.into_iter().map(|key| known(key.info)).collect())
    }

    /// What this process knows of a key, without asking the store.
    pub fn known_key(&self, id: KeyId) -> Option<KeyInfo> {
        self.inner.keyring.info(id)
    }

    /// One key.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn key(&self, id: KeyId) -> Result<KeyInfo, HiveError> {
        let keys = self.keys().await?;
        let found = keys.into_iter().find(|key| key.id == id);
        Ok(found.ok_or(Refusal::NoSuchKey(id))?)
    }

    /// Revokes a key; it is refused from the next request on.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], or that it is the last admin key in force.
    pub async fn revoke_key(&self, who: &Principal, id: KeyId) -> Result<KeyInfo, HiveError> {
        let command = AccessCommand::RevokeKey {
            key: id,
            actor: who.user.to_string(),
        };
        self.change_key(command).await
    }

    async fn change_key(&self, command: AccessCommand) -> Result<KeyInfo, HiveError> {
        match self.change_access(command).await? {
            Outcome::Key(info) => Ok(*info),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes users or keys; it holds from the next request on.
    pub(super) async fn change_access(&self, command: AccessCommand) -> Result<Outcome, HiveError> {
        let outcome = self.inner.ledger.apply(Command::Access(command)).await?;
        self.inner.keyring.reload(&self.inner.ledger).await?;
        // Sessions go with their keys; nothing is read when none did.
        self.inner.logins.reload(&self.inner.ledger).await?;
        Ok(outcome)
    }
}

/// What of a new key goes beyond the one that makes it: whoever finds that one
/// shall not get more from it than it was made for. (Rotation is how it is renewed.)
fn beyond(
    own: &KeyInfo,
    expires_at: Option<Timestamp>,
    allow_ips: &[AddressRange],
) -> Vec<Violation> {
    let mut found = Vec::new();
    if let Some(at) = own.expires_at
        && expires_at.is_none_or(|new| new > at)
    {
        found.push(Violation {
            pointer: "/expires_at".into(),
            detail: format!("must be at most {at}, when the key that makes it expires"),
        });
    }
    let within = |new: &AddressRange| own.allow_ips.iter().any(|range| range.covers(new));
    let anywhere = allow_ips.is_empty() || !allow_ips.iter().all(within);
    if !own.allow_ips.is_empty() && anywhere {
        found.push(Violation {
            pointer: "/allow_ips".into(),
            detail: "must be within those of the key that makes it".into(),
        });
    }
    found
}

fn violations(grant: &KeyGrant, now: Timestamp) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut refuse = |pointer: String, detail: String| found.push(Violation { pointer, detail });
    if let Some(fault) = User::name_fault(&grant.user) {
        refuse("/user".into(), fault.into());
    }
    for (pointer, text) in [("/user", &grant.user), ("/name", &grant.name)] {
        if ApiKey::is_within(text) {
            refuse(pointer.into(), "has a key in it".into());
        }
    }
    if grant.name.len() > NAME_MAX || grant.name.chars().any(char::is_control) {
        let detail = format!("must be at most {NAME_MAX} bytes without control characters");
        refuse("/name".into(), detail);
    }
    if grant.expires_at.is_some_and(|at| at <= now) {
        refuse("/expires_at".into(), "is in the past".into());
    }
    if grant.allow_ips.len() > ALLOW_IPS_MAX {
        let detail = format!(
            "has {} places; allowed are {ALLOW_IPS_MAX}",
            grant.allow_ips.len()
        );
        refuse("/allow_ips".into(), detail);
    }
    if grant.scopes.as_ref().is_some_and(Vec::is_empty) {
        let detail = "must name a permission; leave it out for all of the role";
        refuse("/scopes".into(), detail.into());
    }
    let of_role = grant.role.permissions();
    for (i, scope) in grant.scopes.iter().flatten().enumerate() {
        if !of_role.contains(*scope) {
            let detail = format!("is not among the permissions of the role {}", grant.role);
            refuse(format!("/scopes/{i}"), detail);
        }
    }
    match (grant.role, &grant.bot) {
        (Role::Bot, None) => refuse(
            "/bot".into(),
            "must name the bot whose tasks a key of the role bot works on".into(),
        ),
        (Role::Bot, Some(_)) | (_, None) => {}
        (role, Some(_)) => refuse(
            "/bot".into(),
            format!("is for keys of the role bot, and this one has the role {role}"),
        ),
    }
    found
}

fn rotation_violations(
    overlap: Duration,
    most: Duration,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Vec<Violation> {
    let mut found = Vec::new();
    if overlap > most {
        let (is, most) = (overlap.as_secs(), most.as_secs());
        found.push(Violation {
            pointer: "/overlap_seconds".into(),
            detail: format!("is {is}; allowed are 0 to {most} (auth.max_rotation_overlap)"),
        });
    }
    if expires_at.is_some_and(|at| at <= now) {
        found.push(Violation {
            pointer: "/expires_at".into(),
            detail: "is in the past".into(),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BotName;

    fn pointers(found: &[Violation]) -> Vec<&str> {
        found.iter().map(|v| v.pointer.as_str()).collect()
    }

    #[test]
    fn what_a_key_is_for_is_checked() {
        let at = Timestamp::from_millis;
        let grant = |change: fn(&mut KeyGrant)| {
            let mut grant = KeyGrant::new("ada", Role::External);
            change(&mut grant);
            grant
        };
        let bot = || "upper-1".parse::<BotName>().ok();
        for (grant, expected) in [
            (grant(|_| {}), vec![]),
            (
                grant(|g| g.expires_at = Some(Timestamp::from_millis(3))),
                vec![],
            ),
            (
                grant(|g| g.expires_at = Some(Timestamp::from_millis(2))),
                vec!["/expires_at"],
            ),
            (grant(|g| g.user = String::new()), vec!["/user"]),
            (grant(|g| g.user = "a b".into()), vec!["/user"]),
            (grant(|g| g.name = "nightly builds, ü".into()), vec![]),
            (grant(|g| g.name = "a\nb".into()), vec!["/name"]),
            (grant(|g| g.name = "x".repeat(129)), vec!["/name"]),
            (
                grant(|g| g.scopes = Some(vec![Permission::TaskRead])),
                vec![],
            ),
            (
                grant(|g| g.scopes = Some(vec![Permission::TaskRead, Permission::AdminKeys])),
                vec!["/scopes/1"],
            ),
            (
                grant(|g| g.allow_ips = vec!["::/0".parse().unwrap(); 65]),
                vec!["/allow_ips"],
            ),
            (grant(|g| g.role = Role::Bot), vec!["/bot"]),
            (
                KeyGrant {
                    bot: bot(),
                    ..KeyGrant::new("ada", Role::Bot)
                },
                vec![],
            ),
            (
                KeyGrant {
                    bot: bot(),
                    ..KeyGrant::new("ada", Role::Viewer)
                },
                vec!["/bot"],
            ),
        ] {
            assert_eq!(pointers(&violations(&grant, at(2))), expected, "{grant:?}");
        }
    }

    #[test]
    fn a_key_makes_none_that_goes_beyond_it() {
        let at = Timestamp::from_millis;
        let of = |expires_at, ranges: &[&str]| KeyGrant {
            expires_at,
            allow_ips: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            ..KeyGrant::new("ada", Role::Admin)
        };
        let bound = of(Some(at(9)), &["10.0.0.0/8", "2001:db8::/32"]);
        for (own, new, expected) in [
            (&of(None, &[]), of(None, &[]), vec![]),
            (&bound, of(Some(at(9)), &["10.1.0.0/16"]), vec![]),
            (&bound, of(None, &["10.1.0.0/16"]), vec!["/expires_at"]),
            (
                &bound,
                of(Some(at(10)), &[]),
                vec!["/expires_at", "/allow_ips"],
            ),
            (&bound, of(Some(at(8)), &["10.0.0.0/7"]), vec!["/allow_ips"]),
            (
                &bound,
                of(Some(at(8)), &["10.0.0.1", "192.0.2.1"]),
                vec!["/allow_ips"],
            ),
        ] {
            let own = ApiKey::generate().unwrap().record(own.clone()).info;
            let found = beyond(&own, new.expires_at, &new.allow_ips);
            assert_eq!(pointers(&found), expected, "{new:?}");
        }
    }

    #[test]
    fn no_key_is_a_name() {
        let key = ApiKey::generate().unwrap().reveal();
        let grant = KeyGrant {
            name: format!("the key {key}"),
            ..KeyGrant::new(key, Role::External)
        };
        let found = violations(&grant, Timestamp::now());
        assert_eq!(pointers(&found), ["/user", "/name"]);
    }

    #[test]
    fn rotations_are_checked() {
        let (hour, at) = (Duration::from_secs(3_600), Timestamp::from_millis);
        for (overlap, expires_at, expected) in [
            (Duration::ZERO, None, vec![]),
            (hour, Some(at(3)), vec![]),
            (hour * 2, None, vec!["/overlap_seconds"]),
            (hour, Some(at(2)), vec!["/expires_at"]),
        ] {
            let found = rotation_violations(overlap, hour, expires_at, at(2));
            assert_eq!(pointers(&found), expected);
        }
    }
}
