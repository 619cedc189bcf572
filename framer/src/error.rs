//! Reasons why a request is not let pass.

/// Method of the request that stands in for a refused one. It is longer than the method
/// of any request that is let pass, so no client can send it.
pub const REFUSED_METHOD: &str = "REFUSED-BY-THE-GUARD-OF-THE-STREAM";

/// Kind of fault in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingFault {
    /// The request is not HTTP/1.1, or another parser might read it in another way.
    Malformed,
    /// The head is too long or has too many fields.
    HeadTooLarge,
    /// The target is too long.
    TargetTooLong,
    /// The client expects something else than `100 Continue`.
    ExpectationFailed,
    /// The head or the body came too slowly.
    TooSlow,
}

/// Reason why a request is not let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramingError {
    /// Kind of the fault.
    pub fault: FramingFault,
    /// Description of the fault: a sentence without its full stop.
    pub detail: &'static str,
}

impl FramingError {
    pub(crate) const fn malformed(detail: &'static str) -> Self {
        Self {
            fault: FramingFault::Malformed,
            detail,
        }
    }
}
