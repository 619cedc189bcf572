//! Selection of tasks: the same options for every command.

use clap::Args;
use deia_model::{PageRequest, Priority, SessionId, TaskFilter, TaskType, Timestamp};

use super::{error::CliError, parse};

/// Options of every filter of tasks.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct FilterArgs {
    /// Only tasks of this type.
    #[arg(long = "type", value_name = "TYPE")]
    task_type: Option<TaskType>,
    /// Only tasks of this priority.
    #[arg(long, value_parser = parse::priority(), ignore_case = true)]
    priority: Option<Priority>,
    /// Only tasks that this user submitted.
    #[arg(long, value_name = "USER")]
    submitter: Option<String>,
    /// Only tasks with this label; repeat to require several.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only tasks with this text in their metadata; repeat to require several. A = in
    /// the key is written \=, a \ as \\.
    #[arg(long, value_name = "KEY=TEXT", value_parser = parse::key_and_text)]
    metadata: Vec<(String, String)>,
    /// Only tasks of this session.
    #[arg(long, value_name = "SESSION")]
    session: Option<SessionId>,
    /// Only tasks with this deduplication key.
    #[arg(long, value_name = "KEY")]
    dedup_key: Option<String>,
    /// Only tasks submitted at this time or later: a time such as 2026-11-20T08:30:00Z,
    /// or a span before now such as 2h.
    #[arg(long, value_name = "TIME", value_parser = parse::time_past)]
    since: Option<Timestamp>,
    /// Only tasks submitted before: a time, or a span before now.
    #[arg(long, value_name = "TIME", value_parser = parse::time_past)]
    until: Option<Timestamp>,
}

/// Page of a list.
#[derive(Clone, Debug, Args)]
pub(super) struct PageArgs {
    /// Maximum number of entries.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = parse::whole(1..=100_000_u32))]
    limit: u32,
    /// Cursor of the next page, printed with the previous one.
    #[arg(long)]
    cursor: Option<String>,
}

impl PageArgs {
    pub(super) fn request(self) -> PageRequest {
        PageRequest {
            limit: self.limit,
            cursor: self.cursor,
        }
    }
}

impl FilterArgs {
    /// Returns the filter.
    ///
    /// # Errors
    /// A key of metadata that is given twice.
    pub(super) fn filter(self) -> Result<TaskFilter, CliError> {
        for (i, (key, _)) in self.metadata.iter().enumerate() {
            if self.metadata[..i].iter().any(|(before, _)| before == key) {
                return Err(CliError::Input {
                    what: format!("--metadata {key}"),
                    reason: "is given twice".into(),
                });
            }
        }
        Ok(TaskFilter {
            task_type: self.task_type,
            priority: self.priority,
            submitter: self.submitter,
            tags: self.tag,
            metadata: self.metadata,
            session: self.session,
            dedup_key: self.dedup_key,
            created_after: self.since,
            created_before: self.until,
            ..TaskFilter::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        filter: FilterArgs,
    }

    fn filter(line: &str) -> TaskFilter {
        let words = ["x"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words)
            .unwrap()
            .filter
            .filter()
            .unwrap()
    }

    #[test]
    fn every_word_reaches_the_filter() {
        assert_eq!(filter(""), TaskFilter::default());
        let all = filter(
            "--type a --priority p1 --submitter ada --tag t --tag u --metadata k=v=w \
             --dedup-key d --session session_01h455vb4pex5vsknk084sn02q --since 2026-11-20T08:30:00Z --until 2026-11-21T08:30:00Z",
        );
        let at = |day: i64| Timestamp::from_millis(1_795_163_400_000 + day * 86_400_000);
        let expected = TaskFilter {
            task_type: Some("a".parse().unwrap()),
            priority: Some(Priority::P1),
            submitter: Some("ada".into()),
            tags: vec!["t".into(), "u".into()],
            metadata: vec![("k".into(), "v=w".into())],
            session: Some("session_01h455vb4pex5vsknk084sn02q".parse().unwrap()),
            dedup_key: Some("d".into()),
            created_after: Some(at(0)),
            created_before: Some(at(1)),
            ..TaskFilter::default()
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn a_key_has_one_value() {
        let words = ["x", "--metadata", "k=1", "--metadata", "k=2"];
        let twice = Line::try_parse_from(words).unwrap();
        assert!(twice.filter.filter().is_err());
    }
}
