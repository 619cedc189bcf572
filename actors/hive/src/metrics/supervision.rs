//! The supervision tree: its state and its events.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use deia_supervision::{ArbiterStatus, Event, EventKind, EventStream, Lagged, TreeStatus};

use super::{Exposition, table};

/// Path of the bots in the tree: they come and go, and are counted together.
const BOTS: &str = "hive/core/bots/";
/// Label for all of them together.
const ALL_BOTS: &str = "hive/core/bots/*";

/// Counts the events in the tree. Events are counted on request: until then the tree keeps the
/// last 4,096, and reports how many were missed.
#[derive(Default)]
pub(crate) struct SupervisionMetrics(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    events: Option<EventStream>,
    restarts: BTreeMap<String, u64>,
    exits: BTreeMap<(String, &'static str), u64>,
    missed: u64,
}

impl SupervisionMetrics {
    /// Counts the events from now on.
    pub(crate) fn follow(&self, events: EventStream) {
        self.lock().events = Some(events);
    }

    pub(crate) fn write(
        &self,
        tree: Option<&TreeStatus>,
        arbiters: &[ArbiterStatus],
        out: &mut Exposition,
    ) {
        if let Some(tree) = tree {
            standing(tree, out);
        }
        for arbiter in arbiters {
            let label = || [arbiter.name.to_string()];
            out.number(&table::ARBITER_BUSY, label(), arbiter.busy_share);
            out.count(&table::ARBITER_CHILDREN, label(), arbiter.children as u64);
            out.count(&table::ARBITER_BLOCKED, label(), arbiter.blocked.into());
        }
        let mut seen = self.lock();
        seen.catch_up();
        for (path, n) in &seen.restarts {
            out.count(&table::CHILD_RESTARTS, [path.clone()], *n);
        }
        for ((path, reason), n) in &seen.exits {
            let labels = [path.clone(), (*reason).to_owned()];
            out.count(&table::CHILD_EXITS, labels, *n);
        }
        out.gauge(&table::TREE_MISSED, seen.missed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn catch_up(&mut self) {
        let Some(mut events) = self.events.take() else {
            return;
        };
        while let Some(received) = events.try_recv() {
            match received {
                Ok(event) => self.count(&event),
                Err(Lagged { missed }) => self.missed += missed,
            }
        }
        self.events = Some(events);
    }

    fn count(&mut self, event: &Event) {
        let path = label(&event.path).to_owned();
        match &event.kind {
            EventKind::Restarted { .. } => *self.restarts.entry(path).or_default() += 1,
            EventKind::Crashed { exit, .. } | EventKind::Stopped { exit } => {
                *self.exits.entry((path, exit.code())).or_default() += 1;
            }
            _ => {}
        }
    }
}

/// Returns a label for a path, of which there are only a few.
fn label(path: &str) -> &str {
    match path.starts_with(BOTS) {
        true => ALL_BOTS,
        false => path,
    }
}

#[derive(Default)]
struct Group {
    states: BTreeMap<&'static str, u64>,
    mailbox: u64,
    busiest: f64,
}

fn standing(tree: &TreeStatus, out: &mut Exposition) {
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    gather(tree, &mut groups);
    for (path, group) in groups {
        for (state, n) in group.states {
            let labels = [path.to_owned(), state.to_owned()];
            out.count(&table::CHILDREN, labels, n);
        }
        out.count(&table::CHILD_MAILBOX, [path.to_owned()], group.mailbox);
        out.number(&table::CHILD_BUSY, [path.to_owned()], group.busiest);
    }
}

fn gather<'a>(status: &'a TreeStatus, groups: &mut BTreeMap<&'a str, Group>) {
    let group = groups.entry(label(&status.path)).or_default();
    *group.states.entry(status.state.as_str()).or_default() += 1;
    group.mailbox += status.mailbox_depth as u64;
    group.busiest = group.busiest.max(status.busy_share);
    for child in &status.children {
        gather(child, groups);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bots_are_taken_together() {
        for (path, expected) in [
            ("hive/core/bots/a-1", ALL_BOTS),
            ("hive/core/bots", "hive/core/bots"),
            ("hive/core/scheduler", "hive/core/scheduler"),
        ] {
            assert_eq!(label(path), expected);
        }
    }
}
