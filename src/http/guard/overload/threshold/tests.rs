use deia_model::Priority;

use super::*;
use crate::http::guard::overload::rank::Tier;

const POLICY: OverloadPolicy = OverloadPolicy {
    max_mean_wait: Duration::from_millis(20),
    min_requests: 20,
    step_down: 0.05,
    step_up: 0.01,
};

fn seen(by_rank: &[(usize, u32)], admitted: u64, wait_ms: u64) -> WindowSeen {
    let mut counts = vec![0; RANKS];
    for (rank, n) in by_rank {
        counts[*rank] = *n;
    }
    WindowSeen {
        by_rank: counts,
        admitted,
        mean_wait: Duration::from_millis(wait_ms),
        windows: 1.0,
    }
}

#[test]
fn threshold_falls_by_a_share_of_the_admitted_and_rises_by_a_share_of_all() {
    let all = RANKS;
    for (case, from, window, expected) in [
        ("calm, all admitted", all, seen(&[(5, 100)], 100, 1), all),
        ("calm, nothing came", 40, seen(&[], 0, 0), 58),
        (
            "calm, nothing came for long",
            40,
            WindowSeen {
                windows: 10.0,
                ..seen(&[], 0, 0)
            },
            220,
        ),
        (
            "overload: the highest rank with requests falls first, past those without",
            all,
            seen(&[(5, 900), (700, 100)], 1_000, 30),
            700,
        ),
        (
            "overload: as many ranks as make up the share",
            all,
            seen(
                &[(5, 900), (700, 30), (701, 10), (702, 40), (703, 20)],
                1_000,
                30,
            ),
            702,
        ),
        (
            "overload of few requests is not judged",
            all,
            seen(&[(5, 19)], 19, 30),
            all,
        ),
        (
            "calm: opens for a share of all, those refused included",
            701,
            seen(&[(5, 900), (701, 5), (702, 10), (703, 100)], 900, 20),
            703,
        ),
        (
            "everything is refused, and nobody waits",
            0,
            seen(&[(3, 50)], 0, 0),
            4,
        ),
    ] {
        let next = Threshold(from).next(&window, &POLICY);
        assert_eq!(next.ranks(), expected, "{case}");
    }
}

/// A server that works off a fixed number of requests a window, first come, first served. Callers
/// within their share submit tasks of all priorities; the waits of a window are those that its
/// requests have.
struct Server {
    capacity: f64,
    queue: f64,
    threshold: Threshold,
}

impl Server {
    /// Runs a window with so many requests. Returns the number that is admitted.
    fn window(&mut self, offered: u32) -> f64 {
        let mut by_rank = vec![0; RANKS];
        let groups = 64;
        for group in 0..groups {
            for (priority, share) in Priority::ALL.into_iter().zip([0.05, 0.15, 0.6, 0.2]) {
                let Rank(rank) = Rank::new(Tier::Submit(priority), group, false);
                by_rank[rank] += (f64::from(offered) * share / groups as f64) as u32;
            }
        }
        let admitted: u32 = by_rank[..self.threshold.ranks()].iter().sum();
        let before = self.queue;
        self.queue = (self.queue + f64::from(admitted) - self.capacity).max(0.0);
        let mean = (before + self.queue) / 2.0 / self.capacity;
        let window = WindowSeen {
            by_rank,
            admitted: u64::from(admitted),
            mean_wait: Duration::from_secs_f64(mean * 0.2),
            windows: 1.0,
        };
        self.threshold = self.threshold.next(&window, &POLICY);
        f64::from(admitted)
    }
}

#[test]
fn threefold_overload_settles_near_the_capacity_and_ends_when_the_load_does() {
    let mut server = Server {
        capacity: 2_000.0,
        queue: 0.0,
        threshold: Threshold::ALL,
    };
    for _ in 0..20 {
        server.window(1_900);
    }
    assert_eq!(
        server.threshold,
        Threshold::ALL,
        "a load below the capacity"
    );
    for _ in 0..100 {
        server.window(6_000);
    }
    let admitted: Vec<f64> = (0..200).map(|_| server.window(6_000)).collect();
    let mean = admitted.iter().sum::<f64>() / admitted.len() as f64;
    assert!((1_800.0..2_200.0).contains(&mean), "{mean}");
    let urgent = Rank::new(Tier::Submit(Priority::P1), 127, false);
    assert!(server.threshold.admits(urgent), "{:?}", server.threshold);
    let least = Rank::new(Tier::Submit(Priority::P3), 0, false);
    assert!(!server.threshold.admits(least), "{:?}", server.threshold);
    let calm = (0..200).find(|_| {
        server.window(1_000);
        server.threshold == Threshold::ALL
    });
    assert!(calm.is_some(), "{:?}", server.threshold);
}
