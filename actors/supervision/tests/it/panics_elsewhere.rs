//! Panics where no handler or hook of the actor runs: in streams, in what it waits for, in futures
//! that are dropped, and in destructors of what a child holds.

use std::time::Duration;

use actix::{
    ResponseActFuture,
    prelude::{Actor, ActorFutureExt, AsyncContext, Handler, Message, StreamHandler, WrapFuture},
};
use deia_supervision::{
    ChildSpec, ChildState, Context, ExitReason, Handle, StartError, Strategy, Tree, child,
};
use futures_util::{StreamExt, stream};

use crate::common::{Log, Ping, idle, patient, probe, run, start, state};

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("{}", self.0);
        }
    }
}

struct Victim;

impl Actor for Victim {
    type Context = Context<Self>;
}

#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
enum Act {
    Stream,
    StreamHandler,
    Wait,
    SpawnedDestructor,
    WaitDestructor,
    Answer,
}

impl StreamHandler<bool> for Victim {
    fn handle(&mut self, panics: bool, _: &mut Self::Context) {
        assert!(!panics, "in a stream handler");
    }
}

impl Handler<Act> for Victim {
    type Result = ();
    fn handle(&mut self, message: Act, ctx: &mut Self::Context) {
        match message {
            Act::Stream => {
                ctx.add_stream(stream::iter([false]).map(|_| -> bool { panic!("in a stream") }));
            }
            Act::StreamHandler => {
                ctx.add_stream(stream::iter([false, true]));
            }
            Act::Wait => {
                let pause = tokio::time::sleep(Duration::from_millis(1));
                ctx.wait(pause.into_actor(self).map(|(), _, _| panic!("in a wait")));
            }
            Act::SpawnedDestructor => {
                let bomb = Bomb("a spawned future's destructor");
                let held = async move { drop(bomb) };
                ctx.spawn(held.into_actor(self));
            }
            Act::WaitDestructor => {
                let bomb = Bomb("a wait's destructor");
                let held = async move { drop(bomb) };
                ctx.wait(held.into_actor(self));
            }
            Act::Answer => unreachable!("asked for"),
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Answer;

impl Handler<Answer> for Victim {
    type Result = ResponseActFuture<Self, ()>;
    fn handle(&mut self, _: Answer, _: &mut Self::Context) -> Self::Result {
        let bomb = Bomb("an answer's destructor");
        Box::pin(async move { drop(bomb) }.into_actor(self))
    }
}

fn victim() -> (ChildSpec, Handle<Victim>) {
    child("victim", || async { Ok::<_, StartError>(Victim) })
}

/// Checks that the child crashes with `text` and is restarted, and that its neighbour does not
/// notice.
fn assert_contained(act: Act, text: &str) {
    run(async {
        let (spec, handle) = victim();
        let (other, other_handle, _) = probe("other", &Log::default());
        let tree = start(
            patient("root", Strategy::OneForOne)
                .child(spec)
                .child(other),
        )
        .await;
        match act {
            Act::Answer => drop(handle.ask(Answer).await),
            act => handle.tell(act).unwrap(),
        }
        idle().await;
        idle().await;
        let status = tree.status_of("root/victim").unwrap();
        assert_eq!((status.state, status.incarnation), (ChildState::Running, 2));
        let message = status.last_exit.unwrap().reason.message().unwrap();
        assert!(message.contains(text), "{message}");
        assert_eq!(other_handle.ask(Ping).await, Ok(1));
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

#[test]
fn panic_in_stream() {
    assert_contained(Act::Stream, "in a stream");
    assert_contained(Act::StreamHandler, "in a stream handler");
}

#[test]
fn panic_in_wait() {
    assert_contained(Act::Wait, "in a wait");
}

#[test]
fn panic_in_destructor_of_a_future() {
    assert_contained(Act::SpawnedDestructor, "a spawned future's destructor");
    assert_contained(Act::WaitDestructor, "a wait's destructor");
    assert_contained(Act::Answer, "an answer's destructor");
}

/// The values that a child holds when it is stopped or deleted may panic when they are dropped; the
/// supervisor goes on, and so does the tree.
async fn survives(tree: &Tree, name: &str) {
    let root = tree.supervisor("root").unwrap();
    root.terminate_child(name).await.unwrap();
    root.delete_child(name).await.unwrap();
    idle().await;
    assert_eq!(state(tree, "root"), Some(ChildState::Running));
    let (again, handle, _) = probe(name, &Log::default());
    root.start_child(again).await.unwrap();
    assert_eq!(handle.ask(Ping).await, Ok(1));
    assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
}

#[derive(Message)]
#[rtype(result = "()")]
struct Load(#[expect(dead_code, reason = "held")] Bomb);

impl Handler<Load> for Victim {
    type Result = ();
    fn handle(&mut self, message: Load, _: &mut Self::Context) {
        std::mem::forget(message);
    }
}

#[test]
fn panic_in_destructor_of_a_queued_message() {
    run(async {
        let (spec, handle) = victim();
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        let root = tree.supervisor("root").unwrap();
        root.terminate_child("victim").await.unwrap();
        for _ in 0..3 {
            handle.tell(Load(Bomb("a queued message"))).unwrap();
        }
        survives(&tree, "victim").await;
    });
}

#[test]
fn panic_in_destructor_of_a_factory() {
    run(async {
        let bomb = Bomb("what a factory captured");
        let (spec, _) = child("victim", move || {
            let _ = &bomb;
            async { Ok::<_, StartError>(Victim) }
        });
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        survives(&tree, "victim").await;
    });
}

/// The factory's future is dropped while it waits, because the child is to stop.
#[test]
fn panic_in_destructor_of_a_factorys_future() {
    run(async {
        let builds = std::sync::atomic::AtomicUsize::new(0);
        let (spec, handle) = child("victim", move || {
            let first = builds.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            async move {
                if !first {
                    let _bomb = Bomb("a factory's future");
                    std::future::pending::<()>().await;
                }
                Ok::<_, StartError>(Victim)
            }
        });
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        handle.tell(Act::Wait).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(state(&tree, "root/victim"), Some(ChildState::Starting));
        survives(&tree, "victim").await;
    });
}

/// A specification that is refused is dropped by the supervisor, with all that it captured.
#[test]
fn panic_in_destructor_of_a_refused_spec() {
    run(async {
        let (spec, _) = victim();
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        let root = tree.supervisor("root").unwrap();
        let bomb = Bomb("what a refused specification captured");
        let (refused, _) = child("victim", move || {
            let _ = &bomb;
            async { Ok::<_, StartError>(Victim) }
        });
        let asked = tokio::time::timeout(Duration::from_secs(60), root.start_child(refused));
        assert!(asked.await.unwrap().is_err());
        survives(&tree, "victim").await;
    });
}
