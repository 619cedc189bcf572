//! Interface of webhooks to callers.

mod deliveries;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use deia_ledger::{
    ChangeWebhook, DeleteWebhook, DisableWebhook, EnableWebhook, Idempotency, Ledger,
    RegisterWebhook, Rejection, StoredWebhook, WebhookLimits, WebhookOwner,
};
use deia_model::{
    Credential, DisableReason, EventType, MessageId, NewWebhook, Page, PageRequest, Permission,
    Principal, SecretName, TestDelivery, Timestamp, Violation, Webhook, WebhookChange, WebhookId,
    WebhookWithSecret,
};
use tokio::sync::Semaphore;

use super::{
    endpoint::prepare::header_map,
    keys::EndpointKeys,
    payload,
    sender::{Message, policy_of},
    shared::Shared,
};
use crate::{HiveError, access::AccessApi};

/// Interface to webhooks.
#[derive(Clone)]
pub struct WebhooksApi {
    ledger: Ledger,
    access: AccessApi,
    shared: Shared,
    tests: Arc<Semaphore>,
}

fn invalid(pointer: &str, detail: impl Into<String>) -> HiveError {
    HiveError::Invalid(vec![Violation {
        pointer: pointer.into(),
        detail: detail.into(),
    }])
}

impl WebhooksApi {
    pub(super) fn new(access: &AccessApi, shared: Shared) -> Self {
        Self {
            ledger: shared.ledger.clone(),
            access: access.clone(),
            tests: Arc::new(Semaphore::new(
                shared.settings.get().webhooks.max_tests as usize,
            )),
            shared,
        }
    }

    /// Registers an endpoint of the caller. It gets the events from now on. The answer has
    /// its secret, which is not shown again but to a repeated request.
    ///
    /// # Errors
    /// [`HiveError::Invalid`]; a conflict if there are as many endpoints as may be; an
    /// idempotency mismatch.
    pub async fn register(
        &self,
        who: &Principal,
        new: NewWebhook,
        idempotency: Option<Idempotency>,
    ) -> Result<WebhookWithSecret, HiveError> {
        if matches!(who.credential, Credential::WebSession { key: None, .. }) {
            let detail = "a session that was opened with a token registers no webhooks: use the token itself";
            return Err(invalid("", detail));
        }
        may_read_events(who)?;
        let config = self.shared.settings.get();
        let mut violations = new.violations();
        violations.extend(self.url_fault(&new.url));
        violations.extend(foreign_owner(who, &new.owners));
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let id = WebhookId::new();
        let (spec, headers) = new.split();
        let keys = EndpointKeys::generate(&spec.signatures, headers)?;
        let command = RegisterWebhook {
            id,
            secret: keys.seal(id, &self.shared.sealing)?,
            spec,
            owner: owner_of(who),
            limits: WebhookLimits {
                max: config.webhooks.max,
                max_per_owner: config.webhooks.max_per_owner,
            },
            idempotency,
        };
        let stored = self.access.apply_for(who, command).await?;
        // A repeated request gets the endpoint of the first one.
        let keys = match stored.webhook.id == id {
            true => keys,
            false => self.keys_of(stored.webhook.id).await?,
        };
        Ok(with_secret(stored.webhook, &keys, true))
    }

    /// Returns the endpoints that the caller may see, the newest first.
    ///
    /// # Errors
    /// [`HiveError::BadCursor`].
    pub async fn list(
        &self,
        who: &Principal,
        page: PageRequest,
    ) -> Result<Page<Webhook>, HiveError> {
        let only_own = who.role.sees_only_its_own().then(|| who.user.to_string());
        let found = self.ledger.webhooks(only_own, page).await?;
        let shown = found.items.into_iter().map(|stored| self.shown(stored));
        Ok(Page {
            items: shown.collect(),
            next_cursor: found.next_cursor,
        })
    }

