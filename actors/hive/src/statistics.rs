//! The statistics: counts, waits and run times by hour, task type and bot.
//!
//! A follower of the event log produces them, so that they survive restarts and count each event
//! once. Losing this subsystem stops the counting, which is caught up later.

mod follower;
#[cfg(test)]
mod tests;
mod view;

use deia_ledger::CommitNotice;
use deia_model::Feature;

use self::follower::StatisticsFollower;
pub(crate) use self::view::history;
use crate::{
    followers::{Bell, declare_follower},
    subsystem::{Deps, Subsystem, TreeBuilder},
};

/// The subsystem of statistics.
pub(crate) struct Statistics {
    bell: Bell<StatisticsFollower>,
}

impl Statistics {
    pub(crate) fn declare(deps: &Deps, tree: &mut TreeBuilder) -> Self {
        let settings = deps.settings.clone();
        let (spec, bell) =
            declare_follower(deps, move || StatisticsFollower::new(settings.clone()));
        tree.service(spec.feature(Feature::Analytics.as_str()));
        Self { bell }
    }
}

impl Subsystem for Statistics {
    fn on_commit(&self, notices: &[CommitNotice]) {
        self.bell.ring_if_appended(notices);
    }
}
