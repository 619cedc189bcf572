//! `deia restore`: a data directory from an archive, on a machine without a hive.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use deia_hive::{OfflineRestore, RestoreReport, restore_offline};

use super::args::RestoreArgs;
use crate::cli::report_lines;

/// Restores, and prints what was restored and what was not.
pub(super) fn run(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let request = OfflineRestore {
        moment: args.moment.moment(),
        point: args.point,
        from: args.from,
        hive: args.hive,
        to: args.to,
        go: args.go,
        identity: args.identity,
    };
    let report = runtime.block_on(restore_offline(&request))?;
    // Without a reader the data is in its place all the same.
    let _ = io::stdout().write_all(text(&request, &report).as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn text(request: &OfflineRestore, report: &RestoreReport) -> String {
    let restored = &report.restored;
    let mut text = format!(
        "restored {} into {}: {} bytes, up to event {} of {}\nthe new admin key is in {}\n",
        report.hive,
        request.to.display(),
        report.bytes,
        restored.position,
        restored.to,
        report.admin_key.display(),
    );
    if !report.keys.is_empty() {
        text += &format!("decrypted key files: {}\n", report.keys.join(", "));
    }
    if let Some(report) = &restored.report {
        text += &report_lines(report);
    }
    for note in &restored.notes {
        text += &format!("note: {note}\n");
    }
    text += &format!("next: deia --data-dir {}\n", request.to.display());
    if restored.paused {
        text += "then: deia-admin backup resume\n";
    }
    text
}
