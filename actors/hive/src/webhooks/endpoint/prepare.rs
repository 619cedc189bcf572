//! The keys of an endpoint, and the rights of its owner, as the actor needs them.

use std::{sync::Arc, time::Duration};

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use deia_ledger::Rejection;
use deia_model::{SecretName, Timestamp};
use deia_supervision::Context;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{super::keys::EndpointKeys, EndpointActor, RETRY_AFTER, pause::Pause};
use crate::{HiveError, outgoing::signature::SigningKey};

/// Pause until the dispatcher has read a change of the endpoint. Fixed: a fault is not
/// tried in a loop, and its end is noticed soon.
const CHANGE_AFTER: Duration = Duration::from_millis(250);

/// The keys and headers of an endpoint, ready for use.
pub(super) struct Ready {
    /// Version of the endpoint that they belong to.
    version: u64,
    pub(super) keys: Vec<SigningKey>,
    pub(super) headers: HeaderMap,
    /// Time from which other keys sign.
    until: Option<Timestamp>,
}

impl EndpointActor {
    /// Returns whether the keys of the endpoint are at hand.
    pub(super) fn is_ready(&self, now: Timestamp) -> bool {
        let version = self.feed.endpoint.load().stored.webhook.version;
        self.ready.as_ref().is_some_and(|ready| {
            ready.version == version && ready.until.is_none_or(|until| until > now)
        })
    }

    /// Reads the keys of the endpoint and the rights of its owner, as far as they changed.
    pub(super) fn prepare(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_reading, true) {
            return;
        }
        let (shared, id) = (self.shared.clone(), self.id);
        let is_first = self.ready.is_none();
        let preparing = async move {
            shared.rights.refresh().await?;
            let stored = shared.ledger.webhook(id).await?;
            let stored = stored.ok_or(Rejection::NoSuchWebhook(id))?;
            let name = SecretName::of_webhook(id);
            let secret = shared.ledger.secret(name).await?;
            let secret = secret.ok_or(Rejection::NoSuchWebhook(id))?;
            let keys = EndpointKeys::open(id, &secret.sealed, &shared.sealing)?;
            let now = Timestamp::now();
            let ready = Ready {
                version: stored.webhook.version,
                keys: keys.signing(now)?,
                headers: header_map(&keys),
                until: keys.sign_until(now),
            };
            Ok::<_, HiveError>((stored, ready))
        };
        ctx.spawn(preparing.into_actor(self).map(move |prepared, this, ctx| {
            this.is_reading = false;
            match prepared {
                Ok((stored, ready)) => {
                    if stored.webhook.disabled.is_some() {
                        this.is_over = true;
                        return;
                    }
                    if is_first {
                        this.records.begin_with(&stored.webhook);
                        this.pause = Pause::after(stored.webhook.failures_in_a_row);
                    }
                    let known = this.feed.endpoint.load().stored.webhook.version;
                    if ready.version != known {
                        // The dispatcher has not read the change yet, and tells when it has.
                        return this.look_later(CHANGE_AFTER, ctx);
                    }
                    this.ready = Some(Arc::new(ready));
                    this.pump(ctx);
                }
                Err(HiveError::NotFound { .. }) => this.is_over = true,
                Err(error) => {
                    tracing::warn!(webhook = %this.id, %error, "a webhook cannot be prepared; retrying");
                    this.look_later(RETRY_AFTER, ctx);
                }
            }
        }));
    }
}

/// Returns the further headers of an endpoint. They were checked at registration.
pub(in super::super) fn header_map(keys: &EndpointKeys) -> HeaderMap {
    let headers = keys.headers.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    });
    headers.collect()
}
