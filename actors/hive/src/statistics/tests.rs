//! Tests of the statistics against the flow that commits report: two views of one queue.

use std::sync::{Arc, Mutex};

use deia_ledger::{
    Apply, AttemptReport, Claim, ClaimTasks, CommitNotice, Effect, FinishAttempts, Follower,
    LaneStats, Ledger, StatisticsRow, Submit,
    store::{SqliteOptions, SqliteStore},
};
use deia_model::{AttemptEnd, LeaseToken, NewTask, Role, TaskId};

use super::StatisticsFollower;
use crate::config::{Config, Settings};

async fn submit(ledger: &Ledger) -> TaskId {
    let submit = Submit {
        tasks: vec![NewTask::new("general".parse().unwrap(), "x")],
        submitter: "ada".into(),
        role: Role::Operator,
        idempotency: None,
    };
    ledger.apply(submit).await.unwrap().tasks[0].id
}

/// Makes an attempt of the task end in this way, after five milliseconds.
async fn attempt(ledger: &Ledger, task: TaskId, end: AttemptEnd) {
    let claim = Claim {
        task,
        bot: "b".parse().unwrap(),
        lease: LeaseToken::new(),
        incarnation: 1,
        expires_after: None,
        stands_in_for: None,
    };
    let claimed = ledger.apply(ClaimTasks(vec![claim])).await.unwrap().tasks;
    let report = AttemptReport {
        end,
        execution_time_ms: 5,
        ..AttemptReport::given_back(&claimed[0], "it is a test")
    };
    ledger.apply(FinishAttempts(vec![report])).await.unwrap();
}

/// Returns the statistics of all events.
async fn counted(ledger: &Ledger) -> StatisticsRow {
    let start = ledger.cursor(StatisticsFollower::NAME).await.unwrap();
    let page = StatisticsFollower::read(ledger, start).await.unwrap();
    let mut sum = StatisticsRow::default();
    let mut statistics = StatisticsFollower::new(Settings::new(Config::defaults().unwrap()));
    for effect in statistics.plan(page.events) {
        let Effect::Statistics { rows, .. } = effect else {
            panic!("{effect:?}");
        };
        rows.iter().for_each(|row| sum.merge(row));
    }
    sum
}

#[tokio::test]
async fn statistics_and_flow_agree_on_every_end_of_an_attempt() {
    for end in AttemptEnd::ALL {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(SqliteOptions::for_tests(dir.path())).unwrap();
        let ledger: Ledger = Arc::new(store);
        let flow = Arc::new(Mutex::new(LaneStats::default()));
        let told = flow.clone();
        ledger.subscribe(Arc::new(move |notices| {
            for notice in notices {
                if let CommitNotice::LaneStats(flows) = notice {
                    let mut told = told.lock().unwrap();
                    flows.iter().for_each(|(_, _, flow)| told.merge(flow));
                }
            }
        }));
        let _serving = ledger.serve().unwrap();
        let task = submit(&ledger).await;
        attempt(&ledger, task, end).await;
        let sum = counted(&ledger).await;
        ledger.close().await;
        let flow = *flow.lock().unwrap();
        let of_flow = [
            flow.submitted,
            flow.started,
            flow.completed,
            flow.failed,
            flow.cancelled,
            flow.retried,
            flow.returned,
        ];
        let of_events = [
            sum.submitted,
            sum.started,
            sum.completed,
            sum.failed,
            sum.cancelled,
            sum.retried,
            sum.returned,
        ];
        assert_eq!(of_events, of_flow.map(u64::from), "{end:?}");
        assert_eq!((sum.waits, sum.runs), (flow.waits, flow.runs), "{end:?}");
        let ran = u64::from(end.ended_by_itself());
        assert_eq!(
            (sum.runs.count(), sum.runs.sum()),
            (ran, 5 * ran),
            "{end:?}"
        );
    }
}
