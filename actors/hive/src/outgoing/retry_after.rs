//! The header `Retry-After` (RFC 9110, 10.2.3). Pure.

use std::time::{Duration, SystemTime};

/// Returns the delay that the header asks for, in either form, at most `limit`. A date in the
/// past is no delay; a text of neither form is ignored.
pub(super) fn retry_after(text: &str, now: SystemTime, limit: Duration) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Digits that are too many for a number ask for more than any limit.
        let seconds = text.parse().map_or(limit, Duration::from_secs);
        return Some(seconds.min(limit));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(now).unwrap_or_default().min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_bounded() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let limit = Duration::from_secs(3_600);
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("3601", Some(3_600)),
            ("99999999999999999999999999", Some(3_600)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(3_600)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(text, now, limit), expected, "{text:?}");
        }
    }
}
