//! Webhooks as tables.

use deia_model::{
    Delivery, DeliveryAttempt, DeliveryDetail, DeliveryState, EventType, Replay, ReplayState,
    SignatureScheme, TestDelivery, Timestamp, Webhook, WebhookStatus, WebhookWithSecret,
};

use crate::cli::{
    format,
    output::Look,
    table::{Cell, Column, Table, Tone, or_dash},
};

pub(super) fn list(webhooks: &[Webhook], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("ID"),
        Column::new("STATUS"),
        Column::new("URL").flows(),
        Column::new("WAITING").right(),
        Column::new("DELIVERED").wide(),
        Column::new("EVENTS").flows().wide(),
        Column::new("OWNER").flows().wide(),
        Column::new("DESCRIPTION").flows().wide(),
    ]);
    for webhook in webhooks {
        table.row(vec![
            webhook.id.into(),
            Cell::new(status(webhook), tone(webhook)),
            webhook.spec.url.as_str().into(),
            webhook.waiting.into(),
            or_dash(webhook.last_success_at.map(|at| format::when(at, look.now))),
            all_or(&webhook.spec.events, "all").into(),
            webhook.owner.as_str().into(),
            format::one_line(&webhook.spec.description).into(),
        ]);
    }
    table.render(look)
}

/// Returns an endpoint, with its secret first.
pub(super) fn with_secret(made: &WebhookWithSecret, look: &Look) -> String {
    let Some(secret) = &made.secret else {
        return details(&made.webhook, look);
    };
    let mut table = Table::fields();
    table.field("secret", Cell::new(secret, Tone::Attention));
    add_details(&mut table, &made.webhook, look);
    // A wrapped secret cannot be copied.
    table.render(&Look {
        width: None,
        ..*look
    })
}

pub(super) fn details(webhook: &Webhook, look: &Look) -> String {
    let mut table = Table::fields();
    add_details(&mut table, webhook, look);
    table.render(look)
}

fn add_details(table: &mut Table, webhook: &Webhook, look: &Look) {
    table.field("id", webhook.id);
    table.field("url", webhook.spec.url.as_str());
    table.field("status", Cell::new(status(webhook), tone(webhook)));
    if let Some(disabled) = &webhook.disabled {
        table.field("disabled", format::when_exactly(disabled.at, look.now));
        table.field("disabled by", disabled.by.as_str());
        table.field("reason", format::one_line(&disabled.detail));
    }
    add_settings(table, webhook);
    add_health(table, webhook, look);
    table.field("version", webhook.version);
    table.field("owner", webhook.owner.as_str());
    table.field(
        "created",
        format::when_exactly(webhook.created_at, look.now),
    );
    table.field(
        "changed",
        format::when_exactly(webhook.changed_at, look.now),
    );
}

fn add_settings(table: &mut Table, webhook: &Webhook) {
    let spec = &webhook.spec;
    if !spec.description.is_empty() {
        table.field("description", format::one_line(&spec.description));
    }
    table.field("events", all_or(&spec.events, "all"));
    for (name, list) in [
        ("of tasks of type", &texts(&spec.task_types)),
        ("of tasks tagged", &spec.tags),
        ("of users", &spec.owners),
        ("headers", &spec.headers),
    ] {
        if !list.is_empty() {
            table.field(name, list.join(", "));
        }
    }
    let schemes = spec.signatures.iter().map(|scheme| match scheme {
        SignatureScheme::V1 => "v1",
        SignatureScheme::V1a => "v1a",
    });
    table.field("signatures", schemes.collect::<Vec<_>>().join(", "));
    if let Some(key) = &webhook.public_key {
        table.field("public key", key.as_str());
    }
    if let Some(until) = webhook.old_secret_until {
        table.field("previous secret", format!("signs as well until {until}"));
    }
    table.field(
        "at once",
        match spec.concurrency {
            Some(n) => format!("at most {n}"),
            None => "as webhooks.concurrency says".into(),
        },
    );
    table.field(
        "a second",
        match spec.rate_per_second {
            Some(n) => format!("at most {n}"),
            None => "no limit".into(),
        },
    );
}

fn add_health(table: &mut Table, webhook: &Webhook, look: &Look) {
    let when = |at: Option<Timestamp>| or_dash(at.map(|at| format::when_exactly(at, look.now)));
    table.field("waiting", webhook.waiting);
    table.field("behind by", format::millis(webhook.lag_ms));
    table.field("last delivered", when(webhook.last_success_at));
    table.field("last failed", when(webhook.last_failure_at));
    if let Some(error) = &webhook.last_error {
        table.field("last error", Cell::new(format::short(error), Tone::Bad));
    }
    if webhook.failures_in_a_row > 0 {
        table.field("failures in a row", webhook.failures_in_a_row);
        table.field("failing since", when(webhook.failing_since));
    }
    if !webhook.missed.is_empty() {
        let ranges = webhook.missed.iter();
        let lines: Vec<_> = ranges
            .map(|range| format!("{} to {}", range.from, range.to))
            .collect();
        table.field("missed", Cell::new(lines.join("\n"), Tone::Attention));
    }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn all_or(items: &[String], all: &str) -> String {
    match items {
        [] => all.to_owned(),
        some => some.join(", "),
    }
}

fn status(webhook: &Webhook) -> &'static str {
    match webhook.status {
        WebhookStatus::Enabled => "enabled",
        WebhookStatus::Failing => "failing",
        WebhookStatus::Disabled => "disabled",
    }
}

