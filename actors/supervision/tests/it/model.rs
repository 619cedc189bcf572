//! Random trees under random crashes, stops and suspensions on a paused clock, checked against
//! what must always hold.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use deia_supervision::{
    Backoff, ChildState, EventKind, EventStream, ExitReason, Handle, Intensity, Restart, Strategy,
    SupervisorSpec, Tree, TreeStatus,
};
use proptest::{prelude::*, strategy::Strategy as _};
use tokio::time::Instant;

use crate::common::{Crash, Fail, Log, Probe, Script, Stop, idle, labelled, run};

/// What every supervisor tolerates.
const RESTARTS: u32 = 3;
const PERIOD: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
enum Shape {
    Worker {
        restart: Restart,
        backoff_ms: u64,
    },
    Supervisor {
        strategy: Strategy,
        children: Vec<Shape>,
    },
}

#[derive(Clone, Debug)]
enum Act {
    Crash(prop::sample::Index),
    Fail(prop::sample::Index),
    Stop(prop::sample::Index),
    FailToStart(prop::sample::Index),
    Suspend(prop::sample::Index),
    Resume(prop::sample::Index),
    Pass(u64),
}

fn restart() -> impl proptest::strategy::Strategy<Value = Restart> {
    prop_oneof![
        3 => Just(Restart::Permanent),
        2 => Just(Restart::Transient),
        1 => Just(Restart::Temporary),
    ]
}

fn strategy() -> impl proptest::strategy::Strategy<Value = Strategy> {
    prop_oneof![
        Just(Strategy::OneForOne),
        Just(Strategy::OneForAll),
        Just(Strategy::RestForOne),
    ]
}

fn shape() -> impl proptest::strategy::Strategy<Value = Shape> {
    let worker = (restart(), prop_oneof![Just(0), 1_u64..50]).prop_map(|(restart, backoff_ms)| {
        Shape::Worker {
            restart,
            backoff_ms,
        }
    });
    worker.prop_recursive(3, 12, 4, |inner| {
        (strategy(), prop::collection::vec(inner, 0..4))
            .prop_map(|(strategy, children)| Shape::Supervisor { strategy, children })
    })
}

fn act() -> impl proptest::strategy::Strategy<Value = Act> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => index().prop_map(Act::Crash),
        1 => index().prop_map(Act::Fail),
        1 => index().prop_map(Act::Stop),
        1 => index().prop_map(Act::FailToStart),
        1 => index().prop_map(Act::Suspend),
        1 => index().prop_map(Act::Resume),
        3 => (0_u64..200).prop_map(Act::Pass),
    ]
}

#[derive(Default)]
struct Built {
    log: Log,
    workers: Vec<(String, Handle<Probe>, Arc<Script>)>,
    paths: Vec<String>,
}

impl Built {
    fn supervisor(&mut self, path: &str, strategy: Strategy, children: &[Shape]) -> SupervisorSpec {
        let name = path.rsplit('/').next().unwrap();
        let limit = Intensity::new(RESTARTS, PERIOD);
        let mut spec = SupervisorSpec::new(name, strategy).intensity(limit);
        for (index, child) in children.iter().enumerate() {
            let path = format!("{path}/{index}");
            self.paths.push(path.clone());
            spec = match child {
                Shape::Worker {
                    restart,
                    backoff_ms,
                } => {
                    // The log gets whole paths, the tree gets names.
                    let script = Arc::new(Script::default());
                    let name = index.to_string();
                    let (child, handle) = labelled(&name, &path, &self.log, &script);
                    self.workers.push((path, handle, script));
                    let pause = Duration::from_millis(*backoff_ms);
                    spec.child(child.restart(*restart).backoff(Backoff::new(pause, pause)))
                }
                Shape::Supervisor { strategy, children } => {
                    spec.child(self.supervisor(&path, *strategy, children))
                }
            };
        }
        spec
    }

    /// No child runs twice; whoever is said to run, does.
    fn check(&self, tree: &Tree) {
        let mut states = BTreeMap::new();
        collect(&tree.status(), &mut states);
        for (path, _, script) in &self.workers {
            let alive = script.alive.load(SeqCst);
            assert!(alive <= 1, "{path} runs {alive} times");
            match states.get(path) {
                Some(ChildState::Running) => assert_eq!(alive, 1, "{path} should run"),
                Some(ChildState::Starting | ChildState::Stopping) => {}
                state => assert_eq!(alive, 0, "{path} is {state:?}"),
            }
        }
    }
}

fn collect(status: &TreeStatus, states: &mut BTreeMap<String, ChildState>) {
    states.insert(status.path.to_string(), status.state);
    for child in &status.children {
        collect(child, states);
    }
}

