use deia_model::{BotCircuit, BotFault};

use super::*;

fn seen(change: impl FnOnce(&mut BotSnapshot)) -> BotSnapshot {
    let mut seen = BotSnapshot {
        up: true,
        ..BotSnapshot::default()
    };
    change(&mut seen);
    seen
}

fn circuit(state: CircuitState) -> Option<BotCircuit> {
    Some(BotCircuit {
        state,
        since: None,
        until: None,
        failures: 1,
        rate: None,
    })
}

fn fault(in_a_row: u32) -> Option<BotFault> {
    Some(BotFault {
        reason: "no such program".into(),
        in_a_row,
        since: Timestamp::from_millis(0),
        next_try_at: None,
    })
}

#[test]
fn bots_that_should_work_and_take_no_tasks_are_replaced_and_no_others() {
    use BotDesired::{Draining, Launched, Stopped};
    use FallbackReason::{CircuitOpen, Failing, Suspended};
    for (case, desired, seen, expected) in [
        ("works", Launched, seen(|_| {}), None),
        ("restarts", Launched, seen(|it| it.up = false), None),
        (
            "quarantined",
            Launched,
            seen(|it| it.quarantined = true),
            Some(Failing),
        ),
        (
            "first faults",
            Launched,
            seen(|it| it.fault = fault(2)),
            None,
        ),
        ("fault over", Launched, seen(|it| it.fault = fault(0)), None),
        (
            "faults in a row",
            Launched,
            seen(|it| it.fault = fault(3)),
            Some(Failing),
        ),
        (
            "suspended",
            Launched,
            seen(|it| it.suspended = true),
            Some(Suspended),
        ),
        (
            "circuit open",
            Launched,
            seen(|it| it.circuit = circuit(CircuitState::Open)),
            Some(CircuitOpen),
        ),
        (
            "circuit half-open",
            Launched,
            seen(|it| it.circuit = circuit(CircuitState::HalfOpen)),
            Some(CircuitOpen),
        ),
        (
            "circuit closed",
            Launched,
            seen(|it| it.circuit = circuit(CircuitState::Closed)),
            None,
        ),
        ("stopped", Stopped, seen(|it| it.quarantined = true), None),
        ("draining", Draining, seen(|it| it.suspended = true), None),
    ] {
        assert_eq!(reason(desired, &seen, 3), expected, "{case}");
    }
    let never = seen(|it| it.fault = fault(0));
    assert_eq!(reason(Launched, &never, 0), None, "no fault in a row");
}

fn backed(bot: &str, types: &[&str]) -> Backed {
    Backed {
        bot: bot.parse().unwrap(),
        desired: BotDesired::Launched,
        task_types: types.iter().map(|it| it.parse().unwrap()).collect(),
        fallback: vec!["spare".parse().unwrap()],
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[test]
fn each_begin_and_end_is_one_event_and_the_time_of_the_begin_stays() {
    let fleet = [backed("a", &["x"]), backed("b", &[])];
    let out_is = |names: &'static [(&str, FallbackReason)]| {
        move |it: &Backed| {
            let found = names.iter().find(|(name, _)| *name == it.bot.as_str());
            found.map(|(_, reason)| *reason)
        }
    };
    let nobody = AllOut::new();
    let first = decide(
        &fleet,
        &nobody,
        at(1),
        out_is(&[("a", FallbackReason::CircuitOpen)]),
    );
    let actions = |before: &AllOut, after: &AllOut| {
        let events = events(before, after).into_iter();
        events
            .map(|event| (event.action, event.target.to_string()))
            .collect::<Vec<_>>()
    };
    let begun = |bot: &str| (Action::BotFallbackStarted, bot.to_owned());
    let ended = |bot: &str| (Action::BotFallbackEnded, bot.to_owned());
    assert_eq!(actions(&nobody, &first), [begun("a")]);
    let same = decide(
        &fleet,
        &first,
        at(2),
        out_is(&[("a", FallbackReason::CircuitOpen)]),
    );
    assert_eq!(actions(&first, &same), []);
    assert_eq!(same, first);
    // Another reason is told, and is no new begin.
    let worse = out_is(&[
        ("a", FallbackReason::Failing),
        ("b", FallbackReason::Suspended),
    ]);
    let worse = decide(&fleet, &same, at(3), worse);
    assert_eq!(actions(&same, &worse), [begun("a"), begun("b")]);
    let a: BotName = "a".parse().unwrap();
    assert_eq!(worse[&a].in_use.since, at(1));
    // A bot that was removed is not in the fleet any more.
    let removed = decide(
        &fleet[1..],
        &worse,
        at(4),
        out_is(&[("b", FallbackReason::Suspended)]),
    );
    assert_eq!(actions(&worse, &removed), [ended("a")]);
    assert_eq!(actions(&removed, &nobody), [ended("b")]);
}
