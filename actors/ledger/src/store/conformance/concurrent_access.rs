//! Users, keys and bots, when two handles act on them at the same time.

use deia_model::{Credential, KeyGrant, KeyId, Principal, Role};

use super::{
    access::{add, add_user, delete, key_of, record, revoke, rotate, user_of},
    entities::{put_command, spec},
    *,
};
use crate::{Apply, Submit};

/// Adds a key to that user, who is created if there is none.
async fn key_for(ledger: &Ledger, user: &str, role: Role) -> KeyId {
    let key = record(KeyGrant::new(user, role));
    key_of(ledger, add(key, true)).await.id
}

fn admin_with(key: KeyId) -> Principal {
    Principal {
        user: "eve".into(),
        role: Role::Admin,
        permissions: Role::Admin.permissions(),
        bot: None,
        credential: Credential::Key(key),
    }
}

pub(crate) async fn two_last_admin_keys_revoked_at_once_leave_one(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        // The round before has left one of them.
        key_for(&a, "ada", Role::Admin).await;
        if round == 0 {
            key_for(&a, "eve", Role::Admin).await;
        }
        let keys = in_force(&a).await;
        assert_eq!(keys.len(), 2, "round {round}");
        let both = race(round, a.apply(revoke(keys[0])), b.apply(revoke(keys[1]))).await;
        assert_eq!(one_refused(both), Rejection::LastAdminKey);
        assert_eq!(in_force(&b).await.len(), 1);
    }
}

async fn in_force(ledger: &Ledger) -> Vec<KeyId> {
    let keys = ledger.keys().await.unwrap().into_iter();
    let in_force = keys.filter(|key| key.info.revoked_at.is_none());
    in_force.map(|key| key.info.id).collect()
}

pub(crate) async fn two_last_admins_deleted_at_once_leave_one(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        // The round before has left one of them.
        let there = a.users().await.unwrap();
        for user in ["ada", "eve"] {
            if there.iter().all(|other| other.id != user) {
                key_for(&a, user, Role::Admin).await;
            }
        }
        let both = race(
            round,
            a.apply(delete("ada", None)),
            b.apply(delete("eve", None)),
        )
        .await;
        let rejection = one_refused(both);
        assert!(
            matches!(rejection, Rejection::LastAdmin(_)),
            "{rejection:?}"
        );
        assert_eq!(b.users().await.unwrap().len(), 1);
    }
}

pub(crate) async fn key_revoked_by_both_is_revoked_once(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        let key = key_for(&a, "ada", Role::Operator).await;
        let (one, other) = race(round, key_of(&a, revoke(key)), key_of(&b, revoke(key))).await;
        assert_eq!(one, other, "the second changes nothing");
        assert_eq!(count(&a, Action::KeyRevoked).await, round + 1);
    }
}

pub(crate) async fn key_rotated_by_both_has_one_successor(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        let key = key_for(&a, "ada", Role::Operator).await;
        let hour = Duration::from_secs(3_600);
        let rotated = || rotate(key, None, hour);
        let rejection = one_refused(race(round, a.apply(rotated()), b.apply(rotated())).await);
        assert_eq!(rejection, Rejection::RotationRunning(key));
        let keys = in_force(&b).await;
        assert_eq!(keys.len(), 2, "the old one for an hour, and the new one");
        for key in keys {
            key_of(&b, revoke(key)).await;
        }
    }
}

pub(crate) async fn caller_revoked_meanwhile_has_no_effect_after_the_answer(
    Handles { a, b }: Handles,
) {
    key_for(&a, "ada", Role::Admin).await;
    for round in 0..ROUNDS {
        let key = key_for(&a, "eve", Role::Admin).await;
        let caller = admin_with(key);
        let submit = || Submit {
            tasks: vec![task_of("general", "x")],
            submitter: "eve".into(),
            role: Role::Admin,
            idempotency: None,
        };
        let before = b.last_event_seq().await.unwrap();
        let (revoked, submitted) =
            race(round, a.apply(revoke(key)), b.apply_for(&caller, submit())).await;
        revoked.unwrap();
        let events = b.events(before, 100).await.unwrap();
        let told: Vec<_> = events.into_iter().map(|event| event.action).collect();
        match submitted {
            Ok(_) => assert_eq!(told, [Action::TaskSubmitted, Action::KeyRevoked]),
            Err(StoreError::Refused(Rejection::AccessChanged)) => {
                assert_eq!(told, [Action::KeyRevoked]);
            }
            other => panic!("{other:?}"),
        }
        for ledger in [&a, &b] {
            let refused = ledger.apply_for(&caller, submit()).await.unwrap_err();
            let rejection = StoreError::Refused(Rejection::AccessChanged);
            assert_eq!(refused.to_string(), rejection.to_string());
        }
    }
}

pub(crate) async fn bot_put_from_both_takes_one_of_two_changes(Handles { a, b }: Handles) {
    a.apply(put_command("b", spec(1), None)).await.unwrap();
    for round in 0..ROUNDS {
        let version = round as u64 + 1;
        let put = |tasks| put_command("b", spec(tasks), Some(version));
        // Neither creates what exists already.
        let (one, other) = (2 * round as u32 + 2, 2 * round as u32 + 3);
        let rejection = one_refused(race(round, a.apply(put(one)), b.apply(put(other))).await);
        let expected = Rejection::VersionMismatch {
            expected: version,
            actual: version + 1,
        };
        assert_eq!(rejection, expected);
        let record = a.bot(bot_name("b")).await.unwrap().unwrap();
        assert_eq!(record.version, version + 1);
    }
}

pub(crate) async fn user_added_by_both_is_added_once(Handles { a, b }: Handles) {
    for round in 0..ROUNDS {
        let added = || add_user("ada", Role::Viewer, None);
        let rejection = one_refused(race(round, a.apply(added()), b.apply(added())).await);
        assert_eq!(rejection, Rejection::UserExists("ada".into()));
        user_of(&b, delete("ada", None)).await;
        assert_eq!(a.users().await.unwrap(), []);
    }
}
