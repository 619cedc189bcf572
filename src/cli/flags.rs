//! Translation of fields of requests into options of the command line.
//!
//! The API names an invalid field by a JSON pointer into the body of the request. Users
//! who typed options have never seen that body.

use deia_client::ClientError;

use super::{definition::HiveNoun, error::CliError, format};

/// A field of a request, by the beginning of its pointer, and the option for it.
type Names = &'static [(&'static str, &'static str)];

const TASK: Names = &[
    ("/content", "CONTENT"),
    ("/type", "--type"),
    ("/priority", "--priority"),
    ("/tags", "--tag"),
    ("/metadata", "--metadata"),
    ("/run_at", "--run-at"),
    ("/delay_ms", "--delay"),
    ("/expires_at", "--expires"),
    ("/expires_in_ms", "--expires"),
    ("/max_attempts", "--max-attempts"),
    ("/timeout_seconds", "--timeout"),
    ("/idle_timeout_seconds", "--idle-timeout"),
    ("/estimated_duration_seconds", "--estimate"),
    ("/retry/min_ms", "--retry-min"),
    ("/retry/max_ms", "--retry-max"),
    ("/retry/factor", "--retry-factor"),
    ("/retry/jitter", "--retry-jitter"),
    ("/dedup_key", "--dedup-key"),
    ("/session_id", "--session"),
    ("/depends_on", "--depends-on"),
    ("/on_dependency_failure", "--on-dependency-failure"),
    ("/idempotency_key", "--idempotency-key"),
    ("/submitter", "--submitter"),
    ("/created_after", "--since"),
    ("/created_before", "--until"),
    ("/bot", "--bot"),
    ("/reason", "--reason"),
];
const BOT: Names = &[
    ("/executor/command", "the program"),
    ("/executor/env", "--env"),
    ("/executor/working_dir", "--working-dir"),
    ("/executor/behavior", "--simulated"),
    ("/capabilities/max_concurrent_tasks", "--max-concurrent"),
    ("/capabilities/specializations", "--specialize"),
    ("/capabilities/bot_type", "--bot-type"),
    ("/secrets", "--secret"),
    ("/group", "--group"),
    ("/labels", "--label"),
    ("/fallback", "--fallback"),
    ("/limits/memory_bytes", "--max-memory"),
    ("/limits/cpu_seconds", "--max-cpu"),
    ("/limits/descriptors", "--max-descriptors"),
    ("/limits/processes", "--max-processes"),
    (
        "/limits",
        "--max-memory, --max-cpu, --max-descriptors, --max-processes",
    ),
    ("/idle_timeout_seconds", "--idle-timeout"),
    ("/probe/http_path", "--probe-http"),
    ("/probe/command", "--probe-command"),
    ("/probe/every_seconds", "--probe-every"),
    ("/probe/timeout_seconds", "--probe-timeout"),
    ("/probe/failures", "--probe-failures"),
    ("/probe", "--probe-tcp, --probe-http, --probe-command"),
    // It is in files only.
    ("/template", "--file"),
];
const DEGRADE: Names = &[
    ("/level", "LEVEL"),
    ("/reason", "--reason"),
    ("/duration_seconds", "--for"),
];
const SECRET: Names = &[("/value", "--from")];
const USER: Names = &[
    ("/id", "NAME"),
    ("/role", "--role"),
    ("/active", "--inactive"),
];
const KEY: Names = &[
    ("/user", "--user"),
    ("/role", "--role"),
    ("/name", "--name"),
    ("/scopes", "--scope"),
    ("/allow_ips", "--allow-ip"),
    ("/bot", "--bot"),
    ("/expires_at", "--expires"),
    ("/overlap_seconds", "--overlap"),
];
const WEBHOOK: Names = &[
    ("/url", "the URL"),
    ("/description", "--description"),
    ("/events", "--event"),
    ("/task_types", "--task-type"),
    ("/tags", "--tag"),
    ("/owners", "--owner"),
    ("/headers", "--header"),
    ("/signatures", "--signature"),
    ("/concurrency", "--concurrency"),
    ("/rate_per_second", "--rate"),
    ("/reason", "--reason"),
    ("/overlap_seconds", "--overlap"),
    ("/from", "--from"),
    ("/to", "--to"),
];
const SESSION: Names = &[
    ("/bot", "--bot"),
    ("/on_bot_death", "--on-bot-death"),
    ("/idle_ttl_seconds", "--idle"),
];
const MESSAGE: Names = &[
    ("/receiver_bot", "BOT"),
    ("/content", "CONTENT"),
    ("/sender_bot", "--from"),
    ("/priority", "--priority"),
    ("/ttl_seconds", "--expires"),
    ("/session_id", "--session"),
];
const AUDIT: Names = &[
    ("/action", "ACTION"),
    ("/target", "TARGET"),
    ("/details", "--details"),
    ("/level", "--level"),
    ("/result", "--result"),
];
const CONFIG: Names = &[
    ("/value", "VALUE"),
    ("/confirm_within_seconds", "--confirm-within"),
    ("/version", "--version"),
];
const QUEUE: Names = &[
    ("/type", "--type"),
    ("/reason", "--reason"),
    ("/end_reason", "--reason"),
    ("/wait_ms", "--wait"),
    ("/tags", "--tag"),
    ("/metadata", "--metadata"),
    ("/submitter", "--submitter"),
    ("/dedup_key", "--dedup-key"),
    ("/created_after", "--since"),
    ("/created_before", "--until"),
    ("/ids", "ID"),
];

