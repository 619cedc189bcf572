//! Whoever waits for an answer that cannot come any more is told.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use actix::{
    ResponseActFuture,
    prelude::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture},
};
use deia_supervision::{
    AskError, Context, EventKind, Placement, StartError, Strategy, child, testing::wait_for,
};
use tokio::time::timeout;

use crate::common::{Log, Ping, idle, patient, probe, run, start};

const SECOND: Duration = Duration::from_secs(1);

/// Bare addresses end with the child: they say so, refuse what is sent, and hold nothing back.
#[test]
fn bare_addresses_are_closed_with_the_child() {
    struct Address(Log);
    impl Actor for Address {
        type Context = Context<Self>;
    }
    #[derive(Message)]
    #[rtype(result = "actix::Addr<Address>")]
    struct Where;
    impl Handler<Where> for Address {
        type Result = actix::MessageResult<Where>;
        fn handle(&mut self, _: Where, ctx: &mut Context<Self>) -> Self::Result {
            actix::MessageResult(ctx.address())
        }
    }
    /// Holds an address of its own receiver.
    #[derive(Message)]
    #[rtype(result = "()")]
    struct Held(
        #[expect(dead_code, reason = "held")] actix::Addr<Address>,
        Guard,
    );
    struct Guard(Log);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.add("dropped");
        }
    }
    impl Handler<Held> for Address {
        type Result = ();
        fn handle(&mut self, held: Held, _: &mut Context<Self>) {
            drop(held.1);
            self.0.add("handled");
        }
    }
    run(async {
        let log = Log::default();
        let given = log.clone();
        let (spec, handle) = child("a", move || {
            let actor = Address(given.clone());
            async move { Ok::<_, StartError>(actor) }
        });
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        let addr = handle.ask(Where).await.unwrap();
        addr.send(Held(addr.clone(), Guard(log.clone())))
            .await
            .unwrap();
        assert_eq!(log.take(), ["dropped", "handled"]);
        tree.suspend_path("root/a").await.unwrap();
        addr.do_send(Held(addr.clone(), Guard(log.clone())));
        let asked = addr.send(Held(addr.clone(), Guard(log.clone())));
        let asked = actix::spawn(asked);
        idle().await;
        assert!(log.take().is_empty() && addr.connected());
        tree.shutdown().await;
        let answer = timeout(SECOND, asked).await.expect("it hangs").unwrap();
        assert!(answer.is_err());
        assert_eq!(log.take(), ["dropped", "dropped"]);
        assert!(!addr.connected());
        addr.do_send(Held(addr.clone(), Guard(log.clone())));
        assert_eq!(log.take(), ["dropped"]);
        let late = timeout(SECOND, addr.send(Held(addr.clone(), Guard(log.clone())))).await;
        assert!(late.expect("it hangs").is_err());
    });
}

/// Blocks its thread, or answers when its thread is free again.
struct Blocker;

impl Actor for Blocker {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Block(Mutex<mpsc::Receiver<()>>, mpsc::Sender<()>);

impl Handler<Block> for Blocker {
    type Result = ();
    fn handle(&mut self, message: Block, _: &mut Self::Context) {
        message.1.send(()).unwrap();
        let _ = message.0.lock().unwrap().recv();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Later;

impl Handler<Later> for Blocker {
    type Result = ResponseActFuture<Self, ()>;
    fn handle(&mut self, _: Later, _: &mut Self::Context) -> Self::Result {
        let never = std::future::pending::<()>();
        Box::pin(never.into_actor(self).map(|(), _, _| ()))
    }
}

/// Whoever asked what is stuck, or what was being worked on by its neighbours, is told although the
/// thread is still blocked; questions that were only waiting are answered by the next run.
#[test]
fn askers_of_abandoned_runs_are_told() {
    actix::System::new().block_on(async {
        let limit = Duration::from_millis(300);
        let pooled = |name: &str| {
            let (spec, handle) = child(name, || async { Ok::<_, StartError>(Blocker) });
            (spec.placement(Placement::Pool), handle)
        };
        let (a, a_handle) = pooled("a");
        let (b, b_handle) = pooled("b");
        let (c, c_handle, _) = probe("c", &Log::default());
        let root = patient("root", Strategy::OneForOne)
            .arbiters(1)
            .watchdog(limit);
        let root = root.child(a).child(b).child(c.placement(Placement::Pool));
        let tree = start(root).await;
        let mut events = tree.subscribe();
        let unfinished = b_handle.ask(Later);
        c_handle.ask(Ping).await.unwrap();
        let (release, released) = mpsc::channel();
        let (blocked, is_blocked) = mpsc::channel();
        let stuck = a_handle.ask(Block(Mutex::new(released), blocked));
        is_blocked.recv().unwrap();
        let waiting = c_handle.ask(Ping);
        let long = Duration::from_secs(600);
        assert_eq!(
            timeout(long, stuck).await.expect("it hangs"),
            Err(AskError::Crashed)
        );
        let told = timeout(long, unfinished).await.expect("it hangs");
        assert_eq!(told, Err(AskError::Crashed));
        assert_eq!(timeout(long, waiting).await.expect("it hangs"), Ok(2));
        let is_back = |event: &deia_supervision::Event| {
            matches!(event.kind, EventKind::Restarted { .. }) && &*event.path == "root/a"
        };
        let _ = wait_for(&mut events, long, is_back).await;
        drop(release);
        tree.shutdown().await;
    });
}

/// A supervisor gives up a child that does not stop in its time, without the watchdog.
#[test]
fn asker_of_a_child_that_is_given_up_is_told() {
    actix::System::new().block_on(async {
        let (a, handle) = child("a", || async { Ok::<_, StartError>(Blocker) });
        let a = a
            .placement(Placement::Pool)
            .shutdown(deia_supervision::Shutdown::Within(Duration::from_millis(
                50,
            )));
        let root = patient("root", Strategy::OneForOne).watchdog(None);
        let tree = start(root.child(a)).await;
        let (release, released) = mpsc::channel();
        let (blocked, is_blocked) = mpsc::channel();
        let asked = handle.ask(Block(Mutex::new(released), blocked));
        is_blocked.recv().unwrap();
        let supervisor = tree.supervisor("root").unwrap();
        supervisor.terminate_child("a").await.unwrap();
        let told = timeout(Duration::from_secs(60), asked).await;
        assert_eq!(told.expect("it hangs"), Err(AskError::Crashed));
        drop(release);
        tree.shutdown().await;
    });
}
