//! The outputs of tasks, as they come.

use actix_web::{
    HttpResponse,
    http::header::{HeaderName, HeaderValue},
};
use deia_hive::{TaskOutput, model::TaskId};

use super::{
    call::Call,
    route::{Answer, with_header},
    stream::{Over, Sink, streamed},
};

const ATTEMPT: HeaderName = HeaderName::from_static("deia-attempt");
const LENGTH: HeaderName = HeaderName::from_static("deia-output-length");

#[utoipa::path(
    get, path = "/api/v1/tasks/{id}/output", tag = "tasks", operation_id = "get_task_output",
    params(
        ("id" = String, Path, description = "The task"),
        ("offset" = Option<u64>, Query, description = "From this byte on; 0 when absent"),
        ("attempt" = Option<u32>, Query, description = "Only of this attempt (`Deia-Attempt` of an earlier answer): to go on where one has broken off"),
    ),
    responses((status = 200, description = "The bytes that the task's program has printed on its standard output, and while it runs those that come, to its end. An answer that breaks off is not whole: go on with `offset` and `attempt`",
        content((String = "application/octet-stream")),
        headers(("Deia-Attempt" = u32, description = "The attempt whose output this is"),
                ("Deia-Output-Length" = Option<u64>, description = "How long the whole output is, in bytes; absent while the program runs"))))
)]
/// Reads what a task puts out, live.
pub(super) async fn get(call: Call) -> Answer {
    let id: TaskId = call.id("task")?;
    let offset = call.number("offset", 0..=u64::MAX, 0)?;
    let attempt = call.query::<u32>("attempt")?;
    let output = call
        .hive()
        .task_output(&call.who, id, attempt, offset)
        .await?;
    let (attempt, whole) = (output.attempt(), !output.goes_on());
    let length = output.length();
    let answer: HttpResponse =
        streamed(&call, "application/octet-stream", |mut sink| async move {
            if pass_on(output, &mut sink).await == Err(Over::Stopping) {
                sink.break_off("the server stops").await;
            }
        })?;
    let mut answer = with_header(answer, ATTEMPT, &attempt.to_string())?;
    if whole {
        answer
            .headers_mut()
            .insert(LENGTH, HeaderValue::from(length));
    }
    Ok(answer)
}

async fn pass_on(mut output: TaskOutput, sink: &mut Sink) -> Result<(), Over> {
    loop {
        match sink.wait(output.next()).await? {
            Ok(Some(piece)) => sink.send(piece).await?,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "the output of a task cannot be read");
                sink.break_off("the output cannot be read").await;
                return Ok(());
            }
        }
    }
}
