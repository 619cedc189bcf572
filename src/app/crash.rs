//! The report that is left when the tree gives up.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use deia_hive::{Hive, config::Config, model::Timestamp};

/// Where the report is left.
fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("crash-report.txt")
}

/// Says that the run before this one gave up, if it did, and puts its report
/// aside: the next one is not to be taken for it.
pub(super) fn note_earlier(config: &Config) {
    let report = path(&config.data_dir);
    let kept = config.data_dir.join("crash-report.previous.txt");
    match fs::rename(&report, &kept) {
        Ok(()) => tracing::warn!(
            report = %kept.display(),
            "the run before this one gave up; the report says why"
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(report = %report.display(), %error, "cannot be put aside"),
    }
}

/// Leaves a report, and gives the error that ends the process.
pub(super) fn report(hive: &Hive, reason: &str) -> anyhow::Error {
    let path = path(&hive.config().data_dir);
    match write(&path, &text(hive, reason)) {
        Ok(()) => anyhow::anyhow!("the hive gave up: {reason}; see {}", path.display()),
        Err(error) => anyhow::anyhow!(
            "the hive gave up: {reason}; the report could not be written to {}: {error}",
            path.display()
        ),
    }
}

fn text(hive: &Hive, reason: &str) -> String {
    let tree = match hive
        .supervisors()
        .map(|tree| serde_json::to_string_pretty(&tree))
    {
        Some(Ok(tree)) => tree,
        Some(Err(error)) => error.to_string(),
        None => "never up".to_owned(),
    };
    format!(
        "deia {} gave up at {}\n\n{reason}\n\nThe supervision tree at its end:\n{tree}\n",
        env!("CARGO_PKG_VERSION"),
        Timestamp::now(),
    )
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
