//! `deia audit query`.

use clap::Args;
use deia_model::{AuditOrder, AuditPage};

use super::{filter::FilterArgs, view};
use crate::cli::{
    context::Context, error::CliError, filter::PageArgs, format, output::Output, watch::WatchArgs,
};

/// Filter of records.
#[derive(Debug, Args)]
pub(in crate::cli) struct QueryArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// The oldest first.
    #[arg(long)]
    oldest_first: bool,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

impl QueryArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        let filter = self.filter.filter(out);
        let order = match self.oldest_first {
            true => AuditOrder::OldestFirst,
            false => AuditOrder::NewestFirst,
        };
        let part = self.page.request();
        let once = async || {
            let page = client.audit(&filter, order, &part).await?;
            show(out, &page)
        };
        self.watch.show(context, once).await
    }
}

/// Shows records, and says what is missing among them.
pub(super) fn show(out: &Output, page: &AuditPage) -> Result<(), CliError> {
    let table = |look: &_| view::records(&page.items, look);
    let cursor = page.next_cursor.as_deref();
    out.list_of(page, &page.items, cursor, "no records match", table)?;
    let behind = page.size.saturating_sub(page.indexed_upto);
    if behind > 0 {
        let entries = format::count(behind, "entry", "entries");
        out.note(&format!(
            "the index is behind: the last {entries} of the trail are not in it yet"
        ));
    }
    tell_of_damage(out, page);
    Ok(())
}

/// Reports parts of the trail that could not be read.
pub(super) fn tell_of_damage(out: &Output, page: &AuditPage) {
    for part in &page.unreadable {
        out.note(&format!("warning: damaged, and left out here: {part}"));
    }
}