    /// Returns an endpoint.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn get(&self, who: &Principal, id: WebhookId) -> Result<Webhook, HiveError> {
        let stored = self.stored(who, id).await?;
        Ok(self.shown(stored))
    }

    /// Changes an endpoint, with effect on the next delivery. The answer has the secret if
    /// the change has made one.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], [`HiveError::Invalid`]; a conflict if the stored version is
    /// another.
    pub async fn change(
        &self,
        who: &Principal,
        id: WebhookId,
        change: WebhookChange,
        if_version: Option<u64>,
    ) -> Result<WebhookWithSecret, HiveError> {
        may_read_events(who)?;
        let before = self.stored(who, id).await?;
        let mut violations = change.violations(&before.webhook.spec);
        violations.extend(exposed_headers(&before.webhook, &change));
        violations.extend(change.url.as_deref().and_then(|url| self.url_fault(url)));
        violations.extend(foreign_owner(who, change.owners.as_deref().unwrap_or(&[])));
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let spec = before.webhook.spec.changed(&change);
        let mut keys = self.keys_of(id).await?;
        let is_new = keys.set_schemes(&spec.signatures)?;
        if let Some(headers) = change.headers.clone() {
            keys.headers = deia_model::lower_case(headers);
        }
        let needs_keys = change.headers.is_some() || change.signatures.is_some();
        let secret = match needs_keys {
            true => Some(keys.seal(id, &self.shared.sealing)?),
            false => None,
        };
        let command = ChangeWebhook {
            id,
            spec,
            secret,
            // The settings that were checked here must be those that are changed.
            if_version: if_version.or(Some(before.webhook.version)),
            actor: who.user.to_string(),
            rotated: false,
        };
        let stored = self.access.apply_for(who, command).await?;
        Ok(with_secret(self.shown(stored), &keys, is_new))
    }

    /// Deletes an endpoint with its deliveries.
    ///
    /// # Errors
    /// [`HiveError::NotFound`]; a conflict if the stored version is another.
    pub async fn delete(
        &self,
        who: &Principal,
        id: WebhookId,
        if_version: Option<u64>,
    ) -> Result<(), HiveError> {
        self.stored(who, id).await?;
        let command = DeleteWebhook {
            id,
            if_version,
            actor: who.user.to_string(),
        };
        Ok(self.access.apply_for(who, command).await?)
    }

    /// Enables an endpoint. It gets the events from now on; those that it missed can be
    /// replayed.
    ///
    /// # Errors
    /// [`HiveError::NotFound`].
    pub async fn enable(&self, who: &Principal, id: WebhookId) -> Result<Webhook, HiveError> {
        may_read_events(who)?;
        self.stored(who, id).await?;
        let actor = who.user.to_string();
        let command = EnableWebhook { id, actor };
        let stored = self.access.apply_for(who, command).await?;
        Ok(self.shown(stored))
    }

    /// Disables an endpoint.
    ///
    /// # Errors
    /// [`HiveError::NotFound`]; [`HiveError::Invalid`] if the reason is too long.
    pub async fn disable(
        &self,
        who: &Principal,
        id: WebhookId,
        reason: Option<String>,
    ) -> Result<Webhook, HiveError> {
        self.stored(who, id).await?;
        let detail = reason.unwrap_or_else(|| "on request".to_owned());
        if detail.chars().count() > 200 {
            return Err(invalid("/reason", "is longer than 200 characters"));
        }
        let command = DisableWebhook {
            id,
            reason: DisableReason::Requested,
            detail,
            actor: who.user.to_string(),
        };
        let stored = self.access.apply_for(who, command).await?;
        Ok(self.shown(stored))
    }

    /// Replaces the keys of an endpoint. Deliveries are signed with the previous keys as well
    /// for that time, or for `webhooks.secret_overlap`.
    ///
    /// # Errors
    /// [`HiveError::NotFound`]; [`HiveError::Invalid`] if the overlap is longer than
    /// `webhooks.secret_overlap_max`.
    pub async fn rotate(
        &self,
        who: &Principal,
        id: WebhookId,
        overlap: Option<Duration>,
    ) -> Result<WebhookWithSecret, HiveError> {
        let before = self.stored(who, id).await?;
        let config = self.shared.settings.get();
        let overlap = overlap.unwrap_or(config.webhooks.secret_overlap);
        let longest = config.webhooks.secret_overlap_max;
        if overlap > longest {
            let detail = format!(
                "is more than {} (webhooks.secret_overlap_max)",
                longest.as_secs()
            );
            return Err(invalid("/overlap_seconds", detail));
        }
        let mut keys = self.keys_of(id).await?;
        let ms = u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX);
        keys.rotate(Timestamp::now().plus_millis(ms))?;
        let command = ChangeWebhook {
            id,
            spec: before.webhook.spec,
            secret: Some(keys.seal(id, &self.shared.sealing)?),
            if_version: Some(before.webhook.version),
            actor: who.user.to_string(),
            rotated: true,
        };
        let stored = self.access.apply_for(who, command).await?;
        Ok(with_secret(self.shown(stored), &keys, true))
    }

    /// Sends a test event to an endpoint now, also if it is disabled, and returns the outcome.
    ///
    /// # Errors
    /// [`HiveError::NotFound`]; [`HiveError::Overloaded`] if too many tests are under way.
    pub async fn test(&self, who: &Principal, id: WebhookId) -> Result<TestDelivery, HiveError> {
        let stored = self.stored(who, id).await?;
        let permit = self.tests.clone().try_acquire_owned();
        let _permit = permit.map_err(|_| HiveError::Overloaded)?;
        let keys = self.keys_of(id).await?;
        let now = Timestamp::now();
        let message = MessageId::new();
        let body = payload::test_body(now, &id.to_string());
        let exchange = self
            .shared
            .sender
            .send(Message {
                url: &stored.webhook.spec.url,
                id: message,
                body: Bytes::from(body),
                keys: &keys.signing(now)?,
                headers: &header_map(&keys),
            })
            .await;
        Ok(deliveries::test_of(message, now, exchange))
    }

    /// Returns the types of events, with example payloads.
    ///
    /// # Errors
    /// None; the signature is that of the other reads.
    pub async fn event_types(&self) -> Result<Vec<EventType>, HiveError> {
        Ok(payload::event_types())
    }

    /// Returns an endpoint that the caller may see.
    async fn stored(&self, who: &Principal, id: WebhookId) -> Result<StoredWebhook, HiveError> {
        let found = self.ledger.webhook(id).await?;
        let only_own = who.role.sees_only_its_own();
        let seen = found.filter(|it| !only_own || *it.owner.user == *who.user);
        Ok(seen.ok_or(Rejection::NoSuchWebhook(id))?)
    }

    async fn keys_of(&self, id: WebhookId) -> Result<EndpointKeys, HiveError> {
        let secret = self.ledger.secret(SecretName::of_webhook(id)).await?;
        let secret = secret.ok_or(Rejection::NoSuchWebhook(id))?;
        EndpointKeys::open(id, &secret.sealed, &self.shared.sealing)
    }

    /// Returns an endpoint as it is shown, with its lag.
    fn shown(&self, stored: StoredWebhook) -> Webhook {
        let now = Timestamp::now();
        let mut webhook = stored.webhook;
        webhook.lag_ms = self.shared.feeds.lag_ms(webhook.id, now);
        webhook.old_secret_until = webhook.old_secret_until.filter(|until| *until > now);
        webhook
    }

    /// Returns the reason why an address cannot be reached.
    fn url_fault(&self, url: &str) -> Option<Violation> {
        let policy = policy_of(&self.shared.settings.get().webhooks);
        let refusal = policy.check_url(url).err()?;
        Some(Violation {
            pointer: "/url".into(),
            detail: format!("cannot be used: {refusal}"),
        })
    }
}

