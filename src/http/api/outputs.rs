//! The outputs of tasks, streamed.

use std::ops::Range;

use actix_web::{
    HttpResponse,
    http::{
        Method, StatusCode,
        header::{ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderName, HeaderValue, VARY},
    },
};
use deia_hive::TaskOutput;
use deia_model::TaskId;

use crate::http::{
    api::{
        dto::LiveOutput,
        live_outputs::{self, Encoding},
        sse,
    },
    body::{
        accept,
        answer::{Answer, with_header},
        problem::Problem,
        range::{self, Part},
        streams::{Over, Sink, with_length},
    },
    context::RequestCtx,
    operation::describe,
};

const ATTEMPT: HeaderName = HeaderName::from_static("deia-attempt");
const LENGTH: HeaderName = HeaderName::from_static("deia-output-length");
const BYTES: &str = "application/octet-stream";

describe! { get:
    params(
        ("id" = TaskId, Path, description = "The task"),
        ("offset" = Option<u64>, Query, description = "First byte; 0 when absent"),
        ("attempt" = Option<u32>, Query, description = "Number of the attempt; the last one when absent. Give `Deia-Attempt` of an interrupted answer to continue it. Without it, an event stream continues with later attempts"),
        ("follow" = Option<bool>, Query, description = "`false`: only the output so far, without waiting for a running program. `true` when absent, and always for an event stream"),
        ("encoding" = inline(Option<Encoding>), Query, description = "For the event stream: `utf8` sends text, with bytes that are not UTF-8 replaced; `base64` sends the bytes unchanged. `utf8` when absent"),
        ("last_event_id" = Option<String>, Query, description = "For the event stream: `Last-Event-ID`, for clients that cannot set the header. The header has precedence"),
        ("Last-Event-ID" = Option<String>, Header, description = "For the event stream: continue after the event with this id, `<attempt>.<offset>`"),
        ("Range" = Option<String>, Header, description = "One range of bytes of a complete output: `bytes=a-b`, `bytes=a-` or `bytes=-n`. Any other range, and any range beside `offset`, is answered with the whole output"),
        ("If-Range" = Option<String>, Header, description = "Answer the range only if the output has this `ETag`"),
        ("If-None-Match" = Option<String>, Header, description = "Answer 304 if the output has this `ETag`"),
    ),
    responses(
        (status = 200, description = "The standard output of the task's program; while the program runs, the answer continues to its end. An interrupted answer is incomplete: continue with `offset` and `attempt`. If the attempt printed nothing, the answer is empty, with `Deia-Output-Length: 0`; if its output was not kept, it is 404 `output_missing`. With `Accept: text/event-stream`: Server-Sent Events, through all attempts to the end of the task (see docs/OPERATIONS.md)",
            content((String = "application/octet-stream"), (LiveOutput = "text/event-stream")),
            headers(("Deia-Attempt" = u32, description = "Number of the attempt"),
                    ("Deia-Output-Length" = Option<u64>, description = "Length of the whole output in bytes; absent while the program runs"),
                    ("ETag" = Option<String>, description = "Version of the output of an attempt that has ended"),
                    ("Accept-Ranges" = Option<String>, description = "`bytes` once the attempt has ended"))),
        (status = 206, description = "The range of bytes that was asked for",
            content((String = "application/octet-stream")),
            headers(("Content-Range" = String, description = "`bytes <first>-<last>/<length>`"))),
        (status = 304, description = "The output has the `ETag` of `If-None-Match`"))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let id: TaskId = call.id("task")?;
    if accept::prefers(call.request().headers(), "text/event-stream", BYTES) {
        return live_outputs::follow(call, id).await;
    }
    sse::only_for_streams(&call, &live_outputs::OF_STREAMS)?;
    let offset = call.number("offset", 0..=u64::MAX, 0)?;
    let attempt = call.query::<u32>("attempt")?;
    let follow = call.query("follow")?.unwrap_or(true);
    let output = call
        .hive()
        .tasks()
        .output(&call.who, id, attempt, offset)
        .await?;
    if !output.goes_on() {
        return ended(&call, output, id, offset);
    }
    let attempt = output.attempt();
    let end = match follow {
        true => u64::MAX,
        false => output.length(),
    };
    let answer = streamed(&call, output, offset..end)?;
    with_header(answer, ATTEMPT, &attempt.to_string())
}

/// Answers with an output that does not change any more, or with a part of it.
fn ended(call: &RequestCtx, output: TaskOutput, id: TaskId, offset: u64) -> Answer {
    let (attempt, length) = (output.attempt(), output.length());
    let (request, etag) = (call.request(), format!("\"{id}-{attempt}\""));
    let with_headers = |mut answer: HttpResponse| {
        let headers = answer.headers_mut();
        headers.insert(LENGTH, HeaderValue::from(length));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(VARY, HeaderValue::from_static("accept"));
        let answer = with_header(answer, ATTEMPT, &attempt.to_string())?;
        with_header(answer, ETAG, &etag)
    };
    if range::is_known(request.headers(), &etag) {
        return with_headers(HttpResponse::NotModified().finish());
    }
    // A range of an output from an offset on would be one of another representation.
    let part = match offset == 0 && *request.method() == Method::GET {
        true => range::part(request.headers(), length, &etag),
        false => Part::Whole,
    };
    let bytes = match &part {
        Part::Whole => offset..length,
        Part::Bytes(bytes) => bytes.clone(),
        Part::Beyond => return Err(Problem::range_not_satisfiable(length)),
    };
    let (first, end) = (bytes.start, bytes.end);
    let answer = streamed(call, output.starting_at(first), bytes)?;
    let mut answer = with_headers(with_length(answer, end - first))?;
    if part == Part::Whole {
        return Ok(answer);
    }
    *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    let range = format!("bytes {first}-{}/{length}", end.saturating_sub(1));
    with_header(answer, CONTENT_RANGE, &range)
}

/// Answers with these bytes of an output, the first of which it reads next.
fn streamed(call: &RequestCtx, output: TaskOutput, bytes: Range<u64>) -> Answer {
    let answer = call.streamed(BYTES, move |mut sink| async move {
        let ended = pass_on(output, bytes, &mut sink).await;
        sink.close(ended).await;
    })?;
    with_header(answer, VARY, "accept")
}

/// Sends the output of these bytes. The last piece is cut at their end.
async fn pass_on(mut output: TaskOutput, bytes: Range<u64>, sink: &mut Sink) -> Result<(), Over> {
    let mut left = bytes.end.saturating_sub(bytes.start);
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
