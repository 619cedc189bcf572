//! Supervisors that end when their significant children have.

use std::time::Duration;

use deia_supervision::{AutoShutdown, ExitReason, Restart, Strategy, SupervisorSpec, Tree};

use crate::common::{Crash, Log, Stop, idle, patient, probe, run, start};

/// Starts a, b (both of type `restart`, significant if told) and ends those named, in turn;
/// whether the tree has ended after each.
async fn ends(
    auto_shutdown: AutoShutdown,
    restart: Restart,
    significant: bool,
    normally: bool,
    end: &[usize],
) -> Vec<bool> {
    let log = Log::default();
    let (a, a_handle, _) = probe("a", &log);
    let (b, b_handle, _) = probe("b", &log);
    let prepare =
        |spec: deia_supervision::ChildSpec| spec.restart(restart).significant(significant);
    let root = patient("root", Strategy::OneForOne)
        .auto_shutdown(auto_shutdown)
        .child(prepare(a))
        .child(prepare(b));
    let tree = start(root).await;
    let handles = [a_handle, b_handle];
    let mut ended = Vec::new();
    for &index in end {
        match normally {
            true => handles[index].tell(Stop).unwrap(),
            false => handles[index].tell(Crash).unwrap(),
        }
        idle().await;
        ended.push(has_ended(&tree).await);
    }
    tree.shutdown().await;
    ended
}

async fn has_ended(tree: &Tree) -> bool {
    let wait = tokio::time::timeout(Duration::from_millis(1), tree.exited());
    match wait.await {
        Ok(reason) => {
            assert_eq!(reason, ExitReason::Shutdown);
            true
        }
        Err(_) => false,
    }
}

use AutoShutdown::{AllSignificant, AnySignificant, Never};

#[test]
fn nonsignificant_never_triggers() {
    for restart in [Restart::Temporary, Restart::Transient] {
        for auto_shutdown in [Never, AnySignificant, AllSignificant] {
            let ended = run(ends(auto_shutdown, restart, false, true, &[0, 1]));
            assert_eq!(ended, [false, false]);
        }
    }
}

#[test]
fn significant_temporary() {
    for normally in [true, false] {
        let any = ends(AnySignificant, Restart::Temporary, true, normally, &[0]);
        assert_eq!(run(any), [true]);
        let all = ends(AllSignificant, Restart::Temporary, true, normally, &[0, 1]);
        assert_eq!(run(all), [false, true]);
    }
}

#[test]
fn significant_transient() {
    let transient = Restart::Transient;
    assert_eq!(
        run(ends(AnySignificant, transient, true, true, &[0])),
        [true]
    );
    assert_eq!(
        run(ends(AllSignificant, transient, true, true, &[1, 0])),
        [false, true]
    );
    // An abnormal exit is followed by a restart, not by a shutdown.
    assert_eq!(
        run(ends(AnySignificant, transient, true, false, &[0, 1])),
        [false, false]
    );
}

#[test]
fn significant_bystander() {
    run(async {
        let log = Log::default();
        let (a, handle, _) = probe("a", &log);
        let (x, ..) = probe("x", &log);
        let root = patient("root", Strategy::OneForAll)
            .auto_shutdown(AnySignificant)
            .child(a)
            .child(x.restart(Restart::Temporary).significant(true));
        let tree = start(root).await;
        handle.tell(Crash).unwrap();
        idle().await;
        assert!(
            !has_ended(&tree).await,
            "stopped because of a sibling, not by itself"
        );
        tree.shutdown().await;
    });
}

#[test]
fn significant_escalation() {
    run(async {
        let (a, handle, _) = probe("a", &Log::default());
        let inner = SupervisorSpec::new("inner", Strategy::OneForOne)
            .auto_shutdown(AnySignificant)
            .restart(Restart::Transient)
            .significant(true)
            .child(a.restart(Restart::Transient).significant(true));
        let root = patient("root", Strategy::OneForOne)
            .auto_shutdown(AnySignificant)
            .child(inner);
        let tree = start(root).await;
        handle.tell(Stop).unwrap();
        assert_eq!(tree.exited().await, ExitReason::Shutdown);
    });
}

/// `significant_simple`: children of a dynamic supervisor can be significant, too.
#[test]
fn significant_simple() {
    for (auto_shutdown, ends_with_the_first) in [(AnySignificant, true), (AllSignificant, false)] {
        run(async {
            let log = Log::default();
            let root = patient("root", Strategy::Dynamic).auto_shutdown(auto_shutdown);
            let tree = start(root).await;
            let root = tree.supervisor("root").unwrap();
            let mut handles = Vec::new();
            for (name, restart) in [("a", Restart::Transient), ("b", Restart::Temporary)] {
                let (spec, handle, _) = probe(name, &log);
                let spec = spec.restart(restart).significant(true);
                root.start_child(spec).await.unwrap();
                handles.push(handle);
            }
            handles[0].tell(Stop).unwrap();
            idle().await;
            assert_eq!(has_ended(&tree).await, ends_with_the_first);
            let _ = handles[1].tell(Stop);
            idle().await;
            assert!(has_ended(&tree).await);
        });
    }
}

/// Only children that run or wait for their restart count: one that was terminated, declined or
/// was quarantined does not hold the shutdown up (in OTP, `pid = undefined`).
#[test]
fn all_significant_does_not_wait_for_those_that_are_down() {
    for way in ["terminated", "ignored", "quarantined"] {
        run(async {
            let log = Log::default();
            let (a, a_handle, a_script) = probe("a", &log);
            let (b, b_handle, _) = probe("b", &log);
            let significant = |spec: deia_supervision::ChildSpec| {
                spec.restart(Restart::Transient).significant(true)
            };
            let a = significant(a)
                .budget(deia_supervision::Intensity::new(0, Duration::from_secs(1)))
                .on_exhausted(deia_supervision::OnExhausted::Quarantine);
            if way == "ignored" {
                a_script
                    .ignore_builds
                    .store(1, std::sync::atomic::Ordering::SeqCst);
            }
            let root = patient("root", Strategy::OneForOne).auto_shutdown(AllSignificant);
            let tree = start(root.child(a).child(significant(b))).await;
            match way {
                "terminated" => {
                    let root = tree.supervisor("root").unwrap();
                    root.terminate_child("a").await.unwrap();
                }
                "quarantined" => a_handle.tell(Crash).unwrap(),
                _ => {}
            }
            idle().await;
            assert!(!has_ended(&tree).await, "{way}: b still runs");
            b_handle.tell(Stop).unwrap();
            idle().await;
            assert!(has_ended(&tree).await, "{way}");
        });
    }
}
