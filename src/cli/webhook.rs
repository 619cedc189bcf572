//! `deia webhook`.

mod register;
mod replay;
mod settings;
mod view;

use std::time::Duration;

use clap::{Args, Subcommand};
use deia_client::{DisableWebhookRequest, PutIf};
use deia_model::{DeliveryState, MessageId, ReplayId, TestDelivery, Webhook, WebhookId};

use self::{
    register::{ChangeArgs, RegisterArgs, RotateArgs},
    replay::ReplayArgs,
};
use super::{
    confirm::Confirm, context::Context, error::CliError, filter::PageArgs, format, parse,
    watch::WatchArgs,
};

#[derive(Debug, Subcommand)]
pub(super) enum WebhookCommand {
    /// Register an endpoint, which gets all later events. The secret is shown once.
    ///
    /// Deliveries follow the Standard Webhooks specification: verify them with the secret
    /// and any library for it. Without filters all events are delivered that you may see.
    #[command(before_help = "Examples:
  deia webhook register https://hooks.example.com/deia --event task.failed --event alert
  deia webhook register https://hooks.example.com/ci --tag nightly --to ci.secret
  deia webhook register https://hooks.example.com/x --header x-team:billing --rate 50
  deia webhook register https://hooks.example.com/y --headers-from headers.txt")]
    Register(Box<RegisterArgs>),
    /// List the endpoints.
    #[command(before_help = "Examples:
  deia webhook list
  deia webhook list --watch
  deia webhook list --output jsonl | jq -r 'select(.status != \"enabled\") | .url'")]
    List {
        #[command(flatten)]
        page: PageArgs,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Show an endpoint: its settings, its health, and the times that it missed.
    #[command(before_help = "Examples:
  deia webhook show webhook_01h455vb4pex5vsknk084sn02q")]
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Change an endpoint. A list that is given replaces the earlier one.
    #[command(before_help = "Examples:
  deia webhook change webhook_01h455vb4pex5vsknk084sn02q --address https://new.example.com/deia
  deia webhook change webhook_01h455vb4pex5vsknk084sn02q --event task --clear tags
  deia webhook change webhook_01h455vb4pex5vsknk084sn02q --rate 10 --if-version 3")]
    Change(Box<ChangeArgs>),
    /// Remove an endpoint with its secret and its deliveries.
    ///
    /// To pause an endpoint, disable it: what it misses can be replayed then.
    #[command(before_help = "Examples:
  deia webhook delete webhook_01h455vb4pex5vsknk084sn02q
  deia webhook delete webhook_01h455vb4pex5vsknk084sn02q --yes")]
    Delete {
        #[command(flatten)]
        which: Which,
        /// Only if the endpoint still has this version, as `webhook show` prints it.
        #[arg(long, value_name = "VERSION", value_parser = parse::whole(1..=u64::MAX))]
        if_version: Option<u64>,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Send a signed test to an endpoint, and show its answer; exit code 1 if it does not
    /// accept it.
    #[command(before_help = "Examples:
  deia webhook test webhook_01h455vb4pex5vsknk084sn02q")]
    Test {
        #[command(flatten)]
        which: Which,
    },
    /// Deliver events to an endpoint again, from now on.
    #[command(before_help = "Examples:
  deia webhook enable webhook_01h455vb4pex5vsknk084sn02q")]
    Enable {
        #[command(flatten)]
        which: Which,
    },
    /// Deliver no more events to an endpoint.
    #[command(before_help = "Examples:
  deia webhook disable webhook_01h455vb4pex5vsknk084sn02q
  deia webhook disable webhook_01h455vb4pex5vsknk084sn02q --reason 'moves to another host'")]
    Disable {
        #[command(flatten)]
        which: Which,
        /// Reason, shown with the endpoint.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Replace the secret of an endpoint. The new one is shown once.
    ///
    /// Deliveries are signed with the previous secret as well for a while, so that the
    /// receiver can be given the new one.
    #[command(before_help = "Examples:
  deia webhook rotate-secret webhook_01h455vb4pex5vsknk084sn02q --to ci.secret.new
  deia webhook rotate-secret webhook_01h455vb4pex5vsknk084sn02q --overlap 0s")]
    RotateSecret(RotateArgs),
    /// List the deliveries to an endpoint, the newest first; or show one, with its
    /// attempts.
    #[command(before_help = "Examples:
  deia webhook deliveries webhook_01h455vb4pex5vsknk084sn02q
  deia webhook deliveries webhook_01h455vb4pex5vsknk084sn02q --state failed --watch
  deia webhook deliveries webhook_01h455vb4pex5vsknk084sn02q msg_01h455vb4pex5vsknk084sn02q")]
    Deliveries(DeliveriesArgs),
    /// Attempt one delivery again, whatever its state.
    #[command(before_help = "Examples:
  deia webhook retry webhook_01h455vb4pex5vsknk084sn02q msg_01h455vb4pex5vsknk084sn02q")]
    Retry {
        #[command(flatten)]
        which: Which,
        /// The message, as `webhook deliveries` shows it.
        message: MessageId,
    },
    /// Deliver the events of a range of time again.
    #[command(before_help = "Examples:
  deia webhook replay webhook_01h455vb4pex5vsknk084sn02q --from 2h --watch
  deia webhook replay webhook_01h455vb4pex5vsknk084sn02q --from 2026-11-20T08:00:00Z --to 2026-11-20T09:00:00Z")]
    Replay(ReplayArgs),
    /// List the replays of an endpoint, with their progress.
    #[command(before_help = "Examples:
  deia webhook replays webhook_01h455vb4pex5vsknk084sn02q
  deia webhook replays webhook_01h455vb4pex5vsknk084sn02q --watch")]
    Replays {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Stop a replay. Finished deliveries are not undone.
    #[command(before_help = "Examples:
  deia webhook stop-replay webhook_01h455vb4pex5vsknk084sn02q replay_01h455vb4pex5vsknk084sn02q")]
    StopReplay {
        #[command(flatten)]
        which: Which,
        /// The replay, as `webhook replays` shows it.
        replay: ReplayId,
    },
    /// List the types of events that endpoints can subscribe to.
    #[command(before_help = "Examples:
  deia webhook event-types
  deia webhook event-types --output jsonl | jq 'select(.type == \"task.failed\") | .example'")]
    EventTypes,
}

/// An endpoint that exists.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Which {
    /// The endpoint's id, as `webhook list` shows it.
    #[arg(value_name = "WEBHOOK")]
    id: WebhookId,
}

/// Filter of deliveries, or one of them.
#[derive(Debug, Args)]
pub(super) struct DeliveriesArgs {
    #[command(flatten)]
    which: Which,
    /// Show this one, with its attempts.
    #[arg(conflicts_with = "state")]
    message: Option<MessageId>,
    /// Only deliveries in this state.
    #[arg(long, value_parser = parse::delivery_state())]
    state: Option<DeliveryState>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

impl WebhookCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        match self {
            Self::Register(args) => args.run(context).await,
            Self::Change(args) => args.run(context).await,
            Self::RotateSecret(args) => args.run(context).await,
            Self::Replay(args) => args.run(context).await,
            Self::Deliveries(args) => args.run(context).await,
            Self::List { page, watch } => {
                let part = page.request();
                let once = async || {
                    let page = client.webhooks(&part).await?;
                    let table = |look: &_| view::list(&page.items, look);
                    out.list(&page, "there are no webhooks", table)
                };
                watch.show(context, once).await
            }
            Self::Show { which } => one(context, &client.webhook(which.id).await?),
            Self::Enable { which } => one(context, &client.enable_webhook(which.id).await?),
            Self::Disable { which, reason } => {
                let request = DisableWebhookRequest { reason };
                one(context, &client.disable_webhook(which.id, &request).await?)
            }
            Self::Delete {
                which,
                if_version,
                confirm,
            } => delete(context, which.id, if_version, confirm).await,
            Self::Test { which } => {
                let test = client.test_webhook(which.id).await?;
                out.one(&test, |look| view::test(&test, look))?;
                accepted(which.id, test)
            }
            Self::Retry { which, message } => {
                let delivery = client.retry_webhook_delivery(which.id, message).await?;
                out.one(&delivery, |look| view::delivery(&delivery, look))?;
                let id = which.id;
                let note = format!("see the attempt: deia webhook deliveries {id} {message}");
                out.note(&note);
                Ok(())
            }
            Self::Replays { which, watch } => {
                let once = async || {
                    let page = client.webhook_replays(which.id).await?;
                    let table = |look: &_| view::replays(&page.items, look);
                    out.list(&page, "there are no replays of it", table)
                };
                watch.show(context, once).await
            }
            Self::StopReplay { which, replay } => {
                let replay = client.stop_webhook_replay(which.id, replay).await?;
                out.one(&replay, |look| {
                    view::replays(std::slice::from_ref(&replay), look)
                })
            }
            Self::EventTypes => {
                let page = client.webhook_event_types().await?;
                let table = |look: &_| view::event_types(&page.items, look);
                out.list(&page, "there are no types of events", table)
            }
        }
    }
}

impl DeliveriesArgs {
    async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out, id) = (&context.client, &context.out, self.which.id);
        let (state, part) = (self.state, self.page.request());
        let once = async || match self.message {
            Some(message) => {
                let delivery = client.webhook_delivery(id, message).await?;
                out.one(&delivery, |look| view::delivery(&delivery, look))
            }
            None => {
                let page = client.webhook_deliveries(id, state, &part).await?;
                let table = |look: &_| view::deliveries(&page.items, look);
                out.list(&page, "no deliveries match", table)
            }
        };
        self.watch.show(context, once).await
    }
}

