//! Files of the audit trail, as any client of C2SP `tlog-tiles` reads them below
//! `/api/audit/log`.

use deia_trail::tile::TileId;

use crate::http::{
    body::{
        answer::Answer,
        cached::{Cacheable, cached},
        problem::Problem,
    },
    context::RequestCtx,
    operation::describe,
};

/// Each answer has to be compared with what the server has now.
const ALWAYS_ASK: &str = "no-cache";
/// A tile of one width never changes. Only callers with access may have it, so no shared cache
/// keeps it.
const FOREVER: &str = "private, max-age=31536000, immutable";

describe! { checkpoint:
    params(("If-None-Match" = Option<String>, Header, description = "The ETag of a checkpoint that the client has")),
    responses(
        (status = 200, description = "The newest checkpoint, as <https://c2sp.org/tlog-checkpoint> defines it", body = String, content_type = "text/plain",
            headers(("ETag" = String, description = "Changes with the checkpoint"))),
        (status = 304, description = "The client has it already"),
    )
}
pub(crate) async fn checkpoint(call: RequestCtx) -> Answer {
    let checkpoint = call.hive().audit().checkpoint().await?.checkpoint;
    cached(
        call.request(),
        Cacheable {
            content_type: "text/plain; charset=utf-8",
            cache_control: ALWAYS_ASK,
            bytes: checkpoint.into_bytes(),
        },
    )
}

describe! { tile:
    params(
        ("path" = String, Path, description = "The name of a tile below `tile/`, such as `0/x001/234`, `0/000.p/17` or `entries/005`"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of a tile that the client has"),
    ),
    responses(
        (status = 200, description = "A tile of hashes or a bundle of entries, as <https://c2sp.org/tlog-tiles> defines them, of exactly the width that was asked for. It never changes while the origin of the checkpoint stays the same; another origin is another log", body = String, content_type = "application/octet-stream",
            headers(("ETag" = String, description = "Identifies the bytes"))),
        (status = 304, description = "The client has it already"),
    )
}
pub(crate) async fn tile(call: RequestCtx) -> Answer {
    let path = call.path_param("path");
    let id: TileId = format!("tile/{path}")
        .parse()
        .map_err(|_| Problem::not_found("tile", &path))?;
    let bytes = call.hive().audit().tile(id).await?;
    cached(
        call.request(),
        Cacheable {
            content_type: "application/octet-stream",
            cache_control: FOREVER,
            bytes,
        },
    )
}
