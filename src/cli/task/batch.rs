//! Submission of the tasks of a file, batch by batch.

use std::{
    collections::VecDeque,
    fs,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
    time::Duration,
};

use deia_client::{Client, ClientError};
use deia_hive::config::without_mark;
use deia_model::{Dependency, NewTask, TaskId, ambiguity};
use serde_json::{error::Category, json};
use tokio::time::sleep;

use crate::cli::{context::Context, error::CliError, format, interrupt::Stays, output::Output};

/// Maximum length of a line: the largest possible `tasks.max_content_bytes`. Fixed: the
/// largest value that the setting may have.
const LINE_MAX_BYTES: u64 = 64 << 20;
/// Size at which a batch takes no further lines, in bytes. Fixed: of the command line,
/// which has no settings.
const BATCH_MAX_BYTES: usize = 16 << 20;
/// Number of attempts to submit a batch when the hive is busy or does not answer, and the
/// minimum pause before each. Fixed: of the command line, which has no settings.
const TRIES: u32 = 5;
/// Pause before each retry. Fixed: of the command line, which has no settings.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The tasks of a file, one per line; empty lines are skipped.
struct Lines<R> {
    from: R,
    name: String,
    number: usize,
    /// Lines that were read, and are to be returned again.
    again: VecDeque<(usize, String)>,
}

/// Tasks that are submitted together, all or none.
#[derive(Debug, Default)]
struct Batch {
    tasks: Vec<NewTask>,
    /// The line number of each.
    lines: Vec<usize>,
    /// The text of each.
    texts: Vec<String>,
}

/// The tasks accepted so far, in the order of the file.
#[derive(Debug, Default)]
struct Accepted {
    ids: Vec<TaskId>,
    lines: Vec<usize>,
}

/// Submits all tasks of the file, at most `size` at once, and prints their ids.
///
/// # Errors
/// A line that is not a task, or the reason why the hive refuses one. Tasks that were
/// accepted before stay so, and are printed.
pub(super) async fn submit(
    context: &Context,
    file: &Path,
    size: usize,
    idempotency_key: Option<&str>,
) -> Result<(), CliError> {
    let mut lines = Lines::open(file)?;
    // With a key of its own each batch can be retried.
    let key = match idempotency_key {
        Some(key) => key.to_owned(),
        None => format!("file-{}", TaskId::new()),
    };
    let mut accepted = Accepted::default();
    let ended = all(context, &mut lines, size, &key, &mut accepted).await;
    let shown = accepted
        .show(&context.out)
        .map_err(|error| CliError::NotShown {
            done: format::count(
                accepted.ids.len() as u64,
                "task is accepted",
                "tasks are accepted",
            ),
            next: "repeat the same: the ids are shown, and no task is submitted twice".into(),
            error: Box::new(error),
        });
    match ended.and(shown) {
        Ok(()) if accepted.ids.is_empty() => {
            context.out.note(&format!("{} has no tasks", lines.name));
            Ok(())
        }
        Ok(()) => {
            let n = accepted.ids.len() as u64;
            let note = format::count(n, "task is accepted", "tasks are accepted");
            context.out.note(&note);
            Ok(())
        }
        Err(error) if accepted.ids.is_empty() && !is_uncertain(&error) => Err(error),
        Err(error) => Err(CliError::SubmittedInPart {
            error: Box::new(error),
            accepted: accepted.ids.len(),
            idempotency_key: key,
        }),
    }
}

async fn all<R: BufRead>(
    context: &Context,
    lines: &mut Lines<R>,
    mut size: usize,
    key: &str,
    accepted: &mut Accepted,
) -> Result<(), CliError> {
    let mut number = 1;
    loop {
        let batch = lines.batch(size, &accepted.ids)?;
        if batch.tasks.is_empty() {
            break;
        }
        let ids = match one(&context.client, &batch, &batch_key(key, number)).await {
            Ok(ids) => ids,
            Err(error) => match largest(&error).filter(|max| *max < batch.tasks.len()) {
                Some(max) => {
                    size = max;
                    lines.put_back(batch);
                    continue;
                }
                None => return Err(in_lines(error, &batch.lines, &lines.name)),
            },
        };
        number += 1;
        accepted.ids.extend(ids);
        accepted.lines.extend(batch.lines);
        context.interrupt.stays(Stays::Batch {
            accepted: accepted.ids.len(),
            key: key.to_owned(),
        });
    }
    Ok(())
}

