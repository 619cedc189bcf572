//! Keys, roles, and the identity of the caller.

use std::time::Duration;

use actix_web::http::StatusCode;
use deia_client::{
    CanI, CanIRequest, CreatedKey, Items, NewKeyRequest, RoleInfo, RotateKeyRequest, Secret, WhoAmI,
};
use deia_hive::{HiveError, KeyRotation, NewKey};
use deia_model::{KeyId, KeyInfo, Principal, Role};

use crate::http::{
    api::parameters::IdempotencyKey,
    body::{
        answer::{Answer, json, ok},
        json::decode,
        problem::{Problem, refuse_secret},
    },
    context::RequestCtx,
    operation::describe,
};

describe! { whoami:
    responses((status = 200, description = "The caller and its permissions", body = WhoAmI))
}
pub(crate) async fn whoami(call: RequestCtx) -> Answer {
    let key = call
        .who
        .key()
        .and_then(|id| call.hive().access().known_key(id));
    let address = call.address();
    ok(&WhoAmI::new(call.who, address, key))
}

describe! { can_i:
    request_body = CanIRequest,
    responses((status = 200, description = "The decision for the permission, and its reason", body = CanI))
}
pub(crate) async fn can_i(mut call: RequestCtx) -> Answer {
    let body: CanIRequest = call.body().await?;
    let (allowed, reason) = may(&call, &body).await?;
    ok(&CanI { allowed, reason })
}

async fn may(call: &RequestCtx, body: &CanIRequest) -> Result<(bool, String), Problem> {
    let Principal { role, .. } = call.who;
    if !role.may(body.permission) {
        return Ok((false, format!("the role {role} does not have it")));
    }
    if !call.who.may(body.permission) {
        let why = "the role has it, but the scopes of the key do not";
        return Ok((false, why.to_owned()));
    }
    let Some(task) = body.task else {
        return Ok((true, format!("the role {role} has it")));
    };
    match call.hive().tasks().get(&call.who, task).await {
        Ok(_) => Ok((true, format!("the role {role} has it, and sees the task"))),
        Err(HiveError::NotFound { .. }) => Ok((false, format!("there is no task \"{task}\""))),
        Err(other) => Err(other.into()),
    }
}

describe! { roles:
    responses((status = 200, description = "Each role and its permissions", body = Items<RoleInfo>))
}
pub(crate) async fn roles(_: RequestCtx) -> Answer {
    let items = Role::ALL.map(RoleInfo::from).into();
    ok(&Items { items })
}

describe! { list:
    responses((status = 200, description = "All keys, oldest first, without their secrets", body = Items<KeyInfo>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let items = call.hive().access().keys().await?;
    ok(&Items { items })
}

describe! { get:
    params(("id" = KeyId, Path, description = "The key")),
    responses((status = 200, description = "The key, without its secret", body = KeyInfo))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    ok(&call.hive().access().key(call.id::<KeyId>("key")?).await?)
}

describe! { create:
    params(("Idempotency-Key" = Option<IdempotencyKey>, Header, description = "1 to 255 visible \
        ASCII characters: the same key and body create one key only. The text of the key is \
        shown once, so a repetition is answered with 409 and the id of the key")),
    request_body = NewKeyRequest,
    responses((status = 201, description = "Created; the text of the key is in this answer only. \
        A missing user is created with the role of the key, if the caller may create users; an \
        admin only with new_user: true", body = CreatedKey))
}
pub(crate) async fn create(mut call: RequestCtx) -> Answer {
    let bytes = call.bytes().await?;
    let idempotency = call.idempotency(&bytes)?;
    let body: NewKeyRequest = decode(&bytes)?;
    refuse_secret("/user", Some(&body.user))?;
    refuse_secret("/name", Some(&body.name))?;
    let (hive, new_user) = (call.hive(), body.new_user);
    shown_once(
        hive.access()
            .create_key(&call.who, body.into(), new_user, idempotency)
            .await?,
    )
}

describe! { rotate:
    params(("id" = KeyId, Path, description = "The key in force"), ("Idempotency-Key" = Option<IdempotencyKey>, Header, description = "1 \
        to 255 visible ASCII characters: the same key and body create one key only. The text of \
        the key is shown once, so a repetition is answered with 409 and the id of the key")),
    request_body = Option<RotateKeyRequest>,
    responses((status = 201, description = "The new key, whose text is in this answer only; the \
        old key stays in force for the overlap, and is refused afterwards", body = CreatedKey))
}
pub(crate) async fn rotate(mut call: RequestCtx) -> Answer {
    let id = call.id::<KeyId>("key")?;
    let bytes = call.optional_bytes().await?;
    let idempotency = call.idempotency(&bytes)?;
    let body: RotateKeyRequest = match bytes.is_empty() {
        true => RotateKeyRequest::default(),
        false => decode(&bytes)?,
    };
    let (hive, rotation) = (call.hive(), rotation(body));
    shown_once(
        hive.access()
            .rotate_key(&call.who, id, rotation, idempotency)
            .await?,
    )
}

fn rotation(body: RotateKeyRequest) -> KeyRotation {
    KeyRotation {
        overlap: body.overlap_seconds.map(Duration::from_secs),
        expires_at: body.expires_at,
    }
}

fn shown_once(made: NewKey) -> Answer {
    let body = CreatedKey {
        info: made.info,
        key: Secret::new(made.text),
        user_created: made.user_created,
    };
    json(StatusCode::CREATED, &body)
}

describe! { revoke:
    params(("id" = KeyId, Path, description = "The key")),
    responses((status = 200, description = "Revoked; refused immediately, even in requests that \
        have begun", body = KeyInfo))
}
pub(crate) async fn revoke(mut call: RequestCtx) -> Answer {
    let id = call.id::<KeyId>("key")?;
    call.no_body().await?;
    ok(&call.hive().access().revoke_key(&call.who, id).await?)
}
