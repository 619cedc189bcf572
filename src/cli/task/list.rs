//! Lists of tasks.

use clap::Args;
use deia_client::ClientError;
use deia_model::{BotName, EndReason, TaskFilter, TaskStatus, Timestamp};

use super::view;
use crate::cli::{
    context::Context,
    error::CliError,
    filter::{FilterArgs, PageArgs},
    output::Output,
    parse,
    watch::WatchArgs,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// Only tasks in this status.
    #[arg(long, value_parser = parse::status())]
    status: Option<TaskStatus>,
    /// Only tasks that this bot runs, or ran last.
    #[arg(long)]
    bot: Option<BotName>,
    /// Only tasks that failed or were cancelled for this reason.
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
        let bot = filter.bot.clone();
        tell_of_span(&context.out, filter.created_after, filter.created_before);
        let (client, out, part) = (&context.client, &context.out, self.page.request());
        let once = async || {
            let page = client.tasks(&filter, &part).await?;
            if let Some(bot) = bot.as_ref().filter(|_| page.items.is_empty()) {
                tell_of_missing(context, bot).await;
            }
            let table = |look: &_| view::list(&page.items, look);
            out.list(&page, "no tasks match", table)
        };
        self.watch.show(context, once).await
    }
}

/// Reports that there is no bot of that name, if that can be looked up.
async fn tell_of_missing(context: &Context, bot: &BotName) {
    let is_missing = |error: &ClientError| error.problem().is_some_and(|p| p.status == 404);
    if context
        .client
        .bot(bot)
        .await
        .is_err_and(|error| is_missing(&error))
    {
        context.out.note(&format!("note: there is no bot {bot}"));
    }
}

/// Reports that a span of time that ends before it begins is empty.
pub(in crate::cli) fn tell_of_span(
    out: &Output,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) {
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        out.note("note: --since is not before --until, so nothing is within");
    }
}
