//! `deia audit proof`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{context::Context, error::CliError, new_file::NewFile, parse};

/// The entry whose proof is wanted.
#[derive(Debug, Args)]
pub(in crate::cli) struct ProofArgs {
    /// Index of the entry, as `audit query` shows it.
    #[arg(value_parser = parse::whole(0..=u64::MAX))]
    index: u64,
    /// Write into this file, readable by you alone; to standard output when absent.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl ProofArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let out = &context.out;
        let proof = context.client.audit_proof(self.index).await?;
        let text = || proof.proof.clone();
        match self.to {
            None => out.one(&proof, |_| text())?,
            Some(path) => {
                let mut file = NewFile::create(path)?;
                file.write(out.rendered(&proof, |_| text())?.as_bytes())?;
                let path = file.keep()?;
                out.note(&format!("the proof is in {}", path.display()));
            }
        }
        if out.is_table() {
            out.note("the entry, its details and the verifier keys: --output json");
        }
        Ok(())
    }
}
