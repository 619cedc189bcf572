//! Metadata for a program: in its environment, or in a file if they exceed the size of a variable.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use deia_model::Task;

/// Maximum size of metadata in the environment, in bytes. The kernel allows 128 KiB a variable.
/// Fact: execve(2): MAX_ARG_STRLEN is 32 pages.
const MAX_IN_ENVIRONMENT: usize = 64 << 10;

/// The way in which a program receives its metadata.
pub(super) enum Metadata {
    /// The variable `DEIA_TASK_METADATA`.
    Variable(String),
    /// The file named by `DEIA_TASK_METADATA_FILE`.
    File(MetadataFile),
}

/// A file of metadata, removed when the attempt has ended. After a crash the file is removed with
/// the task's outputs, in whose directory it is.
pub(super) struct MetadataFile {
    path: PathBuf,
    text: String,
}

impl Metadata {
    /// Decides how the program receives the metadata of this task. Writes nothing yet.
    pub(super) fn of(task: &Task, outputs: &Path) -> Self {
        let text = serde_json::to_string(&task.metadata).unwrap_or_default();
        if text.len() <= MAX_IN_ENVIRONMENT {
            return Self::Variable(text);
        }
        let path = outputs.join(format!("metadata-{}.json", task.attempt));
        Self::File(MetadataFile { path, text })
    }

    /// Returns the name and the value of the variable.
    pub(super) fn variable(&self) -> (&'static str, String) {
        match self {
            Self::Variable(text) => ("DEIA_TASK_METADATA", text.clone()),
            Self::File(file) => (
                "DEIA_TASK_METADATA_FILE",
                file.path.to_string_lossy().into_owned(),
            ),
        }
    }

    /// Writes the file, if one is needed. Blocks: not for an arbiter.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write(&self) -> io::Result<()> {
        let Self::File(file) = self else {
            return Ok(());
        };
        if let Some(directory) = file.path.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(directory)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&file.path)?.write_all(file.text.as_bytes())
    }
}

impl Drop for MetadataFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        // Fails if the attempt left output there, which must stay.
        let _ = self.path.parent().map(fs::remove_dir);
    }
}
