//! `deia events`: the event log.

use clap::Args;
use deia_client::{Client, EventQuery, Followed};
use deia_hive::config::distance;
use deia_model::{Action, EventGap, ExternalAction, TaskType, Timestamp};

use super::{
    context::Context, error::CliError, filter::PageArgs, interrupt::Stays, output::Output, parse,
    task, watch::WatchArgs,
};

/// Filter of events.
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Only events of this action (bot.crashed), or of this kind (bot).
    #[arg(long)]
    action: Option<String>,
    /// Only events about this target: the id of a task, key, session or webhook, or the
    /// name of a bot or user; with or without its kind in front (bot:upper-1).
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
    /// Only events about tasks of this type.
    #[arg(long = "type", value_name = "TYPE")]
    task_type: Option<TaskType>,
    /// Only events about tasks with this label; repeat to require several.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Show events as they are recorded, the oldest first, until interrupted; through
    /// restarts of the hive.
    #[arg(long, short, conflicts_with_all = ["since", "until", "limit", "cursor", "watch"])]
    follow: bool,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

/// Returns whether this is an action, or a kind of actions. Those of others begin with
/// `ext`.
fn is_known(action: &str) -> bool {
    if action == ExternalAction::KIND || ExternalAction::parse(action).is_some() {
        return true;
    }
    let mut all = Action::ALL.iter().map(|action| action.as_str());
    all.any(|known| {
        let rest = known.strip_prefix(action);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Shows events as they come.
async fn follow(client: &Client, out: &Output, query: EventQuery) -> Result<(), CliError> {
    let mut events = client.follow_events(query, None);
    loop {
        match events.next().await? {
            Followed::Event(event) if out.is_table() => out.text(&task::event_line(&event))?,
            Followed::Event(event) => out.line(&event)?,
            Followed::Gap(gap) => out.note(&missing(&gap)),
            Followed::Interrupted(reason) => out.note(&format!("{reason}; connecting again")),
            Followed::Resumed => out.note("connected again"),
        }
    }
}

fn missing(gap: &EventGap) -> String {
    match (gap.forked, gap.missed) {
        (true, _) => {
            "the hive was restored: some of the events above may have been undone".to_owned()
        }
        (false, Some(missed)) => {
            format!("{missed} events are missing here: they are no longer kept")
        }
        (false, None) => "events may be missing here: some are no longer kept".to_owned(),
    }
}

/// Reports that this program knows no such action, and no such kind.
pub(super) fn tell_of_unknown(out: &Output, action: &str) {
    if is_known(action) {
        return;
    }
    let all = Action::ALL.iter().map(|action| action.as_str());
    let nearest = all
        .min_by_key(|known| distance(action, known))
        .unwrap_or_default();
    out.note(&format!(
        "note: there is no action {action}; nearest: {nearest}"
    ));
}

/// Lists events, the newest first.
pub(super) async fn list(context: &Context, args: EventsArgs) -> Result<(), CliError> {
    let (client, out) = (&context.client, &context.out);
    let query = EventQuery {
        action: args.action,
        target: args.target,
        actor: args.actor,
        task_type: args.task_type,
        tags: args.tag,
        after: args.since,
        before: args.until,
    };
    task::tell_of_span(out, query.after, query.before);
    if let Some(action) = &query.action {
        tell_of_unknown(out, action);
    }
    let part = args.page.request();
    if args.follow {
        context.interrupt.stays(Stays::Watching);
        return follow(client, out, query).await;
    }
    let once = async || {
        let page = client.events(&query, &part).await?;
        out.list(&page, "no events match", |look| {
            task::all_events(&page.items, look)
        })
    };
    args.watch.show(context, once).await
}
