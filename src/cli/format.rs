//! Numbers, times and texts for people.

use std::time::Duration;

use deia_model::Timestamp;

const UNITS_MS: [(u64, &str); 4] = [
    (86_400_000, "d"),
    (3_600_000, "h"),
    (60_000, "m"),
    (1_000, "s"),
];

/// Formats a span of time with at most two units: `250ms`, `12s`, `3m 5s`, `4d 3h`.
pub(super) fn duration(span: Duration) -> String {
    millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// Formats milliseconds as a span of time.
pub(super) fn millis(ms: u64) -> String {
    let Some(first) = UNITS_MS.iter().position(|(unit, _)| ms >= *unit) else {
        return format!("{ms}ms");
    };
    let (unit, name) = UNITS_MS[first];
    let whole = format!("{}{name}", ms / unit);
    match UNITS_MS.get(first + 1) {
        Some((next, next_name)) if ms % unit >= *next => {
            format!("{whole} {}{next_name}", ms % unit / next)
        }
        Some(_) => whole,
        None if ms < 10_000 && ms % 1_000 >= 100 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        None => whole,
    }
}

/// Formats a point in time relative to `now`, in one unit: `now`, `3m ago`, `in 2h`.
pub(super) fn when(at: Timestamp, now: Timestamp) -> String {
    let (past, ms) = if at <= now {
        (true, now.millis_since(at))
    } else {
        (false, at.millis_since(now))
    };
    let Some((unit, name)) = UNITS_MS.iter().find(|(unit, _)| ms >= *unit) else {
        return "now".into();
    };
    let amount = format!("{}{name}", ms / unit);
    if past {
        format!("{amount} ago")
    } else {
        format!("in {amount}")
    }
}

/// Formats a point in time, absolute and relative to `now`.
pub(super) fn when_exactly(at: Timestamp, now: Timestamp) -> String {
    format!("{at} ({})", when(at, now))
}

/// Formats a number of things: `1 task`, `2 tasks`.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Formats a size in binary units: `512 B`, `1.5 GiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1_024 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mut value = count as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 1_023.95 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Formats a percentage, 0 to 100: `12.3 %`.
pub(super) fn percent(value: f64) -> String {
    format!("{value:.1} %")
}

/// Formats a share, 0 to 1, as a percentage.
pub(super) fn share(value: f64) -> String {
    percent(value * 100.0)
}

/// Returns the text with characters escaped that a terminal would interpret: control
/// characters other than line feed and tab, and characters that reorder a line.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if acts(c) => out.push_str(&escaped(c)),
            c => out.push(c),
        }
    }
    out
}

/// Returns a JSON document with such characters escaped: the values stay the same.
pub(super) fn inert_json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for c in document.chars() {
        match c {
            // Between values; within texts they are escaped already.
            '\n' => out.push(c),
            c if acts(c) => out.push_str(&escaped(c)),
            c => out.push(c),
        }
    }
    out
}

/// Returns the JSON escape. All of these characters are in the basic plane.
fn escaped(c: char) -> String {
    format!("\\u{:04x}", u32::from(c))
}

/// Returns whether a terminal would interpret the character rather than show it.
pub(super) fn acts(c: char) -> bool {
    c.is_control() || reorders(c)
}

/// Returns the text with such characters escaped, on one line.
pub(super) fn one_line(text: &str) -> String {
    printable(text.trim_end()).replace(['\n', '\t'], " ")
}

/// Maximum length of a text in a row of a table, in characters. Fixed: of the command
/// line, which has no settings.
const SHORT: usize = 160;

/// Shortens an error for a row of a table: the cause and the last line of a program's
/// output, on one line, truncated.
pub(super) fn short(error: &str) -> String {
    beginning(&deia_model::summary(error))
}

/// Returns the beginning of a text, on one line, for a row of a table.
pub(super) fn beginning(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(SHORT) {
        None => line,
        Some((end, _)) => format!("{}...", &line[..end]),
    }
}

fn reorders(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_and_many() {
        for (n, expected) in [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks")] {
            assert_eq!(count(n, "task", "tasks"), expected);
        }
    }

    #[test]
    fn spans() {
        for (ms, expected) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (1_049, "1s"),
            (1_550, "1.5s"),
            (12_900, "12s"),
            (60_000, "1m"),
            (185_000, "3m 5s"),
            (3_600_000, "1h"),
            (3_659_000, "1h"),
            (7_380_000, "2h 3m"),
            (86_400_000 * 4 + 3_600_000 * 3, "4d 3h"),
        ] {
            assert_eq!(millis(ms), expected, "{ms}");
        }
    }

    #[test]
    fn points_in_time() {
        let now = Timestamp::from_millis(1_000_000_000);
        for (offset, expected) in [
            (0, "now"),
            (-999, "now"),
            (-1_000, "1s ago"),
            (-90_000, "1m ago"),
            (-200_000_000, "2d ago"),
            (7_200_000, "in 2h"),
            (500, "now"),
        ] {
            let at = Timestamp::from_millis(1_000_000_000 + offset);
            assert_eq!(when(at, now), expected, "{offset}");
        }
    }

    #[test]
    fn sizes() {
        for (count, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536 << 20, "1.5 GiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(count), expected, "{count}");
        }
    }

    #[test]
    fn terminals_are_not_told_what_to_do() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n\tc"), "a\\u001b[2Jb\\u000d\n\tc");
        assert_eq!(printable("\u{9b}\u{202e}\u{7f}"), "\\u009b\\u202e\\u007f");
        assert_eq!(one_line("a\nb\n"), "a b");
    }

    proptest! {
        #[test]
        fn nothing_printed_is_a_control_character(text: String) {
            prop_assert!(!printable(&text).chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
            prop_assert!(!one_line(&text).chars().any(char::is_control));
        }
    }
}
