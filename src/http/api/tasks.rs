//! Tasks.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::LOCATION},
};
use deia_client::{BatchAccepted, Items, TaskState};
use deia_hive::{HiveError, Submission};
use deia_model::{
    Event, NewTask, Page, Submitted, Task, TaskExplanation, TaskId, TaskResult, TaskStatus,
    Violation,
};

use crate::http::{
    api::{dto::TaskBatch, filter, parameters::IdempotencyKey},
    body::{
        answer::{Answer, json, ok, with_header, with_replayed},
        json::decode,
        problem::Problem,
    },
    context::RequestCtx,
    operation::describe,
};

describe! { submit:
    params(
        ("Idempotency-Key" = Option<IdempotencyKey>, Header, description = "1 to 255 visible ASCII characters: the same key and body give the same answer, once"),
        ("traceparent" = Option<String>, Header, description = "W3C trace context, stored with the task"),
    ),
    request_body = NewTask,
    responses((status = 202, description = "Accepted and on disk", body = Submitted,
        headers(("Location" = String, description = "The task"),
                ("Idempotency-Replayed" = Option<bool>, description = "`true`: this repeats an earlier answer"))))
}
pub(crate) async fn submit(mut call: RequestCtx) -> Answer {
    let body = call.bytes().await?;
    let idempotency = call.idempotency(&body)?;
    let mut task: NewTask = decode(&body)?;
    call.admits_priorities([task.priority].into_iter()).await?;
    task.traceparent = call.traceparent();
    task.idempotency_key = idempotency
        .as_ref()
        .map(|idempotency| idempotency.key.clone());
    let submission = call
        .hive()
        .tasks()
        .submit(&call.who, vec![task], idempotency)
        .await?;
    let [task] = submission.tasks.as_slice() else {
        return Err(Problem::internal("a submission has not one task"));
    };
    let location = format!("/api/v1/tasks/{}", task.id);
    with_header(accepted(&submission, task)?, LOCATION, &location)
}

describe! { submit_batch:
    params(
        ("Idempotency-Key" = Option<IdempotencyKey>, Header, description = "1 to 255 visible ASCII characters: the same key and body give the same answer, once"),
        ("traceparent" = Option<String>, Header, description = "W3C trace context, stored with each task"),
    ),
    request_body = TaskBatch,
    responses((status = 202, description = "All accepted and on disk", body = BatchAccepted,
        headers(("Idempotency-Replayed" = Option<bool>, description = "`true`: this repeats an earlier answer"))))
}
pub(crate) async fn submit_batch(mut call: RequestCtx) -> Answer {
    let body = call.bytes().await?;
    let idempotency = call.idempotency(&body)?;
    let TaskBatch { tasks } = decode(&body)?;
    let mut tasks: Vec<NewTask> = tasks.into_iter().map(|task| task.0).collect();
    call.admits_priorities(tasks.iter().map(|task| task.priority))
        .await?;
    let trace = call.traceparent();
    for task in &mut tasks {
        task.traceparent.clone_from(&trace);
        task.idempotency_key = idempotency
            .as_ref()
            .map(|idempotency| idempotency.key.clone());
    }
    let problem: fn(HiveError) -> Problem = match tasks.len() {
        1 => in_batch_of_one,
        _ => Problem::from,
    };
    let submission = call
        .hive()
        .tasks()
        .submit(&call.who, tasks, idempotency)
        .await
        .map_err(problem)?;
    let ids = submission.tasks.iter().map(|task| task.id).collect();
    accepted(&submission, &BatchAccepted { ids })
}

fn accepted(submission: &Submission, body: &impl serde::Serialize) -> Answer {
    let answer = json(StatusCode::ACCEPTED, body)?;
    with_replayed(answer, submission.replayed)
}

/// Returns the problem with the only task of a batch, with pointers into the batch. (The
/// hive reports it as if the task had come alone.)
fn in_batch_of_one(error: HiveError) -> Problem {
    let in_batch = |violations: Vec<Violation>| {
        let place = |violation: Violation| Violation {
            pointer: format!("/tasks/0{}", violation.pointer),
            ..violation
        };
        violations.into_iter().map(place).collect()
    };
    match error {
        HiveError::Invalid(violations) => Problem::invalid(in_batch(violations)),
        HiveError::SubmissionsShed { reason, refused } => HiveError::SubmissionsShed {
            refused: in_batch(refused),
            reason,
        }
        .into(),
        other => other.into(),
    }
}

