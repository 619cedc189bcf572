//! Manual restart, suspension and resumption of parts of the supervision tree.

use deia_ledger::{Apply, RecordEvents};
use deia_model::{Action, NewEvent, Principal};
use deia_supervision::{ChildError, Criticality, TreeStatus};

use super::OperationsApi;
use crate::{HiveError, tasks::reason_fits};

/// Action on a part of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartAction {
    /// Stops the part and starts it again.
    Restart,
    /// Stops the part on purpose; its place is kept.
    Suspend,
    /// Starts a suspended part again.
    Resume,
}

impl OperationsApi {
    /// Restarts, suspends or resumes a child of the tree, with all below it, and returns
    /// its status then. `why` is shown for as long as it is suspended.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], [`HiveError::PartRefused`] with the reason, or
    /// [`HiveError::Invalid`] if `why` is too long.
    pub async fn act_on_part(
        &self,
        who: &Principal,
        path: &str,
        action: PartAction,
        why: Option<String>,
    ) -> Result<TreeStatus, HiveError> {
        reason_fits(why.as_deref())?;
        let missing = || HiveError::NotFound {
            kind: "supervised child",
            id: path.to_owned(),
        };
        let tree = self.tree.get().ok_or_else(missing)?;
        let before = tree.status_of(path).ok_or_else(missing)?;
        if let Some(reason) = refusal(&before, action) {
            return Err(HiveError::PartRefused(reason.to_owned()));
        }
        // Recorded first: the request leaves a trace even if it fails.
        let asked = NewEvent::new(Action::PartRequested, &*who.user, path)
            .details(asked_for(action, why.as_deref()));
        self.access
            .apply_for(who, RecordEvents(vec![asked]))
            .await?;
        let ledger = &self.ledger;
        let done = match action {
            PartAction::Restart => tree.restart_path(path).await,
            PartAction::Suspend => {
                let why = why.unwrap_or_else(|| "by hand".to_owned());
                tree.suspend_path_as(path, &*who.user, why).await
            }
            PartAction::Resume => tree.resume_path(path).await,
        };
        let mut event = NewEvent::new(action.event(), &*who.user, path);
        if let Err(error) = &done {
            event = event
                .failure()
                .details(serde_json::json!({"message": error.to_string()}));
        }
        // The action has succeeded or failed, even if this cannot be recorded.
        if let Err(error) = ledger.apply(RecordEvents(vec![event])).await {
            tracing::warn!(
                part = path,
                action = action.as_str(),
                %error,
                "the action on a part of the tree could not be recorded; the request for it is"
            );
        }
        done.map_err(|error| match error {
            ChildError::NotFound => missing(),
            other => HiveError::PartRefused(other.to_string()),
        })?;
        tree.status_of(path).ok_or_else(missing)
    }
}

fn asked_for(action: PartAction, why: Option<&str>) -> serde_json::Value {
    match why {
        Some(why) => serde_json::json!({"action": action.as_str(), "reason": why}),
        None => serde_json::json!({"action": action.as_str()}),
    }
}

impl PartAction {
    fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
        }
    }

    fn event(self) -> Action {
        match self {
            Self::Restart => Action::PartRestarted,
            Self::Suspend => Action::PartSuspended,
            Self::Resume => Action::PartResumed,
        }
    }
}

/// Returns the reason why the action on that part is refused, if it is.
fn refusal(part: &TreeStatus, action: PartAction) -> Option<&'static str> {
    let carries_requests = !part.path.contains('/') || &*part.name == "front";
    match action {
        PartAction::Restart if carries_requests => {
            Some("it carries this very request; restart the whole with `deia system restart`")
        }
        PartAction::Suspend if has_critical(part) => {
            Some("without it the hive cannot work: it may be restarted, but not suspended")
        }
        _ => None,
    }
}

fn has_critical(part: &TreeStatus) -> bool {
    part.criticality == Criticality::Critical || part.children.iter().any(has_critical)
}
