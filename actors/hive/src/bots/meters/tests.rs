use std::time::Duration;

use deia_model::{OnExcess, TaskId};
use futures_util::FutureExt as _;

use super::*;

const USAGE: FamilyUsage = FamilyUsage {
    processes: 3,
    resident_bytes: 10 << 20,
    cpu_seconds: 2.5,
    descriptors: Some(9),
};

fn attempt() -> AttemptKey {
    AttemptKey {
        task: TaskId::new(),
        number: 1,
    }
}

#[test]
fn a_limit_is_exceeded_by_more_than_it() {
    let none = BotLimits::default();
    for (limits, expected) in [
        (none, None),
        (
            BotLimits {
                memory_bytes: Some(10 << 20),
                cpu_seconds: Some(3),
                processes: Some(3),
                ..none
            },
            None,
        ),
        (
            BotLimits {
                memory_bytes: Some((10 << 20) - 1),
                ..none
            },
            Some("its processes had 10.0 MiB resident; limits.memory_bytes allows 10.0 MiB"),
        ),
        (
            BotLimits {
                cpu_seconds: Some(2),
                ..none
            },
            Some("its processes used 2.5 s of processor time; limits.cpu_seconds allows 2 s"),
        ),
        (
            BotLimits {
                processes: Some(2),
                ..none
            },
            Some("it had 3 processes; limits.processes allows 2"),
        ),
    ] {
        let found = excess(&limits, &USAGE).map(|it| it.to_string());
        assert_eq!(found.as_deref(), expected, "{limits:?}");
    }
}

#[test]
fn use_of_all_programs_is_summed_until_they_end() {
    let meters = Meters::default();
    assert_eq!(meters.usage(), None);
    let limits = BotLimits {
        processes: Some(2),
        on_excess: OnExcess::Fail,
        ..BotLimits::default()
    };
    let own = attempt();
    let first = meters.begin(1, own, limits);
    let mut second = meters.begin_shared(2, Work::default(), limits);
    assert_eq!(meters.usage(), None, "not measured yet");
    let later = Instant::now() + Duration::from_secs(10);
    let over = meters.read(&[(1, USAGE), (2, USAGE), (3, USAGE)].into(), later);
    assert_eq!(over.len(), 1, "the other one works on several attempts");
    let expected = Overrun {
        class: FailureClass::Budget,
        words: "it had 3 processes; limits.processes allows 2".into(),
    };
    assert_eq!(second.until_over().now_or_never(), Some(expected));
    assert_eq!(
        (over[0].attempt, over[0].class),
        (own, FailureClass::Budget)
    );
    let usage = meters.usage().unwrap();
    assert_eq!(
        (usage.memory_bytes, usage.descriptors, usage.processes),
        (20 << 20, Some(18), 6)
    );
    assert!((usage.cpu_percent - 50.0).abs() < 1.0, "{usage:?}");
    let hidden = FamilyUsage {
        descriptors: None,
        cpu_seconds: 0.0,
        ..USAGE
    };
    meters.read(&[(1, hidden)].into(), later + Duration::from_secs(1));
    let usage = meters.usage().unwrap();
    assert_eq!(usage.descriptors, None);
    assert!(usage.cpu_percent < 26.0, "time never goes back: {usage:?}");
    drop((first, second));
    assert_eq!((meters.usage(), meters.programs()), (None, vec![]));
}
