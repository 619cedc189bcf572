//! Children on other threads.

use std::time::Duration;

use actix::prelude::{Actor, AsyncContext, Handler, Message, WrapFuture};
use deia_supervision::{
    AskError, ChildError, Context, ExitReason, Placement, Shutdown, SpecError, StartChildError,
    StartError, Strategy, SupervisorSpec, Tree, TreeStatus, child,
};

use crate::{
    blocking::{block, blocker, until},
    common::{self, Crash, Log, Ping, Say, patient, probe, start, tolerant, unlimited},
};

#[test]
fn children_on_other_arbiters() {
    let system = actix::System::new();
    system.block_on(async {
        let log = Log::default();
        let mut root = patient("root", Strategy::OneForOne).arbiters(2);
        let mut handles = Vec::new();
        for (index, placement) in [
            Placement::Here,
            Placement::Pool,
            Placement::Pool,
            Placement::Pool,
            Placement::Own,
        ]
        .into_iter()
        .enumerate()
        {
            let (spec, handle, _) = probe(&index.to_string(), &log);
            root = root.child(spec.placement(placement));
            handles.push(handle);
        }
        let tree = start(root).await;
        for handle in &handles {
            assert_eq!(handle.ask(Ping).await, Ok(1));
            assert_eq!(handle.ask(Crash).await, Err(AskError::Crashed));
            assert_eq!(handle.ask(Ping).await, Ok(2));
        }
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        for handle in &handles {
            until("it is gone", async || handle.is_gone()).await;
            assert_eq!(handle.ask(Ping).await, Err(AskError::Gone));
        }
    });
}

/// Returns the arbiter of each child, and the number of children on each arbiter.
fn arbiters(tree: &Tree) -> (Vec<String>, Vec<(String, usize)>) {
    fn collect(status: &TreeStatus, names: &mut Vec<String>) {
        names.extend(status.arbiter.as_ref().map(ToString::to_string));
        for child in &status.children {
            collect(child, names);
        }
    }
    let mut names = Vec::new();
    collect(&tree.status(), &mut names);
    let counts = tree.arbiters().into_iter();
    let counts = counts.map(|arbiter| (arbiter.name.to_string(), arbiter.children));
    (names, counts.collect())
}

