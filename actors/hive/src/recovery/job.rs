//! Jobs on the archive: verification, restores for practice, restores.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use deia_archive::{ArchiveError, Storage, Target, verify};
use deia_ledger::{Apply, RecordEvents};
use deia_model::{
    Action, ArchiveFault, EventLevel, EventResult, NewEvent, PointId, Principal, RecoveryJob,
    RecoveryJobKind, RecoveryJobState, RestoredHive, Timestamp,
};
use serde_json::json;

use super::{
    RecoveryApi,
    offline::{DATABASE, RestoreError, facts, notes_of_restore, remove_database, restore_checked},
    put_back::Files,
    restored::{mark, settle},
    state::{Drilled, Shared},
    swap,
};
use crate::{HiveError, config::Config, data_dir::DataDirError};

/// Faults that a job shows, the first ones; its detail has their number. Fixed: more would not
/// help a person, and an answer has to stay small.
const FAULTS_SHOWN: usize = 100;

/// Place that a point is restored to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestorePlace {
    /// The data directory of this hive, through a restart in place.
    InPlace,
    /// A new directory on this machine.
    Directory(PathBuf),
}

/// Result of a job.
struct Outcome {
    detail: String,
    faults: Vec<ArchiveFault>,
    is_good: bool,
}

impl Outcome {
    fn good(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            faults: Vec::new(),
            is_good: true,
        }
    }

    fn bad(detail: impl Into<String>) -> Self {
        Self {
            is_good: false,
            ..Self::good(detail)
        }
    }
}

impl RecoveryApi {
    /// Begins a job. One runs at a time.
    pub(super) fn begin_job(
        &self,
        kind: RecoveryJobKind,
        by: &str,
        point: Option<PointId>,
    ) -> Result<RecoveryJob, HiveError> {
        self.has_archive()?;
        let shared = self.shared();
        let mut inner = shared.lock();
        if let Some(job) = &inner.job
            && job.state == RecoveryJobState::Running
        {
            let reason = "another job on the archive is under way; wait for its end";
            return Err(HiveError::RecoveryRefused(reason.to_owned()));
        }
        let job = RecoveryJob {
            kind,
            state: RecoveryJobState::Running,
            started_by: by.to_owned(),
            started_at: Timestamp::now(),
            ended_at: None,
            point,
            detail: "under way".to_owned(),
            faults: Vec::new(),
        };
        inner.job = Some(job.clone());
        Ok(job)
    }

    /// Shows the end of the job, and records it.
    async fn end_job(&self, outcome: Outcome, action: Action) {
        let job = {
            let shared = self.shared();
            let mut inner = shared.lock();
            let Some(job) = &mut inner.job else { return };
            job.ended_at = Some(Timestamp::now());
            job.state = match outcome.is_good {
                true => RecoveryJobState::Succeeded,
                false => RecoveryJobState::Failed,
            };
            job.detail.clone_from(&outcome.detail);
            let shown = outcome.faults.len().min(FAULTS_SHOWN);
            job.faults = outcome.faults[..shown].to_vec();
            job.clone()
        };
        let target = match job.point {
            Some(point) => point.to_string(),
            None => self.ledger().hive_id(),
        };
        let mut event = NewEvent::new(action, job.started_by, target);
        event = event.details(json!({
            "kind": job.kind,
            "detail": outcome.detail,
            "faults": outcome.faults.len(),
        }));
        if !outcome.is_good {
            tracing::error!(detail = outcome.detail, kind = ?job.kind, "a job on the archive failed");
            event.level = Some(EventLevel::Critical);
            event.result = EventResult::Failure;
        }
        if let Err(error) = self.ledger().apply(RecordEvents(vec![event])).await {
            tracing::warn!(%error, "the end of a job on the archive could not be recorded");
        }
    }

    /// Reads and compares every object of the archive.
    pub(super) fn run_verify(&self) {
        let api = self.clone();
        actix_rt::spawn(async move {
            let (shipping, hive) = (api.shipping().clone(), api.ledger().hive_id());
            let verifying = tokio::task::spawn_blocking(move || {
                let storage = shipping.storage().map_err(ArchiveError::NoSuchPoint)?;
                verify(&*storage, &hive)
            });
            let outcome = match verifying.await {
                Err(error) => Outcome::bad(error.to_string()),
                Ok(Err(error)) => Outcome::bad(error.to_string()),
                Ok(Ok(found)) => {
                    let size = bytesize::ByteSize(found.bytes);
                    let faults: Vec<_> = found.faults.iter().map(shown).collect();
                    Outcome {
                        detail: match faults.len() {
                            0 => format!("{} objects with {size} are sound", found.objects),
                            count => format!("{count} of {} objects are not sound", found.objects),
                        },
                        is_good: faults.is_empty(),
                        faults,
                    }
                }
            };
            api.end_job(outcome, Action::BackupVerified).await;
        });
    }

