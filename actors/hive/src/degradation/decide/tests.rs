//! Recorded and generated traces of signals, and the levels that follow from them.

use std::time::Duration;

use deia_model::{Level, OperatorLevel, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::{
    config::Config,
    degradation::{
        fixtures::{blind, calm},
        signals::BotCount,
    },
    host::DiskSpace,
    mode::LevelSource,
};

fn policy() -> DegradationSettings {
    *Config::defaults().unwrap().degradation
}

fn at(millis: u64) -> Moment {
    Moment {
        steady: Duration::from_millis(millis),
        wall: Timestamp::from_millis(0).plus_millis(millis),
    }
}

/// Samples every 250 ms for that time, and returns the seconds at which the level has changed.
fn run(seconds: u64, mut read: impl FnMut(f64, &mut Measured)) -> Vec<(f64, u8)> {
    let policy = policy();
    let mut state = State::new(at(0));
    let mut changes = Vec::new();
    for millis in (0..seconds * 1_000).step_by(250) {
        let seconds = Duration::from_millis(millis).as_secs_f64();
        let mut measured = calm();
        read(seconds, &mut measured);
        let before = state.level;
        state = decide(&measured, state, &policy, at(millis)).state;
        if state.level != before {
            changes.push((seconds, state.level.number()));
        }
    }
    changes
}

#[test]
fn steady_hive_stays_at_level_0() {
    assert_eq!(run(600, |_, _| ()), []);
    // Between the two values for good: as the machine is.
    assert_eq!(run(600, |_, it| it.memory_percent = Ok(80.0)), []);
}

#[test]
fn ramp_raises_one_level_after_each_hold_and_recovers_in_order() {
    let memory = |t: f64| if t < 60.0 { 50.0 + t } else { 60.0 };
    let changes = run(300, |t, it| it.memory_percent = Ok(memory(t)));
    // Over from 35 s on, clear from 60 s on.
    let expected = [
        (40.0, 1),
        (45.0, 2),
        (50.0, 3),
        (90.0, 2),
        (120.0, 1),
        (150.0, 0),
    ];
    assert_eq!(changes, expected);
}

#[test]
fn spike_shorter_than_the_hold_does_nothing() {
    for length in [0.25, 2.0, 4.75] {
        let is_spike = |t: f64| (30.0..30.0 + length).contains(&t);
        let changes = run(120, |t, it| {
            it.memory_percent = Ok(if is_spike(t) { 99.0 } else { 50.0 });
        });
        assert_eq!(changes, [], "{length}");
    }
}

#[test]
fn noise_around_the_trip_never_trips() {
    let noise = [86.0, 84.0, 90.0, 83.0, 87.0, 84.5];
    let mut reads = noise.iter().cycle();
    assert_eq!(
        run(600, |_, it| it.memory_percent = Ok(*reads.next().unwrap())),
        []
    );
}

#[test]
fn noise_around_the_clear_keeps_the_level() {
    let noise = [69.0, 71.0, 66.0, 75.0];
    let mut reads = noise.iter().cycle();
    let changes = run(600, |t, it| {
        let value = if t < 10.0 {
            90.0
        } else {
            *reads.next().unwrap()
        };
        it.memory_percent = Ok(value);
    });
    assert_eq!(changes, [(5.0, 1)], "one level up, and none down");
}

#[test]
fn flapping_signal_makes_no_oscillation() {
    // Over for 8 s, clear for 8 s: each hold of the trip is met, none of the clear.
    let is_over = |t: f64| t < 300.0 && (t / 8.0).floor() % 2.0 == 0.0;
    let changes = run(600, |t, it| {
        it.memory_percent = Ok(if is_over(t) { 95.0 } else { 40.0 });
    });
    let ups: Vec<_> = changes.iter().map(|(_, level)| *level).collect();
    assert_eq!(
        ups,
        [1, 2, 3, 2, 1, 0],
        "up once and down once: {changes:?}"
    );
}

#[test]
fn two_signals_at_once_raise_no_faster_than_one() {
    let changes = run(300, |t, it| {
        if (10.0..26.0).contains(&t) {
            it.memory_percent = Ok(95.0);
        }
        if (11.0..60.0).contains(&t) {
            it.io_stall_percent = Ok(80.0);
        }
    });
    // Lowered only once the second is clear as well.
    let expected = [
        (15.0, 1),
        (20.0, 2),
        (25.0, 3),
        (90.0, 2),
        (120.0, 1),
        (150.0, 0),
    ];
    assert_eq!(changes, expected);
}

#[test]
fn missing_sensors_trip_nothing_and_keep_nothing_up() {
    assert_eq!(run(600, |_, it| *it = blind()), []);
    let changes = run(300, |t, it| {
        it.memory_percent = match t {
            t if t < 12.0 => Ok(99.0),
            _ => Err("absent".into()),
        };
    });
    assert_eq!(changes, [(5.0, 1), (10.0, 2), (42.0, 1), (72.0, 0)]);
}

#[test]
fn sick_bots_shed_optional_features_only_and_keep_up_no_more() {
    let sick = Ok(BotCount {
        healthy: 1,
        wanted: 8,
    });
    let changes = run(600, |t, it| {
        it.bots.clone_from(&sick);
        if t < 18.0 {
            it.memory_percent = Ok(95.0);
        }
    });
    let expected = [(5.0, 1), (10.0, 2), (15.0, 3), (48.0, 2), (78.0, 1)];
    assert_eq!(changes, expected);
    assert_eq!(run(600, |_, it| it.bots.clone_from(&sick)), [(30.0, 1)]);
}

#[test]
fn disk_that_fills_ends_in_read_only_and_a_full_one_at_once() {
    let disk = |percent: u64| {
        Ok(DiskSpace {
            free_bytes: percent << 30,
            bytes: 100 << 30,
        })
    };
    let changes = run(60, |_, it| it.disk = disk(5));
    assert_eq!(changes, [(5.0, 1), (10.0, 2), (15.0, 3), (20.0, 4)]);
    let changes = run(240, |t, it| it.is_disk_full = Ok((10.0..20.0).contains(&t)));
    let expected = [(10.0, 4), (50.0, 3), (80.0, 2), (110.0, 1), (140.0, 0)];
    assert_eq!(changes, expected);
    // Writes find space again, but there is little of it.
    let changes = run(240, |t, it| {
        it.is_disk_full = Ok((10.0..20.0).contains(&t));
        it.disk = disk(12);
    });
    assert_eq!(changes[0], (10.0, 4));
}

#[test]
fn agents_that_use_all_processors_shed_nothing() {
    assert_eq!(run(600, |_, it| it.cpu_stall_percent = Ok(100.0)), []);
    let changes = run(40, |_, it| {
        it.cpu_stall_percent = Ok(100.0);
        it.commit_p99 = Ok(Duration::from_millis(80));
    });
    assert_eq!(changes, [(10.0, 1), (20.0, 2), (30.0, 3)]);
}

#[test]
fn time_without_samples_counts_for_no_hold() {
    let policy = policy();
    let mut measured = calm();
    measured.memory_percent = Ok(99.0);
    let mut state = State::new(at(0));
    for millis in [0, 250, 60_000, 60_250] {
        state = decide(&measured, state, &policy, at(millis)).state;
        assert_eq!(state.level, Level::NORMAL, "{millis}");
    }
}

#[test]
fn switched_off_it_follows_no_signal() {
    let mut policy = policy();
    let mut measured = calm();
    measured.is_disk_full = Ok(true);
    let tripped = decide(&measured, State::new(at(0)), &policy, at(0)).state;
    assert_eq!(tripped.level, Level::READ_ONLY);
    policy.enabled = false;
    let off = decide(&measured, tripped, &policy, at(250));
    assert_eq!(off.in_force.level, Level::NORMAL);
    assert_eq!(off.state.tracks[5].state, SignalState::Over, "still shown");
}

/// Readings of a machine with two processors on which six compilations ran for four minutes, one a
/// second: seconds, memory in use in percent, PSI in percent (cpu some, memory full, io full), and
/// the slowest of 20 syncs of the disk in milliseconds.
const COMPILING: &str = include_str!("traces/compiling.csv");

#[test]
fn recorded_compilation_with_all_processors_sheds_nothing() {
    let lines = COMPILING.lines().filter(|line| !line.starts_with('#'));
    let rows: Vec<Vec<f64>> = lines
        .map(|line| {
            line.split(',')
                .map(|field| field.parse().unwrap())
                .collect()
        })
        .collect();
    assert!(rows.len() > 200);
    let busiest = rows.iter().map(|row| row[2]).fold(0.0, f64::max);
    assert!(busiest > 90.0, "processors are short: {busiest}");
    let mut next = rows.iter().flat_map(|row| std::iter::repeat_n(row, 4));
    let changes = run(rows.len() as u64, |_, it| {
        let row = next.next().unwrap();
        it.memory_percent = Ok(row[1]);
        it.cpu_stall_percent = Ok(row[2]);
        it.memory_stall_percent = Ok(row[3]);
        it.io_stall_percent = Ok(row[4]);
        it.commit_p99 = Ok(Duration::from_secs_f64(row[5] / 1e3));
    });
    assert_eq!(changes, []);
}

fn operator(level: u8, until_ms: u64) -> OperatorLevel {
    OperatorLevel {
        level: Level::new(level).unwrap(),
        reason: "drill".into(),
        by: "ada".into(),
        since: at(100).wall,
        until: at(until_ms).wall,
    }
}

#[test]
fn level_of_an_operator_yields_to_worse_pressure_only_and_ends_at_once() {
    let policy = policy();
    let mut state = State::new(at(0));
    let in_force = state.set_operator(Some(operator(2, 20_000)));
    assert_eq!(in_force.source, LevelSource::Operator);
    assert_eq!(&*in_force.why, "set by ada: drill");
    let mut measured = calm();
    measured.memory_percent = Ok(99.0);
    let mut seen = Vec::new();
    for millis in (0..25_000).step_by(250) {
        let decision = decide(&measured, state, &policy, at(millis));
        state = decision.state;
        let InForce { level, source, .. } = decision.in_force;
        if seen.last() != Some(&(level.number(), source)) {
            seen.push((level.number(), source));
        }
        assert_eq!(decision.ended.is_some(), millis == 20_000);
    }
    let expected = [(2, LevelSource::Operator), (3, LevelSource::Signals)];
    assert_eq!(seen, expected);
    // Without pressure the level is normal as soon as the time is over: no hold applies.
    let mut state = State::new(at(0));
    state.set_operator(Some(operator(4, 1_000)));
    let before = decide(&calm(), state, &policy, at(750));
    assert_eq!(before.in_force.level, Level::READ_ONLY);
    let after = decide(&calm(), before.state, &policy, at(1_000));
    assert_eq!(after.in_force.level, Level::NORMAL);
    assert_eq!(after.in_force.since, at(0).wall, "no new trip");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For all signals: one step at a time, at least the shortest hold apart, and never
    /// up again within the hold after a step down.
    #[test]
    fn level_moves_one_step_at_a_time_and_never_flaps(
        reads in proptest::collection::vec((0.0..100.0_f64, 0.0..100.0_f64, 1..40_u64), 1..60),
    ) {
        let mut trace = reads.iter().flat_map(|(memory, io, n)| {
            (0..*n).map(move |_| (*memory, *io))
        });
        let seconds = reads.iter().map(|(_, _, n)| n).sum::<u64>() / 4;
        let mut changes = vec![(0.0, 0)];
        changes.extend(run(seconds, |_, it| {
            let (memory, io) = trace.next().unwrap_or((0.0, 0.0));
            it.memory_percent = Ok(memory);
            it.io_stall_percent = Ok(io);
        }));
        for pair in changes.windows(2) {
            let ((before, from), (after, to)) = (pair[0], pair[1]);
            prop_assert_eq!(from.abs_diff(to), 1);
            let least = if to > from { 5.0 } else { 30.0 };
            prop_assert!(after - before >= least, "{:?}", changes);
        }
    }
}
