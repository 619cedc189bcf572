//! Files that a restore brings besides the database.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use deia_archive::{ArchiveError, FilesPlan, FilesRestored, Plan, Storage, Survey};

use super::{
    keys::{self, Opened},
    names::{AUDIT, FORMER, OUTPUTS, SETTINGS},
    offline::RestoreError,
};
use crate::host::DiskSpace;

/// Name of the restored settings file, without its extension.
const RESTORED: &str = "restored-settings";

/// The files of a moment.
pub(super) struct Files {
    storage: Arc<dyn Storage>,
    /// Files of the moment; `None` if files were not shipped then.
    plan: Option<FilesPlan>,
    /// True if the archive had all changes of files when it got the commits.
    is_complete: bool,
    /// The newest ones of the archive: the audit trail never goes back.
    newest: Option<FilesPlan>,
    pub(super) notes: Vec<String>,
}

impl Files {
    /// Finds the files of a moment.
    ///
    /// # Errors
    /// [`RestoreError::Archive`] names the object that is not sound.
    pub(super) fn of(
        storage: &Arc<dyn Storage>,
        hive: &str,
        plan: &Plan,
    ) -> Result<Self, RestoreError> {
        let mut found = Self {
            storage: storage.clone(),
            plan: None,
            is_complete: false,
            newest: None,
            notes: Vec::new(),
        };
        let Some(at) = &plan.files else {
            let note = "outputs in files, the audit trail and the settings file are not in the archive at that moment: copy them from the old data directory if it exists";
            found.notes.push(note.to_owned());
            return Ok(found);
        };
        found.is_complete = at.is_complete;
        found.plan = Some(FilesPlan::at(&**storage, hive, &plan.generation, at)?);
        let survey = Survey::of(&**storage, hive)?;
        let newest = survey.newest_generation().unwrap_or(&plan.generation);
        match FilesPlan::newest(&**storage, hive, newest) {
            Ok(newest) => found.newest = newest,
            Err(error) if error.may_pass() => return Err(error.into()),
            Err(error) => found.notes.push(format!(
                "the newest audit trail in the archive cannot be restored ({error}): it is that of the moment"
            )),
        }
        if !found.is_complete {
            let note = "the archive had not all changes of files at that moment: outputs of the last tasks may be missing";
            found.notes.push(note.to_owned());
        }
        Ok(found)
    }

    /// Decrypts the key files.
    ///
    /// # Errors
    /// [`RestoreError::Identity`].
    pub(super) fn keys(&self, identity: Option<&Path>) -> Result<Opened, RestoreError> {
        // A key that was replaced after the moment has sealed what is newer only; the newest file
        // has the former keys as long as they are needed.
        let plan = self.newest.as_ref().or(self.plan.as_ref());
        keys::open(&*self.storage, plan, identity)
    }

    /// Restores the outputs to a directory of that name below `dir`.
    ///
    /// # Errors
    /// An object of the archive is not sound, or the directory cannot be written.
    pub(super) fn outputs(&mut self, dir: &Path) -> Result<(), RestoreError> {
        let Some(plan) = &self.plan else {
            return Ok(());
        };
        has_space(dir, plan.bytes(OUTPUTS))?;
        let to = dir.join(OUTPUTS);
        let restored = plan.restore(&*self.storage, OUTPUTS, &to)?;
        if restored.files > 0 {
            self.notes.push(said(restored, "outputs", OUTPUTS));
        }
        Ok(())
    }

    /// Restores everything to a new data directory. The audit trail goes to `audit-former`: its
    /// last checkpoint may have been lost with the disk, and a log that went on from an earlier one
    /// would contradict it.
    ///
    /// # Errors
    /// An object of the archive is not sound, or the directory cannot be written.
    pub(super) fn all(&mut self, dir: &Path) -> Result<(), RestoreError> {
        self.outputs(dir)?;
        let Some(plan) = &self.plan else {
            return Ok(());
        };
        for name in plan.names(SETTINGS) {
            let bytes = plan.read(&*self.storage, &name)?.unwrap_or_default();
            let extension = Path::new(&name).extension().and_then(|it| it.to_str());
            let file = format!("{RESTORED}.{}", extension.unwrap_or("yaml"));
            let path = dir.join(&file);
            let written = write_new(&path, &bytes);
            written.map_err(|source| RestoreError::Target { path, source })?;
            self.notes.push(format!(
                "the settings file {} is in {file}: compare it with the one that you use",
                name.trim_start_matches(SETTINGS).trim_start_matches('/')
            ));
        }
        let trail = self.newest.as_ref().unwrap_or(plan);
        has_space(dir, trail.bytes(AUDIT) + trail.bytes(FORMER))?;
        let former = trail.restore(&*self.storage, FORMER, &dir.join(FORMER))?;
        let number = (1..=u32::MAX).find(|n| !dir.join(FORMER).join(n.to_string()).exists());
        let to = format!("{FORMER}/{}", number.unwrap_or(u32::MAX));
        let restored = match trail.names(AUDIT).is_empty() {
            true => FilesRestored::default(),
            false => trail.restore(&*self.storage, AUDIT, &dir.join(&to))?,
        };
        if former.files + restored.files == 0 {
            // The directory is of no use.
            let _ = fs::remove_dir(dir.join(FORMER));
        } else {
            self.notes.push(said(restored, "the audit trail", &to));
            let note = "a new log of the audit trail begins with the last checkpoint that the restored store knows";
            self.notes.push(note.to_owned());
        }
        Ok(())
    }

    /// Removes what an interrupted restore has put into a directory that was new.
    pub(super) fn discard(dir: &Path) {
        for directory in [OUTPUTS, FORMER] {
            let _ = fs::remove_dir_all(dir.join(directory));
        }
        let settings = { fs::read_dir(dir) }.into_iter().flatten().flatten();
        for entry in settings {
            if entry.file_name().to_string_lossy().starts_with(RESTORED) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Reads all files of the moment, and compares their checksums.
    ///
    /// # Errors
    /// An object of the archive is not sound.
    pub(super) fn compare(&self) -> Result<FilesRestored, ArchiveError> {
        let mut compared = FilesRestored::default();
        if let Some(plan) = &self.plan {
            for directory in [OUTPUTS, AUDIT, FORMER, SETTINGS, keys::KEYS] {
                let found = plan.compare(&*self.storage, directory)?;
                compared.files += found.files;
                compared.bytes += found.bytes;
            }
        }
        Ok(compared)
    }
}

fn said(restored: FilesRestored, what: &str, to: &str) -> String {
    let FilesRestored { files, bytes } = restored;
    let size = bytesize::ByteSize(bytes);
    format!("{what}: {files} files with {size} were restored to {to}")
}

fn has_space(dir: &Path, bytes: u64) -> Result<(), RestoreError> {
    // A file system that does not report its free space is assumed to have enough.
    let free = DiskSpace::of(dir).map_or(u64::MAX, |disk| disk.free_bytes);
    match free >= bytes {
        true => Ok(()),
        false => Err(RestoreError::Choice(format!(
            "{} has {free} bytes free, and the files need {bytes}: free some space",
            dir.display()
        ))),
    }
}

fn write_new(path: &PathBuf, bytes: &[u8]) -> io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut options = fs::OpenOptions::new();
    let mut file = { options.write(true).create_new(true) }
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
