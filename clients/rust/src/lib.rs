//! Typed client of the HTTP API. The command line, the tests and the load
//! generator all speak through it.
//!
//! The client connects once and reuses the connection, waits no longer than it was told
//! to, reads no body beyond its limit, follows no redirect (the key would go
//! with it), and shows the key nowhere.
//!
//! ```no_run
//! # async fn example() -> Result<(), deia_client::ClientError> {
//! use deia_client::{Client, Secret};
//! use deia_model::NewTask;
//!
//! # let key_text = String::new();
//! # let general = "general".parse().expect("a task type");
//! let client = Client::builder("http://127.0.0.1:8000")
//!     .key(Secret::new(key_text))
//!     .build()?;
//! let task = client.submit(&NewTask::new(general, "hello"), None).await?;
//! let result = client.task_result(task.id, std::time::Duration::from_secs(5)).await?;
//! println!("{:?}", result.output);
//! # Ok(())
//! # }
//! ```

mod alerts;
mod audit;
mod bots;
mod builder;
mod config;
mod degradation;
mod error;
mod events;
mod follow;
mod keys;
mod messages;
mod output;
mod output_follow;
mod paging;
mod queue;
mod recovery;
mod resume;
mod secrets;
mod sessions;
mod stream;
mod system;
mod tasks;
mod transport;
mod users;
mod webhooks;
mod wire;
mod work;
mod worker;

pub use audit::{AuditExportFormat, AuditExportStream};
pub use bots::PutIf;
pub use builder::{Client, ClientBuilder, DEFAULT_URL, is_local};
pub use error::{ClientError, Missing, Problem};
pub use events::EventQuery;
pub use follow::{EventFollower, Followed};
pub use output::{OutputPlace, OutputRange, OutputStream};
pub use output_follow::{FollowedOutput, OutputFollower};
pub use queue::Selection;
pub use stream::{ServerEvent, ServerEvents};
pub use wire::{
    Arbiter, AuditKey, BatchAccepted, CanI, CanIRequest, ChangeSettingRequest, Changed,
    ConfirmSettingsRequest, CreatedKey, DisableWebhookRequest, Drained, EndSessionRequest,
    EndedSessions, ExitCode, Items, LastExit, LogLines, NewAuditEvent, NewKeyRequest,
    NewUserRequest, NodeKind, NodeState, Probe, RecordedAuditEvent, ReloadSettingsRequest,
    ReplayRequest, RestorePointId, RoleInfo, RotateKeyRequest, RotateWebhookSecretRequest,
    SchemaEntry, SchemaList, Secret, SessionView, Strategy, SupervisorAction, SupervisorNode,
    Suspended, TaskState, UndoSettingsRequest, UserChangeRequest, WhoAmI,
};
pub use worker::{Assignment, Completion, Failure, Worker};
