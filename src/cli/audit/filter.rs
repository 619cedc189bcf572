//! Selection of records: the same options for every command.

use clap::Args;
use deia_model::{AuditFilter, EventLevel, EventResult, Timestamp};

use crate::cli::{events, output::Output, parse, task};

/// Options of every filter of records.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct FilterArgs {
    /// Only records of this actor: a user, a bot, deia, or a pseudonym.
    #[arg(long)]
    actor: Option<String>,
    /// Only records about this target: its id or name, or a pseudonym.
    #[arg(long)]
    target: Option<String>,
    /// Only records about targets of this type, such as key.
    #[arg(long, value_name = "TYPE")]
    target_type: Option<String>,
    /// Only records of this action (bot.crashed), or of this kind (bot).
    #[arg(long)]
    action: Option<String>,
    /// Only records of this level.
    #[arg(long, value_parser = parse::level())]
    level: Option<EventLevel>,
    /// Only records of this level or a higher one.
    #[arg(long, value_name = "LEVEL", value_parser = parse::level())]
    min_level: Option<EventLevel>,
    /// Only records with this result.
    #[arg(long, value_parser = parse::result())]
    result: Option<EventResult>,
    /// Only records of this time or later: a time such as 2026-11-20T08:30:00Z, or a span
    /// before now such as 2h.
    #[arg(long, value_name = "TIME", value_parser = parse::time_past)]
    since: Option<Timestamp>,
    /// Only records from before this: a time, or a span before now.
    #[arg(long, value_name = "TIME", value_parser = parse::time_past)]
    until: Option<Timestamp>,
    /// Only records with this text in the action, the actor, the target or the details, in
    /// upper or lower case.
    #[arg(long)]
    text: Option<String>,
    /// Only entries from this index on.
    #[arg(long, value_name = "INDEX", value_parser = parse::whole(0..=u64::MAX))]
    from_entry: Option<u64>,
    /// Only entries before this index.
    #[arg(long, value_name = "INDEX", value_parser = parse::whole(0..=u64::MAX))]
    to_entry: Option<u64>,
    /// Only events with this sequence number or a higher one.
    #[arg(long, value_name = "SEQ", value_parser = parse::whole(0..=u64::MAX))]
    min_seq: Option<u64>,
    /// Only events with this sequence number or a lower one.
    #[arg(long, value_name = "SEQ", value_parser = parse::whole(0..=u64::MAX))]
    max_seq: Option<u64>,
}

impl FilterArgs {
    /// Returns the filter, and reports parts that match nothing that this program knows.
    pub(super) fn filter(self, out: &Output) -> AuditFilter {
        task::tell_of_span(out, self.since, self.until);
        if let Some(action) = &self.action {
            events::tell_of_unknown(out, action);
        }
        AuditFilter {
            actor: self.actor,
            target: self.target,
            target_type: self.target_type,
            action: self.action,
            level: self.level,
            min_level: self.min_level,
            result: self.result,
            after: self.since,
            before: self.until,
            text: self.text,
            from_entry: self.from_entry,
            to_entry: self.to_entry,
            min_seq: self.min_seq,
            max_seq: self.max_seq,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::output::Format;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        filter: FilterArgs,
    }

    #[test]
    fn every_option_reaches_the_filter() {
        let line = "x --actor ada --target key_1 --target-type key --action key.revoked \
             --level warning --min-level info --result failure --since 2026-11-20T08:30:00Z \
             --until 2026-11-21T08:30:00Z --text lost --from-entry 1 --to-entry 2 --min-seq 3 \
             --max-seq 4";
        let line = Line::try_parse_from(line.split_whitespace()).unwrap();
        let out = Output::of_this_process(Format::Table);
        let expected = AuditFilter {
            actor: Some("ada".into()),
            target: Some("key_1".into()),
            target_type: Some("key".into()),
            action: Some("key.revoked".into()),
            level: Some(EventLevel::Warning),
            min_level: Some(EventLevel::Info),
            result: Some(EventResult::Failure),
            after: Some("2026-11-20T08:30:00Z".parse().unwrap()),
            before: Some("2026-11-21T08:30:00Z".parse().unwrap()),
            text: Some("lost".into()),
            from_entry: Some(1),
            to_entry: Some(2),
            min_seq: Some(3),
            max_seq: Some(4),
        };
        assert_eq!(line.filter.filter(&out), expected);
    }
}
