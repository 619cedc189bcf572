//! What the hive is about: ids, entities and their transitions.
//!
//! Pure: nothing in here knows of actors, SQL or HTTP. Every type that the
//! outside sees serialises to the shape of schema version [`SCHEMA_VERSION`].

mod address;
mod bot;
mod event;
mod exact;
mod examples;
mod executor;
mod explain;
mod id;
mod key;
mod login;
mod new_task;
mod object;
mod page;
mod plan;
mod queue;
mod result;
pub mod schema;
mod secret;
mod system;
mod task;
pub mod text;
mod time;
mod trace;
mod transition;
mod user;

pub use address::{AddressRange, AddressRangeError};
pub use bot::{
    Bot, BotDesired, BotFault, BotRecord, BotSpec, BotStatus, Capabilities, Containment,
    ContainmentMeans,
};
pub use event::{Action, Event, EventAction, EventFilter, EventLevel, EventResult, NewEvent};
pub use exact::{ambiguity, is_at_most_deep, is_exact};
pub use examples::entities;
pub use executor::{
    Behavior, CommandExecutor, Executor, LatencyMs, LatencyRange, SimulatedExecutor,
    SimulatedProfile,
};
pub use explain::{AwaitedTask, BotFit, Facts, TaskExplanation, TaskHold, explain, summary};
pub use id::{BotName, IdError, KeyId, LeaseToken, LoginId, TaskId};
pub use key::{AdminHold, KeyGrant, KeyInfo, KeyOwner, KeyRecord, admin_hold};
pub use login::{Login, LoginEnd, LoginRecord, OpenedWith};
pub use new_task::{METADATA_LEVELS, NewTask, Violation};
pub use object::{from_object, from_object_or_null};
pub use page::{Page, PageRequest};
pub use plan::{
    AttemptOutcomeKind, Dependency, DependencyFailure, EndReason, FailedAttempt, Release,
    RetryOverride, release,
};
pub use queue::{Pause, QueueLane, QueueStatus, Rates, StatusCounts, Waits};
pub use result::TaskResult;
pub use secret::{
    BotSecret, SecretInfo, SecretName, SecretPlaces, SecretRef, SecretRefs, is_plain,
};
pub use system::{HealthMetrics, LastRestart, SystemStatus};
pub use task::{Deployment, Priority, Submitted, Task, TaskFilter, TaskStatus, TaskType};
pub use time::{NotATime, Timestamp};
pub use trace::TraceContext;
pub use transition::{AttemptEnd, NextStep, RetryPolicy, Toll, TollLimits, after_attempt};
pub use user::{User, UserChange};

/// Version of the schemas in this module, named in every export.
pub const SCHEMA_VERSION: &str = "1.0.0";