/// Returns how many tasks the hive takes at once, if it refused a batch for having more
/// (tasks.max_batch).
fn largest(error: &ClientError) -> Option<usize> {
    let mut found = error.problem()?.errors.iter();
    let of_batch = found.find(|violation| violation.pointer == "/tasks")?;
    let (_, range) = of_batch.detail.split_once("allowed are 1 to ")?;
    let max = range.split(' ').next()?.parse().ok()?;
    (max > 0).then_some(max)
}

/// Maximum length of a key in the API, in bytes. Fact: the API, whose schema states it.
const KEY_MAX_BYTES: usize = 255;

/// Returns the key of one batch of a file: that of the file and the batch's number, or,
/// if that would be too long, a digest of it.
fn batch_key(key: &str, number: usize) -> String {
    let whole = format!("{key}-{number}");
    if whole.len() <= KEY_MAX_BYTES || key.len() > KEY_MAX_BYTES {
        return whole;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
    let digest = data_encoding::HEXLOWER.encode(digest.as_ref());
    format!("sha256-{digest}-{number}")
}

/// Submits one batch; the key makes it safe to retry.
async fn one(client: &Client, batch: &Batch, key: &str) -> Result<Vec<TaskId>, ClientError> {
    let mut tries = 0;
    loop {
        match client.submit_batch(&batch.tasks, Some(key)).await {
            Err(error) if error.is_passing() && tries < TRIES => {
                tries += 1;
                let asked = error.problem().and_then(|problem| problem.retry_after);
                sleep(asked.unwrap_or_default().max(RETRY_AFTER)).await;
            }
            ended => return ended,
        }
    }
}

fn is_uncertain(error: &CliError) -> bool {
    matches!(error, CliError::Client(error) if error.is_passing())
}

/// Returns the refusal with pointers replaced by line numbers of the file.
fn in_lines(error: ClientError, lines: &[usize], name: &str) -> CliError {
    let ClientError::Problem(mut problem) = error else {
        return error.into();
    };
    let mut moved = false;
    for violation in &mut problem.errors {
        let Some(rest) = violation.pointer.strip_prefix("/tasks/") else {
            continue;
        };
        let (place, field) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let line = place.parse().ok().and_then(|i: usize| lines.get(i));
        if let Some(line) = line {
            violation.pointer = format!("line {line} {field}").trim_end().to_owned();
            moved = true;
        }
    }
    if moved {
        problem.detail = Some(format!("{name} has tasks that are not accepted"));
    }
    CliError::Client(ClientError::Problem(problem))
}

impl Accepted {
    fn show(&self, out: &Output) -> Result<(), CliError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        if out.is_jsonl() {
            let each = self.ids.iter().zip(&self.lines);
            each.map(|(id, line)| json!({ "id": id, "line": line }))
                .try_for_each(|item| out.line(&item))
        } else {
            out.one(&json!({ "ids": self.ids }), |_| {
                self.ids.iter().map(|id| format!("{id}\n")).collect()
            })
        }
    }
}

impl Lines<Box<dyn BufRead>> {
    fn open(file: &Path) -> Result<Self, CliError> {
        let (from, name): (Box<dyn BufRead>, _) = if file == Path::new("-") {
            (Box::new(io::stdin().lock()), "standard input".to_owned())
        } else {
            let name = file.display().to_string();
            let opened = fs::File::open(file).map_err(|error| CliError::Input {
                what: format!("--file {name}"),
                reason: error.to_string(),
            })?;
            (Box::new(BufReader::new(opened)), name)
        };
        Ok(Self {
            from,
            name,
            number: 0,
            again: VecDeque::new(),
        })
    }
}

