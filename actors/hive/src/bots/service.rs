//! Parts of executors whose bots are services elsewhere: the way to them, the secrets of
//! requests, and the course of an attempt.
//!
//! Requests go through the guarded client of `outgoing`, under the policy of `bots.allow_networks`
//! and `bots.allow_ports`. Nothing of a service runs here: when an attempt is stopped, its request
//! is dropped, and the service may go on with it.

mod attend;
mod credentials;
mod failure;
mod kept;
mod line;
mod probe;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use deia_ledger::ClaimedTask;
use deia_model::BotName;

pub(super) use self::{
    attend::{Exchanged, attend},
    credentials::{Credentials, plain_headers, secret_value},
    failure::{Failure, quoted},
    kept::Kept,
    line::{ServiceLine, Services, refusal},
    probe::{ProbeBy, ProbeLimits, Prober},
};
use super::{
    executor::IncarnationParts,
    log::{BotLog, LoggedAttempt, Stream},
    output::{OutputLimits, Outputs},
    registry::BotGauges,
};
use crate::secrets::BotSecrets;

/// The parts that all attempts of one such bot share.
pub(super) struct ServiceContext {
    /// Name of the bot.
    pub(super) bot: BotName,
    /// Way to the service.
    pub(super) line: ServiceLine,
    /// Secrets of requests.
    pub(super) secrets: BotSecrets,
    /// Store of the output of attempts.
    pub(super) outputs: Outputs,
    /// Limits of that output.
    pub(super) output_limits: OutputLimits,
    /// Attempts of a task whose output is kept (`tasks.kept_outputs`).
    pub(super) kept_outputs: u32,
    /// The bot's log.
    pub(super) log: BotLog,
    gauges: Arc<BotGauges>,
    /// Time of the last success, which proves as much as a probe.
    succeeded_at: Mutex<Option<Instant>>,
}

impl ServiceContext {
    pub(super) fn new(parts: &IncarnationParts, line: ServiceLine) -> Self {
        let (config, record) = (&parts.config, &parts.record);
        Self {
            bot: record.name.clone(),
            line,
            secrets: BotSecrets::new(record.spec.secrets.clone(), parts.secrets.clone()),
            outputs: parts.outputs.clone(),
            output_limits: OutputLimits {
                memory: config.tasks.max_output_bytes.as_u64(),
                file: config.tasks.max_output_file_bytes.as_u64(),
            },
            kept_outputs: config.tasks.kept_outputs,
            log: parts.log.clone(),
            gauges: parts.gauges.clone(),
            succeeded_at: Mutex::default(),
        }
    }

    /// Notes that the service has taken a task: an earlier fault of the bot is over.
    pub(super) fn is_at_work(&self) {
        self.gauges.attempt_started();
    }

    /// Notes that the service has carried out a task.
    fn succeeded(&self) {
        *self.success_slot() = Some(Instant::now());
    }

    /// Returns the time since the last success.
    fn since_success(&self) -> Option<Duration> {
        self.success_slot().map(|at| at.elapsed())
    }

    fn success_slot(&self) -> MutexGuard<'_, Option<Instant>> {
        self.succeeded_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line about an attempt into the bot's log.
    pub(super) fn note(&self, claimed: &ClaimedTask, text: &str) {
        let of = LoggedAttempt {
            task: claimed.task.id,
            attempt: claimed.task.attempt,
        };
        self.log.line(Some(of), Stream::Deia, text);
    }
}
