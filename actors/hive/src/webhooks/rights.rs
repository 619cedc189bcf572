//! The rights of the owners of endpoints.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use deia_ledger::{CommitNotice, Ledger, StoreError, WebhookOwner};
use deia_model::{Permission, Role, Visibility};

use crate::config::Settings;

/// The roles of the active users, as of the last change.
pub(super) struct OwnerRights {
    ledger: Ledger,
    settings: Settings,
    roles: ArcSwap<HashMap<String, Role>>,
    /// Number of changes of users.
    changes: AtomicU64,
    /// Number of changes that the roles contain.
    read: AtomicU64,
}

impl OwnerRights {
    pub(super) fn new(ledger: Ledger, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            settings,
            roles: ArcSwap::default(),
            changes: AtomicU64::new(1),
            read: AtomicU64::new(0),
        })
    }

    /// Notes that users may have changed: the next look reads them.
    pub(super) fn on_commit(&self, notices: &[CommitNotice]) {
        if notices.contains(&CommitNotice::KeysChanged) {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Returns whether users have changed since they were read.
    pub(super) fn is_stale(&self) -> bool {
        self.read.load(Ordering::Acquire) < self.changes.load(Ordering::Acquire)
    }

    /// Reads the users if they have changed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        if !self.is_stale() {
            return Ok(());
        }
        // A change during the read is read again.
        let changes = self.changes.load(Ordering::Acquire);
        let users = self.ledger.users().await?;
        let active = users.into_iter().filter(|user| user.active);
        let roles = active.map(|user| (user.id, user.role)).collect();
        self.roles.store(Arc::new(roles));
        self.read.fetch_max(changes, Ordering::AcqRel);
        Ok(())
    }

    /// Returns what the owner of an endpoint may see now; `None`: the owner may have no
    /// endpoints any more.
    pub(super) fn visibility(&self, owner: &WebhookOwner) -> Option<Visibility> {
        let now = match &owner.issuer {
            // Only the issuer knows if it would still vouch for the user.
            Some(issuer) => {
                let config = self.settings.get();
                let mut issuers = config.auth.issuers.iter();
                issuers.any(|it| it.name == *issuer).then_some(owner.role)
            }
            None => self.roles.load().get(&owner.user).copied(),
        };
        visibility(owner, now)
    }
}

/// Returns what an owner of that role, now, may see of events.
fn visibility(owner: &WebhookOwner, now: Option<Role>) -> Option<Visibility> {
    let now =
        now.filter(|role| role.may(Permission::WebhookManage) && role.may(Permission::EventRead))?;
    let only_its_own = now.sees_only_its_own() || owner.role.sees_only_its_own();
    Some(match only_its_own {
        true => Visibility::SubmittedBy(owner.user.as_str().into()),
        false => Visibility::All,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_sees_no_more_than_both_roles_allow() {
        let own = || Some(Visibility::SubmittedBy("ada".into()));
        for (registered, now, expected) in [
            (Role::Admin, Some(Role::Admin), Some(Visibility::All)),
            (Role::Operator, Some(Role::External), own()),
            (Role::External, Some(Role::Operator), own()),
            (Role::Operator, Some(Role::Viewer), None),
            (Role::Operator, Some(Role::Bot), None),
            (Role::Operator, None, None),
        ] {
            let owner = WebhookOwner {
                user: "ada".into(),
                role: registered,
                issuer: None,
            };
            assert_eq!(visibility(&owner, now), expected, "{registered} {now:?}");
        }
    }
}
