//! Users and keys, and their visibility of tasks.

mod names;

use deia_model::{
    ApiKey, KeyGrant, KeyId, KeyInfo, KeyRecord, Permission, Role, Timestamp, User, UserChange,
};
pub(crate) use names::{a_repeated_request_makes_one_user, a_reused_name_inherits_nothing};

use super::*;
use crate::{
    AccessLimits, AddKey, AddUser, AddedKey, Apply, ChangeUser, DeleteUser, Idempotency,
    LedgerCommand, NewUser, NoteKeyUses, RecoverAdmin, RevokeKey, RotateKey,
};

const LIMITS: AccessLimits = AccessLimits {
    max_users: 10,
    max_keys: 10,
};

const ADA: &str = "ada";

pub(super) fn record(grant: KeyGrant) -> KeyRecord {
    ApiKey::generate().unwrap().record(grant)
}

pub(super) fn add(key: KeyRecord, new_user: bool) -> AddKey {
    AddKey {
        key,
        new_user,
        idempotency: None,
        actor: "deia".into(),
        limits: LIMITS,
    }
}

/// A reply that contains a `T`.
pub(super) trait Of<T> {
    /// Returns the content.
    fn told(self) -> T;
}

impl<T> Of<T> for T {
    fn told(self) -> T {
        self
    }
}

impl Of<KeyInfo> for AddedKey {
    fn told(self) -> KeyInfo {
        self.info
    }
}

impl Of<User> for NewUser {
    fn told(self) -> User {
        self.user
    }
}

pub(super) async fn key_of(
    ledger: &Ledger,
    command: impl LedgerCommand<Reply: Of<KeyInfo>>,
) -> KeyInfo {
    ledger.apply(command).await.unwrap().told()
}

pub(super) async fn user_of(ledger: &Ledger, command: impl LedgerCommand<Reply: Of<User>>) -> User {
    ledger.apply(command).await.unwrap().told()
}

async fn add_key(ledger: &Ledger, role: Role, expires_at: Option<Timestamp>) -> KeyInfo {
    let grant = KeyGrant {
        expires_at,
        ..KeyGrant::new(ADA, role)
    };
    key_of(ledger, add(record(grant), true)).await
}

pub(super) fn revoke(key: KeyId) -> RevokeKey {
    RevokeKey {
        key,
        actor: "deia".into(),
    }
}

pub(super) fn rotate(old: KeyId, expires_at: Option<Timestamp>, overlap: Duration) -> RotateKey {
    let key = ApiKey::generate().unwrap();
    RotateKey {
        old,
        new: key.id(),
        secret_sha256: key.secret_sha256(),
        expires_at,
        overlap,
        idempotency: None,
        actor: "deia".into(),
        limits: LIMITS,
    }
}

pub(super) fn add_user(name: &str, role: Role, idempotency: Option<Idempotency>) -> AddUser {
    AddUser {
        name: name.into(),
        role,
        active: true,
        idempotency,
        actor: "deia".into(),
        limits: LIMITS,
    }
}

fn change(name: &str, change: UserChange, if_version: Option<u64>) -> ChangeUser {
    ChangeUser {
        name: name.into(),
        change,
        if_version,
        actor: "deia".into(),
    }
}

fn to_role(role: Role) -> UserChange {
    UserChange {
        role: Some(role),
        ..UserChange::default()
    }
}

fn to_active(active: bool) -> UserChange {
    UserChange {
        active: Some(active),
        ..UserChange::default()
    }
}

pub(super) fn delete(name: &str, if_version: Option<u64>) -> DeleteUser {
    DeleteUser {
        name: name.into(),
        if_version,
        actor: "deia".into(),
    }
}

