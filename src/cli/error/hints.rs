//! Messages to the user: the error, its place, and what to do next.

use deia_client::{self, ClientError, Problem};
use deia_model::{Permission, Role};

use super::CliError;
use crate::{
    cli::{format, interrupt},
    http::Code,
};

impl CliError {
    /// Returns the next step, if there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => hint_of(error),
            Self::NoKey { .. } => Some(
                "give --key-file FILE or set DEIA_KEY_FILE; on the hive's own machine give \
                 --data-dir DIR, where its admin.key is"
                    .into(),
            ),
            Self::KeyRefused { path, variable, .. } => Some(format!(
                "the key came from {}{}; give another with --key-file, or the hive's own --data-dir; an admin creates keys: deia key create",
                path.display(),
                variable
                    .map(|name| format!(" ({name})"))
                    .unwrap_or_default()
            )),
            Self::NotThere { problem, nearest } => Some(see_what_there_is(problem, nearest)),
            Self::KeyFileDenied { .. } => {
                Some("run as the user that the hive runs as, or give another --key-file".into())
            }
            Self::AppliedInPart { .. } => {
                Some("mend what is named, and apply the file again: what is done stays done".into())
            }
            Self::ProfileExists { .. } => Some("give --replace to change it".into()),
            Self::NoSuch { known, .. } if !known.is_empty() => {
                Some(format!("there is: {}", known.join(", ")))
            }
            Self::NoSuch { what, .. } if what.starts_with("profile") => {
                Some("list them: deia profile list; create one: deia profile add".into())
            }
            Self::OwnAccess { .. } => {
                Some("give --own as well to confirm, or use another key: --key-file".into())
            }
            Self::CannotAsk { options, .. } => {
                Some(format!("give {options} to do it without being asked"))
            }
            Self::BotExists { name, .. } => Some(format!(
                "give --replace to change it, or look at it: deia bot show {name}"
            )),
            Self::BotNotThere { name, running, .. } if *running > 0 => Some(format!(
                "see what runs: deia task list --bot {name} --status running"
            )),
            Self::BotWentWrong { name, .. } => Some(format!(
                "see why: deia bot show {name}; deia bot logs {name}; then deia bot launch {name}"
            )),
            Self::BotNotThere { name, .. } => Some(format!(
                "see why: deia bot show {name}; deia bot logs {name}"
            )),
            Self::TaskFailed { id, .. } => Some(format!(
                "its log: deia task logs {id}; all details: deia task show {id}"
            )),
            Self::TaskNotEnded { id, .. } => Some(format!(
                "wait again: deia task result {id} --wait; more: deia task why {id}"
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
                format::count(*accepted as u64, "task is accepted", "tasks are accepted")
            )),
            Self::OutputInPart {
                id,
                attempt,
                offset,
                ..
            } => Some(format!(
                "continue: deia task output {id} --attempt {attempt} --offset {offset} --follow"
            )),
            Self::ExportInPart { .. } => Some(
                "export all of it again, or the rest with --from-entry INDEX, behind the last \
                 record that you have"
                    .into(),
            ),
            Self::TestNotDelivered { webhook, .. } => Some(format!(
                "check the endpoint and its URL, and test again: deia webhook test {webhook}"
            )),
            Self::ReplayStopped { webhook, .. } => Some(format!(
                "see why: deia webhook show {webhook}; then replay the rest: deia webhook replay {webhook} --from TIME"
            )),
            Self::NotSound { .. } => Some(
                "keep a copy of the directory as it is, before a hive writes to it again".into(),
            ),
            Self::Interrupted { stays } => stays.next(),
            Self::Unhealthy(_) => Some("details: deia supervisors".into()),
            _ => None,
        }
    }

    /// Returns the message to the user, line by line.
    pub fn message(&self) -> Vec<String> {
        let mut lines = match self {
            Self::SubmittedInPart { error, .. } => error.message(),
            Self::OutputInPart { error, .. } => error.message().drain(..1).collect(),
            Self::Client(ClientError::Problem(problem))
            | Self::NotThere { problem, .. }
            | Self::KeyRefused {
                error: ClientError::Problem(problem),
                ..
            } => refusal(problem),
            Self::Client(ClientError::Unreachable { url, reason }) => {
                vec![format!("error: no hive answers at {url} ({reason})")]
            }
            Self::Settings { problems, .. } => under(self, problems),
            Self::SomeSkipped { reasons, .. } => under(self, reasons),
            other => vec![format!("error: {other}")],
        };
        lines.extend(self.hint().map(|hint| format!("  next: {hint}")));
        lines.iter().map(|line| without_numbers(line)).collect()
    }
}

/// Returns a line without the error numbers of the system.
fn without_numbers(line: &str) -> String {
    let mut parts = line.split(" (os error ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += part.split_once(')').map_or("", |(_, rest)| rest);
    }
    out
}

fn under(error: &CliError, reasons: &[String]) -> Vec<String> {
    let lines = reasons.iter().map(|reason| format!("  {reason}"));
    std::iter::once(format!("error: {error}"))
        .chain(lines)
        .collect()
}

