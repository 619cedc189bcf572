//! A restore on a machine without a hive: from an archive to a new data directory.

mod newest;

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use deia_archive::{ArchiveError, Moment, Restored, Storage, Survey, Target};
use deia_model::{ComparedWith, PointId, RestoreMoment, RestoredHive, Timestamp};

use self::newest::Newest;
use super::{
    checked::{DATABASE, planned, remove_database, restore_checked},
    put_back::Files,
    report::Later,
    restored::{mark, settle},
    restoring::event_ref,
};
use crate::{
    HiveStartError,
    config::{Config, ConfigError, Layers},
    reset_admin_key,
};

/// Reason why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The archive has no hive, or several.
    #[error("{0}")]
    Choice(String),
    /// The archive cannot be read, or is damaged.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The target cannot be written.
    #[error("{path}: {source}")]
    Target {
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The target is in use.
    #[error("{0} exists and is not empty; restore into a new directory")]
    NotEmpty(PathBuf),
    /// The identities do not open the key files, or are none.
    #[error("{}: {reason}", path.display())]
    Identity {
        /// The file of identities.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The archive does not have the moment.
    #[error("{0}")]
    Outside(String),
    /// The restored store is not sound.
    #[error("the restored store is not sound: {0}")]
    Unsound(String),
    /// The restored store cannot be opened.
    #[error(transparent)]
    Store(#[from] HiveStartError),
    /// The settings cannot be made.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A restore on a machine without a hive.
#[derive(Clone, Debug)]
pub struct OfflineRestore {
    /// URL of the archive.
    pub from: String,
    /// Id of the hive; may be left out if the archive has one.
    pub hive: Option<String>,
    /// The restore point; `None`: the newest generation.
    pub point: Option<PointId>,
    /// The moment; `None`: the point, or the newest commit.
    pub moment: Option<RestoreMoment>,
    /// The new data directory.
    pub to: PathBuf,
    /// True if the restored hive works at once, without a pause.
    pub go: bool,
    /// File with the age identity that opens the key files.
    pub identity: Option<PathBuf>,
}

/// Result of a restore.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// Id of the hive.
    pub hive: String,
    /// The restore, as the status of the restored hive shows it.
    pub restored: RestoredHive,
    /// Size of the database, in bytes.
    pub bytes: u64,
    /// Path of the new admin key.
    pub admin_key: PathBuf,
    /// Names of the key files that were decrypted.
    pub keys: Vec<String>,
}

/// Restores a data directory from an archive. Everything is verified before the directory can
/// be used.
///
/// # Errors
/// [`RestoreError`]; the directory has no store then.
pub async fn restore_offline(request: &OfflineRestore) -> Result<RestoreReport, RestoreError> {
    let config = config_of(&request.to)?;
    let storage = super::open_storage(&request.from, &config.recovery);
    let storage = storage.map_err(RestoreError::Choice)?;
    let to = request.to.clone();
    let target_error = |source| RestoreError::Target {
        path: request.to.clone(),
        source,
    };
    if fs::read_dir(&to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(RestoreError::NotEmpty(to));
    }
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(&to);
    made.map_err(target_error)?;
    let chosen = request.hive.clone();
    let finding = tokio::task::spawn_blocking(move || {
        let hive = match chosen {
            Some(hive) => hive,
            None => the_only_hive(&*storage)?,
        };
        Ok::<_, RestoreError>((hive, storage))
    });
    let found = finding
        .await
        .map_err(|error| target_error(io::Error::other(error)))?;
    let (hive, storage) = found?;
    let mut newest = Newest::new(storage.clone(), hive.clone(), &to);
    let restored = restore_to(request, &mut newest, &storage, &hive).await;
    newest.close().await;
    let made = restored?;
    Ok(made)
}

/// Restores the moment of a request, and prepares the directory for a start.
async fn restore_to(
    request: &OfflineRestore,
    newest: &mut Newest,
    storage: &Arc<dyn Storage>,
    hive: &str,
) -> Result<RestoreReport, RestoreError> {
    let target_error = |source| RestoreError::Target {
        path: request.to.clone(),
        source,
    };
    let target = target(request, newest).await?;
    let (from, of, asked) = (storage.clone(), hive.to_owned(), target.clone());
    let (to, identity) = (request.to.clone(), request.identity.clone());
    let restoring = tokio::task::spawn_blocking(move || {
        restore_all(&from, &of, &asked, &to, identity.as_deref())
    });
    let ended = restoring
        .await
        .map_err(|error| target_error(io::Error::other(error)))?;
    let made = ended?;
    let config = config_of(&request.to)?;
    let mut notes = made.notes;
    notes.extend(notes_of_restore());
    let later = match target {
        // Nothing in the archive is later.
        Target::Newest => None,
        _ => match newest.open().await {
            Ok(ledger) => Some(Later {
                ledger,
                kind: ComparedWith::Archive,
            }),
            Err(error) => {
                notes.push(format!(
                    "the newest commit of the archive cannot be restored for a comparison ({error}): which work was lost, and which revoked access is valid again, is not known"
                ));
                None
            }
        },
    };
    let mut facts = facts(&made.restored, None, !request.go, notes);
    let settled = settle_all(&config, &mut facts, later.as_ref()).await;
    if settled.is_err() {
        remove_database(&request.to.join(DATABASE));
    }
    settled?;
    mark(&request.to, &facts).map_err(target_error)?;
    Ok(RestoreReport {
        hive: hive.to_owned(),
        keys: made.keys,
        bytes: made.restored.bytes(),
        restored: facts,
        admin_key: config.admin_key_path(),
    })
}

/// Everything that a restore has brought to a directory.
struct Made {
    restored: Restored,
    keys: Vec<String>,
    notes: Vec<String>,
}

/// Restores the store, its files and its keys to a new directory. Blocks.
fn restore_all(
    storage: &Arc<dyn Storage>,
    hive: &str,
    target: &Target,
    to: &Path,
    identity: Option<&Path>,
) -> Result<Made, RestoreError> {
    let path = to.join(DATABASE);
    // Wrong identities are refused before anything is restored.
    let planned = planned(storage, hive, target)?;
    Files::of(storage, hive, &planned)?.keys(identity)?;
    let (restored, plan) = restore_checked(storage, hive, target, &path)?;
    let put_back = || {
        let mut files = Files::of(storage, hive, &plan)?;
        let keys = files.keys(identity)?;
        files.all(to)?;
        keys.write(to).map_err(|source| RestoreError::Target {
            path: to.to_owned(),
            source,
        })?;
        let mut notes = plan.notes;
        notes.extend(files.notes);
        notes.extend(keys.notes.iter().cloned());
        Ok((keys.names(), notes))
    };
    match put_back() {
        Ok((keys, notes)) => Ok(Made {
            restored,
            keys,
            notes,
        }),
        Err(error) => {
            // A store without its files is not what was asked for.
            remove_database(&path);
            Files::discard(to);
            Err(error)
        }
    }
}

/// Finds the target of a request.
async fn target(request: &OfflineRestore, newest: &mut Newest) -> Result<Target, RestoreError> {
    let moment = match request.moment {
        None => None,
        Some(RestoreMoment::At(at)) if at > Timestamp::now() => {
            let reason = format!("{at} is in the future, by the clock of this machine");
            return Err(RestoreError::Outside(reason));
        }
        Some(RestoreMoment::At(at)) => Some(Moment::At(at.as_millis())),
        Some(RestoreMoment::Event(event)) => Some(Moment::Event(event_ref(event))),
        Some(RestoreMoment::BeforeEvent(event)) => Some(Moment::BeforeEvent(event_ref(event))),
        Some(RestoreMoment::Task(task)) => Some(Moment::Event(newest.submission(task).await?)),
        Some(RestoreMoment::BeforeTask(task)) => {
            Some(Moment::BeforeEvent(newest.submission(task).await?))
        }
    };
    Ok(match (request.point, moment) {
        (None, None) => Target::Newest,
        (None, Some(moment)) => Target::Moment(moment),
        (Some(point), None) => Target::Point(point.to_string()),
        (Some(point), Some(moment)) => Target::After {
            point: point.to_string(),
            moment,
        },
    })
}

/// Returns the settings of a restored directory.
fn config_of(dir: &Path) -> Result<Config, RestoreError> {
    let dir = serde_json::to_string(dir).map_err(|error| RestoreError::Target {
        path: dir.to_owned(),
        source: error.into(),
    })?;
    Ok(Layers::default().set("data_dir", dir).load()?)
}

async fn settle_all(
    config: &Config,
    facts: &mut RestoredHive,
    later: Option<&Later>,
) -> Result<(), HiveStartError> {
    settle(config, facts, "deia", later).await?;
    reset_admin_key(config).await.map(drop)
}

fn the_only_hive(storage: &dyn Storage) -> Result<String, RestoreError> {
    let mut hives = Survey::hives(storage)?;
    match (hives.pop(), hives.is_empty()) {
        (Some(hive), true) => Ok(hive),
        (None, _) => Err(RestoreError::Choice(format!(
            "{} has no archive of a hive",
            storage.address("")
        ))),
        (Some(hive), false) => {
            hives.push(hive);
            let all = hives.join(", ");
            let reason = format!("the archive has several hives; name one with --hive: {all}");
            Err(RestoreError::Choice(reason))
        }
    }
}

/// Returns what a restore always means.
pub(super) fn notes_of_restore() -> Vec<String> {
    vec![
        "tasks that ended after the restored moment run again, and their effects outside repeat"
            .to_owned(),
        "webhook deliveries after the restored moment are sent again".to_owned(),
    ]
}

/// Returns the facts that the status of a restored hive shows.
pub(super) fn facts(
    restored: &Restored,
    lost_up_to: Option<String>,
    paused: bool,
    notes: Vec<String>,
) -> RestoredHive {
    RestoredHive {
        restored_at: Timestamp::now(),
        to: Timestamp::from_millis(restored.commit.at),
        position: format!("{}.{}", restored.timeline, restored.commit.seq),
        lost_up_to,
        paused,
        notes,
        report: None,
    }
}