pub(crate) async fn keys_are_added_and_revoked(ledger: Ledger) {
    let notices = notices_of(&ledger);
    let info = add_key(&ledger, Role::External, Some(Timestamp::from_millis(5))).await;
    assert_eq!(ledger.keys().await.unwrap()[0].info, info);
    let revoked = key_of(&ledger, revoke(info.id)).await;
    assert!(revoked.revoked_at.is_some());
    let again = key_of(&ledger, revoke(info.id)).await;
    assert_eq!(again, revoked, "a second time changes nothing");
    let changes = |notice: &&CommitNotice| **notice == CommitNotice::KeysChanged;
    assert_eq!(notices.lock().unwrap().iter().filter(changes).count(), 2);
    let unknown = KeyId::new();
    let rejection = refused(&ledger, revoke(unknown)).await;
    assert_eq!(rejection, Rejection::NoSuchKey(unknown));
    assert_eq!(
        actions(&ledger).await,
        [Action::UserCreated, Action::KeyCreated, Action::KeyRevoked]
    );
}

pub(crate) async fn a_key_needs_a_user_with_its_role(ledger: Ledger) {
    let fault = |rejection: Rejection| match rejection {
        Rejection::Invalid(found) => found[0].pointer.clone(),
        other => panic!("{other:?}"),
    };
    let viewer = || record(KeyGrant::new(ADA, Role::Viewer));
    assert_eq!(fault(refused(&ledger, add(viewer(), false)).await), "/user");
    key_of(&ledger, add(viewer(), true)).await;
    key_of(&ledger, add(viewer(), false)).await;
    let operator = record(KeyGrant::new(ADA, Role::Operator));
    assert_eq!(fault(refused(&ledger, add(operator, true)).await), "/role");
    assert_eq!(ledger.users().await.unwrap().len(), 1);
    assert_eq!(ledger.keys().await.unwrap().len(), 2);
}

pub(crate) async fn a_key_is_stored_whole(ledger: Ledger) {
    let grant = KeyGrant {
        name: "nightly, \u{fc}".into(),
        scopes: Some(vec![Permission::TaskRead]),
        allow_ips: vec![
            "192.0.2.7".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ],
        bot: Some(bot_name("upper-1")),
        expires_at: Some(Timestamp::from_millis(5)),
        ..KeyGrant::new("upper-1", Role::Bot)
    };
    let key = record(grant);
    key_of(&ledger, add(key.clone(), true)).await;
    assert_eq!(ledger.keys().await.unwrap(), [key]);
}

pub(crate) async fn uses_of_keys_are_recorded(ledger: Ledger) {
    let id = add_key(&ledger, Role::External, None).await.id;
    let notices = notices_of(&ledger);
    for (at, expected) in [(7_000, 7_000), (5_000, 7_000), (9_000, 9_000)] {
        let at = Timestamp::from_millis(at);
        let uses = vec![(id, at), (KeyId::new(), at)];
        let note = NoteKeyUses(uses);
        assert_eq!(ledger.apply(note).await.unwrap(), 1);
        let stored = ledger.keys().await.unwrap()[0].info.last_used_at;
        assert_eq!(stored, Some(Timestamp::from_millis(expected)));
    }
    assert_eq!(actions(&ledger).await.len(), 2, "no event comes of it");
    assert!(notices.lock().unwrap().is_empty());
}

pub(crate) async fn keys_are_rotated(ledger: Ledger) {
    let hour = Duration::from_secs(3_600);
    let old = add_key(&ledger, Role::External, None).await;
    let new = key_of(&ledger, rotate(old.id, None, hour)).await;
    assert_eq!((new.family, new.expires_at), (old.id, None));
    assert_eq!((&new.user, new.role), (&old.user, old.role));
    let keys = ledger.keys().await.unwrap();
    let until = keys[0].info.expires_at.unwrap();
    assert_eq!(until.millis_since(new.created_at), 3_600_000);
    for id in [old.id, new.id] {
        let rejection = refused(&ledger, rotate(id, None, hour)).await;
        assert_eq!(rejection, Rejection::RotationRunning(id));
    }
    ledger.apply(revoke(old.id)).await.unwrap();
    let rejection = refused(&ledger, rotate(old.id, None, hour)).await;
    assert_eq!(rejection, Rejection::KeyNotInForce(old.id));
    // The replacement of an expiring key gets the same lifetime, and never a longer
    // one.
    let third = key_of(&ledger, rotate(new.id, Some(until), Duration::ZERO)).await;
    assert_eq!((third.family, third.expires_at), (old.id, Some(until)));
    let fourth = key_of(&ledger, rotate(third.id, None, hour * 24)).await;
    let life = until.millis_since(third.created_at);
    assert_eq!(
        fourth.expires_at.unwrap().millis_since(fourth.created_at),
        life
    );
    let keys = ledger.keys().await.unwrap();
    let of = |id| keys.iter().find(|key| key.info.id == id).unwrap();
    assert_eq!(of(third.id).info.expires_at, Some(until));
    assert!(!of(new.id).info.is_in_force(third.created_at));
    let unknown = KeyId::new();
    let rejection = refused(&ledger, rotate(unknown, None, hour)).await;
    assert_eq!(rejection, Rejection::NoSuchKey(unknown));
}

