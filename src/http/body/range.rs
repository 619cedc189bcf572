//! Ranges of bytes (RFC 9110, section 14) and the conditions under which they are answered.

use std::ops::Range;

use actix_web::http::header::{HeaderMap, IF_NONE_MATCH, IF_RANGE, RANGE};

/// The part of a representation that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: the request names no range, several ones, or one that is not valid.
    Whole,
    /// These bytes.
    Bytes(Range<u64>),
    /// Bytes beyond its end.
    Beyond,
}

/// Returns the part of a representation with that length and that strong `ETag` that a request
/// asks for. Several ranges are answered with the whole, which section 14.2 allows.
pub(crate) fn part(headers: &HeaderMap, length: u64, etag: &str) -> Part {
    let one = |name| {
        let mut values = headers.get_all(name);
        let first = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(first.trim())
    };
    let Some(range) = one(RANGE) else {
        return Part::Whole;
    };
    // A date or a weak tag never equals a strong tag.
    let fits = !headers.contains_key(IF_RANGE) || one(IF_RANGE) == Some(etag);
    match fits {
        true => bytes_of(range, length),
        false => Part::Whole,
    }
}

/// Returns whether the client has the representation with that `ETag` already.
pub(crate) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(IF_NONE_MATCH);
    known
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

fn bytes_of(range: &str, length: u64) -> Part {
    let unit_and_set = range.split_once('=');
    let Some((first, last)) = unit_and_set
        .filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"))
        .and_then(|(_, set)| set.trim().split_once('-'))
    else {
        return Part::Whole;
    };
    let last = match (last.is_empty(), number(last)) {
        (true, _) => None,
        (false, Some(last)) => Some(last),
        // A set of several ranges, or no range at all.
        (false, None) => return Part::Whole,
    };
    if first.is_empty() {
        return match last {
            None => Part::Whole,
            Some(0) => Part::Beyond,
            // The end of nothing is all of it.
            Some(_) if length == 0 => Part::Whole,
            Some(n) => Part::Bytes(length.saturating_sub(n)..length),
        };
    }
    match number(first) {
        None => Part::Whole,
        Some(first) if last.is_some_and(|last| last < first) => Part::Whole,
        Some(first) if first >= length => Part::Beyond,
        Some(first) => {
            let end = last.map_or(length, |last| length.min(last.saturating_add(1)));
            Part::Bytes(first..end)
        }
    }
}

/// Returns the number that consists of these digits; the largest one if there are too many.
fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(of: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn one_range_is_a_part_and_any_other_text_is_the_whole() {
        for (range, expected) in [
            ("bytes=0-0", Part::Bytes(0..1)),
            ("bytes=2-4", Part::Bytes(2..5)),
            ("Bytes= 2-4", Part::Bytes(2..5)),
            ("bytes=2-", Part::Bytes(2..10)),
            ("bytes=2-99", Part::Bytes(2..10)),
            ("bytes=9-18446744073709551616", Part::Bytes(9..10)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-99", Part::Bytes(0..10)),
            ("bytes=10-", Part::Beyond),
            ("bytes=10-12", Part::Beyond),
            ("bytes=99999999999999999999-", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=0-,3-4", Part::Whole),
            ("bytes=4-2", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=--3", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(bytes_of(range, 10), expected, "{range}");
        }
        for (range, expected) in [
            ("bytes=0-", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=-5", Part::Whole),
        ] {
            assert_eq!(bytes_of(range, 0), expected, "{range} of nothing");
        }
    }

    #[test]
    fn range_of_another_representation_is_the_whole() {
        let range = (RANGE, "bytes=0-4");
        for (conditions, expected) in [
            (vec![], Part::Bytes(0..5)),
            (vec![(IF_RANGE, "\"a\"")], Part::Bytes(0..5)),
            (vec![(IF_RANGE, "\"b\"")], Part::Whole),
            (vec![(IF_RANGE, "W/\"a\"")], Part::Whole),
            (
                vec![(IF_RANGE, "Wed, 21 Oct 2026 07:28:00 GMT")],
                Part::Whole,
            ),
            (vec![(RANGE, "bytes=5-6")], Part::Whole),
        ] {
            let all = [vec![range.clone()], conditions].concat();
            assert_eq!(part(&headers(&all), 10, "\"a\""), expected, "{all:?}");
        }
        assert_eq!(part(&HeaderMap::new(), 10, "\"a\""), Part::Whole);
    }

    #[test]
    fn known_representations_are_recognised() {
        for (tags, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            let headers = headers(&[(IF_NONE_MATCH, tags)]);
            assert_eq!(is_known(&headers, "\"a\""), expected, "{tags}");
        }
        assert!(!is_known(&HeaderMap::new(), "\"a\""));
    }
}