fn tone(webhook: &Webhook) -> Tone {
    let disabled = webhook.disabled.as_ref();
    match webhook.status {
        WebhookStatus::Enabled => Tone::Good,
        WebhookStatus::Failing => Tone::Attention,
        WebhookStatus::Disabled if disabled.is_some_and(|it| it.reason.needs_a_person()) => {
            Tone::Bad
        }
        WebhookStatus::Disabled => Tone::Faint,
    }
}

pub(super) fn deliveries(deliveries: &[Delivery], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("MESSAGE"),
        Column::new("TYPE").flows(),
        Column::new("STATE"),
        Column::new("TRIES").right(),
        Column::new("LAST"),
        Column::new("NEXT"),
        Column::new("FIRST").wide(),
    ]);
    for delivery in deliveries {
        table.row(vec![
            delivery.id.into(),
            format::one_line(&delivery.action).into(),
            state(delivery.state),
            delivery.attempts.into(),
            format::when(delivery.last_attempt_at, look.now).into(),
            or_dash(
                delivery
                    .next_attempt_at
                    .map(|at| format::when(at, look.now)),
            ),
            format::when(delivery.first_attempt_at, look.now).into(),
        ]);
    }
    table.render(look)
}

fn state(state: DeliveryState) -> Cell {
    let tone = match state {
        DeliveryState::Waiting => Tone::Attention,
        DeliveryState::Delivered => Tone::Good,
        DeliveryState::Failed => Tone::Bad,
    };
    Cell::new(state.as_str(), tone)
}

/// Returns a delivery, and below it a table of its attempts.
pub(super) fn delivery(detail: &DeliveryDetail, look: &Look) -> String {
    let delivery = &detail.delivery;
    let mut fields = Table::fields();
    fields.field("message", delivery.id);
    fields.field("type", format::one_line(&delivery.action));
    fields.field("state", state(delivery.state));
    fields.field("attempts", delivery.attempts);
    if let Some(at) = delivery.next_attempt_at {
        fields.field("next attempt", format::when_exactly(at, look.now));
    }
    let mut table = Table::new(&[
        Column::new("ATTEMPT").right(),
        Column::new("AT"),
        Column::new("TOOK").right(),
        Column::new("STATUS").right(),
        Column::new("ERROR").flows(),
        Column::new("RESPONSE").flows().wide(),
    ]);
    for attempt in &detail.tries {
        table.row(vec![
            attempt.attempt.into(),
            attempt.at.into(),
            format::millis(attempt.duration_ms).into(),
            or_dash(attempt.status),
            error(attempt),
            response(attempt),
        ]);
    }
    match detail.tries.is_empty() {
        true => fields.render(look),
        false => format!("{}\n{}", fields.render(look), table.render(look)),
    }
}

pub(super) fn test(test: &TestDelivery, look: &Look) -> String {
    let attempt = &test.attempt;
    let mut table = Table::fields();
    table.field(
        "delivered",
        match test.delivered {
            true => Cell::new("yes", Tone::Good),
            false => Cell::new("no", Tone::Bad),
        },
    );
    table.field("message", test.id);
    table.field("took", format::millis(attempt.duration_ms));
    table.field("status", or_dash(attempt.status));
    // An error is printed with its reason after the table.
    table.field("response", response(attempt));
    table.render(look)
}

fn error(attempt: &DeliveryAttempt) -> Cell {
    match &attempt.error {
        Some(error) => Cell::new(format::short(error), Tone::Bad),
        None => Cell::new("-", Tone::Faint),
    }
}

/// Returns the beginning of a response, on one line.
fn response(attempt: &DeliveryAttempt) -> Cell {
    let text = format::beginning(&attempt.response);
    match (text.is_empty(), attempt.response_truncated) {
        (true, _) => Cell::new("-", Tone::Faint),
        (false, true) if !text.ends_with("...") => format!("{text}...").into(),
        (false, _) => text.into(),
    }
}

pub(super) fn replays(replays: &[Replay], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("REPLAY"),
        Column::new("STATE"),
        Column::new("DONE").right(),
        Column::new("DELIVERED").right(),
        Column::new("FAILED").right(),
        Column::new("FROM").wide(),
        Column::new("TO").wide(),
        Column::new("STARTED").wide(),
        Column::new("BY").flows().wide(),
    ]);
    for replay in replays {
        let tone = match replay.state {
            ReplayState::Running => Tone::Attention,
            ReplayState::Completed => Tone::Good,
            ReplayState::Stopped => Tone::Faint,
        };
        table.row(vec![
            replay.id.into(),
            Cell::new(replay.state.as_str(), tone),
            format::percent(replay.progress_percent).into(),
            replay.delivered.into(),
            replay.failed.into(),
            replay.from.into(),
            replay.to.into(),
            format::when(replay.started_at, look.now).into(),
            replay.actor.as_str().into(),
        ]);
    }
    table.render(look)
}

pub(super) fn event_types(types: &[EventType], look: &Look) -> String {
    let mut table = Table::new(&[Column::new("TYPE"), Column::new("MEANING").flows()]);
    for event in types {
        table.row(vec![
            format::one_line(&event.action).into(),
            format::one_line(&event.description).into(),
        ]);
    }
    table.render(look)
}

#[cfg(test)]
mod tests;
