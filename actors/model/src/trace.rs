//! Trace contexts (W3C Trace Context, level 1).

use std::fmt;

/// A position in a trace: the trace, and the span that is the parent of further spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; not 0.
    pub trace_id: u128,
    /// The span; not 0.
    pub span_id: u64,
    /// True if the spans of this trace are recorded.
    pub sampled: bool,
}

/// Maximum accepted length of a `traceparent` of a later version. Fact: W3C Trace
/// Context, 3.2: versions after 00 may be longer than 55 characters.
const MAX_BYTES: usize = 128;

impl TraceContext {
    /// Parses a `traceparent` (3.2.2 of the specification). Returns `None` for an
    /// invalid one, which must be ignored.
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split('-');
        let mut part = |len: usize| parts.next().filter(|text| text.len() == len && hex(text));
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // Later versions may have more parts; version 00 has exactly these. The limit
        // keeps the stored text small.
        let length_fits = value.len() == 55 || (version != "00" && value.len() <= MAX_BYTES);
        if version == "ff" || !length_fits {
            return None;
        }
        let context = Self {
            trace_id: u128::from_str_radix(trace, 16).ok()?,
            span_id: u64::from_str_radix(span, 16).ok()?,
            sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        };
        (context.trace_id != 0 && context.span_id != 0).then_some(context)
    }

    /// Returns the trace id in hexadecimal.
    pub fn trace(&self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

fn hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Writes a `traceparent` of version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span, flags) = (self.trace_id, self.span_id, u8::from(self.sampled));
        write!(f, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents_are_parsed_strictly() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let later = format!("01{}-more", &good[2..]);
        for (value, expected) in [
            (good.to_owned(), true),
            (later, true),
            (format!("{good}-more"), false),
            (format!("ff{}", &good[2..]), false),
            (good.to_uppercase(), false),
            (
                good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
                false,
            ),
            (good.replace("00f067aa0ba902b7", &"0".repeat(16)), false),
            (good[..54].to_owned(), false),
            (String::new(), false),
            ("00-ü".to_owned(), false),
        ] {
            assert_eq!(TraceContext::parse(&value).is_some(), expected, "{value}");
        }
        let context = TraceContext::parse(good).unwrap();
        assert_eq!(context.to_string(), good);
        assert_eq!(context.trace(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(
            !TraceContext::parse(&good.replace("-01", "-00"))
                .unwrap()
                .sampled
        );
        assert!(
            TraceContext::parse(&good.replace("-01", "-03"))
                .unwrap()
                .sampled
        );
    }
}