#[test]
fn workers_inherit_their_placement_and_groups_share_the_load() {
    actix::System::new().block_on(async {
        let log = Log::default();
        let child = |name: &str| probe(name, &log).0;
        let deep = SupervisorSpec::one_for_one("deep").child(child("a"));
        let bots = SupervisorSpec::one_for_one("bots")
            .placement(Placement::group("bots"))
            .child(child("a"))
            .child(child("b"))
            .child(deep)
            .child(child("c").placement(Placement::Here))
            .child(child("d").placement(Placement::with("root/bots/b")));
        let root = SupervisorSpec::one_for_one("root").group("bots", 2);
        let tree = start(root.child(child("z")).child(bots)).await;
        let (names, counts) = arbiters(&tree);
        let expected = ["tree", "bots-1", "bots-2", "bots-1", "tree", "bots-2"];
        assert_eq!(names, expected);
        let expected = [("tree", 2), ("bots-1", 2), ("bots-2", 2)];
        assert_eq!(
            counts,
            expected.map(|(name, count)| (name.to_owned(), count))
        );
        let groups: Vec<_> = tree.arbiters().into_iter().map(|it| it.group).collect();
        assert_eq!(groups, [None, Some("bots".into()), Some("bots".into())]);

        // A child that leaves makes room for the next.
        let bots = tree.supervisor("root/bots").unwrap();
        bots.terminate_child("a").await.unwrap();
        bots.delete_child("a").await.unwrap();
        bots.start_child(child("e")).await.unwrap();
        let status = tree.status_of("root/bots/e").unwrap();
        assert_eq!(status.arbiter.as_deref(), Some("bots-1"));
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

/// The named child must be a worker that is started before, or else the child would end up
/// elsewhere.
#[test]
fn a_placement_with_no_worker_is_refused() {
    actix::System::new().block_on(async {
        let log = Log::default();
        let child = |name: &str| probe(name, &log).0;
        let with = |name: &str, peer: &str| child(name).placement(Placement::with(peer));
        let faulty = [
            "a",
            "root",
            "root/none",
            "root/b",
            "root/c",
            "root/inner",
            "other/a",
        ];
        for peer in faulty {
            let inner = SupervisorSpec::one_for_one("inner").child(child("x"));
            let root = SupervisorSpec::one_for_one("root").child(inner);
            let root = root
                .child(child("a"))
                .child(with("b", peer))
                .child(child("c"));
            let refused = Tree::start(root).await.unwrap_err();
            let is_named = matches!(
                &refused,
                StartError::Spec(SpecError::UnknownPeer { path, .. }) if path == "root/b"
            );
            assert!(is_named, "{peer}: {refused}");
        }
        let dynamic = SupervisorSpec::dynamic("dynamic");
        let adding = dynamic.handle();
        let root = SupervisorSpec::one_for_one("root").child(dynamic);
        let root = root.child(child("a").placement(Placement::Own));
        // The named child may be added later.
        let root = root
            .child(with("b", "root/dynamic/x"))
            .child(with("c", "root/a"));
        let tree = start(root).await;
        let refused = adding.start_child(with("y", "root/dynamic/x")).await;
        assert!(matches!(
            refused,
            Err(StartChildError::Spec(SpecError::UnknownPeer { .. }))
        ));
        adding.start_child(with("x", "root/a")).await.unwrap();
        let arbiter = |path| tree.status_of(path).unwrap().arbiter;
        assert_eq!(arbiter("root/dynamic/x"), arbiter("root/a"));
        assert_eq!(arbiter("root/c"), arbiter("root/a"));
        assert_eq!(arbiter("root/b").as_deref(), Some("tree"));
        for peer in ["root/none", "root/dynamic", "root/dynamic/none"] {
            let refused = tree.move_child("root/b", Placement::with(peer)).await;
            assert!(
                matches!(refused, Err(ChildError::UnknownPeer { .. })),
                "{peer}"
            );
        }
        let peer = Placement::with("root/dynamic/x");
        tree.move_child("root/b", peer).await.unwrap();
        assert_eq!(arbiter("root/b"), arbiter("root/a"));
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

/// Moving is no failure: address and mailbox stay, no budget is touched, and what is down stays so.
#[test]
fn a_child_is_moved_with_its_mailbox() {
    actix::System::new().block_on(async {
        let log = Log::default();
        let (a, a_handle, script) = probe("a", &log);
        let (b, b_handle, _) = probe("b", &log);
        let inner = SupervisorSpec::one_for_one("inner");
        let root = tolerant("root", Strategy::OneForAll, 0).group("bots", 1);
        let tree = start(root.child(a).child(b).child(inner)).await;
        let mut events = tree.subscribe();
        for number in 0..100 {
            a_handle.tell(Say(number)).unwrap();
        }
        tree.move_child("root/a", Placement::group("bots"))
            .await
            .unwrap();
        assert_eq!(a_handle.ask(Ping).await, Ok(2));
        let numbers = |log: &Log| {
            log.take()
                .iter()
                .filter(|line| line.parse::<u8>().is_ok())
                .count()
        };
        assert_eq!(numbers(&log), 100);
        let status = tree.status_of("root/a").unwrap();
        assert_eq!(
            (status.arbiter.as_deref(), status.restarts),
            (Some("bots-1"), 0)
        );
        assert_eq!(b_handle.ask(Ping).await, Ok(1));
        assert_eq!(common::events(&mut events)[..2], ["moved a", "stopped a"]);
        // The child stays there across restarts.
        let terminated = tree.supervisor("root").unwrap();
        terminated.terminate_child("a").await.unwrap();
        terminated.restart_child("a").await.unwrap();
        let status = tree.status_of("root/a").unwrap();
        assert_eq!(status.arbiter.as_deref(), Some("bots-1"));
        // A child that is down only changes the arbiter on which it will run.
        tree.suspend_path("root/a").await.unwrap();
        tree.move_child("root/a", Placement::Here).await.unwrap();
        assert_eq!(script.built(), 3);
        tree.resume_path("root/a").await.unwrap();
        let status = tree.status_of("root/a").unwrap();
        assert_eq!(status.arbiter.as_deref(), Some("tree"));

        let unknown = tree.move_child("root/a", Placement::group("none")).await;
        assert!(matches!(unknown, Err(ChildError::UnknownGroup { .. })));
        let supervisor = tree.move_child("root/inner", Placement::Here).await;
        assert!(matches!(supervisor, Err(ChildError::NotAWorker)));
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

/// A child that cannot even be killed is given up as stuck; everything else stops in order.
#[test]
fn shutdown_ends_although_a_child_is_stuck() {
    let log = Log::default();
    let release = unlimited(async {
        let (a, ..) = probe("a", &log);
        let (blocker, handle) = blocker("blocker", &log);
        let root = patient("root", Strategy::OneForOne);
        let tree = start(
            root.child(a)
                .child(blocker.placement(Placement::Own).start_within(None)),
        )
        .await;
        let exit = handle.monitor();
        let release = block(&handle);
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        assert_eq!(exit.await.unwrap().code(), "stuck");
        assert_eq!(log.take(), ["+a", "-a"]);
        release
    });
    drop(release);
}

/// The limit of a supervisor holds for children that were already being stopped without one.
#[test]
fn supervisors_time_out_although_a_child_is_stuck_while_stopping() {
    let release = unlimited(async {
        let (blocker, handle) = blocker("blocker", &Log::default());
        let blocker = blocker.placement(Placement::Own).start_within(None);
        let inner = patient("inner", Strategy::OneForOne)
            .shutdown(Shutdown::Within(Duration::from_secs(2)))
            .child(blocker.shutdown(Shutdown::Infinity));
        let root = patient("root", Strategy::OneForOne).watchdog(None);
        let tree = start(root.child(inner)).await;
        let exit = handle.monitor();
        let release = block(&handle);
        let stopped = tokio::time::timeout(Duration::from_secs(60), tree.shutdown());
        assert_eq!(stopped.await.unwrap(), ExitReason::Shutdown);
        assert_eq!(exit.await.unwrap().code(), "stuck");
        release
    });
    drop(release);
}

/// Panics when it is dropped, and so do its futures.
struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

struct Suicidal(Option<Explosive>);

impl Actor for Suicidal {
    type Context = Context<Self>;
}

/// Stops the arbiter on which it is handled.
#[derive(Message)]
#[rtype(result = "()")]
struct StopArbiter;

impl Handler<StopArbiter> for Suicidal {
    type Result = ();
    fn handle(&mut self, _: StopArbiter, ctx: &mut Self::Context) {
        self.0 = Some(Explosive);
        for _ in 0..2 {
            let explosive = Explosive;
            let never = async move {
                std::future::pending::<()>().await;
                drop(explosive);
            };
            ctx.spawn(never.into_actor(self));
        }
        actix_rt::Arbiter::current().stop();
    }
}

impl Handler<Ping> for Suicidal {
    type Result = usize;
    fn handle(&mut self, _: Ping, _: &mut Self::Context) -> usize {
        0
    }
}

/// User code stops an arbiter of the tree while several destructors of the run panic: a failure of
/// that child, which goes on elsewhere with its mailbox.
#[test]
fn a_child_whose_arbiter_was_stopped_is_restarted_on_another() {
    for placement in [Placement::Own, Placement::Pool] {
        actix::System::new().block_on(async {
            let (spec, handle) = child("a", || async { Ok::<_, StartError>(Suicidal(None)) });
            let root = patient("root", Strategy::OneForOne).arbiters(1);
            let tree = start(root.child(spec.placement(placement))).await;
            for round in 1..=3 {
                let exit = handle.monitor();
                handle.tell(StopArbiter).unwrap();
                let exit = tokio::time::timeout(Duration::from_secs(60), exit);
                assert_eq!(exit.await.unwrap().unwrap().code(), "killed");
                assert_eq!(handle.ask(Ping).await, Ok(0));
                let status = tree.status_of("root/a").unwrap();
                assert_eq!((status.incarnation, status.restarts), (round + 1, round));
            }
            assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        });
    }
}

/// Four threads send while the child crashes now and then: what was taken is handled, once, and
/// there are never more messages waiting than the bound allows.
#[test]
fn nothing_taken_is_lost_between_threads() {
    const BOUND: usize = 100;
    actix::System::new().block_on(async {
        let (spec, handle, script) = probe("a", &Log::default());
        let spec = spec.placement(Placement::Own).mailbox(BOUND);
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let handle = handle.clone();
                std::thread::spawn(move || {
                    let (mut taken, mut crashes) = (0, 0);
                    for number in 0..20_000 {
                        let crash = number % 500 == 0;
                        let sent = match crash {
                            true => handle.tell(Crash).is_ok(),
                            false => handle.tell(Say(number)).is_ok(),
                        };
                        taken += u64::from(sent);
                        crashes += usize::from(sent && crash);
                        if !sent {
                            std::thread::yield_now();
                        }
                        assert!(handle.depth() <= BOUND);
                    }
                    (taken, crashes)
                })
            })
            .collect();
        let (mut taken, mut crashes) = (0, 0);
        for sender in senders {
            let sent = tokio::task::spawn_blocking(move || sender.join().unwrap());
            let sent = sent.await.unwrap();
            taken += sent.0;
            crashes += sent.1;
        }
        until("it answers", async || handle.ask(Ping).await.is_ok()).await;
        let handled = tree.status_of("root/a").unwrap().handled;
        assert_eq!(handled, taken + 1);
        assert_eq!(script.built(), crashes + 1);
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}
