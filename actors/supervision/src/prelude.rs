//! What most users of this crate need, and of actix what one needs to write an actor for it:
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
    AskError, Backoff, ChildSpec, ChildState, Context, Event, EventKind, ExitReason, Handle,
    Health, Intensity, OnExhausted, Placement, Recipient, Restart, Shutdown, StartError, Strategy,
    SupervisorHandle, SupervisorSpec, TellError, Tree, WorkerSpec, child, respond, respond_with,
    worker, worker_async,
};
