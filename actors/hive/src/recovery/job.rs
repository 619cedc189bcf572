//! Jobs on the archive: one at a time, with a result that the status shows; verification.

use deia_archive::{ArchiveError, verify};
use deia_ledger::{Apply, RecordEvents};
use deia_model::{
    Action, ArchiveFault, EventLevel, EventResult, NewEvent, PointId, RecoveryJob, RecoveryJobKind,
    RecoveryJobState, RestoreReport, Timestamp,
};
use serde_json::json;

use super::{RecoveryApi, report::details};
use crate::HiveError;

/// Faults that a job shows, the first ones; its detail has their number. Fixed: more would not
/// help a person, and an answer has to stay small.
const FAULTS_SHOWN: usize = 100;

/// Result of a job.
pub(super) struct Outcome {
    pub(super) detail: String,
    pub(super) faults: Vec<ArchiveFault>,
    pub(super) report: Option<RestoreReport>,
    pub(super) is_good: bool,
}

impl Outcome {
    pub(super) fn good(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            faults: Vec::new(),
            report: None,
            is_good: true,
        }
    }

    pub(super) fn bad(detail: impl Into<String>) -> Self {
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
            report: None,
        };
        inner.job = Some(job.clone());
        Ok(job)
    }

    /// Shows the end of the job, and records it.
    pub(super) async fn end_job(&self, outcome: Outcome, action: Action) {
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
            job.report.clone_from(&outcome.report);
            job.clone()
        };
        let target = match job.point {
            Some(point) => point.to_string(),
            None => self.ledger().hive_id(),
        };
        let mut event = NewEvent::new(action, job.started_by, target);
        let mut about = json!({
            "kind": job.kind,
            "detail": outcome.detail,
            "faults": outcome.faults.len(),
        });
        if let (Some(about), Some(report)) = (about.as_object_mut(), &outcome.report) {
            about.insert("report".to_owned(), details(report));
        }
        event = event.details(about);
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
                    api.shared().lock().faults[1].clone_from(&found.faults);
                    let size = bytesize::ByteSize(found.bytes);
                    let faults: Vec<_> = found.faults.iter().map(shown).collect();
                    Outcome {
                        report: None,
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
}

fn shown(fault: &deia_archive::Fault) -> ArchiveFault {
    ArchiveFault {
        place: fault.place.clone(),
        reason: fault.reason.clone(),
    }
}
