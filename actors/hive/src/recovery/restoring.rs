//! Requests to restore: the moment that each names, and the end of the pause after it.

use std::path::PathBuf;

use deia_archive::{ArchiveError, EventRef, Moment, Survey, Target, plan};
use deia_ledger::{Apply, MarkRunning, RecordEvents, ResumeQueue};
use deia_model::{
    Action, EventNumber, NewEvent, PointId, Principal, RecoveryJob, RecoveryJobKind,
    RecoveryStatus, RestoreMoment, TaskId, Timestamp, Violation, Visibility,
};

use super::{RecoveryApi, WEBHOOKS, checked::explained, restored::mark};
use crate::HiveError;

/// Place that a moment is restored to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestorePlace {
    /// The data directory of this hive, through a restart in place.
    InPlace,
    /// A new directory on this machine.
    Directory(PathBuf),
}

/// A request for a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The point to restore, or to begin with; `None`: the newest generation.
    pub point: Option<PointId>,
    /// The moment; `None`: the point, or the newest commit.
    pub moment: Option<RestoreMoment>,
    /// The place.
    pub place: RestorePlace,
    /// True if the restored hive works at once, without a pause.
    pub go: bool,
}

/// Returns the target of an event.
pub(super) fn event_ref(event: EventNumber) -> EventRef {
    EventRef {
        timeline: event.timeline,
        seq: event.seq,
    }
}

fn invalid(pointer: &str, detail: impl Into<String>) -> HiveError {
    HiveError::Invalid(vec![Violation {
        pointer: pointer.to_owned(),
        detail: detail.into(),
    }])
}

impl RecoveryApi {
    /// Begins a restore. `restart` must restart the hive.
    ///
    /// # Errors
    /// [`HiveError::NotFound`]: there is no such point. [`HiveError::Invalid`]: the archive does
    /// not have the moment, or nobody can tell when it was. [`HiveError::RecoveryRefused`] if a
    /// job is under way.
    pub async fn restore(
        &self,
        who: &Principal,
        request: RestoreRequest,
        restart: impl AsyncFnOnce(&Principal) -> Result<(), HiveError> + 'static,
    ) -> Result<RecoveryJob, HiveError> {
        let target = self.target(&request).await?;
        self.has_archive()?;
        self.check_target(&request, &target).await?;
        let job = self.begin_job(RecoveryJobKind::Restore, &who.user, request.point)?;
        let about = match request.point {
            Some(point) => point.to_string(),
            None => self.ledger().hive_id(),
        };
        let mut event = NewEvent::new(Action::RestoreStarted, &*who.user, about);
        if let Some(moment) = request.moment {
            let named = serde_json::json!({ moment.name(): text_of(moment) });
            event = event.details(named);
        }
        let recorded = self
            .access()
            .apply_for(who, RecordEvents(vec![event]))
            .await;
        if let Err(error) = recorded {
            self.shared().lock().job = None;
            return Err(error.into());
        }
        self.run_restore(who.clone(), target, request, restart);
        Ok(job)
    }

    /// Finds the target of a request.
    async fn target(&self, request: &RestoreRequest) -> Result<Target, HiveError> {
        let point = request.point.map(|id| self.point(id)).transpose()?;
        let moment = match request.moment {
            None => None,
            Some(RestoreMoment::At(at)) => {
                if at > Timestamp::now() {
                    return Err(invalid("/at", "must not be in the future"));
                }
                if let Some(point) = point.as_ref().filter(|it| at < it.at) {
                    let detail = format!("must not be before {}, the time of the point", point.at);
                    return Err(invalid("/at", detail));
                }
                Some(Moment::At(at.as_millis()))
            }
            Some(RestoreMoment::Event(event)) => Some(Moment::Event(event_ref(event))),
            Some(RestoreMoment::BeforeEvent(event)) => Some(Moment::BeforeEvent(event_ref(event))),
            Some(RestoreMoment::Task(task)) => {
                Some(Moment::Event(self.submission(task, "/task").await?))
            }
            Some(RestoreMoment::BeforeTask(task)) => {
                let event = self.submission(task, "/before_task").await?;
                Some(Moment::BeforeEvent(event))
            }
        };
        Ok(match (point, moment) {
            (None, None) => Target::Newest,
            (None, Some(moment)) => Target::Moment(moment),
            (Some(point), None) => Target::Point(point.id.to_string()),
            (Some(point), Some(moment)) => Target::After {
                point: point.id.to_string(),
                moment,
            },
        })
    }

