//! `deia supervisors`: the supervision tree.

use clap::{Args, Subcommand};
use deia_client::{Arbiter, LastExit, NodeKind, NodeState, SupervisorAction, SupervisorNode};

use super::{
    confirm::Confirm,
    context::Context,
    error::CliError,
    format,
    output::Look,
    table::{Cell, Column, Table, Tone, or_dash},
    watch::WatchArgs,
};

#[derive(Debug, Subcommand)]
pub(super) enum SupervisorsCommand {
    /// Show one child with its descendants, and its last exits with their causes.
    #[command(before_help = "Examples:
  deia supervisors show hive/core/bots/upper-1
  deia supervisors show hive/core --output json")]
    Show {
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Stop a child with its descendants, and start it again.
    #[command(before_help = "Examples:
  deia supervisors restart hive/core/scheduler --yes")]
    Restart(ActOn),
    /// Stop a child until it is resumed; this does not count as a failure.
    #[command(before_help = "Examples:
  deia supervisors suspend hive/core/bots/sim-1 --yes --reason 'too slow'")]
    Suspend {
        #[command(flatten)]
        on: ActOn,
        /// Reason, shown in the tree.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Start a suspended child again.
    #[command(before_help = "Examples:
  deia supervisors resume hive/core/bots/sim-1")]
    Resume(Part),
    /// List the threads that actors run on, and how busy they are.
    #[command(before_help = "Examples:
  deia supervisors arbiters --watch")]
    Arbiters {
        #[command(flatten)]
        watch: WatchArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct Part {
    /// Names from the root on, such as hive/core/scheduler.
    path: String,
}

#[derive(Debug, Args)]
pub(super) struct ActOn {
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    confirm: Confirm,
}

impl SupervisorsCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (part, action) = match self {
            Self::Show { part, watch } => {
                let once = async || {
                    let node = context.client.supervisor(&part.path).await?;
                    context.out.one(&node, |look| draw_with_exits(&node, look))
                };
                return watch.show(context, once).await;
            }
            Self::Restart(on) => {
                on.confirm.ask(&format!("restart {}", on.part.path))?;
                (on.part, SupervisorAction::Restart)
            }
            Self::Suspend { on, reason } => {
                on.confirm.ask(&format!("suspend {}", on.part.path))?;
                let client = &context.client;
                let path = &on.part.path;
                let node = client.suspend_supervisor(path, reason.as_deref()).await?;
                return context.out.one(&node, |look| draw(&node, look));
            }
            Self::Arbiters { watch } => {
                let once = async || {
                    let arbiters = context.client.arbiters().await?;
                    context
                        .out
                        .one(&arbiters, |look| draw_arbiters(&arbiters, look))
                };
                return watch.show(context, once).await;
            }
            Self::Resume(part) => (part, SupervisorAction::Resume),
        };
        let node = context.client.act_on_supervisor(&part.path, action).await?;
        context.out.one(&node, |look| draw(&node, look))
    }
}

pub(super) async fn show(context: &Context, watch: WatchArgs) -> Result<(), CliError> {
    let once = async || {
        let root = context.client.supervisors().await?;
        context.out.one(&root, |look| draw(&root, look))
    };
    watch.show(context, once).await
}

fn draw(root: &SupervisorNode, look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("NAME"),
        Column::new("STATE"),
        Column::new("RESTARTS").right(),
        Column::new("UP FOR").right(),
        Column::new("MAILBOX").right(),
        Column::new("HANDLED").right().wide(),
        Column::new("STRATEGY").wide(),
        Column::new("THREAD").wide(),
        Column::new("LAST EXIT").flows(),
    ]);
    add(&mut table, root, "", Place::Root, look);
    table.render(look)
}

/// Draws a child and its descendants, then its last exits, the newest first.
fn draw_with_exits(node: &SupervisorNode, look: &Look) -> String {
    let mut text = draw(node, look);
    if !node.exits.is_empty() {
        text.push_str("\nlast exits, the newest first\n");
    }
    for exit in node.exits.iter().rev() {
        text.push_str(&format!("  {}\n", exit_text(exit, look)));
    }
    text
}

#[derive(Clone, Copy)]
enum Place {
    Root,
    Between,
    Last,
}

fn add(table: &mut Table, node: &SupervisorNode, trunk: &str, place: Place, look: &Look) {
    let (branch, below) = match place {
        Place::Root => ("", ""),
        Place::Between => ("├─ ", "│  "),
        Place::Last => ("└─ ", "   "),
    };
    let worker = node.kind == NodeKind::Worker;
    table.row(vec![
        format!("{trunk}{branch}{}", format::one_line(&node.name)).into(),
        state(node.state),
        restarts(node.restarts),
        or_dash(node.uptime_ms.map(format::millis)),
        or_dash(worker.then_some(node.mailbox_depth)),
        or_dash(worker.then_some(node.handled)),
        or_dash(node.strategy.map(|strategy| strategy.as_str())),
        or_dash(node.arbiter.as_deref().map(format::one_line)),
        or_dash(cause(node, look)),
    ]);
    let trunk = format!("{trunk}{below}");
    for (i, child) in node.children.iter().enumerate() {
        let place = if i + 1 == node.children.len() {
            Place::Last
        } else {
            Place::Between
        };
        add(table, child, &trunk, place, look);
    }
}

