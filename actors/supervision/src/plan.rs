//! The policy, which decides what follows from the end of a child. Its functions are pure;
//! `supervisor.rs` carries it out.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    backoff::Backoff,
    exit::ExitReason,
    intensity::{Intensity, Limit, Window},
    record::ChildId,
    spec::{AutoShutdown, OnExhausted, Restart, Strategy},
};

/// Facts that are known when a child has ended by itself, or has failed to start.
pub(crate) struct ExitFacts<'a> {
    pub(crate) strategy: Strategy,
    pub(crate) child: ChildId,
    pub(crate) restart: Restart,
    pub(crate) reason: &'a ExitReason,
    pub(crate) significant: bool,
    /// Number of significant siblings that have not ended.
    pub(crate) significant_left: usize,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) exhausted: OnExhausted,
    pub(crate) backoff: &'a Backoff,
    /// Number of restarts in a row before this one.
    pub(crate) attempt: u32,
    /// Time for which the child ran; zero if it did not start.
    pub(crate) ran: Duration,
    pub(crate) now: Instant,
    /// Point within the jitter at which the delay falls, in `0.0..1.0`.
    pub(crate) random_fraction: f64,
}

/// Restart budget against which this child's restarts count: its own, or its supervisor's.
pub(crate) struct BudgetInUse<'a> {
    pub(crate) intensity: &'a Intensity,
    pub(crate) window: &'a mut Window,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// Remove the child and its specification.
    Forget,
    /// Leave the child down; its specification is kept.
    Leave,
    /// Stop the other children in the scope (latest first), wait, start the scope in order.
    Restart {
        scope: Scope,
        delay: Duration,
        attempt: u32,
    },
    /// Leave the child down, because it used up its budget.
    Quarantine,
    /// The supervisor gives up.
    GiveUp(Limit),
    /// The supervisor's work is done.
    ShutDown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    One(ChildId),
    /// The scope is this child and those after it.
    From(ChildId),
    All,
}

/// Decides what to do after an exit: one step, and perhaps another after that.
pub(crate) fn after_exit(
    facts: &ExitFacts<'_>,
    budget: BudgetInUse<'_>,
) -> (Decision, Option<Decision>) {
    if restarts(facts.restart, facts.reason) {
        return (restart_or_give_up(facts, budget), None);
    }
    let child = if is_forgotten(facts) {
        Decision::Forget
    } else {
        Decision::Leave
    };
    (child, ends_supervisor(facts).then_some(Decision::ShutDown))
}

/// Cause of a start of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartKind {
    /// The child was started with its supervisor, for the first time.
    Initial,
    /// The child was added at run time.
    Added,
    /// The child was down, and somebody started it.
    Manual,
    /// The child was to run, and was stopped and started on request, to restart it or to move it.
    Bounced,
    /// The child was suspended, and was resumed.
    Resumed,
    /// The child, or a sibling, had ended.
    Again,
}

/// Consequence when a child fails to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterFailedStart {
    /// The supervisor does not start either.
    GiveUp,
    /// The specification of the child is discarded.
    Remove,
    /// The child stays down, as it was before.
    Leave,
    /// The child stays suspended.
    KeepSuspended,
    /// The child is to run, so this is a failure like any other: see [`after_exit`].
    AsAfterCrash,
}

/// Decides what follows from a failed start. `is_suspended` is true if the child, or something that
/// it is part of, is still suspended.
pub(crate) fn after_failed_start(why: StartKind, is_suspended: bool) -> AfterFailedStart {
    match (why, is_suspended) {
        (StartKind::Initial, _) => AfterFailedStart::GiveUp,
        (StartKind::Added, _) => AfterFailedStart::Remove,
        (StartKind::Manual, _) => AfterFailedStart::Leave,
        (StartKind::Resumed, true) => AfterFailedStart::KeepSuspended,
        // Somebody wanted the child to run before, and still does.
        (StartKind::Resumed, false) | (StartKind::Bounced | StartKind::Again, _) => {
            AfterFailedStart::AsAfterCrash
        }
    }
}

/// Returns true if a child of this restart type is started again after this exit.
pub(crate) fn restarts(restart: Restart, reason: &ExitReason) -> bool {
    match (restart, reason.is_abnormal()) {
        (Restart::Permanent, _) | (Restart::Transient, true) => true,
        (Restart::Transient, false) | (Restart::Temporary, _) => false,
    }
}

/// Returns true if a child that ended for good is forgotten, because it is temporary, or because
/// there may be any number of its kind.
fn is_forgotten(facts: &ExitFacts<'_>) -> bool {
    facts.restart == Restart::Temporary || facts.strategy == Strategy::Dynamic
}

fn ends_supervisor(facts: &ExitFacts<'_>) -> bool {
    facts.significant
        && match facts.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => facts.significant_left == 0,
        }
}

fn restart_or_give_up(facts: &ExitFacts<'_>, budget: BudgetInUse<'_>) -> Decision {
    if let Some(limit) = budget.window.count(budget.intensity, facts.now) {
        return match facts.exhausted {
            OnExhausted::Escalate => Decision::GiveUp(limit),
            OnExhausted::Quarantine => Decision::Quarantine,
        };
    }
    let attempt = facts.backoff.next_attempt(facts.attempt, facts.ran);
    Decision::Restart {
        scope: scope(facts.strategy, facts.child),
        delay: facts.backoff.delay(attempt, facts.random_fraction),
        attempt,
    }
}