pub(crate) async fn users_are_added_changed_and_removed(ledger: Ledger) {
    let add_user = || add_user(ADA, Role::Operator, None);
    let user = user_of(&ledger, add_user()).await;
    assert_eq!(
        (user.role, user.active, user.version),
        (Role::Operator, true, 1)
    );
    let exists = refused(&ledger, add_user()).await;
    assert_eq!(exists, Rejection::UserExists(ADA.into()));
    let key = add_key(&ledger, Role::Operator, None).await;

    let changed = user_of(&ledger, change(ADA, to_active(false), Some(1))).await;
    assert_eq!((changed.active, changed.version), (false, 2));
    assert!(!ledger.keys().await.unwrap()[0].owner.active);
    let stale = refused(&ledger, change(ADA, to_active(true), Some(1))).await;
    let other = |expected| Rejection::VersionMismatch {
        expected,
        actual: 2,
    };
    assert_eq!(stale, other(1));
    let same = user_of(&ledger, change(ADA, to_active(false), None)).await;
    assert_eq!(same, changed, "nothing to change");
    assert_eq!(ledger.user(ADA.into()).await.unwrap(), Some(changed));

    assert_eq!(refused(&ledger, delete(ADA, Some(7))).await, other(7));
    user_of(&ledger, delete(ADA, Some(2))).await;
    assert_eq!(ledger.users().await.unwrap(), []);
    assert_eq!(ledger.keys().await.unwrap(), []);
    let gone = Rejection::NoSuchUser(ADA.into());
    assert_eq!(refused(&ledger, delete(ADA, None)).await, gone);
    assert_eq!(
        refused(&ledger, change(ADA, to_active(true), None)).await,
        gone
    );
    assert_eq!(
        actions(&ledger).await,
        [
            Action::UserCreated,
            Action::KeyCreated,
            Action::UserChanged,
            Action::KeyRevoked,
            Action::UserDeleted
        ]
    );
    assert_eq!(
        refused(&ledger, revoke(key.id)).await,
        Rejection::NoSuchKey(key.id)
    );
}

pub(crate) async fn the_last_admin_cannot_be_removed(ledger: Ledger) {
    let later = Timestamp::now().plus_millis(3_600_000);
    let first = add_key(&ledger, Role::Admin, None).await;
    add_key(&ledger, Role::Admin, Some(Timestamp::from_millis(5))).await;
    add_key(&ledger, Role::Admin, Some(later)).await;
    let last_key = |rejection| assert_eq!(rejection, Rejection::LastAdminKey);
    let last_user = |rejection| assert_eq!(rejection, Rejection::LastAdmin(ADA.into()));
    last_key(refused(&ledger, revoke(first.id)).await);
    last_key(refused(&ledger, rotate(first.id, Some(later), Duration::ZERO)).await);
    last_user(refused(&ledger, change(ADA, to_role(Role::Operator), None)).await);
    last_user(refused(&ledger, change(ADA, to_active(false), None)).await);
    last_user(refused(&ledger, delete(ADA, None)).await);

    let second = key_of(&ledger, rotate(first.id, None, Duration::ZERO)).await;
    last_key(refused(&ledger, revoke(second.id)).await);
    let other = record(KeyGrant::new("eve", Role::Admin));
    let others = key_of(&ledger, add(other, true)).await;
    user_of(&ledger, change(ADA, to_role(Role::Operator), None)).await;
    assert_eq!(
        refused(&ledger, revoke(others.id)).await,
        Rejection::LastAdminKey
    );
}

