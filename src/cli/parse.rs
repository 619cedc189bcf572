//! Parsers of the values of arguments.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use bytesize::ByteSize;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use deia_model::{
    Behavior, DeliveryState, DeliveryStatus, DependencyFailure, EndReason, EventLevel, EventResult,
    OnBotDeath, OnExcess, Permission, Priority, Role, SignatureScheme, TaskStatus, Timestamp,
    Violation, ambiguity, split_key,
};
use serde_json::{Map, Value};

/// Parses a span of time such as `500ms`, `30s`, `5m`, `1h 30m`, `7days`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "expected a duration such as 500ms, 30s, 5m or 2h".into())
}

/// Parses a span of time that is not zero.
pub(super) fn some_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected more than zero, such as 30s".into()),
        span => Ok(span),
    }
}

/// Parses whole numbers in a range.
pub(super) fn whole<N>(
    range: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: FromStr + Display + PartialOrd + Bounded + Clone + Send + Sync + 'static,
{
    move |text| {
        // The type allows far more than the range, but no sign.
        let number: N = text.parse().map_err(|_| "expected a whole number")?;
        match range.contains(&number) {
            true => Ok(number),
            false if *range.end() == N::MAX => Err(format!("allowed is {} or more", range.start())),
            false => Err(format!("allowed are {} to {}", range.start(), range.end())),
        }
    }
}

/// A type with a largest number.
pub(super) trait Bounded: Sized {
    const MAX: Self;
}

impl Bounded for u32 {
    const MAX: Self = u32::MAX;
}

impl Bounded for u64 {
    const MAX: Self = u64::MAX;
}

/// Parses a size such as `512MiB` or `2GB`, in bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let size = text.parse::<ByteSize>();
    size.map(|size| size.as_u64())
        .map_err(|_| "expected a size such as 512MiB or 2GB".into())
}

/// Parses a number with or without a fraction.
pub(super) fn number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "expected a number such as 1.5".into())
}

/// Parses a span of time in whole seconds, at least one.
pub(super) fn whole_seconds(text: &str) -> Result<u64, String> {
    let span = duration(text)?;
    if span.subsec_nanos() != 0 || span.is_zero() {
        return Err("expected whole seconds, at least 1s".into());
    }
    Ok(span.as_secs())
}

/// Parses a point in time: RFC 3339, or a span from now on such as `+30m`.
pub(super) fn point_in_time(text: &str) -> Result<Timestamp, String> {
    match text.strip_prefix('+') {
        Some(span) => after(span),
        None => rfc_3339(text).ok_or_else(|| {
            "expected a time such as 2026-11-20T08:30:00Z, or a span such as +30m".into()
        }),
    }
}

/// Returns the point in time that long from now.
fn after(span: &str) -> Result<Timestamp, String> {
    Ok(Timestamp::now().plus_millis(milliseconds(span)?))
}

/// A point in time, or a span that the hive counts from the acceptance of a task: the
/// same arguments make the same request at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// At a point in time.
    At(Timestamp),
    /// After a span, in milliseconds.
    In(u64),
}

impl When {
    pub(super) fn at(self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::In(_) => None,
        }
    }

    pub(super) fn span(self) -> Option<u64> {
        match self {
            Self::At(_) => None,
            Self::In(ms) => Some(ms),
        }
    }
}

/// Parses a point in time, or a span such as `+30m`.
pub(super) fn time_or_span(text: &str) -> Result<When, String> {
    match text.strip_prefix('+') {
        Some(span) => milliseconds(span).map(When::In),
        None => point_in_time(text).map(When::At),
    }
}

/// Parses a point in time: RFC 3339, or a span before now, such as `2h`.
pub(super) fn time_past(text: &str) -> Result<Timestamp, String> {
    if let Some(at) = rfc_3339(text) {
        return Ok(at);
    }
    let ago = milliseconds(text).map_err(|_| {
        "expected a time such as 2026-11-20T08:30:00Z, or how long ago such as 2h".to_owned()
    })?;
    let ago = i64::try_from(ago).unwrap_or(i64::MAX);
    let at = Timestamp::now().as_millis().saturating_sub(ago);
    Ok(Timestamp::from_millis(at.max(0)))
}

/// Parses a span of time in milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<u64, String> {
    Ok(u64::try_from(duration(text)?.as_millis()).unwrap_or(u64::MAX))
}

