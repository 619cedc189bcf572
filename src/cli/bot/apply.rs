//! `deia bot apply`: makes the bots of a hive those of a file.

use std::path::PathBuf;

use clap::Args;
use deia_client::{Client, ClientError, PutIf};
use deia_model::{Bot, BotDesired, BotName, Page};
use serde::Serialize;

use super::fleet::{Fleet, Kind, Step, plan};
use crate::cli::{
    confirm::Confirm,
    context::{self, Context},
    error::CliError,
    interrupt::Stays,
    output::Look,
    table::{Cell, Column, Table, Tone},
    wait::{Goal, WaitArgs},
};

/// Maximum size of a file, in bytes. Fixed: of the command line, which has no settings.
const MAX_FILE_BYTES: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(in crate::cli) struct ApplyArgs {
    /// The file, YAML or JSON; `-` for standard input.
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
    /// Also remove the bots that are not in the file: those of its groups, or with all of
    /// its labels if it names no group. They finish their running tasks first.
    #[arg(long)]
    prune: bool,
    /// Do not wait for running tasks of changed and removed bots: they go back to the queue.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    wait: WaitArgs,
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// Shown only.
    Planned,
    Done,
    /// Somebody changed the bot meanwhile.
    Conflict,
    Failed,
}

/// A line of the report.
#[derive(Debug, Serialize)]
struct Row {
    bot: BotName,
    action: Kind,
    outcome: Outcome,
    /// Members that change, from what to what.
    changes: Vec<String>,
    /// Reason of a failure, or a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl ApplyArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        let fleet = self.fleet()?;
        let present = client.bots().await?.items;
        let steps = plan(&fleet, &present, self.prune);
        let rows = match self.dry_run {
            true => steps.into_iter().map(planned).collect(),
            false => {
                self.ask(&steps)?;
                let mut rows = Vec::with_capacity(steps.len());
                for step in steps {
                    rows.push(self.carry_out(context, step).await);
                }
                rows
            }
        };
        let page = Page {
            items: rows,
            next_cursor: None,
        };
        out.list(&page, "the file has no bots", |look| {
            table(&page.items, look)
        })?;
        outcome_of(&page.items)
    }

    fn fleet(&self) -> Result<Fleet, CliError> {
        let text = context::read_text("--file", &self.file, MAX_FILE_BYTES)?;
        let refuse = |reason| CliError::Input {
            what: format!("the fleet in {}", self.file.display()),
            reason,
        };
        let fleet = Fleet::read(&text).map_err(refuse)?;
        if self.prune && !fleet.has_scope() {
            let reason = "says which bots are its own neither by group nor by labels, so --prune would have to remove all others; give it a group";
            return Err(refuse(reason.to_owned()));
        }
        Ok(fleet)
    }

    /// Asks before existing bots are changed or removed.
    fn ask(&self, steps: &[Step]) -> Result<(), CliError> {
        let named = |kind: Kind| {
            let of_kind = steps.iter().filter(|step| step.kind == kind);
            let names: Vec<_> = of_kind.map(|step| step.name.as_str()).collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        let changed = named(Kind::Change).map(|names| format!("change {names}"));
        let removed = named(Kind::Remove).map(|names| format!("remove {names}"));
        let parts: Vec<_> = changed.into_iter().chain(removed).collect();
        match parts.is_empty() {
            true => Ok(()),
            false => self.confirm.ask(&parts.join(" and ")),
        }
    }

    /// Carries out one step. A failure does not keep the others from being carried out.
    async fn carry_out(&self, context: &Context, step: Step) -> Row {
        let done = match step.kind {
            Kind::Unchanged => Ok(None),
            Kind::Create | Kind::Change => self.put(context, &step).await,
            Kind::Remove => self.remove(context, &step.name).await,
        };
        let (outcome, detail) = match done {
            Ok(warning) => (Outcome::Done, warning),
            Err(error) if is_conflict(&error) => (
                Outcome::Conflict,
                Some("somebody changed it meanwhile; apply again".to_owned()),
            ),
            Err(error) => (Outcome::Failed, Some(error.message().join("; "))),
        };
        Row {
            outcome,
            detail,
            ..planned(step)
        }
    }

    async fn put(&self, context: &Context, step: &Step) -> Result<Option<String>, CliError> {
        let client = &context.client;
        let Some(wanted) = &step.wanted else {
            return Ok(None);
        };
        let when = step.version.map_or(PutIf::New, PutIf::Version);
        let put = match self.now {
            true => client.put_bot_now(&step.name, &wanted.spec, when).await?,
            false => client.put_bot(&step.name, &wanted.spec, when).await?,
        };
        let mut bot = put;
        if step.kind == Kind::Create && wanted.launch {
            bot = client.launch_bot(&step.name).await?;
        }
        let warning = (!bot.warnings.is_empty()).then(|| bot.warnings.join("; "));
        if bot.desired == BotDesired::Launched {
            context.interrupt.stays(Stays::Bot(step.name.clone()));
            self.wait.until(client, bot, Goal::Up).await?;
        }
        Ok(warning)
    }

    async fn remove(&self, context: &Context, name: &BotName) -> Result<Option<String>, CliError> {
        let client = &context.client;
        let bot = match self.now {
            true => client.stop_bot(name).await?,
            false => client.drain_bot(name).await?,
        };
        context.interrupt.stays(Stays::Bot(name.clone()));
        let bot = self
            .wait
            .or_default()
            .until(client, bot, Goal::Down)
            .await?;
        delete(client, &bot).await?;
        Ok(None)
    }
}

async fn delete(client: &Client, bot: &Bot) -> Result<(), ClientError> {
    client.delete_bot(&bot.id).await
}

fn planned(step: Step) -> Row {
    Row {
        bot: step.name,
        action: step.kind,
        outcome: Outcome::Planned,
        changes: step.changes,
        detail: None,
    }
}

fn is_conflict(error: &CliError) -> bool {
    let CliError::Client(error) = error else {
        return false;
    };
    error.problem().is_some_and(|problem| problem.status == 412)
}

fn outcome_of(rows: &[Row]) -> Result<(), CliError> {
    let count = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    let (failed, conflicts) = (count(Outcome::Failed), count(Outcome::Conflict));
    match failed + conflicts {
        0 => Ok(()),
        _ => Err(CliError::AppliedInPart {
            failed,
            conflicts,
            of: rows.len(),
        }),
    }
}

fn table(rows: &[Row], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("BOT").flows(),
        Column::new("ACTION"),
        Column::new("OUTCOME"),
        Column::new("CHANGES").flows(),
        Column::new("DETAIL").flows(),
    ]);
    for row in rows {
        let action = match row.action {
            Kind::Create => ("create", Tone::Good),
            Kind::Change => ("change", Tone::Attention),
            Kind::Unchanged => ("none", Tone::Faint),
            Kind::Remove => ("remove", Tone::Bad),
        };
        let outcome = match row.outcome {
            Outcome::Planned => ("planned", Tone::Faint),
            Outcome::Done => ("done", Tone::Good),
            Outcome::Conflict => ("conflict", Tone::Bad),
            Outcome::Failed => ("failed", Tone::Bad),
        };
        table.row(vec![
            row.bot.as_str().into(),
            Cell::new(action.0, action.1),
            Cell::new(outcome.0, outcome.1),
            row.changes.join("\n").into(),
            row.detail.clone().unwrap_or_default().into(),
        ]);
    }
    table.render(look)
}
