//! Leases for workers: the long poll.

use std::{sync::Arc, time::Duration};

use deia_ledger::ClaimedTask;
use tokio::time::{Instant, timeout_at};

use super::{desk::Desk, held::Asker};

/// Returns up to `max` attempts for a worker, and waits up to `wait` for the first. Dropping the
/// future loses no attempt: one that no worker fetches goes back.
pub(super) async fn pull(
    desk: &Desk,
    asker: &Asker,
    max: usize,
    wait: Duration,
) -> Vec<Arc<ClaimedTask>> {
    let deadline = Instant::now() + wait;
    let given = desk.give(asker, max);
    if !given.is_empty() {
        return given;
    }
    let _wanted = desk.want(max);
    loop {
        let arrived = timeout_at(deadline, desk.arrival()).await;
        let given = desk.give(asker, max);
        if !given.is_empty() || arrived.is_err() {
            return given;
        }
    }
}
