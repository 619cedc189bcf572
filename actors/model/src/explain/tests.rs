use super::*;
use crate::CircuitState;

fn facts(task: Task) -> Facts {
    let bot = BotFit {
        stands_in_for: None,
        id: "b".into(),
        status: BotStatus::Healthy,
        in_hand: 0,
        places: 1,
        fault: None,
        circuit: None,
        pause: None,
        unreachable: None,
    };
    Facts {
        task,
        paused: vec![],
        bots: vec![bot],
        ahead: Some(0),
        waits_for: vec![],
        restarting: false,
    }
}

fn fault() -> Option<BotFault> {
    Some(BotFault {
        reason: "the program /x is not there".into(),
        in_a_row: 3,
        since: Timestamp::from_millis(0),
        next_try_at: Some(Timestamp::from_millis(60_000)),
    })
}

#[test]
fn faults_of_bots_are_explained_but_not_to_outsiders() {
    let mut of = facts(Task::sample());
    of.bots[0].status = BotStatus::Failing;
    of.bots[0].fault = fault();
    of.bots[0].in_hand = 0;
    let told = explain(of);
    for part in [
        "bot b",
        "the program /x is not there",
        "1970-01-01T00:01:00",
        "deia bot show b",
    ] {
        assert!(told.detail.contains(part), "{part}: {}", told.detail);
    }
    assert_eq!(told.until, Some(Timestamp::from_millis(60_000)));
    let mut of = facts(Task::sample());
    of.bots[0].fault = fault();
    of.ahead = None;
    let told = explain(of).for_outsiders();
    assert_eq!(told.hold, TaskHold::BotsAreAtFault);
    assert!(!told.detail.contains("/x") && !told.detail.contains("bot b"));
}

fn circuit(state: CircuitState, until: i64) -> Option<BotCircuit> {
    Some(BotCircuit {
        state,
        since: Some(Timestamp::from_millis(0)),
        until: Some(Timestamp::from_millis(until)),
        failures: 10,
        rate: Some(1.0),
    })
}

#[test]
fn open_circuits_of_all_bots_are_explained() {
    let mut of = facts(Task::sample());
    of.bots[0].circuit = circuit(CircuitState::Open, 60_000);
    let mut other = of.bots[0].clone();
    (other.id, other.circuit) = ("c".into(), circuit(CircuitState::Open, 50_000));
    of.bots.push(other);
    let told = explain(of);
    assert_eq!(told.hold, TaskHold::BotsAreCutOff);
    for part in ["bot c", "1970-01-01T00:00:50", "deia bot show c"] {
        assert!(told.detail.contains(part), "{part}: {}", told.detail);
    }
    assert_eq!(told.until, Some(Timestamp::from_millis(50_000)));
    let mut of = facts(Task::sample());
    (of.bots[0].circuit, of.ahead) = (circuit(CircuitState::Open, 60_000), None);
    let told = explain(of).for_outsiders();
    assert_eq!(told.hold, TaskHold::BotsAreCutOff);
    assert!(!told.detail.contains("bot b"), "{}", told.detail);
}

#[test]
fn fallback_bot_that_takes_the_task_is_named_but_not_to_outsiders() {
    let stand_in = "bot spare takes it as a fallback bot of b, which takes no tasks now";
    for (ahead, status, told) in [
        (Some(0), TaskStatus::Queued, true),
        (Some(0), TaskStatus::Running, false),
        (None, TaskStatus::Queued, false),
    ] {
        let mut of = facts(Task::sample());
        let mut spare = of.bots[0].clone();
        (spare.id, spare.stands_in_for) = ("spare".into(), Some("b".into()));
        of.bots[0].circuit = circuit(CircuitState::Open, 60_000);
        of.bots.push(spare);
        (of.ahead, of.task.status) = (ahead, status);
        let detail = explain(of).detail;
        assert_eq!(detail.contains(stand_in), told, "{detail}");
    }
}

