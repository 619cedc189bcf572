//! The log of events.

use deia_model::{Event, EventFilter, Page};

use crate::http::{
    api::filter::point_in_time,
    body::answer::{Answer, ok},
    context::RequestCtx,
    operation::describe,
};

describe! { list:
    params(
        ("action" = Option<String>, Query, description = "Only of this action, such as `bot.crashed`, or of this kind, such as `bot`"),
        ("target" = Option<String>, Query, description = "Only about this: the id of a task, key or session, or the name of a bot or user, with or without its kind before it: `upper-1` or `bot:upper-1`"),
        ("actor" = Option<String>, Query, description = "Only by this actor: a user, a bot, or `deia`"),
        ("after" = Option<String>, Query, format = DateTime, description = "Only recorded then or later"),
        ("before" = Option<String>, Query, format = DateTime, description = "Only recorded before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000; 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "Events, newest first. A page may be short, or empty, and have a `next_cursor` all the same. A caller who sees only its own tasks gets the events of those alone, task by task, the newest task first, and `seq` counts within the task", body = Page<Event>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let filter = EventFilter {
        action: call.query::<String>("action")?,
        target: call.query::<String>("target")?.map(without_kind),
        actor: call.query::<String>("actor")?,
        after: point_in_time(&call, "after")?,
        before: point_in_time(&call, "before")?,
    };
    ok(&call
        .hive()
        .operations()
        .events(&call.who, filter, call.page()?)
        .await?)
}

/// Returns a target without the kind before it: names and ids of targets have no colon.
fn without_kind(target: String) -> String {
    const KINDS: [&str; 7] = [
        "bot",
        "task",
        "user",
        "key",
        "session",
        "web_session",
        "secret",
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
            ("other:ada", "other:ada"),
        ] {
            assert_eq!(without_kind(given.into()), expected, "{given}");
        }
    }
}
