//! Thousands of children on several threads under random crashes, stops and suspensions: at the end
//! everything adds up, and nothing is left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use deia_supervision::{
    Backoff, ExitReason, Handle, Intensity, Monitor, Placement, Restart, SupervisorSpec, Tree,
};

use crate::{
    blocking::until,
    common::{Crash, Log, Ping, Probe, Say, Script, Stop, scripted, start},
};

const CHILDREN: usize = 1_000;
const ACTS: usize = 15_000;

/// A sequence that is the same in each run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ (x >> 31)) >> 33).unwrap() % sides
    }
}

async fn act(tree: &Tree, dice: &mut Dice, handles: &[Handle<Probe>]) -> Option<Monitor> {
    let index = dice.roll(handles.len());
    let (handle, path) = (&handles[index], format!("root/workers/{index}"));
    let workers = tree.supervisor("root/workers").unwrap();
    match dice.roll(100) {
        0..40 => drop(handle.tell(Crash)),
        40..50 => drop(handle.tell(Stop)),
        50..70 => drop(handle.tell(Say(index))),
        70..75 => return Some(handle.monitor()),
        75..80 => drop(tree.suspend_path(&path).await),
        80..90 => drop(tree.resume_path(&path).await),
        90..93 => drop(workers.terminate_child(&index.to_string()).await),
        93..97 => drop(workers.restart_child(&index.to_string()).await),
        97 => drop(tree.restart_path(&path).await),
        98 => drop(tree.suspend_feature("odd", "test", "endurance").await),
        _ => drop(tree.resume_feature("odd").await),
    }
    None
}

#[test]
fn thousands_of_children_on_several_threads_leave_nothing_behind() {
    let script = Arc::new(Script::default());
    actix::System::new().block_on(async {
        let log = Log::default();
        let pool = SupervisorSpec::dynamic("workers").placement(Placement::Pool);
        let pool = pool.intensity(Intensity::unlimited());
        let adding = pool.handle();
        let root = SupervisorSpec::one_for_one("root").arbiters(2).child(pool);
        let tree = start(root).await;
        let pause = Duration::from_millis(2);
        let mut handles = Vec::new();
        for index in 0..CHILDREN {
            let (spec, handle) = scripted(&index.to_string(), &log, &script);
            let spec = match index {
                0..50 => spec.feature("odd"),
                50..100 => spec.backoff(Backoff::new(pause, pause)),
                _ => spec,
            };
            adding
                .start_child(spec.restart(Restart::Permanent))
                .await
                .unwrap();
            handles.push(handle);
        }
        let heard = Arc::new(AtomicUsize::new(0));
        let asking = {
            let (tree, heard) = (tree.clone(), Arc::clone(&heard));
            std::thread::spawn(move || {
                // A summary is there at once, and never makes anything up.
                while heard.load(SeqCst) == 0 {
                    let summary = tree.status_summary();
                    assert!(summary.running <= CHILDREN + 2, "{summary:?}");
                    std::thread::yield_now();
                }
            })
        };
        let (mut dice, mut monitors) = (Dice(7), Vec::new());
        for _ in 0..ACTS {
            monitors.extend(act(&tree, &mut dice, &handles).await);
        }
        heard.store(1, SeqCst);
        tokio::task::spawn_blocking(|| asking.join().unwrap())
            .await
            .unwrap();

        // Once everything is brought up again, everybody answers, and the counts agree.
        let _ = tree.resume_feature("odd").await;
        for (index, handle) in handles.iter().enumerate() {
            let _ = tree.resume_path(&format!("root/workers/{index}")).await;
            let _ = adding.restart_child(&index.to_string()).await;
            handle.ask(Ping).await.unwrap();
        }
        assert_eq!(adding.count_children().await.specs, CHILDREN);
        assert_eq!(script.alive.load(SeqCst), CHILDREN);
        let (summary, status) = (tree.status_summary(), tree.status());
        assert_eq!(summary.running, CHILDREN + 2, "{summary:?}");
        assert_eq!(status.children[0].children.len(), CHILDREN);

        let ended = tokio::time::timeout(Duration::from_secs(600), tree.shutdown()).await;
        assert_eq!(ended.expect("it hangs"), ExitReason::Shutdown);
        for monitor in monitors {
            let heard = tokio::time::timeout(Duration::from_secs(600), monitor).await;
            heard.expect("a monitor hangs");
        }
        until("all are gone", async || handles.iter().all(Handle::is_gone)).await;
        assert_eq!(tree.status_summary().running, 0);
    });
    assert_eq!(script.alive.load(SeqCst), 0);
}
