//! Verifications of the trail by the hive itself, and its key.

use actix_web::http::StatusCode;
use deia_client::AuditKey;
use deia_model::AuditVerifications;

use super::of_parameters;
use crate::http::{
    body::{
        answer::{Answer, json, ok},
        problem::Problem,
    },
    context::RequestCtx,
    operation::describe,
};

describe! { get:
    params(
        ("from" = Option<u64>, Query, description = "Index of the first entry of a range that is verified now; whole bundles of 256 entries are checked"),
        ("to" = Option<u64>, Query, description = "Index after the last entry of the range; at \
            most 65,536 more than from"),
    ),
    responses((status = 200, description = "The verification under way, the last one that ended, and the range that was asked for", body = AuditVerifications))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let range = match (call.query::<u64>("from")?, call.query::<u64>("to")?) {
        (None, None) => None,
        (Some(from), Some(to)) => Some((from, to)),
        (Some(_), None) => return Err(Problem::parameter("to", "is missing: from needs it")),
        (None, Some(_)) => return Err(Problem::parameter("from", "is missing: to needs it")),
    };
    let audit = call.hive().audit();
    let mut found = audit.verifications();
    if let Some((from, to)) = range {
        let report = audit.verify_range(from, to).await.map_err(of_parameters)?;
        found.range = Some(report);
    }
    ok(&found)
}

describe! { start:
    responses((status = 202, description = "The whole trail is being verified; GET shows the \
        progress and the result. A verification that has begun continues", body = AuditVerifications))
}
pub(crate) async fn start(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let audit = call.hive().audit();
    audit.verify(&call.who)?;
    json(StatusCode::ACCEPTED, &audit.verifications())
}

describe! { rotate:
    responses((status = 200, description = "The verifier key of the new key. One checkpoint is signed by both keys, later ones by the new one", body = AuditKey))
}
pub(crate) async fn rotate(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let key = call.hive().audit().rotate_key(&call.who).await?;
    ok(&AuditKey { key })
}
