//! Lists, and answers with one member.

use deia_model::TaskId;
pub use deia_model::{Changed, Drained};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The tasks of a batch that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchAccepted {
    /// The answers, one for each task, in order.
    pub ids: Vec<TaskId>,
}

/// The end of a bot's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLines {
    /// The last lines, the oldest first.
    pub lines: Vec<String>,
}

/// A published schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SchemaEntry {
    /// The name of the entity.
    #[schema(example = "Task")]
    pub name: String,
    /// Description of the entity.
    pub description: String,
    /// Path of its schema.
    #[schema(example = "/api/schemas/Task")]
    pub url: String,
}

/// All schemas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SchemaList {
    /// The version of all schemas.
    #[schema(example = "1.0.0")]
    pub schema_version: String,
    /// The schemas, those of the model first.
    pub items: Vec<SchemaEntry>,
}

/// The answer of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Probe {
    /// `alive`, `ready` or `healthy`.
    #[schema(example = "ready")]
    pub status: String,
}

/// A whole list, for lists that are never long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Items<T> {
    /// The items, in a stable order.
    pub items: Vec<T>,
}
