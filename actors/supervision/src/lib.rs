//! Supervision trees on actix.

mod arbiters;
mod backoff;
mod child;
mod context;
mod driver;
mod engine;
mod envelope;
mod error;
mod events;
mod exit;
mod handle;
mod intensity;
mod node;
mod panic;
mod plan;
mod spec;
mod status;
mod supervisor;
mod tree;
mod validate;

pub use crate::{
    backoff::Backoff,
    child::child,
    context::Context,
    error::{AskError, ChildError, Refused, SpecError, StartChildError, StartError},
    events::{Event, EventKind, EventStream, Received},
    exit::{ExitReason, GaveUp},
    handle::{Ask, Handle, Monitor, Recipient},
    intensity::{Budget, Intensity},
    node::{ChildState, ExitRecord, Kind},
    panic::{Panic, install_panic_hook},
    spec::{
        AutoShutdown, ChildSpec, Criticality, DynamicOptions, Exhausted, Placement, Restart,
        Shutdown, Strategy, SupervisorSpec, dynamic,
    },
    status::TreeStatus,
    supervisor::admin::{ChildCounts, ChildInfo, DynamicSupervisor, SupervisorHandle},
    tree::Tree,
};