    /// Returns the event that recorded the submission of a task.
    async fn submission(&self, task: TaskId, pointer: &str) -> Result<EventRef, HiveError> {
        submission(self.ledger(), task)
            .await?
            .map_err(|reason| invalid(pointer, reason))
    }

    /// Checks that the archive has the moment. A storage that does not answer in time, and damaged
    /// objects, are left to the job.
    async fn check_target(
        &self,
        request: &RestoreRequest,
        target: &Target,
    ) -> Result<(), HiveError> {
        let (api, target) = (self.clone(), target.clone());
        let planning = tokio::task::spawn_blocking(move || {
            let storage = api
                .shipping()
                .storage()
                .map_err(ArchiveError::NoSuchPoint)?;
            let hive = api.ledger().hive_id();
            let survey = Survey::of(&*storage, &hive)?;
            plan(&*storage, &hive, &survey, &target)
        });
        let within = self.config().recovery.answer_within;
        let Ok(Ok(Err(error))) = tokio::time::timeout(within, planning).await else {
            return Ok(());
        };
        match error {
            ArchiveError::Outside { .. } | ArchiveError::NoSuchPoint(_) => {
                let reason = explained(&error);
                Err(match request.moment {
                    Some(moment) => invalid(&format!("/{}", moment.name()), reason),
                    None => HiveError::RecoveryRefused(reason),
                })
            }
            _ => Ok(()),
        }
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
        let event = NewEvent::new(Action::RestoreResumed, &*who.user, self.ledger().hive_id());
        self.access()
            .apply_for(who, RecordEvents(vec![event]))
            .await?;
        let queue = ResumeQueue {
            task_type: None,
            actor: who.user.to_string(),
        };
        self.access().apply_for(who, queue).await?;
        if let Some(tree) = self.tree() {
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
        let event = NewEvent::new(Action::ShutdownMarked, &*who.user, self.ledger().hive_id());
        self.access()
            .apply_for(who, RecordEvents(vec![event]))
            .await?;
        self.ledger().apply(MarkRunning(false)).await?;
        Ok(self.status())
    }
}

fn text_of(moment: RestoreMoment) -> String {
    match moment {
        RestoreMoment::At(at) => at.to_string(),
        RestoreMoment::Event(event) | RestoreMoment::BeforeEvent(event) => event.to_string(),
        RestoreMoment::Task(task) | RestoreMoment::BeforeTask(task) => task.to_string(),
    }
}

/// Returns the event that recorded the submission of a task; or the reason why it is not known.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn submission(
    ledger: &deia_ledger::Ledger,
    task: TaskId,
) -> Result<Result<EventRef, String>, deia_ledger::StoreError> {
    let events = ledger.task_events(task, Visibility::All).await?;
    let is_submission = |it: &&deia_model::Event| it.action == Action::TaskSubmitted;
    if let Some(event) = events.iter().find(is_submission) {
        return Ok(Ok(EventRef {
            timeline: Some(event.timeline),
            seq: event.seq,
        }));
    }
    Ok(Err(match ledger.task(task).await? {
        Some(found) => format!(
            "the event of its submission is past events.retention: name a time instead; it was submitted at {}",
            found.created_at
        ),
        None => format!(
            "the store does not have {task}: name an event or a time instead, such as those that the audit trail has of it (deia audit query --target {task})"
        ),
    }))
}
