//! Errors of the configuration: each names the key, the value and what is allowed.

use std::{fmt, ops::RangeInclusive, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use deia_model::duration::in_days;

/// A setting that is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Key in dotted form.
    pub key: String,
    /// Value that was given; `None` if there is no such key.
    pub value: Option<String>,
    /// Values that are allowed. For an unknown key, a similar known key if there is one.
    pub allowed: String,
    /// Option, variable or file that the value comes from, if known.
    pub source: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            value,
            allowed,
            source,
        } = self;
        if let Some(value) = value {
            write!(f, "{key}: {value} is not allowed; expected {allowed}")?;
            return match source {
                Some(source) => write!(f, " (set by {source})"),
                None => Ok(()),
            };
        }
        write!(f, "{}: no such setting", source.as_ref().unwrap_or(key))?;
        match allowed.as_str() {
            "" => Ok(()),
            meant => write!(f, "; did you mean {meant}?"),
        }
    }
}

/// Reason why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file does not exist or cannot be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Reason of the failure.
        reason: String,
    },
    /// A layer is not YAML, has an unknown key, or a value of the wrong type.
    #[error("{0}")]
    Malformed(String),
    /// Values out of their range.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Problem>),
}

/// Collects every problem, so that all are reported at once.
#[derive(Default)]
pub(super) struct Checker {
    problems: Vec<Problem>,
    rules: Vec<Rule>,
}

/// Kind of value that a setting has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Size,
    Duration,
}

/// Constraint that a check enforces, for the documents.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) key: String,
    pub(super) kind: Kind,
    /// Description of the constraint for people.
    pub(super) allowed: String,
    /// Bounds of a number.
    pub(super) least: serde_json::Value,
    pub(super) most: serde_json::Value,
}

impl Checker {
    pub(super) fn refuse(
        &mut self,
        key: impl Into<String>,
        value: impl fmt::Display,
        allowed: impl Into<String>,
    ) {
        self.problems.push(Problem {
            key: key.into(),
            value: Some(value.to_string()),
            allowed: allowed.into(),
            source: None,
        });
    }

    pub(super) fn number<N>(&mut self, key: &str, value: N, allowed: RangeInclusive<N>)
    where
        N: PartialOrd + fmt::Display + serde::Serialize,
    {
        let text = format!("{} to {}", allowed.start(), allowed.end());
        self.rule(key, Kind::Number, &text);
        if let Some(rule) = self.rules.last_mut() {
            // Only numbers are converted, so these cannot fail.
            rule.least = serde_json::to_value(allowed.start()).unwrap_or_default();
            rule.most = serde_json::to_value(allowed.end()).unwrap_or_default();
        }
        if !allowed.contains(&value) {
            self.refuse(key, value, text);
        }
    }

    pub(super) fn fraction(&mut self, key: &str, value: f64, allowed: RangeInclusive<f64>) {
        self.number(key, value, allowed);
    }

    pub(super) fn size(&mut self, key: &str, value: ByteSize, allowed: RangeInclusive<u64>) {
        let (least, most) = (ByteSize(*allowed.start()), ByteSize(*allowed.end()));
        let text = format!("{least} to {most}");
        self.rule(key, Kind::Size, &text);
        if !allowed.contains(&value.as_u64()) {
            self.refuse(key, value, text);
        }
    }

    pub(super) fn duration(
        &mut self,
        key: &str,
        value: Duration,
        allowed: RangeInclusive<Duration>,
    ) {
        let show = in_days;
        let text = format!("{} to {}", show(*allowed.start()), show(*allowed.end()));
        self.rule(key, Kind::Duration, &text);
        if !allowed.contains(&value) {
            self.refuse(key, show(value), text);
        }
    }

    pub(super) fn not_empty(&mut self, key: &str, value: &str) {
        if value.is_empty() {
            self.refuse(key, "an empty value", "some text");
        }
    }

    pub(super) fn done(self) -> Vec<Problem> {
        self.problems
    }

    /// Returns the rules that were checked.
    pub(super) fn rules(self) -> Vec<Rule> {
        self.rules
    }

    fn rule(&mut self, key: &str, kind: Kind, allowed: &str) {
        self.rules.push(Rule {
            key: key.to_owned(),
            kind,
            allowed: allowed.to_owned(),
            least: serde_json::Value::Null,
            most: serde_json::Value::Null,
        });
    }
}
