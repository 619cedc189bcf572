//! One exchange with an endpoint.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use deia_ledger::StoreError;
use deia_model::{MessageId, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::{
    HiveError,
    config::{Config, Settings, WebhookSettings},
    outgoing::{
        Exchange, ExchangeError, ExchangeLimits, OutgoingClient, OutgoingOptions, ReachPolicy,
        SystemLookup,
        signature::{SigningKey, sign},
        system_tls,
    },
};

/// Size of the head of a response that is accepted, in bytes. Fact: RFC 9110, 5.4: a
/// client limits the fields that it processes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Returns what the settings let endpoints reach.
pub(super) fn policy_of(settings: &WebhookSettings) -> ReachPolicy {
    ReachPolicy {
        allow_http: settings.allow_http,
        allow_ports: settings.allow_ports.clone(),
        allow_networks: settings.allow_networks.clone(),
        ..ReachPolicy::new("webhooks")
    }
}

/// A message that is ready to be sent.
pub(super) struct Message<'a> {
    pub(super) url: &'a str,
    pub(super) id: MessageId,
    pub(super) body: Bytes,
    pub(super) keys: &'a [SigningKey],
    /// Further headers of the endpoint.
    pub(super) headers: &'a HeaderMap,
}

/// The way to all endpoints.
pub(super) struct Sender {
    settings: Settings,
    client: OnceCell<OutgoingClient>,
    /// The settings that the client's policy was made of.
    followed: ArcSwapOption<Config>,
    permits: Arc<Semaphore>,
}

impl Sender {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        let permits = settings.get().webhooks.max_in_flight as usize;
        Arc::new(Self {
            settings,
            client: OnceCell::new(),
            followed: ArcSwapOption::empty(),
            permits: Arc::new(Semaphore::new(permits)),
        })
    }

    /// Takes one of the places for deliveries under way; `None`: all are taken.
    pub(super) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_owned().ok()
    }

    /// Returns the client with the policy of the settings in force.
    async fn client(&self) -> Result<&OutgoingClient, HiveError> {
        let config = self.settings.get();
        let policy = || policy_of(&config.webhooks);
        let failed = |error: &dyn std::fmt::Display| {
            HiveError::Internal(format!("the client of webhooks cannot be created: {error}"))
        };
        let make = || async {
            // The certificates that this machine trusts are files.
            let tls = tokio::task::spawn_blocking(system_tls).await;
            let tls = tls
                .map_err(|error| failed(&error))?
                .map_err(|error| failed(&error))?;
            let options = OutgoingOptions {
                max_idle_per_host: 64,
                ..OutgoingOptions::default()
            };
            let lookup = Arc::new(SystemLookup::new(config.webhooks.lookups.into()));
            OutgoingClient::new(policy(), options, tls, lookup).map_err(|error| failed(&error))
        };
        let client = self.client.get_or_try_init(make).await?;
        let followed = self.followed.load();
        if !followed.as_ref().is_some_and(|it| Arc::ptr_eq(it, &config)) {
            client
                .set_policy(policy())
                .map_err(|error| failed(&error))?;
            self.followed.store(Some(config));
        }
        Ok(client)
    }

    /// Sends a message, signed now, and reads the answer.
    pub(super) async fn send(&self, message: Message<'_>) -> Exchange {
        let failed = |error: &dyn std::fmt::Display| Exchange {
            outcome: Err(ExchangeError::Request(error.to_string())),
            duration: Duration::ZERO,
        };
        let client = match self.client().await {
            Ok(client) => client,
            Err(error) => return failed(&error),
        };
        let target = match client.policy().check_url(message.url) {
            Ok(target) => target,
            Err(refusal) => {
                return Exchange {
                    outcome: Err(refusal.into()),
                    duration: Duration::ZERO,
                };
            }
        };
        let headers = match headers(&message, Timestamp::now()) {
            Ok(headers) => headers,
            Err(error) => return failed(&error),
        };
        let settings = &self.settings.get().webhooks;
        let limits = ExchangeLimits {
            deadline: settings.deadline,
            max_body_bytes: usize::try_from(settings.response_max_bytes.as_u64())
                .unwrap_or(usize::MAX),
            max_head_bytes: MAX_HEAD_BYTES,
            max_retry_after: settings.retry_after_max,
        };
        client.post(&target, headers, message.body, limits).await
    }
}

/// Returns the body of a response as text of no more bytes, and whether it was cut for that:
/// bytes that are no text are shown as U+FFFD, which is longer.
pub(super) fn text_of(body: &[u8]) -> (String, bool) {
    let mut text = String::from_utf8_lossy(body).replace('\0', "\u{fffd}");
    let max = body.len().min(text.len());
    let ends = (0..=max).rev().find(|at| text.is_char_boundary(*at));
    let end = ends.unwrap_or_default();
    let is_cut = end < text.len();
    text.truncate(end);
    (text, is_cut)
}

/// Returns the headers of a message. The timestamp and with it the signature belong to the
/// attempt: verifiers refuse old ones.
fn headers(message: &Message<'_>, now: Timestamp) -> Result<HeaderMap, StoreError> {
    let seconds = now.as_millis().div_euclid(1_000);
    let id = message.id.to_string();
    let signature = sign(&id, seconds, &message.body, message.keys);
    let mut headers = message.headers.clone();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in [
        ("webhook-id", id),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", signature),
    ] {
        // All three are ASCII.
        let value =
            HeaderValue::from_str(&value).map_err(|error| StoreError::Failed(error.to_string()))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_is_shown_as_text_that_is_no_longer() {
        for (body, text, is_cut) in [
            (&b""[..], "", false),
            (b"ok", "ok", false),
            ("h\u{e9}".as_bytes(), "h\u{e9}", false),
            (b"\xff", "", true),
            (b"abc\0", "abc", true),
            (b"\xff\0ab", "\u{fffd}", true),
        ] {
            assert_eq!(text_of(body), (text.to_owned(), is_cut), "{body:?}");
        }
    }
}
