//! The settings: their values, versions and changes.

use std::{str::FromStr, time::Duration};

use actix_web::http::StatusCode;
use deia_client::{
    ChangeSettingRequest, ConfirmSettingsRequest, ReloadSettingsRequest, UndoSettingsRequest,
};
use deia_hive::{ChangeSetting, ReloadSettings};
use deia_model::{
    CurrentSettings, Page, ReloadCheck, SettingValue, SettingsReload, SettingsStatus,
    SettingsVersion,
};

use crate::http::{
    api::parameters::ETagOrAny,
    body::{
        answer::{Answer, ok},
        etag::versioned,
        json::decode,
        problem::{Problem, is_secret},
    },
    context::RequestCtx,
    operation::describe,
};

/// The key of a setting in a path.
struct InPath(String);

impl FromStr for InPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
        match !text.is_empty() && text.bytes().all(plain) {
            true => Ok(Self(text.to_owned())),
            false => Err("expected a key such as tasks.max_batch"),
        }
    }
}

describe! { current:
    responses((status = 200, description = "Every setting in force, with the layer and the place that its value comes from. Of a secret only whether it is set", body = CurrentSettings,
        headers(("ETag" = String, description = "The version of the settings"))))
}
pub(crate) async fn current(call: RequestCtx) -> Answer {
    let current = call.hive().settings().current().await;
    let version = current.version;
    versioned(StatusCode::OK, &current, version)
}

describe! { value:
    params(("key" = String, Path, description = "The key, in dotted form", example = "tasks.max_batch")),
    responses((status = 200, description = "The setting: its value and where it comes from, the values that it may have, and what a change would do", body = SettingValue,
        headers(("ETag" = String, description = "The version of the settings"))))
}
pub(crate) async fn value(call: RequestCtx) -> Answer {
    let InPath(key) = call.id_in("key", "setting")?;
    let value = call.hive().settings().value(&key).await?;
    let version = value.version;
    versioned(StatusCode::OK, &value, version)
}

describe! { change:
    params(
        ("key" = String, Path, description = "The key, in dotted form", example = "tasks.max_batch"),
        ("If-Match" = Option<ETagOrAny>, Header, description = "ETag of the version to change; \
            `*`: any"),
    ),
    request_body = ChangeSettingRequest,
    responses((status = 200, description = "The change is on disk and in force. It is taken back if the hive gets into trouble within `settings.probation`", body = SettingsReload,
        headers(("ETag" = String, description = "The version of the settings"))))
}
pub(crate) async fn change(mut call: RequestCtx) -> Answer {
    let body: ChangeSettingRequest = decode(&call.bytes().await?)?;
    let InPath(key) = call.id_in("key", "setting")?;
    if is_secret(&body.value.to_string()) {
        return Err(Problem::invalid(vec![deia_model::Violation {
            pointer: "/value".to_owned(),
            detail: "looks like a secret: it would be kept and shown".to_owned(),
        }]));
    }
    let change = ChangeSetting {
        key,
        value: body.value,
        version: expected_version(&call).await?,
        confirm_within: body.confirm_within_seconds.map(Duration::from_secs),
    };
    let changed = call.hive().settings().change(&call.who, change).await?;
    done(&changed)
}

describe! { reload:
    params(("If-Match" = Option<ETagOrAny>, Header, description = "ETag of the version to change; `*`: any")),
    request_body = Option<ReloadSettingsRequest>,
    responses((status = 200, description = "The settings file was read again, and what may change while the hive runs is in force; with `dry_run`, what would be", body = SettingsReload,
        headers(("ETag" = String, description = "The version of the settings"))))
}
pub(crate) async fn reload(mut call: RequestCtx) -> Answer {
    let body = call.optional_bytes().await?;
    let body: ReloadSettingsRequest = match body.is_empty() {
        true => ReloadSettingsRequest::default(),
        false => decode(&body)?,
    };
    let request = ReloadSettings {
        dry_run: body.dry_run,
        apply_rest: body.apply_rest,
        version: expected_version(&call).await?,
        confirm_within: body.confirm_within_seconds.map(Duration::from_secs),
    };
    let reloaded = call.hive().settings().reload(&call.who, request).await?;
    done(&reloaded)
}

describe! { check:
    responses((status = 200, description = "The difference between the settings file and the settings in force, and why a reload would be refused", body = ReloadCheck))
}
pub(crate) async fn check(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    ok(&call.hive().settings().check_reload().await?)
}

describe! { status:
    responses((status = 200, description = "The version in force, its probation, and the state of the settings file", body = SettingsStatus,
        headers(("ETag" = String, description = "The version of the settings"))))
}
pub(crate) async fn status(call: RequestCtx) -> Answer {
    let status = call.hive().settings().status().await?;
    let version = status.in_force.version;
    versioned(StatusCode::OK, &status, version)
}

describe! { history:
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000; 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "Versions of the settings, the newest first; as many as `settings.keep_versions`", body = Page<SettingsVersion>))
}
pub(crate) async fn history(call: RequestCtx) -> Answer {
    ok(&call.hive().settings().history(call.page()?).await?)
}

describe! { confirm:
    request_body = Option<ConfirmSettingsRequest>,
    responses((status = 200, description = "The version in force, which is not taken back any more for want of a confirmation. After settings were taken back: they are accepted as they are", body = SettingsVersion,
        headers(("ETag" = String, description = "The version of the settings"))))
}
pub(crate) async fn confirm(mut call: RequestCtx) -> Answer {
    let body = call.optional_bytes().await?;
    let ConfirmSettingsRequest { version } = match body.is_empty() {
        true => ConfirmSettingsRequest::default(),
        false => decode(&body)?,
    };
    let confirmed = call.hive().settings().confirm(&call.who, version).await?;
    versioned(StatusCode::OK, &confirmed, confirmed.version)
}

describe! { undo:
    params(("If-Match" = Option<ETagOrAny>, Header, description = "ETag of the version in force; `*`: any")),
    request_body = Option<UndoSettingsRequest>,
    responses((status = 200, description = "The values of the earlier version are in force. A settings file with other values is not applied until it changes", body = SettingsReload,
        headers(("ETag" = String, description = "The version of the settings"))))
}
pub(crate) async fn undo(mut call: RequestCtx) -> Answer {
    let body = call.optional_bytes().await?;
    let UndoSettingsRequest { version } = match body.is_empty() {
        true => UndoSettingsRequest::default(),
        false => decode(&body)?,
    };
    let expected = expected_version(&call).await?;
    let settings = call.hive().settings();
    done(&settings.undo(&call.who, version, expected).await?)
}

/// Returns the version that must be in force.
async fn expected_version(call: &RequestCtx) -> Result<Option<u64>, Problem> {
    let current = async || Ok(call.hive().settings().version_in_force());
    call.precondition()?.of_existing(current).await
}

fn done(reloaded: &SettingsReload) -> Answer {
    versioned(StatusCode::OK, reloaded, reloaded.version)
}