impl<R: BufRead> Lines<R> {
    /// Returns the next tasks; `None` at the end. `before` are those of the batches
    /// before.
    fn batch(&mut self, size: usize, before: &[TaskId]) -> Result<Batch, CliError> {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        while batch.tasks.len() < size && bytes < BATCH_MAX_BYTES {
            let Some(text) = self.next()? else {
                break;
            };
            bytes += text.len();
            let task = task(&text, batch.tasks.len(), before).map_err(|why| self.wrong(why))?;
            batch.tasks.push(task);
            batch.lines.push(self.number);
            batch.texts.push(text);
        }
        Ok(batch)
    }

    /// Returns the lines of a batch to the reader.
    fn put_back(&mut self, batch: Batch) {
        let lines = batch.lines.into_iter().zip(batch.texts);
        let later = std::mem::take(&mut self.again);
        self.again = lines.chain(later).collect();
    }

    fn next(&mut self) -> Result<Option<String>, CliError> {
        if let Some((number, text)) = self.again.pop_front() {
            self.number = number;
            return Ok(Some(text));
        }
        loop {
            let mut bytes = Vec::new();
            let limited = &mut (&mut self.from).take(LINE_MAX_BYTES + 1);
            let read = limited.read_until(b'\n', &mut bytes);
            self.number += 1;
            match read {
                Err(error) => return Err(self.wrong(error.to_string())),
                Ok(0) => return Ok(None),
                Ok(n) if n as u64 > LINE_MAX_BYTES => {
                    let max = format::bytes(LINE_MAX_BYTES);
                    return Err(self.wrong(format!("is over {max} long")));
                }
                Ok(_) if is_empty(&bytes) => {}
                Ok(_) => {
                    let text = String::from_utf8(bytes);
                    let text = text.map_err(|_| self.wrong("is not UTF-8 text".into()))?;
                    return Ok(Some(match self.number {
                        1 => without_mark(&text).to_owned(),
                        _ => text,
                    }));
                }
            }
        }
    }

    fn wrong(&self, reason: String) -> CliError {
        CliError::Input {
            what: format!("{}, line {}", self.name, self.number),
            reason,
        }
    }
}

/// Returns whether a line contains no task: at most a byte order mark.
fn is_empty(line: &[u8]) -> bool {
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    line.trim_ascii().is_empty()
}

/// Describes the error in a line that is not a task.
fn unreadable(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let what = said
        .rsplit_once(" at line ")
        .map_or(&*said, |(what, _)| what);
    let place = match error.column() {
        0 => String::new(),
        column => format!(" (column {column})"),
    };
    match error.classify() {
        Category::Data => format!("{what}{place}"),
        Category::Syntax | Category::Eof | Category::Io => {
            format!("is not JSON: {what}{place}")
        }
    }
}

/// Parses the task of a line, at that place of its batch. Its references to lines of
/// the file become places in the batch, or the ids of those `before` it.
fn task(text: &str, place: usize, before: &[TaskId]) -> Result<NewTask, String> {
    let mut task: NewTask = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
    if let Some(found) = ambiguity(text) {
        return Err(format!("{} {}", found.pointer, found.detail));
    }
    for dependency in &mut task.depends_on {
        let Dependency::InBatch(n) = *dependency else {
            continue;
        };
        let n = n as usize;
        *dependency = match before.get(n) {
            Some(id) => Dependency::Task(*id),
            None if n < before.len() + place => {
                Dependency::InBatch(u32::try_from(n - before.len()).unwrap_or(u32::MAX))
            }
            None => {
                return Err(format!(
                    "depends_on has @{n}, which is not a task before this one (@0 is the first)"
                ));
            }
        };
    }
    Ok(task)
}

#[cfg(test)]
mod tests;
