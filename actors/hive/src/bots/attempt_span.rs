//! The trace span of an attempt: queue time and outcome.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deia_ledger::ClaimedTask;
use deia_model::{AttemptEnd, Timestamp, TraceContext};

use super::attempt::ExecutionResult;
use crate::{
    trace,
    trace::{Attribute, OpenSpan, SpanKind},
};

/// The span of a running attempt.
pub(super) struct AttemptSpan {
    span: OpenSpan,
    attributes: Vec<(&'static str, Attribute)>,
}

impl AttemptSpan {
    /// Starts the span, records the queue time, and makes the span the parent of the spans of the
    /// program. Returns `None` when the task's trace is not recorded.
    pub(super) fn begin(claimed: &mut ClaimedTask) -> Option<Self> {
        let parent = TraceContext::parse(claimed.task.traceparent.as_deref()?)?;
        let span = trace::below(parent)?;
        let task = &claimed.task;
        let attributes = vec![
            ("deia.task.id", task.id.to_string().into()),
            ("deia.task.type", task.task_type.as_str().into()),
            ("deia.task.attempt", task.attempt.into()),
            ("deia.bot", claimed.bot.as_str().into()),
        ];
        if let Some(waited) = trace::below(parent) {
            let since = system_time(task.run_at.max(task.created_at));
            let waited = waited.since(since.min(SystemTime::now()));
            waited.end("queue wait", SpanKind::Internal, attributes.clone(), None);
        }
        claimed.task.traceparent = Some(span.context.to_string());
        Some(Self { span, attributes })
    }

    /// Ends the span.
    pub(super) fn end(mut self, result: &ExecutionResult) {
        let end = result.end.as_str();
        self.attributes.push(("deia.task.outcome", end.into()));
        // The output of a program may contain secrets, so only the outcome is recorded.
        let failed = !matches!(
            result.end,
            AttemptEnd::Succeeded | AttemptEnd::Cancelled | AttemptEnd::GivenBack
        );
        let error = failed.then(|| end.to_owned());
        self.span
            .end("attempt", SpanKind::Consumer, self.attributes, error);
    }
}

fn system_time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(0))
}
