//! Shapes of the API that the model does not have: the server answers with them and
//! this client reads them, so that there is one of each.
//!
//! A client reads what a newer server adds: unknown members of an answer that people
//! look at are kept in `more`.

mod access;
mod lists;
mod secret;
mod task_state;
mod tree;

pub use access::{
    CanI, CanIRequest, CreatedKey, EndedSessions, NewKeyRequest, NewUserRequest, RoleInfo,
    RotateKeyRequest, SessionView, UserChangeRequest, WhoAmI,
};
pub use lists::{BatchAccepted, Changed, Drained, Items, LogLines, Probe, SchemaEntry, SchemaList};
pub use secret::Secret;
pub use task_state::TaskState;
pub use tree::{
    Arbiter, ExitCode, LastExit, NodeKind, NodeState, Strategy, SupervisorAction, SupervisorNode,
    Suspended,
};
