//! Commands about the settings of a running hive.

use deia_client::{
    ChangeSettingRequest, ConfirmSettingsRequest, PutIf, ReloadSettingsRequest, UndoSettingsRequest,
};
use deia_model::{SettingLayer, SettingsReload};
use serde_json::Value;

use super::{ReloadArgs, SetArgs, seconds, view};
use crate::cli::{confirm::Confirm, context::Context, error::CliError, filter::PageArgs};

pub(super) async fn show(context: &Context, changed: bool) -> Result<(), CliError> {
    let mut current = context.client.settings().await?;
    if changed {
        let differs = |layer| layer != SettingLayer::Default;
        current.items.retain(|item| differs(item.source.layer));
    }
    context
        .out
        .one(&current, |look| view::current(&current, look))
}

pub(super) async fn get(context: &Context, key: &str) -> Result<(), CliError> {
    let value = context.client.setting(key).await?;
    context.out.one(&value, |look| view::value(&value, look))
}

pub(super) async fn set(context: &Context, args: SetArgs) -> Result<(), CliError> {
    let value = args.value.filter(|_| !args.reset);
    let change = ChangeSettingRequest {
        value: value.map_or(Value::Null, |text| value_of(&text)),
        confirm_within_seconds: args.confirm_within,
    };
    let when = args.if_version.map_or(PutIf::Always, PutIf::Version);
    let client = &context.client;
    let done = client.change_setting(&args.key, &change, when).await?;
    changed(context, &done, args.confirm_within)
}

pub(super) async fn status(context: &Context) -> Result<(), CliError> {
    let status = context.client.settings_status().await?;
    context.out.one(&status, |look| view::status(&status, look))
}

pub(super) async fn reload(context: &Context, args: ReloadArgs) -> Result<(), CliError> {
    let request = ReloadSettingsRequest {
        dry_run: args.dry_run,
        apply_rest: args.apply_rest,
        confirm_within_seconds: args.confirm_within,
    };
    let done = context.client.reload_settings(&request).await?;
    if args.dry_run {
        return context.out.one(&done, |look| view::reload(&done, look));
    }
    changed(context, &done, args.confirm_within)
}

pub(super) async fn confirm(context: &Context, version: Option<u64>) -> Result<(), CliError> {
    let request = ConfirmSettingsRequest { version };
    let confirmed = context.client.confirm_settings(&request).await?;
    context.out.one(&confirmed, |look| {
        view::versions(std::slice::from_ref(&confirmed), look)
    })
}

pub(super) async fn history(context: &Context, page: PageArgs) -> Result<(), CliError> {
    let page = context.client.settings_history(&page.request()).await?;
    context.out.list(&page, "there are no versions", |look| {
        view::versions(&page.items, look)
    })
}

pub(super) async fn undo(context: &Context, to: Option<u64>, ask: Confirm) -> Result<(), CliError> {
    let which = match to {
        Some(to) => format!("version {to} of the settings"),
        None => "the settings before the last change".to_owned(),
    };
    ask.ask(&format!("put {which} back in force"))?;
    let request = UndoSettingsRequest { version: to };
    let done = context.client.undo_settings(&request).await?;
    changed(context, &done, None)
}

pub(super) async fn diff(context: &Context) -> Result<(), CliError> {
    let check = context.client.check_reload().await?;
    context.out.one(&check, |look| view::check(&check, look))
}

/// Checks whether the hive can reload its file; fails if it cannot.
pub(super) async fn check(context: &Context) -> Result<(), CliError> {
    let check = context.client.check_reload().await?;
    if check.problems.is_empty() {
        return context.out.one(&check, |look| view::check(&check, look));
    }
    Err(CliError::Settings {
        what: "the settings file of the hive".to_owned(),
        problems: check.problems,
    })
}

fn changed(
    context: &Context,
    done: &SettingsReload,
    confirm_within: Option<u64>,
) -> Result<(), CliError> {
    context.out.one(done, |look| view::reload(done, look))?;
    if let Some(within) = confirm_within.filter(|_| done.applied) {
        let within = seconds(within);
        context.out.note(&format!(
            "it is taken back in {within} unless you confirm it: deia config confirm"
        ));
    }
    Ok(())
}

/// Returns the value that was typed: JSON, or else a text.
fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_json_or_text() {
        for (text, expected) in [
            ("500", json!(500)),
            ("true", json!(true)),
            ("30s", json!("30s")),
            ("\"30s\"", json!("30s")),
            ("[1, 2]", json!([1, 2])),
            ("[1, 2", json!("[1, 2")),
        ] {
            assert_eq!(value_of(text), expected, "{text}");
        }
    }
}
