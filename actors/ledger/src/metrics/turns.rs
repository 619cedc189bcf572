//! Waits of commands for their turn with the writer.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::Counter;

/// Waits of commands for their turn since the start of the store: the time that each waited before
/// the writer last left it behind. A command that goes into the next group has not waited for its
/// turn, however long the commit under way takes: so a slow disk alone is no wait, and more
/// commands than the writer can take are.
#[derive(Clone, Copy, Debug, Default)]
pub struct TurnWaits {
    /// Number of commands that had their turn.
    pub commands: u64,
    /// Sum of their waits, in microseconds.
    pub micros: u64,
    /// Time for which commands have been left behind now.
    pub left_behind: Duration,
}

impl TurnWaits {
    /// Returns the mean wait between this and a later reading.
    pub fn mean_until(&self, later: &Self) -> Duration {
        let commands = later.commands.saturating_sub(self.commands);
        let micros = later.micros.saturating_sub(self.micros);
        let mean = Duration::from_micros(micros.checked_div(commands).unwrap_or(0));
        mean.max(later.left_behind)
    }
}

/// The measurement of those waits.
#[derive(Debug, Default)]
pub(super) struct Turns {
    commands: Counter,
    micros: Counter,
    last: Mutex<Last>,
}

/// The last time that the writer took a group.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    at: Option<Instant>,
    /// True if it left commands behind.
    left_some: bool,
}

impl Turns {
    pub(super) fn gathered(&self, queued_at: impl Iterator<Item = Instant>, left_some: bool) {
        let now = Some(Instant::now());
        let before = self.exchange(Last { at: now, left_some });
        let (mut commands, mut waited) = (0, Duration::ZERO);
        for queued_at in queued_at {
            commands += 1;
            let left = before.at.map(|at| at.saturating_duration_since(queued_at));
            waited += left.unwrap_or_default();
        }
        self.commands.add(commands);
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.micros.add(micros);
    }

    pub(super) fn get(&self) -> TurnWaits {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let since = last.at.filter(|_| last.left_some);
        TurnWaits {
            commands: self.commands.get(),
            micros: self.micros.get(),
            left_behind: since.map(|at| at.elapsed()).unwrap_or_default(),
        }
    }

    fn exchange(&self, last: Last) -> Last {
        let mut held = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *held, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_commands_that_were_left_behind_have_waited() {
        let turns = Turns::default();
        let now = Instant::now();
        turns.gathered([now - 9 * SECOND].into_iter(), true);
        assert_eq!(turns.get().micros, 0, "nothing was taken before it");
        // One came after the last group was taken, the other was left behind.
        let queued = [now + SECOND, now - 2 * SECOND];
        let before = turns.get();
        turns.gathered(queued.into_iter(), false);
        let mean = before.mean_until(&turns.get());
        assert!(mean >= SECOND && mean < 2 * SECOND, "{mean:?}");
        assert_eq!(turns.get().commands, 3);
    }

    #[test]
    fn writer_that_leaves_commands_behind_for_long_is_seen_before_it_goes_on() {
        let waits = |left_behind| TurnWaits {
            left_behind,
            ..TurnWaits::default()
        };
        let mean = TurnWaits::default().mean_until(&waits(SECOND));
        assert_eq!(mean, SECOND);
        let turns = Turns::default();
        turns.gathered(std::iter::empty(), true);
        assert!(turns.get().left_behind > Duration::ZERO);
        turns.gathered(std::iter::empty(), false);
        assert_eq!(turns.get().left_behind, Duration::ZERO);
    }
}
