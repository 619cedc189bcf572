//! The number of tasks that a bot may be given: its slots, fewer after faults, none while it holds
//! back. Pure.
//!
//! A fault of the bot (a missing program, a host without descriptors) must not drain the queue: the
//! bot that fails fastest is the least loaded and would be given everything. So a fault closes the
//! intake for a time that doubles. The intake opens again with as many slots as worked beside the
//! fault, or one more than the running tasks, and widens in growing steps as long as attempts
//! start.

use std::time::{Duration, Instant};

use super::attempt::FaultPhase;

/// Limits of the pause after faults (`bots.fault`).
#[derive(Clone, Copy, Debug)]
pub(super) struct FaultPolicy {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

/// Limits of the pauses that a bot or its provider asks for (`bots.pause`).
#[derive(Clone, Copy, Debug)]
pub(super) struct PausePolicy {
    /// Pause if no end of it came with the refusal.
    pub(super) default: Duration,
    pub(super) max: Duration,
}

impl PausePolicy {
    /// Returns the length of a pause for which `asked` was asked.
    pub(super) fn hold(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or(self.default).min(self.max)
    }
}

/// The number of tasks that a bot may run now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intake {
    policy: FaultPolicy,
    places: u32,
    allowed: u32,
    /// Slots that the next widening adds. Doubles, so that a bot whose program is back works at
    /// full capacity soon, and a bot that meets a limit exceeds it by little.
    step: u32,
    /// Faults since an attempt last got past the phase of the latest fault.
    faults: u32,
    phase: FaultPhase,
    closed_until: Option<Instant>,
}

impl Intake {
    pub(super) fn new(policy: FaultPolicy, places: u32) -> Self {
        Self {
            policy,
            places,
            allowed: places,
            step: 1,
            faults: 0,
            phase: FaultPhase::Start,
            closed_until: None,
        }
    }

    /// Notes a fault of the bot while `in_hand` other attempts ran. Returns the pause if this fault
    /// closes the intake. Further faults of the same batch change nothing: they share one cause.
    pub(super) fn fault(
        &mut self,
        phase: FaultPhase,
        in_hand: u32,
        now: Instant,
    ) -> Option<Duration> {
        self.allowed = self.allowed.min(in_hand.max(1));
        self.step = 1;
        if self.closed_until.is_some() {
            return None;
        }
        self.phase = phase;
        let doublings = self.faults.min(30);
        self.faults = self.faults.saturating_add(1);
        let hold = self.policy.min.saturating_mul(1 << doublings);
        let hold = hold.min(self.policy.max);
        self.closed_until = Some(now + hold);
        Some(hold)
    }

    /// Closes the intake for `hold`, which is no fault: the bot or its provider asked for it.
    /// Returns whether the intake is closed for longer than before.
    pub(super) fn pause(&mut self, hold: Duration, now: Instant) -> bool {
        let until = now + hold;
        let longer = self.closed_until.is_none_or(|closed| closed < until);
        if longer {
            self.closed_until = Some(until);
        }
        longer
    }

    /// Notes that an attempt passed this phase without a fault. Returns whether the bot is thereby
    /// proved to work: the start of an attempt proves nothing about a fault at the end of attempts.
    pub(super) fn works(&mut self, phase: FaultPhase) -> bool {
        phase >= self.phase && std::mem::take(&mut self.faults) > 0
    }

    /// Returns the number of faults in a row.
    pub(super) fn faults(&self) -> u32 {
        self.faults
    }

    /// Opens the intake when it is due, and widens it as long as no fault is open. Called
    /// periodically.
    pub(super) fn beat(&mut self, in_hand: u32, now: Instant) {
        match self.closed_until {
            Some(until) if now < until => return,
            Some(_) => {
                self.closed_until = None;
                self.allowed = self.allowed.max(in_hand.saturating_add(1));
            }
            None if self.faults == 0 && self.allowed < self.places => {
                self.allowed = self.allowed.saturating_add(self.step);
                self.step = self.step.saturating_mul(2);
            }
            None => {}
        }
        self.allowed = self.allowed.min(self.places);
    }

