//! Problems of requests that the framer refused.

use deia_framer::FramingFault;

use super::Problem;
use crate::http::body::catalogue::Code;

impl From<FramingFault> for Code {
    fn from(fault: FramingFault) -> Self {
        match fault {
            FramingFault::Malformed => Self::MalformedRequest,
            FramingFault::HeadTooLarge => Self::HeadTooLarge,
            FramingFault::TargetTooLong => Self::TargetTooLong,
            FramingFault::ExpectationFailed => Self::ExpectationFailed,
            FramingFault::TooSlow => Self::RequestTimeout,
        }
    }
}

impl From<deia_framer::FramingError> for Problem {
    fn from(refusal: deia_framer::FramingError) -> Self {
        Self::new(refusal.fault.into(), refusal.detail)
    }
}
