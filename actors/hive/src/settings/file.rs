//! The settings file: looked at when it may have changed, and applied once it has not changed for
//! a while.

use deia_ledger::{Apply, Note, WriteSettings};
use deia_model::SettingsOrigin;

use super::{
    ReloadSettings, SettingsApi, api::Asked, content::hash_of, reload::loaded, state::Book,
};
use crate::HiveError;

/// The content of the settings file at one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The content, by its hash.
    Hash(String),
    /// There is no file, or it cannot be read.
    Absent(String),
}

impl SettingsApi {
    /// Reads the settings file. `None`: the hive was started without one.
    pub(super) async fn look_at_file(&self) -> Option<Look> {
        let source = self.0.source.clone();
        let looked = loaded(move || {
            source.path()?;
            Some(match source.layers() {
                Ok(layers) => Look::Hash(layers.read_text().map(hash_of)?),
                Err(error) => Look::Absent(error.to_string()),
            })
        });
        looked.await.ok().flatten()
    }

    /// Returns true if there is nothing to do about the file at that look.
    pub(super) async fn knows(&self, look: &Look) -> bool {
        let book = self.0.book.lock().await;
        match look {
            Look::Hash(hash) => Some(hash) == book.content.file_hash.as_ref(),
            Look::Absent(_) => true,
        }
    }

    /// Applies the settings file if its content is another than before: not the one in force, not
    /// one that was taken back, and not one that could not be applied.
    pub(super) async fn apply_file(&self, look: Look) {
        let Look::Hash(hash) = look else {
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
            let problem = book.file_problem.as_ref().map(|(hash, _)| hash);
            if [book.rejected.as_ref(), problem].contains(&Some(&hash)) {
                return;
            }
        }
        let request = ReloadSettings::default();
        let reload = self.reload_as(Asked::ByHive, SettingsOrigin::File, request);
        match reload.await {
            Ok(done) if done.applied => tracing::info!(
                version = done.version,
                "the settings file has changed: {} keys changed at once, {} change at the next start",
                done.changes.len(),
                done.at_restart.len()
            ),
            Ok(_) => {}
            // Tried again at the next look, when it is confirmed or taken back.
            Err(HiveError::ConfirmationPending { .. }) => {}
            Err(error) => {
                tracing::error!(%error, "the settings file has changed: the settings stay as they are");
                let mut book = self.0.book.lock().await;
                book.file_problem = Some((hash, error.to_string()));
            }
        }
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
        self.0.ledger.apply(write).await?;
        book.rejected = None;
        self.note_taken_back(book, None);
        Ok(())
    }
}
