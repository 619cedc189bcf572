//! Nothing waits forever: starts have a limit, requests to a child that is down are answered, and
//! nobody is kept from its turn.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use deia_supervision::{
    Backoff, ChildError, ChildState, ExitReason, Restart, Shutdown, StartChildError, StartError,
    Strategy, SupervisorSpec, Tree,
};
use tokio::time::{Instant, sleep, timeout};

use crate::common::{Crash, Log, Ping, Stop, idle, patient, probe, run, start, state};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// A factory that never resolves fails the start, with what was started before it stopped again.
#[test]
fn a_start_that_takes_too_long_fails() {
    run(async {
        let log = Log::default();
        let (a, ..) = probe("a", &log);
        let (b, _, script) = probe("b", &log);
        script.slow_build_ms.store(10_000, SeqCst);
        let root = patient("root", Strategy::OneForOne);
        let begin = Instant::now();
        let failed = Tree::start(root.child(a).child(b.start_within(SECOND))).await;
        let Err(StartError::Child { path, reason }) = failed else {
            panic!("{failed:?}");
        };
        assert_eq!((&*path, reason.code()), ("root/b", "start_failed"));
        assert_eq!(reason.message().as_deref(), Some("not ready within 1s"));
        assert!(begin.elapsed() < 2 * SECOND);
        assert_eq!(log.take(), ["+a", "-a"]);
    });
}

/// The same for a restart (which counts), a manual one (which is answered), and a whole supervisor.
#[test]
fn a_restart_that_takes_too_long_counts_as_a_failure() {
    run(async {
        let (a, handle, script) = probe("a", &Log::default());
        let (b, ..) = probe("b", &Log::default());
        let a = a.start_within(SECOND).backoff(Backoff::new(SECOND, SECOND));
        let inner = patient("inner", Strategy::OneForOne).child(b);
        let root = patient("root", Strategy::OneForOne).child(a);
        let tree = start(root.child(inner.start_within(SECOND))).await;
        script.slow_build_ms.store(10_000, SeqCst);
        handle.tell(Crash).unwrap();
        sleep(10 * SECOND).await;
        let status = tree.status_of("root/a").unwrap();
        assert!(status.restarts > 3, "{}", status.restarts);
        assert_eq!(status.last_exit.unwrap().reason.code(), "start_failed");
        let supervisor = tree.supervisor("root").unwrap();
        supervisor.terminate_child("a").await.unwrap();
        let failed = timeout(2 * SECOND, supervisor.restart_child("a"))
            .await
            .unwrap();
        assert!(
            matches!(failed, Err(ChildError::StartFailed { .. })),
            "{failed:?}"
        );
        script.slow_build_ms.store(500, SeqCst);
        supervisor.restart_child("a").await.unwrap();
        sleep(10 * SECOND).await;
        assert_eq!(
            state(&tree, "root/a"),
            Some(ChildState::Running),
            "the limit is over"
        );
        tree.shutdown().await;
    });
}

#[test]
fn a_supervisor_that_is_not_up_in_time_has_failed_to_start() {
    run(async {
        let (a, _, script) = probe("a", &Log::default());
        script.slow_build_ms.store(10_000, SeqCst);
        let inner = patient("inner", Strategy::OneForOne).child(a);
        let root = patient("root", Strategy::OneForOne).child(inner.start_within(SECOND));
        let begin = Instant::now();
        let failed = Tree::start(root).await;
        let Err(StartError::Child { path, .. }) = failed else {
            panic!("{failed:?}");
        };
        assert_eq!((&*path, begin.elapsed() < 2 * SECOND), ("root/inner", true));
        assert_eq!(script.alive.load(SeqCst), 0);
    });
}

