//! Random trees under random crashes, stops, suspensions and requests on a paused clock, checked
//! against what must always hold. Children take their time to start and to stop, and what is done
//! to them overlaps.

mod budgets;
mod shapes;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use deia_supervision::{
    AutoShutdown, Backoff, ChildSpec, ChildState, ExitReason, Handle, Intensity, OnExhausted,
    Placement, Restart, Shutdown, StartError, Strategy, SupervisorSpec, Tree, TreeStatus,
};
use proptest::{prelude::*, sample::Index};
use tokio::time::timeout;

use self::{
    budgets::watch,
    shapes::{Act, Shape, Worker, act, shape, supervisor},
};
use crate::common::{Crash, Fail, Log, Probe, Script, Stop, labelled, run};

/// Budget of every supervisor, and of every child that has one of its own.
const RESTARTS: u32 = 3;
const PERIOD: Duration = Duration::from_millis(100);

/// Time longer than that of any build that ends at all.
const START_WITHIN: Duration = Duration::from_millis(40);

const FEATURE: &str = "feature";

/// Time longer than any start, stop or backoff below.
const LONG: Duration = Duration::from_secs(10);

/// A worker of the tree, whether it is still there or not.
#[derive(Clone)]
struct Known {
    path: String,
    handle: Handle<Probe>,
    script: Arc<Script>,
    restart: Restart,
    quarantine: bool,
    tagged: bool,
}

#[derive(Default)]
struct Built {
    log: Log,
    workers: Vec<Known>,
    /// Number of children that were declared, rather than added later.
    declared: usize,
    /// Paths of all children, and of all supervisors.
    paths: Vec<String>,
    supervisors: Vec<(String, AutoShutdown)>,
}

impl Built {
    fn supervisor(&mut self, path: &str, shape: &Shape) -> SupervisorSpec {
        let Shape::Supervisor {
            strategy,
            auto_shutdown,
            children,
        } = shape
        else {
            unreachable!("not a supervisor");
        };
        let name = path.rsplit('/').next().unwrap();
        self.supervisors.push((path.to_owned(), *auto_shutdown));
        let mut spec = SupervisorSpec::new(name, *strategy)
            .intensity(Intensity::new(RESTARTS, PERIOD))
            .auto_shutdown(*auto_shutdown);
        for (index, child) in children.iter().enumerate() {
            let path = format!("{path}/{index}");
            spec = match child {
                Shape::Worker(worker) => spec.child(self.worker(path, worker, *auto_shutdown)),
                Shape::Supervisor { .. } => {
                    self.paths.push(path.clone());
                    spec.child(self.supervisor(&path, child))
                }
            };
        }
        spec
    }

    fn worker(&mut self, path: String, worker: &Worker, auto_shutdown: AutoShutdown) -> ChildSpec {
        let script = Arc::new(Script::default());
        script.slow_build_ms.store(worker.build_ms, SeqCst);
        script.slow_stop_ms.store(worker.stop_ms, SeqCst);
        // The log gets whole paths, the tree gets names.
        let name = path.rsplit('/').next().unwrap();
        let (spec, handle) = labelled(name, &path, &self.log, &script);
        let mut spec = spec
            .restart(worker.restart)
            .start_within(START_WITHIN)
            .shutdown(Shutdown::Within(Duration::from_millis(
                worker.stop_within_ms,
            )));
        if worker.backoff_ms > 0 {
            let pause = Duration::from_millis(worker.backoff_ms);
            spec = spec.backoff(Backoff::new(pause, pause));
        }
        if worker.quarantine {
            spec = spec
                .budget(Intensity::new(RESTARTS, PERIOD))
                .on_exhausted(OnExhausted::Quarantine);
        }
        if worker.significant
            && worker.restart != Restart::Permanent
            && auto_shutdown != AutoShutdown::Never
        {
            spec = spec.significant(true);
        }
        if worker.tagged {
            spec = spec.feature(FEATURE);
        }
        self.paths.push(path.clone());
        self.workers.push(Known {
            path,
            handle,
            script,
            restart: worker.restart,
            quarantine: worker.quarantine,
            tagged: worker.tagged,
        });
        spec
    }

    fn path(&self, index: Index) -> Option<String> {
        (!self.paths.is_empty()).then(|| self.paths[index.index(self.paths.len())].clone())
    }

    fn known(&self, index: Index) -> Option<Known> {
        (!self.workers.is_empty()).then(|| self.workers[index.index(self.workers.len())].clone())
    }

    /// No child runs twice, whatever is going on.
    fn check_alive(&self) {
        for known in &self.workers {
            let alive = known.script.alive.load(SeqCst);
            assert!(alive <= 1, "{} runs {alive} times", known.path);
        }
    }

