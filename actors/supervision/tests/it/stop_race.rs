//! Children that end by themselves while their supervisor stops: it completes, nobody is restarted,
//! and each keeps the reason it had.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use actix::prelude::{Handler, Message};
use deia_supervision::{Context, ExitReason, Handle, Placement, Strategy, SupervisorSpec};
use tokio::time::{Instant, sleep};

use crate::common::{Crash, Fail, Log, Probe, Stop, patient, probe, run, start};

const CHILDREN: usize = 12;
/// Time that each child takes to stop.
const PAUSE: Duration = Duration::from_millis(10);

fn end(index: usize, handle: &Handle<Probe>) {
    match index % 4 {
        0 => handle.tell(Crash).unwrap(),
        1 => handle.tell(Stop).unwrap(),
        2 => handle.tell(Fail).unwrap(),
        _ => {}
    }
}

/// Runs a tree of `CHILDREN`, ends three in four of them half a pause after the shutdown began, and
/// returns why each ended and how long the shutdown took.
async fn race(dynamically: bool) -> (Vec<ExitReason>, Duration) {
    let log = Log::default();
    let spec = SupervisorSpec::dynamic("workers");
    let workers = spec.handle();
    let mut root = patient("root", Strategy::OneForOne);
    let (mut handles, mut scripts, mut specs) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..CHILDREN {
        let (child, handle, script) = probe(&index.to_string(), &log);
        // A child that ends itself goes at once: if it went on, it would not have ended yet.
        if dynamically || matches!(index % 4, 0 | 3) {
            let pause_ms = u64::try_from(PAUSE.as_millis()).unwrap();
            script.slow_stop_ms.store(pause_ms, SeqCst);
        }
        handles.push(handle);
        scripts.push(script);
        specs.push(child);
    }
    if !dynamically {
        root = specs.drain(..).fold(root, SupervisorSpec::child);
    }
    let tree = start(root.child(spec)).await;
    for child in specs {
        workers.start_child(child).await.unwrap();
    }
    let monitors: Vec<_> = handles.iter().map(Handle::monitor).collect();
    let begin = Instant::now();
    let stopping = actix::spawn({
        let tree = tree.clone();
        async move { tree.shutdown().await }
    });
    sleep(PAUSE / 2).await;
    for (index, handle) in handles.iter().enumerate() {
        end(index, handle);
    }
    assert_eq!(stopping.await.unwrap(), ExitReason::Shutdown);
    let took = begin.elapsed();
    for script in &scripts {
        assert_eq!((script.built(), script.alive.load(SeqCst)), (1, 0));
    }
    let mut reasons = Vec::new();
    for monitor in monitors {
        reasons.push(monitor.await.unwrap());
    }
    (reasons, took)
}

/// The last child is being stopped, the others have not been asked to yet.
#[test]
fn stop_race() {
    let (reasons, took) = run(race(false));
    for (index, reason) in reasons.iter().enumerate() {
        let expected = match index % 4 {
            0 => "panicked",
            1 => "normal",
            2 => "failed",
            _ => "shutdown",
        };
        assert_eq!(reason.code(), expected, "{index}");
    }
    // Children that did nothing by themselves are stopped one after the other.
    assert!(took >= 3 * PAUSE, "{took:?}");
}

/// All have been asked to stop, and take their time: a crash is still a crash, but who stops or
/// fails on the way only hurries.
#[test]
fn stop_race_dynamic() {
    let (reasons, took) = run(race(true));
    for (index, reason) in reasons.iter().enumerate() {
        let expected = match index % 4 {
            0 => "panicked",
            _ => "shutdown",
        };
        assert_eq!(reason.code(), expected, "{index}");
    }
    assert!(took < 2 * PAUSE, "in parallel: {took:?}");
}

/// `sup_stop_non_shutdown_exit_dynamic`: what a child does to itself on the way down does not
/// change how its supervisor ends.
#[test]
fn sup_stop_non_shutdown_exit_dynamic() {
    run(async {
        let spec = SupervisorSpec::dynamic("workers");
        let workers = spec.handle();
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        let (a, handle, script) = probe("a", &Log::default());
        script.panic_in_stopping.store(1, SeqCst);
        workers.start_child(a).await.unwrap();
        let (child, supervisor) = (handle.monitor(), tree.subscribe());
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        assert_eq!(child.await.unwrap().code(), "panicked");
        let mut stream = supervisor;
        let names = crate::common::events(&mut stream);
        assert_eq!(names, ["stopped a", "stopped workers", "stopped root"]);
        assert_eq!(script.built(), 1);
    });
}

/// Says that it crashes before it does.
#[derive(Message)]
#[rtype(result = "()")]
struct CrashLoudly;

impl Handler<CrashLoudly> for Probe {
    type Result = ();
    fn handle(&mut self, _: CrashLoudly, _: &mut Context<Self>) {
        self.log.add(format!("!{}", self.name));
        panic!("loudly");
    }
}

/// With threads there is no telling who comes first, but whoever crashed has that as its reason,
/// and nobody else does.
#[test]
fn stop_race_between_threads() {
    for round in 0..20 {
        actix::System::new().block_on(async {
            let log = Log::default();
            let mut root = patient("root", Strategy::OneForOne).arbiters(2);
            let mut handles = Vec::new();
            for index in 0..CHILDREN {
                let (spec, handle, _) = probe(&index.to_string(), &log);
                root = root.child(spec.placement(Placement::Pool));
                handles.push(handle);
            }
            let tree = start(root).await;
            let monitors: Vec<_> = handles.iter().map(Handle::monitor).collect();
            let telling = std::thread::spawn(move || {
                for handle in handles.iter().cycle().skip(round).take(CHILDREN) {
                    let _ = handle.tell(CrashLoudly); // unless it is gone
                    std::thread::yield_now();
                }
            });
            assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
            let crashed = log.take();
            for (index, monitor) in monitors.into_iter().enumerate() {
                let reason = monitor.await.unwrap();
                let loudly = crashed.contains(&format!("!{index}"));
                let expected = if loudly { "panicked" } else { "shutdown" };
                assert_eq!(reason.code(), expected, "{index}");
            }
            telling.join().unwrap();
        });
    }
}
