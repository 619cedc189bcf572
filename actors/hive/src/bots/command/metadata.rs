//! Metadata for a program: in its environment, or in a file when they are larger
//! than one variable may be.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use deia_model::Task;

/// Bytes of metadata that go into the environment: the kernel allows 128 KiB in one
/// variable.
const MAX_IN_ENVIRONMENT: usize = 64 << 10;

/// Metadata as a program gets them.
pub(super) enum Metadata {
    /// In `DEIA_TASK_METADATA`.
    Variable(String),
    /// In the file that `DEIA_TASK_METADATA_FILE` names.
    File(MetadataFile),
}

/// A file of metadata, which is removed when the attempt has ended. One that a crash
/// leaves behind is in the directory of the task's outputs, and goes with it.
pub(super) struct MetadataFile {
    path: PathBuf,
    text: String,
}

impl Metadata {
    /// Decides how the program gets the metadata of this task. Nothing is written yet.
    pub(super) fn of(task: &Task, outputs: &Path) -> Self {
        let text = serde_json::to_string(&task.metadata).unwrap_or_default();
        if text.len() <= MAX_IN_ENVIRONMENT {
            return Self::Variable(text);
        }
        let path = outputs.join(format!("metadata-{}.json", task.attempt));
        Self::File(MetadataFile { path, text })
    }

    /// Returns the variable that tells the program, and its value.
    pub(super) fn variable(&self) -> (&'static str, String) {
        match self {
            Self::Variable(text) => ("DEIA_TASK_METADATA", text.clone()),
            Self::File(file) => (
                "DEIA_TASK_METADATA_FILE",
                file.path.to_string_lossy().into_owned(),
            ),
        }
    }

    /// Writes the file, if there is to be one. Blocks: not for an arbiter.
    ///
    /// # Errors
    /// It cannot be written.
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
        // Only when the attempt has left no output there.
        let _ = self.path.parent().map(fs::remove_dir);
    }
}
