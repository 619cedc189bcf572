//! The job of a restore: to a directory, or in place through a restart.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use deia_archive::{Storage, Target};
use deia_ledger::Ledger;
use deia_model::{Action, ComparedWith, Principal, RestoredHive};

use super::{
    RecoveryApi, RestorePlace, RestoreRequest,
    checked::{DATABASE, remove_database, restore_checked},
    job::Outcome,
    offline::{RestoreError, facts, notes_of_restore},
    put_back::Files,
    report::Later,
    restored::{mark, settle},
    swap,
};
use crate::{HiveError, config::Config, data_dir::DataDirError};

impl RecoveryApi {
    /// Restores a moment to a directory, or prepares it for the next start and asks for that.
    pub(super) fn run_restore(
        &self,
        who: Principal,
        target: Target,
        request: RestoreRequest,
        restart: impl AsyncFnOnce(&Principal) -> Result<(), HiveError> + 'static,
    ) {
        let api = self.clone();
        actix_rt::spawn(async move {
            let outcome = match api.restore_to(&who, target, &request).await {
                Err(error) => Err(error.to_string()),
                Ok(facts) if request.place == RestorePlace::InPlace => match restart(&who).await {
                    Ok(()) => Ok(facts),
                    Err(error) => {
                        let dir = swap::prepared(&api.config().data_dir);
                        let _ = tokio::task::spawn_blocking(|| std::fs::remove_dir_all(dir)).await;
                        Err(format!("the hive does not restart: {error}"))
                    }
                },
                Ok(facts) => Ok(facts),
            };
            match outcome {
                Ok(facts) => {
                    let detail = format!("restored up to event {}", facts.position);
                    let outcome = Outcome {
                        report: facts.report,
                        ..Outcome::good(detail)
                    };
                    api.end_job(outcome, Action::RestoreCompleted).await;
                }
                Err(reason) => {
                    api.end_job(Outcome::bad(reason), Action::RestoreFailed)
                        .await;
                }
            }
        });
    }

    async fn restore_to(
        &self,
        who: &Principal,
        target: Target,
        request: &RestoreRequest,
    ) -> Result<RestoredHive, RestoreError> {
        let lost = match request.place {
            RestorePlace::InPlace => self.ledger().log_head().await.ok(),
            RestorePlace::Directory(_) => None,
        };
        let restore = Restore {
            storage: self.shipping().storage().map_err(RestoreError::Choice)?,
            hive: self.ledger().hive_id(),
            config: self.config(),
            target,
            place: request.place.clone(),
            go: request.go,
            // The running store is read through the connections that it has: its file is never
            // opened a second time in this process.
            running: self.ledger().clone(),
            by: who.user.to_string(),
            lost_up_to: lost.map(|head| head.to_string()),
        };
        let data_dir = restore.config.data_dir.clone();
        let restoring = tokio::task::spawn_blocking(move || restore.run());
        let ended = restoring.await;
        ended.map_err(|error| at(&data_dir, std::io::Error::other(error)))?
    }
}

/// A restore on the machine of the hive. Blocks.
struct Restore {
    storage: Arc<dyn Storage>,
    hive: String,
    config: Arc<Config>,
    target: Target,
    place: RestorePlace,
    go: bool,
    running: Ledger,
    by: String,
    lost_up_to: Option<String>,
}

impl Restore {
    fn run(self) -> Result<RestoredHive, RestoreError> {
        let data_dir = &self.config.data_dir;
        let dir = match &self.place {
            RestorePlace::InPlace => swap::prepare(data_dir),
            RestorePlace::Directory(dir) => new_dir(dir.clone()),
        };
        let dir = dir.map_err(|source| at(data_dir, source))?;
        let path = dir.join(DATABASE);
        let (restored, plan) = restore_checked(&self.storage, &self.hive, &self.target, &path)?;
        let files = Files::of(&self.storage, &self.hive, &plan).and_then(|mut files| {
            match self.place {
                RestorePlace::InPlace => files.outputs(&dir)?,
                RestorePlace::Directory(_) => files.all(&dir)?,
            }
            Ok(files)
        });
        // A store without its files is not what was asked for.
        let files = files.inspect_err(|_| {
            remove_database(&path);
            Files::discard(&dir);
        })?;
        let notes = notes_of_restore().into_iter().chain(plan.notes);
        let notes = notes.chain(files.notes).collect();
        let mut facts = facts(&restored, self.lost_up_to, !self.go, notes);
        let config = Config {
            data_dir: dir.clone(),
            ..(*self.config).clone()
        };
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build();
        let runtime = runtime.map_err(|source| at(&dir, source))?;
        let later = Later {
            ledger: self.running,
            kind: ComparedWith::Store,
        };
        runtime.block_on(settle(&config, &mut facts, &self.by, Some(&later)))?;
        let marked = match self.place {
            RestorePlace::InPlace => swap::set_ready(data_dir, &facts),
            RestorePlace::Directory(_) => mark(&dir, &facts),
        };
        marked.map_err(|source| at(&dir, source))?;
        Ok(facts)
    }
}

fn at(path: &Path, source: std::io::Error) -> RestoreError {
    RestoreError::Target {
        path: path.to_owned(),
        source,
    }
}

/// Makes a directory that must not exist, or must be empty.
fn new_dir(dir: PathBuf) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    if std::fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let reason = format!("{} is not empty", dir.display());
        return Err(std::io::Error::other(reason));
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)?;
    Ok(dir)
}

impl From<DataDirError> for RestoreError {
    fn from(error: DataDirError) -> Self {
        Self::Store(error.into())
    }
}
