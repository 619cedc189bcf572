//! Traits of a store, one for each kind of consumer. A part of the hive that gets only
//! one of them cannot do anything else with the store.

mod access_reads;
mod alert_reads;
mod audit_reads;
mod bot_reads;
mod command_log;
mod error;
mod event_reads;
mod messaging_reads;
mod mode_reads;
mod scheduler_reads;
mod settings_reads;
mod task_reads;
mod webhook_reads;

use std::{future::Future, pin::Pin, sync::Arc};

pub use self::{
    access_reads::AccessReads,
    alert_reads::AlertReads,
    audit_reads::AuditReads,
    bot_reads::BotReads,
    command_log::{CommandLog, CommitListener},
    error::{Shortage, StoreError},
    event_reads::{EventReads, EventScan},
    messaging_reads::MessagingReads,
    mode_reads::ModeReads,
    scheduler_reads::{Prunable, ReadyQuery, SchedulerReads},
    settings_reads::SettingsReads,
    task_reads::{QueuePosition, TaskCompletion, TaskReads},
    webhook_reads::{RunningReplay, WaitingDelivery, WebhookReads},
};

/// A future that can be named.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The whole store. Implementations pass the same conformance suite ([`crate::store`]).
pub trait Store:
    CommandLog
    + TaskReads
    + SchedulerReads
    + AccessReads
    + BotReads
    + EventReads
    + AlertReads
    + AuditReads
    + WebhookReads
    + MessagingReads
    + ModeReads
    + SettingsReads
{
}

impl<S> Store for S where
    S: CommandLog
        + TaskReads
        + SchedulerReads
        + AccessReads
        + BotReads
        + EventReads
        + AlertReads
        + AuditReads
        + WebhookReads
        + MessagingReads
        + ModeReads
        + SettingsReads
{
}

/// The shared store.
pub type Ledger = Arc<dyn Store>;
