//! The request with a task.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use deia_ledger::ClaimedTask;
use deia_model::{HttpExecutor, LeaseToken, Priority, SessionId, TaskId, Timestamp};
use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde::Serialize;

use crate::{
    bots::service::{Credentials, plain_headers},
    outgoing::{
        OutgoingRequest,
        signature::{SigningKey, WebhookSecret, sign},
    },
};

/// The body of a request.
#[derive(Serialize)]
struct Body<'a> {
    task_id: TaskId,
    attempt: u32,
    lease_token: LeaseToken,
    #[serde(rename = "type")]
    task_type: &'a str,
    content: &'a str,
    metadata: &'a BTreeMap<String, serde_json::Value>,
    tags: &'a [String],
    priority: Priority,
    /// Time at which the hive gives the attempt up.
    deadline_at: Timestamp,
    /// The session that the task belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<SessionId>,
    /// The task in the API of the hive: `/complete`, `/fail`, `/heartbeat` and `/output` are below.
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<String>,
}

/// Facts of a request that are not in its task.
pub(super) struct Sent {
    /// Time for the answer.
    pub(super) limit: Duration,
    /// Address of the hive, if it is known.
    pub(super) hive: Option<String>,
}

/// Returns the request for an attempt.
///
/// # Errors
/// A secret of the bot cannot be used as it is meant.
pub(super) fn of(
    spec: &HttpExecutor,
    claimed: &ClaimedTask,
    credentials: &Credentials,
    sent: &Sent,
) -> Result<OutgoingRequest, String> {
    let task = &claimed.task;
    let now = Timestamp::now();
    let millis = u64::try_from(sent.limit.as_millis()).unwrap_or(u64::MAX);
    let body = serde_json::to_vec(&Body {
        task_id: task.id,
        attempt: task.attempt,
        lease_token: claimed.lease,
        task_type: task.task_type.as_str(),
        content: task.content.as_deref().unwrap_or_default(),
        metadata: &task.metadata,
        tags: &task.tags,
        priority: task.priority,
        deadline_at: now.plus_millis(millis),
        session_id: task.session_id,
        callback_url: sent
            .hive
            .as_ref()
            .map(|hive| format!("{hive}/api/v1/tasks/{}", task.id)),
    });
    let body = body.map_err(|error| format!("the task cannot be written as JSON: {error}"))?;
    let mut headers = plain_headers(&spec.headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        ACCEPT,
        HeaderValue::from_static("application/json, text/plain"),
    );
    let trace = task.traceparent.as_deref();
    if let Some(trace) = trace.and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(HeaderName::from_static("traceparent"), trace);
    }
    credentials.add_headers(&mut headers)?;
    if let Some(secret) = credentials.get(HttpExecutor::SIGNING_SECRET) {
        // The same whenever the request is made again, so that a service can tell.
        let id = format!("{}-{}", task.id, task.attempt);
        add_signature(&mut headers, secret, &id, now, &body)?;
    }
    Ok(OutgoingRequest {
        method: Method::POST,
        headers,
        body: Bytes::from(body),
    })
}

/// Adds the headers of Standard Webhooks.
fn add_signature(
    headers: &mut HeaderMap,
    secret: &str,
    id: &str,
    now: Timestamp,
    body: &[u8],
) -> Result<(), String> {
    let unfit = |error: &dyn std::fmt::Display| {
        format!(
            "the secret {} cannot sign: {error}",
            HttpExecutor::SIGNING_SECRET
        )
    };
    let secret = WebhookSecret::parse_or_raw(secret).map_err(|error| unfit(&error))?;
    let key = SigningKey::new(&secret).map_err(|error| unfit(&error))?;
    let seconds = now.as_millis().div_euclid(1_000);
    for (name, value) in [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", sign(id, seconds, body, &[key])),
    ] {
        // All three are ASCII.
        let value = HeaderValue::from_str(&value).map_err(|error| unfit(&error))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(())
}