fn rfc_3339(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// Parses `NAME=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".into()),
    }
}

/// Parses `NAME:VALUE`, as HTTP writes a header.
pub(super) fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        // The text may be secret.
        _ => Err("expected NAME:VALUE".into()),
    }
}

/// Parses `KEY=TEXT`, with `\=` for a `=` in the key.
pub(super) fn key_and_text(text: &str) -> Result<(String, String), String> {
    split_key(text, '=').ok_or_else(|| "expected KEY=TEXT".to_owned())
}

/// Parses `KEY=TEXT` or `KEY:=JSON`.
pub(super) fn metadata(text: &str) -> Result<(String, Value), String> {
    let (name, value) = pair(text).map_err(|_| "expected KEY=TEXT or KEY:=JSON".to_owned())?;
    let Some(name) = name.strip_suffix(':') else {
        return Ok((name, value.into()));
    };
    let read =
        serde_json::from_str(&value).map_err(|error| format!("{name}:= expects JSON: {error}"))?;
    match unclear(&value) {
        None => Ok((name.to_owned(), read)),
        Some(fault) => Err(format!("{name}:= {fault}")),
    }
}

/// Parses a JSON object.
pub(super) fn json_object(text: &str) -> Result<Map<String, Value>, String> {
    let read = serde_json::from_str(text);
    let read = read.map_err(|error| format!("expected a JSON object: {error}"))?;
    match unclear(text) {
        None => Ok(read),
        Some(fault) => Err(fault),
    }
}

/// Returns what makes a JSON document mean different things to different readers.
fn unclear(text: &str) -> Option<String> {
    let Violation { pointer, detail } = ambiguity(text)?;
    Some(match pointer.is_empty() {
        true => detail,
        false => format!("{pointer} {detail}"),
    })
}

/// Parses a task status.
pub(super) fn status() -> impl TypedValueParser<Value = TaskStatus> {
    one_of(TaskStatus::ALL.map(TaskStatus::as_str))
}

/// Parses the reason why a task failed or was cancelled.
pub(super) fn end_reason() -> impl TypedValueParser<Value = EndReason> {
    one_of(EndReason::ALL.map(EndReason::as_str))
}

/// Parses the consequence of a failed dependency.
pub(super) fn dependency_failure() -> impl TypedValueParser<Value = DependencyFailure> {
    PossibleValuesParser::new(["fail", "cancel", "start"])
        .try_map(|name| serde_json::from_value::<DependencyFailure>(Value::String(name)))
}

/// Parses the status of a waiting task.
pub(super) fn waiting_status() -> impl TypedValueParser<Value = TaskStatus> {
    one_of([TaskStatus::Pending, TaskStatus::Queued].map(TaskStatus::as_str))
}

/// Parses a role.
pub(super) fn role() -> impl TypedValueParser<Value = Role> {
    one_of(Role::ALL.map(Role::as_str))
}

/// Parses a permission.
pub(super) fn permission() -> impl TypedValueParser<Value = Permission> {
    PossibleValuesParser::new(Permission::ALL.iter().map(|one| one.as_str()))
        .try_map(|name| name.parse::<Permission>())
}

/// Parses a priority, in either case.
pub(super) fn priority() -> impl TypedValueParser<Value = Priority> {
    PossibleValuesParser::new(["P0", "P1", "P2", "P3"]).try_map(|name| {
        Priority::ALL
            .into_iter()
            .find(|priority| name.eq_ignore_ascii_case(&format!("P{}", priority.rank())))
            .ok_or("expected P0, P1, P2 or P3")
    })
}

/// Parses a preset of simulated behaviour.
pub(super) fn behavior() -> impl TypedValueParser<Value = Behavior> {
    let names = [
        "perfect",
        "normal",
        "slow",
        "unreliable",
        "offline",
        "resource_constrained",
    ];
    PossibleValuesParser::new(names)
        .try_map(|name| serde_json::from_value::<Behavior>(Value::String(name)))
}

/// Parses the fate of a task whose attempt was over a limit.
pub(super) fn on_excess() -> impl TypedValueParser<Value = OnExcess> {
    PossibleValuesParser::new(["retry", "fail"])
        .try_map(|name| serde_json::from_value::<OnExcess>(Value::String(name)))
}

