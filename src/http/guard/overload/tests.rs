use super::*;

/// Nothing waits for the store.
fn no_waits() -> StoreWaits {
    Arc::new(TurnWaits::default)
}

fn settings() -> OverloadSettings {
    OverloadSettings {
        enabled: true,
        // Far above the waits that a busy machine adds.
        max_mean_wait: Duration::from_secs(20),
        window: Duration::from_secs(60),
        window_requests: 100,
        min_requests: 20,
        step_down: 0.05,
        step_up: 0.01,
        share_slack: 1.5,
        reshuffle_every: Duration::from_secs(3_600),
        sample_every: 1,
        refusal_delay: Duration::from_secs(3),
    }
}

/// Lets a window of requests of two callers pass, of which the server takes that many at once: all
/// others that are admitted wait. Returns the number of those admitted of each caller.
async fn window(overload: &Overload, takes: usize) -> [usize; 2] {
    let mut admitted = [0; 2];
    for n in 0..100 {
        let caller = usize::from(n % 10 == 0);
        overload.sample().await;
        let who = overload.arrived(&["greedy", "modest"][caller]);
        let tier = Some(Tier::Submit(Priority::P0));
        let passes = overload
            .admit(RouteClass::Submit, tier, who)
            .and_then(|()| overload.admit_submission(Priority::P2, who));
        if passes.is_ok() {
            let waits = admitted[0] + admitted[1] >= takes;
            overload.waited(
                RouteClass::Submit,
                Duration::from_secs(150) * u32::from(waits),
            );
            admitted[caller] += 1;
        }
    }
    admitted
}

#[tokio::test]
async fn caller_over_its_share_is_refused_first_and_admitted_again_when_nobody_waits() {
    let overload = Overload::new(&settings(), no_waits());
    assert_eq!(window(&overload, 100).await, [90, 10]);
    let mut least = 90;
    for _ in 0..20 {
        let [of_greedy, of_modest] = window(&overload, 80).await;
        assert_eq!(of_modest, 10, "it is within its share");
        least = least.min(of_greedy);
    }
    assert!(least < 80, "{least}");
    for _ in 0..5 {
        window(&overload, 100).await;
    }
    assert_eq!(window(&overload, 100).await, [90, 10]);
}

#[tokio::test]
async fn requests_without_a_tier_are_admitted_whatever_waits() {
    let overload = Overload::new(&settings(), no_waits());
    for _ in 0..200 {
        window(&overload, 0).await;
    }
    let who = overload.arrived(&"modest");
    assert!(overload.admit(RouteClass::Submit, None, who).is_ok());
    let tier = Some(Tier::Submit(Priority::P3));
    let refused = overload.admit(RouteClass::Submit, tier, who.decided());
    assert_eq!(refused.err().unwrap().code(), Code::Overloaded);
}

/// Has a window of requests of a class wait that long for a permit. Returns the number of those
/// admitted.
fn window_of(overload: &Overload, (class, tier): (RouteClass, Tier), wait: Duration) -> usize {
    let mut admitted = 0;
    for n in 0..101 {
        let who = overload.arrived(&n).decided();
        if overload.admit(class, Some(tier), who).is_ok() {
            overload.waited(class, wait);
            admitted += 1;
        }
    }
    admitted
}

const READS: (RouteClass, Tier) = (RouteClass::Read, Tier::Read);
const CHANGES: (RouteClass, Tier) = (RouteClass::Write, Tier::Change);
const SUBMISSIONS: (RouteClass, Tier) = (RouteClass::Submit, Tier::Submit(Priority::P3));

#[test]
fn reads_that_wait_for_permits_cost_no_submission() {
    let overload = Overload::new(&settings(), no_waits());
    for _ in 0..100 {
        window_of(&overload, READS, Duration::from_secs(50));
        assert_eq!(window_of(&overload, SUBMISSIONS, Duration::ZERO), 101);
    }
    assert!(window_of(&overload, READS, Duration::ZERO) < 50);
}

#[test]
fn few_submissions_that_wait_are_seen_among_many_reads_that_do_not() {
    let overload = Overload::new(&settings(), no_waits());
    for _ in 0..20 {
        for _ in 0..10 {
            window_of(&overload, READS, Duration::ZERO);
        }
        window_of(&overload, SUBMISSIONS, Duration::from_secs(50));
    }
    assert!(window_of(&overload, SUBMISSIONS, Duration::ZERO) < 80);
    assert_eq!(window_of(&overload, READS, Duration::ZERO), 101);
}

#[test]
fn waits_for_the_store_cost_submissions_then_changes_and_no_read() {
    let waits = Arc::new(Mutex::new(TurnWaits::default()));
    let read = Arc::clone(&waits);
    let overload = Overload::new(&settings(), Arc::new(move || *read.lock().unwrap()));
    let windows = |count: usize| {
        let mut last = [0; 3];
        for _ in 0..count {
            let mut waits = waits.lock().unwrap();
            waits.commands += 100;
            waits.micros += 100 * 50_000_000;
            drop(waits);
            let mut admitted = [0; 3];
            for n in 0..102 {
                let kind = n % 3;
                let (class, tier) = [SUBMISSIONS, CHANGES, READS][kind];
                let who = overload.arrived(&n).decided();
                admitted[kind] += usize::from(overload.admit(class, Some(tier), who).is_ok());
            }
            last = admitted;
        }
        last
    };
    let [submissions, changes, reads] = windows(10);
    assert!(submissions < 25 && changes == 34 && reads == 34);
    let [submissions, changes, reads] = windows(100);
    assert!(submissions < 5 && changes < 25 && reads == 34);
}

#[test]
fn other_settings_do_not_open_the_flood() {
    let overload = Overload::new(&settings(), no_waits());
    for _ in 0..50 {
        window_of(&overload, SUBMISSIONS, Duration::from_secs(50));
    }
    let before = window_of(&overload, SUBMISSIONS, Duration::from_secs(50));
    let refused = overload.refused.load(Relaxed);
    assert!(before < 50 && refused > 0);
    let after = overload.with(&OverloadSettings {
        step_up: 0.02,
        ..settings()
    });
    assert_eq!(after.refused.load(Relaxed), refused);
    let admitted = window_of(&after, SUBMISSIONS, Duration::from_secs(50));
    assert!(admitted <= before + 10, "{before} then {admitted}");
}

#[tokio::test]
async fn disabled_gate_admits_everything() {
    let disabled = OverloadSettings {
        enabled: false,
        ..settings()
    };
    let overload = Overload::new(&disabled, no_waits());
    for _ in 0..10 {
        assert_eq!(window(&overload, 0).await, [90, 10]);
    }
}

#[tokio::test(start_paused = true)]
async fn refusal_is_held_back() {
    let overload = Overload::new(&settings(), no_waits());
    let begun = tokio::time::Instant::now();
    overload.hold_back().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}