fn refusal(problem: &Problem) -> Vec<String> {
    let (said, _) = parts(problem);
    let mut lines = vec![match &problem.request_id {
        Some(id) if problem.status >= 500 => format!("error: {said} ({}, {id})", problem.code),
        _ => format!("error: {said} ({})", problem.code),
    }];
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

/// Splits the text of a refusal into the error, and the advice of the catalogue, which
/// is written for callers of the API.
fn parts(problem: &Problem) -> (String, Option<Code>) {
    let text = problem.to_string();
    let code = Code::parse(&problem.code);
    let said = code.and_then(|code| text.strip_suffix(code.hint()));
    match said.map(|said| said.trim_end().trim_end_matches('.')) {
        None | Some("") => (text, None),
        Some(said) => (said.to_owned(), code),
    }
}

fn hint_of(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Unreachable { url, .. } if !deia_client::is_local(url) => Some(
            "check the name and port of --url or DEIA_URL, and that the hive runs there".into(),
        ),
        ClientError::Untrusted { reason, .. } => Some(match reason.as_str() {
            "it has expired" | "it is not valid yet" => {
                "renew the certificate of the hive (server.tls), or look at the clock of this machine".into()
            }
            "it is for another name" => {
                "give --url with a name that the certificate has".into()
            }
            _ => "--ca-file FILE with its authority, or DEIA_CA_FILE".into(),
        }),
        ClientError::Unreachable { .. } => {
            Some("start a hive with `deia`, or say where one is with --url or DEIA_URL".into())
        }
        ClientError::WrongScheme { instead, .. } => Some(format!("try --url {instead}")),
        ClientError::TimedOut { .. } => Some(
            "check before you repeat it, as it may have taken effect; --request-timeout waits longer"
                .into(),
        ),
        ClientError::Protocol { .. } => Some("check --url: is that a hive of this version?".into()),
        ClientError::Invalid { .. } => None,
        ClientError::Problem(problem) => hint_of_problem(problem),
    }
}

fn hint_of_problem(problem: &Problem) -> Option<String> {
    if let Some(permission) = &problem.permission {
        return Some(who_may(permission));
    }
    let code = Code::parse(&problem.code);
    if let Some(after) = problem.retry_after {
        let more = code.map(besides_waiting).unwrap_or_default();
        return Some(format!("try again in {}{more}", format::duration(after)));
    }
    match (code, parts(problem).1) {
        (Some(Code::NotFound), _) => Some(see_what_there_is(problem, &[])),
        (Some(code @ (Code::NoOutput | Code::OutputMissing)), _)
            if of_no_attempt(&problem.to_string()) =>
        {
            let words = match code {
                Code::NoOutput => "wait for it with --follow, or see why: deia task why ID",
                _ => "see why: deia task why ID",
            };
            Some(filled(words, &problem.to_string()))
        }
        (Some(Code::OutputMissing), _) if problem.to_string().contains("were erased at") => {
            let words = "its record: deia task show ID";
            Some(filled(words, &problem.to_string()))
        }
        (Some(code), advised) => match words(code) {
            Words::Own(words) => Some(filled(words, &problem.to_string())),
            // In the text, unless that is of a hive with another catalogue.
            Words::OfCatalogue => advised.map(|code| continued(code.hint())),
            Words::None => None,
        },
        (None, _) => None,
    }
}

/// Returns whether a refusal means that the task had no attempt that could have an
/// output.
fn of_no_attempt(said: &str) -> bool {
    let mut sentences = said.split(". ").map(|part| part.trim_end_matches('.'));
    sentences.any(|it| it.ends_with("no attempt has begun") || it.ends_with("it had no attempt"))
}

/// Returns advice with the id or name from the refusal filled in.
fn filled(words: &str, said: &str) -> String {
    let is_of_id = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut tokens = said.split(|c| !is_of_id(c));
    let id = tokens.find(|token| token.len() > 25 && token.contains('_'));
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let bot = said
        .split_once("bot ")
        .map(|(_, rest)| rest.trim_start_matches('"'));
    let bot = bot.and_then(|rest| rest.split(|c| !is_of_name(c)).next());
    let mut words = words.to_owned();
    if let Some(id) = id {
        words = words.replace(" ID", &format!(" {id}"));
    }
    match bot.filter(|name| !name.is_empty()) {
        Some(name) => words.replace(" NAME", &format!(" {name}")),
        None => words,
    }
}

/// Returns advice of the catalogue as the end of a line.
fn continued(hint: &str) -> String {
    let hint = hint.trim_end_matches('.');
    let mut rest = hint.chars();
    let first = rest.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(rest).collect()
}

/// Returns advice on a missing permission.
fn who_may(permission: &str) -> String {
    let known = permission.parse::<Permission>().ok();
    let roles = known.map(|permission| Role::ALL.into_iter().filter(move |it| it.may(permission)));
    let roles: Vec<_> = roles.into_iter().flatten().map(Role::as_str).collect();
    let have = match roles.as_slice() {
        [] => "no role that this program knows has".to_owned(),
        [only] => format!("the role {only} has"),
        [rest @ .., last] => format!("the roles {} and {last} have", rest.join(", ")),
    };
    format!(
        "{have} {permission}; ask an admin for such a key. deia whoami shows the permissions of yours, deia roles those of each role"
    )
}

