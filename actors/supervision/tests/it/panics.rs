//! Panics, wherever they happen: never more than that child.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use deia_supervision::{ChildState, ExitReason, Handle, Strategy, Tree};
use tokio::time::Instant;

use crate::common::{
    Crash, CrashLater, Log, Ping, Probe, Script, Stop, patient, probe, run, start, state,
};

/// A child that panics somewhere, beside one that must not notice.
async fn panics(set_up: impl Fn(&Script), trigger: impl Fn(&Handle<Probe>)) -> (Tree, usize) {
    let log = Log::default();
    let (a, handle, script) = probe("a", &log);
    let (b, b_handle, b_script) = probe("b", &log);
    let tree = start(patient("root", Strategy::OneForOne).child(a).child(b)).await;
    set_up(&script);
    trigger(&handle);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(b_handle.ask(Ping).await, Ok(1));
    assert_eq!(b_script.alive.load(SeqCst), 1);
    assert_eq!(script.alive.load(SeqCst), 1);
    assert!(handle.ask(Ping).await.is_ok());
    (tree, script.built())
}

fn assert_contained(set_up: impl Fn(&Script), trigger: impl Fn(&Handle<Probe>), message: &str) {
    contained(set_up, trigger, message, 2);
}

fn contained(
    set_up: impl Fn(&Script),
    trigger: impl Fn(&Handle<Probe>),
    message: &str,
    expected: usize,
) {
    run(async {
        let (tree, built) = panics(set_up, trigger).await;
        assert_eq!(built, expected);
        let exits = tree.status_of("root/a").unwrap().exits;
        let messages: Vec<_> = exits
            .iter()
            .filter_map(|exit| exit.reason.message())
            .collect();
        assert!(
            messages.iter().any(|text| text.contains(message)),
            "{messages:?}"
        );
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

#[test]
fn panic_in_handler() {
    assert_contained(
        |_| {},
        |handle| handle.tell(Crash).unwrap(),
        "told to crash",
    );
}

#[test]
fn panic_in_started() {
    // The second incarnation fails to start, the third is up.
    contained(
        |script| script.panic_in_started.store(1, SeqCst),
        |handle| handle.tell(Stop).unwrap(),
        "in started",
        3,
    );
}

#[test]
fn panic_in_stopping() {
    assert_contained(
        |script| script.panic_in_stopping.store(1, SeqCst),
        |handle| handle.tell(Stop).unwrap(),
        "in stopping",
    );
}

#[test]
fn panic_in_stopped() {
    assert_contained(
        |script| script.panic_in_stopped.store(1, SeqCst),
        |handle| handle.tell(Stop).unwrap(),
        "in stopped",
    );
}

#[test]
fn panic_in_drop() {
    assert_contained(
        |script| script.panic_in_drop.store(1, SeqCst),
        |handle| handle.tell(Stop).unwrap(),
        "in drop",
    );
}

/// With actix, the second panic would come while the first one unwinds, and abort the process.
#[test]
fn panic_after_panic() {
    assert_contained(
        |script| {
            script.panic_in_stopping.store(1, SeqCst);
            script.panic_in_stopped.store(1, SeqCst);
            script.panic_in_drop.store(1, SeqCst);
        },
        |handle| handle.tell(Crash).unwrap(),
        "told to crash",
    );
}

#[test]
fn panic_in_spawned_future() {
    assert_contained(
        |_| {},
        |handle| handle.tell(CrashLater).unwrap(),
        "in a spawned future",
    );
}

#[test]
fn a_hundred_thousand_panics_leak_nothing() {
    run(async {
        let (spec, handle, script) = probe("a", &Log::default());
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        let tasks = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        let before = tasks();
        let begin = Instant::now();
        for _ in 0..100 {
            for _ in 0..1_000 {
                handle.tell(Crash).unwrap();
            }
            handle.ask(Ping).await.unwrap();
        }
        assert_eq!(handle.ask(Ping).await, Ok(100_001));
        assert_eq!(begin.elapsed(), Duration::ZERO, "nothing waited");
        assert_eq!(tasks(), before);
        assert_eq!(handle.depth(), 0);
        assert_eq!(script.alive.load(SeqCst), 1);
        let status = tree.status_of("root/a").unwrap();
        assert_eq!((status.restarts, status.incarnation), (100_000, 100_001));
        assert_eq!(status.exits.len(), 16);
        assert_eq!(state(&tree, "root/a"), Some(ChildState::Running));
        tree.shutdown().await;
    });
}
