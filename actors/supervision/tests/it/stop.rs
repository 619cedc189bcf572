//! Stopping: in reverse order, each child within its time-out.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use deia_supervision::{Backoff, ExitReason, Shutdown, Strategy, SupervisorSpec};
use tokio::time::Instant;

use crate::common::{Crash, Log, Script, patient, probe, run, start};

/// Runs a tree of `sleeper` and `other`, static and dynamic, and returns how long it took to
/// stop, why both ended, and what was logged meanwhile.
async fn stop_both(
    dynamically: bool,
    shutdown: Shutdown,
    set_up: impl Fn(&Script),
) -> (Duration, [ExitReason; 2], Vec<String>) {
    let log = Log::default();
    let (sleeper, sleeper_handle, script) = probe("sleeper", &log);
    let (other, other_handle, _) = probe("other", &log);
    set_up(&script);
    let sleeper = sleeper.shutdown(shutdown);
    let tree = if dynamically {
        let spec = SupervisorSpec::dynamic("workers");
        let workers = spec.handle();
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        workers.start_child(sleeper).await.unwrap();
        workers.start_child(other).await.unwrap();
        tree
    } else {
        start(
            patient("root", Strategy::OneForOne)
                .child(sleeper)
                .child(other),
        )
        .await
    };
    log.take();
    let (slept, ended) = (sleeper_handle.monitor(), other_handle.monitor());
    let begin = Instant::now();
    assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    let took = begin.elapsed();
    assert_eq!(script.alive.load(SeqCst), 0);
    let reasons = [slept.await.unwrap(), ended.await.unwrap()];
    (took, reasons, log.take())
}

#[test]
fn stop_infinity() {
    const HOUR: Duration = Duration::from_secs(3_600);
    for dynamically in [false, true] {
        let (took, reasons, log) = run(stop_both(dynamically, Shutdown::Infinity, |script| {
            let ms = u64::try_from(HOUR.as_millis()).unwrap();
            script.slow_stop_ms.store(ms, SeqCst);
        }));
        assert_eq!(reasons, [ExitReason::Shutdown, ExitReason::Shutdown]);
        assert_eq!(log, ["-other", "-sleeper"]);
        assert!(took >= HOUR, "{took:?}");
    }
}

#[test]
fn stop_timeout() {
    for dynamically in [false, true] {
        let limit = Duration::from_millis(700);
        let (took, reasons, log) = run(stop_both(dynamically, Shutdown::Within(limit), |script| {
            script.refuse_stop.store(usize::MAX, SeqCst);
        }));
        assert_eq!(reasons, [ExitReason::Killed, ExitReason::Shutdown]);
        assert_eq!(log, ["-other"]);
        assert!(took >= limit && took < 2 * limit, "{took:?}");
    }
}

#[test]
fn stop_brutal_kill() {
    for dynamically in [false, true] {
        let (took, reasons, log) = run(stop_both(dynamically, Shutdown::Brutal, |_| {}));
        assert_eq!(reasons, [ExitReason::Killed, ExitReason::Shutdown]);
        assert_eq!(log, ["-other"], "no hook runs");
        assert!(took < Duration::from_millis(10));
    }
}

#[test]
fn a_supervisor_out_of_time_kills_what_is_left() {
    run(async {
        let log = Log::default();
        let (child, handle, script) = probe("a", &log);
        script.refuse_stop.store(usize::MAX, SeqCst);
        let limit = Duration::from_secs(2);
        let core = patient("core", Strategy::OneForOne)
            .shutdown(Shutdown::Within(limit))
            .child(child.shutdown(Shutdown::Infinity));
        let tree = start(patient("root", Strategy::OneForOne).child(core)).await;
        let ended = handle.monitor();
        let begin = Instant::now();
        tree.shutdown().await;
        assert!(begin.elapsed() >= limit && begin.elapsed() < 2 * limit);
        assert_eq!(ended.await, Some(ExitReason::Killed));
    });
}

/// Found by the model: it used to come up behind the back of its stopping supervisor, which then
/// waited for it forever.
#[test]
fn a_restart_that_is_due_while_stopping_does_not_happen() {
    run(async {
        let log = Log::default();
        let second = Duration::from_secs(1);
        let (slow, _, slow_script) = probe("slow", &log);
        let (failed, handle, script) = probe("failed", &log);
        slow_script.refuse_stop.store(usize::MAX, SeqCst);
        let slow = slow.shutdown(Shutdown::Within(10 * second));
        let failed = failed.backoff(Backoff::new(second, second));
        let root = patient("root", Strategy::OneForOne);
        let tree = start(root.child(slow).child(failed)).await;
        handle.tell(Crash).unwrap();
        tokio::time::sleep(second / 2).await;
        let begin = Instant::now();
        tree.shutdown().await;
        assert!(begin.elapsed() < 11 * second);
        assert_eq!(script.built(), 1);
    });
}
