//! The rules for the states of the hive that need a person. Pure, and the only place that decides
//! this.

mod archive;

use std::time::Duration;

use deia_ledger::FollowerState;
use deia_model::{
    AlertName, Bot, BotName, BotStatus, Condition, Feature, Level, QueueLane, TargetType,
    Timestamp, Webhook, summary,
};

use crate::{
    bots::Trouble,
    mode::{InForce, LevelSource},
    recovery::ArchiveHealth,
};

/// The state of the hive that the rules look at.
pub(crate) struct Observed<'a> {
    pub(crate) bots: &'a [Bot],
    /// Bots that are up and handle none of their messages.
    pub(crate) troubled: &'a [(BotName, Trouble)],
    pub(crate) followers: &'a [FollowerState],
    /// The audit trail.
    pub(crate) audit: TrailHealth,
    /// Reason of the last time that settings were taken back, until they are changed or confirmed.
    pub(crate) settings_taken_back: Option<String>,
    /// The archive.
    pub(crate) archive: ArchiveHealth,
    /// Endpoints that are failing or disabled.
    pub(crate) webhooks: &'a [Webhook],
    pub(crate) now: Timestamp,
    /// Share of the disk that is in use, in percent.
    pub(crate) disk_percent: f64,
    /// Unfinished tasks by type and priority.
    pub(crate) lanes: &'a [QueueLane],
    /// Level at which features are shed, and its origin.
    pub(crate) mode: &'a InForce,
    /// Name of the hive, as the target of conditions that concern all of it.
    pub(crate) hive: &'a str,
}

/// State of the audit trail.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrailHealth {
    /// Reason why it cannot be written.
    pub(crate) failing: Option<String>,
    /// Time for which the oldest event has waited for its entry.
    pub(crate) lag: Duration,
    /// Events that were gone before they were entered, since the start.
    pub(crate) missed: u64,
}

/// Limits beyond which a state needs a person.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Share of the disk that may be in use, in percent.
    pub(crate) disk_percent: u32,
    /// Age of the oldest event that a follower may not have taken in.
    pub(crate) follower_lag: Duration,
    /// Time for which a task may wait for a bot.
    pub(crate) oldest_queued: Duration,
    /// Age of the oldest commit that the archive may not have.
    pub(crate) archive_lag: Duration,
    /// Interval of the restore points.
    pub(crate) point_every: Duration,
    /// Interval of the restores for practice.
    pub(crate) drill_every: Duration,
    /// Time for which all deliveries to an endpoint may fail.
    pub(crate) webhook_failing: Duration,
}

/// Returns the conditions that hold: those of the hive first, then of followers and bots.
pub(crate) fn conditions(observed: &Observed<'_>, limits: Limits) -> Vec<Condition> {
    let mut found = Vec::new();
    found.extend(disk_filling(observed, limits));
    found.extend(features_shed(observed));
    found.extend(tasks_waiting(observed, limits));
    found.extend(audit_troubled(observed, limits));
    found.extend(settings_taken_back(observed));
    found.extend(archive::troubled(observed, limits));
    let lagging = |follower: &FollowerState| follower_lagging(follower, limits);
    let others = observed
        .followers
        .iter()
        .filter(|it| judged(it, observed.mode));
    found.extend(others.filter_map(lagging));
    let troubled = |webhook: &Webhook| webhook_troubled(webhook, observed.now, limits);
    found.extend(observed.webhooks.iter().filter_map(troubled));
    found.extend(observed.bots.iter().filter_map(bot_failing));
    let stalled = |(bot, trouble): &(BotName, Trouble)| bot_stalled(bot, *trouble);
    found.extend(observed.troubled.iter().map(stalled));
    found
}

fn disk_filling(observed: &Observed<'_>, limits: Limits) -> Option<Condition> {
    let used = observed.disk_percent;
    (used > f64::from(limits.disk_percent)).then(|| Condition {
        name: AlertName::DiskFilling,
        target_type: TargetType::Hive,
        target: observed.hive.to_owned(),
        what: format!("the disk is {used:.0} % full"),
        what_to_do:
            "free space on the disk of data_dir, or lower tasks.retention or events.max_bytes"
                .to_owned(),
    })
}

/// Judges the longest wait of a task for a bot. Tasks of a paused queue or type wait as somebody
/// wants it.
fn tasks_waiting(observed: &Observed<'_>, limits: Limits) -> Option<Condition> {
    let lanes = observed.lanes.iter().filter(|lane| !lane.paused);
    let waits = lanes.filter_map(|lane| Some((lane.oldest_queued_ms?, &lane.task_type)));
    let (ms, task_type) = waits.max()?;
    (Duration::from_millis(ms) > limits.oldest_queued).then(|| Condition {
        name: AlertName::TasksWaiting,
        target_type: TargetType::Hive,
        target: observed.hive.to_owned(),
        what: format!(
            "a task of type {task_type} has waited for a bot for {} s",
            ms / 1_000
        ),
        what_to_do: "see deia-admin task why of a waiting task; launch more bots for its type, or raise alerts.oldest_queued"
            .to_owned(),
    })
}

/// Judges the level in force. One that an operator has set is as somebody wants it.
fn features_shed(observed: &Observed<'_>) -> Option<Condition> {
    let InForce {
        level, source, why, ..
    } = observed.mode;
    (*level > Level::NORMAL && *source == LevelSource::Signals).then(|| Condition {
        name: AlertName::FeaturesShed,
        target_type: TargetType::Hive,
        target: observed.hive.to_owned(),
        what: format!("the hive is at level {level} ({}): {why}", level.effect()),
        what_to_do: "see deia degrade status and deia degrade features".to_owned(),
    })
}

