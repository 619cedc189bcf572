//! From what is wanted and what runs to what is to be done: pure.

use std::collections::{HashMap, HashSet};

use crate::model::{BotDesired, BotName, BotRecord, Timestamp};

/// Which specification of a bot runs, and from which launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    version: u64,
    launched_at: Option<Timestamp>,
}

impl Generation {
    pub(super) fn of(record: &BotRecord) -> Self {
        Self {
            version: record.version,
            launched_at: record.launched_at,
        }
    }
}

/// Something to do to one bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Start it.
    Start(BotName),
    /// Stop it and start it again, as it is wanted now.
    Replace(BotName),
    /// Stop it.
    Stop(BotName),
}

/// What is to be done, leaving out bots to which something is being done.
pub(super) fn reconcile(
    wanted: &[BotRecord],
    running: &HashMap<BotName, Generation>,
    busy: &HashSet<BotName>,
) -> Vec<Step> {
    let launched: HashMap<&BotName, Generation> = wanted
        .iter()
        .filter(|bot| bot.desired == BotDesired::Launched)
        .map(|bot| (&bot.name, Generation::of(bot)))
        .collect();
    let mut steps = Vec::new();
    for bot in wanted
        .iter()
        .filter(|bot| launched.contains_key(&bot.name) && !busy.contains(&bot.name))
    {
        match running.get(&bot.name) {
            None => steps.push(Step::Start(bot.name.clone())),
            Some(generation) if *generation != Generation::of(bot) => {
                steps.push(Step::Replace(bot.name.clone()))
            }
            Some(_) => {}
        }
    }
    let surplus = running
        .keys()
        .filter(|name| !launched.contains_key(name) && !busy.contains(*name));
    steps.extend(surplus.map(|name| Step::Stop(name.clone())));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BotSpec, Capabilities, Executor, SimulatedExecutor};

    fn record(name: &str, desired: BotDesired, version: u64, launched_at: i64) -> BotRecord {
        BotRecord {
            name: name.parse().unwrap(),
            spec: BotSpec {
                executor: Executor::Simulated(SimulatedExecutor::default()),
                capabilities: Capabilities::default(),
            },
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
    fn the_table() {
        use BotDesired::{Launched, Stopped};
        let name = |text: &str| text.parse::<BotName>().unwrap();
        let runs = Generation::of(&record("b", Launched, 1, 1));
        for (wanted, running, busy, expected) in [
            (
                Some(record("b", Launched, 1, 1)),
                None,
                false,
                vec![Step::Start(name("b"))],
            ),
            (Some(record("b", Launched, 1, 1)), Some(runs), false, vec![]),
            (
                Some(record("b", Launched, 2, 1)),
                Some(runs),
                false,
                vec![Step::Replace(name("b"))],
            ),
            (
                Some(record("b", Launched, 1, 2)),
                Some(runs),
                false,
                vec![Step::Replace(name("b"))],
            ),
            (
                Some(record("b", Stopped, 1, 1)),
                Some(runs),
                false,
                vec![Step::Stop(name("b"))],
            ),
            (Some(record("b", Stopped, 1, 1)), None, false, vec![]),
            (None, Some(runs), false, vec![Step::Stop(name("b"))]),
            (Some(record("b", Launched, 2, 1)), Some(runs), true, vec![]),
            (None, Some(runs), true, vec![]),
        ] {
            let wanted: Vec<_> = wanted.into_iter().collect();
            let running = running
                .map(|generation| (name("b"), generation))
                .into_iter()
                .collect();
            let busy = busy.then(|| name("b")).into_iter().collect();
            assert_eq!(reconcile(&wanted, &running, &busy), expected, "{wanted:?}");
        }
    }
}
