//! The times at which the keys of an issuer may and must be fetched. Pure.

use std::time::{Duration, Instant};

use crate::config::JwtSettings;

/// Times at which keys were requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gate {
    pub(super) last: Option<Instant>,
    pub(super) in_flight: bool,
}

impl Gate {
    /// Returns true if another attempt may begin at that time.
    pub(super) fn is_open(self, now: Instant, at_most_every: Duration) -> bool {
        let rested = |last| now.saturating_duration_since(last) >= at_most_every;
        !self.in_flight && self.last.is_none_or(rested)
    }

    /// Returns the time until keys that were fetched at `fetched` must be fetched again.
    pub(super) fn due_in(
        self,
        fetched: Option<Instant>,
        now: Instant,
        jwt: &JwtSettings,
    ) -> Duration {
        let left = |from: Instant, every: Duration| {
            every.saturating_sub(now.saturating_duration_since(from))
        };
        let rest = self
            .last
            .map_or(Duration::ZERO, |last| left(last, jwt.refresh_at_most_every));
        fetched
            .map_or(Duration::ZERO, |at| left(at, jwt.refresh_every))
            .max(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn when_keys_are_fetched() {
        let jwt = JwtSettings {
            refresh_every: 100 * SECOND,
            refresh_at_most_every: 10 * SECOND,
            ..crate::config::Config::defaults().unwrap().auth.jwt
        };
        let start = Instant::now();
        let at = |seconds: u32| start + seconds * SECOND;
        let gate = |last: Option<u32>, in_flight| Gate {
            last: last.map(at),
            in_flight,
        };
        for (gate, now, open) in [
            (gate(None, false), 0, true),
            (gate(Some(0), false), 9, false),
            (gate(Some(0), false), 10, true),
            (gate(Some(0), true), 50, false),
        ] {
            assert_eq!(
                gate.is_open(at(now), jwt.refresh_at_most_every),
                open,
                "{now}"
            );
        }
        for (last, fetched, now, expected) in [
            (None, None, 0, 0),
            (Some(0), None, 4, 6),
            (Some(0), None, 20, 0),
            (Some(0), Some(0), 20, 80),
            (Some(99), Some(0), 100, 9),
            (Some(100), Some(0), 200, 0),
        ] {
            let due = gate(last, false).due_in(fetched.map(at), at(now), &jwt);
            assert_eq!(due, expected * SECOND, "{last:?} {fetched:?} {now}");
        }
    }
}
