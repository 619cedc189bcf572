//! What the user is told: what was wrong, where, and what to do next.

use super::CliError;
use crate::{
    cli::{human, interrupt},
    client::{ClientError, Problem},
};

impl CliError {
    /// What to do next, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => hint_of(error),
            Self::NoKey { .. } => Some(
                "give --key-file FILE or set DEIA_KEY_FILE; on the hive's own machine give \
                 --data-dir DIR, where its admin.key is"
                    .into(),
            ),
            Self::KeyRefused { path, .. } => Some(format!(
                "the key came from {}; give another with --key-file, or the hive's own --data-dir",
                path.display()
            )),
            Self::KeyFileDenied { .. } => {
                Some("run as the user that the hive runs as, or give another --key-file".into())
            }
            Self::ProfileExists { .. } => Some("give --replace to change it".into()),
            Self::NoSuch { known, .. } if !known.is_empty() => {
                Some(format!("there is: {}", known.join(", ")))
            }
            Self::CannotAsk { .. } => Some("give --yes to do it without being asked".into()),
            Self::BotExists { name, .. } => Some(format!(
                "give --replace to change it, or look at it: deia bot show {name}"
            )),
            Self::BotNotThere { name, running, .. } if *running > 0 => Some(format!(
                "see what runs: deia task list --bot {name} --status running"
            )),
            Self::BotWentWrong { name, .. } | Self::BotNotThere { name, .. } => Some(format!(
                "see why: deia bot show {name}; deia bot logs {name}"
            )),
            Self::TaskFailed { id, .. } => Some(format!(
                "all it said: deia task logs {id}; all that is known: deia task show {id}"
            )),
            Self::TaskNotEnded { id, .. } => Some(format!(
                "see why: deia task why {id}; wait again: deia task result {id} --wait"
            )),
            Self::NotDrained { task_type, .. } => Some(format!(
                "see what runs: deia task list --status running; nothing new starts: wait again, or {}",
                interrupt::resume(task_type.as_ref())
            )),
            Self::NotShown { next, .. } => Some(next.clone()),
            Self::SubmittedInPart {
                accepted,
                idempotency_key,
                ..
            } => Some(format!(
                "{}; repeat the same with --idempotency-key {idempotency_key}, and none is submitted twice",
                human::count(*accepted as u64, "task is accepted", "tasks are accepted")
            )),
            Self::OutputInPart {
                id,
                attempt,
                offset,
                ..
            } => Some(format!(
                "go on: deia task output {id} --attempt {attempt} --offset {offset} --follow"
            )),
            Self::Interrupted { stays } => stays.next(),
            Self::Unhealthy(_) => Some("look closer: deia supervisors".into()),
            _ => None,
        }
    }

    /// What the user is told, line by line.
    pub fn message(&self) -> Vec<String> {
        let mut lines = match self {
            Self::SubmittedInPart { error, .. } => error.message(),
            Self::OutputInPart { error, .. } => error.message().drain(..1).collect(),
            Self::Client(ClientError::Problem(problem))
            | Self::KeyRefused {
                error: ClientError::Problem(problem),
                ..
            } => refusal(problem),
            Self::Client(ClientError::Unreachable { url, reason }) => {
                vec![format!("error: no hive answers at {url} ({reason})")]
            }
            Self::Settings { problems, .. } => {
                let lines = problems.iter().map(|problem| format!("  {problem}"));
                std::iter::once(format!("error: {self}"))
                    .chain(lines)
                    .collect()
            }
            other => vec![format!("error: {other}")],
        };
        lines.extend(self.hint().map(|hint| format!("  next: {hint}")));
        lines
    }
}

fn refusal(problem: &Problem) -> Vec<String> {
    let mut lines = vec![match &problem.request_id {
        Some(id) if problem.status >= 500 => format!("error: {problem} ({}, {id})", problem.code),
        _ => format!("error: {problem} ({})", problem.code),
    }];
    let said = problem.to_string();
    let new = problem.errors.iter().filter(|v| !said.contains(&v.detail));
    lines.extend(new.map(|violation| {
        let place = match violation.pointer.as_str() {
            "" => "the input",
            pointer => pointer,
        };
        format!("  {place}: {}", violation.detail)
    }));
    lines
}

fn hint_of(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Unreachable { .. } => {
            Some("start a hive with `deia`, or say where one is with --url or DEIA_URL".into())
        }
        ClientError::TimedOut { .. } => Some(
            "look before you repeat it, it may have been done; --request-timeout waits longer"
                .into(),
        ),
        ClientError::Protocol { .. } => Some("check --url: is that a hive of this version?".into()),
        ClientError::Invalid { .. } => None,
        ClientError::Problem(problem) => hint_of_problem(problem),
    }
}

fn hint_of_problem(problem: &Problem) -> Option<String> {
    if let Some(after) = problem.retry_after {
        return Some(format!("try again in {}", human::duration(after)));
    }
    match (problem.status, problem.code.as_str()) {
        (403, _) => {
            Some("see what the key is for with whoami; an admin makes keys: key create".into())
        }
        (_, "task_not_finished") => Some("wait for it with --wait".into()),
        (_, "no_output") => Some("wait for it with task output --follow".into()),
        (_, "output_missing") => {
            Some("see what it said on standard error: deia task logs ID".into())
        }
        (_, "not_found") => Some("see what there is: deia bot list, task list, key list".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use deia_hive::model::Violation;

    use super::*;

    fn problem(status: u16, code: &str) -> ClientError {
        ClientError::Problem(Box::new(Problem {
            status,
            code: code.into(),
            title: "Title".into(),
            detail: Some("what is wrong".into()),
            errors: vec![],
            request_id: None,
            retry_after: None,
        }))
    }

    #[test]
    fn messages_say_what_where_and_what_next() {
        let unreachable = CliError::Client(ClientError::Unreachable {
            url: "http://127.0.0.1:8000".into(),
            reason: "Connection refused".into(),
        });
        assert_eq!(
            unreachable.message(),
            [
                "error: no hive answers at http://127.0.0.1:8000 (Connection refused)",
                "  next: start a hive with `deia`, or say where one is with --url or DEIA_URL"
            ]
        );
        let mut invalid = problem(422, "invalid_input");
        if let ClientError::Problem(problem) = &mut invalid {
            problem.errors = ["/content", ""]
                .map(|pointer| Violation {
                    pointer: pointer.into(),
                    detail: "is out of range".into(),
                })
                .into();
        }
        assert_eq!(
            CliError::Client(invalid).message(),
            [
                "error: what is wrong (invalid_input)",
                "  /content: is out of range",
                "  the input: is out of range"
            ]
        );
        let mut busy = problem(429, "rate_limited");
        if let ClientError::Problem(problem) = &mut busy {
            problem.retry_after = Some(Duration::from_secs(3));
        }
        let lines = CliError::Client(busy).message();
        assert_eq!(lines[1], "  next: try again in 3s");
    }
}
