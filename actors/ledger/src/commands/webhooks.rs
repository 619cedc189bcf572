//! Commands about webhooks.

use deia_model::{
    DeliveryState, DisableReason, MessageId, Position, Replay, ReplayId, Role, Timestamp, Webhook,
    WebhookId, WebhookSpec,
};

use super::{Command, Idempotency, Reply, ledger_command};

/// An endpoint as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredWebhook {
    /// The endpoint; its lag is not known to the store, and 0.
    pub webhook: Webhook,
    /// The owner.
    pub owner: WebhookOwner,
    /// Position up to which matching events were delivered or wait for a retry; `None`:
    /// that of the dispatcher.
    pub cursor: Option<Position>,
    /// Number of the last event before its last change.
    pub changed_after: u64,
}

/// The owner of an endpoint, as of the registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookOwner {
    /// The user.
    pub user: String,
    /// The role that the registering credential had.
    pub role: Role,
    /// The issuer of the token, if the user is known by tokens alone.
    pub issuer: Option<String>,
}

/// The parts of an endpoint's secret that are not secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretNotes {
    /// The key that verifies `v1a` signatures.
    pub public_key: Option<String>,
    /// Time until which the previous secret signs as well.
    pub old_secret_until: Option<Timestamp>,
}

/// The secret of an endpoint, sealed under [`deia_model::SecretName::of_webhook`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedWebhookSecret {
    /// Keys and values of headers, sealed.
    pub sealed: Vec<u8>,
    /// The parts that are not secret.
    pub notes: SecretNotes,
}

/// Any command about webhooks, as a store gets it.
#[derive(Clone, Debug)]
pub enum WebhookCommand {
    /// See [`RegisterWebhook`].
    Register(Box<RegisterWebhook>),
    /// See [`ChangeWebhook`].
    Change(Box<ChangeWebhook>),
    /// See [`DeleteWebhook`].
    Delete(DeleteWebhook),
    /// See [`EnableWebhook`].
    Enable(EnableWebhook),
    /// See [`DisableWebhook`].
    Disable(DisableWebhook),
    /// See [`RecordDeliveries`].
    Record(Box<RecordDeliveries>),
    /// See [`RetryDelivery`].
    Retry(RetryDelivery),
    /// See [`StartReplay`].
    StartReplay(StartReplay),
    /// See [`StopReplay`].
    StopReplay(StopReplay),
}

/// Limits on the number of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookLimits {
    /// Maximum number of endpoints.
    pub max: u32,
    /// Maximum number of endpoints of one owner.
    pub max_per_owner: u32,
}

/// Registers an endpoint. It gets the events after this command. A repeated request gets
/// the endpoint that the first one made.
#[derive(Clone, Debug)]
pub struct RegisterWebhook {
    /// Id of the endpoint.
    pub id: WebhookId,
    /// Settings of the endpoint.
    pub spec: WebhookSpec,
    /// Owner of the endpoint.
    pub owner: WebhookOwner,
    /// Secret of the endpoint.
    pub secret: SealedWebhookSecret,
    /// Limits on the number of endpoints.
    pub limits: WebhookLimits,
    /// Makes a repeated request harmless.
    pub idempotency: Option<Idempotency>,
}

ledger_command!(
    RegisterWebhook,
    |command| Command::Webhook(WebhookCommand::Register(Box::new(command))),
    StoredWebhook,
    Reply::Webhook(stored) => *stored
);

/// Changes an endpoint. The endpoint must have the given version, if one is given.
#[derive(Clone, Debug)]
pub struct ChangeWebhook {
    /// Id of the endpoint.
    pub id: WebhookId,
    /// The new settings.
    pub spec: WebhookSpec,
    /// The new secret, if that changes too.
    pub secret: Option<SealedWebhookSecret>,
    /// Expected version.
    pub if_version: Option<u64>,
    /// Name of the caller.
    pub actor: String,
    /// True if the secret was rotated, which the event says.
    pub rotated: bool,
}

ledger_command!(
    ChangeWebhook,
    |command| Command::Webhook(WebhookCommand::Change(Box::new(command))),
    StoredWebhook,
    Reply::Webhook(stored) => *stored
);

/// Deletes an endpoint with its deliveries, replays and secret.
#[derive(Clone, Debug)]
pub struct DeleteWebhook {
    /// Id of the endpoint.
    pub id: WebhookId,
    /// Expected version.
    pub if_version: Option<u64>,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    DeleteWebhook,
    |command| Command::Webhook(WebhookCommand::Delete(command)),
    (),
    Reply::Done(_) => ()
);

/// Enables an endpoint. It gets the events after this command; the range that it missed
/// is recorded.
#[derive(Clone, Debug)]
pub struct EnableWebhook {
    /// Id of the endpoint.
    pub id: WebhookId,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    EnableWebhook,
    |command| Command::Webhook(WebhookCommand::Enable(command)),
    StoredWebhook,
    Reply::Webhook(stored) => *stored
);