pub(crate) async fn an_admin_key_is_recovered(ledger: Ledger) {
    let lost = add_key(&ledger, Role::Admin, None).await;
    let kept = add_key(&ledger, Role::Viewer, None).await;
    ledger
        .apply(add(record(KeyGrant::new("eve", Role::Admin)), true))
        .await
        .unwrap();
    user_of(&ledger, change(ADA, to_active(false), None)).await;
    user_of(&ledger, change(ADA, to_active(true), None)).await;
    let recover = RecoverAdmin {
        key: record(KeyGrant::new(ADA, Role::Admin)),
        reason: "a test",
    };
    let new = key_of(&ledger, recover).await;
    let keys = ledger.keys().await.unwrap();
    let in_force = |id| {
        let key = keys.iter().find(|key| key.info.id == id).unwrap();
        key.info.revoked_at.is_none() && key.owner.active
    };
    assert!(!in_force(lost.id) && in_force(kept.id) && in_force(new.id));
    let events = ledger.events(0, 100).await.unwrap();
    let told = events.last().unwrap();
    assert_eq!(told.action, Action::KeyRecovered);
    assert_eq!(told.level, deia_model::EventLevel::Critical);
    assert_eq!(told.details["revoked"], serde_json::json!([lost.id]));
}

pub(crate) async fn users_and_keys_are_limited(ledger: Ledger) {
    let first = add_key(&ledger, Role::External, None).await;
    for _ in 1..LIMITS.max_keys {
        add_key(&ledger, Role::External, None).await;
    }
    let more = || add(record(KeyGrant::new(ADA, Role::External)), true);
    let full = |rejection| {
        assert!(
            matches!(rejection, Rejection::NoRoomForAccess(_)),
            "{rejection:?}"
        )
    };
    full(refused(&ledger, more()).await);
    full(refused(&ledger, rotate(first.id, None, Duration::ZERO)).await);
    ledger.apply(revoke(first.id)).await.unwrap();
    ledger.apply(more()).await.unwrap();
    let keys = ledger.keys().await.unwrap();
    assert_eq!(keys.len(), LIMITS.max_keys as usize);
    assert!(keys.iter().all(|key| key.info.id != first.id), "forgotten");

    for i in 1..LIMITS.max_users {
        let command = add_user(&format!("user-{i}"), Role::Viewer, None);
        ledger.apply(command).await.unwrap();
    }
    full(
        refused(
            &ledger,
            add(record(KeyGrant::new("eve", Role::Viewer)), true),
        )
        .await,
    );
}

pub(crate) async fn callers_see_only_their_own_tasks(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let by = |user: &str| Visibility::SubmittedBy(user.into());
    let of = |bot: &str| Visibility::AssignedTo(bot_name(bot));
    let seen = async |visibility: Visibility| {
        let task = ledger.visible_task(id, visibility.clone()).await.unwrap();
        let outcome = ledger.outcome(id, visibility).await.unwrap();
        assert_eq!(task.is_some(), outcome.is_some());
        task.is_some()
    };
    assert!(seen(Visibility::All).await && seen(by("ada")).await);
    assert!(!seen(by("eve")).await && !seen(Visibility::Nothing).await && !seen(of("b")).await);
    claim(&ledger, id, "b").await.unwrap();
    assert!(seen(of("b")).await && !seen(of("c")).await);
    let absent = ledger
        .visible_task(TaskId::new(), Visibility::All)
        .await
        .unwrap();
    assert_eq!(absent, None);
}

pub(crate) async fn status_and_result_are_read_together(ledger: Ledger) {
    let outcome = |id| ledger.outcome(id, Visibility::All);
    assert_eq!(outcome(TaskId::new()).await.unwrap(), None);
    let id = submit_one(&ledger).await;
    let claimed = claim(&ledger, id, "b").await.unwrap();
    let running = outcome(id).await.unwrap().unwrap();
    assert_eq!(
        (running.status, running.result),
        (TaskStatus::Running, None)
    );
    finish(&ledger, report(&claimed, AttemptEnd::Succeeded)).await;
    let ended = outcome(id).await.unwrap().unwrap();
    assert_eq!(ended.result, ledger.result(id).await.unwrap());
    assert!(ended.result.is_some());
}
