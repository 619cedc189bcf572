use deia_model::TaskId;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

const POLICY: CircuitPolicy = CircuitPolicy {
    failures: 3,
    rate: 0.75,
    window: 8,
    open_for: SECOND,
    max_open: Duration::from_secs(5),
};

fn attempt() -> AttemptKey {
    AttemptKey {
        task: TaskId::new(),
        number: 1,
    }
}

/// Applies ends of attempts at different tasks: `+` works, `-` strike, `.` nothing.
fn apply(circuit: &mut Circuit, ends: &str, now: Instant) -> Vec<Change> {
    let evidence = |end| match end {
        '+' => Evidence::Works,
        '-' => Evidence::Strike,
        _ => Evidence::Nothing,
    };
    ends.chars()
        .filter_map(|end| circuit.ended(attempt(), evidence(end), &POLICY, now))
        .collect()
}

#[test]
fn each_end_gives_its_evidence() {
    use FailureClass::{Context, Internal, RateLimited, TimedOut, Transport};
    for (end, class, expected) in [
        (AttemptEnd::Succeeded, None, Evidence::Works),
        (AttemptEnd::FailedForGood, Some(Context), Evidence::Works),
        (AttemptEnd::Failed, Some(Internal), Evidence::Strike),
        (AttemptEnd::Failed, Some(TimedOut), Evidence::Strike),
        (AttemptEnd::Failed, Some(Transport), Evidence::Strike),
        (AttemptEnd::Failed, None, Evidence::Strike),
        (AttemptEnd::Refused, Some(RateLimited), Evidence::Nothing),
        (AttemptEnd::BotDied, None, Evidence::Strike),
        (AttemptEnd::Suspected, None, Evidence::Nothing),
        (AttemptEnd::BotFault, None, Evidence::Nothing),
        (AttemptEnd::Cancelled, None, Evidence::Nothing),
        (AttemptEnd::GivenBack, None, Evidence::Nothing),
    ] {
        assert_eq!(Evidence::of(end, class), expected, "{end:?} {class:?}");
    }
}

#[test]
fn failures_in_a_row_or_their_rate_open_the_circuit() {
    for (ends, opens) in [
        ("--", false),
        ("---", true),
        ("--+--+--", true),
        ("--+--+-", false),
        ("--+-+--+--+-", false),
        ("--.-", true),
        ("..........", false),
        ("++++++++--+--", false),
    ] {
        let mut circuit = Circuit::default();
        let changes = apply(&mut circuit, ends, Instant::now());
        assert_eq!(!changes.is_empty(), opens, "{ends}");
        let expected = if opens { None } else { Some(4) };
        assert_eq!(circuit.limit(4, 2), expected, "{ends}");
    }
}

#[test]
fn failures_of_one_task_count_once() {
    let (mut circuit, now) = (Circuit::default(), Instant::now());
    let task = TaskId::new();
    for number in 1..100 {
        let attempt = AttemptKey { task, number };
        assert_eq!(
            circuit.ended(attempt, Evidence::Strike, &POLICY, now),
            None,
            "attempt {number}"
        );
    }
    assert_eq!((circuit.strikes(), circuit.rate()), (1, Some(1.0)));
    assert_eq!(apply(&mut circuit, "--", now).len(), 1);
}

#[test]
fn policy_without_limits_never_opens() {
    let policy = CircuitPolicy {
        failures: 0,
        window: 0,
        ..POLICY
    };
    let (mut circuit, now) = (Circuit::default(), Instant::now());
    for _ in 0..1_000 {
        let ended = circuit.ended(attempt(), Evidence::Strike, &policy, now);
        assert_eq!(ended, None);
    }
    assert_eq!(circuit.ends.len(), 1, "bounded");
}

#[test]
fn one_task_at_a_time_tries_when_the_time_is_over() {
    let (mut circuit, now) = (Circuit::default(), Instant::now());
    apply(&mut circuit, "---", now);
    circuit.beat(now + SECOND - Duration::from_millis(1));
    assert_eq!(circuit.state(), CircuitState::Open);
    circuit.beat(now + SECOND);
    assert_eq!(circuit.state(), CircuitState::HalfOpen);
    assert_eq!(circuit.limit(8, 2), Some(3), "two have run since before");
    assert_eq!(circuit.limit(1, 2), Some(1), "never more than allowed");
    let trial = attempt();
    circuit.began(trial);
    circuit.began(attempt());
    assert_eq!(circuit.limit(8, 3), Some(3), "no further one");
    assert_eq!(
        apply(&mut circuit, "+-", now),
        vec![],
        "they are not the trial"
    );
    let given_back = circuit.ended(trial, Evidence::Nothing, &POLICY, now);
    assert_eq!(given_back, None);
    assert_eq!(circuit.limit(8, 0), Some(1), "another one tries");
    let trial = attempt();
    circuit.began(trial);
    let ended = circuit.ended(trial, Evidence::Works, &POLICY, now);
    assert_eq!(ended, Some(Change::Closed));
    assert_eq!(circuit.limit(8, 0), Some(8));
    assert_eq!((circuit.strikes(), circuit.rate()), (0, None));
}

#[test]
fn each_failed_trial_doubles_the_time_until_enough_succeed() {
    let (mut circuit, mut now) = (Circuit::default(), Instant::now());
    let mut changes = apply(&mut circuit, "---", now);
    let fails = |circuit: &mut Circuit, now: &mut Instant, hold| {
        *now += hold;
        circuit.beat(*now);
        let trial = attempt();
        circuit.began(trial);
        circuit.ended(trial, Evidence::Strike, &POLICY, *now)
    };
    for _ in 0..4 {
        let Some(Change::Opened { hold }) = changes.last().copied() else {
            panic!("{changes:?}");
        };
        changes.extend(fails(&mut circuit, &mut now, hold));
    }
    let seconds = |change: &Change| match change {
        Change::Opened { hold } => hold.as_secs(),
        Change::Closed => 0,
    };
    let holds: Vec<_> = changes.iter().map(seconds).collect();
    assert_eq!(holds, [1, 2, 4, 5, 5]);

    now += 5 * SECOND;
    circuit.beat(now);
    let trial = attempt();
    circuit.began(trial);
    circuit.ended(trial, Evidence::Works, &POLICY, now);
    let again = apply(&mut circuit.clone(), "---", now);
    assert_eq!(
        again,
        [Change::Opened { hold: 5 * SECOND }],
        "one success is not enough"
    );
    let fresh = apply(&mut circuit, "++---", now);
    assert_eq!(fresh, [Change::Opened { hold: SECOND }]);
}

#[test]
fn trial_of_an_incarnation_that_died_is_forgotten() {
    let (mut circuit, now) = (Circuit::default(), Instant::now());
    apply(&mut circuit, "---", now);
    circuit.beat(now + SECOND);
    circuit.began(attempt());
    assert_eq!(circuit.limit(8, 0), Some(0));
    circuit.restarted();
    assert_eq!(circuit.limit(8, 0), Some(1));
}
