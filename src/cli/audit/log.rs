//! `deia audit log`: events of other systems.

use clap::Args;
use deia_client::NewAuditEvent;
use deia_model::{EventLevel, EventResult, ExternalAction};
use serde_json::{Map, Value};

use crate::cli::{context::Context, error::CliError, parse, table::Table};

/// An event of another system.
#[derive(Debug, Args)]
pub(in crate::cli) struct LogArgs {
    /// The action: ext. and 1 to 4 words of a-z 0-9 _ with dots between them.
    action: ExternalAction,
    /// The target, in the words of the other system.
    target: String,
    /// Further details: a JSON object.
    #[arg(long, value_name = "JSON", value_parser = parse::json_object)]
    details: Option<Map<String, Value>>,
    /// The level; info when absent.
    #[arg(long, value_parser = parse::level())]
    level: Option<EventLevel>,
    /// The result of the action; success when absent.
    #[arg(long, value_parser = parse::result())]
    result: Option<EventResult>,
    /// Makes a repeated command harmless: the same key and arguments record one event.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl LogArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let event = NewAuditEvent {
            action: self.action,
            target: self.target,
            details: self.details,
            level: self.level,
            result: self.result,
        };
        let key = self.idempotency_key.as_deref();
        let recorded = context.client.append_audit_event(&event, key).await?;
        context.out.one(&recorded, |look| {
            let mut table = Table::fields();
            table.field("seq", recorded.seq);
            table.render(look)
        })
    }
}
