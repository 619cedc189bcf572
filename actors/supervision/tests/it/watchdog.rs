//! Children that block their arbiter. Threads and the watchdog's clock are real here.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use actix::prelude::{Handler, Message};
use deia_supervision::{
    AskError, ChildState, Event, EventKind, ExitReason, Placement, Restart, StartError, Strategy,
    Tree, child, testing::wait_for,
};

use crate::{
    blocking::{
        Blocker, FOR_EVER, LIMIT, Where, another_is_found_stuck, block, blocker, next, on_pool,
        start, stuck, until,
    },
    common::{Crash, Log, Ping, Say, patient, probe, tolerant},
};

#[test]
fn watchdog_moves_neighbours() {
    actix::System::new().block_on(async {
        let (log, said) = (Log::default(), Log::default());
        let (a, a_handle) = blocker("a", &said);
        let (b, b_handle, b_script) = probe("b", &log);
        let (c, c_handle, c_script) = probe("c", &log);
        let (d, _, d_script) = probe("d", &log);
        let inner = tolerant("inner", Strategy::OneForOne, 0).child(on_pool(c));
        let root = tolerant("root", Strategy::OneForOne, 2)
            .child(on_pool(a))
            .child(on_pool(b))
            .child(d)
            .child(inner);
        let tree = start(root).await;
        let mut events = tree.subscribe();
        let thread = a_handle.ask(Where).await.unwrap();
        log.take();

        let release = block(&a_handle);
        let exit = a_handle.monitor();
        for number in 0..100 {
            b_handle.tell(Say(number)).unwrap();
            a_handle.tell(Say(number)).unwrap();
        }
        let message_type = stuck(&mut events, "root/a").await;
        assert!(message_type.unwrap().ends_with("::Block"));

        // Everything is back although the thread is still blocked.
        assert_ne!(a_handle.ask(Where).await.unwrap(), thread);
        assert_eq!(b_handle.ask(Ping).await, Ok(2));
        assert_eq!(c_handle.ask(Ping).await, Ok(2));
        assert_eq!(d_script.built(), 1);
        let reason = exit.await.unwrap();
        assert_eq!(
            (reason.code(), reason.message_type()),
            ("stuck", message_type)
        );
        let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(said.take(), numbers, "its mailbox survives");
        let lines: BTreeSet<String> = log.take().into_iter().collect();
        assert!(numbers.iter().all(|number| lines.contains(number)));
        // The block counts as a failure of the child that caused it, and of no other.
        let restarts = |path| tree.status_of(path).unwrap().restarts;
        assert_eq!((restarts("root/a"), restarts("root/b")), (1, 0));
        assert_eq!(restarts("root/inner/c"), 0);
        assert_eq!(tree.status_of("root/a").unwrap().state, ChildState::Running);

        // The thread comes back: what it held is dropped, and does nothing any more.
        assert_eq!(b_script.alive.load(SeqCst), 2);
        drop(release);
        until("what the thread held is dropped", async || {
            b_script.alive.load(SeqCst) == 1 && c_script.alive.load(SeqCst) == 1
        })
        .await;
        assert_eq!(said.take(), ["returned"], "the blocked call ran to its end");
        assert!(
            log.take().is_empty(),
            "no hook of the abandoned runs is called"
        );
        assert_eq!(b_handle.ask(Ping).await, Ok(2));
        assert_eq!(b_handle.ask(Crash).await, Err(AskError::Crashed));
        assert_eq!(b_handle.ask(Ping).await, Ok(3));
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        until("b is dropped", async || b_script.alive.load(SeqCst) == 0).await;
    });
}

#[test]
fn a_stuck_child_on_its_own_arbiter_is_restarted_on_another() {
    actix::System::new().block_on(async {
        let said = Log::default();
        let (a, handle) = blocker("a", &said);
        let root = patient("root", Strategy::OneForOne).child(a.placement(Placement::Own));
        let tree = start(root).await;
        let mut seen = vec![handle.ask(Where).await.unwrap()];
        let mut releases = Vec::new();
        for _ in 0..3 {
            releases.push(block(&handle));
            let thread = handle.ask(Where).await.unwrap();
            assert!(!seen.contains(&thread));
            seen.push(thread);
        }
        drop(releases);
        let status = tree.status_of("root/a").unwrap();
        assert_eq!((status.incarnation, status.restarts), (4, 3));
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        until("the child is gone", async || handle.is_gone()).await;
    });
}

/// Under every strategy, with siblings before and after it on the same arbiter.
#[test]
fn a_stuck_child_counts_against_the_budget() {
    for strategy in [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
    ] {
        actix::System::new().block_on(async {
            let (a, handle) = blocker("a", &Log::default());
            let (b, b_handle, _) = probe("b", &Log::default());
            let (c, c_handle, _) = probe("c", &Log::default());
            let root = tolerant("root", strategy, 0).child(on_pool(b));
            let tree = start(root.child(on_pool(a)).child(on_pool(c))).await;
            let release = block(&handle);
            let exited = tokio::time::timeout(Duration::from_secs(60), tree.exited());
            let ExitReason::GaveUp(gave_up) = exited.await.unwrap() else {
                panic!("it should have given up under {strategy:?}");
            };
            assert_eq!(gave_up.cause.code(), "stuck");
            until("all are gone", async || {
                handle.is_gone() && b_handle.is_gone() && c_handle.is_gone()
            })
            .await;
            drop(release);
        });
    }
}

