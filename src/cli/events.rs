//! `deia events`: the event log.

use clap::Args;
use deia_client::EventQuery;
use deia_hive::config::distance;
use deia_model::{Action, Timestamp};

use super::{context::Context, error::CliError, filter::PageArgs, parse, task, watch::WatchArgs};

/// Filter of events.
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Only events of this action (bot.crashed), or of this kind (bot).
    #[arg(long)]
    action: Option<String>,
    /// Only events about this target: the id of a task, key or session, or the name of
    /// a bot or user; with or without its kind in front (bot:upper-1).
    #[arg(long)]
    target: Option<String>,
    /// Only events of this actor: a user, a bot, or deia.
    #[arg(long)]
    actor: Option<String>,
    /// Only events recorded at this time or later: a time such as 2026-11-20T08:30:00Z,
    /// or a span before now such as 2h.
    #[arg(long, value_name = "TIME", value_parser = parse::time_past)]
    since: Option<Timestamp>,
    /// Only events recorded before: a time, or a span before now.
    #[arg(long, value_name = "TIME", value_parser = parse::time_past)]
    until: Option<Timestamp>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

/// Returns whether this is an action, or a kind of actions.
fn is_known(action: &str) -> bool {
    let mut all = Action::ALL.iter().map(|action| action.as_str());
    all.any(|known| {
        let rest = known.strip_prefix(action);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Lists events, the newest first.
pub(super) async fn list(context: &Context, args: EventsArgs) -> Result<(), CliError> {
    let (client, out) = (&context.client, &context.out);
    let query = EventQuery {
        action: args.action,
        target: args.target,
        actor: args.actor,
        after: args.since,
        before: args.until,
    };
    task::tell_of_span(out, query.after, query.before);
    if let Some(action) = &query.action
        && !is_known(action)
    {
        let all = Action::ALL.iter().map(|action| action.as_str());
        let nearest = all
            .min_by_key(|known| distance(action, known))
            .unwrap_or_default();
        out.note(&format!(
            "note: there is no action {action}; nearest: {nearest}"
        ));
    }
    let part = args.page.request();
    let once = async || {
        let page = client.events(&query, &part).await?;
        out.list(&page, "there are no such events", |look| {
            task::all_events(&page.items, look)
        })
    };
    args.watch.show(context, once).await
}
