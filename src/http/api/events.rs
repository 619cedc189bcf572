//! The log of events.

use actix_web::http::{StatusCode, header::VARY};
use deia_model::{Event, EventFilter, Page, TaskType};

use crate::http::{
    api::{dto::LiveEvent, filter::point_in_time, live_events, sse},
    body::{
        accept,
        answer::{Answer, json, with_header},
    },
    context::RequestCtx,
    operation::describe,
};

describe! { list:
    params(
        ("action" = Option<String>, Query, description = "Only events of this action, such as \
            `bot.crashed`, or of this kind, such as `bot`"),
        ("target" = Option<String>, Query, description = "Only events about this target: the id \
            of a task, key, session or webhook, or the name of a bot or user, with or without \
            its kind in front: `upper-1` or `bot:upper-1`"),
        ("actor" = Option<String>, Query, description = "Only events of this actor: a user, a \
            bot, or `deia`"),
        ("task_type" = Option<TaskType>, Query, description = "Only events about tasks of this \
            type"),
        ("tag" = Option<Vec<String>>, Query, description = "Only events about tasks with this \
            tag; can be repeated to require several"),
        ("after" = Option<String>, Query, format = DateTime, description = "Only events recorded \
            at this time or later"),
        ("before" = Option<String>, Query, format = DateTime, description = "Only events \
            recorded before this time"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000; 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page"),
        ("Last-Event-ID" = Option<String>, Header, description = "For the live stream: continue \
            after the event with this id"),
        ("last_event_id" = Option<String>, Query, description = "For the live stream: the same \
            as the header `Last-Event-ID`, which has precedence, for clients that cannot set it"),
    ),
    responses((status = 200, description = "Events, newest first. A page may be short, or empty, and have a `next_cursor` all the same. A caller who sees only its own tasks gets the events of those alone, task by task, the newest task first, and `seq` counts within the task. With `Accept: text/event-stream`: the live stream, Server-Sent Events from now on, oldest first, or after `Last-Event-ID`; `after`, `before`, `limit` and `cursor` are for pages only. docs/OPERATIONS.md says more",
        content((Page<Event> = "application/json"), (LiveEvent = "text/event-stream"))))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let filter = EventFilter {
        action: call.query::<String>("action")?,
        target: call.query::<String>("target")?.map(without_kind),
        actor: call.query::<String>("actor")?,
        task_type: call.query::<TaskType>("task_type")?,
        tags: call.queries("tag").map(str::to_owned).collect(),
        after: point_in_time(&call, "after")?,
        before: point_in_time(&call, "before")?,
    };
    let headers = call.request().headers();
    if accept::prefers(headers, "text/event-stream", "application/json") {
        return live_events::follow(call, filter).await;
    }
    sse::only_for_streams(&call, &[sse::LAST_EVENT_ID])?;
    let page = call
        .hive()
        .operations()
        .events(&call.who, filter, call.page()?)
        .await?;
    with_header(json(StatusCode::OK, &page)?, VARY, "accept")
}

/// Returns a target without the kind before it: names and ids of targets have no colon.
fn without_kind(target: String) -> String {
    const KINDS: [&str; 8] = [
        "bot",
        "task",
        "user",
        "key",
        "session",
        "web_session",
        "secret",
        "webhook",
    ];
    match target.split_once(':') {
        Some((kind, name)) if KINDS.contains(&kind) => name.to_owned(),
        _ => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_with_and_without_their_kind() {
        for (given, expected) in [
            ("upper-1", "upper-1"),
            ("bot:upper-1", "upper-1"),
            ("user:ada", "ada"),
            (
                "webhook:webhook_01h455vb4pex5vsknk084sn02q",
                "webhook_01h455vb4pex5vsknk084sn02q",
            ),
            ("other:ada", "other:ada"),
        ] {
            assert_eq!(without_kind(given.into()), expected, "{given}");
        }
    }
}
