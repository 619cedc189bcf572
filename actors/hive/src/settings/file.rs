//! The settings file: read within a time limit, looked at when it may have changed, and applied
//! once it has not changed for a while.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};

use deia_ledger::{Note, WriteSettings};
use deia_model::SettingsOrigin;
use tokio::time::{Instant, timeout};

use super::{
    ReloadSettings, SettingsApi,
    api::Asked,
    content::hash_of,
    reload::{loaded, problems_of},
    state::{Book, FileProblem},
};
use crate::{
    HiveError,
    config::{Config, ConfigError, Layers},
};

/// Time within which the settings file must be read. Fixed: a file of settings is small, and a
/// file system that takes longer is one that hangs.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Reads of files that may be under way. Fixed: each takes a thread for as long as a file system
/// hangs.
pub(super) const READS_MAX: usize = 4;

/// Time after which a file is tried again that a part of the hive has refused. Fixed: each attempt
/// leaves a version.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// The settings file at one look.
#[derive(Clone, Debug)]
pub(super) enum Look {
    /// The layers that were read, and the hash of the content of the file.
    Read(Box<Layers>, String),
    /// There is no file, or it cannot be read.
    Absent(String),
}

impl Look {
    /// Returns true if both found the same content.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Read(_, one), Self::Read(_, two)) | (Self::Absent(one), Self::Absent(two)) => {
                one == two
            }
            _ => false,
        }
    }
}

impl SettingsApi {
    /// Reads the layers, with the path of the settings file if there is one. Must not be called
    /// while the settings are held: a file system that hangs would hold back all changes.
    pub(super) async fn read_layers(&self) -> (Option<PathBuf>, Result<Layers, ConfigError>) {
        let source = self.0.source.clone();
        let read = self.read_within(move || (source.path(), source.layers()));
        let last = || self.0.path.lock().unwrap_or_else(PoisonError::into_inner);
        match read.await {
            Ok((path, layers)) => {
                last().clone_from(&path);
                (path, layers)
            }
            Err(late) => (last().clone(), Err(ConfigError::Malformed(late))),
        }
    }

    /// Checks the files that settings name. Must not be called while the settings are held.
    pub(super) async fn check_files(&self, config: Config) -> Result<(), String> {
        let source = self.0.source.clone();
        self.read_within(move || source.check(&config)).await?
    }

    /// Reads files within the time limit.
    async fn read_within<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let reads = Arc::clone(&self.0.reads);
        let reading = async move {
            // Never closed.
            let place = reads.acquire_owned().await.ok();
            loaded(move || {
                let read = read();
                drop(place);
                read
            })
            .await
        };
        match timeout(READ_WITHIN, reading).await {
            Ok(read) => read.map_err(|error| error.to_string()),
            Err(_late) => Err(format!(
                "the files of the settings were not read within {} s: their file system does not answer",
                READ_WITHIN.as_secs()
            )),
        }
    }

    /// Reads the settings file. `None`: the hive was started without one.
    pub(super) async fn look_at_file(&self) -> Option<Look> {
        let (path, layers) = self.read_layers().await;
        path?;
        Some(match layers {
            Ok(layers) => {
                let hash = layers.read_text().map(hash_of)?;
                Look::Read(Box::new(layers), hash)
            }
            Err(error) => Look::Absent(error.to_string()),
        })
    }

    /// Returns true if there is nothing to do about the file at that look.
    pub(super) async fn knows(&self, look: &Look) -> bool {
        let book = self.0.book.lock().await;
        match look {
            Look::Read(_, hash) => Some(hash) == book.content.file_hash.as_ref(),
            Look::Absent(_) => true,
        }
    }

    /// Applies the settings file if its content is another than before: not the one in force, not
    /// one that was taken back, and not one that could not be applied.
    pub(super) async fn apply_file(&self, look: Look) {
        let Look::Read(layers, hash) = look else {
            return;
        };
        {
            let mut book = self.0.book.lock().await;
            if Some(&hash) == book.content.file_hash.as_ref() {
                if let Err(error) = self.forgive_file(&mut book).await {
                    tracing::debug!(%error, "the settings file is as before; that could not be recorded");
                }
                return;
            }
            let problem = book.file_problem.as_ref();
            if book.rejected.as_ref() == Some(&hash) || problem.is_some_and(|it| it.holds(&hash)) {
                return;
            }
        }
        let request = ReloadSettings::default();
        let reload = self.reload_of(Asked::ByHive, SettingsOrigin::File, request, *layers);
        let error = match reload.await {
            Ok(done) => {
                if done.applied {
                    tracing::info!(
                        version = done.version,
                        "the settings file has changed: {} keys changed at once, {} change at the next start",
                        done.changes.len(),
                        done.at_restart.len()
                    );
                }
                return;
            }
            Err(error) => error,
        };
        let retry_at = match &error {
            // Tried again at the next look, when it is confirmed or taken back.
            HiveError::ConfirmationPending { .. } => return,
            HiveError::SettingsInvalid(_) | HiveError::RestartNeeded(_) => None,
            HiveError::SettingsRefused(_) => Some(Instant::now() + REFUSED_FOR),
            // The content is none of the reasons.
            error => {
                tracing::warn!(%error, "the settings file has changed, and could not be applied; retrying");
                return;
            }
        };
        tracing::error!(%error, "the settings file has changed: the settings stay as they are");
        let mut book = self.0.book.lock().await;
        book.file_problem = Some(FileProblem {
            hash,
            reason: error.to_string(),
            retry_at,
        });
    }

    /// Forgets problems of contents that the file does not have any more.
    async fn forgive_file(&self, book: &mut Book) -> Result<(), HiveError> {
        book.file_problem = None;
        if book.rejected.is_none() {
            return Ok(());
        }
        self.record_rest(book).await?;
        let write = WriteSettings {
            expected: book.newest,
            rejected: Note::Clear,
            taken_back: Note::Clear,
            mends: true,
            ..WriteSettings::default()
        };
        self.write(book, Asked::ByHive, write).await?;
        book.rejected = None;
        self.note_taken_back(book, None);
        Ok(())
    }
}

/// Returns the problems with a file system that does not answer, or with a file.
pub(super) fn problems_of_read(read: Result<Layers, ConfigError>) -> Result<Layers, Vec<String>> {
    read.map_err(|error| problems_of(&error))
}
