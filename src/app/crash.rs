//! The report that is written when the tree gives up.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use deia_hive::{Hive, config::Config};
use deia_model::Timestamp;

/// Returns the path of the report.
fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("crash-report.txt")
}

/// Start of the line of a report with the time at which the trouble began.
const BEGAN: &str = "The crashes began at ";

/// Returns the time at which the trouble began with which the previous run gave up, if it did: as
/// the report says, or the time of the report.
pub(super) fn gave_up_at(config: &Config) -> Option<Timestamp> {
    let path = path(&config.data_dir);
    let report = fs::read_to_string(&path).unwrap_or_default();
    let began = report.lines().find_map(|line| line.strip_prefix(BEGAN));
    if let Some(began) = began.and_then(|text| text.parse().ok()) {
        return Some(began);
    }
    let written = fs::metadata(path).ok()?.modified().ok()?;
    let since = written.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(
        i64::try_from(since.as_millis()).ok()?,
    ))
}

/// Logs that the previous run gave up, if it did, and renames its report so that it is
/// not taken for that of the next one. Must come after the start has recorded its conclusions.
pub(super) fn note_earlier(config: &Config) {
    let report = path(&config.data_dir);
    let kept = config.data_dir.join("crash-report.previous.txt");
    match fs::rename(&report, &kept) {
        Ok(()) => tracing::warn!(
            report = %kept.display(),
            "the previous run gave up; see the report"
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(report = %report.display(), %error, "cannot be renamed"),
    }
}

/// Writes a report, and returns the error that ends the process.
pub(super) fn report(hive: &Hive, reason: &str) -> anyhow::Error {
    let path = path(&hive.config().data_dir);
    let tree = match hive
        .operations()
        .supervisors()
        .as_ref()
        .map(serde_json::to_string_pretty)
    {
        Some(Ok(tree)) => tree,
        Some(Err(error)) => error.to_string(),
        None => "never up".to_owned(),
    };
    let began = hive.operations().crashes_began();
    match write(&path, &text(reason, began, &tree)) {
        Ok(()) => anyhow::anyhow!("the hive gave up: {reason}; see {}", path.display()),
        Err(error) => anyhow::anyhow!(
            "the hive gave up: {reason}; the report could not be written to {}: {error}",
            path.display()
        ),
    }
}

fn text(reason: &str, began: Option<Timestamp>, tree: &str) -> String {
    let began = began.map_or_else(String::new, |began| format!("{BEGAN}{began}\n\n"));
    format!(
        "deia {} gave up at {}\n\n{reason}\n\n{began}The supervision tree at its end:\n{tree}\n",
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

#[cfg(test)]
mod tests {
    use deia_hive::config::Layers;

    use super::*;

    #[test]
    fn a_report_is_kept_until_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = serde_json::to_string(&dir.path()).unwrap();
        let config = Layers::default().set("data_dir", data_dir).load().unwrap();
        let kept = dir.path().join("crash-report.previous.txt");
        note_earlier(&config);
        assert!(!kept.exists(), "no report, nothing to keep");
        for reason in ["the first", "the second"] {
            write(&path(dir.path()), &text(reason, None, "{}")).unwrap();
            note_earlier(&config);
            assert!(!path(dir.path()).exists());
            let text = fs::read_to_string(&kept).unwrap();
            assert!(
                text.contains(reason) && text.contains(env!("CARGO_PKG_VERSION")),
                "{text}"
            );
        }
    }

    #[test]
    fn report_says_when_the_trouble_began() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = serde_json::to_string(&dir.path()).unwrap();
        let config = Layers::default().set("data_dir", data_dir).load().unwrap();
        assert_eq!(gave_up_at(&config), None);
        let began = Timestamp::from_millis(1_790_000_000_123);
        write(&path(dir.path()), &text("why", Some(began), "{}")).unwrap();
        assert_eq!(gave_up_at(&config), Some(began));
        write(&path(dir.path()), &text("why", None, "{}")).unwrap();
        assert!(gave_up_at(&config) > Some(began));
    }
}
