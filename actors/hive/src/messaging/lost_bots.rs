//! Decision which bots are lost to their sessions. Pure, but for the times at which bots
//! were first seen to be failing.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use deia_model::{Bot, BotDesired, BotName, BotStatus};

/// The facts of one look.
pub(super) struct Observed<'a> {
    /// Bots that sessions have, or that their waiting tasks are meant for.
    pub(super) needed: &'a [BotName],
    /// All bots.
    pub(super) bots: &'a [Bot],
    pub(super) now: Instant,
    /// Time for which a bot may be failing.
    pub(super) failing_grace: Duration,
}

/// A bot that is lost to its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LostBot {
    pub(super) bot: BotName,
    /// True if the bot is still wanted.
    pub(super) although_launched: bool,
    /// Reason, in words that follow the name of the bot.
    pub(super) reason: &'static str,
}

/// Bots that are failing, by the time at which that was first seen.
#[derive(Default)]
pub(super) struct LostBots {
    failing_since: HashMap<BotName, Instant>,
}

impl LostBots {
    /// Returns the needed bots that are lost: removed, stopped, or failing for longer than the
    /// grace. A bot that drains still has its running tasks, and is stopped afterwards.
    pub(super) fn find(&mut self, observed: &Observed<'_>) -> Vec<LostBot> {
        let by_name: HashMap<&BotName, &Bot> =
            observed.bots.iter().map(|bot| (&bot.id, bot)).collect();
        let failing = |name: &&BotName| {
            let bot = by_name.get(*name);
            bot.is_some_and(|bot| {
                bot.desired != BotDesired::Stopped && bot.status == BotStatus::Failing
            })
        };
        let needed = observed.needed.iter();
        self.failing_since = needed
            .filter(failing)
            .map(|name| {
                let since = self.failing_since.get(name).copied();
                (name.clone(), since.unwrap_or(observed.now))
            })
            .collect();
        let needed = observed.needed.iter();
        needed
            .filter_map(|name| {
                let (although_launched, reason) = match by_name.get(name).map(|bot| bot.desired) {
                    None => (false, "was removed"),
                    Some(BotDesired::Stopped) => (false, "was stopped"),
                    Some(BotDesired::Launched | BotDesired::Draining) => {
                        let since = self.failing_since.get(name)?;
                        let failed_for = observed.now.saturating_duration_since(*since);
                        (failed_for >= observed.failing_grace).then_some((true, "is failing"))?
                    }
                };
                Some(LostBot {
                    bot: name.clone(),
                    although_launched,
                    reason,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(name: &str, desired: BotDesired, status: BotStatus) -> Bot {
        let all = deia_model::entities().unwrap();
        let example = all.iter().find(|entity| entity.name == "Bot").unwrap();
        Bot {
            id: name.parse().unwrap(),
            desired,
            status,
            ..serde_json::from_str(&example.example).unwrap()
        }
    }

    #[test]
    fn bots_are_lost_when_removed_stopped_or_failing_for_long() {
        use BotDesired::{Draining, Launched, Stopped};
        use BotStatus::{Degraded, Failing, Healthy, Starting};
        let (start, grace) = (Instant::now(), Duration::from_secs(30));
        for (case, found, after, expected) in [
            ("healthy", Some((Launched, Healthy)), 100, None),
            ("degraded", Some((Launched, Degraded)), 100, None),
            ("starting", Some((Launched, Starting)), 100, None),
            ("draining", Some((Draining, BotStatus::Draining)), 100, None),
            ("removed", None, 0, Some((false, "was removed"))),
            (
                "stopped",
                Some((Stopped, BotStatus::Stopped)),
                0,
                Some((false, "was stopped")),
            ),
            ("failing for a moment", Some((Launched, Failing)), 29, None),
            (
                "failing for long",
                Some((Launched, Failing)),
                30,
                Some((true, "is failing")),
            ),
        ] {
            let needed = ["b".parse().unwrap()];
            let bots: Vec<_> = found
                .into_iter()
                .map(|(desired, status)| bot("b", desired, status))
                .collect();
            let at = |seconds| Observed {
                needed: &needed,
                bots: &bots,
                now: start + Duration::from_secs(seconds),
                failing_grace: grace,
            };
            let mut lost = LostBots::default();
            lost.find(&at(0));
            let lost = lost.find(&at(after));
            let lost: Vec<_> = lost
                .iter()
                .map(|it| (it.although_launched, it.reason))
                .collect();
            assert_eq!(lost, Vec::from_iter(expected), "{case}");
        }
    }

    #[test]
    fn recovered_bot_gets_the_whole_grace_again() {
        let needed = ["b".parse().unwrap()];
        let start = Instant::now();
        let mut lost = LostBots::default();
        for (seconds, status, is_lost) in [
            (0, BotStatus::Failing, false),
            (20, BotStatus::Healthy, false),
            (40, BotStatus::Failing, false),
            (69, BotStatus::Failing, false),
            (70, BotStatus::Failing, true),
        ] {
            let bots = [bot("b", BotDesired::Launched, status)];
            let found = lost.find(&Observed {
                needed: &needed,
                bots: &bots,
                now: start + Duration::from_secs(seconds),
                failing_grace: Duration::from_secs(30),
            });
            assert_eq!(!found.is_empty(), is_lost, "after {seconds} s");
        }
    }
}
