//! Bots that take the tasks of a bot while it is out.

use serde::{Deserialize, Serialize};

use super::BotSpec;
use crate::{BotName, Timestamp, Violation};

/// Number of fallback bots of a bot at most.
///
/// Fixed: each is looked up at every change of the fleet, and one that is up is enough.
const MAX_FALLBACK: usize = 16;

/// Reason why the tasks of a bot go to its fallback bots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FallbackReason {
    /// The bot is down and is not restarted, or repeatedly cannot carry out tasks.
    Failing,
    /// The bot failed too often and takes no tasks for a while.
    CircuitOpen,
    /// The bot is suspended in the supervision tree.
    Suspended,
}

impl FallbackReason {
    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::CircuitOpen => "circuit_open",
            Self::Suspended => "suspended",
        }
    }
}

/// Use of the fallback bots of a bot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FallbackUse {
    /// The reason why the bot takes no tasks itself.
    pub reason: FallbackReason,
    /// Time since which its tasks go to the fallback bots.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

impl BotSpec {
    pub(super) fn fallback_violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        if self.fallback.len() > MAX_FALLBACK {
            found.push(Violation {
                pointer: "/fallback".into(),
                detail: format!("names more than {MAX_FALLBACK} bots"),
            });
        }
        for (place, bot) in self.fallback.iter().enumerate() {
            if self.fallback.iter().take(place).any(|other| other == bot) {
                found.push(Violation {
                    pointer: format!("/fallback/{place}"),
                    detail: format!("names bot {bot} again"),
                });
            }
        }
        found
    }

    /// Returns the errors in the specification as that of a bot of this name; pointers are
    /// relative to it.
    pub fn violations_of(&self, name: &BotName) -> Vec<Violation> {
        let mut found = self.violations();
        let own = self.fallback.iter().position(|bot| bot == name);
        found.extend(own.map(|place| Violation {
            pointer: format!("/fallback/{place}"),
            detail: "is the bot itself; name other bots".into(),
        }));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Executor, SimulatedExecutor};

    #[test]
    fn fallback_bots_are_other_bots_each_named_once() {
        let name = |text: &str| text.parse::<BotName>().unwrap();
        let many: Vec<String> = (0..17).map(|n| format!("b{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (fallback, pointers) in [
            (&[][..], &[][..]),
            (&["b", "c"], &[]),
            (&["b", "c", "b"], &["/fallback/2"]),
            (&["b", "a"], &["/fallback/1"]),
            (&many, &["/fallback"]),
        ] {
            let spec = BotSpec {
                fallback: fallback.iter().map(|text| name(text)).collect(),
                ..BotSpec::new(Executor::Simulated(SimulatedExecutor::default()))
            };
            let found = spec.violations_of(&name("a"));
            let found: Vec<_> = found.iter().map(|it| it.pointer.as_str()).collect();
            assert_eq!(found, pointers, "{fallback:?}");
        }
    }
}
