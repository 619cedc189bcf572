//! The outputs of tasks, streamed.

use actix_web::http::header::{HeaderName, HeaderValue};
use deia_hive::TaskOutput;
use deia_model::TaskId;

use crate::http::{
    body::{
        answer::{Answer, with_header},
        streams::{Over, Sink},
    },
    context::RequestCtx,
    operation::describe,
};

const ATTEMPT: HeaderName = HeaderName::from_static("deia-attempt");
const LENGTH: HeaderName = HeaderName::from_static("deia-output-length");

describe! { get:
    params(
        ("id" = TaskId, Path, description = "The task"),
        ("offset" = Option<u64>, Query, description = "From this byte on; 0 when absent"),
        ("attempt" = Option<u32>, Query, description = "Of this attempt; of the last one when absent. Give `Deia-Attempt` of an earlier answer to go on where it has broken off"),
        ("follow" = Option<bool>, Query, description = "`false`: only what has been printed by now, however long the program still runs. `true` when absent"),
    ),
    responses((status = 200, description = "The bytes that the task's program has printed on its standard output, and while it runs those that come, to its end. An answer that breaks off is not whole: go on with `offset` and `attempt`. Of an attempt that printed nothing the answer is empty, with `Deia-Output-Length: 0`; one whose output was not kept is 404 `output_missing`",
        content((String = "application/octet-stream")),
        headers(("Deia-Attempt" = u32, description = "The attempt whose output this is"),
                ("Deia-Output-Length" = Option<u64>, description = "How long the whole output is, in bytes; absent while the program runs"))))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let id: TaskId = call.id("task")?;
    let offset = call.number("offset", 0..=u64::MAX, 0)?;
    let attempt = call.query::<u32>("attempt")?;
    let follow = call.query("follow")?.unwrap_or(true);
    let output = call
        .hive()
        .tasks()
        .output(&call.who, id, attempt, offset)
        .await?;
    let (attempt, whole) = (output.attempt(), !output.goes_on());
    let length = output.length();
    let end = if follow { u64::MAX } else { length };
    let answer = call.streamed("application/octet-stream", move |mut sink| async move {
        match pass_on(output, offset, end, &mut sink).await {
            Err(Over::Stopping) => sink.break_off("the server stops").await,
            Err(Over::Refused) => sink.break_off("the key is not accepted any more").await,
            Ok(()) | Err(Over::Unread) => {}
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

/// Sends the output from `offset` to `end`. The last piece is cut at `end`.
async fn pass_on(
    mut output: TaskOutput,
    offset: u64,
    end: u64,
    sink: &mut Sink,
) -> Result<(), Over> {
    let mut left = end.saturating_sub(offset);
    while left > 0 {
        match sink.wait(output.next()).await? {
            Ok(Some(mut piece)) => {
                piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                left -= piece.len() as u64;
                sink.send(piece).await?;
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "the output of a task cannot be read");
                sink.break_off("the output cannot be read").await;
                return Ok(());
            }
        }
    }
    Ok(())
}