/// Routes in refusals, and the commands that call them.
const COMMANDS: [(&str, &str); 1] = [(
    "GET /api/v1/webhooks/event-types",
    "deia webhook event-types",
)];

/// Returns the options of a command, by the fields that they fill.
pub(super) fn of(noun: &HiveNoun) -> Names {
    match noun {
        HiveNoun::Task(_) => TASK,
        // The author of a file knows its fields.
        HiveNoun::Bot(command) if command.is_from_file() => &[],
        HiveNoun::Bot(_) => BOT,
        HiveNoun::Degrade(_) => DEGRADE,
        HiveNoun::User(_) => USER,
        HiveNoun::Key(_) => KEY,
        HiveNoun::Queue(_) => QUEUE,
        HiveNoun::Config(_) => CONFIG,
        HiveNoun::Secret(_) => SECRET,
        HiveNoun::Webhook(_) => WEBHOOK,
        HiveNoun::Session(_) => SESSION,
        HiveNoun::Message(_) => MESSAGE,
        HiveNoun::Audit(_) => AUDIT,
        _ => &[],
    }
}

/// Replaces pointers in a refusal by the options that were typed.
pub(super) fn name(error: CliError, names: Names) -> CliError {
    let CliError::Client(ClientError::Problem(mut problem)) = error else {
        return error;
    };
    let mut renamed = false;
    for violation in &mut problem.errors {
        if let Some(words) = words(&violation.pointer, names) {
            if let Some(unit_ms) = unit_ms(&violation.pointer) {
                violation.detail = in_spans(&violation.detail, unit_ms);
            }
            violation.detail = in_options(&in_commands(&violation.detail), names);
            violation.pointer = words;
            renamed = true;
        }
    }
    if renamed {
        problem.detail = Some(match problem.errors.as_slice() {
            [only] if only.detail.starts_with("there ") => {
                format!("{}: {}", only.pointer, only.detail)
            }
            [only] => format!("{} {}", only.pointer, only.detail),
            several => format!("{} arguments are not accepted", several.len()),
        });
    }
    CliError::Client(ClientError::Problem(problem))
}

/// Replaces routes in a text by the commands that call them.
fn in_commands(text: &str) -> String {
    let replace = |text: String, (route, command): &(&str, &str)| text.replace(route, command);
    COMMANDS.iter().fold(text.to_owned(), replace)
}

