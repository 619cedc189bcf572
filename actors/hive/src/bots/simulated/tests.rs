use deia_model::{AttemptEnd, Behavior};
use tokio::sync::watch;

use super::*;
use crate::{bots::command::tests::claimed, testing::until};

fn perfect() -> SimulatedProfile {
    SimulatedExecutor::default().profile()
}

fn plan(latency_ms: u64, fate: Fate) -> SimulatedPlan {
    SimulatedPlan {
        latency: Duration::from_millis(latency_ms),
        fate,
    }
}

async fn played(plan: SimulatedPlan, profile: &SimulatedProfile, content: &str) -> ExecutionEnd {
    let (_keep, stop) = watch::channel(None);
    play(plan, profile, &claimed(content), stop).await
}

#[test]
fn unit_interval_is_divided_by_the_shares_of_the_profile() {
    let profile = |hang_rate, crash_rate, success_rate| SimulatedProfile {
        hang_rate,
        crash_rate,
        success_rate,
        ..perfect()
    };
    for (profile, draw, expected) in [
        (profile(0.0, 0.0, 1.0), 0.0, Fate::Succeed),
        (profile(0.0, 0.0, 1.0), 0.999, Fate::Succeed),
        (profile(0.0, 0.0, 0.0), 0.0, Fate::Fail),
        (profile(0.1, 0.2, 0.3), 0.05, Fate::Hang),
        (profile(0.1, 0.2, 0.3), 0.15, Fate::Crash),
        (profile(0.1, 0.2, 0.3), 0.55, Fate::Succeed),
        (profile(0.1, 0.2, 0.3), 0.65, Fate::Fail),
        (profile(0.0, 1.0, 1.0), 0.999, Fate::Crash),
        (profile(1.0, 1.0, 1.0), 0.999, Fate::Hang),
    ] {
        assert_eq!(fate_of(&profile, draw), expected, "{profile:?} {draw}");
    }
}

#[test]
fn the_same_seed_gives_the_same_draws_and_another_seed_others() {
    let profile = |seed| SimulatedProfile {
        latency_max_ms: 1_000_000,
        seed,
        ..perfect()
    };
    let draws = |seed| {
        let mut simulator = Simulator::new(profile(seed));
        std::array::from_fn::<_, 20, _>(|_| simulator.draw())
    };
    assert_eq!(draws(7), draws(7));
    assert_ne!(draws(7), draws(8));
    // The first value of SplitMix64 from seed 0.
    assert_eq!(Simulator::new(profile(0)).next_u64(), 0xE220_A839_7B1D_CDAF);
}

#[test]
fn shares_and_latencies_match_the_profile() {
    let executor = SimulatedExecutor {
        behavior: Some(Behavior::Unreliable),
        ..SimulatedExecutor::default()
    };
    let mut simulator = Simulator::new(executor.profile());
    let plans: Vec<_> = (0..100_000).map(|_| simulator.draw()).collect();
    let share = |fate| plans.iter().filter(|plan| plan.fate == fate).count();
    assert!((69_000..71_000).contains(&share(Fate::Succeed)));
    assert!((4_500..5_500).contains(&share(Fate::Crash)));
    assert_eq!(share(Fate::Hang), 0);
    let latencies = || plans.iter().map(|plan| plan.latency.as_millis());
    assert_eq!(
        (latencies().min(), latencies().max()),
        (Some(50), Some(500))
    );
}