fn audit_troubled(observed: &Observed<'_>, limits: Limits) -> Vec<Condition> {
    let audit = &observed.audit;
    let of = |name, what, what_to_do: &str| Condition {
        name,
        target_type: TargetType::Audit,
        target: observed.hive.to_owned(),
        what,
        what_to_do: what_to_do.to_owned(),
    };
    let mut found = Vec::new();
    if let Some(reason) = &audit.failing {
        found.push(of(
            AlertName::AuditFailing,
            format!("the audit trail cannot be written: {}", summary(reason)),
            "mend it: administrative changes are refused until then; deia audit verify --dir <data_dir>/audit says what is damaged",
        ));
    } else if audit.lag > limits.follower_lag {
        found.push(of(
            AlertName::AuditLagging,
            format!(
                "events have waited {} s for their entries in the audit trail",
                audit.lag.as_secs()
            ),
            "see the log and deia supervisors show hive/core/audit",
        ));
    }
    if audit.missed > 0 {
        found.push(of(
            AlertName::AuditGap,
            format!(
                "{} events are missing in the audit trail: they were gone before they were entered",
                audit.missed
            ),
            "find out who removed them: see deia events --action audit.gap; the alert ends with the next start",
        ));
    }
    found
}

/// Returns true if the lag of a follower counts. The audit trail has conditions of its own, and a
/// follower that is shed lags as it must.
fn judged(follower: &FollowerState, mode: &InForce) -> bool {
    let feature = match follower.name.as_str() {
        "audit" => return false,
        "statistics" => Feature::Analytics,
        "webhooks" => Feature::WebhookDelivery,
        _ => return true,
    };
    !feature.is_shed_at(mode.level)
}

fn settings_taken_back(observed: &Observed<'_>) -> Option<Condition> {
    let reason = observed.settings_taken_back.as_deref()?;
    Some(Condition {
        name: AlertName::SettingsTakenBack,
        target_type: TargetType::Hive,
        target: observed.hive.to_owned(),
        what: format!("settings were taken back: {}", summary(reason)),
        what_to_do:
            "see deia config history; correct the settings file or change the setting to another value, or accept the settings as they are: deia config confirm"
                .to_owned(),
    })
}

fn follower_lagging(follower: &FollowerState, limits: Limits) -> Option<Condition> {
    let name = &follower.name;
    let lag = Duration::from_millis(follower.lag_ms);
    (lag > limits.follower_lag).then(|| Condition {
        name: AlertName::FollowerLagging,
        target_type: TargetType::Supervisor,
        target: format!("hive/services/{name}"),
        what: format!(
            "the follower {name} is {} events behind, the oldest of {} s ago",
            follower.lag_events,
            lag.as_secs()
        ),
        what_to_do: format!("see the log and deia supervisors show hive/services/{name}"),
    })
}

/// Judges an endpoint. One that was disabled on request is as somebody wants it.
fn webhook_troubled(webhook: &Webhook, now: Timestamp, limits: Limits) -> Option<Condition> {
    let id = webhook.id;
    let (name, what, what_to_do) = match &webhook.disabled {
        Some(disabled) if disabled.reason.needs_a_person() => (
            AlertName::WebhookDisabled,
            format!("webhook {id} was disabled: {}", disabled.detail),
            format!(
                "mend the endpoint, then deia webhook enable {id}, and replay what it missed; or delete it"
            ),
        ),
        Some(_) => return None,
        None => {
            let since = webhook.failing_since?;
            let failing = Duration::from_millis(now.millis_since(since));
            if failing < limits.webhook_failing {
                return None;
            }
            let error = summary(webhook.last_error.as_deref().unwrap_or("not known"));
            (
                AlertName::WebhookFailing,
                format!("all deliveries to webhook {id} failed since {since}, last error: {error}"),
                format!(
                    "see deia webhook show {id}; it will be disabled after webhooks.disable_after"
                ),
            )
        }
    };
    Some(Condition {
        name,
        target_type: TargetType::Webhook,
        target: id.to_string(),
        what,
        what_to_do,
    })
}

/// Judges a bot. A fault counts from the first one on: while it lasts, the bot does none
/// of its work.
fn bot_failing(bot: &Bot) -> Option<Condition> {
    let id = &bot.id;
    let fault = bot.fault.as_ref().filter(|fault| fault.in_a_row > 0);
    let (what, what_to_do) = match (bot.status, fault) {
        (BotStatus::Stopped | BotStatus::Offline, _) => return None,
        (_, Some(fault)) => (
            format!("bot {id} cannot carry out its tasks: {}", fault.reason),
            format!("see deia bot show {id}"),
        ),
        (BotStatus::Failing, None) => {
            let last = summary(bot.last_exit.as_deref().unwrap_or("not known"));
            (
                format!(
                    "bot {id} is failing: quarantined after too many crashes, last exit: {last}"
                ),
                format!("see deia bot show {id}, then deia bot launch {id}"),
            )
        }
        _ => return None,
    };
    Some(of_bot(AlertName::BotFailing, id, what, what_to_do))
}

fn bot_stalled(bot: &BotName, trouble: Trouble) -> Condition {
    let what_to_do = format!("see deia events --target bot:{bot}");
    of_bot(
        AlertName::BotStalled,
        bot,
        format!("bot {bot} {trouble}"),
        what_to_do,
    )
}

fn of_bot(name: AlertName, bot: &BotName, what: String, what_to_do: String) -> Condition {
    Condition {
        name,
        target_type: TargetType::Bot,
        target: bot.to_string(),
        what,
        what_to_do,
    }
}

#[cfg(test)]
mod tests;
