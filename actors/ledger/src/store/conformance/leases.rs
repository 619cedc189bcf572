//! Leases that expire by time.

use deia_model::Timestamp;

use super::{attempts::give_back, *};
use crate::{ClaimTasks, ExtendLeases, HeldLease, HoldLease, testing::until};

const LEASED: Duration = Duration::from_millis(20);

/// Claims a task for a bot by a lease that expires.
async fn lease(ledger: &Ledger, task: TaskId, expires_after: Duration) -> ClaimedTask {
    let claim = Claim {
        task,
        bot: bot_name("far"),
        lease: LeaseToken::new(),
        incarnation: 7,
        expires_after: Some(expires_after),
        stands_in_for: None,
    };
    let mut claimed = ledger.apply(ClaimTasks(vec![claim])).await.unwrap();
    claimed.tasks.pop().unwrap()
}

fn held(claimed: &ClaimedTask) -> HeldLease {
    HeldLease {
        task: claimed.task.id,
        attempt: claimed.task.attempt,
        lease: claimed.lease,
    }
}

pub(crate) async fn lease_that_is_not_extended_expires(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let claimed = lease(&ledger, id, LEASED).await;
    let due = ledger.next_due().await.unwrap();
    assert!(due.is_some_and(|at| at > claimed.task.started_at.unwrap().as_millis()));
    until("the lease expires", async || promote(&ledger).await > 0).await;
    let task = stored(&ledger, id).await;
    assert_eq!((task.status, task.failures), (TaskStatus::Queued, 0));
    assert_eq!(task.suspicions, 1, "its bot may have died with it");
    let late = finish(&ledger, report(&claimed, AttemptEnd::Succeeded)).await;
    assert_eq!(late, ReportAck::Stale);
    assert_eq!(ledger.next_due().await.unwrap(), None);
}

pub(crate) async fn lease_is_extended_by_its_holder_only(ledger: Ledger) {
    const LONG: Duration = Duration::from_secs(3_600);
    let [far, near] = [submit_one(&ledger).await, submit_one(&ledger).await];
    let far = lease(&ledger, far, LEASED).await;
    let near = claim(&ledger, near, "b").await.unwrap();
    let stranger = HeldLease {
        lease: LeaseToken::new(),
        ..held(&far)
    };
    let earlier = HeldLease {
        attempt: 0,
        ..held(&far)
    };
    let extend = ExtendLeases {
        leases: vec![stranger, held(&far), earlier, held(&near)],
        expires_after: LONG,
    };
    // A lease that ends with its bot has nothing to extend.
    let extended = ledger.apply(extend).await.unwrap();
    assert_eq!(extended, [false, true, false, false]);
    let due = ledger.next_due().await.unwrap().unwrap();
    let now = Timestamp::now().as_millis();
    assert!(due > now + 3_000_000, "{due} {now}");
    assert_eq!(promote(&ledger).await, 0);
    let done = finish(&ledger, report(&far, AttemptEnd::Succeeded)).await;
    assert_eq!(done, ReportAck::Recorded(TaskStatus::Completed));
    assert_eq!(ledger.next_due().await.unwrap(), None);
}

pub(crate) async fn a_lease_that_is_held_outlives_its_bot(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let claimed = claim(&ledger, id, "b").await.unwrap();
    let hold = |lease| HoldLease {
        lease,
        expires_after: Duration::from_secs(3_600),
    };
    let stranger = HeldLease {
        lease: LeaseToken::new(),
        ..held(&claimed)
    };
    assert!(!ledger.apply(hold(stranger)).await.unwrap());
    assert!(ledger.apply(hold(held(&claimed))).await.unwrap());
    assert_eq!(ledger.bots_with_running_tasks().await.unwrap(), []);
    assert_eq!(ledger.bots_with_attempts().await.unwrap(), [bot_name("b")]);
    assert_eq!(give_back(&ledger, "b", AttemptEnd::HiveDied).await, 0);
    let [attempt] = &ledger.held_attempts(bot_name("b")).await.unwrap()[..] else {
        panic!("the attempt can be taken over");
    };
    assert_eq!(attempt.lease, held(&claimed));
    let done = finish(&ledger, report(&claimed, AttemptEnd::Succeeded)).await;
    assert_eq!(done, ReportAck::Recorded(TaskStatus::Completed));
    assert!(!ledger.apply(hold(held(&claimed))).await.unwrap());
}

pub(crate) async fn leases_that_expire_are_not_released_with_their_bot(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let claimed = lease(&ledger, id, Duration::from_secs(3_600)).await;
    assert_eq!(ledger.bots_with_running_tasks().await.unwrap(), []);
    assert_eq!(give_back(&ledger, "far", AttemptEnd::HiveDied).await, 0);
    let done = finish(&ledger, report(&claimed, AttemptEnd::Succeeded)).await;
    assert_eq!(done, ReportAck::Recorded(TaskStatus::Completed));
}
