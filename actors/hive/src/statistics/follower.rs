//! Counts events of tasks.

use std::num::NonZero;

use deia_ledger::{
    BoxFuture, Effect, EventCounts, EventsPage, Follower, FollowerName, Ledger, StoreError, hour_of,
};
use deia_model::Position;

use crate::config::Settings;

/// Maximum number of events that are counted at once. Nothing of an event is kept in memory, so
/// that this is only a matter of how long one read takes: some milliseconds. Fixed: bounds one
/// step, so that others get their turn; the whole has no limit here.
const PAGE_EVENTS: NonZero<u32> = NonZero::<u32>::MIN.saturating_add(19_999);

/// Counts events of tasks by hour, type and bot.
pub(crate) struct StatisticsFollower {
    settings: Settings,
}

impl StatisticsFollower {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Follower for StatisticsFollower {
    const NAME: FollowerName = FollowerName("statistics");
    type Input = EventCounts;

    fn read(
        ledger: &Ledger,
        after: Position,
    ) -> BoxFuture<'_, Result<EventsPage<EventCounts>, StoreError>> {
        ledger.counts_after(after, PAGE_EVENTS)
    }

    fn plan(&mut self, counts: EventCounts) -> Vec<Effect> {
        let Some(newest_at) = counts.newest_at() else {
            return Vec::new();
        };
        let retention = self.settings.get().events.statistics_retention;
        let kept = u32::try_from(retention.as_secs() / 3_600).unwrap_or(u32::MAX);
        vec![Effect::Statistics {
            rows: counts.into_rows(),
            keep_from: hour_of(newest_at).saturating_sub(kept),
        }]
    }
}