/// Disables an endpoint, and stops its replays.
#[derive(Clone, Debug)]
pub struct DisableWebhook {
    /// Id of the endpoint.
    pub id: WebhookId,
    /// The reason.
    pub reason: DisableReason,
    /// The reason in a sentence.
    pub detail: String,
    /// Name of the caller, or `deia`.
    pub actor: String,
}

ledger_command!(
    DisableWebhook,
    |command| Command::Webhook(WebhookCommand::Disable(command)),
    StoredWebhook,
    Reply::Webhook(stored) => *stored
);

/// An attempt at a delivery, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// The message.
    pub message: MessageId,
    /// Position of the event.
    pub at_event: Position,
    /// Action of the event.
    pub action: String,
    /// User whose visibility decides about the event.
    pub owner: Option<String>,
    /// The payload, kept while the delivery waits.
    pub body: String,
    /// State of the delivery after the attempt.
    pub state: DeliveryState,
    /// Time of the next attempt, if the delivery waits.
    pub next_at: Option<Timestamp>,
    /// Time at which the attempt began.
    pub at: Timestamp,
    /// Duration of the exchange, in milliseconds.
    pub duration_ms: u64,
    /// Status of the response.
    pub status: Option<u16>,
    /// The reason of the failure.
    pub error: Option<String>,
    /// Beginning of the response body.
    pub response: String,
    /// True if the response body was longer.
    pub response_truncated: bool,
}

/// The health of an endpoint after some attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookHealth {
    /// Number of deliveries that failed since the last that succeeded.
    pub failures_in_a_row: u32,
    /// Time of the first of these.
    pub failing_since: Option<Timestamp>,
    /// Time of the last delivery that succeeded.
    pub last_success_at: Option<Timestamp>,
    /// Time of the last delivery that failed.
    pub last_failure_at: Option<Timestamp>,
    /// The error of that delivery.
    pub last_error: Option<String>,
}

/// The progress of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayProgress {
    /// Id of the replay.
    pub id: ReplayId,
    /// Position up to which its events were delivered or wait for a retry.
    pub cursor: Position,
    /// Number of events that the endpoint accepted since the last record.
    pub delivered: u64,
    /// Number of events whose delivery failed since the last record.
    pub failed: u64,
    /// True if its range is done.
    pub is_done: bool,
}

/// Records attempts at deliveries. Replies with the number of deliveries that wait for a
/// retry. A delivery that waits is kept with its payload; the others are the history, of
/// which the last ones are kept.
#[derive(Clone, Debug)]
pub struct RecordDeliveries {
    /// Id of the endpoint.
    pub webhook: WebhookId,
    /// The attempts, in the order in which they ended.
    pub attempts: Vec<AttemptRecord>,
    /// Health of the endpoint after them.
    pub health: WebhookHealth,
    /// Progress of a replay.
    pub replay: Option<ReplayProgress>,
    /// Time since which events were deleted before the endpoint had read them.
    pub missed_from: Option<Timestamp>,
    /// Number of ended deliveries that are kept.
    pub history: u32,
}

ledger_command!(
    RecordDeliveries,
    |command| Command::Webhook(WebhookCommand::Record(Box::new(command))),
    u64,
    Reply::Done(n) => n
);

/// Makes a delivery due now.
#[derive(Clone, Debug)]
pub struct RetryDelivery {
    /// Id of the endpoint.
    pub webhook: WebhookId,
    /// The message.
    pub message: MessageId,
    /// The payload, for a delivery that has ended and is made again.
    pub body: Option<String>,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    RetryDelivery,
    |command| Command::Webhook(WebhookCommand::Retry(command)),
    (),
    Reply::Done(_) => ()
);

/// Starts a replay of the events of a range. Refused while another one of the endpoint
/// runs, or while the endpoint is disabled.
#[derive(Clone, Debug)]
pub struct StartReplay {
    /// Id of the replay.
    pub id: ReplayId,
    /// Id of the endpoint.
    pub webhook: WebhookId,
    /// Time of the oldest event.
    pub from: Timestamp,
    /// Time before which the newest event was recorded.
    pub to: Timestamp,
    /// Position before the oldest event.
    pub after: Position,
    /// Number of the newest event.
    pub upto: u64,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    StartReplay,
    |command| Command::Webhook(WebhookCommand::StartReplay(command)),
    Replay,
    Reply::Replay(replay) => *replay
);

/// Stops a replay. One that has ended stays as it is.
#[derive(Clone, Debug)]
pub struct StopReplay {
    /// Id of the replay.
    pub id: ReplayId,
    /// Id of the endpoint.
    pub webhook: WebhookId,
    /// Name of the caller.
    pub actor: String,
}

ledger_command!(
    StopReplay,
    |command| Command::Webhook(WebhookCommand::StopReplay(command)),
    Replay,
    Reply::Replay(replay) => *replay
);