    /// Restores a point to a temporary directory, examines it, and removes it.
    pub(super) fn run_drill(&self, target: Target) {
        let api = self.clone();
        actix_rt::spawn(async move {
            let (shipping, hive) = (api.shipping().clone(), api.ledger().hive_id());
            let config = api.config();
            let dir = config.data_dir.join("drill");
            let point = match &target {
                Target::Point(point) => point.clone(),
                _ => String::new(),
            };
            let drilling = tokio::task::spawn_blocking(move || {
                let storage = shipping.storage().map_err(RestoreError::Choice)?;
                let began = Instant::now();
                let path = dir.join(DATABASE);
                let made = std::fs::create_dir_all(&dir);
                made.map_err(|source| RestoreError::Target {
                    path: dir.clone(),
                    source,
                })?;
                remove_database(&path);
                let restored = restore_checked(&storage, &hive, &target, &path);
                remove_database(&path);
                let _ = std::fs::remove_dir(&dir);
                let compared = restored.and_then(|(restored, plan)| {
                    let files = Files::of(&storage, &hive, &plan)?;
                    files.compare()?;
                    Ok(restored)
                });
                compared.map(|restored| {
                    let drilled = Drilled {
                        point,
                        at: Timestamp::now(),
                        seconds: began.elapsed().as_secs_f64(),
                    };
                    remember_drill(&config, &drilled);
                    (restored, drilled)
                })
            });
            let outcome = match drilling.await {
                Err(error) => Outcome::bad(error.to_string()),
                Ok(Err(error)) => Outcome::bad(error.to_string()),
                Ok(Ok((restored, drilled))) => {
                    let seconds = drilled.seconds;
                    api.shared().lock().drilled = Some(drilled);
                    let bytes = u64::from(restored.pages) * u64::from(restored.page_bytes);
                    Outcome::good(format!(
                        "restored {} up to event {}.{} in {seconds:.1} s, and found it whole",
                        bytesize::ByteSize(bytes),
                        restored.timeline,
                        restored.commit.seq,
                    ))
                }
            };
            api.end_job(outcome, Action::BackupVerified).await;
        });
    }

    /// Restores a moment to a directory, or prepares it for the next start and asks for that.
    pub(super) fn run_restore(
        &self,
        who: Principal,
        target: Target,
        place: RestorePlace,
        restart: impl AsyncFnOnce(&Principal) -> Result<(), HiveError> + 'static,
    ) {
        let api = self.clone();
        actix_rt::spawn(async move {
            let outcome = match api.restore_to(&who, target, &place).await {
                Err(error) => Err(error.to_string()),
                Ok(facts) if place == RestorePlace::InPlace => match restart(&who).await {
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
                    api.end_job(Outcome::good(detail), Action::RestoreCompleted)
                        .await;
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
        place: &RestorePlace,
    ) -> Result<RestoredHive, RestoreError> {
        let lost = match place {
            RestorePlace::InPlace => self.ledger().log_head().await.ok(),
            RestorePlace::Directory(_) => None,
        };
        let restore = Restore {
            storage: self.shipping().storage().map_err(RestoreError::Choice)?,
            hive: self.ledger().hive_id(),
            config: self.config(),
            target,
            place: place.clone(),
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
        let facts = facts(&restored, self.lost_up_to, true, notes);
        let config = Config {
            data_dir: dir.clone(),
            ..(*self.config).clone()
        };
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build();
        let runtime = runtime.map_err(|source| at(&dir, source))?;
        runtime.block_on(settle(&config, &facts, &self.by))?;
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

/// Name of the file with the last restore for practice that succeeded.
const DRILLED: &str = "drilled.json";

/// Keeps the result of a restore for practice for the next start.
fn remember_drill(config: &Config, drilled: &Drilled) {
    let text = serde_json::to_string(drilled).unwrap_or_default();
    let written = crate::data_dir::write_secret(&config.data_dir.join(DRILLED), &text);
    if let Err(error) = written {
        tracing::warn!(%error, "the result of a restore for practice cannot be kept");
    }
}

/// Reads the result of the last restore for practice. One that cannot be read is as good as
/// none.
pub(super) fn recall_drill(config: &Config, shared: &Shared) {
    let text = std::fs::read(config.data_dir.join(DRILLED)).unwrap_or_default();
    if let Ok(drilled) = serde_json::from_slice::<Drilled>(&text) {
        let mut inner = shared.lock();
        inner.drill_tried_at = Some(drilled.at);
        inner.drilled = Some(drilled);
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

fn shown(fault: &deia_archive::Fault) -> ArchiveFault {
    ArchiveFault {
        place: fault.place.clone(),
        reason: fault.reason.clone(),
    }
}

impl From<DataDirError> for RestoreError {
    fn from(error: DataDirError) -> Self {
        Self::Store(error.into())
    }
}