#[tokio::test]
async fn each_fate_has_its_end() {
    let Ok(outcome) = played(plan(0, Fate::Succeed), &perfect(), "héllo\"").await else {
        panic!("no crash was planned");
    };
    assert_eq!(outcome.end, AttemptEnd::Succeeded);
    let output = outcome.output.unwrap();
    assert_eq!(output, r#"{"bot":"bot-1","echo":"héllo\""}"#);

    let long = played(plan(0, Fate::Succeed), &perfect(), &"é".repeat(1_000)).await;
    let Ok(outcome) = long else {
        panic!("no crash was planned");
    };
    assert!(outcome.output.unwrap().len() < 200);

    let Ok(outcome) = played(plan(0, Fate::Fail), &perfect(), "").await else {
        panic!("no crash was planned");
    };
    assert_eq!(outcome.end, AttemptEnd::Failed);
    assert_eq!(outcome.error.as_deref(), Some("simulated failure"));

    let crash = played(plan(0, Fate::Crash), &perfect(), "").await;
    let reason = "simulated crash";
    assert_eq!(
        crash,
        Err(BotDown {
            reason: reason.into(),
            result: None
        })
    );
}

#[test]
fn attempt_without_latency_needs_no_runtime() {
    let profile = perfect();
    let attempt = played(plan(0, Fate::Succeed), &profile, "hello");
    let done = futures_util::FutureExt::now_or_never(attempt);
    assert!(matches!(done, Some(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn latency_is_waited_for_and_ended_by_a_stop() {
    let began = tokio::time::Instant::now();
    let end = played(plan(86_400_000, Fate::Succeed), &perfect(), "").await;
    assert!(end.is_ok());
    assert_eq!(began.elapsed().as_secs(), 86_400);

    for fate in [Fate::Succeed, Fate::Hang] {
        let (send, stop) = watch::channel(None);
        let claimed = claimed("");
        let profile = perfect();
        let latency = if fate == Fate::Hang { 0 } else { 86_400_000 };
        let stopper = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            send.send_replace(Some(StopCause::TimedOut { after_seconds: 7 }));
        };
        let attempt = play(plan(latency, fate), &profile, &claimed, stop);
        let began = tokio::time::Instant::now();
        let (Ok(outcome), ()) = tokio::join!(attempt, stopper) else {
            panic!("no crash was planned");
        };
        assert_eq!(outcome.error.as_deref(), Some("timed out after 7 s"));
        assert_eq!(began.elapsed().as_secs(), 7);
    }
}

#[tokio::test]
async fn memory_is_held_and_cpu_is_burnt() {
    let profile = SimulatedProfile {
        memory_bytes: 256 << 20,
        cpu_ms: 200,
        ..perfect()
    };
    let resident_bytes = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size()
    };
    let used = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap();
    let before = used();
    let (send, stop) = watch::channel(None);
    let claimed = claimed("");
    let attempt = play(plan(0, Fate::Hang), &profile, &claimed, stop);
    let observer = async {
        until("memory is held and CPU is burnt", async || {
            resident_bytes() >= 256 << 20 && used() - before >= Duration::from_millis(200)
        })
        .await;
        send.send_replace(Some(StopCause::Cancelled("cancelled by ada".into())));
    };
    let (Ok(outcome), ()) = tokio::join!(attempt, observer) else {
        panic!("no crash was planned");
    };
    assert_eq!(outcome.end, AttemptEnd::Cancelled);
}

#[tokio::test]
async fn failed_allocation_is_a_fault_of_the_bot() {
    let profile = SimulatedProfile {
        memory_bytes: u64::MAX,
        ..perfect()
    };
    let Ok(outcome) = played(plan(0, Fate::Succeed), &profile, "").await else {
        panic!("no crash was planned");
    };
    assert_eq!(outcome.end, AttemptEnd::BotFault);
    assert!(outcome.error.unwrap().contains("not available"));
}

#[tokio::test]
async fn restarted_bot_continues_the_draws_and_runs_instant_plans_at_once() {
    let spec = SimulatedExecutor {
        behavior: Some(Behavior::Unreliable),
        ..SimulatedExecutor::default()
    };
    let factory = SimulatedFactory::new(&spec);
    let mut expected = Simulator::new(spec.profile());
    for _ in 0..3 {
        // Two incarnations of the bot, one after the other.
        let mut executor = factory.executor();
        for _ in 0..2 {
            let (_keep, stop) = watch::channel(None);
            let Started::Running(execution) = executor.start(claimed(""), stop) else {
                panic!("an unreliable bot takes time");
            };
            let Progress::Timed { takes, .. } = execution.progress else {
                panic!("its progress is told by time");
            };
            assert_eq!(takes, expected.draw().latency);
        }
    }
    let instant = SimulatedFactory::new(&SimulatedExecutor::default());
    let (_keep, stop) = watch::channel(None);
    let started = instant.executor().start(claimed("x"), stop);
    assert!(matches!(started, Started::Done(result) if result.end == AttemptEnd::Succeeded));
}
