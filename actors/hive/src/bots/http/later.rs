//! Attempts that a service has accepted and completes later: they go on without the bot and the
//! hive, under a lease that expires after the time of the task.

use std::{sync::atomic::Ordering, time::Duration};

use deia_ledger::{ClaimedTask, HeldAttempt};
use deia_model::Timestamp;

use super::HttpContext;
use crate::bots::{
    attempt::{ExecutionResult, StopCause, StopSignal, stop_requested},
    bot::AttemptKey,
    remote::Expected,
};

/// Lets an accepted attempt go on while the hive is away. If that cannot be recorded, it goes back
/// to the queue when the hive ends.
pub(super) async fn hold(cx: &HttpContext, claimed: &ClaimedTask, expected: &Expected) {
    let task = &claimed.task;
    let ran_for = task
        .started_at
        .map_or(0, |at| Timestamp::now().millis_since(at));
    let left = Duration::from_secs(task.timeout_seconds);
    let left = left.saturating_sub(Duration::from_millis(ran_for));
    match expected.hold(&cx.ledger, left).await {
        Ok(true) => cx
            .service
            .note(claimed, "accepted: the service completes it later"),
        // It has been reported already.
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(bot = %cx.service.bot, task = %task.id, %error, "an attempt that a service completes later would end with the hive");
        }
    }
}

/// Waits until the hive stops while the service goes on with an accepted attempt. Cancel safe.
pub(super) async fn goes_on(cx: &HttpContext, key: AttemptKey, mut stop: StopSignal) {
    let cause = stop_requested(&mut stop).await;
    if !(is_stop_of_hive(cx, &cause) && cx.desk.is_held(key)) {
        std::future::pending().await
    }
}

/// Waits for the end of an attempt that an earlier incarnation of the bot, or start of the hive,
/// gave to the service.
pub(super) async fn take_over(
    cx: &HttpContext,
    held: HeldAttempt,
    mut expected: Expected,
    mut stop: StopSignal,
) -> ExecutionResult {
    let result = tokio::select! {
        biased;
        result = expected.end() => result,
        cause = stop_requested(&mut stop) => match is_stop_of_hive(cx, &cause) {
            true => return ExecutionResult::settled(None),
            false => {
                ExecutionResult::stopped(cause, Timestamp::now().millis_since(held.started_at))
            }
        },
    };
    cx.desk.set_held(AttemptKey::of_lease(&held.lease), false);
    result
}

fn is_stop_of_hive(cx: &HttpContext, cause: &StopCause) -> bool {
    *cause == StopCause::BotStopping && cx.hive_stops.load(Ordering::Relaxed)
}