/// Returns advice on an object that does not exist.
fn see_what_there_is(problem: &Problem, nearest: &[String]) -> String {
    let kind = problem.missing.as_ref().map(|missing| &*missing.kind);
    let list = match kind {
        Some("bot") => "deia bot list",
        Some("task") => "deia task list",
        Some("key") => "deia key list",
        Some("user") => "deia user list",
        Some("secret") => "deia secret list",
        Some("alert") => "deia alerts --all",
        Some("webhook") => "deia webhook list",
        Some("delivery") => "deia webhook deliveries WEBHOOK",
        Some("replay") => "deia webhook replays WEBHOOK",
        Some("supervised child") => "deia supervisors",
        Some("entry") => "deia audit query",
        _ => "deia bot list, deia task list",
    };
    let made_by = match kind {
        Some("user") => "; create one: deia user add, or --new-user of deia key create",
        _ => "",
    };
    match nearest {
        [] => format!("list them: {list}{made_by}"),
        names => {
            let names = names.join(", ");
            format!("list them: {list} (nearest: {names}){made_by}")
        }
    }
}

/// Source of the command line's words for a code.
enum Words {
    Own(&'static str),
    OfCatalogue,
    None,
}

/// Returns advice in words of the command line, for codes whose advice in the catalogue
/// is about HTTP.
fn words(code: Code) -> Words {
    Words::Own(match code {
        // The places are listed.
        Code::InvalidInput => return Words::None,
        Code::TaskNotFinished => "wait for it with --wait",
        Code::NoOutput => {
            "leave --attempt out for the output of the last attempt, or wait for it with --follow"
        }
        Code::OutputMissing => {
            "leave --attempt out for the last output that was kept, or read deia task logs ID"
        }
        Code::TaskIsFinal => "see how it ended: deia task result ID",
        Code::WebhookDisabled => "enable it first: deia webhook enable ID",
        Code::ReplayRunning => "wait for its end, or stop it: deia webhook replays ID",
        Code::BotInUse => "deia bot stop NAME --wait, and then again",
        Code::RestartRefused => "nothing was changed; fix the named problem, and try again",
        Code::ConfirmationPending => {
            "confirm it or take it back first: deia config confirm or deia config undo"
        }
        Code::NothingToConfirm => "see the settings in force: deia config status",
        Code::NothingToUndo => "choose a version that was in force: deia config history",
        Code::RecoveryRefused => "check what is under way: deia backup status",
        Code::ArchiveUnreachable => "see why it cannot be written: deia backup status",
        Code::PartRefused => "check its state: deia supervisors",
        Code::VersionMismatch => "check what has changed, and repeat with the new --if-version",
        Code::BadCursor => "start from the first page, without --cursor, with the same filters",
        Code::IdempotencyMismatch => {
            "give a new --idempotency-key for a new request, and the same arguments when repeating one"
        }
        Code::KeyMissing | Code::SessionOver => "give a key with --key-file or DEIA_KEY_FILE",
        Code::RateLimited
        | Code::Overloaded
        | Code::Unavailable
        | Code::IssuerUnavailable
        | Code::QueueShareUsedUp
        | Code::QueueFull
        | Code::InboxFull => "try again in a moment",
        Code::AuditUnavailable => "see why it cannot be written: deia alerts",
        Code::FeatureSuspended => {
            "see who suspended it, and why: deia degrade status, deia supervisors"
        }
        Code::SubmissionShed => {
            "try again later, or with --priority P0 or P1 if it is that urgent: deia degrade status"
        }
        Code::ReadOnly => "see the level and its reason: deia degrade status",
        Code::OutcomeUnknown => {
            "repeat it with the same --idempotency-key, or check first whether it took effect"
        }
        Code::KeyMadeAlready => "if its text is lost, revoke that key and create another",
        Code::SessionOpenedAlready => "log in again",
        Code::CrossSite => "use a key",
        Code::PermissionDenied => "ask an admin for a key that has the permission: deia roles",
        Code::RouteNotFound | Code::MethodNotAllowed => {
            "the hive is of another version: compare deia version and deia system status"
        }
        Code::UnsupportedMediaType | Code::ExpectationFailed => {
            "check --url: is there a proxy between?"
        }
        Code::Unhealthy => "deia health check",
        _ => return Words::OfCatalogue,
    })
}

/// Returns advice other than to wait.
fn besides_waiting(code: Code) -> &'static str {
    match code {
        Code::QueueShareUsedUp => {
            ", when some of your tasks have started; or cancel tasks that are not needed"
        }
        Code::QueueFull => {
            "; an operator can launch more bots, purge tasks that are not needed, or raise tasks.max_waiting"
        }
        Code::InboxFull => ", when the receiver has read some of its messages",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