describe! { list:
    params(
        ("status" = Option<TaskStatus>, Query, description = "Only tasks in this status"),
        filter::InQuery,
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000; 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "Tasks without their content, newest first. A page may be short, or empty, and have a `next_cursor` all the same", body = Page<Task>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let (filter, page) = (filter::from_query(&call)?, call.page()?);
    ok(&call.hive().tasks().list(&call.who, filter, page).await?)
}

describe! { get:
    params(("id" = TaskId, Path, description = "The task")),
    responses((status = 200, description = "The task, content included", body = Task))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let id = call.id("task")?;
    ok(&call.hive().tasks().get_with_outputs(&call.who, id).await?)
}

describe! { status:
    params(("id" = TaskId, Path, description = "The task")),
    responses((status = 200, description = "The status of the task", body = TaskState))
}
pub(crate) async fn status(call: RequestCtx) -> Answer {
    let task = call.hive().tasks().get(&call.who, call.id("task")?).await?;
    ok(&TaskState::from(task))
}

describe! { result:
    params(
        ("id" = TaskId, Path, description = "The task"),
        ("wait_ms" = Option<u64>, Query, description = "Time to wait for the end of the task, in \
            milliseconds, up to `server.max_wait`; 0 when absent"),
    ),
    responses((status = 200, description = "The result of the task", body = TaskResult))
}
pub(crate) async fn result(call: RequestCtx) -> Answer {
    let (id, wait): (TaskId, _) = (call.id("task")?, call.wait()?);
    if wait.is_zero() {
        return ok(&call.hive().tasks().result(&call.who, id, wait).await?);
    }
    let result = tokio::select! {
        biased;
        result = call.hive().tasks().result(&call.who, id, wait) => result?,
        () = call.stopping() => call.hive().tasks().result(&call.who, id, Duration::ZERO).await?,
    };
    ok(&result)
}

describe! { cancel:
    params(("id" = TaskId, Path, description = "The task")),
    responses((status = 200, description = "The changed task; a running one is `cancelled` once \
        its bot has ended it. Without `task:read` it has no content, metadata and result", body = Task))
}
pub(crate) async fn cancel(mut call: RequestCtx) -> Answer {
    let id = call.id("task")?;
    call.no_body().await?;
    ok(&call.hive().tasks().cancel(&call.who, id).await?)
}

describe! { retry:
    params(("id" = TaskId, Path, description = "The task")),
    responses((status = 200, description = "The changed task. Without `task:read` it has no \
        content, metadata and result", body = Task))
}
pub(crate) async fn retry(mut call: RequestCtx) -> Answer {
    let id = call.id("task")?;
    call.no_body().await?;
    ok(&call.hive().tasks().retry(&call.who, id).await?)
}

describe! { erase:
    params(("id" = TaskId, Path, description = "The task, which must have ended")),
    responses((status = 204, description = "Erased: content, metadata, outputs and errors. The record stays, with `erased_at`"))
}
pub(crate) async fn erase(mut call: RequestCtx) -> Answer {
    call.no_precondition()?;
    let id = call.id("task")?;
    call.no_body().await?;
    call.hive().tasks().erase(&call.who, id).await?;
    Ok(HttpResponse::NoContent().finish())
}

describe! { events:
    params(("id" = TaskId, Path, description = "The task")),
    responses((status = 200, description = "The events of the task, oldest first, at most the \
        last 1,000. Events past `events.retention` are left out. For a caller who sees only its \
        own tasks `seq` counts within the task from 1, and stays the same when earlier events \
        are left out", body = Items<Event>))
}
pub(crate) async fn events(call: RequestCtx) -> Answer {
    let items = call
        .hive()
        .tasks()
        .events(&call.who, call.id("task")?)
        .await?;
    ok(&Items { items })
}

describe! { explain:
    params(("id" = TaskId, Path, description = "The task")),
    responses((status = 200, description = "The reasons for which the task waits, if it does", body = TaskExplanation))
}
pub(crate) async fn explain(call: RequestCtx) -> Answer {
    let id = call.id("task")?;
    ok(&call.hive().tasks().explain(&call.who, id).await?)
}
