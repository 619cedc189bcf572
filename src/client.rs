//! Typed client of the HTTP API. The command line, the tests and the load
//! generator all speak through it.
//!
//! It connects once and reuses the connection, waits no longer than it was told
//! to, reads no body beyond its limit, follows no redirect (the key would go
//! with it), and shows the key nowhere.
//!
//! ```no_run
//! # async fn example() -> Result<(), deia::client::ClientError> {
//! use deia::client::{Client, Secret};
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

mod bots;
mod builder;
mod error;
mod events;
mod keys;
mod output;
mod paging;
mod queue;
mod secrets;
mod stream;
mod supervisors;
mod system;
mod tasks;
mod transport;
mod users;
mod wire;

pub use bots::PutIf;
pub(crate) use builder::is_local;
pub use builder::{Client, ClientBuilder, DEFAULT_URL};
pub use error::{ClientError, Missing, Problem};
pub use events::EventQuery;
pub use output::{OutputPlace, OutputStream};
pub use queue::{Changed, Drained, Selection};
pub use stream::{ServerEvent, ServerEvents};
pub use supervisors::{
    Arbiter, ExitCode, LastExit, NodeKind, NodeState, Strategy, SupervisorAction, SupervisorNode,
    Suspended,
};
pub use wire::{
    CanI, CreatedKey, LogLines, NewKeyRequest, NewUserRequest, RoleInfo, RotateKeyRequest, Secret,
    TaskState, UserChangeRequest, WhoAmI,
};
