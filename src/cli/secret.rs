//! `deia-admin secret`.

use std::path::PathBuf;

use clap::Subcommand;
use deia_client::Secret;
use deia_model::BotSecret;

use super::{
    confirm::Confirm,
    context::{self, Context},
    error::CliError,
    format,
    output::Look,
    table::{Column, Table},
};

/// Maximum length of a secret, in bytes. Fixed: of the command line, which has no
/// settings.
const MAX_SECRET_BYTES: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// List the stored secrets that bots may refer to, without their values.
    #[command(before_help = "Examples:
  deia secret list
  deia secret list --output jsonl | jq -r .name")]
    List,
    /// Store a secret, or replace its value.
    ///
    /// The value is never an argument: other users of the machine could see it. The end
    /// of its last line is left out.
    #[command(before_help = "Examples:
  deia secret put anthropic --from /run/secrets/anthropic
  pass show anthropic | deia secret put anthropic --from -
  deia bot add agent --secret ANTHROPIC_API_KEY=store:anthropic -- /opt/agent")]
    Put {
        /// The name that bots refer to it by.
        name: String,
        /// The file with the value; `-` for standard input.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// Remove a secret from the store.
    #[command(before_help = "Examples:
  deia secret remove anthropic
  deia secret remove anthropic --yes")]
    Remove {
        /// The secret.
        name: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

impl SecretCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        match self {
            Self::List => {
                let page = client.secrets().await?;
                out.list(&page, "there are no stored secrets", |look| {
                    list(&page.items, look)
                })
            }
            Self::Put { name, from } => {
                let text = context::read_text("--from", &from, MAX_SECRET_BYTES)?;
                let value = text.strip_suffix('\n').unwrap_or(&text);
                let value = value.strip_suffix('\r').unwrap_or(value);
                client.put_secret(&name, &Secret::new(value)).await?;
                out.note(&format!("secret {name} is in the store"));
                Ok(())
            }
            Self::Remove { name, confirm } => {
                confirm.ask(&format!("remove secret {name}"))?;
                client.delete_secret(&name).await?;
                out.note(&format!("secret {name} is removed"));
                Ok(())
            }
        }
    }
}

fn list(secrets: &[BotSecret], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("NAME").flows(),
        Column::new("CHANGED"),
        Column::new("CREATED").wide(),
    ]);
    for secret in secrets {
        table.row(vec![
            secret.name.as_str().into(),
            format::when(secret.changed_at, look.now).into(),
            format::when(secret.created_at, look.now).into(),
        ]);
    }
    table.render(look)
}
