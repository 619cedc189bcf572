//! A scanner that recognises entries in canonical form without parsing them in full: the
//! fields that verification needs, at the speed of hashing.
//!
//! It accepts less than [`Entry::parse`](crate::entry::Entry::parse): an entry with an escaped
//! character is left to the parser, [`read`]. Canonical JSON escapes quotes within texts, so the
//! first quote ends a text, and the names of members cannot occur within one.

use deia_model::Position;

use crate::entry::{Entry, canonical};

/// Hexadecimal digits of a hash. Fact: FIPS 180-4: SHA-256 gives 32 bytes.
pub(super) const HASH_DIGITS: usize = 64;

/// The fields of an entry that verification needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scanned<'e> {
    /// The dotted name of the action.
    pub(super) action: &'e [u8],
    /// The position of the event.
    pub(super) position: Position,
    /// Offset of the hash of the details, in lower-case hexadecimal digits.
    pub(super) commitment: Option<usize>,
}

/// Returns the fields of an entry; `None` if it takes the parser to find out.
pub(super) fn scan(entry: &[u8]) -> Option<Scanned<'_>> {
    let mut it = Scanner {
        rest: entry,
        beyond_ascii: false,
    };
    it.expect(b"{\"action\":\"")?;
    let action = it.text()?;
    it.expect(b",\"actor\":\"")?;
    it.text()?;
    it.expect(b",\"at\":\"")?;
    it.time()?;
    if it.next(b",\"attempt\":") {
        u32::try_from(it.number()?).ok()?;
    }
    it.optional_text(b",\"bot_id\":\"")?;
    let commitment = match it.next(b",\"details_sha256\":\"") {
        true => {
            let at = entry.len() - it.rest.len();
            it.hash()?;
            Some(at)
        }
        false => None,
    };
    it.expect(b",\"level\":\"")?;
    it.one_of(&[b"info\"", b"warning\"", b"critical\""])?;
    it.optional_text(b",\"owner\":\"")?;
    it.expect(b",\"result\":\"")?;
    it.one_of(&[b"success\"", b"failure\"", b"partial\""])?;
    it.expect(b",\"seq\":")?;
    let seq = it.number()?;
    it.optional_text(b",\"session_id\":\"")?;
    it.optional_text(b",\"status\":\"")?;
    if it.next(b",\"tags\":[") {
        it.texts()?;
    }
    it.expect(b",\"target\":{\"id\":\"")?;
    it.text()?;
    it.expect(b",\"type\":\"")?;
    it.text()?;
    it.expect(b"}")?;
    it.optional_text(b",\"task_type\":\"")?;
    it.expect(b",\"timeline\":")?;
    let timeline = it.number()?;
    it.optional_text(b",\"trace_id\":\"")?;
    it.expect(b",\"v\":")?;
    u32::try_from(it.number()?).ok()?;
    it.expect(b"}")?;
    if !it.rest.is_empty() || (it.beyond_ascii && std::str::from_utf8(entry).is_err()) {
        return None;
    }
    Some(Scanned {
        action,
        position: Position { timeline, seq },
        commitment,
    })
}

/// Parses an entry in full, and checks that it is in canonical form.
///
/// # Errors
/// The fault.
pub(super) fn read(bytes: &[u8]) -> Result<Entry, String> {
    let entry = Entry::parse(bytes).map_err(|error| format!("it is not an entry: {error}"))?;
    let value = serde_json::to_value(&entry).map_err(|error| error.to_string())?;
    if canonical(&value).as_bytes() != bytes {
        return Err("it is not in canonical form (RFC 8785)".into());
    }
    if entry.details_sha256.is_some() && entry.commitment().is_none() {
        return Err("its details_sha256 is not a SHA-256 hash in lower-case digits".into());
    }
    Ok(entry)
}

/// Returns the offset of the hash of the details within an entry in canonical form.
pub(super) fn commitment_in(bytes: &[u8], entry: &Entry) -> Option<usize> {
    const NAME: &[u8] = b",\"details_sha256\":\"";
    entry.details_sha256.as_ref()?;
    // Quotes within texts are escaped, so that the name is not found there.
    let at = bytes.windows(NAME.len()).position(|some| some == NAME)?;
    Some(at + NAME.len())
}

struct Scanner<'e> {
    rest: &'e [u8],
    /// True if a text has characters beyond ASCII.
    beyond_ascii: bool,
}

/// A word of bytes that are 1. Fact: the arithmetic of bytes in a word.
const ONES: u64 = u64::MAX / 255;
/// A word of bytes whose high bits are set. Fact: the arithmetic of bytes in a word.
const HIGHS: u64 = ONES << 7;

/// Marks bytes that are zero. The lowest mark is right, those above it may not be.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

