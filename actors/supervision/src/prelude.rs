//! Items that most users of this crate need, and those of actix that are needed to write an actor:
//!
//! ```
//! use deia_supervision::prelude::*;
//! ```
//!
//! Do not import `actix::prelude::*` beside it: its `Context` is another.

pub use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, Message, MessageResult,
    ResponseActFuture, Running, SpawnHandle, StreamHandler, WrapFuture,
};

pub use crate::{
    AskError, AutoShutdown, Backoff, ChildError, ChildSpec, ChildState, Context, Criticality,
    Event, EventKind, ExitReason, Handle, Health, Intensity, MailWhileSuspended, Monitor,
    OnExhausted, Placement, Recipient, Restart, Shutdown, StartChildError, StartError, Strategy,
    SupervisorHandle, SupervisorSpec, TellError, Tree, TreeStatus, WorkerSpec, child, respond,
    respond_with, worker, worker_async,
};
