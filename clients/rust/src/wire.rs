//! Types of the API that the model does not have, shared by the server, which writes
//! them, and this client, which reads them.
//!
//! A client keeps additions of a newer server: unknown members of answers that people
//! look at are in `more`.

mod access;
mod audit;
mod lists;
mod recovery;
mod secret;
mod sessions;
mod settings;
mod task_state;
mod tree;
mod webhooks;

pub use access::{
    CanI, CanIRequest, CreatedKey, EndedSessions, NewKeyRequest, NewUserRequest, RoleInfo,
    RotateKeyRequest, SessionView, UserChangeRequest, WhoAmI,
};
pub use audit::{AuditKey, NewAuditEvent, RecordedAuditEvent};
pub use lists::{BatchAccepted, Changed, Drained, Items, LogLines, Probe, SchemaEntry, SchemaList};
pub use recovery::RestorePointId;
pub use secret::Secret;
pub use sessions::EndSessionRequest;
pub use settings::{
    ChangeSettingRequest, ConfirmSettingsRequest, ReloadSettingsRequest, UndoSettingsRequest,
};
pub use task_state::TaskState;
pub use tree::{
    Arbiter, ExitCode, LastExit, NodeKind, NodeState, Strategy, SupervisorAction, SupervisorNode,
    Suspended,
};
pub use webhooks::{DisableWebhookRequest, ReplayRequest, RotateWebhookSecretRequest};
