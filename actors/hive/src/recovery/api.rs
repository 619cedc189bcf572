//! Interface of the archive to callers and other subsystems.

use std::{path::Path, sync::Arc, time::Instant};

use deia_archive::{PointKind, Target};
use deia_ledger::{Apply, Ledger, MarkRunning, RecordEvents, ResumeQueue};
use deia_model::{
    Action, NewEvent, Page, PageRequest, PointId, PreviousShutdown, Principal, RecoveryFailure,
    RecoveryJob, RecoveryJobKind, RecoveryState, RecoveryStatus, RestorePoint, Timestamp,
};
use tokio::sync::oneshot;

pub use super::job::RestorePlace;
use super::{
    job::recall_drill,
    keys::{key_files, not_included},
    restored::{mark, restored},
    schedule::is_due,
    shipper::Shipping,
    state::{PointRequest, Shared},
};
use crate::{
    HiveError,
    access::AccessApi,
    config::{Config, Settings},
    subsystem::Deps,
};

/// Part of the tree that a restore keeps suspended until it is resumed.
pub(crate) const WEBHOOKS: &str = "hive/services/webhooks";
/// Longest label of a restore point, in characters. Fixed: a name for a list.
const LABEL_MAX: usize = 200;

/// Interface to the archive of the hive.
#[derive(Clone)]
pub struct RecoveryApi {
    settings: Settings,
    ledger: Ledger,
    access: AccessApi,
    tree: Arc<std::sync::OnceLock<deia_supervision::Tree>>,
    shipping: Shipping,
    previous: Arc<PreviousShutdown>,
}

impl RecoveryApi {
    pub(super) fn new(
        deps: &Deps,
        access: &AccessApi,
        shipping: Shipping,
        previous: PreviousShutdown,
    ) -> Self {
        let config = deps.settings.get();
        recall_drill(&config, shipping.shared());
        {
            let mut inner = shipping.shared().lock();
            inner.same_disk = is_same_disk(&config);
            inner.restored = restored(&config.data_dir);
        }
        Self {
            settings: deps.settings.clone(),
            ledger: deps.ledger.clone(),
            access: access.clone(),
            tree: deps.tree.clone(),
            shipping,
            previous: Arc::new(previous),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.shipping.shared()
    }

    pub(super) fn shipping(&self) -> &Shipping {
        &self.shipping
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.settings.get()
    }

    /// Returns the age of the oldest commit that the archive does not have, in seconds; `None`
    /// if there is no archive.
    pub(crate) fn exposure_seconds(&self) -> Option<f64> {
        if self.shipping.is_off() {
            return None;
        }
        let unshipped = self.shipping.feed().look().unshipped_since;
        let since = self.shared().lock().lost_since(unshipped);
        Some(since.map_or(0.0, |since| since.elapsed().as_secs_f64()))
    }

    /// Returns the state of the archive, and the reason why it cannot be written.
    fn state(&self) -> (RecoveryState, Option<RecoveryFailure>) {
        if self.shipping.is_off() {
            return (RecoveryState::Off, None);
        }
        let patience = self.config().recovery.alert_after;
        let has_ended = self.shipping.has_failed();
        let inner = self.shared().lock();
        inner.shown_state(has_ended, patience, Instant::now())
    }

    /// Returns the state of the archive, and what a loss of the disk would cost now.
    pub fn status(&self) -> RecoveryStatus {
        let config = self.config();
        let exposure_seconds = self.exposure_seconds();
        let (state, failing) = self.state();
        let inner = self.shared().lock();
        let newest = inner.points.iter().max_by_key(|point| point.order());
        RecoveryStatus {
            url: config.recovery_url(),
            same_disk: inner.same_disk,
            mode: config.recovery.mode,
            state,
            failing,
            exposure_seconds,
            archived_at: inner.archived_at,
            generation: inner.generation.clone(),
            generation_reason: inner.reason.clone(),
            archive_was_ahead: inner.ahead.is_some(),
            archive_ahead_point: inner.ahead,
            points: inner.points.len() as u64,
            newest_point: newest.and_then(|point| inner.shown(point)),
            archive_bytes: inner.bytes,
            verified_at: inner.drilled.as_ref().map(|it| it.at),
            restore_seconds: inner.drilled.as_ref().map(|it| it.seconds),
            not_included: not_included(&config),
            encrypted: false,
            key_files: key_files(&config),
            files_waiting: inner.files_waiting,
            previous_shutdown: (*self.previous).clone(),
            restored: inner.restored.clone(),
            job: inner.job.clone(),
        }
    }

    /// Returns the restore points, newest first.
    pub fn points(&self) -> Vec<RestorePoint> {
        let inner = self.shared().lock();
        let mut points: Vec<_> = inner.points.iter().collect();
        points.sort_by_key(|point| (point.order(), point.created_at));
        let newest_first = points.into_iter().rev();
        newest_first.filter_map(|it| inner.shown(it)).collect()
    }

    /// Returns a page of the restore points, newest first.
    ///
    /// # Errors
    /// [`HiveError::BadCursor`].
    pub fn page(&self, page: &PageRequest) -> Result<Page<RestorePoint>, HiveError> {
        let before: Option<PointId> = match &page.cursor {
            Some(cursor) => Some(cursor.parse().map_err(|_| HiveError::BadCursor)?),
            None => None,
        };
        let mut items = self.points();
        if let Some(before) = before {
            // A point that is gone was among the oldest.
            let at = items.iter().position(|point| point.id == before);
            items.drain(..at.map_or(items.len(), |at| at + 1));
        }
        let limit = page.limit as usize;
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| has_more);
        let next_cursor = next_cursor.map(|point| point.id.to_string());
        Ok(Page { items, next_cursor })
    }

