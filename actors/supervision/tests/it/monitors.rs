//! Monitors always resolve: with the reason of the next exit, or with `None` once there can be
//! none.

use std::{
    sync::{atomic::Ordering::SeqCst, mpsc},
    time::Duration,
};

use deia_supervision::{
    Backoff, ExitReason, Handle, Monitor, Placement, Restart, Strategy, SupervisorSpec, Tree,
};
use tokio::time::timeout;

use crate::common::{Crash, Log, Probe, Stop, idle, patient, probe, run, start};

async fn heard(monitor: Monitor) -> Option<ExitReason> {
    let limit = Duration::from_secs(3_600);
    let heard = tokio::time::timeout(limit, monitor).await;
    heard.expect("a monitor hangs")
}

/// Ways in which a child can be down.
#[derive(Clone, Copy, Debug)]
enum Down {
    Suspended,
    Terminated,
    Waiting,
    Ended,
    Ignored,
}

async fn bring_down(how: Down, tree: &Tree, path: &str, handle: &Handle<Probe>) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let supervisor = tree.supervisor(parent).unwrap();
    match how {
        Down::Suspended => tree.suspend_path(path).await.unwrap(),
        Down::Terminated => supervisor.terminate_child(name).await.unwrap(),
        Down::Waiting | Down::Ignored => handle.tell(Crash).unwrap(),
        Down::Ended => handle.tell(Stop).unwrap(),
    }
    idle().await;
}

/// Below the root and one level further down, in whichever way the child is down.
#[test]
fn monitors_of_children_that_are_down_end_with_the_tree() {
    for how in [
        Down::Suspended,
        Down::Terminated,
        Down::Waiting,
        Down::Ended,
        Down::Ignored,
    ] {
        for deep in [false, true] {
            run(async {
                let day = Duration::from_secs(86_400);
                let (a, handle, script) = probe("a", &Log::default());
                let a = a.restart(Restart::Transient);
                let a = match how {
                    Down::Waiting => a.backoff(Backoff::new(day, day)),
                    _ => a,
                };
                let root = patient("root", Strategy::OneForOne);
                let (root, path) = match deep {
                    true => {
                        let inner = SupervisorSpec::new("inner", Strategy::OneForOne).child(a);
                        (root.child(inner), "root/inner/a")
                    }
                    false => (root.child(a), "root/a"),
                };
                let tree = start(root).await;
                if let Down::Ignored = how {
                    script.ignore_builds.store(1, SeqCst);
                }
                bring_down(how, &tree, path, &handle).await;
                let monitor = handle.monitor();
                tree.shutdown().await;
                assert_eq!(heard(monitor).await, None, "{how:?} {deep}");
                assert_eq!(heard(handle.monitor()).await, None);
            });
        }
    }
}

#[test]
fn monitors_of_a_deleted_child_end() {
    run(async {
        let (a, handle, _) = probe("a", &Log::default());
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        let root = tree.supervisor("root").unwrap();
        root.terminate_child("a").await.unwrap();
        let monitor = handle.monitor();
        root.delete_child("a").await.unwrap();
        assert_eq!(heard(monitor).await, None);
        tree.shutdown().await;
    });
}

#[test]
fn monitors_of_a_child_that_never_got_into_a_tree_end() {
    run(async {
        let (spec, handle, _) = probe("a", &Log::default());
        let monitor = handle.monitor();
        drop(spec);
        assert_eq!(heard(monitor).await, None);
        assert_eq!(heard(handle.monitor()).await, None);
    });
}

/// Taken from another thread while the child is removed: whatever the moment, it resolves.
#[test]
fn monitors_taken_while_a_child_is_removed_end() {
    actix::System::new().block_on(async {
        let tree = start(patient("root", Strategy::OneForOne).arbiters(1)).await;
        let root = tree.supervisor("root").unwrap();
        for _ in 0..200 {
            let (a, handle, _) = probe("a", &Log::default());
            root.start_child(a.placement(Placement::Pool))
                .await
                .unwrap();
            root.terminate_child("a").await.unwrap();
            let taking = std::thread::spawn(move || {
                let mut taken = vec![handle.monitor()];
                while !handle.is_gone() {
                    taken.push(handle.monitor());
                }
                taken.push(handle.monitor());
                taken
            });
            root.delete_child("a").await.unwrap();
            for monitor in tokio::task::spawn_blocking(|| taking.join().unwrap())
                .await
                .unwrap()
            {
                assert_eq!(heard(monitor).await, None);
            }
        }
        tree.shutdown().await;
    });
}

/// Also those of a tree that was not shut down, but lost its thread.
#[test]
fn event_streams_end_with_the_tree_although_it_is_still_held() {
    for shuts_down in [true, false] {
        let (out, trees) = mpsc::channel();
        let running = std::thread::spawn(move || {
            actix::System::new().block_on(async move {
                let (a, ..) = probe("a", &Log::default());
                let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
                out.send((tree.clone(), tree.subscribe())).unwrap();
                if shuts_down {
                    tree.shutdown().await;
                }
            });
        });
        let (tree, mut events) = trees.recv().unwrap();
        running.join().unwrap();
        actix::System::new().block_on(async {
            let minute = Duration::from_secs(60);
            let mut last = None;
            while let Some(event) = timeout(minute, events.recv()).await.expect("it hangs") {
                last = Some(event.unwrap().path.to_string());
            }
            assert_eq!(last, shuts_down.then(|| "root".to_owned()));
            let mut late = tree.subscribe();
            assert!(
                timeout(minute, late.recv())
                    .await
                    .expect("it hangs")
                    .is_none()
            );
        });
    }
}
