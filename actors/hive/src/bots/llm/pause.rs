//! Pauses that a provider asks for in the headers of a refusal. Pure.

use std::time::Duration;

use deia_model::Timestamp;
use reqwest::header::HeaderMap;

/// Limits of a provider, by the names of their headers: what is left, and when there is more.
const LIMITS: [(&str, &str); 3] = [
    (
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
];

/// Least number that is a time, in seconds, and not a delay: September 2001. Fact: no
/// provider asks for a pause of decades.
const LEAST_EPOCH_SECONDS: f64 = 1e9;
/// Least number that is a time in milliseconds. Fact: no provider asks for a pause of
/// decades.
const LEAST_EPOCH_MILLIS: f64 = 1e12;

/// Returns the pause that a refusal asks for; `Retry-After`, as it was read, comes first.
pub(super) fn of(headers: &HeaderMap, retry_after: Option<Duration>) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // A variant that some providers send along, and that is more exact.
    let exact = text("retry-after-ms").and_then(|ms| ms.trim().parse().ok());
    if let Some(pause) = exact.map(Duration::from_millis).or(retry_after) {
        return Some(pause);
    }
    let now = Timestamp::now();
    let used_up = LIMITS.iter().filter_map(|(remaining, reset)| {
        // A limit that is not used up is not the reason.
        let is_left = text(remaining).is_some_and(|left| left.trim() != "0");
        delay(text(reset)?, now).filter(|_| !is_left)
    });
    used_up.max()
}

/// Reads a delay: `1m30.5s`, `850ms`, seconds, or a time since 1970.
fn delay(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        let seconds = match number {
            n if n >= LEAST_EPOCH_MILLIS => n / 1e3 - seconds_of(now),
            n if n >= LEAST_EPOCH_SECONDS => n - seconds_of(now),
            n => n,
        };
        return Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        seconds += number
            * match &rest[..letters] {
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3_600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok())?
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
fn seconds_of(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_read_in_each_form() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        for (text, millis) in [
            ("1s", Some(1_000)),
            ("6m0s", Some(360_000)),
            ("1h2m3s", Some(3_723_000)),
            ("850ms", Some(850)),
            ("1m30.5s", Some(90_500)),
            ("12", Some(12_000)),
            ("0.25", Some(250)),
            ("1700000060", Some(60_000)),
            ("1700000060000", Some(60_000)),
            ("1600000000", Some(0)),
            ("-5", Some(0)),
            ("", None),
            ("soon", None),
            ("5 minutes", None),
            ("5x", None),
            ("s", None),
            ("NaN", Some(0)),
            ("inf", None),
        ] {
            let expected = millis.map(Duration::from_millis);
            assert_eq!(delay(text, now), expected, "{text:?}");
        }
    }

    #[test]
    fn pause_is_that_of_the_limit_that_is_used_up() {
        let seconds = Duration::from_secs;
        for (headers, retry_after, expected) in [
            (&[][..], None, None),
            (&[], Some(7), Some(7)),
            (&[("x-ratelimit-reset-requests", "9s")], Some(7), Some(7)),
            (&[("retry-after-ms", "3000")], Some(7), Some(3)),
            (&[("x-ratelimit-reset-requests", "9s")], None, Some(9)),
            (
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "9s"),
                    ("x-ratelimit-remaining-tokens", "100"),
                    ("x-ratelimit-reset-tokens", "60s"),
                ],
                None,
                Some(9),
            ),
            (
                &[
                    ("x-ratelimit-reset-requests", "9s"),
                    ("x-ratelimit-reset-tokens", "60s"),
                ],
                None,
                Some(60),
            ),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            let found = of(&map, retry_after.map(seconds));
            assert_eq!(found, expected.map(seconds), "{headers:?}");
        }
    }
}
