//! `deia secrets rotate`: the stored secrets, sealed with a new key.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, anyhow};
use deia_hive::{DataDirError, HiveStartError, rotate_secrets_key};

use super::args::SettingsArgs;

/// Creates a new key, seals every secret with it, and prints the outcome.
pub(super) fn rotate(settings: &SettingsArgs) -> anyhow::Result<ExitCode> {
    let config = settings.load()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let rotated = runtime
        .block_on(rotate_secrets_key(&config))
        .map_err(explain)?;
    let path = config.secrets_key_path();
    let mut text = format!(
        "secrets sealed with the new key {} in {}: {}\n",
        rotated.key,
        path.display(),
        rotated.resealed
    );
    for name in &rotated.lost {
        text += &format!("not opened by any key, left as it is: {name}\n");
    }
    if !rotated.lost.is_empty() {
        text += "the old keys stay in the file; store those secrets again and rerun this\n";
    }
    // Without a reader the secrets are sealed all the same.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(match rotated.lost.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn explain(error: HiveStartError) -> anyhow::Error {
    match error {
        HiveStartError::DataDir(DataDirError::InUse { path }) => anyhow!(
            "a hive runs on {}: stop it, run this again, and start it",
            path.display()
        ),
        other => other.into(),
    }
}