fn scope(strategy: Strategy, child: ChildId) -> Scope {
    match strategy {
        Strategy::OneForOne | Strategy::Dynamic => Scope::One(child),
        Strategy::RestForOne => Scope::From(child),
        Strategy::OneForAll => Scope::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(reason: &ExitReason) -> ExitFacts<'_> {
        static NONE: std::sync::LazyLock<Backoff> = std::sync::LazyLock::new(Backoff::none);
        ExitFacts {
            strategy: Strategy::OneForOne,
            child: 7,
            restart: Restart::Permanent,
            reason,
            significant: false,
            significant_left: 0,
            auto_shutdown: AutoShutdown::Never,
            exhausted: OnExhausted::Escalate,
            backoff: &NONE,
            attempt: 0,
            ran: Duration::from_secs(1),
            now: Instant::now(),
            random_fraction: 0.5,
        }
    }

    fn plan(facts: &ExitFacts<'_>, intensity: &Intensity) -> Vec<Decision> {
        let window = &mut Window::default();
        let (first, next) = after_exit(facts, BudgetInUse { intensity, window });
        std::iter::once(first).chain(next).collect()
    }

    fn restart(scope: Scope) -> Vec<Decision> {
        vec![Decision::Restart {
            scope,
            delay: Duration::ZERO,
            attempt: 0,
        }]
    }

    #[test]
    fn restart_types_and_reasons() {
        use Restart::{Permanent, Temporary, Transient};
        let failed = ExitReason::Failed("x".into());
        let one = restart(Scope::One(7));
        let cases = [
            (Permanent, ExitReason::Normal, one.clone()),
            (Permanent, ExitReason::Shutdown, one.clone()),
            (Permanent, failed.clone(), one.clone()),
            (Transient, ExitReason::Normal, vec![Decision::Leave]),
            (Transient, ExitReason::Shutdown, vec![Decision::Leave]),
            (Transient, failed.clone(), one.clone()),
            (Transient, ExitReason::Killed, one),
            (Temporary, ExitReason::Normal, vec![Decision::Forget]),
            (Temporary, ExitReason::Shutdown, vec![Decision::Forget]),
            (Temporary, failed, vec![Decision::Forget]),
        ];
        for (restart, reason, expected) in cases {
            let mut facts = facts(&reason);
            facts.restart = restart;
            let decisions = plan(&facts, &Intensity::unlimited());
            assert_eq!(decisions, expected, "{restart:?} {reason}");
        }
    }

    #[test]
    fn failed_starts_follow_their_cause() {
        let cases = [
            (StartKind::Initial, [AfterFailedStart::GiveUp; 2]),
            (StartKind::Added, [AfterFailedStart::Remove; 2]),
            (StartKind::Manual, [AfterFailedStart::Leave; 2]),
            (StartKind::Bounced, [AfterFailedStart::AsAfterCrash; 2]),
            (
                StartKind::Resumed,
                [
                    AfterFailedStart::AsAfterCrash,
                    AfterFailedStart::KeepSuspended,
                ],
            ),
            (StartKind::Again, [AfterFailedStart::AsAfterCrash; 2]),
        ];
        for (why, expected) in cases {
            let after = [false, true].map(|suspended| after_failed_start(why, suspended));
            assert_eq!(after, expected, "{why:?}");
        }
    }

    #[test]
    fn strategies_set_the_scope() {
        let cases = [
            (Strategy::OneForOne, Scope::One(7)),
            (Strategy::Dynamic, Scope::One(7)),
            (Strategy::RestForOne, Scope::From(7)),
            (Strategy::OneForAll, Scope::All),
        ];
        for (strategy, expected) in cases {
            let mut facts = facts(&ExitReason::Killed);
            facts.strategy = strategy;
            assert_eq!(plan(&facts, &Intensity::unlimited()), restart(expected));
        }
    }

    #[test]
    fn an_exhausted_budget_escalates_or_quarantines() {
        let none = Intensity::new(0, Duration::from_secs(1));
        let mut facts = facts(&ExitReason::Killed);
        let limit = none.fast.unwrap();
        assert_eq!(plan(&facts, &none), [Decision::GiveUp(limit)]);
        facts.exhausted = OnExhausted::Quarantine;
        assert_eq!(plan(&facts, &none), [Decision::Quarantine]);
    }

    #[test]
    fn dynamic_children_that_are_done_are_forgotten() {
        let mut facts = facts(&ExitReason::Normal);
        facts.restart = Restart::Transient;
        facts.strategy = Strategy::Dynamic;
        assert_eq!(plan(&facts, &Intensity::default()), [Decision::Forget]);
    }

    #[test]
    fn significant_children_end_their_supervisor() {
        use AutoShutdown::{AllSignificant, AnySignificant, Never};
        let cases = [
            (false, AnySignificant, 0, false),
            (true, Never, 0, false),
            (true, AnySignificant, 3, true),
            (true, AllSignificant, 1, false),
            (true, AllSignificant, 0, true),
        ];
        for (significant, auto_shutdown, significant_left, ends) in cases {
            let mut facts = facts(&ExitReason::Normal);
            facts.restart = Restart::Transient;
            facts.significant = significant;
            facts.auto_shutdown = auto_shutdown;
            facts.significant_left = significant_left;
            let decisions = plan(&facts, &Intensity::default());
            assert_eq!(decisions.contains(&Decision::ShutDown), ends);
        }
    }

    #[test]
    fn delays_grow_with_attempts_and_reset() {
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(9))
            .jitter(0.0)
            .reset_after(Duration::from_secs(2));
        let mut facts = facts(&ExitReason::Killed);
        facts.backoff = &backoff;
        facts.attempt = 3;
        let delay = |facts: &ExitFacts<'_>| match plan(facts, &Intensity::unlimited())[..] {
            [Decision::Restart { delay, attempt, .. }] => (delay.as_millis(), attempt),
            _ => unreachable!(),
        };
        assert_eq!(delay(&facts), (80, 3));
        facts.ran = Duration::from_secs(2);
        assert_eq!(delay(&facts), (10, 0));
    }
}
