//! Which tasks are listed.

use clap::Args;
use deia_hive::model::{BotName, EndReason, TaskFilter, TaskStatus};

use super::view;
use crate::cli::{
    context::Context,
    error::CliError,
    filter::{FilterArgs, PageArgs},
    parse,
    watch::WatchArgs,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// Only those in this status.
    #[arg(long, value_parser = parse::status())]
    status: Option<TaskStatus>,
    /// Only those that this bot has, or had last.
    #[arg(long)]
    bot: Option<BotName>,
    /// Only those that failed or were called off for this reason.
    #[arg(long, value_parser = parse::end_reason())]
    reason: Option<EndReason>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

impl ListArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let filter = TaskFilter {
            status: self.status,
            bot: self.bot,
            end_reason: self.reason,
            ..self.filter.filter()?
        };
        let (client, out, part) = (&context.client, &context.out, self.page.request());
        let once = async || {
            let page = client.tasks(&filter, &part).await?;
            let table = |look: &_| view::list(&page.items, look);
            out.list(&page, "there are no such tasks", table)
        };
        self.watch.show(context, once).await
    }
}
