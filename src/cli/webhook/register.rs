//! Registration, change, and the secrets that they show once.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use deia_client::{ClientError, PutIf, RotateWebhookSecretRequest};
use deia_model::{WebhookId, WebhookWithSecret};

use super::{
    Which,
    settings::{Clear, SettingsArgs},
    view,
};
use crate::cli::{context::Context, error::CliError, events, parse, secret_file::SecretFile};

/// Arguments of a registration.
#[derive(Debug, Args)]
pub(in crate::cli) struct RegisterArgs {
    /// The address that deliveries are posted to. It is https and public, unless the
    /// settings webhooks.allow_http and webhooks.allow_networks say otherwise.
    #[arg(value_name = "URL")]
    address: String,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Makes a repeated command harmless: the same key and arguments register one
    /// endpoint.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    to: ToArgs,
}

/// Arguments of a change.
#[derive(Debug, Args)]
pub(in crate::cli) struct ChangeArgs {
    #[command(flatten)]
    which: Which,
    /// The URL that deliveries are posted to.
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// A setting to clear; repeat for more.
    #[arg(long, value_enum, value_name = "SETTING")]
    clear: Vec<Clear>,
    /// Only if the endpoint still has this version, as `webhook show` prints it.
    #[arg(long, value_name = "VERSION", value_parser = parse::whole(1..=u64::MAX))]
    if_version: Option<u64>,
}

/// Arguments of a rotation.
#[derive(Debug, Args)]
pub(in crate::cli) struct RotateArgs {
    #[command(flatten)]
    which: Which,
    /// Time for which the previous secret signs as well, such as 1h, at most 7days; the
    /// setting webhooks.secret_overlap when absent.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    overlap: Option<Duration>,
    #[command(flatten)]
    to: ToArgs,
}

/// Destination of a secret.
#[derive(Debug, Args)]
struct ToArgs {
    /// Write the secret into this new file, readable by you alone, and do not show it.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl RegisterArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        tell_of_unknown(context, &self.settings);
        let new = self.settings.new_webhook(self.address)?;
        let key = self.idempotency_key.as_deref();
        let making = context.client.register_webhook(&new, key);
        self.to.hand_over(context, making, "is registered").await?;
        Ok(())
    }
}

impl ChangeArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        tell_of_unknown(context, &self.settings);
        let (out, id) = (&context.out, self.which.id);
        let change = self.settings.change(self.address, &self.clear)?;
        let when = self.if_version.map_or(PutIf::Always, PutIf::Version);
        let changed = context.client.change_webhook(id, &change, when).await?;
        if changed.secret.is_some() {
            out.note(SHOWN_ONCE);
        }
        let shown = out.one(&changed, |look| view::with_secret(&changed, look));
        match changed.secret {
            Some(_) => shown.map_err(|error| lost(id, "is changed", error)),
            None => shown,
        }
    }
}

impl RotateArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let request = RotateWebhookSecretRequest {
            overlap_seconds: self.overlap.map(|overlap| overlap.as_secs()),
        };
        let making = context
            .client
            .rotate_webhook_secret(self.which.id, &request);
        let made = self
            .to
            .hand_over(context, making, "has a new secret")
            .await?;
        context.out.note(&match made.webhook.old_secret_until {
            Some(until) => format!("the previous secret signs as well until {until}"),
            None => "the previous secret signs no more".to_owned(),
        });
        Ok(())
    }
}

const SHOWN_ONCE: &str =
    "the secret is shown this once; keep it where only the receiver can read it";

/// Reports actions that this program does not know.
fn tell_of_unknown(context: &Context, settings: &SettingsArgs) {
    for action in &settings.events {
        events::tell_of_unknown(&context.out, action);
    }
}

impl ToArgs {
    /// Shows a secret this once, or writes it into a file. `done` says what has been
    /// done to the endpoint.
    async fn hand_over(
        self,
        context: &Context,
        making: impl Future<Output = Result<WebhookWithSecret, ClientError>>,
        done: &str,
    ) -> Result<WebhookWithSecret, CliError> {
        let out = &context.out;
        let Some(path) = self.to else {
            let made = making.await?;
            out.note(match made.secret {
                Some(_) => SHOWN_ONCE,
                None => NO_SECRET,
            });
            let shown = out.one(&made, |look| view::with_secret(&made, look));
            shown.map_err(|error| lost(made.webhook.id, done, error))?;
            return Ok(made);
        };
        let file = SecretFile::create(path)?;
        let made = match making.await {
            Ok(made) => made,
            Err(error) => {
                file.discard();
                return Err(error.into());
            }
        };
        let id = made.webhook.id;
        match &made.secret {
            Some(secret) => {
                let path = file.write(secret).map_err(|error| lost(id, done, error))?;
                out.note(&format!("the secret is in {}", path.display()));
            }
            None => {
                file.discard();
                out.note(NO_SECRET);
            }
        }
        out.one(&made.webhook, |look| view::details(&made.webhook, look))?;
        Ok(made)
    }
}

const NO_SECRET: &str = "there is no shared secret: deliveries are verified with the public key";

/// Reports a secret that was made and that nobody will ever see.
fn lost(id: WebhookId, done: &str, error: CliError) -> CliError {
    CliError::NotShown {
        done: format!("{id} {done}"),
        next: format!("get another secret: deia webhook rotate-secret {id} --overlap 0s"),
        error: Box::new(error),
    }
}
