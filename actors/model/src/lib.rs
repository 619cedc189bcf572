//! The vocabulary of the hive: ids, entities and their transitions.
//!
//! Pure: nothing in this crate depends on actors, SQL or HTTP. Every public type
//! serialises to the form of schema version [`SCHEMA_VERSION`].

// The examples of the entities are deep for `json!`.
#![recursion_limit = "256"]

mod action;
mod address;
mod alert;
mod api_key;
mod audit;
mod bot;
mod degradation;
pub mod duration;
mod event;
mod event_row;
mod exact;
mod examples;
mod executor;
mod explain;
mod external;
mod failure;
mod id;
mod key;
mod message;
mod new_task;
mod object;
mod output;
mod page;
mod pair;
mod permissions;
mod plan;
mod principal;
mod queue;
mod recovery;
mod result;
mod role;
pub mod schema;
mod secret;
mod session;
mod settings;
mod system;
mod target_type;
mod task;
mod task_log;
pub mod text;
mod time;
mod trace;
mod transition;
mod user;
mod web_session;
mod web_session_cookie;
mod webhook;
mod work;

pub use action::{Action, EventAction};
pub use address::{AddressRange, AddressRangeError};
pub use alert::{Alert, AlertName, Condition};
pub use api_key::{ApiKey, KeyError};
pub use audit::{
    AuditCheckpoint, AuditConsistency, AuditCount, AuditCounts, AuditFault, AuditFilter, AuditName,
    AuditOrder, AuditPage, AuditProof, AuditRecord, AuditReport, AuditSpan, AuditStatistics,
    AuditVerification, AuditVerifications,
};
pub use bot::{
    Bot, BotCircuit, BotDesired, BotFault, BotFilter, BotGeneration, BotLimits, BotLiveness,
    BotPause, BotProbe, BotRecord, BotSpec, BotStatus, Capabilities, CircuitState, Containment,
    ContainmentMeans, FallbackReason, FallbackUse, Labels, OnExcess, ProbeMeans,
};
pub use degradation::{
    DegradationStatus, Feature, FeatureClass, FeatureState, FeatureStatus, Level, Mode, ModeChange,
    ModeSource, OperatorLevel, SignalName, SignalState, SignalStatus,
};
pub use event::{
    Event, EventFilter, EventGap, EventLevel, EventResult, EventTarget, InvalidPosition, NewEvent,
    Position,
};
pub use event_row::{EventRow, EventRows};
pub use exact::{ambiguity, is_at_most_deep, is_exact};
pub use examples::entities;
pub use executor::{
    AUTHORIZATION, Behavior, CommandExecutor, Executor, HttpExecutor, LatencyMs, LatencyRange,
    LlmApi, LlmExecutor, RemoteExecutor, SECRET_HEADER_PREFIX, SimulatedExecutor, SimulatedProfile,
    WorkerExecutor, header_of_secret,
};
pub use explain::{AwaitedTask, BotFit, Facts, TaskExplanation, TaskHold, explain, summary};
pub use external::{ExternalAction, InvalidExternalAction, external_violations};
pub use failure::{BotCost, FailureClass, FailureCost, TaskCost};
pub use id::{
    AlertId, BotMessageId, BotName, IdError, KeyId, LeaseToken, MessageId, PointId, ReplayId,
    SessionId, TaskId, WebSessionId, WebhookId,
};
pub use key::{AdminAccess, KeyGrant, KeyInfo, KeyOwner, KeyRecord, admin_access};
pub use message::{DeliveryStatus, Message, MessageFilter, MessageLimits, NewMessage};
pub use new_task::{METADATA_LEVELS, NewTask, TaskLimits, Violation};
pub use object::{from_object, from_object_or_null};
pub use output::{
    InvalidOutputPosition, OutputChunk, OutputEnd, OutputGap, OutputPosition, unfinished_character,
};
pub use page::{Page, PageRequest};
pub use pair::{join_key, split_key};
pub use permissions::Permissions;
pub use plan::{
    AttemptOutcomeKind, Dependency, DependencyFailure, EndReason, FailedAttempt, Release,
    RetryOverride, release,
};
pub use principal::{
    Budget, Credential, Principal, TrustAnchor, Visibility, rights, within_scopes,
};
pub use queue::{
    Changed, Drained, Durations, Pause, QueueHistory, QueueLane, QueueStatus, Rates, StatusCounts,
    Throughput, Waits,
};
pub use recovery::{
    AccessKind, ArchiveFault, ArchivedKeys, ComparedWith, EventNumber, InvalidEventNumber,
    LostWork, NewRestore, PreviousShutdown, RecoveryFailure, RecoveryJob, RecoveryJobKind,
    RecoveryJobState, RecoveryMode, RecoveryState, RecoveryStatus, RepeatedEffects, ReplacedStore,
    RestoreMoment, RestorePoint, RestorePointKind, RestoreReport, RestoredHive, ValidAgain,
};
pub use result::TaskResult;
pub use role::{Permission, Role};
pub use secret::{
    BotSecret, SecretInfo, SecretName, SecretPlaces, SecretRef, SecretRefs, is_plain,
};
pub use session::{NewSession, OnBotDeath, Session, SessionEnd, SessionFilter};
pub use settings::{
    CurrentSetting, CurrentSettings, ReloadCheck, SettingChange, SettingLayer, SettingSource,
    SettingValue, SettingsFile, SettingsOrigin, SettingsOutcome, SettingsReload, SettingsStatus,
    SettingsVersion,
};
pub use system::{FollowerLag, HealthMetrics, LastRestart, StoredOutputs, SystemStatus};
pub use target_type::TargetType;
pub use task::{Deployment, Priority, Submitted, Task, TaskFilter, TaskStatus, TaskType};
pub use task_log::{TaskLog, TaskLogLine};
pub use time::{NotATime, Timestamp};
pub use trace::TraceContext;
pub use transition::{AttemptEnd, NextStep, RetryPolicy, Toll, TollLimits, after_attempt};
pub use user::{User, UserChange};
pub use web_session::{OpenedWith, WebSession, WebSessionEnd, WebSessionRecord};
pub use web_session_cookie::WebSessionCookie;
pub use webhook::{
    Delivery, DeliveryAttempt, DeliveryDetail, DeliveryState, DisableReason, Disabled,
    EndpointFilter, EventType, MissedRange, NewWebhook, Replay, ReplayState, SignatureScheme,
    TestDelivery, Webhook, WebhookChange, WebhookSpec, WebhookStatus, WebhookWithSecret,
    lower_case,
};
pub use work::{
    CompletionReport, FailureReport, HeartbeatAnswer, HeartbeatReport, LeaseRequest, Leased,
    LeasedTask, OutputAnswer, OutputReport, ReportAnswer,
};

/// Version of the schemas in this module, named in every export.
pub const SCHEMA_VERSION: &str = "1.0.0";