    /// Returns a restore point.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub fn point(&self, id: PointId) -> Result<RestorePoint, HiveError> {
        let mut points = self.points().into_iter();
        points
            .find(|point| point.id == id)
            .ok_or_else(|| HiveError::NotFound {
                kind: "restore point",
                id: id.to_string(),
            })
    }

    fn ask(
        &self,
        who: &Principal,
        kind: PointKind,
        label: Option<String>,
        made: Option<oneshot::Sender<()>>,
    ) -> Result<PointId, HiveError> {
        let label = label.unwrap_or_default();
        if label.chars().count() > LABEL_MAX || label.chars().any(char::is_control) {
            return Err(HiveError::Invalid(vec![deia_model::Violation {
                pointer: "/label".into(),
                detail: format!(
                    "must have at most {LABEL_MAX} characters, none a control character"
                ),
            }]));
        }
        self.has_archive()?;
        let id = PointId::new();
        let request = PointRequest {
            id,
            kind,
            label,
            by: who.user.to_string(),
            begun: false,
            made,
        };
        if !self.shared().ask(request) {
            let reason = "too many restore points wait to be made; wait for them";
            return Err(HiveError::RecoveryRefused(reason.to_owned()));
        }
        self.shipping.feed().wake();
        Ok(id)
    }

    /// Refuses requests that need an archive while there is none.
    pub(super) fn has_archive(&self) -> Result<(), HiveError> {
        match self.shipping.is_off() {
            false => Ok(()),
            true => Err(HiveError::RecoveryRefused(
                "there is no archive: set recovery.url and recovery.mode, and restart the hive"
                    .to_owned(),
            )),
        }
    }

    /// Begins a backup: a restore point with a snapshot of its own. Returns its id; the point
    /// exists once it is listed.
    ///
    /// # Errors
    /// [`HiveError::RecoveryRefused`] if too many wait.
    pub fn backup(&self, who: &Principal, label: Option<String>) -> Result<PointId, HiveError> {
        self.ask(who, PointKind::Backup, label, None)
    }

    /// Makes a restore point, with everything that was answered before. Returns its id.
    ///
    /// # Errors
    /// [`HiveError::ArchiveUnreachable`] if it was not made in time; it is made later then.
    pub async fn restore_point(
        &self,
        who: &Principal,
        label: Option<String>,
    ) -> Result<PointId, HiveError> {
        let (made, done) = oneshot::channel();
        let id = self.ask(who, PointKind::RestorePoint, label, Some(made))?;
        let within = self.config().recovery.answer_within;
        match tokio::time::timeout(within, done).await {
            Ok(Ok(())) => Ok(id),
            _ => Err(HiveError::ArchiveUnreachable),
        }
    }

    /// Begins to read and compare every object of the archive.
    ///
    /// # Errors
    /// [`HiveError::RecoveryRefused`] if a job is under way.
    pub fn verify(&self, who: &Principal) -> Result<RecoveryJob, HiveError> {
        let job = self.begin_job(RecoveryJobKind::Verify, &who.user, None)?;
        self.run_verify();
        Ok(job)
    }

    /// Begins to restore a point to a temporary directory; the newest one if none is named.
    ///
    /// # Errors
    /// [`HiveError::RecoveryRefused`] if a job is under way, or there is no point.
    pub fn drill(&self, who: &str, point: Option<PointId>) -> Result<RecoveryJob, HiveError> {
        let point = match point {
            Some(id) => self.point(id)?.id,
            None => self.points().first().map(|point| point.id).ok_or_else(|| {
                HiveError::RecoveryRefused("there is no restore point yet".to_owned())
            })?,
        };
        let job = self.begin_job(RecoveryJobKind::Drill, who, Some(point))?;
        self.run_drill(Target::Point(point.to_string()));
        Ok(job)
    }

    /// Begins a restore for practice if `recovery.drill_every` has passed since the last one.
    pub(super) fn drill_if_due(&self) {
        let every = self.config().recovery.drill_every;
        if every.is_zero() {
            return;
        }
        let now = Timestamp::now();
        {
            let mut inner = self.shared().lock();
            let last = inner.drill_tried_at.map_or(0, Timestamp::as_millis);
            if inner.points.is_empty() || !is_due(last, every, now.as_millis()) {
                return;
            }
            inner.drill_tried_at = Some(now);
        }
        // Another job is under way: the next look tries again.
        if self.drill("deia", None).is_err() {
            self.shared().lock().drill_tried_at = None;
        }
    }

    /// Begins a restore of a point, or of a later moment that `at` names. `restart` must
    /// restart the hive.
    ///
    /// # Errors
    /// [`HiveError::NotFound`]; [`HiveError::Invalid`] if `at` is before the point;
    /// [`HiveError::RecoveryRefused`] if a job is under way.
    pub async fn restore(
        &self,
        who: &Principal,
        point: PointId,
        at: Option<Timestamp>,
        place: RestorePlace,
        restart: impl AsyncFnOnce(&Principal) -> Result<(), HiveError> + 'static,
    ) -> Result<RecoveryJob, HiveError> {
        let found = self.point(point)?;
        let target = match at {
            Some(at) if at < found.at => {
                return Err(HiveError::Invalid(vec![deia_model::Violation {
                    pointer: "/at".into(),
                    detail: format!("must not be before {}, the time of the point", found.at),
                }]));
            }
            Some(at) => Target::After {
                point: point.to_string(),
                at: at.as_millis(),
            },
            None => Target::Point(point.to_string()),
        };
        let job = self.begin_job(RecoveryJobKind::Restore, &who.user, Some(point))?;
        let event = NewEvent::new(Action::RestoreStarted, &*who.user, point.to_string());
        let recorded = self.access.apply_for(who, RecordEvents(vec![event])).await;
        if let Err(error) = recorded {
            self.shared().lock().job = None;
            return Err(error.into());
        }
        self.run_restore(who.clone(), target, place, restart);
        Ok(job)
    }

    /// Resumes the queue and the webhooks that a restore has paused.
    ///
    /// # Errors
    /// [`HiveError::RecoveryRefused`] if nothing is paused by a restore.
    pub async fn resume(&self, who: &Principal) -> Result<RecoveryStatus, HiveError> {
        let dir = self.config().data_dir.clone();
        let facts = self.shared().lock().restored.clone();
        let Some(mut facts) = facts.filter(|it| it.paused) else {
            let reason = "no restore waits to be resumed";
            return Err(HiveError::RecoveryRefused(reason.to_owned()));
        };
        let event = NewEvent::new(Action::RestoreResumed, &*who.user, self.ledger.hive_id());
        self.access
            .apply_for(who, RecordEvents(vec![event]))
            .await?;
        let queue = ResumeQueue {
            task_type: None,
            actor: who.user.to_string(),
        };
        self.access.apply_for(who, queue).await?;
        if let Some(tree) = self.tree.get() {
            // It runs already if somebody has resumed it.
            let _ = tree.resume_path(WEBHOOKS).await;
        }
        facts.paused = false;
        self.shared().lock().restored = Some(facts.clone());
        let marking = tokio::task::spawn_blocking(move || mark(&dir, &facts));
        let marked = marking
            .await
            .map_err(|error| HiveError::Internal(error.to_string()))?;
        marked.map_err(|error| HiveError::Internal(error.to_string()))?;
        Ok(self.status())
    }

    /// Marks the end of this run as an orderly one, whatever ends it: the next start does not
    /// report a crash.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn mark_shutdown(&self, who: &Principal) -> Result<RecoveryStatus, HiveError> {
        let event = NewEvent::new(Action::ShutdownMarked, &*who.user, self.ledger.hive_id());
        self.access
            .apply_for(who, RecordEvents(vec![event]))
            .await?;
        self.ledger.apply(MarkRunning(false)).await?;
        Ok(self.status())
    }

    /// Returns the point with the commits that the disk had lost at the start, for alerts.
    pub(crate) fn ahead(&self) -> Option<PointId> {
        self.shared().lock().ahead
    }

    /// Returns the reason why the archive cannot be written, for alerts.
    pub(crate) fn is_failing(&self) -> Option<String> {
        self.state().1.map(|failing| failing.reason)
    }
}

/// Returns whether the archive is on the file system of the data directory.
fn is_same_disk(config: &Config) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let url = url::Url::parse(&config.recovery_url());
    let Ok(dir) = url.map_err(drop).and_then(|url| url.to_file_path()) else {
        return false;
    };
    let device = |path: &Path| path.metadata().map(|it| it.dev()).ok();
    // The directory is made with the first object: look at those above it until then.
    let archive = dir.ancestors().find_map(device);
    archive == device(&config.data_dir)
}