/// Children of a running supervisor are up from the first on: nobody runs after one of the same
/// `rest_for_one` or `one_for_all` group that is still waiting for its restart.
fn check_order(status: &TreeStatus) {
    if status.state == ChildState::Running
        && matches!(
            status.strategy,
            Some(Strategy::RestForOne | Strategy::OneForAll)
        )
    {
        let mut waiting = false;
        for child in &status.children {
            assert!(
                !(waiting && child.state == ChildState::Running),
                "{} runs although one before it does not",
                child.path
            );
            waiting |= child.state == ChildState::Restarting;
        }
    }
    assert!(status.restarts_in_window <= 128);
    status.children.iter().for_each(check_order);
}

/// Follows the events of a tree to its end: a supervisor gives up at the restart that is one too
/// many within the period, and at no other.
async fn watch(mut events: EventStream) {
    let mut restarts: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    while let Some(received) = events.recv().await {
        let Ok(event) = received else {
            continue; // what was missed could only be restarts of long ago
        };
        // On a paused clock, what is received now has happened now.
        let now = Instant::now();
        let (path, parent) = (event.path.to_string(), event.path.rsplit_once('/'));
        let recent = |of: &str| {
            let times = restarts.get(of).map(Vec::as_slice).unwrap_or_default();
            times.iter().filter(|then| now - **then <= PERIOD).count()
        };
        match &event.kind {
            EventKind::Restarting { .. } => {
                let (parent, _) = parent.unwrap();
                assert!(
                    recent(parent) < RESTARTS as usize,
                    "{path} was restarted too often"
                );
                restarts.entry(parent.to_owned()).or_default().push(now);
            }
            EventKind::Escalated { .. } => {
                assert_eq!(recent(&path), RESTARTS as usize, "{path} gave up too early");
            }
            // If it was a supervisor, its next run has a budget of its own.
            EventKind::Crashed { .. } | EventKind::Stopped { .. } => {
                restarts.remove(&path);
            }
            _ => {}
        }
    }
}

async fn perform(tree: &Tree, built: &Built, act: Act) {
    let count = built.workers.len();
    let worker = |index: &prop::sample::Index| &built.workers[index.index(count)];
    match &act {
        Act::Pass(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
        _ if count == 0 => {}
        Act::Crash(index) => drop(worker(index).1.tell(Crash)),
        Act::Fail(index) => drop(worker(index).1.tell(Fail)),
        Act::Stop(index) => drop(worker(index).1.tell(Stop)),
        Act::FailToStart(index) => worker(index).2.fail_builds.store(1, SeqCst),
        Act::Suspend(index) => {
            let path = &built.paths[index.index(built.paths.len())];
            let suspended = tree.suspend_path(path).await.is_ok();
            let state = tree.status_of(path).map(|status| status.state);
            if suspended && let Some(state) = state {
                // Unless all has come to an end at the same moment.
                assert!(
                    matches!(state, ChildState::Suspended | ChildState::Removed),
                    "{path} is {state:?}"
                );
            }
        }
        Act::Resume(index) => {
            let path = &built.paths[index.index(built.paths.len())];
            let resumed = tokio::time::timeout(Duration::from_secs(60), tree.resume_path(path));
            let _ = resumed.await;
        }
    }
}

async fn holds(root: Strategy, children: Vec<Shape>, acts: Vec<Act>) {
    let mut built = Built::default();
    let spec = built.supervisor("root", root, &children);
    let tree = Tree::start(spec).await.unwrap();
    built.check(&tree);
    let all = |sign| {
        built
            .workers
            .iter()
            .map(move |worker| format!("{sign}{}", worker.0))
    };
    assert_eq!(
        built.log.take(),
        all('+').collect::<Vec<_>>(),
        "order of starting"
    );
    let budgets = tokio::task::spawn_local(watch(tree.subscribe()));
    for act in acts {
        // A supervisor that is down answers no request until it is up; the tree may have ended.
        let performed = perform(&tree, &built, act);
        let _ = tokio::time::timeout(Duration::from_secs(60), performed).await;
        idle().await;
        built.check(&tree);
        check_order(&tree.status());
    }
    built.log.take();
    let ended = tokio::time::timeout(Duration::from_secs(600), tree.shutdown()).await;
    let reason = ended.expect("shutdown always ends");
    assert!(
        matches!(reason, ExitReason::Shutdown | ExitReason::GaveUp(_)),
        "{reason}"
    );
    idle().await;
    for (path, handle, script) in &built.workers {
        assert_eq!(script.alive.load(SeqCst), 0, "{path} survived");
        assert!(handle.is_gone(), "{path} can still be spoken to");
    }
    // A restart that was due at the moment of the shutdown has an order of its own.
    let lines = built.log.take();
    let undisturbed = lines.iter().all(|line| line.starts_with('-'));
    let mut backwards = all('-').rev();
    for line in lines.iter().filter(|_| undisturbed) {
        let in_order = backwards.any(|stop| stop == *line);
        assert!(in_order, "{line} is out of order: {lines:?}");
    }
    drop(tree);
    budgets.await.unwrap();
}

proptest! {
    #[test]
    fn what_must_always_hold(
        root in strategy(),
        children in prop::collection::vec(shape(), 0..5),
        acts in prop::collection::vec(act(), 0..40),
    ) {
        run(holds(root, children, acts));
    }
}
