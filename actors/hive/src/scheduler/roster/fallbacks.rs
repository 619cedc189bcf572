//! The types that bots take for other bots, which take no tasks themselves.

use std::collections::{BTreeSet, HashMap};

use deia_model::{BotName, TaskType};

use crate::dispatch::Fallback;

/// The bots that take no tasks themselves, by the bots that take them instead.
#[derive(Debug, Default)]
pub(super) struct Fallbacks(HashMap<BotName, Vec<Fallback>>);

/// Types that a bot takes for other bots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Borrowed {
    /// Tasks of these types.
    Types(BTreeSet<TaskType>),
    /// Tasks of any type: another bot takes any.
    Any,
}

impl Fallbacks {
    pub(super) fn new(now: Vec<Fallback>) -> Self {
        let mut by_bot: HashMap<BotName, Vec<Fallback>> = HashMap::new();
        for fallback in now {
            for bot in &fallback.by {
                let of_bot = by_bot.entry(bot.clone()).or_default();
                of_bot.push(fallback.clone());
            }
        }
        Self(by_bot)
    }

    /// Returns the types that a bot takes for others.
    pub(super) fn borrowed_by(&self, bot: &BotName) -> Borrowed {
        let of_bot = self.0.get(bot).map(Vec::as_slice).unwrap_or_default();
        match of_bot.iter().any(|it| it.task_types.is_empty()) {
            true => Borrowed::Any,
            false => {
                let types = of_bot.iter().flat_map(|it| it.task_types.iter().cloned());
                Borrowed::Types(types.collect())
            }
        }
    }

    /// Returns the bot for which a bot takes tasks of that type: the first one by name.
    pub(super) fn of(&self, bot: &BotName, task_type: &TaskType) -> Option<BotName> {
        let of_bot = self.0.get(bot)?.iter();
        let for_whom = of_bot.filter(|it| it.covers(task_type)).map(|it| &it.bot);
        for_whom.min().cloned()
    }
}

impl Borrowed {
    /// Returns true if it has tasks of that type.
    pub(super) fn has(&self, task_type: &TaskType) -> bool {
        match self {
            Self::Types(types) => types.contains(task_type),
            Self::Any => true,
        }
    }

    /// Returns the types; `None` for any.
    pub(super) fn types(&self) -> Option<impl Iterator<Item = &TaskType>> {
        match self {
            Self::Types(types) => Some(types.iter()),
            Self::Any => None,
        }
    }

    /// Returns true if the bot takes tasks of its own types only.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Types(types) if types.is_empty())
    }
}
