//! Spans: the operations of a trace, with their begin and end.
//!
//! Spans are plain data, handed to one recorder for the whole process. Their ids are generated
//! here, before the work begins, so that a program can be given the span that it belongs to.
//! Without a recorder no span is created, and a task's `traceparent` is passed on unchanged.

use std::{
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use deia_model::TraceContext;
use ring::rand::{SecureRandom, SystemRandom};

/// Records ended spans. Must not block.
pub trait Recorder: Send + Sync + 'static {
    /// Records a span.
    fn record(&self, span: Span);
}

/// Role of a span between a caller and the called party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// The span answers a request.
    Server,
    /// The span hands work over for later.
    Producer,
    /// The span does work that was handed over.
    Consumer,
    /// The span is internal.
    Internal,
}

/// Value of an attribute of a span.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// An ended span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Name of the operation, one of few.
    pub name: String,
    /// Kind of the span.
    pub kind: SpanKind,
    /// Ids of the trace and of the span.
    pub context: TraceContext,
    /// Id of the parent span.
    pub parent: Option<u64>,
    /// True if the parent is in another process.
    pub parent_is_remote: bool,
    /// Time at which the span began.
    pub began: SystemTime,
    /// Time at which the span ended.
    pub ended: SystemTime,
    /// Attributes of the span.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Reason of the failure, if the span failed.
    pub error: Option<String>,
}

/// An open span.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenSpan {
    /// Ids of the trace and of the span.
    pub context: TraceContext,
    parent: Option<u64>,
    parent_is_remote: bool,
    began: SystemTime,
}

struct Tracer {
    recorder: Arc<dyn Recorder>,
    /// Share of the requests without a trace that begin one.
    share: f64,
}

static TRACER: OnceLock<Tracer> = OnceLock::new();

/// Installs the recorder for the whole process; `share` (0 to 1) of the requests that belong to
/// no trace begin one. Only the first call has an effect.
pub fn install(recorder: Arc<dyn Recorder>, share: f64) {
    // A second recorder is a harmless mistake of the caller.
    let _ = TRACER.set(Tracer { recorder, share });
}

/// Begins the span of a request; `None`: the span is not recorded.
pub fn request(remote: Option<TraceContext>) -> Option<OpenSpan> {
    let tracer = TRACER.get()?;
    match remote {
        Some(parent) => child(parent, true),
        None => {
            let (trace_id, span_id) = random()?;
            let context = TraceContext {
                trace_id,
                span_id,
                sampled: true,
            };
            is_in_share(trace_id, tracer.share).then(|| OpenSpan {
                context,
                parent: None,
                parent_is_remote: false,
                began: SystemTime::now(),
            })
        }
    }
}

/// Begins a span below another one; `None`: the span is not recorded.
pub fn below(parent: TraceContext) -> Option<OpenSpan> {
    TRACER.get()?;
    child(parent, false)
}

fn child(parent: TraceContext, parent_is_remote: bool) -> Option<OpenSpan> {
    if !parent.sampled {
        return None;
    }
    let (_, span_id) = random()?;
    Some(OpenSpan {
        context: TraceContext { span_id, ..parent },
        parent: Some(parent.span_id),
        parent_is_remote,
        began: SystemTime::now(),
    })
}

impl OpenSpan {
    /// Sets an earlier begin than the time of creation.
    #[must_use]
    pub fn since(mut self, began: SystemTime) -> Self {
        self.began = began;
        self
    }

    /// Ends the span, and hands it to the recorder.
    pub fn end(
        self,
        name: impl Into<String>,
        kind: SpanKind,
        attributes: Vec<(&'static str, Attribute)>,
        error: Option<String>,
    ) {
        if let Some(tracer) = TRACER.get() {
            tracer.recorder.record(Span {
                name: name.into(),
                kind,
                context: self.context,
                parent: self.parent,
                parent_is_remote: self.parent_is_remote,
                began: self.began,
                ended: SystemTime::now().max(self.began),
                attributes,
                error,
            });
        }
    }
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Attribute {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// Returns true if a trace belongs to the share that is recorded. The decision depends on the
/// trace id, as in other systems, so that all participants decide alike.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the last 64 bits as a share"
)]
fn is_in_share(trace_id: u128, share: f64) -> bool {
    (trace_id as u64) as f64 / u64::MAX as f64 <= share && share > 0.0
}

/// Returns ids for a trace and a span; `None` if the system provides no random numbers.
fn random() -> Option<(u128, u64)> {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).ok()?;
    let (trace, span) = bytes.split_first_chunk::<16>()?;
    let trace_id = u128::from_le_bytes(*trace);
    let span_id = u64::from_le_bytes(*span.first_chunk()?);
    Some((trace_id.max(1), span_id.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_traces_is_recorded() {
        for (trace_id, share, expected) in [
            (1, 0.0, false),
            (0, 0.0, false),
            (u128::from(u64::MAX), 1.0, true),
            (u128::from(u64::MAX / 2), 0.6, true),
            (u128::from(u64::MAX / 2), 0.4, false),
            (u128::from(u64::MAX) + 1, 0.1, true),
        ] {
            assert_eq!(is_in_share(trace_id, share), expected, "{trace_id} {share}");
        }
    }

    #[test]
    fn a_child_is_of_the_same_trace_unless_nobody_records_that() {
        let parent = TraceContext {
            trace_id: 7,
            span_id: 9,
            sampled: true,
        };
        let span = child(parent, true).unwrap();
        assert_eq!((span.context.trace_id, span.parent), (7, Some(9)));
        assert_ne!(span.context.span_id, 9);
        let unsampled = TraceContext {
            sampled: false,
            ..parent
        };
        assert_eq!(child(unsampled, true), None);
        assert_eq!(request(Some(parent)), None, "there is no recorder");
    }
}
