//! Keys, roles, and who one is.

use actix_web::http::StatusCode;
use deia_hive::{auth::Role, model::KeyInfo};

use super::{
    call::Call,
    dto::{CreatedKey, Items, NewKeyBody, RoleInfo, WhoAmI},
    json::decode,
    route::{Answer, json, ok},
};

#[utoipa::path(
    get, path = "/api/v1/auth/whoami", tag = "auth", operation_id = "whoami",
    responses((status = 200, description = "Who the caller is", body = WhoAmI))
)]
/// Reads who the caller is.
pub(super) async fn whoami(call: Call) -> Answer {
    ok(&WhoAmI::from(call.who))
}

#[utoipa::path(
    get, path = "/api/v1/roles", tag = "auth", operation_id = "list_roles",
    responses((status = 200, description = "Each role and what it includes", body = Items<RoleInfo>))
)]
/// Lists roles and what each includes.
pub(super) async fn roles(_: Call) -> Answer {
    let items = Role::ALL.map(RoleInfo::from).into();
    ok(&Items { items })
}

#[utoipa::path(
    get, path = "/api/v1/auth/keys", tag = "auth", operation_id = "list_keys",
    responses((status = 200, description = "All keys, oldest first, without their secrets", body = Items<KeyInfo>))
)]
/// Lists keys.
pub(super) async fn list(call: Call) -> Answer {
    let items = call.hive().keys().await?;
    ok(&Items { items })
}

#[utoipa::path(
    post, path = "/api/v1/auth/keys", tag = "auth", operation_id = "create_key",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters: the same key and body make one key only. Its text is shown once, so a repetition is answered with 409 and the id of the key")),
    request_body = NewKeyBody,
    responses((status = 201, description = "Made; the key itself is shown this once", body = CreatedKey))
)]
/// Makes a key.
pub(super) async fn create(mut call: Call) -> Answer {
    let body = call.bytes().await?;
    let dedup = call.dedup(&body)?;
    let NewKeyBody {
        user,
        role,
        expires_at,
    } = decode(&body)?;
    let made = call
        .hive()
        .create_key(&call.who, user, role, expires_at, dedup)
        .await?;
    let body = CreatedKey {
        info: made.info,
        key: made.text,
    };
    json(StatusCode::CREATED, &body)
}

#[utoipa::path(
    post, path = "/api/v1/auth/keys/{id}/revoke", tag = "auth", operation_id = "revoke_key",
    params(("id" = String, Path, description = "The key")),
    responses((status = 200, description = "Revoked; refused from the next request on", body = KeyInfo))
)]
/// Revokes a key.
pub(super) async fn revoke(mut call: Call) -> Answer {
    call.no_body().await?;
    ok(&call.hive().revoke_key(&call.who, call.id("key")?).await?)
}
