use super::*;

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
    }
}

/// Lets a window of requests of two callers pass, each of which waits that long. Returns the
/// number of those admitted of each caller.
async fn window(overload: &Overload, wait: Duration) -> [usize; 2] {
    let mut admitted = [0; 2];
    for n in 0..101 {
        let caller = usize::from(n % 10 == 0);
        overload.sample().await;
        let who = overload.arrived(&["greedy", "modest"][caller]);
        let tier = Some(Tier::Submit(Priority::P0));
        let passes = overload
            .admit(tier, who)
            .and_then(|()| overload.admit_submission(Priority::P2, who));
        if passes.is_ok() {
            overload.waited(wait);
            admitted[caller] += 1;
        }
    }
    admitted
}

#[tokio::test]
async fn caller_over_its_share_is_refused_first_and_admitted_again_when_nobody_waits() {
    let overload = Overload::new(&settings());
    let long = Duration::from_secs(50);
    assert_eq!(window(&overload, Duration::ZERO).await, [90, 11]);
    let (mut wait, mut least) = (long, 90);
    for _ in 0..20 {
        let [of_greedy, of_modest] = window(&overload, wait).await;
        // The first request of a window may count as over the share.
        assert!(of_modest >= 10, "within its share: {of_modest}");
        least = least.min(of_greedy);
        // More than the server takes wait.
        wait = if of_greedy > 80 { long } else { Duration::ZERO };
    }
    assert!(least < 80, "{least}");
    for _ in 0..5 {
        window(&overload, Duration::ZERO).await;
    }
    assert_eq!(window(&overload, Duration::ZERO).await, [90, 11]);
}

#[tokio::test]
async fn requests_without_a_tier_are_admitted_whatever_waits() {
    let overload = Overload::new(&settings());
    for _ in 0..200 {
        window(&overload, Duration::from_secs(1_000)).await;
    }
    let who = overload.arrived(&"modest");
    assert!(overload.admit(None, who).is_ok());
    let refused = overload.admit(Some(Tier::Wait), who).err().unwrap();
    assert_eq!(refused.code(), Code::Overloaded);
}

#[tokio::test]
async fn disabled_gate_admits_everything() {
    let overload = Overload::new(&OverloadSettings {
        enabled: false,
        ..settings()
    });
    for _ in 0..10 {
        assert_eq!(
            window(&overload, Duration::from_secs(1_000)).await,
            [90, 11]
        );
    }
}
