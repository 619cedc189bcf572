//! Restart types against exit reasons.

use std::time::Duration;

use deia_supervision::{ChildState, Restart, Strategy};
use tokio::time::sleep;

use crate::common::{
    Crash, Fail, Log, Ping, Stop, idle, patient, probe, run, start, state, tolerant,
};

#[derive(Clone, Copy, Debug)]
enum End {
    Normal,
    Abnormal,
    Panic,
}

/// Returns how often the child has been built, and its state, after it ended once.
fn after(restart: Restart, end: End) -> (usize, Option<ChildState>) {
    run(async {
        let (spec, handle, script) = probe("a", &Log::default());
        let tree = start(patient("root", Strategy::OneForOne).child(spec.restart(restart))).await;
        match end {
            End::Normal => handle.tell(Stop).unwrap(),
            End::Abnormal => handle.tell(Fail).unwrap(),
            End::Panic => handle.tell(Crash).unwrap(),
        }
        idle().await;
        let result = (script.built(), state(&tree, "root/a"));
        tree.shutdown().await;
        result
    })
}

const UP_AGAIN: (usize, Option<ChildState>) = (2, Some(ChildState::Running));

#[test]
fn permanent_normal() {
    assert_eq!(after(Restart::Permanent, End::Normal), UP_AGAIN);
}

#[test]
fn permanent_abnormal() {
    assert_eq!(after(Restart::Permanent, End::Abnormal), UP_AGAIN);
    assert_eq!(after(Restart::Permanent, End::Panic), UP_AGAIN);
}

#[test]
fn transient_normal() {
    let down = (1, Some(ChildState::Ended));
    assert_eq!(after(Restart::Transient, End::Normal), down);
}

#[test]
fn transient_abnormal() {
    assert_eq!(after(Restart::Transient, End::Abnormal), UP_AGAIN);
    assert_eq!(after(Restart::Transient, End::Panic), UP_AGAIN);
}

#[test]
fn temporary_normal_and_abnormal() {
    assert_eq!(after(Restart::Temporary, End::Normal), (1, None));
    assert_eq!(after(Restart::Temporary, End::Abnormal), (1, None));
    assert_eq!(after(Restart::Temporary, End::Panic), (1, None));
}

#[test]
fn transient_normal_can_be_restarted_by_hand() {
    run(async {
        let (spec, handle, _) = probe("a", &Log::default());
        let spec = spec.restart(Restart::Transient);
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        handle.tell(Stop).unwrap();
        idle().await;
        let root = tree.supervisor("root").unwrap();
        root.restart_child("a").await.unwrap();
        assert_eq!(handle.ask(Ping).await, Ok(2));
        tree.shutdown().await;
    });
}

/// `shutdown` as an exit reason comes from a supervisor that ends itself: see `auto_shutdown`.
#[test]
fn permanent_transient_and_temporary_shutdown() {
    use deia_supervision::{AutoShutdown, SupervisorSpec};
    let cases = [
        (Restart::Permanent, 2, Some(ChildState::Running)),
        (Restart::Transient, 1, Some(ChildState::Ended)),
        (Restart::Temporary, 1, None),
    ];
    for (restart, built, expected) in cases {
        run(async {
            let (spec, handle, script) = probe("a", &Log::default());
            let inner = SupervisorSpec::new("inner", Strategy::OneForOne)
                .auto_shutdown(AutoShutdown::AnySignificant)
                .restart(restart)
                .child(spec.restart(Restart::Transient).significant(true));
            let tree = start(patient("root", Strategy::OneForOne).child(inner)).await;
            handle.tell(Stop).unwrap();
            idle().await;
            assert_eq!(script.built(), built, "{restart:?}");
            assert_eq!(state(&tree, "root/inner"), expected, "{restart:?}");
            if let Some(inner) = tree.status_of("root/inner") {
                assert_eq!(inner.last_exit.unwrap().reason.code(), "shutdown");
            }
            tree.shutdown().await;
        });
    }
}

#[test]
fn temporary_bystander() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        run(async {
            let log = Log::default();
            let (a, a_handle, a_script) = probe("a", &log);
            let (x, _, x_script) = probe("x", &log);
            let root = patient("root", strategy);
            let tree = start(root.child(a).child(x.restart(Restart::Temporary))).await;
            a_handle.tell(Crash).unwrap();
            idle().await;
            assert_eq!((a_script.built(), x_script.built()), (2, 1));
            assert_eq!(state(&tree, "root/x"), None);
            tree.shutdown().await;
        });
    }
}

#[test]
fn multiple_restarts() {
    run(async {
        let (spec, handle, _) = probe("a", &Log::default());
        let tree = start(tolerant("root", Strategy::OneForOne, 1).child(spec)).await;
        for built in 1..=10 {
            assert_eq!(handle.ask(Ping).await, Ok(built));
            assert!(handle.ask(Crash).await.is_err());
            sleep(Duration::from_secs(11)).await;
        }
        tree.shutdown().await;
    });
}
