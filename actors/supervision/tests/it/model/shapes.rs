//! Shapes of trees, and the steps that can happen to them.

use deia_supervision::{AutoShutdown, Restart, Strategy};
use proptest::{prelude::*, sample::Index, strategy::Strategy as _};

#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) restart: Restart,
    pub(super) backoff_ms: u64,
    pub(super) build_ms: u64,
    pub(super) stop_ms: u64,
    /// Less than it may take to stop, now and then.
    pub(super) stop_within_ms: u64,
    /// Has a budget of its own, and is quarantined when it is used up.
    pub(super) quarantine: bool,
    pub(super) significant: bool,
    /// Part of the feature that is switched off and on.
    pub(super) tagged: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Shape {
    Worker(Worker),
    Supervisor {
        strategy: Strategy,
        auto_shutdown: AutoShutdown,
        children: Vec<Shape>,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Act {
    Crash(Index),
    Fail(Index),
    Stop(Index),
    FailToStart(Index),
    Decline(Index),
    /// The next start of the child takes longer than it may.
    Hang(Index),
    /// To the arbiter where it is: a new task, with its mailbox.
    Move(Index),
    Suspend(Index),
    Resume(Index),
    RestartPath(Index),
    Terminate(Index),
    Restart(Index),
    Delete(Index),
    Add(Index, Worker),
    SwitchOff,
    SwitchOn,
    Pass(u64),
}

pub(super) fn worker() -> impl proptest::strategy::Strategy<Value = Worker> {
    let restart = prop_oneof![
        3 => Just(Restart::Permanent),
        2 => Just(Restart::Transient),
        1 => Just(Restart::Temporary),
    ];
    let ms = |max| prop_oneof![2 => Just(0), 1 => 1_u64..max];
    let flags = (
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
    );
    (restart, ms(50), ms(30), ms(30), 1_u64..100, flags).prop_map(
        |(
            restart,
            backoff_ms,
            build_ms,
            stop_ms,
            stop_within_ms,
            (quarantine, significant, tagged),
        )| {
            Worker {
                restart,
                backoff_ms,
                build_ms,
                stop_ms,
                stop_within_ms,
                quarantine,
                significant,
                tagged,
            }
        },
    )
}

pub(super) fn strategy() -> impl proptest::strategy::Strategy<Value = Strategy> {
    prop_oneof![
        Just(Strategy::OneForOne),
        Just(Strategy::OneForAll),
        Just(Strategy::RestForOne),
        Just(Strategy::Dynamic),
    ]
}

pub(super) fn auto_shutdown() -> impl proptest::strategy::Strategy<Value = AutoShutdown> {
    prop_oneof![
        4 => Just(AutoShutdown::Never),
        1 => Just(AutoShutdown::AnySignificant),
        1 => Just(AutoShutdown::AllSignificant),
    ]
}

pub(super) fn supervisor(
    children: impl proptest::strategy::Strategy<Value = Vec<Shape>>,
) -> impl proptest::strategy::Strategy<Value = Shape> {
    (strategy(), auto_shutdown(), children).prop_map(|(strategy, auto_shutdown, children)| {
        Shape::Supervisor {
            strategy,
            auto_shutdown,
            children: match strategy {
                Strategy::Dynamic => Vec::new(),
                _ => children,
            },
        }
    })
}

pub(super) fn shape() -> impl proptest::strategy::Strategy<Value = Shape> {
    let leaf = worker().prop_map(Shape::Worker);
    leaf.prop_recursive(3, 12, 4, |inner| {
        supervisor(prop::collection::vec(inner, 0..4))
    })
}

pub(super) fn act() -> impl proptest::strategy::Strategy<Value = Act> {
    let index = any::<Index>;
    prop_oneof![
        4 => index().prop_map(Act::Crash),
        1 => index().prop_map(Act::Fail),
        1 => index().prop_map(Act::Stop),
        1 => index().prop_map(Act::FailToStart),
        1 => index().prop_map(Act::Decline),
        1 => index().prop_map(Act::Hang),
        1 => index().prop_map(Act::Move),
        1 => index().prop_map(Act::Suspend),
        1 => index().prop_map(Act::Resume),
        1 => index().prop_map(Act::RestartPath),
        1 => index().prop_map(Act::Terminate),
        1 => index().prop_map(Act::Restart),
        1 => index().prop_map(Act::Delete),
        1 => (index(), worker()).prop_map(|(index, worker)| Act::Add(index, worker)),
        1 => Just(Act::SwitchOff),
        1 => Just(Act::SwitchOn),
        3 => (0_u64..200).prop_map(Act::Pass),
    ]
}
