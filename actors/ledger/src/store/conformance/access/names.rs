//! Names of users are never reused.

use super::*;
use crate::{Apply, CancelTask, Prune, Submission, Submit};

pub(crate) async fn a_reused_name_inherits_nothing(ledger: Ledger) {
    let once = |byte| Idempotency {
        key: "once".into(),
        fingerprint: [byte; 32],
    };
    let submit = |byte| Submit {
        tasks: vec![NewTask::new("general".parse().unwrap(), "x".to_owned())],
        submitter: ADA.into(),
        role: deia_model::Role::External,
        idempotency: Some(once(byte)),
    };
    user_of(&ledger, add_user(ADA, Role::External, None)).await;
    let Submission { tasks, .. } = ledger.apply(submit(1)).await.unwrap();
    user_of(&ledger, delete(ADA, None)).await;

    let taken = || Rejection::NameHasTasks(ADA.into());
    let again = || add_user(ADA, Role::External, None);
    assert_eq!(refused(&ledger, again()).await, taken());
    let key = || add(record(KeyGrant::new(ADA, Role::External)), true);
    assert_eq!(refused(&ledger, key()).await, taken());
    assert_eq!(ledger.users().await.unwrap(), [], "nothing is made");
    assert_eq!(ledger.keys().await.unwrap(), []);

    let task = tasks[0].id;
    let cancel = CancelTask {
        task,
        actor: "deia".into(),
        only_waiting: true,
    };
    ledger.apply(cancel).await.unwrap();
    assert_eq!(
        refused(&ledger, again()).await,
        taken(),
        "it is still there"
    );
    while ledger.task(task).await.unwrap().is_some() {
        let tasks = vec![task];
        ledger.apply(Prune { tasks }).await.unwrap();
    }
    user_of(&ledger, again()).await;
    // Requests of the earlier user with that idempotency key do not affect the later
    // one.
    assert!(matches!(
        ledger.apply(submit(2)).await,
        Ok(Submission {
            replayed: false,
            ..
        })
    ));
}

pub(crate) async fn a_repeated_request_makes_one_user(ledger: Ledger) {
    let ask = |name: &str, byte| {
        let idempotency = Idempotency {
            key: "once".into(),
            fingerprint: [byte; 32],
        };
        add_user(name, Role::Viewer, Some(idempotency))
    };
    let made = user_of(&ledger, ask(ADA, 1)).await;
    user_of(&ledger, change(ADA, to_active(false), None)).await;
    let again = ledger.apply(ask(ADA, 1)).await.unwrap();
    assert_eq!((again.user, again.replayed), (made, true));
    let other = refused(&ledger, ask("eve", 2)).await;
    assert_eq!(other, Rejection::IdempotencyMismatch);
    assert_eq!(ledger.users().await.unwrap().len(), 1);
}
