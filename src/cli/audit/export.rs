//! `deia audit export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use deia_client::{AuditExportFormat, AuditExportStream};

use super::filter::FilterArgs;
use crate::cli::{context::Context, error::CliError, format, new_file::NewFile};

/// The format of an export.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExportFormat {
    /// One record a line, as JSON.
    Jsonl,
    /// Comma-separated values, with a header.
    Csv,
}

/// Filter and destination of an export.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// The format.
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    format: ExportFormat,
    /// Write into this file, readable by you alone, once the export is complete; to standard
    /// output when absent.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl ExportArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let out = &context.out;
        let filter = self.filter.filter(out);
        let format = match self.format {
            ExportFormat::Jsonl => AuditExportFormat::JsonLines,
            ExportFormat::Csv => AuditExportFormat::Csv,
        };
        let export = context.client.export_audit(&filter, format);
        let Some(path) = self.to else {
            let mut export = export.await?;
            while let Some(piece) = next(&mut export).await? {
                out.bytes(&piece)?;
            }
            return Ok(());
        };
        let mut file = NewFile::create(path)?;
        let mut export = export.await?;
        let mut bytes = 0;
        while let Some(piece) = next(&mut export).await? {
            file.write(&piece)?;
            bytes += piece.len() as u64;
        }
        let path = file.keep()?;
        let size = format::bytes(bytes);
        out.note(&format!("{size} are in {}", path.display()));
        Ok(())
    }
}

/// Returns the next bytes of an export.
///
/// # Errors
/// The export ended early: what there is of it is not the whole.
async fn next(export: &mut AuditExportStream) -> Result<Option<Vec<u8>>, CliError> {
    let piece = export.next().await;
    piece.map_err(|error| CliError::ExportInPart {
        error: Box::new(error.into()),
    })
}