/// Replaces names of other fields in a text by the options that they come from.
fn in_options(text: &str, names: Names) -> String {
    let option = |word: &str| {
        let name = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let of_field = |(place, _): &&(&str, &str)| place.rsplit('/').next() == Some(name);
        let is_field = name.contains('_');
        let found = names.iter().find(of_field).filter(|_| is_field)?;
        Some(word.replace(name, found.1))
    };
    let words = text
        .split(' ')
        .map(|word| option(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

fn words(pointer: &str, names: Names) -> Option<String> {
    names.iter().find_map(|(place, words)| {
        let rest = pointer.strip_prefix(place)?;
        match rest.strip_prefix('/') {
            None if rest.is_empty() => Some((*words).to_owned()),
            None => None,
            Some(index) => match index.parse::<usize>() {
                Ok(index) => Some(format!("{words}, number {}", index.saturating_add(1))),
                Err(_) => Some(format!("{words} {}", unescaped(index))),
            },
        }
    })
}

/// Returns the unit of a field that holds a span of time, in milliseconds: the API names
/// it at the end of the field, and the command line takes spans such as `30s`.
fn unit_ms(pointer: &str) -> Option<u64> {
    if pointer.ends_with("_seconds") {
        return Some(1_000);
    }
    pointer.ends_with("_ms").then_some(1)
}

/// Writes the numbers of a text as spans of time.
fn in_spans(text: &str, unit_ms: u64) -> String {
    let span = |word: &str| {
        let digits = word.trim_end_matches([',', ';', '.']);
        let number: u64 = digits.parse().ok()?;
        let rest = &word[digits.len()..];
        Some(format!(
            "{}{rest}",
            format::millis(number.saturating_mul(unit_ms))
        ))
    };
    let words = text.split(' ');
    let words = words.map(|word| span(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

/// Decodes a part of a JSON pointer (RFC 6901).
fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use deia_client::Problem;
    use deia_model::Violation;

    use super::*;

    fn told(pointers: &[&str]) -> Vec<String> {
        let at = |pointer: &&str| Violation {
            pointer: (*pointer).into(),
            detail: format!("is wrong at {pointer}"),
        };
        let problem = Problem {
            status: 422,
            code: "invalid_input".into(),
            title: "t".into(),
            detail: Some("Correct the places that errors names by JSON pointer.".into()),
            errors: pointers.iter().map(at).collect(),
            ..Problem::default()
        };
        let error = CliError::Client(ClientError::Problem(Box::new(problem)));
        name(error, TASK).message()
    }

    #[test]
    fn refusals_name_what_was_typed() {
        for (pointer, expected) in [
            ("/timeout_seconds", "error: --timeout is wrong"),
            ("/tags/1", "error: --tag, number 2 is wrong"),
            ("/metadata/a~1b", "error: --metadata a/b is wrong"),
            ("/content", "error: CONTENT is wrong"),
            ("/typed", "error: Correct the places"),
        ] {
            let told = told(&[pointer]);
            assert!(told[0].starts_with(expected), "{pointer} {told:?}");
        }
        let two = told(&["/type", "/retry/factor"]);
        assert_eq!(
            two[0],
            "error: 2 arguments are not accepted (invalid_input)"
        );
        assert!(two[2].starts_with("  --retry-factor: is wrong"), "{two:?}");
    }

    #[test]
    fn spans_are_told_as_they_are_typed() {
        for (pointer, detail, expected) in [
            (
                "/timeout_seconds",
                "is 8640000; allowed are 1 to 604800 (tasks.max_timeout)",
                "is 100d; allowed are 1s to 7d (tasks.max_timeout)",
            ),
            (
                "/retry/min_ms",
                "is 5, allowed is 1000.",
                "is 5ms, allowed is 1s.",
            ),
        ] {
            let unit_ms = unit_ms(pointer).unwrap();
            assert_eq!(in_spans(detail, unit_ms), expected);
        }
        assert_eq!(unit_ms("/max_attempts"), None);
    }

    #[test]
    fn routes_are_told_as_commands() {
        let told = in_commands("is no action; GET /api/v1/webhooks/event-types lists them");
        assert_eq!(told, "is no action; deia webhook event-types lists them");
        let fields = serde_json::json!({
            "url": "", "description": "", "events": [], "task_types": [], "tags": [],
            "owners": [], "headers": {}, "signatures": [], "concurrency": 1,
            "rate_per_second": 1,
        });
        let known: deia_model::NewWebhook = serde_json::from_value(fields.clone()).unwrap();
        assert_eq!(known.concurrency, Some(1));
        for field in fields.as_object().unwrap().keys() {
            assert!(words(&format!("/{field}"), WEBHOOK).is_some(), "{field}");
        }
    }

    #[test]
    fn every_field_that_an_option_sends_has_its_words() {
        let entities = deia_model::entities().unwrap();
        for (entity, names) in [("NewTask", TASK), ("BotSpec", BOT)] {
            let entity = entities.iter().find(|it| it.name == entity).unwrap();
            for field in &entity.fields {
                let place = format!("/{field}");
                let known = names.iter().any(|(at, _)| at.starts_with(&place));
                assert!(known, "{}: {place} has no words", entity.name);
            }
        }
    }
}
