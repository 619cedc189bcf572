//! The rules for the states of the hive that need a person. Pure, and the only place that decides
//! this.

use std::time::Duration;

use deia_ledger::FollowerState;
use deia_model::{AlertName, Bot, BotName, BotStatus, Condition, TargetType, summary};

use crate::bots::Trouble;

/// The state of the hive that the rules look at.
pub(crate) struct Observed<'a> {
    pub(crate) bots: &'a [Bot],
    /// Bots that are up and handle none of their messages.
    pub(crate) troubled: &'a [(BotName, Trouble)],
    pub(crate) followers: &'a [FollowerState],
    /// Share of the disk that is in use, in percent.
    pub(crate) disk_percent: f64,
    /// Name of the hive, as the target of conditions that concern all of it.
    pub(crate) hive: &'a str,
}

/// Limits beyond which a state needs a person.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Share of the disk that may be in use, in percent.
    pub(crate) disk_percent: u32,
    /// Age of the oldest event that a follower may not have taken in.
    pub(crate) follower_lag: Duration,
}

/// Returns the conditions that hold: those of the hive first, then of followers and bots.
pub(crate) fn conditions(observed: &Observed<'_>, limits: Limits) -> Vec<Condition> {
    let mut found = Vec::new();
    found.extend(disk_filling(observed, limits));
    let lagging = |follower: &FollowerState| follower_lagging(follower, limits);
    found.extend(observed.followers.iter().filter_map(lagging));
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
mod tests {
    use deia_model::{BotFault, Position, Timestamp};

    use super::*;

    const LIMITS: Limits = Limits {
        disk_percent: 95,
        follower_lag: Duration::from_secs(60),
    };

    fn bot(status: BotStatus, faults: u32) -> Bot {
        let all = deia_model::entities().unwrap();
        let example = all.iter().find(|entity| entity.name == "Bot").unwrap();
        let mut bot: Bot = serde_json::from_str(&example.example).unwrap();
        bot.id = "b".parse().unwrap();
        bot.status = status;
        bot.last_exit = None;
        bot.fault = (faults > 0).then(|| BotFault {
            reason: "no such file".into(),
            since: Timestamp::from_millis(0),
            in_a_row: faults,
            next_try_at: None,
        });
        bot
    }

    fn follower(lag_ms: u64) -> FollowerState {
        FollowerState {
            name: "statistics".into(),
            at: Position {
                timeline: 1,
                seq: 7,
            },
            moved_at: Timestamp::from_millis(0),
            binding: false,
            lag_events: 12,
            lag_ms,
        }
    }

    fn found(observed: &Observed<'_>) -> Vec<(&'static str, String, String)> {
        conditions(observed, LIMITS)
            .into_iter()
            .map(|found| (found.name.as_str(), found.target, found.what))
            .collect()
    }

    fn nothing() -> Observed<'static> {
        Observed {
            bots: &[],
            troubled: &[],
            followers: &[],
            disk_percent: 10.0,
            hive: "hive-1",
        }
    }

    #[test]
    fn hive_that_is_well_has_no_condition() {
        let bots = [bot(BotStatus::Healthy, 0), bot(BotStatus::Stopped, 3)];
        let followers = [follower(60_000)];
        let observed = Observed {
            bots: &bots,
            followers: &followers,
            disk_percent: 95.0,
            ..nothing()
        };
        assert_eq!(found(&observed), []);
    }

    #[test]
    fn each_condition_names_its_target() {
        let bots = [bot(BotStatus::Failing, 0), bot(BotStatus::Degraded, 1)];
        let troubled = [("b".parse().unwrap(), Trouble::Stalled { waiting: 7 })];
        let followers = [follower(61_500)];
        let observed = Observed {
            bots: &bots,
            troubled: &troubled,
            followers: &followers,
            disk_percent: 99.0,
            ..nothing()
        };
        let of = |name: &'static str, target: &str, what: &str| {
            (name, target.to_owned(), what.to_owned())
        };
        assert_eq!(
            found(&observed),
            [
                of("disk_filling", "hive-1", "the disk is 99 % full"),
                of(
                    "follower_lagging",
                    "hive/services/statistics",
                    "the follower statistics is 12 events behind, the oldest of 61 s ago"
                ),
                of(
                    "bot_failing",
                    "b",
                    "bot b is failing: quarantined after too many crashes, last exit: not known"
                ),
                of(
                    "bot_failing",
                    "b",
                    "bot b cannot carry out its tasks: no such file"
                ),
                of(
                    "bot_stalled",
                    "b",
                    "bot b has 7 messages waiting and handles none"
                ),
            ]
        );
    }
}
