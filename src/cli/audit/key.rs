//! `deia audit key`.

use clap::Subcommand;

use crate::cli::{confirm::Confirm, context::Context, error::CliError};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Show the verifier keys of the trail, the oldest first. Keep them outside of the machine.
    #[command(before_help = "Examples:
  deia audit key show > verifier-keys")]
    Show,
    /// Replace the key that signs checkpoints. One checkpoint is signed by both.
    #[command(before_help = "Examples:
  deia audit key rotate --yes")]
    Rotate {
        #[command(flatten)]
        confirm: Confirm,
    },
}

impl KeyCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let out = &context.out;
        match self {
            Self::Show => {
                let checkpoint = context.client.audit_checkpoint().await?;
                out.one(&checkpoint.keys, |_| {
                    checkpoint
                        .keys
                        .iter()
                        .map(|key| format!("{key}\n"))
                        .collect()
                })
            }
            Self::Rotate { confirm } => {
                confirm.ask("replace the key that signs the audit trail")?;
                let key = context.client.rotate_audit_key().await?;
                out.one(&key, |_| format!("{}\n", key.key))
            }
        }
    }
}
