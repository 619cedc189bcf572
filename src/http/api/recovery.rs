//! The archive of the hive, its restore points, and restores.

use std::path::PathBuf;

use actix_web::http::StatusCode;
use deia_client::RestorePointId;
use deia_hive::{RestorePlace, RestoreRequest};
use deia_model::{NewRestore, Page, PointId, RecoveryJob, RecoveryStatus, RestorePoint, Violation};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::{
    body::{
        answer::{Answer, json, ok},
        json::Object,
        problem::{Problem, refuse_secret},
    },
    context::RequestCtx,
    operation::describe,
};

/// The name of a new restore point.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabelBody {
    /// A name for people, at most 200 characters; none when absent.
    #[serde(default)]
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    label: Option<String>,
}

/// The point to restore for practice.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrillBody {
    /// The restore point; the newest when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^point_[0-7][0-9a-hjkmnp-tv-z]{25}$", example = "point_01h455vb4pex5vsknk084sn02q")]
    point: Option<PointId>,
}

describe! { status:
    responses((status = 200, description = "The state of the archive", body = RecoveryStatus))
}
pub(crate) async fn status(call: RequestCtx) -> Answer {
    ok(&call.hive().recovery().status())
}

describe! { history:
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000; 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "Restore points, newest first. They are kept for `recovery.retention`", body = Page<RestorePoint>))
}
pub(crate) async fn history(call: RequestCtx) -> Answer {
    let page = call.page()?;
    ok(&call.hive().recovery().page(&page)?)
}

describe! { point:
    params(("id" = String, Path, description = "The id of the restore point")),
    responses((status = 200, description = "The restore point", body = RestorePoint))
}
pub(crate) async fn point(call: RequestCtx) -> Answer {
    let id: PointId = call.id("restore point")?;
    ok(&call.hive().recovery().point(id)?)
}

describe! { mark:
    request_body = LabelBody,
    responses((status = 201, description = "The id of the new point", body = RestorePointId))
}
pub(crate) async fn mark(mut call: RequestCtx) -> Answer {
    let Object(LabelBody { label }) = call.body().await?;
    refuse_secret("/label", label.as_deref())?;
    let id = call
        .hive()
        .recovery()
        .restore_point(&call.who, label)
        .await?;
    json(StatusCode::CREATED, &RestorePointId { id })
}

describe! { backup:
    request_body = LabelBody,
    responses((status = 202, description = "The id of the point; it is listed once its snapshot \
        is complete", body = RestorePointId))
}
pub(crate) async fn backup(mut call: RequestCtx) -> Answer {
    let Object(LabelBody { label }) = call.body().await?;
    refuse_secret("/label", label.as_deref())?;
    let id = call.hive().recovery().backup(&call.who, label)?;
    json(StatusCode::ACCEPTED, &RestorePointId { id })
}

/// Word for the newest restorable moment, in place of a restore point.
const NEWEST: &str = "newest";

describe! { restore:
    params(("id" = String, Path, description = "The id of the restore point to restore, or to go \
        on from; `newest`: the newest commit of the archive, or any moment in it")),
    request_body = NewRestore,
    responses((status = 202, description = "The job; its end is in the status. A restore in \
        place restarts the hive when the restored store is whole, and keeps the replaced one. \
        The queue and the webhooks are paused until resume, unless `go` is true", body = RecoveryJob))
}
pub(crate) async fn restore(mut call: RequestCtx) -> Answer {
    let asked: NewRestore = call.body().await?;
    let point = match &*call.path_param("id") {
        NEWEST => None,
        _ => Some(call.id("restore point")?),
    };
    let place = match asked.to.as_str() {
        "in_place" => RestorePlace::InPlace,
        dir if dir.starts_with('/') => RestorePlace::Directory(PathBuf::from(dir)),
        _ => {
            let detail = "must be in_place, or the absolute path of a new directory";
            return Err(Problem::invalid(vec![Violation {
                pointer: "/to".to_owned(),
                detail: detail.to_owned(),
            }]));
        }
    };
    let request = RestoreRequest {
        point,
        moment: asked.moment().map_err(Problem::invalid)?,
        place,
        go: asked.go,
    };
    let job = call.hive().restore(&call.who, request).await?;
    json(StatusCode::ACCEPTED, &job)
}

describe! { verify:
    responses((status = 202, description = "The job; its result is in the status", body = RecoveryJob))
}
pub(crate) async fn verify(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let job = call.hive().recovery().verify(&call.who)?;
    json(StatusCode::ACCEPTED, &job)
}

describe! { drill:
    request_body = DrillBody,
    responses((status = 202, description = "The job; its result is in the status. Nothing of \
        the running hive is touched", body = RecoveryJob))
}
pub(crate) async fn drill(mut call: RequestCtx) -> Answer {
    let Object(DrillBody { point }) = call.body().await?;
    let job = call.hive().recovery().drill(&call.who, point)?;
    json(StatusCode::ACCEPTED, &job)
}

describe! { resume:
    responses((status = 200, description = "The state of the archive; the queue and the webhooks \
        work again", body = RecoveryStatus))
}
pub(crate) async fn resume(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    ok(&call.hive().recovery().resume(&call.who).await?)
}

describe! { mark_shutdown:
    responses((status = 200, description = "The state of the archive; the next start reports no \
        crash", body = RecoveryStatus))
}
pub(crate) async fn mark_shutdown(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    ok(&call.hive().recovery().mark_shutdown(&call.who).await?)
}