/// A starting supervisor can be asked, and a child that hangs on the way can be got rid of.
#[test]
fn a_starting_supervisor_serves_requests() {
    run(async {
        let log = Log::default();
        let (a, handle, a_script) = probe("a", &log);
        let (b, _, b_script) = probe("b", &log);
        let (c, ..) = probe("c", &log);
        let inner = patient("inner", Strategy::OneForOne);
        let inner = inner.child(a.start_within(None)).child(b).child(c);
        let tree = start(patient("root", Strategy::OneForOne).child(inner)).await;
        log.take();
        a_script.slow_build_ms.store(86_400_000, SeqCst);
        let other = tree.clone();
        let bouncing = actix::spawn(async move { other.restart_path("root/inner").await });
        idle().await;
        assert_eq!(state(&tree, "root/inner"), Some(ChildState::Starting));
        let supervisor = tree.supervisor("root/inner").unwrap();
        assert_eq!(supervisor.count_children().await.specs, 3);
        assert_eq!(
            supervisor.which_children().await[0].state,
            ChildState::Starting
        );
        let adding = {
            let (supervisor, (d, ..)) = (supervisor.clone(), probe("d", &log));
            actix::spawn(async move { supervisor.start_child(d).await })
        };
        supervisor.terminate_child("a").await.unwrap();
        bouncing.await.unwrap().unwrap();
        adding.await.unwrap().unwrap();
        assert_eq!(log.take(), ["-c", "-b", "-a", "+b", "+c", "+d"]);
        assert_eq!((b_script.built(), handle.depth()), (2, 0));
        tree.shutdown().await;
    });
}

/// Requests to a supervisor that is down for longer are answered at once, however it is down and
/// however far above it the reason is.
#[test]
fn requests_to_what_is_down_are_answered_at_once() {
    for suspended in [true, false] {
        for path in ["root/outer", "root/outer/inner"] {
            run(async {
                let log = Log::default();
                let (a, ..) = probe("a", &log);
                let inner = patient("inner", Strategy::OneForOne).child(a);
                let outer = patient("outer", Strategy::OneForOne).child(inner);
                let tree = start(patient("root", Strategy::OneForOne).child(outer)).await;
                let supervisor = tree.supervisor("root/outer/inner").unwrap();
                let (parent, name) = path.rsplit_once('/').unwrap();
                match suspended {
                    true => tree.suspend_path(path).await.unwrap(),
                    false => {
                        let parent = tree.supervisor(parent).unwrap();
                        parent.terminate_child(name).await.unwrap();
                    }
                }
                idle().await;
                let answers = async {
                    let added = supervisor.start_child(probe("b", &log).0).await;
                    (added, supervisor.restart_child("a").await)
                };
                match timeout(SECOND, answers).await.unwrap() {
                    (Err(StartChildError::Suspended), Err(ChildError::Suspended)) if suspended => {}
                    (Err(StartChildError::Down), Err(ChildError::Down)) if !suspended => {}
                    other => panic!("{other:?}"),
                }
                // Existing children can still be listed.
                let counts = timeout(SECOND, supervisor.count_children()).await.unwrap();
                assert_eq!((counts.specs, counts.active), (1, 0));
                let parent = tree.supervisor(parent).unwrap();
                match suspended {
                    true => tree.resume_path(path).await.unwrap(),
                    false => parent.restart_child(name).await.unwrap(),
                }
                supervisor.start_child(probe("b", &log).0).await.unwrap();
                tree.shutdown().await;
            });
        }
    }
}

/// A supervisor that is about to be back is worth waiting for.
#[test]
fn requests_to_a_supervisor_that_waits_for_its_restart_wait() {
    run(async {
        let (a, handle, _) = probe("a", &Log::default());
        let inner = SupervisorSpec::one_for_one("inner")
            .intensity(deia_supervision::Intensity::new(0, SECOND))
            .backoff(Backoff::new(10 * SECOND, 10 * SECOND))
            .child(a);
        let tree = start(patient("root", Strategy::OneForOne).child(inner)).await;
        handle.tell(Crash).unwrap();
        idle().await;
        let inner = tree.supervisor("root/inner").unwrap();
        let begin = Instant::now();
        inner
            .start_child(probe("b", &Log::default()).0)
            .await
            .unwrap();
        assert!(begin.elapsed() > 5 * SECOND);
        // If it is given up meanwhile, whoever waits is told.
        handle.tell(Crash).unwrap();
        idle().await;
        let asking = actix::spawn(async move { inner.terminate_child("a").await });
        idle().await;
        tree.suspend_path("root/inner").await.unwrap();
        let answer = timeout(SECOND, asking).await.unwrap().unwrap();
        assert!(matches!(answer, Err(ChildError::Suspended)), "{answer:?}");
        tree.shutdown().await;
    });
}

