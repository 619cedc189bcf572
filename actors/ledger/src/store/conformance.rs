//! One suite that every store passes. A backend calls [`run`] with a way to
//! make an empty store that follows [`policy`].

mod access;
mod attempts;
mod deaths;
mod dependencies;
mod entities;
mod erasure;
mod logins;
mod plans;
mod queue;
mod secrets;
mod shares;
mod submissions;

use std::{future::Future, sync::Arc, time::Duration};

use bytesize::ByteSize;
use deia_model::{
    Action, AttemptEnd, AttemptOutcomeKind, BotName, EndReason, LeaseToken, NewTask, Priority,
    RetryOverride, RetryPolicy, Sight, Submitted, Task, TaskId, TaskStatus, Toll,
};

use crate::{
    AttemptReport, Cancelling, Claim, ClaimedTask, Command, FinishOutcome, Hint, Ledger, Outcome,
    PerSubmitter, ReadyQuery, Refusal, Retention, StoreError, SubmitterLimits, TaskPolicy,
    TypePolicy,
};

/// The policy that stores under test follow.
pub fn policy() -> TaskPolicy {
    let roomy = SubmitterLimits {
        max_waiting: 5_000,
        max_waiting_bytes: ByteSize::mib(64),
        max_types: 20,
    };
    TaskPolicy {
        default_max_attempts: 2,
        default_timeout_seconds: 60,
        poison_after: 2,
        poison_after_hive_deaths: 3,
        bot_fault_delay: Duration::from_millis(50),
        retry: RetryPolicy {
            min: Duration::ZERO,
            max: Duration::ZERO,
            factor: 1.0,
            jitter: 0.0,
        },
        idempotency_retention: Duration::from_secs(3_600),
        by_type: [(
            "brief".parse().unwrap(),
            TypePolicy {
                max_attempts: Some(7),
                timeout_seconds: Some(9),
                expires_after: Some(Duration::from_millis(20)),
                retry: RetryOverride::default(),
            },
        )]
        .into(),
        max_waiting: 2_000,
        per_submitter: PerSubmitter {
            external: SubmitterLimits {
                max_waiting: 4,
                max_waiting_bytes: ByteSize::b(1_000),
                max_types: 3,
            },
            operator: roomy,
            admin: roomy,
        },
        max_idempotency_answers: 3,
        max_idempotency_bytes: 1_000,
        max_types: 20,
        max_types_external: 20,
        max_dependents: 5,
        claim_max_bytes: 1 << 20,
        retention: Retention {
            completed: Duration::from_millis(1),
            failed: Duration::from_millis(1),
            cancelled: Duration::from_millis(1),
        },
    }
}

/// Runs every case, each on a store of its own.
///
/// # Panics
/// When the store does not conform.
pub async fn run<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Ledger>,
{
    submissions::run(&make).await;
    shares::run(&make).await;
    attempts::run(&make).await;
    deaths::run(&make).await;
    dependencies::run(&make).await;
    plans::run(&make).await;
    queue::run(&make).await;
    entities::run(&make).await;
    logins::run(&make).await;
    access::run(&make).await;
    erasure::run(&make).await;
    secrets::run(&make).await;
}

macro_rules! cases {
    ($make:expr; $($case:ident),* $(,)?) => {
        $(
            eprintln!("conformance: {}", stringify!($case));
            let ledger = $make().await;
            // Serving ends with the store; here nobody waits for it.
            let _serving = ledger.serve().unwrap();
            $case(ledger.clone()).await;
            ledger.close().await;
        )*
    };
}
pub(crate) use cases;

fn task_of(task_type: &str, content: &str) -> NewTask {
    NewTask::new(task_type.parse().unwrap(), content)
}

async fn submit(ledger: &Ledger, tasks: Vec<NewTask>) -> Vec<Submitted> {
    let command = Command::Submit {
        tasks,
        submitter: "ada".into(),
        role: deia_model::Role::Operator,
        dedup: None,
    };
    match ledger.apply(command).await.unwrap() {
        Outcome::Submitted { tasks, .. } => tasks,
        other => panic!("{other:?}"),
    }
}

async fn submit_one(ledger: &Ledger) -> TaskId {
    submit(ledger, vec![task_of("general", "x")]).await[0].id
}

