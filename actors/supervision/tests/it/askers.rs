//! Callers that wait for an answer that cannot come any more get an error.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use actix::{
    ResponseActFuture,
    prelude::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture},
};
use deia_supervision::{
    AskError, Backoff, Context, EventKind, Intensity, OnExhausted, Placement, Restart, StartError,
    Strategy, child, testing::wait_for,
};
use tokio::time::timeout;

use crate::common::{Crash, Log, Ping, Say, Stop, idle, patient, probe, run, start};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

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

/// Handles nothing else before its time is over.
#[derive(Message)]
#[rtype(result = "()")]
struct Pause;

impl Handler<Ping> for Blocker {
    type Result = usize;
    fn handle(&mut self, _: Ping, _: &mut Self::Context) -> usize {
        0
    }
}

impl Handler<Pause> for Blocker {
    type Result = ();
    fn handle(&mut self, _: Pause, ctx: &mut Self::Context) {
        ctx.wait(std::future::pending().into_actor(self));
    }
}

/// Callers of a stuck child, and of neighbours that were working on a question, get an error
/// although the thread is still blocked; questions that were only waiting are answered by the next
/// run.
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

/// The child was asked on the arbiter of its tree, where no lease can be taken away, and was moved
/// with the question.
#[test]
fn asker_of_a_child_that_was_moved_and_is_stuck_is_told() {
    actix::System::new().block_on(async {
        let (a, handle) = child("a", || async { Ok::<_, StartError>(Blocker) });
        let root = patient("root", Strategy::OneForOne).watchdog(Duration::from_millis(300));
        let tree = start(root.child(a)).await;
        handle.ask(Pause).await.unwrap();
        let (release, released) = mpsc::channel();
        let (blocked, _is_blocked) = mpsc::channel();
        let stuck = handle.ask(Block(Mutex::new(released), blocked));
        let answered = handle.ask(Ping);
        let _ = tree.move_child("root/a", Placement::Own).await;
        let told = timeout(Duration::from_secs(600), stuck).await;
        assert_eq!(told.expect("it hangs"), Err(AskError::Crashed));
        assert_eq!(answered.await, Ok(0), "by the next run");
        drop(release);
        tree.shutdown().await;
    });
}

/// `Crashed`: it may have worked on it. All else: it has not seen it.
#[test]
fn askers_know_if_the_question_was_seen() {
    run(async {
        let (a, handle) = child("a", || async { Ok::<_, StartError>(Blocker) });
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        let seen = handle.ask(Later);
        handle.tell(Pause).unwrap();
        let waiting = handle.ask(Ping);
        idle().await;
        tree.shutdown().await;
        assert_eq!(seen.await, Err(AskError::Crashed));
        assert_eq!(waiting.await, Err(AskError::Gone));
    });
}

#[derive(Clone, Copy, Debug)]
enum Down {
    Suspended,
    Above,
    Terminated,
    Ended,
    Quarantined,
    Waiting,
}

/// A caller of a child that does not come back by itself gets an error at once, whether the
/// question comes before or after it goes down. Mail waits.
#[test]
fn askers_of_a_child_that_stays_down_are_told() {
    let cases = [
        (Down::Suspended, Some(AskError::Suspended)),
        (Down::Above, Some(AskError::Suspended)),
        (Down::Terminated, Some(AskError::Down)),
        (Down::Ended, Some(AskError::Down)),
        (Down::Quarantined, Some(AskError::Down)),
        (Down::Waiting, None),
    ];
    for (how, expected) in cases {
        run(async {
            let log = Log::default();
            let (a, handle, _) = probe("a", &log);
            let a = a.restart(Restart::Transient);
            let a = match how {
                Down::Quarantined => a
                    .budget(Intensity::new(0, SECOND))
                    .on_exhausted(OnExhausted::Quarantine),
                _ => a.backoff(Backoff::new(60 * SECOND, 60 * SECOND)),
            };
            let inner = patient("inner", Strategy::OneForOne).child(a);
            let tree = start(patient("root", Strategy::OneForOne).child(inner)).await;
            let inner = tree.supervisor("root/inner").unwrap();
            if let Down::Ended = how {
                handle.tell(Stop).unwrap();
            } else {
                handle.tell(Crash).unwrap();
            }
            let before = handle.ask(Ping);
            idle().await;
            match how {
                Down::Suspended => tree.suspend_path("root/inner/a").await.unwrap(),
                Down::Above => tree.suspend_path("root/inner").await.unwrap(),
                Down::Terminated => inner.terminate_child("a").await.unwrap(),
                Down::Ended | Down::Quarantined | Down::Waiting => {}
            }
            handle.tell(Say(1)).unwrap();
            let after = handle.ask(Ping);
            let answers = [
                timeout(500 * MS, before).await,
                timeout(500 * MS, after).await,
            ];
            match expected {
                Some(error) => {
                    let is_told = |answer: &Result<_, _>| *answer == Ok(Err(error));
                    assert!(answers.iter().all(is_told), "{how:?}: {answers:?}");
                }
                None => assert!(answers.iter().all(Result::is_err), "it waits"),
            }
            assert!(handle.depth() >= 1, "mail is kept: {how:?}");
            tree.shutdown().await;
        });
    }
}

/// The one who looks for withdrawn questions finds them.
#[test]
fn a_question_is_withdrawn_before_it_is_counted() {
    let (spec, handle, _) = probe("a", &Log::default());
    let _spec = spec.mailbox(1);
    for _ in 0..20_000 {
        let asked = handle.ask(Ping);
        std::thread::scope(|scope| {
            let sweeping = scope.spawn(|| handle.ask(Ping));
            drop(asked);
            drop(sweeping.join().unwrap());
        });
        assert!(handle.try_ask(Ping).is_ok(), "its room is lost");
    }
}
