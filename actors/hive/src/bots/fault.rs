//! A fault of a bot, as observed.

use std::time::Duration;

use deia_model::{BotFault, Timestamp};

/// Time for which a past fault is still shown, in milliseconds. Fixed: for people, who
/// look within a minute.
const SHOWN_FOR_MS: u64 = 60_000;
/// Maximum length of the reason of a fault, in characters. Fixed: keeps messages
/// readable.
const MAX_REASON_CHARS: usize = 1_000;

/// Returns a reason cut to the length that is shown.
pub(super) fn shown(reason: &str) -> String {
    reason.chars().take(MAX_REASON_CHARS).collect()
}

/// Reason why a bot cannot run its tasks, or could not lately.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    reason: String,
    /// Faults since an attempt last got further; 0 once one has.
    in_a_row: u32,
    since: Timestamp,
    last: Timestamp,
    next_try: Timestamp,
}

impl Fault {
    /// Returns the `in_a_row`-th fault in a row, after which the bot holds back for `hold`.
    pub(super) fn new(reason: &str, in_a_row: u32, hold: Duration, before: Option<&Self>) -> Self {
        let now = Timestamp::now();
        let since = match before {
            Some(before) if in_a_row > 1 => before.since,
            _ => now,
        };
        Self {
            reason: shown(reason),
            in_a_row,
            since,
            last: now,
            next_try: now.plus_millis(u64::try_from(hold.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// Notes that the bot runs its tasks again.
    pub(super) fn is_over(&mut self) {
        self.in_a_row = 0;
    }

    /// Returns the public view of the fault; `None` once it has been over for a minute.
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
