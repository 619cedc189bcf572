//! Webhooks: endpoints outside of the hive that get its events.

mod body;
pub(crate) mod deliveries;
pub(crate) mod replays;

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::LOCATION},
};
use deia_client::{DisableWebhookRequest, Items, RotateWebhookSecretRequest};
use deia_model::{
    EventType, NewWebhook, Page, TestDelivery, Webhook, WebhookChange, WebhookId, WebhookWithSecret,
};

use crate::http::{
    api::parameters::{ETagOrAny, IdempotencyKey},
    body::{
        answer::{Answer, ok, with_header},
        etag::versioned,
        json::decode,
        problem::{Problem, refuse_secret},
    },
    context::RequestCtx,
    operation::describe,
};

describe! { register:
    params(("Idempotency-Key" = Option<IdempotencyKey>, Header, description = "1 to 255 visible ASCII characters: the same key and body register one endpoint only; a repetition is answered with the same secret")),
    request_body = NewWebhook,
    responses((status = 201, description = "Registered; the endpoint gets all later events. The \
        secret is in this answer only", body = WebhookWithSecret,
        headers(("ETag" = String, description = "The version of the endpoint"),
                ("Location" = String, description = "The endpoint"))))
}
pub(crate) async fn register(mut call: RequestCtx) -> Answer {
    let bytes = call.bytes().await?;
    let idempotency = call.idempotency(&bytes)?;
    let new = body::new(&bytes)?;
    refuse_secrets(Some(&new.url), Some(&new.description))?;
    let (hive, who) = (call.hive(), &call.who);
    let made = hive.webhooks().register(who, new, idempotency).await?;
    let answer = versioned(StatusCode::CREATED, &made, made.webhook.version)?;
    let place = format!("/api/v1/webhooks/{}", made.webhook.id);
    with_header(answer, LOCATION, &place)
}

describe! { list:
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000; 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "Endpoints, without their secrets. A caller who sees only its own tasks sees only its own endpoints", body = Page<Webhook>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    ok(&call.hive().webhooks().list(&call.who, call.page()?).await?)
}

describe! { event_types:
    responses((status = 200, description = "The actions that endpoints can subscribe to. The \
        part before the first dot is a kind, which can be subscribed to as well", body = Items<EventType>))
}
pub(crate) async fn event_types(call: RequestCtx) -> Answer {
    let items = call.hive().webhooks().event_types().await?;
    ok(&Items { items })
}

describe! { get:
    params(("id" = WebhookId, Path, description = "The endpoint")),
    responses((status = 200, description = "The endpoint, without its secret", body = Webhook,
        headers(("ETag" = String, description = "The version of the endpoint"))))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let webhook = call.hive().webhooks().get(&call.who, id(&call)?).await?;
    versioned(StatusCode::OK, &webhook, webhook.version)
}

describe! { change:
    params(
        ("id" = WebhookId, Path, description = "The endpoint"),
        ("If-Match" = Option<ETagOrAny>, Header, description = "ETag of the version to change; \
            `*`: any"),
    ),
    request_body = WebhookChange,
    responses((status = 200, description = "Changed; applies to attempts that begin later. There \
        is a secret only if the change added the signature `v1`, and it is in this answer only", body = WebhookWithSecret,
        headers(("ETag" = String, description = "The version of the endpoint"))))
}
pub(crate) async fn change(mut call: RequestCtx) -> Answer {
    let change = body::change(&call.bytes().await?)?;
    refuse_secrets(change.url.as_deref(), change.description.as_deref())?;
    let id = id(&call)?;
    let version = expected_version(&call, id).await?;
    let (hive, who) = (call.hive(), &call.who);
    let changed = hive.webhooks().change(who, id, change, version).await?;
    versioned(StatusCode::OK, &changed, changed.webhook.version)
}

