//! The lines of a bot's log about one task.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::Path,
};

use deia_model::{BotName, TaskId, TaskLogLine, Timestamp};

use super::older;

/// Returns the last `max` lines about a task in the log at `path`, of one attempt or all, and the
/// total number of such lines. Blocks: not for an arbiter.
///
/// # Errors
/// The log exists and cannot be read.
pub(crate) fn of_task(
    path: &Path,
    bot: &BotName,
    task: TaskId,
    attempt: Option<u32>,
    max: usize,
) -> io::Result<(VecDeque<TaskLogLine>, u64)> {
    let (mut found, mut total) = (VecDeque::new(), 0);
    let about = format!("{task}#");
    for path in [older(path), path.to_owned()] {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            let parsed = parse(text.trim_end_matches('\n'), &about, bot);
            let wanted = parsed.filter(|line| attempt.is_none_or(|n| n == line.attempt));
            if let Some(line) = wanted {
                total += 1;
                found.push_back(line);
                if found.len() > max {
                    found.pop_front();
                }
            }
            line.clear();
        }
    }
    Ok((found, total))
}

/// Parses `<time> <task>#<attempt> <stream> <text>`.
fn parse(line: &str, about: &str, bot: &BotName) -> Option<TaskLogLine> {
    let (at, rest) = line.split_once(' ')?;
    let (attempt, rest) = rest.strip_prefix(about)?.split_once(' ')?;
    let (stream, text) = rest.split_once(' ')?;
    Some(TaskLogLine {
        at: Timestamp::from_millis(at.parse::<jiff::Timestamp>().ok()?.as_millisecond()),
        bot: bot.clone(),
        attempt: attempt.parse().ok()?,
        stream: stream.to_owned(),
        line: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{BotLog, LoggedAttempt, Stream},
        *,
    };

    #[test]
    fn lines_of_one_task_and_attempt_are_found_through_rotations() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.log");
        let log = BotLog::open(&path, 4_096);
        let bot: BotName = "b".parse().unwrap();
        let (task, other) = (TaskId::new(), TaskId::new());
        let of = |task, attempt| Some(LoggedAttempt { task, attempt });
        for n in 0..30 {
            log.line(of(task, 1), Stream::Stderr, &format!("one {n}"));
            log.line(of(other, 1), Stream::Stderr, "not this");
            assert!(log.flush(Duration::from_secs(60)));
        }
        log.line(of(task, 2), Stream::Deia, "exit code 3");
        log.line(None, Stream::Deia, &format!("{task}#2 is not from there"));
        assert!(log.flush(Duration::from_secs(60)));

        let (found, total) = of_task(&path, &bot, task, None, 3).unwrap();
        assert_eq!((found.len(), total), (3, 31));
        assert_eq!(found[1].line, "one 29");
        assert_eq!((found[2].attempt, &*found[2].stream), (2, "deia"));
        let (found, total) = of_task(&path, &bot, task, Some(2), 3).unwrap();
        assert_eq!((found.len(), total), (1, 1));
        assert_eq!(found[0].line, "exit code 3");
        let nothing = of_task(&dir.path().join("none"), &bot, task, None, 3).unwrap();
        assert_eq!(nothing, (VecDeque::new(), 0));
    }
}
