//! Typed settings: one struct per module, read from layers, validated whole.
//!
//! `config/deia.yaml` is both the documentation of every key and the source of
//! every default: it is compiled in, so the two cannot differ.

mod alerts;
mod audit;
mod auth;
mod bots;
mod check;
mod degradation;
mod differences;
mod document;
mod events;
mod inspect;
mod jwt;
mod kept;
mod limits;
mod lines;
mod live;
mod load;
mod messaging;
mod provenance;
mod recovery;
mod secrets;
mod server;
mod settings;
mod stop;
mod store;
mod stream;
mod tasks;
mod telemetry;
mod tls;
mod webhooks;

pub use alerts::AlertSettings;
pub use audit::{ApiCallMode, AuditSettings};
pub use auth::{AuthSettings, SessionSettings};
pub use bots::{
    BotCircuitSettings, BotFaultSettings, BotRestart, BotSettings, HttpBotSettings, LlmBotSettings,
    SeedBot, WorkerSettings,
};
pub use check::{ConfigError, Problem};
pub use degradation::{
    BotSignal, CommitSignal, DegradationSettings, DiskSignal, LagSignal, PercentSignal,
};
pub(crate) use differences::{changes, is_secret, pointer, with_secrets_of, without_secrets};
pub use document::{Setting, page, schema, settings};
pub use events::EventSettings;
pub use inspect::{differences, distance, inspect};
pub use jwt::{IssuerSettings, JwtSettings};
pub use kept::SettingsSettings;
pub use limits::{AdmissionSettings, LimitSettings, OverloadSettings, Rate};
pub use live::{InForce, Settings, TakesEffect};
pub(crate) use live::{Merged, merge};
pub(crate) use load::read_yaml;
pub use load::{Layers, readable_yaml, without_mark};
pub use messaging::MessagingSettings;
pub(crate) use provenance::Provenance;
pub use recovery::RecoverySettings;
pub use secrets::SecretSettings;
pub use server::{ServerSettings, socket_address};
pub use settings::Config;
pub use stop::{StopLimits, StopSettings};
pub use store::StoreSettings;
pub use stream::StreamSettings;
pub use tasks::{SchedulerSettings, TaskSettings, TypeSettings};
pub use telemetry::{LogFormat, LoggingSettings, TelemetrySettings};
pub use tls::TlsSettings;
pub use webhooks::{RetryDelay, WebhookSettings};
