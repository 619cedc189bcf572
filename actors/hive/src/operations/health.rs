//! Status and health of the whole hive.

use deia_ledger::FollowerState;
use deia_model::{
    Bot, BotDesired, Condition, FollowerLag, HealthMetrics, StatusCounts, StoredOutputs,
    SystemStatus,
};
use deia_supervision::{ArbiterStatus, ChildState, Health, TreeStatus};

use super::OperationsApi;
use crate::{
    HiveError,
    bots::is_up,
    host::{Cgroup, CpuMeter, DiskSpace, Memory, process::Usage},
    lifecycle::State,
};

fn lag(follower: FollowerState) -> FollowerLag {
    FollowerLag {
        name: follower.name,
        seq: follower.at.seq,
        lag_events: follower.lag_events,
        lag_ms: follower.lag_ms,
    }
}

impl OperationsApi {
    /// Returns the status of the whole hive.
    ///
    /// # Errors
    /// [`HiveError`] if the store cannot be read.
    pub async fn status(&self) -> Result<SystemStatus, HiveError> {
        let ledger = &self.ledger;
        let (bots, mode) = (self.bots.list().await?, self.degradation.status());
        Ok(SystemStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            hive_id: ledger.hive_id(),
            state: self.lifecycle.state().as_str().into(),
            pid: std::process::id(),
            started_at: self.started_at,
            uptime_seconds: self.started.elapsed().as_secs(),
            previous_shutdown_clean: ledger.previous_shutdown_clean(),
            last_restart: self.last_restart.get().cloned(),
            mode: mode.mode,
            level: mode.level,
            bots_healthy: healthy(&bots),
            bots_launched: launched(&bots),
            tasks: ledger.counts().await?,
            last_event_seq: ledger.last_event_seq().await?,
            followers: ledger.followers().await?.into_iter().map(lag).collect(),
            outputs: StoredOutputs {
                bytes: self.outputs.bytes(),
                limit_bytes: self.outputs.limit(),
                removed: self.outputs.removed(),
            },
        })
    }

    /// Returns the problems, and the measurements behind them.
    ///
    /// # Errors
    /// [`HiveError`] if the store cannot be read.
    pub async fn health(&self) -> Result<HealthMetrics, HiveError> {
        let ledger = &self.ledger;
        let (bots, queue) = (self.bots.list().await?, ledger.queue().await?);
        let (cpu, config) = (self.cpu.clone(), self.settings.get());
        let measuring = move || Machine::measure(&cpu, &config.data_dir);
        let machine = tokio::task::spawn_blocking(measuring)
            .await
            .map_err(|error| HiveError::Internal(error.to_string()))?;
        let mode = self.degradation.status();
        let mut metrics = HealthMetrics {
            healthy: true,
            problems: Vec::new(),
            mode: mode.mode,
            level: mode.level,
            cpu_percent: machine.cpu_percent,
            memory_bytes: machine.memory_bytes,
            memory_percent: machine.memory_percent,
            disk_free_bytes: machine.disk_free_bytes,
            disk_percent: machine.disk_percent,
            bots_healthy: healthy(&bots),
            bots_launched: launched(&bots),
            queue_depth: queue.totals.queued,
            oldest_queued_ms: queue.oldest_queued_ms,
            success_rate: success_rate(&queue.totals),
            failures_24h: ledger.failures_24h().await?,
        };
        metrics.problems = problems(self.lifecycle.state(), self.supervisors().as_ref());
        let conditions = self.alerts.conditions().await?;
        metrics
            .problems
            .extend(conditions.into_iter().map(in_a_sentence));
        metrics
            .problems
            .extend(self.arbiters().iter().filter_map(blocked));
        metrics.problems.extend(self.write_problem().await);
        metrics.healthy = metrics.problems.is_empty();
        Ok(metrics)
    }
}

/// Returns a condition with its remedy, in one sentence.
fn in_a_sentence(condition: Condition) -> String {
    format!("{}; {}", condition.what, condition.what_to_do)
}

/// Counts the bots that carry out tasks.
fn healthy(bots: &[Bot]) -> u32 {
    let up = bots.iter().filter(|bot| is_up(bot)).count();
    u32::try_from(up).unwrap_or(u32::MAX)
}

fn launched(bots: &[Bot]) -> u32 {
    u32::try_from(
        bots.iter()
            .filter(|bot| bot.desired == BotDesired::Launched)
            .count(),
    )
    .unwrap_or(u32::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "counts to a share")]
fn success_rate(totals: &StatusCounts) -> Option<f64> {
    let finished = totals.completed + totals.failed;
    (finished > 0).then(|| totals.completed as f64 / finished as f64)
}

/// Returns the problems that no alert is raised for, a sentence each.
fn problems(state: State, tree: Option<&TreeStatus>) -> Vec<String> {
    let mut found = Vec::new();
    if !state.takes_work() {
        found.push(format!("the hive is {}", state.as_str()));
    }
    if let Some(tree) = tree {
        down_in(tree, &mut found);
    }
    found
}

/// Returns the problem of a thread that a call blocks. A blocked thread that its actors have left
/// hinders nothing.
fn blocked(arbiter: &ArbiterStatus) -> Option<String> {
    let is_blocked = arbiter.blocked && !arbiter.given_up;
    let since = arbiter.silent_since.filter(|_| is_blocked)?;
    let name = &arbiter.name;
    Some(format!(
        "thread {name} has been blocked since {since}; see the log for the actor that blocks it"
    ))
}

/// Collects the static parts of the tree that are not up. Bots have statuses of their own.
fn down_in(status: &TreeStatus, found: &mut Vec<String>) {
    if status.state != ChildState::Running {
        found.push(format!("{} is {}", status.path, status.state.as_str()));
    }
    if status.state == ChildState::Suspended {
        // So is all below it.
        return;
    }
    if status.stalled {
        let (path, mail) = (&status.path, status.mailbox_depth);
        found.push(format!(
            "{path} has {mail} messages waiting and handles none"
        ));
    }
    match &status.health {
        None | Some(Health::Healthy) => {}
        Some(health) => found.push(format!("{} is {health}", status.path)),
    }
    if &*status.name != "bots" {
        status
            .children
            .iter()
            .for_each(|child| down_in(child, found));
    }
}

struct Machine {
    cpu_percent: f64,
    memory_bytes: u64,
    memory_percent: f64,
    disk_free_bytes: u64,
    disk_percent: f64,
}

impl Machine {
    /// Measures the host. Figures that the host does not show are 0.
    fn measure(cpu: &CpuMeter, data_dir: &std::path::Path) -> Self {
        let disk = DiskSpace::of(data_dir).ok();
        let machine = Memory::of_machine().map_or(0.0, Memory::used_percent);
        let cgroup = Cgroup::of_this_process().memory().ok();
        let cgroup = cgroup.and_then(|memory| memory.used_percent());
        Self {
            cpu_percent: cpu.percent().unwrap_or(0.0),
            memory_bytes: Usage::of_this_process().resident_bytes.unwrap_or(0),
            memory_percent: machine.max(cgroup.unwrap_or(0.0)),
            disk_free_bytes: disk.map_or(0, |disk| disk.free_bytes),
            disk_percent: disk.map_or(0.0, DiskSpace::used_percent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hive_that_takes_no_work_is_a_problem() {
        assert_eq!(problems(State::Ready, None), Vec::<String>::new());
        assert_eq!(problems(State::Stopping, None), ["the hive is stopping"]);
    }
}