    /// Checks that exactly the children that are reported as running do run. This holds when
    /// nothing more happens at this moment.
    fn check(&self, tree: &Tree) {
        self.check_alive();
        let status = tree.status();
        check_order(&status);
        let states = states(&status);
        for known in &self.workers {
            let (path, alive) = (&known.path, known.script.alive.load(SeqCst));
            match states.get(path) {
                Some(ChildState::Running) => assert_eq!(alive, 1, "{path} should run"),
                Some(ChildState::Starting | ChildState::Stopping) => {}
                state => assert_eq!(alive, 0, "{path} is {state:?}"),
            }
        }
    }

    /// Nothing is on its way any more.
    fn check_settled(&self, tree: &Tree) {
        self.check(tree);
        let status = tree.status();
        let states = states(&status);
        let is_off = !tree.suspended_features().is_empty();
        for (path, state) in &states {
            let parent = path
                .rsplit_once('/')
                .and_then(|(parent, _)| states.get(parent));
            if parent != Some(&ChildState::Running) {
                continue;
            }
            let known = self.workers.iter().find(|known| known.path == *path);
            if is_off && known.is_some_and(|known| known.tagged) {
                let runs = known.map(|known| known.script.alive.load(SeqCst));
                assert_eq!(runs, Some(0), "{path} is switched off");
            }
            if *state == ChildState::Suspended {
                // Nothing is left behind when all reasons are gone.
                let reason = find(&status, path).and_then(|status| status.suspended.clone());
                let reason = reason.unwrap_or_else(|| panic!("{path} has no reason to be down"));
                let by_rule = reason.by.is_some();
                assert!(!by_rule || is_off, "{path} is switched off no more");
            }
            let may_be = match state {
                ChildState::Running
                | ChildState::Suspended
                | ChildState::Terminated
                | ChildState::Ignored => true,
                ChildState::Quarantined => known.is_some_and(|known| known.quarantine),
                ChildState::Ended => known.is_some_and(|known| known.restart == Restart::Transient),
                _ => false,
            };
            assert!(may_be, "{path} is left {state}: {status:#?}");
        }
    }
}

fn find<'a>(status: &'a TreeStatus, path: &str) -> Option<&'a TreeStatus> {
    if *status.path == *path {
        return Some(status);
    }
    status.children.iter().find_map(|below| find(below, path))
}

fn states(status: &TreeStatus) -> BTreeMap<String, ChildState> {
    let mut states = BTreeMap::from([(status.path.to_string(), status.state)]);
    status
        .children
        .iter()
        .map(self::states)
        .for_each(|below| states.extend(below));
    states
}

/// Children of a running supervisor are up from the first on: nobody runs after one of the same
/// `rest_for_one` or `one_for_all` group that is still waiting for its restart (once all of the
/// group are down).
fn check_order(status: &TreeStatus) {
    let grouped = matches!(
        status.strategy,
        Some(Strategy::RestForOne | Strategy::OneForAll)
    );
    let is = |child: &TreeStatus, state| child.state == state;
    let children = &status.children;
    let goes_down = children.iter().any(|child| is(child, ChildState::Stopping));
    if status.state == ChildState::Running && grouped && !goes_down {
        let mut waiting = false;
        for child in children {
            assert!(
                !(waiting && is(child, ChildState::Running)),
                "{} runs although one before it does not",
                child.path
            );
            waiting |= is(child, ChildState::Restarting);
        }
    }
    assert!(status.restarts_in_window <= 128);
    children.iter().for_each(check_order);
}

/// Lets everything happen that can happen at this moment, and a millisecond pass.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap()
}