/// Refuses callers who could make events leave that they may not read themselves.
fn may_read_events(who: &Principal) -> Result<(), HiveError> {
    match who.may(Permission::EventRead) {
        true => Ok(()),
        false => Err(HiveError::MayNotGive(Permission::EventRead)),
    }
}

/// Returns the fault of a change that would send the secret values of headers to another host.
fn exposed_headers(before: &Webhook, change: &WebhookChange) -> Option<Violation> {
    let origin = |url: &str| url::Url::parse(url).ok().map(|url| url.origin());
    let moves = change
        .url
        .as_deref()
        .is_some_and(|url| origin(url) != origin(&before.spec.url));
    let keeps = change.headers.is_none() && !before.spec.headers.is_empty();
    (moves && keeps).then(|| Violation {
        pointer: "/headers".into(),
        detail: "must be given again when the webhook moves to another host: their values are secret; {} drops them".into(),
    })
}

/// Returns the fault of owners that the caller may not see.
fn foreign_owner(who: &Principal, owners: &[String]) -> Option<Violation> {
    let is_foreign = |owner: &String| who.role.sees_only_its_own() && **owner != *who.user;
    let at = owners.iter().position(is_foreign)?;
    Some(Violation {
        pointer: format!("/owners/{at}"),
        detail: "names another user, whose events you may not see".into(),
    })
}

fn owner_of(who: &Principal) -> WebhookOwner {
    let issuer = match &who.credential {
        Credential::Token { issuer, .. } => Some(issuer.to_string()),
        _ => None,
    };
    WebhookOwner {
        user: who.user.to_string(),
        role: who.role,
        issuer,
    }
}

fn with_secret(webhook: Webhook, keys: &EndpointKeys, is_shown: bool) -> WebhookWithSecret {
    let secret = keys.shared_secret().filter(|_| is_shown);
    WebhookWithSecret {
        secret: secret.map(String::from),
        webhook,
    }
}
