//! Capacity of the queue: in total, and per submitter.

use super::Rejection;
use crate::SubmitterLimits;

/// Waiting tasks, and the bytes that they occupy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Number of tasks.
    pub tasks: u64,
    /// Bytes of content and metadata.
    pub bytes: u64,
}

/// The state of the queue at the time of a submission.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// Waiting tasks of the submitter.
    pub own: Load,
    /// Waiting tasks of all submitters.
    pub all: u64,
    /// Maximum number of waiting tasks in total (`tasks.max_waiting`).
    pub max_all: u64,
}

/// Decides whether a submitter may have `more` waiting tasks.
///
/// # Errors
/// The limit that would be exceeded. That of the submitter comes first: it is the one
/// that the submitter can do something about.
pub fn admit(limits: &SubmitterLimits, backlog: Backlog, more: Load) -> Result<(), Rejection> {
    let Backlog { own, all, max_all } = backlog;
    let max_bytes = limits.max_waiting_bytes.as_u64();
    if more.tasks == 0 {
        return Ok(());
    }
    if own.tasks + more.tasks > limits.max_waiting {
        return Err(Rejection::QueueShareUsedUp {
            what: "tasks",
            waiting: own.tasks,
            limit: limits.max_waiting,
            setting: "max_waiting",
        });
    }
    if own.bytes + more.bytes > max_bytes {
        return Err(Rejection::QueueShareUsedUp {
            what: "bytes",
            waiting: own.bytes,
            limit: max_bytes,
            setting: "max_waiting_bytes",
        });
    }
    if all + more.tasks > max_all {
        return Err(Rejection::QueueFull { limit: max_all });
    }
    Ok(())
}

/// Capacity for new task types.
#[derive(Clone, Copy, Debug)]
pub struct TypeRoom {
    /// Number of types that the submitter has tasks of.
    pub own: u64,
    /// Number of types that anybody has tasks of.
    pub all: u64,
    /// Maximum number of types of the submitter.
    pub max_own: u64,
    /// Maximum number of types in total.
    pub max_all: u64,
    /// True if the submitter may not learn which types others use.
    pub restricted: bool,
}

/// Reason why a task of a new type is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeLimit {
    /// The submitter has the maximum number of types.
    Own(u64),
    /// There is the maximum number of types.
    All(u64),
}

impl TypeRoom {
    /// Takes room for a type that the submitter has no task of. `known`: others
    /// have. A restricted submitter gets the same answer for a known type as for one
    /// that nobody has: anything else would tell which types others use.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn admit(&mut self, known: bool) -> Result<(), TypeLimit> {
        if self.own >= self.max_own {
            return Err(TypeLimit::Own(self.max_own));
        }
        let takes_place = !known || self.restricted;
        if takes_place && self.all >= self.max_all {
            return Err(TypeLimit::All(self.max_all));
        }
        self.own += 1;
        self.all += u64::from(takes_place);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytesize::ByteSize;

    use super::*;

    #[test]
    fn tasks_wait_up_to_the_limits_and_not_beyond() {
        let limits = SubmitterLimits {
            max_waiting: 10,
            max_waiting_bytes: ByteSize::b(100),
            max_types: 1,
        };
        let share = |what, waiting, limit, setting| {
            Err(Rejection::QueueShareUsedUp {
                what,
                waiting,
                limit,
                setting,
            })
        };
        for ((own, all), (tasks, bytes), expected) in [
            ((0, 0), (10, 100), Ok(())),
            ((9, 19), (1, 0), Ok(())),
            ((0, 0), (11, 0), share("tasks", 0, 10, "max_waiting")),
            ((9, 0), (2, 0), share("tasks", 9, 10, "max_waiting")),
            (
                (1, 0),
                (1, 100),
                share("bytes", 1, 100, "max_waiting_bytes"),
            ),
            ((0, 20), (1, 0), Err(Rejection::QueueFull { limit: 20 })),
            ((10, 20), (1, 0), share("tasks", 10, 10, "max_waiting")),
            // The backlog may exceed limits that were lowered.
            ((50, 99), (0, 0), Ok(())),
        ] {
            let backlog = Backlog {
                own: Load {
                    tasks: own,
                    bytes: own,
                },
                all,
                max_all: 20,
            };
            let admitted = admit(&limits, backlog, Load { tasks, bytes });
            assert_eq!(admitted, expected, "{own} {all} {tasks} {bytes}");
        }
    }

    #[test]
    fn known_types_are_no_oracle_for_confined_submitters() {
        for (own, all, restricted, known, expected) in [
            (0, 0, false, false, Ok(())),
            (2, 5, false, false, Err(TypeLimit::Own(2))),
            (2, 5, false, true, Err(TypeLimit::Own(2))),
            (0, 9, false, false, Err(TypeLimit::All(9))),
            (0, 9, false, true, Ok(())),
            (0, 9, true, false, Err(TypeLimit::All(9))),
            (0, 9, true, true, Err(TypeLimit::All(9))),
            (2, 9, true, true, Err(TypeLimit::Own(2))),
            (1, 8, true, true, Ok(())),
        ] {
            let mut room = TypeRoom {
                own,
                all,
                max_own: 2,
                max_all: 9,
                restricted,
            };
            assert_eq!(
                room.admit(known),
                expected,
                "{own} {all} {restricted} {known}"
            );
        }
    }
}
