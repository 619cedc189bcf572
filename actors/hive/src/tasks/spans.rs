//! The trace of a submission.

use deia_ledger::StoreError;
use deia_model::{NewTask, TraceContext};

use crate::{
    trace,
    trace::{OpenSpan, SpanKind},
};

/// Span of a submission: from the request to the disk.
pub(super) struct SubmitSpan(Option<(OpenSpan, u32)>);

impl SubmitSpan {
    /// Begins the span if the trace of the tasks is recorded, and makes it the parent of the
    /// spans of the tasks. All tasks of a submission belong to one trace.
    pub(super) fn begin(tasks: &mut [NewTask]) -> Self {
        let parent = tasks
            .first()
            .and_then(|task| TraceContext::parse(task.traceparent.as_deref()?));
        let span = parent.and_then(trace::below);
        if let Some(span) = &span {
            let traceparent = span.context.to_string();
            for task in tasks.iter_mut() {
                task.traceparent = Some(traceparent.clone());
            }
        }
        let count = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        Self(span.map(|span| (span, count)))
    }

    /// Ends the span.
    pub(super) fn end(self, error: Option<&StoreError>) {
        if let Some((span, count)) = self.0 {
            let attributes = vec![("deia.tasks", count.into())];
            let error = error.map(ToString::to_string);
            span.end("submit", SpanKind::Producer, attributes, error);
        }
    }
}
