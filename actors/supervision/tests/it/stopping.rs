//! Supervisors that take their time to stop.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use deia_supervision::{
    ChildError, ChildState, Handle, Restart, Shutdown, StartChildError, Strategy, SupervisorSpec,
    Tree,
};
use tokio::{
    task::{JoinHandle, spawn_local},
    time::{sleep, timeout},
};

use crate::common::{Log, Probe, Script, idle, patient, probe, run, start, state};

const SECOND: Duration = Duration::from_secs(1);

/// A dynamic supervisor `inner` with a temporary child `a` that takes a minute to stop.
async fn slow() -> (Tree, Handle<Probe>, Arc<Script>) {
    let inner = SupervisorSpec::dynamic("inner");
    let adding = inner.handle();
    let tree = start(patient("root", Strategy::OneForOne).child(inner)).await;
    let (a, handle, script) = probe("a", &Log::default());
    let a = a.restart(Restart::Temporary).shutdown(Shutdown::Infinity);
    adding.start_child(a).await.unwrap();
    script.slow_stop_ms.store(60_000, SeqCst);
    (tree, handle, script)
}

async fn suspending(tree: &Tree) -> JoinHandle<()> {
    let suspended = tree.clone();
    let suspending = spawn_local(async move {
        suspended.suspend_path("root/inner").await.unwrap();
    });
    idle().await;
    assert_eq!(state(tree, "root/inner"), Some(ChildState::Stopping));
    suspending
}

#[test]
fn a_supervisor_that_is_stopping_refuses_requests_at_once() {
    run(async {
        let (tree, ..) = slow().await;
        let inner = tree.supervisor("root/inner").unwrap();
        let suspending = suspending(&tree).await;
        let asked = async {
            let children = inner.which_children().await;
            assert_eq!(children[0].state, ChildState::Stopping);
            assert_eq!(inner.count_children().await.active, 1);
            let added = inner.start_child(probe("b", &Log::default()).0).await;
            assert!(matches!(added, Err(StartChildError::Stopping)), "{added:?}");
            let terminated = inner.terminate_child("a").await;
            assert!(matches!(terminated, Err(ChildError::Stopping)));
        };
        timeout(SECOND, asked).await.expect("it hangs");
        suspending.await.unwrap();
        let terminated = inner.terminate_child("a").await;
        assert!(matches!(terminated, Err(ChildError::Suspended)));
        tree.shutdown().await;
    });
}

/// The child was asked to end before its supervisor was asked to stop.
#[test]
fn a_child_that_is_being_removed_does_not_come_back_with_its_supervisor() {
    run(async {
        let (tree, handle, script) = slow().await;
        let inner = tree.supervisor("root/inner").unwrap();
        let terminating = spawn_local(async move { inner.terminate_child("a").await });
        idle().await;
        suspending(&tree).await.await.unwrap();
        terminating.await.unwrap().unwrap();
        tree.resume_path("root/inner").await.unwrap();
        sleep(SECOND).await;
        assert!(handle.is_gone());
        assert_eq!(script.built(), 1);
        tree.shutdown().await;
    });
}
