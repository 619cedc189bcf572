//! New files that are there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::error::CliError;

/// A file, named by the option `--to`, that its user alone can read. It takes its name when it
/// is complete, so that none is taken for a complete one that is not.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    kept: bool,
}

impl NewFile {
    /// Creates the file under another name beside it; one that an earlier command left is
    /// replaced.
    ///
    /// # Errors
    /// The error of the system, with the path.
    pub(super) fn create(path: PathBuf) -> Result<Self, CliError> {
        if path.is_dir() {
            let error = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(failed(&path, error));
        }
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&partial, error));
            }
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(&partial);
        let file = file.map_err(|error| failed(&partial, error))?;
        Ok(Self {
            path,
            partial,
            file,
            kept: false,
        })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// The error of the system, with the path.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| failed(&self.partial, error))
    }

    /// Gives the file its name, and returns it.
    ///
    /// # Errors
    /// The error of the system, with the path.
    pub(super) fn keep(mut self) -> Result<PathBuf, CliError> {
        let synced = self.file.sync_all();
        synced.map_err(|error| failed(&self.partial, error))?;
        let renamed = fs::rename(&self.partial, &self.path);
        renamed.map_err(|error| failed(&self.path, error))?;
        self.kept = true;
        Ok(std::mem::take(&mut self.path))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // One that stays does no harm: its name says what it is.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

fn failed(path: &Path, error: io::Error) -> CliError {
    CliError::FileOf {
        option: "--to",
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_has_its_name_only_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        fs::write(&path, "before").unwrap();
        fs::write(dir.path().join("a.csv.partial"), "of a killed command").unwrap();
        let names = || {
            let files = fs::read_dir(dir.path()).unwrap();
            let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
            names.sort();
            names
        };

        let mut file = NewFile::create(path.clone()).unwrap();
        file.write(b"ha").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        drop(file);
        assert_eq!(names(), ["a.csv"]);

        let mut file = NewFile::create(path.clone()).unwrap();
        file.write(b"whole").unwrap();
        assert_eq!(file.keep().unwrap(), path);
        assert_eq!(names(), ["a.csv"]);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        let error = NewFile::create(dir.path().to_owned()).unwrap_err();
        assert!(error.to_string().contains("directory"), "{error}");
    }
}
