//! Children added, operated and counted at run time.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use deia_supervision::{
    Backoff, ChildCounts, ChildError, ChildState, ExitReason, Restart, StartChildError, Strategy,
    SupervisorHandle, SupervisorSpec, Tree,
};

use crate::common::{Crash, Log, Stop, idle, patient, probe, run, start, state};

async fn administer(tree: &Tree, supervisor: &SupervisorHandle) {
    let log = Log::default();
    let child = || probe("a", &log).0;
    let path = format!("{}/a", supervisor.path());
    supervisor.start_child(child()).await.unwrap();
    let again = supervisor.start_child(child()).await;
    assert!(matches!(again, Err(StartChildError::AlreadyStarted)));
    let running = supervisor.restart_child("a").await;
    assert!(matches!(running, Err(ChildError::Running)));
    let running = supervisor.delete_child("a").await;
    assert!(matches!(running, Err(ChildError::Running)));
    for _ in 0..2 {
        supervisor.terminate_child("a").await.unwrap();
        assert_eq!(state(tree, &path), Some(ChildState::Terminated));
    }
    let present = supervisor.start_child(child()).await;
    assert!(matches!(present, Err(StartChildError::AlreadyPresent)));
    supervisor.restart_child("a").await.unwrap();
    assert_eq!(state(tree, &path), Some(ChildState::Running));
    supervisor.terminate_child("a").await.unwrap();
    supervisor.delete_child("a").await.unwrap();
    assert_eq!(state(tree, &path), None);
    for unknown in [
        supervisor.terminate_child("a").await,
        supervisor.restart_child("a").await,
        supervisor.delete_child("a").await,
        supervisor.suspend_child("a").await,
        supervisor.resume_child("a").await,
    ] {
        assert!(matches!(unknown, Err(ChildError::NotFound)));
    }
    assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    idle().await;
    let gone = supervisor.start_child(child()).await;
    assert!(matches!(gone, Err(StartChildError::Gone)));
    let gone = supervisor.terminate_child("a").await;
    assert!(matches!(gone, Err(ChildError::Gone)));
    assert_eq!(supervisor.count_children().await, ChildCounts::default());
}

#[test]
fn child_adm() {
    run(async {
        let tree = start(patient("root", Strategy::OneForOne)).await;
        administer(&tree, &tree.supervisor("root").unwrap()).await;
    });
}

#[test]
fn child_adm_dynamic() {
    run(async {
        let spec = SupervisorSpec::dynamic("workers");
        let workers = spec.handle();
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        administer(&tree, &workers).await;
    });
}

#[test]
fn max_children() {
    run(async {
        let log = Log::default();
        let spec = SupervisorSpec::dynamic("workers").max_children(2);
        let workers = spec.handle();
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        workers.start_child(probe("a", &log).0).await.unwrap();
        workers.start_child(probe("b", &log).0).await.unwrap();
        let full = workers.start_child(probe("c", &log).0).await;
        assert!(matches!(full, Err(StartChildError::MaxChildren { max: 2 })));
        workers.terminate_child("a").await.unwrap();
        workers.delete_child("a").await.unwrap();
        workers.start_child(probe("c", &log).0).await.unwrap();
        tree.shutdown().await;
    });
}

#[test]
fn a_request_before_the_start_waits() {
    run(async {
        let spec = SupervisorSpec::dynamic("workers");
        let workers = spec.handle();
        let (a, handle, _) = probe("a", &Log::default());
        let asked = actix::spawn(async move { workers.start_child(a).await });
        idle().await;
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        asked.await.unwrap().unwrap();
        assert_eq!(handle.path(), "root/workers/a");
        tree.shutdown().await;
    });
}

#[test]
fn which_children_and_count_children_agree() {
    for size in [1_000, 2_000] {
        run(async {
            let log = Log::default();
            let spec = SupervisorSpec::dynamic("workers");
            let workers = spec.handle();
            let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
            for index in 0..size {
                let (spec, ..) = probe(&index.to_string(), &log);
                workers.start_child(spec).await.unwrap();
            }
            for index in 0..size / 2 {
                workers.terminate_child(&index.to_string()).await.unwrap();
            }
            for index in 0..size / 4 {
                workers.delete_child(&index.to_string()).await.unwrap();
            }
            let children = workers.which_children().await;
            let active = |child: &&deia_supervision::ChildInfo| child.state == ChildState::Running;
            let counts = workers.count_children().await;
            assert_eq!(counts.specs, size - size / 4);
            assert_eq!(counts.active, size / 2);
            assert_eq!((counts.workers, counts.supervisors), (counts.specs, 0));
            assert_eq!(children.len(), counts.specs);
            assert_eq!(children.iter().filter(active).count(), counts.active);
            let order: Vec<usize> = children
                .iter()
                .map(|child| child.name.parse().unwrap())
                .collect();
            assert!(order.is_sorted());
            tree.shutdown().await;
        });
    }
}

#[test]
fn count_restarting_children() {
    run(async {
        let minute = Duration::from_secs(60);
        let (a, handle, _) = probe("a", &Log::default());
        let a = a.backoff(Backoff::new(minute, minute));
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        let root = tree.supervisor("root").unwrap();
        assert_eq!(root.count_children().await.active, 1);
        handle.tell(Crash).unwrap();
        idle().await;
        assert_eq!(state(&tree, "root/a"), Some(ChildState::Restarting));
        let counts = root.count_children().await;
        assert_eq!((counts.specs, counts.active), (1, 0));
        tokio::time::sleep(2 * minute).await;
        assert_eq!(root.count_children().await.active, 1);
        tree.shutdown().await;
    });
}

#[test]
fn dynamic_children_that_are_done_leave_nothing_behind() {
    run(async {
        let spec = SupervisorSpec::dynamic("workers");
        let workers = spec.handle();
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        let (a, handle, script) = probe("a", &Log::default());
        workers
            .start_child(a.restart(Restart::Transient))
            .await
            .unwrap();
        handle.tell(Stop).unwrap();
        idle().await;
        assert!(workers.which_children().await.is_empty());
        assert!(handle.is_gone());
        assert_eq!(script.alive.load(SeqCst), 0);
        tree.shutdown().await;
    });
}

/// Supervisors are counted apart from workers, and their own children not at all.
#[test]
fn count_children_supervisor() {
    run(async {
        let log = Log::default();
        let (a, ..) = probe("a", &log);
        let (b, ..) = probe("b", &log);
        let (c, ..) = probe("c", &log);
        let inner = patient("inner", Strategy::OneForOne).child(b).child(c);
        let root = patient("root", Strategy::OneForOne).child(a).child(inner);
        let tree = start(root).await;
        let root = tree.supervisor("root").unwrap();
        let counts = |active, workers, supervisors| {
            let mut counts = ChildCounts::default();
            counts.specs = workers + supervisors;
            counts.active = active;
            (counts.workers, counts.supervisors) = (workers, supervisors);
            counts
        };
        assert_eq!(root.count_children().await, counts(2, 1, 1));
        let inner = tree.supervisor("root/inner").unwrap();
        assert_eq!(inner.count_children().await, counts(2, 2, 0));
        root.terminate_child("inner").await.unwrap();
        assert_eq!(root.count_children().await, counts(1, 1, 1));
        root.delete_child("inner").await.unwrap();
        assert_eq!(root.count_children().await, counts(1, 1, 0));
        let other = patient("other", Strategy::OneForOne).child(probe("d", &log).0);
        root.start_child(other).await.unwrap();
        assert_eq!(root.count_children().await, counts(2, 1, 1));
        tree.shutdown().await;
    });
}