/// Returns why a child is down on purpose, or how it last ended.
fn cause(node: &SupervisorNode, look: &Look) -> Option<String> {
    if node.stalled {
        return Some("stalled: messages wait and none is handled".to_owned());
    }
    if let Some(suspended) = &node.suspended {
        let by = suspended.by.as_deref().unwrap_or("unknown");
        let why = suspended.why.as_deref().unwrap_or("no reason given");
        let since = format::when(suspended.since, look.now);
        return Some(format::one_line(&format!(
            "suspended by {by}: {why} ({since})"
        )));
    }
    node.last_exit.as_ref().map(|exit| exit_text(exit, look))
}

fn draw_arbiters(arbiters: &[Arbiter], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("THREAD"),
        Column::new("STATE"),
        Column::new("ACTORS").right(),
        Column::new("BUSY").right(),
    ]);
    for arbiter in arbiters {
        let state = match arbiter.silent_since.filter(|_| arbiter.blocked) {
            None => Cell::new("running", Tone::Good),
            Some(since) => {
                let what = if arbiter.given_up { "lost" } else { "blocked" };
                let text = format!("{what} since {}", format::when(since, look.now));
                Cell::new(text, Tone::Bad)
            }
        };
        table.row(vec![
            format::one_line(&arbiter.name).into(),
            state,
            arbiter.children.to_string().into(),
            format!("{:.0} %", arbiter.busy_share * 100.0).into(),
        ]);
    }
    table.render(look)
}

fn state(state: NodeState) -> Cell {
    let tone = match state {
        NodeState::Running => Tone::Good,
        NodeState::Starting | NodeState::Stopping | NodeState::Restarting => Tone::Attention,
        NodeState::Quarantined | NodeState::Stuck => Tone::Bad,
        NodeState::Declared
        | NodeState::Terminated
        | NodeState::Ended
        | NodeState::Ignored
        | NodeState::Suspended
        | NodeState::Removed => Tone::Faint,
    };
    Cell::new(state.as_str(), tone)
}

fn restarts(count: u64) -> Cell {
    let tone = if count == 0 {
        Tone::Faint
    } else {
        Tone::Attention
    };
    Cell::new(count.to_string(), tone)
}

fn exit_text(exit: &LastExit, look: &Look) -> String {
    let when = format::when(exit.at, look.now);
    match &exit.message {
        Some(message) => {
            let message = format::one_line(message);
            format!("{}: {message} ({when})", exit.reason.as_str())
        }
        None => format!("{} ({when})", exit.reason.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use deia_model::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tree_is_drawn() {
        let root: SupervisorNode = serde_json::from_value(json!({
            "name": "hive", "path": "hive", "kind": "supervisor", "strategy": "rest_for_one",
            "state": "running", "restart": "permanent", "uptime_ms": 61_000, "exits": [],
            "children": [
                {"name": "ledger", "kind": "worker", "state": "running", "uptime_ms": 61_000,
                 "mailbox_depth": 2, "handled": 900, "children": []},
                {"name": "core", "kind": "supervisor", "strategy": "one_for_one",
                 "state": "running", "uptime_ms": 60_900, "children": [
                    {"name": "bots", "kind": "supervisor", "strategy": "dynamic",
                     "state": "running", "uptime_ms": 60_900, "children": [
                        {"name": "upper-1", "kind": "worker", "state": "restarting", "restarts": 3,
                         "last_exit": {"reason": "panicked", "message": "boom", "location": null,
                                       "message_type": null, "incarnation": 3,
                                       "at": "2023-11-14T22:13:20.123456Z"}}]}]},
                {"name": "front", "kind": "worker", "state": "running", "uptime_ms": 60_000}
            ]
        }))
        .unwrap();
        let look = Look {
            color: false,
            width: Some(80),
            now: Timestamp::from_millis(1_700_000_060_123),
        };
        let expected = "\
NAME              STATE       RESTARTS  UP FOR  MAILBOX  LAST EXIT
hive              running            0   1m 1s        -  -
├─ ledger         running            0   1m 1s        2  -
├─ core           running            0     1m         -  -
│  └─ bots        running            0     1m         -  -
│     └─ upper-1  restarting         3       -        0  panicked: boom (1m ago)
└─ front          running            0      1m        0  -
";
        let got = draw(&root, &look);
        let squeezed = |text: &str| {
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            text.lines().map(words).collect::<Vec<_>>()
        };
        assert_eq!(squeezed(&got), squeezed(expected), "{got}");
        for line in got.lines() {
            assert!(line.chars().count() <= 80, "{got}");
        }
        let crashed = &root.children[1].children[0].children[0];
        let crashed = SupervisorNode {
            exits: crashed.last_exit.clone().into_iter().collect(),
            ..crashed.clone()
        };
        let with_exits = draw_with_exits(&crashed, &look);
        let expected = "last exits, the newest first\n  panicked: boom (1m ago)\n";
        assert!(with_exits.ends_with(expected), "{with_exits}");
        let value = serde_json::to_value(&root).unwrap();
        assert_eq!(value["path"], "hive", "what is not known here is kept");
    }
}
