//! The scope of the index: actions whose entries get a row of their own.

use std::collections::BTreeSet;

/// Actions of tasks that every task causes. Their entries are found by time and bundle.
const FREQUENT: [&str; 6] = [
    "task.submitted",
    "task.started",
    "task.completed",
    "task.failed",
    "task.retrying",
    "task.cancelled",
];

/// Actions whose entries get a row of their own in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    all: bool,
    with: BTreeSet<String>,
    without: BTreeSet<String>,
}

impl Default for Scope {
    /// Every action but the [`FREQUENT`] ones.
    fn default() -> Self {
        Self::new(&Self::default_names())
    }
}

impl Scope {
    /// Returns the names of the default scope.
    pub(crate) fn default_names() -> Vec<String> {
        let without = FREQUENT.iter().map(|action| format!("!{action}"));
        ["*".to_owned()].into_iter().chain(without).collect()
    }

    /// Creates a scope from names of actions such as `bot.crashed` and of kinds such as `bot`.
    /// `*` stands for every action, and a name after `!` is left out. The longer name decides.
    pub(crate) fn new<S: AsRef<str>>(names: &[S]) -> Self {
        let mut scope = Self {
            all: false,
            with: BTreeSet::new(),
            without: BTreeSet::new(),
        };
        for name in names.iter().map(AsRef::as_ref) {
            match name.strip_prefix('!') {
                Some("*") => scope.all = false,
                Some(name) => drop(scope.without.insert(name.to_owned())),
                None if name == "*" => scope.all = true,
                None => drop(scope.with.insert(name.to_owned())),
            }
        }
        scope
    }

    /// Returns whether entries of the action get a row.
    pub(crate) fn contains(&self, action: &str) -> bool {
        let kind = kind_of(action);
        for name in [action, kind] {
            if self.without.contains(name) {
                return false;
            }
            if self.with.contains(name) {
                return true;
            }
        }
        self.all
    }
}

/// Returns the kind of an action: the part of its name before the first dot.
pub(crate) fn kind_of(action: &str) -> &str {
    action.split_once('.').map_or(action, |(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_name_decides() {
        for (names, action, expected) in [
            (&["*"][..], "bot.crashed", true),
            (&["*", "!bot"], "bot.crashed", false),
            (&["*", "!bot", "bot.crashed"], "bot.crashed", true),
            (&["task", "!task.started"], "task.started", false),
            (&["task", "!task.started"], "task.dead", true),
            (&["task"], "tasks.dead", false),
            (&["task"], "bot.crashed", false),
            (&[], "bot.crashed", false),
        ] {
            let scope = Scope::new(names);
            assert_eq!(scope.contains(action), expected, "{names:?} {action}");
        }
        let by_default = Scope::default();
        assert!(by_default.contains("task.erased") && by_default.contains("ext.any"));
        assert!(!FREQUENT.iter().any(|action| by_default.contains(action)));
    }
}
