//! `deia admin-key --reset`: a lost admin key, replaced on the machine itself.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, anyhow};
use deia_hive::{DataDirError, HiveStartError, reset_admin_key};

use super::args::SettingsArgs;

/// Creates a new admin key, and prints its place.
pub(super) fn reset(settings: &SettingsArgs) -> anyhow::Result<ExitCode> {
    let config = settings.load()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let reset = runtime
        .block_on(reset_admin_key(&config))
        .map_err(explain)?;
    let mut text = format!(
        "the new admin key {} is in {}, readable by its owner alone\n",
        reset.key,
        reset.path.display()
    );
    for key in &reset.revoked {
        text += &format!("revoked {key}\n");
    }
    // Without a reader the key is in its place all the same.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn explain(error: HiveStartError) -> anyhow::Error {
    match error {
        HiveStartError::DataDir(DataDirError::InUse { path }) => anyhow!(
            "a hive runs on {}: with an admin key, `deia key create` makes another; \
             without one, stop the hive, run this again, and start it",
            path.display()
        ),
        other => other.into(),
    }
}
