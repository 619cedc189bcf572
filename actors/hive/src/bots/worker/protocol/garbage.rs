//! Lines of a program that are not of the protocol, and how many there may be. Pure.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use crate::bots::bot::AttemptKey;

/// A line that is not of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Garbage {
    /// The line is no JSON object.
    NotJson,
    /// The type is none of those that a program may send.
    UnknownType,
    /// A field is missing, unknown, or has a wrong value.
    WrongFields {
        reason: String,
        /// The attempt that the message was to end.
        answers: Option<AttemptKey>,
    },
    /// The line is over the limit.
    TooLong {
        /// Length of the line.
        bytes: u64,
        /// The attempt that the message was to end, if its beginning says so.
        answers: Option<AttemptKey>,
    },
    /// The attempt does not run: it was never given to the program, or has ended.
    NoAttempt(AttemptKey),
    /// The message has its place elsewhere: a greeting that is not the first message, or
    /// anything else before it.
    OutOfPlace,
}

impl Garbage {
    /// Returns the kind, as it is counted.
    pub(in super::super) fn kind(&self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::UnknownType => "unknown_type",
            Self::WrongFields { .. } => "wrong_fields",
            Self::TooLong { .. } => "too_long",
            Self::NoAttempt(_) => "no_attempt",
            Self::OutOfPlace => "out_of_place",
        }
    }

    /// Returns the attempt that the message was to end.
    pub(in super::super) fn answers(&self) -> Option<AttemptKey> {
        match self {
            Self::WrongFields { answers, .. } | Self::TooLong { answers, .. } => *answers,
            _ => None,
        }
    }
}

impl fmt::Display for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("it is no JSON object"),
            Self::UnknownType => f.write_str("its type is none that a worker may send"),
            Self::WrongFields { reason, .. } => write!(f, "its fields are wrong: {reason}"),
            Self::TooLong { bytes, .. } => write!(
                f,
                "it has {bytes} bytes, more than bots.worker.max_line_bytes; send long output in several lines of type output"
            ),
            Self::NoAttempt(AttemptKey { task, number }) => write!(
                f,
                "attempt {number} at {task} does not run here: it was answered already, or never given"
            ),
            Self::OutOfPlace => f.write_str("the greeting comes first, and once"),
        }
    }
}

/// Limit of such lines (`bots.worker.max_garbage` within `garbage_window`).
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct GarbagePolicy {
    pub(in super::super) max: u32,
    pub(in super::super) window: Duration,
}

/// The times of the latest such lines.
#[derive(Clone, Debug)]
pub(in super::super) struct GarbageCount {
    policy: GarbagePolicy,
    at: VecDeque<Instant>,
}

impl GarbageCount {
    pub(in super::super) fn new(policy: GarbagePolicy) -> Self {
        Self {
            policy,
            at: VecDeque::new(),
        }
    }

    /// Notes a line. Returns whether there are now too many.
    pub(in super::super) fn note(&mut self, now: Instant) -> bool {
        let window = self.policy.window;
        while self
            .at
            .front()
            .is_some_and(|at| now.duration_since(*at) >= window)
        {
            self.at.pop_front();
        }
        self.at.push_back(now);
        self.at.len() > self.policy.max as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_within_the_window_count() {
        let window = Duration::from_secs(10);
        let mut count = GarbageCount::new(GarbagePolicy { max: 2, window });
        let begin = Instant::now();
        for (second, too_many) in [
            (0, false),
            (1, false),
            (2, true),
            (11, false),
            (12, false),
            (13, true),
        ] {
            let now = begin + Duration::from_secs(second);
            assert_eq!(count.note(now), too_many, "{second}");
        }
        let mut none = GarbageCount::new(GarbagePolicy { max: 0, window });
        assert!(none.note(begin));
    }
}
