//! `deia audit checkpoint`.

use clap::Args;

use super::view;
use crate::cli::{context::Context, error::CliError};

/// Form of the checkpoint.
#[derive(Debug, Args)]
pub(in crate::cli) struct CheckpointArgs {
    /// Print the signed note alone, byte for byte.
    #[arg(long)]
    note: bool,
}

impl CheckpointArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let out = &context.out;
        let checkpoint = context.client.audit_checkpoint().await?;
        if self.note {
            return out.bytes(checkpoint.checkpoint.as_bytes());
        }
        out.one(&checkpoint, |look| view::checkpoint(&checkpoint, look))
    }
}
