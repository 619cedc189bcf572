//! Content negotiation (RFC 9110, section 12.5.1) where an operation has two forms of answer.

use actix_web::http::header::{ACCEPT, HeaderMap};

/// Returns true if the client names `wanted`, and likes nothing less than `usual`. Equal
/// wishes for both by name get the usual form.
pub(crate) fn prefers(headers: &HeaderMap, wanted: &str, usual: &str) -> bool {
    let ranges: Vec<_> = headers
        .get_all(ACCEPT)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(range)
        .collect();
    let named = |name: &str| {
        let mut fitting = ranges
            .iter()
            .filter(|(of, _)| of.eq_ignore_ascii_case(name));
        fitting.next().map(|(_, weight)| *weight)
    };
    let group = usual.split('/').next().unwrap_or_default();
    let any = named(&format!("{group}/*")).or_else(|| named("*/*"));
    match (named(wanted), named(usual)) {
        (None | Some(0), _) => false,
        (Some(wanted), Some(usual)) => wanted > usual,
        (Some(wanted), None) => wanted >= any.unwrap_or(0),
    }
}

/// Returns a media range, and its weight in thousandths.
fn range(text: &str) -> (&str, u16) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    (name, weight.map_or(1_000, thousandths))
}

/// Returns a weight of at most three digits after the point; 0 for any other text.
fn thousandths(weight: &str) -> u16 {
    let (whole, rest) = weight.split_once('.').unwrap_or((weight, ""));
    if whole == "1" {
        return 1_000;
    }
    match rest.len() {
        1..=3 => format!("{rest:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn streams_are_for_clients_who_name_them() {
        for (accept, expected) in [
            (&[][..], false),
            (&[""], false),
            (&["*/*"], false),
            (&["application/json"], false),
            (&["text/event-stream"], true),
            (&["Text/Event-Stream; q=1.0"], true),
            (&["text/event-stream, */*"], true),
            (&["text/event-stream;q=0.5, */*"], false),
            (&["text/event-stream;q=0.5, */*;q=0.1"], true),
            (&["text/event-stream, application/*;q=0.9"], true),
            (&["application/json, text/event-stream"], false),
            (&["application/json;q=0.9, text/event-stream"], true),
            (
                &["application/json;q=0.25", "text/event-stream;q=0.255"],
                true,
            ),
            (&["text/event-stream;q=0"], false),
            (&["text/event-stream;q=x"], false),
            (&["text/*"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, HeaderValue::from_static(value));
            }
            let prefers = prefers(&headers, "text/event-stream", "application/json");
            assert_eq!(prefers, expected, "{accept:?}");
        }
    }
}