async fn perform(tree: Tree, built: Rc<RefCell<Built>>, act: Act) {
    match act {
        Act::Pass(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Act::Crash(index) | Act::Fail(index) | Act::Stop(index) => {
            let Some(known) = built.borrow().known(index) else {
                return;
            };
            let _ = match act {
                Act::Crash(_) => known.handle.tell(Crash).is_ok(),
                Act::Fail(_) => known.handle.tell(Fail).is_ok(),
                _ => known.handle.tell(Stop).is_ok(),
            };
        }
        Act::FailToStart(index) | Act::Decline(index) | Act::Hang(index) => {
            let Some(known) = built.borrow().known(index) else {
                return;
            };
            match act {
                Act::Decline(_) => known.script.ignore_builds.store(1, SeqCst),
                Act::Hang(_) => known.script.hang_builds.store(1, SeqCst),
                _ => known.script.fail_builds.store(1, SeqCst),
            }
        }
        Act::SwitchOff => drop(tree.suspend_feature(FEATURE, "model", "test").await),
        Act::SwitchOn => drop(tree.resume_feature(FEATURE).await),
        Act::Add(index, worker) => add(&tree, &built, index, &worker).await,
        Act::Suspend(index)
        | Act::Resume(index)
        | Act::RestartPath(index)
        | Act::Move(index)
        | Act::Terminate(index)
        | Act::Restart(index)
        | Act::Delete(index) => {
            let Some(path) = built.borrow().path(index) else {
                return;
            };
            operate(&tree, &path, &act).await;
        }
    }
}

async fn add(tree: &Tree, built: &RefCell<Built>, index: Index, worker: &Worker) {
    let (spec, supervisor) = {
        let mut built = built.borrow_mut();
        let (parent, auto_shutdown) =
            built.supervisors[index.index(built.supervisors.len())].clone();
        let Some(supervisor) = tree.supervisor(&parent) else {
            return;
        };
        let path = format!("{parent}/added-{}", built.workers.len());
        (built.worker(path, worker, auto_shutdown), supervisor)
    };
    let _ = supervisor.start_child(spec).await;
}

async fn operate(tree: &Tree, path: &str, act: &Act) {
    let (parent, name) = split(path);
    let Some(supervisor) = tree.supervisor(parent) else {
        return;
    };
    let _ = match act {
        Act::Suspend(_) => tree.suspend_path(path).await,
        Act::Resume(_) => tree.resume_path(path).await,
        Act::RestartPath(_) => tree.restart_path(path).await,
        Act::Move(_) => tree.move_child(path, Placement::Here).await,
        Act::Terminate(_) => supervisor.terminate_child(name).await,
        Act::Restart(_) => supervisor.restart_child(name).await,
        _ => supervisor.delete_child(name).await,
    };
}

/// Performs all acts; those that do not wait overlap with what follows.
async fn perform_all(tree: &Tree, built: &Rc<RefCell<Built>>, acts: Vec<(Act, bool)>) {
    let mut overlapping = Vec::new();
    for (act, waits) in acts {
        let performing = perform(tree.clone(), Rc::clone(built), act);
        if !waits {
            overlapping.push(tokio::task::spawn_local(performing));
            tokio::task::yield_now().await;
            built.borrow().check_alive();
            continue;
        }
        // A supervisor that is down answers no request until it is up; the tree may have ended.
        let _ = timeout(Duration::from_secs(60), performing).await;
        settle().await;
        built.borrow().check(tree);
    }
    tokio::time::sleep(LONG).await;
    for performing in overlapping {
        performing.abort();
    }
    settle().await;
    built.borrow().check_settled(tree);
}

/// A start that fails names the child, and leaves nothing behind.
async fn fails(spec: SupervisorSpec, built: &Built, failing: &Known) {
    failing.script.fail_builds.store(1, SeqCst);
    match Tree::start(spec).await {
        Err(StartError::Child { path, reason }) => {
            assert_eq!((&*path, reason.code()), (&*failing.path, "start_failed"));
        }
        other => panic!("{other:?}"),
    }
    settle().await;
    nothing_is_left(built);
}

fn nothing_is_left(built: &Built) {
    for known in &built.workers {
        let path = &known.path;
        assert_eq!(known.script.alive.load(SeqCst), 0, "{path} survived");
        assert!(known.handle.is_gone(), "{path} can still be spoken to");
    }
}

async fn holds(shape: Shape, failing: Option<Index>, acts: Vec<(Act, bool)>) {
    let mut built = Built::default();
    let spec = built.supervisor("root", &shape);
    built.declared = built.workers.len();
    if let Some(failing) = failing.and_then(|index| built.known(index)) {
        return fails(spec, &built, &failing).await;
    }
    let tree = Tree::start(spec).await.unwrap();
    settle().await;
    built.check(&tree);
    let declared = built.workers[..built.declared].to_vec();
    let all = |sign| {
        declared
            .iter()
            .map(move |known| format!("{sign}{}", known.path))
    };
    let started = all('+').collect::<Vec<_>>();
    assert_eq!(built.log.take(), started, "order of starting");

    let built = Rc::new(RefCell::new(built));
    let watching = watch(tree.subscribe(), Rc::clone(&built));
    let budgets = tokio::task::spawn_local(watching);
    perform_all(&tree, &built, acts).await;

    let log = built.borrow().log.clone();
    log.take();
    let ended = timeout(Duration::from_secs(600), tree.shutdown()).await;
    let reason = ended.expect("shutdown always ends");
    assert!(
        matches!(reason, ExitReason::Shutdown | ExitReason::GaveUp(_)),
        "{reason}"
    );
    settle().await;
    nothing_is_left(&built.borrow());
    let lines = log.take();
    let mut backwards = all('-').rev();
    for line in lines.iter().filter(|line| !line.contains("added")) {
        let in_order = backwards.any(|stop| stop == *line);
        assert!(in_order, "{line} is out of order: {lines:?}");
    }
    drop(tree);
    budgets.await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, max_shrink_iters: 4_096, ..ProptestConfig::default() })]
    #[test]
    fn invariants_always_hold(
        root in supervisor(prop::collection::vec(shape(), 0..5)),
        failing in prop::option::weighted(0.1, any::<Index>()),
        acts in prop::collection::vec((act(), prop::bool::weighted(0.6)), 0..40),
    ) {
        run(holds(root, failing, acts));
    }
}