/// Parses the scheme of a signature.
pub(super) fn signature() -> impl TypedValueParser<Value = SignatureScheme> {
    PossibleValuesParser::new(["v1", "v1a"])
        .try_map(|name| serde_json::from_value::<SignatureScheme>(Value::String(name)))
}

/// Parses the level of an event.
pub(super) fn level() -> impl TypedValueParser<Value = EventLevel> {
    one_of(EventLevel::ALL.map(EventLevel::as_str))
}

/// Parses the result of an event.
pub(super) fn result() -> impl TypedValueParser<Value = EventResult> {
    one_of(EventResult::ALL.map(EventResult::as_str))
}

/// Parses the consequence of the death of a session's bot.
pub(super) fn on_bot_death() -> impl TypedValueParser<Value = OnBotDeath> {
    one_of([OnBotDeath::Rebind, OnBotDeath::Fail].map(OnBotDeath::as_str))
}

/// Parses the state of a message between bots.
pub(super) fn delivery_status() -> impl TypedValueParser<Value = DeliveryStatus> {
    one_of(DeliveryStatus::ALL.map(DeliveryStatus::as_str))
}

/// Parses the state of a delivery.
pub(super) fn delivery_state() -> impl TypedValueParser<Value = DeliveryState> {
    one_of(DeliveryState::ALL.map(DeliveryState::as_str))
}

fn one_of<T, const N: usize>(names: [&'static str; N]) -> impl TypedValueParser<Value = T>
where
    T: FromStr + Clone + Send + Sync + 'static,
    T::Err: Display + Send + Sync + Into<Box<dyn std::error::Error + Send + Sync>>,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}

/// Splits a line as a shell would, with single and double quotes only: for examples in
/// tests.
#[cfg(test)]
pub(super) fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('|' | '>' | '<', None) => break,
            (' ', None) => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("1h 30m", Some(5_400_000)),
            ("7days", Some(604_800_000)),
            ("30", None),
            ("soon", None),
            ("", None),
            ("-5s", None),
        ] {
            let got = duration(text).ok().map(|span| span.as_millis());
            assert_eq!(got, expected, "{text}");
        }
        assert_eq!(whole_seconds("2m"), Ok(120));
        for text in ["0s", "1500ms", "x"] {
            assert!(whole_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn points() {
        let at = point_in_time("2026-11-20T09:30:00+01:00").unwrap();
        assert_eq!(at.to_string(), "2026-11-20T08:30:00.000Z");
        let soon = point_in_time("+30m").unwrap();
        let ahead = soon.millis_since(Timestamp::now());
        assert!((1_700_000..=1_800_000).contains(&ahead), "{ahead}");
        for text in ["yesterday", "+", "+x", "2026-11-20", "2026-11-20T08:30:00"] {
            assert!(point_in_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn points_past() {
        let at = time_past("2026-11-20T09:30:00+01:00").unwrap();
        assert_eq!(at.to_string(), "2026-11-20T08:30:00.000Z");
        let past = time_past("2h").unwrap();
        let ago = Timestamp::now().millis_since(past);
        assert!((7_200_000..=7_300_000).contains(&ago), "{ago}");
        assert_eq!(
            time_past("100000years").unwrap(),
            Timestamp::from_millis(0),
            "before there were tasks"
        );
        for text in ["yesterday", "", "+2h", "-2h", "2026-11-20"] {
            assert!(time_past(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pairs() {
        assert_eq!(pair("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(pair("A="), Ok(("A".into(), String::new())));
        assert!(pair("A").is_err() && pair("=b").is_err());
        assert_eq!(header("X-Team: a:b "), Ok(("X-Team".into(), "a:b".into())));
        assert!(header("X-Team").is_err() && header(": b").is_err());
        assert_eq!(metadata("n=5"), Ok(("n".into(), json!("5"))));
        assert_eq!(metadata("n:=5"), Ok(("n".into(), json!(5))));
        assert_eq!(
            metadata("n:={\"a\":[1]}"),
            Ok(("n".into(), json!({"a":[1]})))
        );
        assert!(metadata("n:=x").is_err() && metadata("n").is_err());
        assert_eq!(
            json_object("{\"a\": 1}").map(Value::from),
            Ok(json!({"a": 1}))
        );
        for text in ["", "1", "[]", "{\"a\":1,\"a\":2}", "{"] {
            assert!(json_object(text).is_err(), "{text}");
        }
    }
}
