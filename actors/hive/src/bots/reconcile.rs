//! Compares the wanted bots with the running ones and decides the steps: pure.

use std::collections::{HashMap, HashSet};

use deia_model::{BotDesired, BotGeneration, BotName, BotRecord};

/// The running instance of a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) generation: BotGeneration,
    /// True if the bot knows that it must take nothing new.
    pub(super) draining: bool,
    /// True if a new specification does not wait for the running tasks (any longer).
    pub(super) at_once: bool,
}

/// A step towards the wanted state of one bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Start the bot.
    Start(BotName),
    /// Stop the bot and start it again with its new specification.
    Replace(BotName),
    /// Tell the bot to take nothing new, and compare again once it has no tasks.
    Drain(BotName),
    /// The same, for a bot that is to be replaced then, or after a limited time.
    DrainToReplace(BotName),
    /// Let the bot take tasks again.
    Resume(BotName),
    /// Record that the bot has no tasks any more, so that it is stopped.
    Drained(BotName),
    /// Stop the bot.
    Stop(BotName),
}

/// Returns the steps, leaving out busy bots. `with_tasks` are the bots that hold tasks.
pub(super) fn reconcile(
    wanted: &[BotRecord],
    running: &HashMap<BotName, Running>,
    with_tasks: &[BotName],
    busy: &HashSet<BotName>,
) -> Vec<Step> {
    let step = |bot: &BotRecord| {
        let name = || bot.name.clone();
        let running = running.get(&bot.name);
        let has_tasks = with_tasks.contains(&bot.name);
        match (bot.desired, running) {
            (BotDesired::Launched, None) => Some(Step::Start(name())),
            (BotDesired::Launched, Some(it)) if it.generation != bot.generation() => {
                // A new launch means that the bot was stopped before.
                let same_launch = it.generation.launched_at == bot.launched_at;
                Some(match has_tasks && same_launch && !it.at_once {
                    true => Step::DrainToReplace(name()),
                    false => Step::Replace(name()),
                })
            }
            (BotDesired::Launched, Some(it)) if it.draining => Some(Step::Resume(name())),
            (BotDesired::Launched, Some(_)) => None,
            (BotDesired::Draining, _) if !has_tasks => Some(Step::Drained(name())),
            (BotDesired::Draining, Some(_)) => Some(Step::Drain(name())),
            // The tasks that the bot holds are given back, as it does not work.
            (BotDesired::Draining, None) => None,
            (BotDesired::Stopped, Some(_)) => Some(Step::Stop(name())),
            (BotDesired::Stopped, None) => None,
        }
    };
    let known: HashSet<&BotName> = wanted.iter().map(|bot| &bot.name).collect();
    let removed = running.keys().filter(|name| !known.contains(name));
    let free = |name: &&BotName| !busy.contains(*name);
    wanted
        .iter()
        .filter(|bot| free(&&bot.name))
        .filter_map(step)
        .chain(removed.filter(free).cloned().map(Step::Stop))
        .collect()
}

#[cfg(test)]
mod tests {
    use deia_model::{BotSpec, Executor, SimulatedExecutor, Timestamp};

    use super::*;

    fn record(name: &str, desired: BotDesired, version: u64, launched_at: i64) -> BotRecord {
        BotRecord {
            name: name.parse().unwrap(),
            spec: BotSpec::new(Executor::Simulated(SimulatedExecutor::default())),
            desired,
            version,
            port: 1,
            created_at: Timestamp::from_millis(0),
            launched_at: Some(Timestamp::from_millis(launched_at)),
            tasks_completed: 0,
            tasks_failed: 0,
        }
    }

    #[test]
    fn steps_follow_wanted_and_running_state() {
        use BotDesired::{Draining, Launched, Stopped};
        let b: BotName = "b".parse().unwrap();
        let runs = Running {
            generation: record("b", Launched, 1, 1).generation(),
            draining: false,
            at_once: false,
        };
        let drains = Running {
            draining: true,
            ..runs
        };
        let cut = Running {
            at_once: true,
            ..drains
        };
        let wanted =
            |desired, version, launched_at| Some(record("b", desired, version, launched_at));
        let none: Option<fn(BotName) -> Step> = None;
        for (wanted, running, has_tasks, busy, expected) in [
            (
                wanted(Launched, 1, 1),
                None,
                false,
                false,
                Some(Step::Start as fn(BotName) -> Step),
            ),
            (wanted(Launched, 1, 1), Some(runs), true, false, none),
            // A new specification waits for the running tasks, a new launch does not.
            (
                wanted(Launched, 2, 1),
                Some(runs),
                false,
                false,
                Some(Step::Replace),
            ),
            (
                wanted(Launched, 2, 1),
                Some(runs),
                true,
                false,
                Some(Step::DrainToReplace),
            ),
            (
                wanted(Launched, 2, 1),
                Some(cut),
                true,
                false,
                Some(Step::Replace),
            ),
            (
                wanted(Launched, 2, 2),
                Some(runs),
                true,
                false,
                Some(Step::Replace),
            ),
            (
                wanted(Launched, 1, 2),
                Some(runs),
                false,
                false,
                Some(Step::Replace),
            ),
            (wanted(Launched, 2, 1), Some(runs), false, true, none),
            // Launched while it drained: the bot continues, unless its specification has changed.
            (
                wanted(Launched, 1, 1),
                Some(drains),
                true,
                false,
                Some(Step::Resume),
            ),
            (
                wanted(Launched, 2, 1),
                Some(drains),
                true,
                false,
                Some(Step::DrainToReplace),
            ),
            (
                wanted(Draining, 1, 1),
                Some(runs),
                true,
                false,
                Some(Step::Drain),
            ),
            // Repeated, as an earlier message may have been lost.
            (
                wanted(Draining, 1, 1),
                Some(drains),
                true,
                false,
                Some(Step::Drain),
            ),
            (
                wanted(Draining, 2, 1),
                Some(drains),
                true,
                false,
                Some(Step::Drain),
            ),
            (
                wanted(Draining, 1, 1),
                Some(drains),
                false,
                false,
                Some(Step::Drained),
            ),
            (wanted(Draining, 1, 1), Some(runs), true, true, none),
            // After a restart of the server, and after a crash.
            (wanted(Draining, 1, 1), None, true, false, none),
            (
                wanted(Draining, 1, 1),
                None,
                false,
                false,
                Some(Step::Drained),
            ),
            (
                wanted(Stopped, 1, 1),
                Some(runs),
                false,
                false,
                Some(Step::Stop),
            ),
            (
                wanted(Stopped, 1, 1),
                Some(drains),
                true,
                false,
                Some(Step::Stop),
            ),
            (wanted(Stopped, 1, 1), None, false, false, none),
            (None, Some(runs), false, false, Some(Step::Stop)),
            (None, Some(runs), false, true, none),
        ] {
            let case = format!("{wanted:?} {running:?} {has_tasks} {busy}");
            let wanted: Vec<_> = wanted.into_iter().collect();
            let running = running.map(|it| (b.clone(), it)).into_iter().collect();
            let with_tasks: Vec<_> = has_tasks.then(|| b.clone()).into_iter().collect();
            let busy = busy.then(|| b.clone()).into_iter().collect();
            let expected: Vec<_> = expected.map(|step| step(b.clone())).into_iter().collect();
            assert_eq!(
                reconcile(&wanted, &running, &with_tasks, &busy),
                expected,
                "{case}"
            );
        }
    }
}
