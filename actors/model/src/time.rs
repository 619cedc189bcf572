//! Points in time, with millisecond precision, always UTC.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A point in time: milliseconds since the Unix epoch. RFC 3339 in UTC on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the current time of the wall clock.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    /// Creates a point in time from milliseconds since the Unix epoch.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the Unix epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns this point minus `millis` milliseconds, saturating.
    pub fn minus_millis(self, millis: u64) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(millis).unwrap_or(i64::MAX)),
        )
    }

    /// Returns this point plus `millis` milliseconds, saturating.
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(millis).unwrap_or(i64::MAX)),
        )
    }

    /// Returns the milliseconds from `earlier` to this point, 0 if `earlier` is later.
    pub fn millis_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => f.write_str(if self.0 < 0 {
                "-9999-01-02T01:59:59.000Z"
            } else {
                "9999-12-30T22:00:00.000Z"
            }),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A text that is not a time of RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an RFC 3339 time such as 2026-11-20T08:30:00Z or 2026-11-20T08:30:00.5+01:00")]
pub struct NotATime;

impl FromStr for Timestamp {
    type Err = NotATime;

    /// Parses a `date-time` of RFC 3339 (5.6) and nothing else: `T` and `Z` in either
    /// case, any number of fraction digits (truncated to milliseconds), `-00:00` as UTC
    /// (4.3). A leap second, which only ends a day of UTC (5.7), is treated as the second
    /// before it, as the clock of the host has none either.
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let bytes = text.as_bytes();
        let (head, rest) = bytes.split_at_checked(19).ok_or(NotATime)?;
        let digits = |from: usize, to: usize| number(&head[from..to]);
        let separated = head[4] == b'-'
            && head[7] == b'-'
            && matches!(head[10], b'T' | b't')
            && head[13] == b':'
            && head[16] == b':';
        if !separated {
            return Err(NotATime);
        }
        let second = digits(17, 19)?;
        let (millis, zone) = fraction(rest)?;
        let offset_minutes = offset(zone)?;
        let date = jiff::civil::Date::new(
            i16::try_from(digits(0, 4)?).map_err(|_| NotATime)?,
            i8::try_from(digits(5, 7)?).map_err(|_| NotATime)?,
            i8::try_from(digits(8, 10)?).map_err(|_| NotATime)?,
        )
        .map_err(|_| NotATime)?;
        let (hour, minute) = (digits(11, 13)?, digits(14, 16)?);
        if hour > 23 || minute > 59 || second > 60 {
            return Err(NotATime);
        }
        let days = i64::from(
            date.since(jiff::civil::Date::constant(1970, 1, 1))
                .map_err(|_| NotATime)?
                .get_days(),
        );
        let minutes = days * 1_440 + hour * 60 + minute - offset_minutes;
        if second == 60 && minutes.rem_euclid(1_440) != 1_439 {
            return Err(NotATime);
        }
        Ok(Self(minutes * 60_000 + second.min(59) * 1_000 + millis))
    }
}

fn number(digits: &[u8]) -> Result<i64, NotATime> {
    digits.iter().try_fold(0, |n, digit| match digit {
        b'0'..=b'9' => Ok(n * 10 + i64::from(digit - b'0')),
        _ => Err(NotATime),
    })
}

/// Parses the optional fraction of a second; returns milliseconds and the rest of the
/// text.
fn fraction(text: &[u8]) -> Result<(i64, &[u8]), NotATime> {
    let Some(fraction) = text.strip_prefix(b".") else {
        return Ok((0, text));
    };
    let length = fraction.iter().take_while(|c| c.is_ascii_digit()).count();
    if length == 0 {
        return Err(NotATime);
    }
    let digit = |place: usize| match fraction.get(place).filter(|_| place < length) {
        Some(digit) => i64::from(digit - b'0'),
        None => 0,
    };
    let millis = digit(0) * 100 + digit(1) * 10 + digit(2);
    Ok((millis, &fraction[length..]))
}

