//! Collection of counters and measurements on request.

use std::{collections::BTreeMap, time::Duration};

use deia_ledger::{EventLog, FollowerState, metrics::UNREADABLE_ROWS};
use deia_model::{Bot, BotDesired, BotStatus, CircuitState, QueueStatus, StatusCounts};

use super::OperationsApi;
use crate::{
    HiveError,
    metrics::{Exposition, HostReading, ProcessReading, table, write_store},
};

const STATUSES: [BotStatus; 7] = [
    BotStatus::Offline,
    BotStatus::Starting,
    BotStatus::Healthy,
    BotStatus::Degraded,
    BotStatus::Draining,
    BotStatus::Failing,
    BotStatus::Stopped,
];

fn name(status: BotStatus) -> &'static str {
    match status {
        BotStatus::Offline => "offline",
        BotStatus::Starting => "starting",
        BotStatus::Healthy => "healthy",
        BotStatus::Degraded => "degraded",
        BotStatus::Draining => "draining",
        BotStatus::Failing => "failing",
        BotStatus::Stopped => "stopped",
    }
}

/// Metrics that come from the store.
struct Stored {
    queue: QueueStatus,
    bots: Vec<Bot>,
    events: EventLog,
    followers: Vec<FollowerState>,
}

fn follower_readings(followers: &[FollowerState], out: &mut Exposition) {
    for follower in followers {
        let name = || [follower.name.clone()];
        out.count(&table::FOLLOWER_LAG_EVENTS, name(), follower.lag_events);
        out.count(
            &table::FOLLOWER_LAG_SECONDS,
            name(),
            follower.lag_ms / 1_000,
        );
    }
}

impl OperationsApi {
    /// Returns the current counters and measurements. Metrics that the store does not give in
    /// time are left out.
    pub async fn metrics(&self) -> Exposition {
        let mut out = Exposition::default();
        write_store(&self.store_metrics, &mut out);
        for subsystem in &*self.subsystems {
            subsystem.metrics(&mut out);
        }
        let tree = self.supervisors();
        self.supervision
            .write(tree.as_ref(), &self.arbiters(), &mut out);
        out.gauge(&table::STORE_UNREADABLE, UNREADABLE_ROWS.get());
        let config = self.settings.get();
        let database = config.database_path();
        let reading = move || (ProcessReading::take(&database), HostReading::take());
        if let Ok((process, host)) = tokio::task::spawn_blocking(reading).await {
            process.write(&mut out);
            host.write(&mut out);
        }
        let profile = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        out.count(&table::BUILD, [env!("CARGO_PKG_VERSION"), profile], 1);
        out.gauge(&table::READY, u64::from(self.can_commit().await));
        out.gauge(&table::STORE_QUEUE_LIMIT, u64::from(config.store.queue_max));
        let mut depths = Vec::new();
        match tokio::time::timeout(config.telemetry.metrics_timeout, self.stored()).await {
            Ok(Ok(Stored {
                queue,
                bots,
                events,
                followers,
            })) => {
                queue_readings(&queue, &mut out);
                bot_readings(&bots, config.telemetry.metrics_max_bots, &mut out);
                out.gauge(&table::STORE_EVENTS, events.head);
                out.gauge(&table::STORE_EVENTS_BYTES, events.bytes);
                follower_readings(&followers, &mut out);
                depths = queue.lanes;
            }
            Ok(Err(error)) => tracing::warn!(%error, "metrics of the store are left out"),
            Err(_) => {
                tracing::warn!("metrics of the store are left out: it took too long to answer")
            }
        }
        self.flow.write(&depths, &mut out);
        out
    }

    async fn stored(&self) -> Result<Stored, HiveError> {
        let ledger = &self.ledger;
        Ok(Stored {
            queue: ledger.queue().await?,
            bots: self.bots.list().await?,
            events: ledger.event_log().await?,
            followers: ledger.followers().await?,
        })
    }
}

fn queue_readings(queue: &QueueStatus, out: &mut Exposition) {
    let StatusCounts {
        pending,
        queued,
        running,
        completed,
        failed,
        cancelled,
    } = queue.totals;
    for (status, n) in [
        ("pending", pending),
        ("queued", queued),
        ("running", running),
        ("completed", completed),
        ("failed", failed),
        ("cancelled", cancelled),
    ] {
        out.count(&table::TASKS, [status], n);
    }
    out.gauge(&table::QUEUE_PAUSES, queue.paused.len() as u64);
    let oldest = Duration::from_millis(queue.oldest_queued_ms.unwrap_or(0));
    out.number::<&str>(&table::QUEUE_OLDEST, [], oldest.as_secs_f64());
}

fn bot_readings(bots: &[Bot], max: u32, out: &mut Exposition) {
    // Statuses that no bot has are reported as 0.
    let mut by_status: BTreeMap<&str, u64> = STATUSES.map(|status| (name(status), 0)).into();
    for bot in bots {
        *by_status.entry(name(bot.status)).or_default() += 1;
    }
    for (status, n) in by_status {
        out.count(&table::BOTS, [status], n);
    }
    let launched = bots
        .iter()
        .filter(|bot| bot.desired == BotDesired::Launched);
    out.gauge(&table::BOTS_LAUNCHED, launched.count() as u64);
    for bot in bots.iter().take(max as usize) {
        let id = bot.id.as_str().to_owned();
        let up = matches!(
            bot.status,
            BotStatus::Healthy | BotStatus::Degraded | BotStatus::Draining
        );
        let faults = bot.fault.as_ref().map_or(0, |fault| fault.in_a_row);
        let is_cut_off = bot.circuit.as_ref();
        let is_cut_off = is_cut_off.is_some_and(|it| it.state != CircuitState::Closed);
        let works = up && faults == 0 && !is_cut_off;
        out.count(&table::BOT_UP, [id.clone()], u64::from(works));
        out.count(&table::BOT_FAULTS, [id.clone()], u64::from(faults));
        out.count(
            &table::BOT_CIRCUIT_OPEN,
            [id.clone()],
            u64::from(is_cut_off),
        );
        if bot.executor.starts_programs() {
            let ratio = bot.cpu_percent.unwrap_or(0.0) / 100.0;
            out.number(&table::BOT_CPU, [id.clone()], ratio);
            for (family, n) in [
                (&table::BOT_MEMORY, bot.memory_bytes),
                (&table::BOT_DESCRIPTORS, bot.descriptors),
                (&table::BOT_PROCESSES, bot.processes),
            ] {
                out.count(family, [id.clone()], n.unwrap_or(0));
            }
        }
        for (end, count) in [
            ("completed", bot.tasks_completed),
            ("failed", bot.tasks_failed),
        ] {
            out.count(&table::BOT_ATTEMPTS, [id.clone(), end.to_owned()], count);
        }
    }
}