/// The child that blocked the only arbiter of the pool is gone for good, so nobody had to leave.
#[test]
fn a_blocked_arbiter_is_given_to_no_other_child() {
    actix::System::new().block_on(async {
        let (a, handle) = blocker("a", &Log::default());
        let root = patient("root", Strategy::OneForOne);
        let tree = start(root.child(on_pool(a).restart(Restart::Temporary))).await;
        let mut events = tree.subscribe();
        let release = block(&handle);
        stuck(&mut events, "root/a").await;
        until("a is removed", async || tree.status_of("root/a").is_none()).await;
        let blocked = |tree: &Tree| {
            let arbiters = tree.arbiters().into_iter().filter(|it| it.blocked);
            arbiters.map(|it| it.given_up).collect::<Vec<_>>()
        };
        assert_eq!(blocked(&tree), [false]);
        let (b, b_handle, _) = probe("b", &Log::default());
        let root = tree.supervisor("root").unwrap();
        let started = tokio::time::timeout(Duration::from_secs(60), root.start_child(on_pool(b)));
        started.await.unwrap().unwrap();
        assert_eq!(b_handle.ask(Ping).await, Ok(1));
        assert_eq!(
            blocked(&tree),
            [true],
            "it was replaced, and its thread is lost"
        );
        drop(release);
        until("no thread is blocked", async || blocked(&tree).is_empty()).await;
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

/// A future that blocks its arbiter, and is no child.
#[derive(Message)]
#[rtype(result = "()")]
struct BlockBeside(mpsc::Receiver<()>);

impl Handler<BlockBeside> for Blocker {
    type Result = actix::ResponseFuture<()>;
    fn handle(&mut self, message: BlockBeside, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move {
            let _ = message.0.recv();
        })
    }
}

#[test]
fn an_arbiter_that_no_child_blocks_is_not_the_fault_of_the_root() {
    actix::System::new().block_on(async {
        let (a, handle) = blocker("a", &Log::default());
        let (b, b_handle, _) = probe("b", &Log::default());
        let root = tolerant("root", Strategy::OneForOne, 0);
        let tree = start(root.child(on_pool(a)).child(on_pool(b))).await;
        let mut events = tree.subscribe();
        let (release, released) = mpsc::channel();
        handle.tell(BlockBeside(released)).unwrap();
        let is_blocked = |event: &Event| matches!(event.kind, EventKind::ArbiterBlocked { .. });
        let event = wait_for(&mut events, FOR_EVER, is_blocked).await.unwrap();
        assert_eq!(&*event.path, "root");
        assert_eq!(b_handle.ask(Ping).await, Ok(2));
        assert!(handle.ask(Where).await.is_ok());
        assert_eq!(tree.status().state, ChildState::Running);
        drop(release);
        // An arbiter that comes back is not waited for any more, and nothing is reported of it.
        another_is_found_stuck().await;
        let mut told = std::iter::from_fn(|| events.try_recv());
        assert!(told.all(|event| !event.unwrap().path.ends_with("root")));
        assert_eq!(tree.status().state, ChildState::Running);
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

/// A strategy binds those that are moved, too; a temporary neighbour ends.
#[test]
fn moving_keeps_to_the_strategy() {
    actix::System::new().block_on(async {
        let log = Log::default();
        let (x, x_handle) = blocker("x", &Log::default());
        let mut group = tolerant("group", Strategy::RestForOne, 0);
        for (name, pool) in [("a", false), ("b", true), ("c", false)] {
            let (spec, ..) = probe(name, &log);
            group = group.child(if pool { on_pool(spec) } else { spec });
        }
        let (t, t_handle, _) = probe("t", &log);
        let group = group.child(on_pool(t.restart(Restart::Temporary)));
        let root = patient("root", Strategy::OneForOne).child(on_pool(x));
        let tree = start(root.child(group)).await;
        log.take();
        let mut events = tree.subscribe();
        let release = block(&x_handle);
        let c_is_back = |event: &Event| {
            let restarted = matches!(event.kind, EventKind::Restarted { .. });
            restarted && event.path.ends_with("/c")
        };
        wait_for(&mut events, FOR_EVER, c_is_back).await.unwrap();
        assert_eq!(log.take(), ["-c", "+b", "+c"]);
        until("t is gone", async || t_handle.is_gone()).await;
        assert!(tree.status_of("root/group/t").is_none());
        drop(release);
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

/// Neighbours that are down stay down, and start elsewhere when they are started.
#[test]
fn children_that_are_down_start_elsewhere() {
    actix::System::new().block_on(async {
        let log = Log::default();
        let (x, x_handle) = blocker("x", &Log::default());
        let (b, b_handle, b_script) = probe("b", &log);
        let root = patient("root", Strategy::OneForOne);
        let tree = start(root.child(on_pool(x)).child(on_pool(b))).await;
        tree.suspend_path("root/b").await.unwrap();
        let release = block(&x_handle);
        x_handle.ask(Where).await.unwrap();
        assert_eq!(b_script.built(), 1);
        tree.resume_path("root/b").await.unwrap();
        assert_eq!(b_handle.ask(Ping).await, Ok(2));
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        drop(release);
    });
}

#[test]
fn a_factory_that_blocks_is_a_failed_start() {
    actix::System::new().block_on(async {
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(Some(released));
        let builds = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&builds);
        let (spec, handle) = child("a", move || {
            if counted.fetch_add(1, SeqCst) == 1 {
                let _ = released.lock().unwrap().take().unwrap().recv();
            }
            async { Ok::<_, StartError>(Blocker(Log::default())) }
        });
        let tree = start(patient("root", Strategy::OneForOne).child(on_pool(spec))).await;
        let again = tokio::time::timeout(Duration::from_secs(60), tree.restart_path("root/a"));
        let error = again.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("stuck"), "{error}");
        assert!(handle.ask(Where).await.is_ok());
        assert_eq!(builds.load(SeqCst), 3);
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        drop(release);
    });
}

/// Nothing can be moved off the arbiter of the supervisors, but the block is reported from another
/// thread.
#[test]
fn a_tree_that_is_blocked_itself_is_reported() {
    let (out, trees) = mpsc::channel();
    let running = std::thread::spawn(move || {
        actix::System::new().block_on(async {
            let (a, handle) = blocker("a", &Log::default());
            let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
            out.send((tree.clone(), handle)).unwrap();
            tree.exited().await
        })
    });
    let (tree, handle) = trees.recv().unwrap();
    let mut events = tree.subscribe();
    let release = block(&handle);
    let listening = actix::System::new();
    let kind = listening.block_on(next(&mut events, "root/a"));
    let EventKind::Stuck { message_type } = kind else {
        panic!("{kind:?}");
    };
    assert!(message_type.unwrap().ends_with("::Block"));
    assert_eq!(tree.status_of("root/a").unwrap().state, ChildState::Stuck);
    drop(release);
    let kind = listening.block_on(next(&mut events, "root/a"));
    assert_eq!(kind, EventKind::Recovered);
    let status = tree.status_of("root/a").unwrap();
    assert_eq!((status.state, status.incarnation), (ChildState::Running, 1));
    listening.block_on(tree.shutdown());
    assert_eq!(running.join().unwrap(), ExitReason::Shutdown);
}

/// Counts the threads on which it was handled, as long as they live.
#[derive(Message)]
#[rtype(result = "()")]
struct CountThread(Arc<AtomicUsize>);

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

thread_local! {
    static COUNTED: RefCell<Option<Counted>> = const { RefCell::new(None) };
}

impl Handler<CountThread> for Blocker {
    type Result = ();
    fn handle(&mut self, message: CountThread, _: &mut Self::Context) {
        COUNTED.with_borrow_mut(|counted| {
            counted.get_or_insert_with(|| {
                message.0.fetch_add(1, SeqCst);
                Counted(message.0)
            });
        });
    }
}

/// Members of groups, arbiters of single children, and those that were blocked and replaced.
#[test]
fn all_threads_end_with_the_tree_or_when_they_come_back() {
    actix::System::new().block_on(async {
        let threads = Arc::new(AtomicUsize::new(0));
        let mut root = patient("root", Strategy::OneForOne);
        let mut handles = Vec::new();
        for index in 0..6 {
            let (spec, handle) = blocker(&index.to_string(), &Log::default());
            let placement = if index < 3 {
                Placement::Own
            } else {
                Placement::Pool
            };
            root = root.child(spec.placement(placement));
            handles.push(handle);
        }
        let tree = Tree::start(root.arbiters(2).watchdog(LIMIT)).await.unwrap();
        let count = async || {
            for handle in &handles {
                handle.ask(CountThread(Arc::clone(&threads))).await.unwrap();
            }
            threads.load(SeqCst)
        };
        assert_eq!(count().await, 5);
        // An arbiter of the pool and one that a child has for itself block: another takes the place
        // of each.
        let releases = [block(&handles[0]), block(&handles[5])];
        assert_eq!(count().await, 7);
        tree.move_child("root/1", Placement::Pool).await.unwrap();
        until("6 threads are left", async || threads.load(SeqCst) == 6).await;
        drop(releases);
        until("4 threads are left", async || threads.load(SeqCst) == 4).await;
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        until("0 threads are left", async || threads.load(SeqCst) == 0).await;
    });
}

#[test]
fn the_watchdog_can_be_switched_off() {
    actix::System::new().block_on(async {
        let (a, handle) = blocker("a", &Log::default());
        let root = patient("root", Strategy::OneForOne).child(on_pool(a));
        let tree = Tree::start(root.watchdog(None)).await.unwrap();
        let mut events = tree.subscribe();
        let release = block(&handle);
        another_is_found_stuck().await;
        assert!(events.try_recv().is_none());
        drop(release);
        assert!(handle.ask(Where).await.is_ok());
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}
