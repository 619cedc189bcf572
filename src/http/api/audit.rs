//! The audit trail: its records, statistics, proofs, exports and files.

pub(crate) mod export;
mod filter;
pub(crate) mod tiles;
pub(crate) mod verify;

use actix_web::http::StatusCode;
use deia_client::{NewAuditEvent, RecordedAuditEvent};
use deia_hive::HiveError;
use deia_ledger::AppendExternal;
use deia_model::{
    AuditCheckpoint, AuditConsistency, AuditFilter, AuditPage, AuditProof, AuditStatistics,
    EventLevel, EventResult, TraceContext,
};
use serde_json::Value;

use self::filter::{
    ActorParameter, CommonParameters, LevelParameters, PageParameters, TargetParameter,
};
use crate::http::{
    api::{filter::point_in_time, parameters::IdempotencyKey},
    body::{
        answer::{Answer, json, ok},
        json::decode,
        problem::{Problem, refuse_secret},
    },
    context::RequestCtx,
    operation::describe,
};

describe! { append:
    params(("Idempotency-Key" = Option<IdempotencyKey>, Header, description = "1 to 255 visible ASCII characters: the same key and body record one event only; a repetition is answered with its number")),
    request_body = NewAuditEvent,
    responses((status = 201, description = "Recorded with the caller as its actor; the entry in the trail follows within moments", body = RecordedAuditEvent))
}
pub(crate) async fn append(mut call: RequestCtx) -> Answer {
    let bytes = call.bytes().await?;
    let idempotency = call.idempotency(&bytes)?;
    let new: NewAuditEvent = decode(&bytes)?;
    let details = new.details.map_or(Value::Null, Value::Object);
    refuse_secret("/target", Some(&new.target))?;
    refuse_secret("/details", Some(&details.to_string()))?;
    let trace = call.traceparent();
    let trace = trace.as_deref().and_then(TraceContext::parse);
    let event = AppendExternal {
        action: new.action,
        actor: call.who.user.to_string(),
        target: new.target,
        level: new.level.unwrap_or(EventLevel::Info),
        result: new.result.unwrap_or(EventResult::Success),
        details,
        trace_id: trace.map(|trace| trace.trace()),
        idempotency,
    };
    let seq = call.hive().audit().append(&call.who, event).await?;
    json(StatusCode::CREATED, &RecordedAuditEvent { seq })
}

describe! { query:
    params(ActorParameter, TargetParameter, LevelParameters, CommonParameters, PageParameters),
    responses((status = 200, description = "The records that match, with the names behind their pseudonyms and with their details, unless these were erased. A page may be short, or empty, and have a `next_cursor` all the same", body = AuditPage))
}
pub(crate) async fn query(call: RequestCtx) -> Answer {
    let filter = filter::from_query(&call)?;
    page(&call, filter).await
}

describe! { actor:
    params(
        ("id" = String, Path, min_length = 1, max_length = 512, description = "The actor: its name, or the pseudonym that entries have of it"),
        TargetParameter, LevelParameters, CommonParameters, PageParameters,
    ),
    responses((status = 200, description = "The matching records of the actor; none if there is \
        no such actor", body = AuditPage))
}
pub(crate) async fn actor(call: RequestCtx) -> Answer {
    let filter = AuditFilter {
        actor: Some(filter::name_in_path(&call)?),
        ..filter::from_query(&call)?
    };
    page(&call, filter).await
}

describe! { target:
    params(
        ("id" = String, Path, min_length = 1, max_length = 512, description = "The target: its id or name, or its pseudonym"),
        ActorParameter, LevelParameters, CommonParameters, PageParameters,
    ),
    responses((status = 200, description = "The matching records about the target; none if there \
        is no such target", body = AuditPage))
}
pub(crate) async fn target(call: RequestCtx) -> Answer {
    let filter = AuditFilter {
        target: Some(filter::name_in_path(&call)?),
        ..filter::from_query(&call)?
    };
    page(&call, filter).await
}

describe! { critical:
    params(ActorParameter, TargetParameter, CommonParameters, PageParameters),
    responses((status = 200, description = "The records of level `critical` that match", body = AuditPage))
}
pub(crate) async fn critical(call: RequestCtx) -> Answer {
    let filter = AuditFilter {
        level: Some(EventLevel::Critical),
        ..filter::from_query(&call)?
    };
    page(&call, filter).await
}

describe! { statistics:
    params(
        ("after" = Option<String>, Query, format = DateTime, description = "From the hour of this time on; from the first entry when absent"),
        ("before" = Option<String>, Query, format = DateTime, description = "Up to the hour of this time; up to the last entry when absent"),
    ),
    responses((status = 200, description = "Numbers of entries by action, actor, level, result and time", body = AuditStatistics))
}
pub(crate) async fn statistics(call: RequestCtx) -> Answer {
    let after = point_in_time(&call, "after")?;
    let before = point_in_time(&call, "before")?;
    ok(&call.hive().audit().statistics(after, before).await?)
}

describe! { proof:
    params(("index" = u64, Path, description = "Index of the entry in the trail")),
    responses((status = 200, description = "The entry, its details, and the proof that it is in the trail, for a third party that has the verifier key", body = AuditProof))
}
pub(crate) async fn proof(call: RequestCtx) -> Answer {
    let index = call.id_in("index", "entry")?;
    ok(&call.hive().audit().proof(index).await?)
}

describe! { consistency:
    params(
        ("from" = u64, Query, description = "The earlier size"),
        ("to" = Option<u64>, Query, description = "The later size; that of the newest checkpoint when absent"),
    ),
    responses((status = 200, description = "The proof that the trail of the earlier size is the beginning of that of the later size", body = AuditConsistency))
}
pub(crate) async fn consistency(call: RequestCtx) -> Answer {
    let from = call.query::<u64>("from")?;
    let from = from.ok_or_else(|| Problem::parameter("from", "is missing"))?;
    let to = call.query::<u64>("to")?;
    let proof = call.hive().audit().consistency(from, to).await;
    ok(&proof.map_err(of_parameters)?)
}

describe! { checkpoint:
    responses((status = 200, description = "The newest checkpoint, the verifier keys, and how far the trail is behind the events", body = AuditCheckpoint))
}
pub(crate) async fn checkpoint(call: RequestCtx) -> Answer {
    ok(&call.hive().audit().checkpoint().await?)
}

async fn page(call: &RequestCtx, filter: AuditFilter) -> Answer {
    let (order, page) = (filter::order(call)?, call.page()?);
    ok(&call.hive().audit().query(filter, order, page).await?)
}

/// Names the parameter that a violation is about: here nothing is in a body.
fn of_parameters(error: HiveError) -> Problem {
    match error {
        HiveError::Invalid(violations) if !violations.is_empty() => {
            let first = &violations[0];
            Problem::parameter(first.pointer.trim_start_matches('/'), &first.detail)
        }
        other => other.into(),
    }
}
