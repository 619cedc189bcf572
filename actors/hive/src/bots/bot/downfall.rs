//! Choice of the attempts that are charged when a bot goes down. Pure.

use deia_model::AttemptEnd;

use super::AttemptKey;

/// Why a bot goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Downfall {
    /// Nobody said: a panic, or a supervisor that had to kill it.
    Unexplained,
    /// It is stopped or restarted on purpose.
    Stopped,
    /// This attempt took it down.
    CausedBy(AttemptKey),
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

    /// Returns how an attempt ends that was running, as one of `running`, when the
    /// bot went down. A death is charged to the attempt that is known to have
    /// caused it; an unexplained one to an attempt that ran alone; several are suspects.
    pub(super) fn end_of(self, attempt: AttemptKey, running: usize) -> AttemptEnd {
        match self {
            Self::Stopped => AttemptEnd::GivenBack,
            Self::CausedBy(guilty) if guilty == attempt => AttemptEnd::BotDied,
            Self::CausedBy(_) => AttemptEnd::GivenBack,
            Self::Unexplained if running <= 1 => AttemptEnd::BotDied,
            Self::Unexplained => AttemptEnd::Suspected,
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
            (Downfall::Unexplained, 1, AttemptEnd::BotDied),
            (Downfall::Unexplained, 2, AttemptEnd::Suspected),
        ] {
            assert_eq!(downfall.end_of(attempt, running), expected, "{downfall:?}");
        }
    }

    #[test]
    fn a_stop_does_not_absolve_the_guilty() {
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
    }
}
