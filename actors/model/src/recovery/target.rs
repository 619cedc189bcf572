//! The request for a restore, and the moment that it names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{TaskId, Timestamp, Violation};

/// The number of an event, with or without its history: `4711` or `1.4711`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventNumber {
    /// The history; `None`: the newest one of the archive, or that of the restore point.
    pub timeline: Option<u64>,
    /// Number of the event, from 1.
    pub seq: u64,
}

/// A text that is not the number of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the number of an event, such as 4711 or, with its history, 1.4711")]
pub struct InvalidEventNumber;

impl FromStr for EventNumber {
    type Err = InvalidEventNumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| match text.bytes().all(|it| it.is_ascii_digit()) {
            true => text.parse().ok().filter(|it| *it > 0),
            false => None,
        };
        let (timeline, seq) = match text.split_once('.') {
            Some((timeline, seq)) => (Some(number(timeline).ok_or(InvalidEventNumber)?), seq),
            None => (None, text),
        };
        let seq = number(seq).ok_or(InvalidEventNumber)?;
        Ok(Self { timeline, seq })
    }
}

impl fmt::Display for EventNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timeline {
            Some(timeline) => write!(f, "{timeline}.{}", self.seq),
            None => write!(f, "{}", self.seq),
        }
    }
}

impl TryFrom<String> for EventNumber {
    type Error = InvalidEventNumber;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<EventNumber> for String {
    fn from(number: EventNumber) -> Self {
        number.to_string()
    }
}

/// A moment to restore to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreMoment {
    /// The newest commit at this time.
    At(Timestamp),
    /// The commit that recorded this event.
    Event(EventNumber),
    /// The newest commit before this event.
    BeforeEvent(EventNumber),
    /// The commit that accepted this task.
    Task(TaskId),
    /// The newest commit before that.
    BeforeTask(TaskId),
}

impl RestoreMoment {
    /// Returns the name of the member of a request that names the moment.
    pub fn name(self) -> &'static str {
        match self {
            Self::At(_) => "at",
            Self::Event(_) => "event",
            Self::BeforeEvent(_) => "before_event",
            Self::Task(_) => "task",
            Self::BeforeTask(_) => "before_task",
        }
    }
}

/// A request for a restore: the place, and a moment after the restore point. At most one of `at`,
/// `event`, `before_event`, `task` and `before_task` is given; the point itself is restored if none
/// is, and the newest commit if there is no point either.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRestore {
    /// `in_place`: the data directory of this hive, through a restart; or the absolute path of
    /// a new directory on its machine.
    #[schema(max_length = 4096, example = "in_place")]
    pub to: String,
    /// The newest commit at this time, which is not before the point and not in the future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// The commit that recorded this event: its number, or the history, a dot and the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = r"^([1-9][0-9]{0,17}\.)?[1-9][0-9]{0,17}$", example = "1.4711")]
    pub event: Option<EventNumber>,
    /// The newest commit before this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = r"^([1-9][0-9]{0,17}\.)?[1-9][0-9]{0,17}$", example = "1.4711")]
    pub before_event: Option<EventNumber>,
    /// The commit that accepted this task: the restored store has it, and it has not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^task_[0-7][0-9a-hjkmnp-tv-z]{25}$", example = "task_01h455vb4pex5vsknk084sn02q")]
    pub task: Option<TaskId>,
    /// The newest commit before this task was accepted: the restored store does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^task_[0-7][0-9a-hjkmnp-tv-z]{25}$", example = "task_01h455vb4pex5vsknk084sn02q")]
    pub before_task: Option<TaskId>,
    /// True if the restored hive works at once: the queue and the webhooks are not paused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub go: bool,
}

impl NewRestore {
    /// Returns the moment, if there is one.
    ///
    /// # Errors
    /// There are several: one violation for each.
    pub fn moment(&self) -> Result<Option<RestoreMoment>, Vec<Violation>> {
        let given = [
            self.at.map(RestoreMoment::At),
            self.event.map(RestoreMoment::Event),
            self.before_event.map(RestoreMoment::BeforeEvent),
            self.task.map(RestoreMoment::Task),
            self.before_task.map(RestoreMoment::BeforeTask),
        ];
        let given: Vec<_> = given.into_iter().flatten().collect();
        if given.len() <= 1 {
            return Ok(given.into_iter().next());
        }
        let names: Vec<_> = given.iter().map(|it| it.name()).collect();
        let violation = |name: &&str| Violation {
            pointer: format!("/{name}"),
            detail: format!("must be the only moment, of {}", names.join(", ")),
        };
        Err(names.iter().map(violation).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_an_event_is_parsed_with_and_without_its_history() {
        for (text, expected) in [
            ("4711", Some((None, 4711))),
            ("1.4711", Some((Some(1), 4711))),
            ("12.1", Some((Some(12), 1))),
            ("0", None),
            ("1.0", None),
            ("0.1", None),
            ("", None),
            ("1.", None),
            (".1", None),
            ("1.2.3", None),
            ("-1", None),
            ("+1", None),
            ("1 ", None),
            ("99999999999999999999", None),
        ] {
            let found = text.parse::<EventNumber>().ok();
            let found = found.map(|it| (it.timeline, it.seq));
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(
            "2.7".parse::<EventNumber>().unwrap().to_string(),
            "2.7".to_owned()
        );
    }

    #[test]
    fn several_moments_are_refused_each_by_its_name() {
        let request = |body| serde_json::from_value::<NewRestore>(body).unwrap();
        let one = request(serde_json::json!({"to": "in_place", "event": "3"}));
        let moment = one.moment().unwrap().unwrap();
        assert_eq!(moment.name(), "event");
        assert_eq!(
            request(serde_json::json!({"to": "x"})).moment().unwrap(),
            None
        );
        let two = serde_json::json!({"to": "x", "event": "3", "at": "2026-11-20T08:30:00Z"});
        let violations = request(two).moment().unwrap_err();
        let pointers: Vec<_> = violations.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(pointers, ["/at", "/event"]);
    }
}