/// Parses an offset from UTC, in minutes.
fn offset(text: &[u8]) -> Result<i64, NotATime> {
    let [sign @ (b'+' | b'-'), time @ ..] = text else {
        return match text {
            b"Z" | b"z" => Ok(0),
            _ => Err(NotATime),
        };
    };
    if time.len() != 5 || time[2] != b':' {
        return Err(NotATime);
    }
    let (hours, minutes) = (number(&time[..2])?, number(&time[3..])?);
    if hours > 23 || minutes > 59 {
        return Err(NotATime);
    }
    let total = hours * 60 + minutes;
    Ok(if *sign == b'-' { -total } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_format_is_rfc3339_utc_with_milliseconds() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        assert_eq!(at.to_string(), "2023-11-14T22:13:20.123Z");
        let json = serde_json::to_string(&at).unwrap();
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), at);
        assert!(serde_json::from_str::<Timestamp>("\"yesterday\"").is_err());
    }

    #[test]
    fn times_are_rfc_3339_and_nothing_else() {
        for (text, expected) in [
            ("2026-11-20T08:30:00Z", Some("2026-11-20T08:30:00.000Z")),
            ("2026-11-20t08:30:00z", Some("2026-11-20T08:30:00.000Z")),
            (
                "2026-11-20T09:30:00+01:00",
                Some("2026-11-20T08:30:00.000Z"),
            ),
            (
                "2026-11-20T00:30:00-08:00",
                Some("2026-11-20T08:30:00.000Z"),
            ),
            (
                "2026-11-20T08:30:00-00:00",
                Some("2026-11-20T08:30:00.000Z"),
            ),
            ("2026-11-20T08:30:00.5Z", Some("2026-11-20T08:30:00.500Z")),
            (
                "2026-11-20T08:30:00.1234567891Z",
                Some("2026-11-20T08:30:00.123Z"),
            ),
            (
                "2026-11-20T08:30:00.9999999999999999999999999Z",
                Some("2026-11-20T08:30:00.999Z"),
            ),
            ("2016-12-31T23:59:60Z", Some("2016-12-31T23:59:59.000Z")),
            (
                "2016-12-31T15:59:60.5-08:00",
                Some("2016-12-31T23:59:59.500Z"),
            ),
            ("2016-12-31T23:59:60-08:00", None),
            ("2026-03-29T02:30:60Z", None),
            ("2024-02-29T00:00:00Z", Some("2024-02-29T00:00:00.000Z")),
            ("0000-01-01T00:00:00Z", Some("0000-01-01T00:00:00.000Z")),
            ("1969-12-31T23:59:59.999Z", Some("1969-12-31T23:59:59.999Z")),
            ("9999-12-30T21:59:59.999Z", Some("9999-12-30T21:59:59.999Z")),
            (
                "0000-01-01T00:00:00+23:59",
                Some("-000001-12-31T00:01:00.000Z"),
            ),
            // The zone contradicts the offset.
            ("2026-12-29T02:30:00-08:00[Europe/Berlin]", None),
            ("2026-12-29T02:30:00Z[UTC]", None),
            ("2026-12-29T02:30:00Z[u-ca=hebrew]", None),
            ("20260329T023000Z", None),
            ("2026-03-29 02:30:00Z", None),
            ("2026-03-29T02Z", None),
            ("2026-03-29T02:30Z", None),
            ("2026-03-29T02:30:00", None),
            ("2026-03-29T02:30:00+0100", None),
            ("2026-03-29T02:30:00+01", None),
            ("2026-03-29T02:30:00+01:00:00", None),
            ("2026-03-29T02:30:00 01:00", None),
            ("2026-03-29T02:30:00,5Z", None),
            ("2026-03-29T02:30:00.Z", None),
            ("2026-03-29T02:30:00.5", None),
            ("2026-03-29T02:30:00+25:00", None),
            ("2026-03-29T02:30:00+24:00", None),
            ("2026-03-29T02:30:00+01:60", None),
            ("2026-03-29T24:00:00Z", None),
            ("2026-03-29T02:60:00Z", None),
            ("2026-03-29T02:30:61Z", None),
            ("2026-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-00-01T00:00:00Z", None),
            ("-000001-01-01T00:00:00Z", None),
            ("+002026-01-01T00:00:00Z", None),
            ("\u{ff12}026-03-29T02:30:00Z", None),
            ("2026-03-29T02:30:00Z ", None),
            (" 2026-03-29T02:30:00Z", None),
            ("2026-03-29", None),
            ("1700000000", None),
            ("", None),
        ] {
            let read = text.parse::<Timestamp>().ok().map(|at| at.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn written_times_parse_back(millis in -62_167_219_200_000_i64..253_402_207_200_000) {
            let at = Timestamp::from_millis(millis);
            proptest::prop_assert_eq!(at.to_string().parse(), Ok(at));
        }
    }

    #[test]
    fn extremes_render_and_saturate() {
        assert!(
            Timestamp::from_millis(i64::MAX)
                .to_string()
                .starts_with("9999")
        );
        assert_eq!(
            Timestamp::from_millis(i64::MAX).plus_millis(5).as_millis(),
            i64::MAX
        );
        assert_eq!(
            Timestamp::from_millis(5).millis_since(Timestamp::from_millis(9)),
            0
        );
    }
}