impl<'e> Scanner<'e> {
    /// Passes over the text, if it comes next.
    #[inline(always)]
    fn next(&mut self, text: &[u8]) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    #[inline(always)]
    fn expect(&mut self, text: &[u8]) -> Option<()> {
        self.next(text).then_some(())
    }

    fn one_of(&mut self, texts: &[&[u8]]) -> Option<()> {
        texts.iter().any(|text| self.next(text)).then_some(())
    }

    #[inline(always)]
    fn optional_text(&mut self, name: &[u8]) -> Option<()> {
        match self.next(name) {
            true => self.text().map(drop),
            false => Some(()),
        }
    }

    /// Passes over a text without escaped characters and the quote that ends it.
    #[inline(always)]
    fn text(&mut self) -> Option<&'e [u8]> {
        let all = self.rest;
        let mut at = 0;
        while let Some(bytes) = all.get(at..at + 8) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            let word = u64::from_le_bytes(word);
            let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
            let quote = zeros(word ^ (ONES * u64::from(b'"')));
            let escape = zeros(word ^ (ONES * u64::from(b'\\')));
            let marks = control | quote | escape;
            if marks != 0 {
                let within = usize::try_from(marks.trailing_zeros() / 8).ok()?;
                let before = word & ((1_u64 << (8 * within)) - 1);
                self.beyond_ascii |= before & HIGHS != 0;
                return self.end_text(at + within);
            }
            self.beyond_ascii |= word & HIGHS != 0;
            at += 8;
        }
        while let Some(byte) = all.get(at) {
            if *byte < b' ' || *byte == b'"' || *byte == b'\\' {
                return self.end_text(at);
            }
            self.beyond_ascii |= *byte >= 0x80;
            at += 1;
        }
        None
    }

    #[inline(always)]
    fn end_text(&mut self, length: usize) -> Option<&'e [u8]> {
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest.strip_prefix(b"\"")?;
        Some(text)
    }

    /// Passes over one text at least, and the bracket behind the last.
    fn texts(&mut self) -> Option<()> {
        loop {
            self.expect(b"\"")?;
            self.text()?;
            if self.next(b"]") {
                return Some(());
            }
            self.expect(b",")?;
        }
    }

    /// Passes over a whole number without superfluous zeros.
    #[inline(always)]
    fn number(&mut self) -> Option<u64> {
        let mut value: u64 = 0;
        let mut digits = 0;
        while let Some(digit) = self.rest.get(digits).filter(|byte| byte.is_ascii_digit()) {
            value = value
                .checked_mul(10)?
                .checked_add(u64::from(*digit - b'0'))?;
            digits += 1;
        }
        let is_padded = digits > 1 && self.rest.first() == Some(&b'0');
        if digits == 0 || is_padded {
            return None;
        }
        self.rest = &self.rest[digits..];
        Some(value)
    }

    /// Passes over a hash in lower-case digits and the quote behind it.
    #[inline(always)]
    fn hash(&mut self) -> Option<()> {
        let (digits, rest) = self.rest.split_first_chunk::<HASH_DIGITS>()?;
        let is_digit = |byte: u8| byte.wrapping_sub(b'0') < 10 || byte.wrapping_sub(b'a') < 6;
        // Without an end within, so that it becomes vector code.
        let all = digits.iter().fold(true, |all, byte| all & is_digit(*byte));
        self.rest = rest.strip_prefix(b"\"")?;
        all.then_some(())
    }

    /// Passes over a time such as `2026-11-29T08:00:00.123Z` and the quote behind it.
    #[inline(always)]
    fn time(&mut self) -> Option<()> {
        let (time, rest) = self.rest.split_first_chunk::<25>()?;
        const FORM: &[u8; 25] = b"0000-00-00T00:00:00.000Z\"";
        let fits = time.iter().zip(FORM).fold(true, |fits, (byte, form)| {
            let is_digit = byte.wrapping_sub(b'0') < 10;
            fits & ((*form == b'0') & is_digit | (*form != b'0') & (byte == form))
        });
        let two = |at: usize| {
            u32::from(time[at].wrapping_sub(b'0')) * 10 + u32::from(time[at + 1].wrapping_sub(b'0'))
        };
        let (century, month, day) = (two(0), two(5), two(8));
        // The ends of the calendar, and 29 February, are left to the parser.
        let last = match month {
            2 => 28,
            month => 30 + ((month + (month >> 3)) & 1),
        };
        let is_date =
            (19..=97).contains(&century) && (1..=12).contains(&month) && (1..=last).contains(&day);
        let is_time = two(11) < 24 && two(14) < 60 && two(17) < 60;
        self.rest = rest;
        (fits && is_date && is_time).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use deia_model::{Event, EventRows};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::entry::{Draft, Encoder, Names};

    fn entry(event: &Event, commitment: Option<&[u8; 32]>) -> String {
        let names = Names {
            actor: &event.actor,
            owner: event.owner.as_deref(),
            target: &event.target.id,
        };
        let mut out = String::new();
        let rows: EventRows = [event].into_iter().collect();
        for event in rows.iter() {
            let draft = Draft {
                event: &event,
                names,
                commitment,
            };
            Encoder::default().encode(draft, &mut out);
        }
        out
    }

    fn least() -> Event {
        serde_json::from_value(json!({
            "seq": 7, "timeline": 2, "at": "2026-11-29T08:00:00.123Z", "action": "task.completed",
            "level": "info", "actor": "b-1", "target": {"type": "task", "id": "task_1"},
            "result": "success", "v": 1, "details": null
        }))
        .unwrap()
    }

    fn most() -> Event {
        serde_json::from_value(json!({
            "seq": u64::MAX, "timeline": 0, "at": "2024-12-31T23:59:59.999Z",
            "action": "task.failed", "level": "critical", "actor": "user_abc",
            "target": {"type": "task", "id": "t\u{e9}_1"}, "owner": "user_def", "result": "partial",
            "task_type": "brief", "bot_id": "b-1", "tags": ["eu", "\u{1f41d} bee", ""],
            "attempt": 4_294_967_295_u32, "status": "completed", "session_id": "s", "v": 1,
            "details": null, "trace_id": "0123456789abcdef"
        }))
        .unwrap()
    }

    /// Checks that the scanner finds what the parser finds, if it finds something.
    fn agree(bytes: &[u8]) -> bool {
        let Some(scanned) = scan(bytes) else {
            return false;
        };
        let entry = read(bytes).unwrap();
        assert_eq!(entry.action.as_bytes(), scanned.action);
        assert_eq!(entry.position(), scanned.position);
        let commitment = scanned
            .commitment
            .map(|at| bytes[at..at + HASH_DIGITS].to_vec());
        assert_eq!(scanned.commitment, commitment_in(bytes, &entry));
        assert_eq!(entry.details_sha256.map(String::into_bytes), commitment);
        true
    }

    #[test]
    fn entries_without_escapes_are_scanned() {
        for event in [least(), most()] {
            for commitment in [None, Some(&[0xab; 32])] {
                assert!(agree(entry(&event, commitment).as_bytes()));
            }
        }
        for day in 1..=365 {
            let mut event = least();
            let at = deia_model::Timestamp::from_millis(1_767_225_600_000 + day * 86_400_000);
            event.at = at;
            assert!(agree(entry(&event, None).as_bytes()), "{at}");
        }
        let mut quoted = least();
        quoted.actor = "ada \"l\"".into();
        let quoted = entry(&quoted, None);
        assert!(scan(quoted.as_bytes()).is_none() && read(quoted.as_bytes()).is_ok());
    }

    #[test]
    fn other_forms_are_no_entries() {
        let good = entry(&most(), Some(&[0xab; 32]));
        for (from, to) in [
            (
                "\"seq\":18446744073709551615",
                "\"seq\":18446744073709551616",
            ),
            ("\"timeline\":0", "\"timeline\":00"),
            ("\"timeline\":0", "\"timeline\":-1"),
            ("\"v\":1", "\"v\":4294967296"),
            ("\"v\":1", "\"v\":1,\"w\":1"),
            ("12-31T", "11-31T"),
            ("12-31T", "02-30T"),
            ("2024-12-31T23:59:59.999Z", "2024-12-31T23:59:60.000Z"),
            ("2024-12-31T23:59:59.999Z", "2024-12-31T23:59:59.999999Z"),
            ("23:59:59.999Z", "24:00:00.000Z"),
            ("abab\"", "abaB\""),
            ("\"critical\"", "\"grave\""),
            ("[\"eu\"", "[\"eu\", \"x\""),
            ("\"action\"", " \"action\""),
            ("\"owner\":\"user_def\",", "\"owner\":null,"),
            ("\"s\"", "\"\\u0073\""),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(good, bad, "{from}");
            assert!(scan(bad.as_bytes()).is_none(), "{to}");
            assert!(read(bad.as_bytes()).is_err(), "{to}");
        }
        let mut not_utf8 = good.clone().into_bytes();
        let at = good.find('\u{e9}').unwrap();
        not_utf8[at] = 0xff;
        assert!(scan(&not_utf8).is_none() && read(&not_utf8).is_err());
        assert!(scan(b"").is_none() && scan(&good.as_bytes()[..good.len() - 1]).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn scanner_accepts_nothing_that_the_parser_refuses(
            is_most in any::<bool>(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4)
        ) {
            let event = if is_most { most() } else { least() };
            let mut bytes = entry(&event, Some(&[0x9f; 32])).into_bytes();
            for (at, byte, how) in edits {
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => drop(bytes.remove(at)),
                }
            }
            agree(&bytes);
        }
    }
}
