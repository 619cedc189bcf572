#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! A worker is an ordinary actix actor whose `Context` is this crate's [`Context`]. Behind it
//! stands one task, the *worker task*, that lives from the first start of the child until it is
//! removed: it builds the actor from its factory, polls it inside `catch_unwind`, and is parked
//! while the child is down. So an incarnation can end in any way without taking address or mailbox
//! along. Supervisors are tasks, too; they never wait for a child. They send *start* and *stop*,
//! and hear *started* and *exited*; what to do about it is decided by pure functions.
//!
//! Actors are not polled by actix's `ContextFut`, although its order of things is kept.
//! `ContextFut` keeps the mailbox across a restart only for actors that implement `Supervised`, it
//! matches cancelled futures of one incarnation against those of the next, it polls once more when
//! it is dropped (a second panic then aborts the process), and it has no budget: an actor that
//! always has something to do never lets its neighbours run.
//!
//! The state of a child (mailbox, control channel, factory) is shared between its worker task and
//! its supervisor; the worker task has a *lease* on it. When an actor blocks its thread, the
//! [watchdog](SupervisorSpec::watchdog) sees it from a thread of its own, and the supervisor takes
//! away the leases of all worker tasks there and starts new worker tasks on another arbiter. A
//! thread cannot be killed: the call that blocks it goes on until it returns, and nothing of that
//! run after it.
//!
//! # Where it differs from OTP, on purpose
//!
//! - A restarted child keeps its address and its mailbox; only the message being handled is lost.
//! - A child may wait before its restart ([`Backoff`]). Meanwhile it can be terminated, deleted,
//!   suspended, and its supervisor shut down.
//! - A child with a [budget](ChildSpec::budget) of its own does not use up its siblings' budget,
//!   and may be [quarantined](OnExhausted::Quarantine) instead of taking its supervisor down.
//! - A supervisor that gives up ends *abnormally* ([`ExitReason::GaveUp`]), so that a transient
//!   supervisor is restarted then; in OTP it ends with `shutdown`.
//! - A child that was terminated, suspended or quarantined is not started by the restart of a
//!   sibling. The restart of its supervisor starts it, unless it is suspended.
//! - When a supervisor is restarted, its declared children are started again, those added at run
//!   time are not, unless it was suspended. A declared temporary child that has ended by itself
//!   does not come back.
//! - A child of a dynamic supervisor that was terminated keeps its specification until it is
//!   deleted; one that ended for good by itself, or whose factory declines, is forgotten, whatever
//!   its restart type.
//! - A child with a budget of its own that is started by hand gets its whole budget.
//! - A supervisor that is starting serves requests. A supervisor that is stopping, suspended, or
//!   down for longer for another reason, refuses to add or operate children at once, even if the
//!   reason is further up.
//! - So does a worker with questions ([`Handle::ask`]): those that wait for it when it is suspended
//!   or left down are answered at once. Mail waits.
//! - Workers have five minutes to start ([`start_within`](ChildSpec::start_within)).
//! - A child runs on one thread of the group that its [`Placement`] names, and is not preempted.
//! - A child that blocks its thread is found out, ends as [`ExitReason::Stuck`], and takes nobody
//!   along: its neighbours on that thread are restarted on another, which counts against no budget.
//! - Children of one group that fail at the same time count once.

mod addr_mail;
mod allowance;
mod arbiters;
mod ask;
mod backoff;
mod child;
mod context;
mod control;
mod envelope;
mod error;
mod event_stream;
mod events;
mod exit;
mod fence;
mod handle;
mod health;
mod incarnation;
mod intensity;
mod mailbox;
mod panic;
mod plan;
pub mod prelude;
mod record;
mod respond;
mod sampler;
mod shedding;
mod signal;
mod spawned;
mod spec;
mod state;
mod status;
mod supervisor;
mod sync;
mod taken_by;
#[cfg(feature = "testing")]
pub mod testing;
mod totals;
mod tree;
mod validate;
mod watchdog;
mod worker_task;

pub use actix;

pub use crate::{
    ask::{Ask, Monitor},
    backoff::Backoff,
    child::child,
    context::Context,
    error::{AskError, ChildError, SpecError, StartChildError, StartError, TellError},
    event_stream::{EventStream, Lagged},
    events::{Event, EventKind},
    exit::{ExitReason, GaveUp},
    handle::{Handle, Recipient},
    health::Health,
    intensity::Intensity,
    panic::{Panic, PanicLocation, install_panic_hook},
    record::ExitRecord,
    respond::{respond, respond_with},
    shedding::Suspended,
    spec::{
        AutoShutdown, ChildSpec, Criticality, MailOnEscalation, MailWhileSuspended, OnExhausted,
        OnStall, Placement, Restart, Shutdown, Strategy, SupervisorSpec, WorkerSpec, worker,
        worker_async,
    },
    state::{ChildState, Kind},
    status::{ArbiterStatus, TreeStatus},
    supervisor::handle::{ChildCounts, ChildInfo, SupervisorHandle},
    totals::TreeSummary,
    tree::{Change, Tree},
};
