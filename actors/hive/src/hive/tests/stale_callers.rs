//! Tests of callers who were authenticated, and whose access has changed by the time of the
//! effect.

use deia_ledger::Rejection;
use deia_model::{Credential, PageRequest, Principal, UserChange};

use super::*;
use crate::{HiveError, KeyRotation, PartAction};

fn is_refused<T>(what: &str, outcome: Result<T, HiveError>) {
    match outcome {
        Err(HiveError::Refused(Rejection::AccessChanged)) => {}
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what} was done"),
    }
}

/// Creates another admin, and returns the caller who presents their key.
async fn another_admin(hive: &Hive, who: &Principal, user: &str) -> Principal {
    let grant = KeyGrant::new(user, Role::Admin);
    let key = hive
        .access()
        .create_key(who, grant, Some(true), None)
        .await
        .unwrap();
    hive.access().authenticate(&key.text, None).unwrap()
}

/// Asserts that every operation with an effect is refused.
async fn can_do_nothing(hive: &Hive, admin: &Principal, stale: &Principal, id: TaskId) {
    let task = || vec![NewTask::new("general".parse().unwrap(), "x")];
    let own = stale.key().unwrap();
    let spec = bot_spec(json!({"kind": "simulated"}));
    let change = UserChange {
        role: None,
        active: Some(true),
    };
    let grant = KeyGrant::new("admin", Role::Admin);
    let (zero, all) = (Duration::ZERO, TaskFilter::default());
    is_refused("submit", hive.tasks().submit(stale, task(), None).await);
    is_refused("cancel", hive.tasks().cancel(stale, id).await);
    is_refused("retry", hive.tasks().retry(stale, id).await);
    is_refused("pause", hive.queue().pause(stale, None, None).await);
    is_refused("resume", hive.queue().resume(stale, None).await);
    is_refused("drain", hive.queue().drain(stale, None, None, zero).await);
    is_refused("purge", hive.queue().purge(stale, all.clone()).await);
    // No task has failed, so there is nothing to change, and the call is refused nevertheless.
    is_refused("requeue", hive.queue().requeue_dead(stale, all).await);
    is_refused(
        "put",
        hive.bots()
            .put(stale, bot_name("x"), spec, crate::PutHow::default())
            .await,
    );
    is_refused("stop", hive.bots().stop(stale, &bot_name("b")).await);
    is_refused("delete", hive.bots().delete(stale, &bot_name("b")).await);
    is_refused(
        "key",
        hive.access()
            .create_key(stale, grant, Some(true), None)
            .await,
    );
    let rotation = KeyRotation::default();
    let other = admin.key().unwrap();
    is_refused(
        "rotate",
        hive.access().rotate_key(stale, other, rotation, None).await,
    );
    is_refused("revoke", hive.access().revoke_key(stale, own).await);
    let made = hive
        .access()
        .create_user(stale, "new".into(), Role::Viewer, true, None);
    is_refused("user", made.await);
    is_refused(
        "change",
        hive.access()
            .change_user(stale, "admin", change, None)
            .await,
    );
    is_refused(
        "remove",
        hive.access().delete_user(stale, "admin", None).await,
    );
    if matches!(stale.credential, Credential::Key(_)) {
        is_refused(
            "log in",
            hive.access()
                .open_web_session(stale, None, None, None)
                .await,
        );
    }
    is_refused(
        "log out",
        hive.access().end_web_sessions_of(stale, "admin").await,
    );
    let part = "hive/core/retention";
    let done = hive
        .operations()
        .act_on_part(stale, part, PartAction::Restart, None)
        .await;
    is_refused("part", done);
}

#[test]
fn caller_whose_access_changed_has_no_effect() {
    with_hive(async |hive| {
        let admin = hive.admin.clone();
        hive.simulated("b").await;
        hive.bots().stop(&admin, &bot_name("b")).await.unwrap();
        let id = hive.submit_one().await;
        let user = |role, active| UserChange { role, active };
        for (who, change) in [
            ("revoked", None),
            ("inactive", Some(user(None, Some(false)))),
            ("narrower", Some(user(Some(Role::Operator), None))),
            ("other", Some(user(Some(Role::External), None))),
        ] {
            let stale = another_admin(&hive, &admin, who).await;
            let fine = hive.tasks().get(&stale, id).await.unwrap();
            match change {
                None => {
                    let key = stale.key().unwrap();
                    hive.access().revoke_key(&admin, key).await.unwrap();
                }
                Some(change) => {
                    let changed = hive.access().change_user(&admin, who, change, None).await;
                    changed.unwrap();
                }
            }
            can_do_nothing(&hive, &admin, &stale, id).await;
            assert_eq!(hive.tasks().get(&admin, id).await.unwrap(), fine, "{who}");
        }
        let page = PageRequest {
            limit: 10,
            cursor: None,
        };
        let tasks = hive.tasks().list(&admin, TaskFilter::default(), page).await;
        assert_eq!(tasks.unwrap().items.len(), 1);
        assert_eq!(hive.queue().status().await.unwrap().paused, []);
    });
}

#[test]
fn caller_in_a_session_that_ended_has_no_effect() {
    with_hive(async |hive| {
        let admin = hive.admin.clone();
        let ada = another_admin(&hive, &admin, "ada").await;
        let opened = hive
            .access()
            .open_web_session(&ada, None, None, None)
            .await
            .unwrap();
        let stale = hive
            .access()
            .authenticate_web_session(&opened.cookie, None)
            .unwrap();
        hive.submit_as(&stale).await;
        hive.access()
            .end_web_sessions_of(&admin, "ada")
            .await
            .unwrap();
        let id = hive.submit_as(&ada).await;
        can_do_nothing(&hive, &admin, &stale, id).await;
    });
}