async fn claim(ledger: &Ledger, id: TaskId, bot: &str) -> Option<ClaimedTask> {
    let claim = Claim {
        task: id,
        bot: bot_name(bot),
        lease: LeaseToken::new(),
    };
    match ledger.apply(Command::Claim(vec![claim])).await.unwrap() {
        Outcome::Claimed { mut tasks, .. } => tasks.pop(),
        other => panic!("{other:?}"),
    }
}

fn report(claimed: &ClaimedTask, end: AttemptEnd) -> AttemptReport {
    AttemptReport {
        task: claimed.task.id,
        attempt: claimed.task.attempt,
        lease: claimed.lease,
        end,
        output: (end == AttemptEnd::Succeeded).then(|| "done".into()),
        output_bytes: None,
        error: (end != AttemptEnd::Succeeded).then(|| "broke".into()),
        exit_code: Some(i32::from(end != AttemptEnd::Succeeded)),
        execution_time_ms: 7,
        tokens_used: None,
        cost_cents: None,
    }
}

async fn finish(ledger: &Ledger, report: AttemptReport) -> FinishOutcome {
    match ledger.apply(Command::Finish(vec![report])).await.unwrap() {
        Outcome::Finished(outcomes) => outcomes[0].clone(),
        other => panic!("{other:?}"),
    }
}

async fn promote(ledger: &Ledger) -> u64 {
    match ledger.apply(Command::Promote { limit: 100 }).await.unwrap() {
        Outcome::Done(n) => n,
        other => panic!("{other:?}"),
    }
}

async fn refused(ledger: &Ledger, command: Command) -> Refusal {
    match ledger.apply(command).await {
        Err(StoreError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

async fn stored(ledger: &Ledger, id: TaskId) -> Task {
    ledger.task(id).await.unwrap().unwrap()
}

async fn ready_ids(ledger: &Ledger, task_type: &str, priority: Priority) -> Vec<TaskId> {
    let query = ReadyQuery {
        task_type: task_type.parse().unwrap(),
        priority,
        after: i64::MIN,
        limit: 100,
    };
    ledger
        .ready(query)
        .await
        .unwrap()
        .into_iter()
        .map(|task| task.id)
        .collect()
}

async fn actions(ledger: &Ledger) -> Vec<Action> {
    ledger
        .events(0, 1_000)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|event| event.action.known())
        .collect()
}

fn bot_name(name: &str) -> BotName {
    name.parse().unwrap()
}

type Seen = Arc<std::sync::Mutex<Vec<Hint>>>;

/// A sink that remembers every hint but those of what flowed and of events.
fn hints_of(ledger: &Ledger) -> Seen {
    seen(ledger, |hint| {
        !matches!(hint, Hint::Flow(_) | Hint::Logged(_))
    })
}

/// A sink that remembers the hints of what flowed.
fn flows_of(ledger: &Ledger) -> Seen {
    seen(ledger, |hint| matches!(hint, Hint::Flow(_)))
}

fn seen(ledger: &Ledger, wanted: fn(&Hint) -> bool) -> Seen {
    let seen = Seen::default();
    let sink = seen.clone();
    ledger.subscribe(Arc::new(move |hints| {
        let wanted = hints.iter().filter(|hint| wanted(hint)).cloned();
        sink.lock().unwrap().extend(wanted);
    }));
    seen
}

async fn counted(ledger: &Ledger, status: TaskStatus) -> u64 {
    *ledger.counts().await.unwrap().slot(status)
}

/// Has a task end that way, with as many attempts as that takes.
async fn end(ledger: &Ledger, id: TaskId, end: AttemptEnd) {
    loop {
        let claimed = claim(ledger, id, "b").await.unwrap();
        if end == AttemptEnd::Cancelled {
            let cancel = Command::Cancel {
                task: id,
                actor: "ada".into(),
                only_waiting: false,
            };
            ledger.apply(cancel).await.unwrap();
        }
        finish(ledger, report(&claimed, end)).await;
        promote(ledger).await;
        if stored(ledger, id).await.status.is_final() {
            return;
        }
    }
}

async fn status(ledger: &Ledger, id: TaskId) -> TaskStatus {
    stored(ledger, id).await.status
}
