//! Durations as people write them: read in every form, written in days and smaller
//! units. For `#[serde(with = "...")]`.

use std::time::Duration;

/// Deserializes a duration: `30s`, `1h 30m`, `90days`.
pub use humantime_serde::deserialize;
use humantime_serde::re::humantime::format_duration;
use serde::{Serialize, Serializer};

/// Seconds of a day. Fact: the definition of the unit.
const DAY: u64 = 86_400;

/// A value of a duration setting.
pub trait DurationValue {
    /// Returns the duration; `None` if there is none.
    fn duration(&self) -> Option<Duration>;
}

impl DurationValue for Duration {
    fn duration(&self) -> Option<Duration> {
        Some(*self)
    }
}

impl DurationValue for Option<Duration> {
    fn duration(&self) -> Option<Duration> {
        *self
    }
}

/// Serializes a duration as [`in_days`] writes it.
///
/// # Errors
/// The errors of the serializer.
pub fn serialize<D: DurationValue, S: Serializer>(
    value: &D,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.duration().map(in_days).serialize(serializer)
}

/// Writes a duration as people write settings: long ones in days, since months and
/// years have no exact length.
#[must_use]
pub fn in_days(duration: Duration) -> String {
    let (days, rest) = (duration.as_secs() / DAY, duration.as_secs() % DAY);
    let rest = Duration::new(rest, duration.subsec_nanos());
    match (days, rest.is_zero()) {
        (0, _) => format_duration(duration).to_string(),
        (1, true) => "1day".to_owned(),
        (days, true) => format!("{days}days"),
        (1, false) => format!("1day {}", format_duration(rest)),
        (days, false) => format!("{days}days {}", format_duration(rest)),
    }
}

#[cfg(test)]
mod tests {
    use humantime_serde::re::humantime::parse_duration;

    use super::*;

    #[test]
    fn durations_are_written_in_days() {
        for text in [
            "0s", "10ms", "1h 30m", "1day", "1day 1h", "7days", "90days", "365days", "3650days",
        ] {
            assert_eq!(in_days(parse_duration(text).unwrap()), text);
        }
    }
}
