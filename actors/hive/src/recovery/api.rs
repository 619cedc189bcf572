//! Interface of the archive to callers and other subsystems.

use std::{path::Path, sync::Arc};

use deia_archive::PointKind;
use deia_ledger::Ledger;
use deia_model::{
    Page, PageRequest, PointId, PreviousShutdown, Principal, RecoveryJob, RecoveryJobKind,
    RestorePoint,
};
use tokio::sync::oneshot;

use super::{
    drills,
    restored::restored,
    shipper::Shipping,
    state::{PointRequest, Shared},
    swap::replaced,
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
        drills::recall(&config.data_dir, shipping.shared());
        {
            let mut inner = shipping.shared().lock();
            inner.replaced = replaced(&config.data_dir);
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

    pub(super) fn access(&self) -> &AccessApi {
        &self.access
    }

    pub(super) fn tree(&self) -> Option<&deia_supervision::Tree> {
        self.tree.get()
    }

    pub(super) fn previous(&self) -> &PreviousShutdown {
        &self.previous
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.settings.get()
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
