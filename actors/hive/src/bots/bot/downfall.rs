//! Choice of the attempts that are charged with the death of a bot. Pure.

use deia_model::AttemptEnd;

use super::AttemptKey;

/// Cause of the death of a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Downfall {
    /// Unknown: a panic, or a supervisor that had to kill the bot.
    Unexplained,
    /// The bot was stopped or restarted on purpose.
    Stopped,
    /// This attempt took the bot down.
    CausedBy(AttemptKey),
    /// The attempt that took the bot down has its result already.
    Explained,
    /// The executor went down by itself, and any of the attempts may be the cause.
    ExecutorDied,
}

impl Downfall {
    /// Notes that the bot stops. An attempt that took it down stays charged.
    pub(super) fn stopped(&mut self) {
        if *self == Self::Unexplained {
            *self = Self::Stopped;
        }
    }

    /// Notes the attempt that takes the bot down.
    pub(super) fn caused_by(&mut self, attempt: AttemptKey) {
        *self = Self::CausedBy(attempt);
    }

    /// Notes that the attempt that takes the bot down has its result already.
    pub(super) fn explained(&mut self) {
        *self = Self::Explained;
    }

    /// Notes that the executor went down by itself.
    pub(super) fn executor_died(&mut self) {
        *self = Self::ExecutorDied;
    }

    /// Returns the end of an attempt that was one of `running` when the bot went down. A death is
    /// charged to the attempt that is known to have caused it; an unexplained one to an attempt
    /// that ran alone; of several, each becomes a suspect.
    pub(super) fn end_of(self, attempt: AttemptKey, running: usize) -> AttemptEnd {
        match self {
            Self::Stopped | Self::Explained => AttemptEnd::GivenBack,
            Self::CausedBy(guilty) if guilty == attempt => AttemptEnd::BotDied,
            Self::CausedBy(_) => AttemptEnd::GivenBack,
            Self::Unexplained | Self::ExecutorDied if running <= 1 => AttemptEnd::BotDied,
            Self::Unexplained | Self::ExecutorDied => AttemptEnd::Suspected,
        }
    }
}

#[cfg(test)]
mod tests {
    use deia_model::TaskId;

    use super::*;

    #[test]
    fn known_cause_or_sole_attempt_is_charged() {
        let attempt = AttemptKey {
            task: TaskId::new(),
            number: 1,
        };
        let other = AttemptKey {
            number: 2,
            ..attempt
        };
        for (downfall, running, expected) in [
            (Downfall::Stopped, 1, AttemptEnd::GivenBack),
            (Downfall::Stopped, 8, AttemptEnd::GivenBack),
            (Downfall::CausedBy(attempt), 1, AttemptEnd::BotDied),
            (Downfall::CausedBy(attempt), 8, AttemptEnd::BotDied),
            (Downfall::CausedBy(other), 8, AttemptEnd::GivenBack),
            (Downfall::Explained, 1, AttemptEnd::GivenBack),
            (Downfall::Explained, 8, AttemptEnd::GivenBack),
            (Downfall::ExecutorDied, 1, AttemptEnd::BotDied),
            (Downfall::ExecutorDied, 2, AttemptEnd::Suspected),
            (Downfall::Unexplained, 1, AttemptEnd::BotDied),
            (Downfall::Unexplained, 2, AttemptEnd::Suspected),
        ] {
            assert_eq!(downfall.end_of(attempt, running), expected, "{downfall:?}");
        }
    }

    #[test]
    fn attempt_that_took_the_bot_down_stays_charged_after_a_stop() {
        let guilty = AttemptKey {
            task: TaskId::new(),
            number: 1,
        };
        let mut downfall = Downfall::Unexplained;
        downfall.caused_by(guilty);
        downfall.stopped();
        assert_eq!(downfall, Downfall::CausedBy(guilty));
        let mut downfall = Downfall::Unexplained;
        downfall.stopped();
        assert_eq!(downfall, Downfall::Stopped);
        // The actor stops after its executor died.
        downfall.executor_died();
        downfall.stopped();
        assert_eq!(downfall, Downfall::ExecutorDied);
    }
}
