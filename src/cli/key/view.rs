//! Keys and callers as tables.

use deia_client::{CreatedKey, WhoAmI};
use deia_model::{KeyInfo, Timestamp};
use serde_json::Value;

use crate::cli::{
    format,
    output::Look,
    table::{Cell, Column, Table, Tone, or_dash},
};

pub(super) fn shown(created: &CreatedKey, look: &Look) -> String {
    let mut table = Table::fields();
    table.field("key", created.key.reveal());
    table.field("id", created.info.id);
    table.field("user", created.info.user.as_str());
    table.field("role", created.info.role);
    if let Some(scopes) = &created.info.scopes {
        table.field("scopes", listed(scopes.iter().map(|scope| scope.as_str())));
    }
    if !created.info.allow_ips.is_empty() {
        table.field("allowed from", listed(&created.info.allow_ips));
    }
    if let Some(bot) = &created.info.bot {
        table.field("bot", bot);
    }
    let expires = created.info.expires_at;
    table.field(
        "expires",
        or_dash(expires.map(|at| format::when_exactly(at, look.now))),
    );
    // A wrapped key cannot be copied.
    table.render(&Look {
        width: None,
        ..*look
    })
}

fn listed(items: impl IntoIterator<Item: ToString>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

pub(super) fn list(keys: &[KeyInfo], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("ID"),
        Column::new("USER").flows(),
        Column::new("ROLE"),
        Column::new("STATE"),
        Column::new("CREATED"),
        Column::new("EXPIRES"),
        Column::new("USED"),
        Column::new("NAME").wide().flows(),
        Column::new("NARROWED TO").wide().flows(),
    ]);
    for key in keys {
        table.row(vec![
            key.id.into(),
            key.user.as_str().into(),
            key.role.into(),
            state(key, look.now),
            format::when(key.created_at, look.now).into(),
            or_dash(key.expires_at.map(|at| format::when(at, look.now))),
            or_dash(key.last_used_at.map(|at| format::when(at, look.now))),
            format::printable(&key.name).into(),
            narrowed(key).into(),
        ]);
    }
    table.render(look)
}

/// Returns the restrictions of the key compared with its role.
fn narrowed(key: &KeyInfo) -> String {
    let scopes = key
        .scopes
        .iter()
        .flatten()
        .map(|scope| scope.as_str().to_owned());
    let addresses = key.allow_ips.iter().map(|range| format!("from {range}"));
    let bot = key.bot.iter().map(|bot| format!("bot {bot}"));
    listed(scopes.chain(addresses).chain(bot))
}

fn state(key: &KeyInfo, now: Timestamp) -> Cell {
    if key.revoked_at.is_some() {
        Cell::new("revoked", Tone::Faint)
    } else if key.expires_at.is_some_and(|at| at <= now) {
        Cell::new("expired", Tone::Faint)
    } else {
        Cell::new("in force", Tone::Good)
    }
}

pub(super) fn who(me: &WhoAmI, look: &Look) -> String {
    let mut table = Table::fields();
    table.field("user", me.user.as_str());
    table.field("role", me.role);
    // Members of a newer hive are shown as well.
    let members = serde_json::to_value(me).unwrap_or_default();
    for (name, value) in members.as_object().into_iter().flatten() {
        if !value.is_object() && !["user", "role"].contains(&name.as_str()) {
            table.field(&name.replace('_', " "), plain(value));
        }
    }
    table.render(look)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
