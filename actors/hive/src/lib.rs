//! The hive: bots that work through a durable task queue, every moving part an
//! actor under a supervisor.
//!
//! [`Hive`] composes the subsystems, one folder each; each has an API, as in
//! `hive.tasks().submit(..)`. Behind it, a request becomes a command to the
//! [`deia_ledger`], which applies it in one transaction together with
//! the events that it causes; actors hold nothing that cannot be rebuilt from
//! there.

pub mod access;
mod alerts;
mod api_calls;
mod audit;
mod bots;
pub mod config;
mod data_dir;
mod degradation;
mod dispatch;
mod error;
mod file_notes;
mod followers;
mod hive;
pub mod host;
mod ledger_writer;
mod lifecycle;
mod messaging;
pub mod metrics;
mod mode;
mod operations;
mod outgoing;
pub mod reaper;
mod recovery;
mod retention;
pub mod runner;
mod scheduler;
mod secrets;
mod settings;
mod shedding;
mod statistics;
mod store_options;
mod stream;
mod subsystem;
mod tasks;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod trace;
mod tree;
mod waiters;
mod webhooks;

pub use access::{
    AccessApi, AdminKeyReset, KeyRotation, NewKey, OpenedWebSession, reset_admin_key,
};
pub use alerts::AlertsApi;
pub use api_calls::{ApiCall, ApiCallsApi};
pub use audit::{AuditApi, AuditExport};
pub use bots::{
    BotsApi, PutBot, PutHow, RemoteWork,
    log::{LogFollower, LogPiece, LogStart},
    output::TaskOutput,
};
pub use data_dir::{DataDirError, Exposed, exposed, is_in_use, refuse_links};
pub use degradation::DegradationApi;
pub use deia_ledger::{NewUser, SentMessage, StartedSession, Submission, metrics::TurnWaits};
pub use error::{HiveError, HiveStartError};
pub use hive::{FrontFactory, Hive, RestartCheck};
pub use messaging::{MessagesApi, SessionOrigin, SessionsApi};
pub use operations::{OperationsApi, PartAction};
pub use recovery::{
    OfflineRestore, RecoveryApi, RestoreError, RestorePlace, RestoreReport, RestoreRequest,
    restore_offline,
};
pub use secrets::{SealError, SecretRotation, SecretsApi, check_secrets_key, rotate_secrets_key};
pub use settings::{
    ChangeSetting, FixedSettings, ReloadSettings, SettingsApi, SettingsSource, StartSettings,
};
pub use shedding::SheddingApi;
pub use store_options::store_options;
pub use stream::{EventSubscription, StreamApi, StreamCut, StreamItem, StreamedEvent};
pub use tasks::{OutputFollower, OutputItem, OutputStart, QueueApi, TasksApi};
pub use webhooks::WebhooksApi;
