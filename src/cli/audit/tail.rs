//! `deia audit tail`: the newest records, and those that come.

use std::time::Duration;

use clap::Args;
use deia_model::{AuditFilter, AuditOrder, AuditPage, AuditRecord, PageRequest};
use tokio::time::sleep;

use super::{
    filter::FilterArgs,
    query::{show, tell_of_damage},
    view,
};
use crate::cli::{
    context::Context, error::CliError, format, interrupt::Stays, output::Output, parse,
};

/// Interval of the looks for new records. Fixed: of the command line, which has no
/// settings.
const PERIOD: Duration = Duration::from_secs(1);
/// Maximum number of records of one look. Fact: the API, whose schema states it.
const AT_ONCE: u32 = 1_000;

/// Filter of records that are followed.
#[derive(Debug, Args)]
pub(in crate::cli) struct TailArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Number of records to begin with.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = parse::whole(0..=10_000_u32))]
    limit: u32,
    /// Show each new record, until interrupted; through restarts of the hive.
    #[arg(long, short)]
    follow: bool,
}

impl TailArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let out = &context.out;
        let filter = self.filter.filter(out);
        let first = newest(context, &filter, self.limit).await?;
        if !self.follow {
            return show(out, &first);
        }
        context.interrupt.stays(Stays::Watching);
        print(out, &first.items)?;
        tell_of_damage(out, &first);
        let next = first.indexed_upto;
        follow(context, filter, next).await
    }
}

/// Returns the newest records, the oldest of them first.
async fn newest(
    context: &Context,
    filter: &AuditFilter,
    limit: u32,
) -> Result<AuditPage, CliError> {
    let request = page(limit.max(1));
    let order = AuditOrder::NewestFirst;
    let mut page = context.client.audit(filter, order, &request).await?;
    page.items.truncate(limit as usize);
    page.items.reverse();
    // Older ones are left out on purpose.
    page.next_cursor = None;
    Ok(page)
}

fn page(limit: u32) -> PageRequest {
    PageRequest {
        limit,
        cursor: None,
    }
}

/// Shows the records of entries from `next` on, as they come.
async fn follow(context: &Context, filter: AuditFilter, mut next: u64) -> Result<(), CliError> {
    let out = &context.out;
    let (client, request) = (&context.client, page(AT_ONCE));
    let mut lost = false;
    loop {
        let wanted = AuditFilter {
            from_entry: Some(filter.from_entry.unwrap_or(0).max(next)),
            ..filter.clone()
        };
        let look = client.audit(&wanted, AuditOrder::OldestFirst, &request);
        match look.await {
            Ok(page) => {
                lost = false;
                if page.size < next {
                    out.note("a new trail has begun: continuing with its first entry");
                    next = 0;
                    continue;
                }
                print(out, &page.items)?;
                tell_of_damage(out, &page);
                next = after(&page, next);
                if page.next_cursor.is_some() {
                    continue;
                }
            }
            Err(error) if error.is_passing() => {
                if !std::mem::replace(&mut lost, true) {
                    let error = CliError::from(error).message().swap_remove(0);
                    let period = format::duration(PERIOD);
                    out.note(&format!("{error}; retrying every {period}"));
                }
            }
            Err(error) => return Err(error.into()),
        }
        sleep(PERIOD).await;
    }
}

/// Returns the index of the first entry that a look from `next` on has not reached.
fn after(page: &AuditPage, next: u64) -> u64 {
    let last = page.items.last().map(|record| record.index + 1);
    let reached = match (&page.next_cursor, last) {
        (Some(_), Some(last)) => last,
        (_, last) => page.indexed_upto.max(last.unwrap_or(0)),
    };
    reached.max(next)
}

/// Prints records, one a line. Documents of more than a line would not be read one by one.
fn print(out: &Output, records: &[AuditRecord]) -> Result<(), CliError> {
    for record in records {
        match out.is_table() {
            true => out.text(&view::line(record))?,
            false => out.line(record)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn following_goes_on_behind_what_was_looked_at() {
        let record = |index| AuditRecord {
            index,
            ..view::tests::record()
        };
        for (items, has_more, indexed_upto, next, expected) in [
            (&[][..], false, 7, 0, 7),
            (&[], false, 7, 9, 9),
            (&[3, 5], false, 7, 3, 7),
            (&[3, 5], true, 7, 3, 6),
            // Read from the trail before the index had it.
            (&[8], false, 7, 3, 9),
        ] {
            let page = AuditPage {
                items: items.iter().copied().map(record).collect(),
                next_cursor: has_more.then(|| "c".into()),
                indexed_upto,
                size: 10,
                unreadable: Vec::new(),
            };
            assert_eq!(after(&page, next), expected, "{items:?} {next}");
        }
    }
}
