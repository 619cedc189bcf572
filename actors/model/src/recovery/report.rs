//! The report of a restore: the work that was lost, effects that may repeat, and access that is
//! valid again.

use serde::{Deserialize, Serialize};

use crate::{TaskId, Timestamp};

/// The state that a restored one is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComparedWith {
    /// The store of the running hive, at the time of the restore. Writes between then and the
    /// restart in place are lost as well.
    Store,
    /// The newest commit of the archive.
    Archive,
    /// Nothing: there was no later state that could be read. The numbers are 0 then, and unknown.
    Nothing,
}

/// Work after the restored moment, which the restored state does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LostWork {
    /// Number of events.
    #[schema(example = 97)]
    pub events: u64,
    /// Position of the newest event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "1.4808")]
    pub up_to: Option<String>,
    /// Time of the newest event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Time between the restored moment and the newest event, in seconds.
    #[schema(example = 840)]
    pub seconds: u64,
    /// Number of tasks that were submitted after the moment: they are gone.
    pub tasks_submitted: u64,
    /// Number of tasks that ended after the moment: their results are gone.
    pub tasks_ended: u64,
    /// Number of keys that were created after the moment: they do not work any more.
    pub keys: u64,
    /// False if there were too many events to examine all of them, or some were pruned: the
    /// numbers of tasks are the least then.
    pub is_complete: bool,
}

/// Effects outside of the hive that may occur a second time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RepeatedEffects {
    /// Tasks that had begun and run again, at most the first 100.
    #[schema(value_type = Vec<String>, example = json!(["task_01h455vb4pex5vsknk084sn02q"]))]
    pub tasks: Vec<TaskId>,
    /// Number of such tasks.
    pub tasks_total: u64,
    /// Number of webhook deliveries that waited at the restored moment: they are sent, even if
    /// they were sent after it.
    pub deliveries: u64,
}

/// A kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessKind {
    /// A key.
    Key,
    /// A user.
    User,
    /// A session in a browser.
    WebSession,
    /// A stored secret.
    Secret,
    /// An endpoint that gets events.
    Webhook,
}

impl AccessKind {
    /// Returns its name in a sentence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::User => "user",
            Self::WebSession => "web session",
            Self::Secret => "secret",
            Self::Webhook => "webhook",
        }
    }
}

/// Access that was taken away or changed after the restored moment, and is as before again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ValidAgain {
    /// Kind of access.
    pub kind: AccessKind,
    /// Id or name.
    #[schema(example = "key_01h455vb4pex5vsknk084sn02q")]
    pub id: String,
    /// User that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "ada")]
    pub user: Option<String>,
    /// The change that was undone.
    #[schema(example = "was revoked")]
    pub change: String,
}

/// The report of a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RestoreReport {
    /// The state that the restored one was compared with.
    pub compared_with: ComparedWith,
    /// Work after the restored moment.
    pub lost: LostWork,
    /// Effects outside of the hive that may occur a second time.
    pub repeats: RepeatedEffects,
    /// Access that was taken away or changed after the restored moment and is as before again, at
    /// most the first 100. Revoke it again before work is resumed.
    pub valid_again: Vec<ValidAgain>,
    /// Number of these.
    pub valid_again_total: u64,
}

impl RestoreReport {
    /// Returns the report of a restore with nothing to compare with.
    pub fn unknown() -> Self {
        Self {
            compared_with: ComparedWith::Nothing,
            lost: LostWork::default(),
            repeats: RepeatedEffects::default(),
            valid_again: Vec::new(),
            valid_again_total: 0,
        }
    }
}