describe! { delete:
    params(
        ("id" = WebhookId, Path, description = "The endpoint"),
        ("If-Match" = Option<ETagOrAny>, Header, description = "ETag of the version to remove; \
            `*`: any"),
    ),
    responses((status = 204, description = "Removed with its secret, its deliveries and its replays; no attempt begins any more"))
}
pub(crate) async fn delete(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let id = id(&call)?;
    let version = expected_version(&call, id).await?;
    let (hive, who) = (call.hive(), &call.who);
    hive.webhooks().delete(who, id, version).await?;
    Ok(HttpResponse::NoContent().finish())
}

describe! { enable:
    params(("id" = WebhookId, Path, description = "The endpoint")),
    responses((status = 200, description = "Enabled; the endpoint gets all later events. \
        `missed` has the periods whose events it did not get; they can be replayed", body = Webhook,
        headers(("ETag" = String, description = "The version of the endpoint"))))
}
pub(crate) async fn enable(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let (hive, who) = (call.hive(), &call.who);
    let webhook = hive.webhooks().enable(who, id(&call)?).await?;
    versioned(StatusCode::OK, &webhook, webhook.version)
}

describe! { disable:
    params(("id" = WebhookId, Path, description = "The endpoint")),
    request_body = Option<DisableWebhookRequest>,
    responses((status = 200, description = "Disabled; no attempt begins any more", body = Webhook,
        headers(("ETag" = String, description = "The version of the endpoint"))))
}
pub(crate) async fn disable(mut call: RequestCtx) -> Answer {
    let body = call.optional_bytes().await?;
    let DisableWebhookRequest { reason } = match body.is_empty() {
        true => DisableWebhookRequest::default(),
        false => decode(&body)?,
    };
    refuse_secret("/reason", reason.as_deref())?;
    let (hive, who) = (call.hive(), &call.who);
    let webhook = hive.webhooks().disable(who, id(&call)?, reason).await?;
    versioned(StatusCode::OK, &webhook, webhook.version)
}

describe! { rotate:
    params(("id" = WebhookId, Path, description = "The endpoint")),
    request_body = Option<RotateWebhookSecretRequest>,
    responses((status = 200, description = "The new secret, which is in this answer only; during \
        the overlap deliveries are signed with the previous one as well", body = WebhookWithSecret,
        headers(("ETag" = String, description = "The version of the endpoint"))))
}
pub(crate) async fn rotate(mut call: RequestCtx) -> Answer {
    let body = call.optional_bytes().await?;
    let body: RotateWebhookSecretRequest = match body.is_empty() {
        true => RotateWebhookSecretRequest::default(),
        false => decode(&body)?,
    };
    let overlap = body.overlap_seconds.map(Duration::from_secs);
    let (hive, who) = (call.hive(), &call.who);
    let rotated = hive.webhooks().rotate(who, id(&call)?, overlap).await?;
    versioned(StatusCode::OK, &rotated, rotated.webhook.version)
}

describe! { test:
    params(("id" = WebhookId, Path, description = "The endpoint")),
    responses((status = 200, description = "The outcome of one signed delivery of the type \
        `webhook.test`, sent now, even if the endpoint is disabled. It counts neither as success \
        nor as failure", body = TestDelivery))
}
pub(crate) async fn test(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let (hive, who) = (call.hive(), &call.who);
    ok(&hive.webhooks().test(who, id(&call)?).await?)
}

fn id(call: &RequestCtx) -> Result<WebhookId, Problem> {
    call.id("webhook")
}

/// Returns the version on which an endpoint is changed or removed.
async fn expected_version(call: &RequestCtx, id: WebhookId) -> Result<Option<u64>, Problem> {
    let current = async || Ok(call.hive().webhooks().get(&call.who, id).await?.version);
    call.precondition()?.of_existing(current).await
}

/// Refuses secrets in the settings that are shown.
fn refuse_secrets(url: Option<&str>, description: Option<&str>) -> Result<(), Problem> {
    refuse_secret("/url", url)?;
    refuse_secret("/description", description)
}
