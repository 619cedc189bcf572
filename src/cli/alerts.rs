//! `deia alerts`: what needs a person.

use clap::{Args, Subcommand};
use deia_model::{Alert, AlertId, EventLevel};

use super::{
    context::Context,
    error::CliError,
    filter::PageArgs,
    format,
    output::Look,
    table::{Cell, Column, Table, Tone},
    watch::WatchArgs,
};

#[derive(Debug, Subcommand)]
pub(super) enum AlertsCommand {
    /// Say that you take care of an alert. The first to do so stays named.
    #[command(before_help = "Examples:
  deia alerts acknowledge alert_01h455vb4pex5vsknk084sn02q")]
    Acknowledge {
        /// The alert.
        id: AlertId,
    },
}

/// Filter of alerts.
#[derive(Debug, Args)]
pub(super) struct AlertsArgs {
    /// Resolved alerts as well.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

impl AlertsCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let Self::Acknowledge { id } = self;
        let alert = context.client.acknowledge_alert(&id.to_string()).await?;
        context
            .out
            .one(&alert, |look| table(std::slice::from_ref(&alert), look))
    }
}

/// Lists alerts, the newest first.
pub(super) async fn list(context: &Context, args: AlertsArgs) -> Result<(), CliError> {
    let (client, out) = (&context.client, &context.out);
    let part = args.page.request();
    let none = if args.all {
        "there are no alerts"
    } else {
        "there are no open alerts"
    };
    let once = async || {
        let page = client.alerts(!args.all, &part).await?;
        out.list(&page, none, |look| table(&page.items, look))
    };
    args.watch.show(context, once).await
}

fn table(alerts: &[Alert], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("ALERT"),
        Column::new("SINCE"),
        Column::new("PROBLEM").flows(),
        Column::new("REMEDY").flows(),
        Column::new("STATE").flows(),
    ]);
    for alert in alerts {
        table.row(vec![
            alert.id.to_string().into(),
            format::when(alert.since, look.now).into(),
            Cell::new(&alert.what, tone(alert)),
            alert.what_to_do.as_str().into(),
            state(alert).into(),
        ]);
    }
    table.render(look)
}

fn tone(alert: &Alert) -> Tone {
    match (alert.resolved_at, alert.level) {
        (Some(_), _) | (None, EventLevel::Info) => Tone::Plain,
        (None, EventLevel::Warning) => Tone::Attention,
        (None, EventLevel::Critical) => Tone::Bad,
    }
}

fn state(alert: &Alert) -> String {
    let state = match alert.resolved_at {
        Some(_) => "resolved",
        None => "open",
    };
    match &alert.acknowledged_by {
        Some(user) => format!("{state}, acknowledged by {user}"),
        None => state.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_names_who_takes_care() {
        let all = deia_model::entities().unwrap();
        let example = all.iter().find(|entity| entity.name == "Alert").unwrap();
        let mut alert: Alert = serde_json::from_str(&example.example).unwrap();
        alert.resolved_at = None;
        alert.acknowledged_by = None;
        assert_eq!(state(&alert), "open");
        alert.acknowledged_by = Some("ada".into());
        assert_eq!(state(&alert), "open, acknowledged by ada");
        alert.resolved_at = Some(alert.since);
        assert_eq!(state(&alert), "resolved, acknowledged by ada");
    }
}