async fn delete(
    context: &Context,
    id: WebhookId,
    if_version: Option<u64>,
    confirm: Confirm,
) -> Result<(), CliError> {
    confirm.ask(&format!("delete {id} with its secret and its deliveries"))?;
    let when = if_version.map_or(PutIf::Always, PutIf::Version);
    context.client.delete_webhook(id, when).await?;
    context.out.note(&format!("{id} is deleted"));
    Ok(())
}

fn one(context: &Context, webhook: &Webhook) -> Result<(), CliError> {
    let out = &context.out;
    out.one(webhook, |look| view::details(webhook, look))?;
    if out.is_table()
        && webhook.disabled.is_none()
        && let Some(missed) = webhook.missed.first()
    {
        out.note(&format!(
            "deliver what it missed last: deia webhook replay {} --from {} --to {}",
            webhook.id, missed.from, missed.to
        ));
    }
    Ok(())
}

/// Fails unless the endpoint accepted the test.
fn accepted(webhook: WebhookId, test: TestDelivery) -> Result<(), CliError> {
    if test.delivered {
        return Ok(());
    }
    let took = format::duration(Duration::from_millis(test.attempt.duration_ms));
    let reason = match test.attempt.error {
        Some(error) => format!("{} (after {took})", format::short(&error)),
        None => format!("the endpoint did not accept it (after {took})"),
    };
    Err(CliError::TestNotDelivered { webhook, reason })
}
