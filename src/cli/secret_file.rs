//! New files for secrets that the hive shows once.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use super::error::CliError;

/// A new file that its user alone can read, named by the option `--to`. It comes before
/// the secret: one that cannot be written would be lost.
#[derive(Debug)]
pub(super) struct SecretFile {
    path: PathBuf,
    file: File,
}

impl SecretFile {
    /// Creates the file, which must not exist.
    ///
    /// # Errors
    /// The error of the system, with the path.
    pub(super) fn create(path: PathBuf) -> Result<Self, CliError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        match options.open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(CliError::FileOf {
                option: "--to",
                path,
                error,
            }),
        }
    }

    /// Writes the secret on a line, and returns the path.
    ///
    /// # Errors
    /// The error of the system, with the path.
    pub(super) fn write(mut self, secret: &str) -> Result<PathBuf, CliError> {
        let written = writeln!(self.file, "{secret}").and_then(|()| self.file.sync_all());
        match written {
            Ok(()) => Ok(self.path),
            Err(error) => Err(CliError::FileOf {
                option: "--to",
                path: self.path,
                error,
            }),
        }
    }

    /// Removes the file: there is no secret to write.
    pub(super) fn discard(self) {
        // An empty file that stays does no harm.
        let _ = fs::remove_file(&self.path);
    }
}
