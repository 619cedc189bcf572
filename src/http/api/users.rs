//! Users.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::LOCATION},
};
use deia_client::{Items, NewUserRequest, UserChangeRequest};
use deia_hive::NewUser;
use deia_model::{User, UserChange};

use crate::http::{
    api::parameters::{ETagOrAny, IdempotencyKey},
    body::{
        answer::{Answer, ok, with_header, with_replayed},
        etag::versioned,
        json::decode,
        problem::{Problem, refuse_secret},
    },
    context::RequestCtx,
    operation::describe,
};

describe! { list:
    responses((status = 200, description = "All users, by name", body = Items<User>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let items = call.hive().access().users().await?;
    ok(&Items { items })
}

describe! { create:
    params(("Idempotency-Key" = Option<IdempotencyKey>, Header, description = "1 to 255 visible ASCII characters: the same key and body give the same answer, once")),
    request_body = NewUserRequest,
    responses((status = 201, description = "Created; the user has no key yet", body = User,
        headers(("ETag" = String, description = "The version of the user"),
                ("Location" = String, description = "The user"),
                ("Idempotency-Replayed" = Option<bool>, description = "`true`: this repeats an earlier answer"))))
}
pub(crate) async fn create(mut call: RequestCtx) -> Answer {
    let bytes = call.bytes().await?;
    let idempotency = call.idempotency(&bytes)?;
    let NewUserRequest { id, role, active } = decode(&bytes)?;
    refuse_secret("/id", Some(&id))?;
    let (hive, who) = (call.hive(), &call.who);
    let NewUser { user, replayed } = hive
        .access()
        .create_user(who, id, role, active, idempotency)
        .await?;
    let answer = versioned(StatusCode::CREATED, &user, user.version)?;
    let answer = with_header(answer, LOCATION, &format!("/api/v1/users/{}", user.id))?;
    with_replayed(answer, replayed)
}

describe! { get:
    params(("id" = String, Path, description = "The user")),
    responses((status = 200, description = "The user", body = User,
        headers(("ETag" = String, description = "The version of the user"))))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let user = call.hive().access().user(&call.path_param("id")).await?;
    versioned(StatusCode::OK, &user, user.version)
}

describe! { change:
    params(
        ("id" = String, Path, description = "The user"),
        ("If-Match" = Option<ETagOrAny>, Header, description = "ETag of the version to change; \
            `*`: any"),
    ),
    request_body = UserChangeRequest,
    responses((status = 200, description = "Changed; applies immediately to all keys of the user", body = User,
        headers(("ETag" = String, description = "The version of the user"))))
}
pub(crate) async fn change(mut call: RequestCtx) -> Answer {
    let UserChangeRequest { role, active } = call.body().await?;
    let version = expected_version(&call).await?;
    let change = UserChange { role, active };
    let (hive, name) = (call.hive(), &call.path_param("id"));
    let user = hive
        .access()
        .change_user(&call.who, name, change, version)
        .await?;
    versioned(StatusCode::OK, &user, user.version)
}

describe! { delete:
    params(
        ("id" = String, Path, description = "The user"),
        ("If-Match" = Option<ETagOrAny>, Header, description = "ETag of the version to remove; \
            `*`: any"),
    ),
    responses((status = 204, description = "Removed with all keys, which are refused \
        immediately; the tasks of the user stay, and the name cannot be used again while there \
        are any"))
}
pub(crate) async fn delete(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let version = expected_version(&call).await?;
    let name = &call.path_param("id");
    call.hive()
        .access()
        .delete_user(&call.who, name, version)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Returns the version on which a user is changed or removed.
async fn expected_version(call: &RequestCtx) -> Result<Option<u64>, Problem> {
    let (hive, name) = (call.hive(), &call.path_param("id"));
    let current = async || Ok(hive.access().user(name).await?.version);
    call.precondition()?.of_existing(current).await
}