fn bot_pause() -> Option<BotPause> {
    Some(BotPause {
        reason: "429".into(),
        class: None,
        since: Timestamp::from_millis(0),
        until: Timestamp::from_millis(60_000),
    })
}

fn pause(task_type: Option<&str>) -> Pause {
    Pause {
        task_type: task_type.map(|t| t.parse().unwrap()),
        since: Timestamp::from_millis(0),
        by: "ada".into(),
        reason: None,
    }
}

#[test]
fn each_reason_follows_from_its_facts() {
    type Case = (TaskHold, fn(&mut Facts));
    let cases: [Case; 24] = [
        (TaskHold::AboutToStart, |_| ()),
        (TaskHold::Finished, |f| f.task.status = TaskStatus::Failed),
        (TaskHold::Running, |f| f.task.status = TaskStatus::Running),
        (TaskHold::WaitsForTasks, |f| {
            f.task.status = TaskStatus::Pending;
            f.task.waiting_for = 2;
        }),
        (TaskHold::ScheduledForLater, |f| {
            f.task.status = TaskStatus::Pending;
        }),
        (TaskHold::WaitsForRetry, |f| {
            f.task.status = TaskStatus::Pending;
            f.task.failures = 1;
        }),
        (TaskHold::QueuePaused, |f| {
            f.paused = vec![pause(None), pause(Some("general"))];
        }),
        (TaskHold::TypePaused, |f| {
            f.paused = vec![pause(Some("general"))];
        }),
        (TaskHold::NoBotTakesIt, |f| f.bots.clear()),
        (TaskHold::BotsAreDown, |f| {
            f.bots[0].status = BotStatus::Stopped;
        }),
        (TaskHold::BotsAreAtFault, |f| f.bots[0].fault = fault()),
        (TaskHold::BotsAreDown, |f| {
            f.bots[0].fault = fault();
            f.bots[0].status = BotStatus::Stopped;
        }),
        (TaskHold::AboutToStart, |f| {
            let mut other = f.bots[0].clone();
            other.fault = fault();
            f.bots.push(other);
        }),
        (TaskHold::BotsAreCutOff, |f| {
            f.bots[0].circuit = circuit(CircuitState::Open, 1);
        }),
        (TaskHold::AboutToStart, |f| {
            f.bots[0].circuit = circuit(CircuitState::HalfOpen, 1);
        }),
        (TaskHold::BotsAreBusy, |f| {
            f.bots[0].circuit = circuit(CircuitState::HalfOpen, 1);
            (f.bots[0].in_hand, f.bots[0].places) = (1, 9);
        }),
        (TaskHold::AboutToStart, |f| {
            f.bots.push(f.bots[0].clone());
            f.bots[0].circuit = circuit(CircuitState::Open, 1);
        }),
        (TaskHold::BotsArePaused, |f| f.bots[0].pause = bot_pause()),
        (TaskHold::BotsAreUnreachable, |f| {
            f.bots[0].unreachable = Some("refused".into());
        }),
        (TaskHold::AboutToStart, |f| {
            f.bots.push(f.bots[0].clone());
            f.bots[0].unreachable = Some("refused".into());
        }),
        (TaskHold::HiveRestarts, |f| f.restarting = true),
        (TaskHold::BotsAreBusy, |f| f.bots[0].in_hand = 1),
        (TaskHold::BotsAreBusy, |f| f.ahead = Some(5)),
        (TaskHold::AboutToStart, |f| f.ahead = None),
    ];
    for (expected, change) in cases {
        let mut facts = facts(Task::sample());
        change(&mut facts);
        let said = explain(facts);
        assert_eq!(said.hold, expected, "{said:?}");
        assert!(!said.detail.is_empty());
    }
    let mut other = facts(Task::sample());
    other.paused = vec![pause(Some("other"))];
    assert_eq!(explain(other).hold, TaskHold::AboutToStart);
}