/// Very many children that crash again and again without a pause keep neither a request (such as
/// the cure) nor the restart of another child from its turn.
#[test]
fn a_storm_of_crashes_starves_neither_requests_nor_timers() {
    run(async {
        let log = Log::default();
        let mut root = patient("root", Strategy::OneForOne);
        let mut scripts = Vec::new();
        for index in 0..512 {
            let (spec, _, script) = probe(&index.to_string(), &log);
            script.stop_in_started.store(0, SeqCst);
            root = root.child(spec);
            scripts.push(script);
        }
        let (slow, slow_handle, slow_script) = probe("slow", &log);
        let pause = Duration::from_millis(10);
        let tree = start(root.child(slow.backoff(Backoff::new(pause, pause)))).await;
        slow_handle.tell(Crash).unwrap();
        idle().await;
        // From here on there is always something to do, so the clock stands still, unless it is
        // moved by hand.
        for script in &scripts {
            script.stop_in_started.store(usize::MAX, SeqCst);
        }
        let supervisor = tree.supervisor("root").unwrap();
        for script in 0..512 {
            let name = script.to_string();
            let _ = supervisor.which_children().await;
            drop(tree.restart_path(&format!("root/{name}")).await);
        }
        assert!(scripts.iter().map(|script| script.built()).sum::<usize>() > 2_000);
        tokio::time::advance(20 * pause).await;
        for _ in 0..10_000 {
            if slow_script.built() == 2 {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(slow_script.built(), 2, "its restart is overdue");
        for index in 0..512 {
            supervisor
                .terminate_child(&index.to_string())
                .await
                .unwrap();
        }
        assert_eq!(slow_handle.ask(Ping).await, Ok(2));
        tree.shutdown().await;
    });
}

/// Limits that no clock can hold are no limits; nothing overflows.
#[test]
fn limits_beyond_all_time_are_no_limits() {
    run(async {
        let log = Log::default();
        let (a, handle, script) = probe("a", &log);
        let endless = Duration::MAX;
        script.slow_stop_ms.store(1_000, SeqCst);
        let inner = patient("inner", Strategy::OneForOne)
            .shutdown(Shutdown::Within(endless))
            .start_within(endless)
            .child(
                a.shutdown(Shutdown::Within(endless))
                    .start_within(endless)
                    .backoff(Backoff::new(endless, endless).jitter(0.0)),
            );
        let tree = start(patient("root", Strategy::OneForOne).child(inner)).await;
        let ended = timeout(HOUR, tree.restart_path("root/inner")).await;
        ended.expect("it hangs").unwrap();
        handle.tell(Crash).unwrap();
        sleep(HOUR).await;
        assert_eq!(state(&tree, "root/inner/a"), Some(ChildState::Restarting));
        let ended = timeout(HOUR, tree.shutdown()).await;
        assert_eq!(ended.expect("it hangs"), ExitReason::Shutdown);
    });
}

/// A root that uses up its budget before it is up says which child it was.
#[test]
fn a_root_that_gives_up_while_it_starts_names_the_child() {
    run(async {
        let log = Log::default();
        let (a, handle, _) = probe("a", &log);
        let (b, _, b_script) = probe("b", &log);
        b_script.slow_build_ms.store(10_000, SeqCst);
        let root = SupervisorSpec::one_for_one("root").child(a).child(b);
        let starting = actix::spawn(Tree::start(root));
        idle().await;
        for _ in 0..2 {
            handle.tell(Crash).unwrap();
        }
        let failed = starting.await.unwrap();
        let Err(StartError::Child { path, reason }) = failed else {
            panic!("{failed:?}");
        };
        assert_eq!((&*path, reason.code()), ("root/a", "gave_up"));
        assert!(reason.message().unwrap().contains("told to crash"));
    });
}

/// A caller that waits for a child to be started gets an error if it was removed before its turn
/// came.
#[test]
fn a_child_removed_before_its_turn_was_stopped() {
    run(async {
        let log = Log::default();
        let (a, handle, _) = probe("a", &log);
        let a = a.backoff(Backoff::new(10 * SECOND, 10 * SECOND));
        let tree = start(patient("root", Strategy::OneForAll).child(a)).await;
        handle.tell(Crash).unwrap();
        idle().await;
        let root = tree.supervisor("root").unwrap();
        let adding = {
            let (root, (b, ..)) = (root.clone(), probe("b", &log));
            actix::spawn(async move { root.start_child(b.restart(Restart::Temporary)).await })
        };
        idle().await;
        assert_eq!(state(&tree, "root/b"), Some(ChildState::Restarting));
        root.terminate_child("b").await.unwrap();
        let added = adding.await.unwrap();
        assert!(matches!(added, Err(StartChildError::Stopped)), "{added:?}");
        tree.shutdown().await;
    });
}

/// The status reports exactly the restarts that count against a budget.
#[test]
fn restarts_in_the_window_are_those_that_count() {
    run(async {
        let (a, handle, _) = probe("a", &Log::default());
        let inner = SupervisorSpec::one_for_one("inner")
            .intensity(deia_supervision::Intensity::new(2, 60 * SECOND))
            .child(a);
        let tree = start(patient("root", Strategy::OneForOne).child(inner)).await;
        let seen = |path: &str| {
            let status = tree.status_of(path).unwrap();
            (status.restarts_in_window, status.budget_used, status.budget)
        };
        for used in 1..=2 {
            handle.tell(Crash).unwrap();
            idle().await;
            assert_eq!(seen("root/inner/a"), (used, None, None));
            assert_eq!(seen("root/inner"), (0, Some(used), Some(2)));
        }
        handle.tell(Crash).unwrap();
        idle().await;
        // The supervisor gave up, and begins again.
        assert_eq!(seen("root/inner/a").0, 0);
        assert_eq!(seen("root/inner"), (1, Some(0), Some(2)));
        assert_eq!(seen("root"), (0, Some(1), None));
        handle.tell(Crash).unwrap();
        sleep(61 * SECOND).await;
        assert_eq!(seen("root/inner"), (1, Some(0), Some(2)));
        handle.tell(Stop).unwrap();
        tree.shutdown().await;
    });
}

/// Found by the model: a child that crashed while others were still starting was started as if for
/// the first time, so that a restart that failed took the whole tree along.
#[test]
fn a_restart_that_fails_while_others_start_is_tried_again() {
    run(async {
        let log = Log::default();
        let (a, handle, script) = probe("a", &log);
        let (b, _, b_script) = probe("b", &log);
        b_script.slow_build_ms.store(1_000, SeqCst);
        let root = patient("root", Strategy::OneForAll).child(a).child(b);
        let starting = actix::spawn(Tree::start(root));
        idle().await;
        script.fail_builds.store(1, SeqCst);
        handle.tell(Crash).unwrap();
        let tree = starting.await.unwrap().unwrap();
        assert_eq!(handle.ask(Ping).await, Ok(2));
        assert_eq!(tree.status_of("root/a").unwrap().restarts, 2);
        tree.shutdown().await;
    });
}

/// A child that waits for its turn to start, after its feature was resumed, is worth waiting for.
#[test]
fn requests_to_a_supervisor_that_waits_for_its_turn_wait() {
    run(async {
        let log = Log::default();
        let (a, _, a_script) = probe("a", &log);
        let (b, ..) = probe("b", &log);
        let deep = patient("deep", Strategy::OneForOne).child(b);
        let inner = patient("inner", Strategy::OneForOne).child(deep);
        let outer = patient("outer", Strategy::OneForOne).child(a).child(inner);
        let tree = start(patient("root", Strategy::OneForOne).child(outer)).await;
        let deep = tree.supervisor("root/outer/inner/deep").unwrap();
        tree.suspend_path("root/outer").await.unwrap();
        let refused = deep.restart_child("b").await;
        assert!(matches!(refused, Err(ChildError::Suspended)), "{refused:?}");
        a_script.slow_build_ms.store(1_000, SeqCst);
        let other = tree.clone();
        let resuming = actix::spawn(async move { other.resume_path("root/outer").await });
        idle().await;
        let begin = Instant::now();
        deep.start_child(probe("c", &log).0).await.unwrap();
        assert!(begin.elapsed() > SECOND / 2);
        resuming.await.unwrap().unwrap();
        tree.shutdown().await;
    });
}
