//! A fault of a bot, as it is observed.

use std::time::Duration;

use deia_model::{BotFault, Timestamp};

/// Time for which a fault that is over is still shown, in milliseconds.
const SHOWN_FOR_MS: u64 = 60_000;
/// The most of a fault's reason that is kept, in characters.
const MAX_REASON_CHARS: usize = 1_000;

/// Why a bot cannot carry out its tasks, or could not lately.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    reason: String,
    /// Since an attempt last got further; 0 once one did.
    in_a_row: u32,
    since: Timestamp,
    last: Timestamp,
    next_try: Timestamp,
}

impl Fault {
    /// Makes the `in_a_row`-th fault in a row, after which the bot holds back for
    /// `hold`.
    pub(super) fn new(reason: &str, in_a_row: u32, hold: Duration, before: Option<&Self>) -> Self {
        let now = Timestamp::now();
        let since = match before {
            Some(before) if in_a_row > 1 => before.since,
            _ => now,
        };
        Self {
            reason: reason.chars().take(MAX_REASON_CHARS).collect(),
            in_a_row,
            since,
            last: now,
            next_try: now.plus_millis(u64::try_from(hold.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// Notes that the bot carries out its tasks again.
    pub(super) fn is_over(&mut self) {
        self.in_a_row = 0;
    }

    /// Returns the fault as the outside sees it; `None` once it has been over for a minute.
    pub(super) fn seen(&self, now: Timestamp) -> Option<BotFault> {
        let shown = self.in_a_row > 0 || now.millis_since(self.last) < SHOWN_FOR_MS;
        shown.then(|| BotFault {
            reason: self.reason.clone(),
            in_a_row: self.in_a_row,
            since: self.since,
            next_try_at: (self.in_a_row > 0).then_some(self.next_try),
        })
    }
}