    /// Returns how many tasks the bot may run; `None` while it holds back.
    pub(super) fn allowed(&self) -> Option<u32> {
        self.closed_until.is_none().then_some(self.allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn intake(places: u32) -> Intake {
        let policy = FaultPolicy {
            min: 2 * SECOND,
            max: 60 * SECOND,
        };
        Intake::new(policy, places)
    }

    #[test]
    fn each_fault_in_a_row_doubles_the_pause() {
        let (mut intake, mut now) = (intake(4), Instant::now());
        let mut holds = Vec::new();
        for _ in 0..8 {
            let hold = intake.fault(FaultPhase::Start, 0, now).unwrap();
            assert_eq!(intake.allowed(), None);
            intake.beat(0, now + hold - Duration::from_millis(1));
            assert_eq!(intake.allowed(), None);
            now += hold;
            intake.beat(0, now);
            assert_eq!(intake.allowed(), Some(1), "one task tries");
            holds.push(hold.as_secs());
        }
        assert_eq!(holds, [2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn pauses_close_the_intake_and_count_as_no_fault() {
        let (mut intake, now) = (intake(4), Instant::now());
        assert!(intake.pause(10 * SECOND, now));
        assert!(!intake.pause(5 * SECOND, now), "the longer pause stays");
        assert_eq!((intake.allowed(), intake.faults()), (None, 0));
        intake.beat(0, now + 9 * SECOND);
        assert_eq!(intake.allowed(), None);
        intake.beat(0, now + 10 * SECOND);
        assert_eq!(intake.allowed(), Some(4), "all slots at once");
    }

    #[test]
    fn faults_of_one_batch_count_once() {
        let (mut intake, now) = (intake(4), Instant::now());
        assert!(intake.fault(FaultPhase::Start, 3, now).is_some());
        assert!(intake.fault(FaultPhase::Start, 2, now).is_none());
        intake.beat(0, now + 2 * SECOND);
        assert_eq!(intake.fault(FaultPhase::Start, 0, now), Some(4 * SECOND));
    }

    #[test]
    fn starts_after_a_fault_widen_the_intake_in_steps() {
        let (mut intake, now) = (intake(20), Instant::now());
        assert_eq!(intake.allowed(), Some(20));
        intake.fault(FaultPhase::Start, 5, now);
        let now = now + 2 * SECOND;
        intake.beat(5, now);
        assert_eq!(intake.allowed(), Some(6));
        intake.beat(5, now);
        assert_eq!(intake.allowed(), Some(6), "nothing has started since");
        assert!(intake.works(FaultPhase::Start));
        assert!(!intake.works(FaultPhase::Start));
        let mut allowed = Vec::new();
        for _ in 0..6 {
            intake.beat(5, now);
            allowed.extend(intake.allowed());
        }
        assert_eq!(allowed, [7, 9, 13, 20, 20, 20]);
        assert_eq!(
            intake.fault(FaultPhase::Start, 19, now),
            Some(2 * SECOND),
            "a start forgives earlier faults"
        );
    }

    #[test]
    fn intake_opens_with_as_many_slots_as_worked_at_a_host_limit() {
        let (mut intake, now) = (intake(300), Instant::now());
        // The limit lets 38 of 300 attempts begun at once start.
        for others in (38..300).rev() {
            intake.fault(FaultPhase::Start, others, now);
        }
        assert!(intake.works(FaultPhase::Start));
        let now = now + 2 * SECOND;
        intake.beat(0, now);
        assert_eq!(intake.allowed(), Some(38), "the 38 have ended meanwhile");
        intake.beat(38, now);
        assert_eq!(intake.allowed(), Some(39));
    }

    #[test]
    fn an_attempt_that_starts_does_not_forgive_a_fault_at_the_end() {
        let (mut intake, now) = (intake(4), Instant::now());
        intake.fault(FaultPhase::End, 0, now);
        assert!(!intake.works(FaultPhase::Start));
        assert_eq!(intake.faults(), 1);
        assert!(intake.works(FaultPhase::End));
        assert_eq!(intake.faults(), 0);
    }
}
