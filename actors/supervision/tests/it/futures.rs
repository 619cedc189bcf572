//! Futures that an actor spawns: when and in which order they are polled, and the effect of waiting
//! and cancelling.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use actix::{
    SpawnHandle,
    prelude::{
        Actor, ActorFutureExt, AsyncContext, Handler, Message, ResponseActFuture, StreamHandler,
        WrapFuture,
    },
};
use deia_supervision::{AskError, Context, Handle, StartError, Strategy, Tree, child};
use futures_util::stream;

use crate::common::{Log, idle, patient, run, start};

/// Counts its polls, and is done when it is told.
#[derive(Default)]
struct Switch {
    polls: AtomicUsize,
    on: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl Switch {
    fn wake(&self) {
        self.waker.lock().unwrap().as_ref().unwrap().wake_by_ref();
    }

    fn finish(&self) {
        self.on.store(1, SeqCst);
        self.wake();
    }
}

struct Until(Arc<Switch>);

impl Future for Until {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.0.polls.fetch_add(1, SeqCst);
        *self.0.waker.lock().unwrap() = Some(cx.waker().clone());
        match self.0.on.load(SeqCst) {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

struct Worker(Log);

impl Actor for Worker {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "SpawnHandle")]
struct Spawn(usize, Arc<Switch>);

impl Handler<Spawn> for Worker {
    type Result = actix::MessageResult<Spawn>;
    fn handle(&mut self, message: Spawn, ctx: &mut Self::Context) -> Self::Result {
        let Spawn(number, switch) = message;
        actix::MessageResult(
            ctx.spawn(Until(switch).into_actor(self).map(move |(), actor, _| {
                actor.0.add(number.to_string());
            })),
        )
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Cancel(SpawnHandle);

impl Handler<Cancel> for Worker {
    type Result = ();
    fn handle(&mut self, message: Cancel, ctx: &mut Self::Context) {
        ctx.cancel_future(message.0);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct WaitFor(Duration);

impl Handler<WaitFor> for Worker {
    type Result = ();
    fn handle(&mut self, message: WaitFor, ctx: &mut Self::Context) {
        ctx.wait(tokio::time::sleep(message.0).into_actor(self));
    }
}

/// An item of a stream after each of which the actor waits.
#[derive(Clone, Copy)]
struct Item(usize);

impl StreamHandler<Item> for Worker {
    fn handle(&mut self, item: Item, ctx: &mut Self::Context) {
        self.0.add(format!("item {}", item.0));
        ctx.wait(tokio::time::sleep(Duration::from_secs(1)).into_actor(self));
    }

    fn finished(&mut self, _: &mut Self::Context) {
        self.0.add("end");
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Follow(usize);

impl Handler<Follow> for Worker {
    type Result = ();
    fn handle(&mut self, message: Follow, ctx: &mut Self::Context) {
        ctx.add_stream(stream::iter((0..message.0).map(Item)));
    }
}

#[derive(Message)]
#[rtype(result = "usize")]
struct CrashInResponse;

impl Handler<CrashInResponse> for Worker {
    type Result = ResponseActFuture<Self, usize>;
    fn handle(&mut self, _: CrashInResponse, _: &mut Self::Context) -> Self::Result {
        let pause = tokio::time::sleep(Duration::from_millis(1));
        Box::pin(
            pause
                .into_actor(self)
                .map(|(), _, _| panic!("while answering")),
        )
    }
}

#[derive(Message)]
#[rtype(result = "usize")]
struct Later(usize);

impl Handler<Later> for Worker {
    type Result = ResponseActFuture<Self, usize>;
    fn handle(&mut self, message: Later, _: &mut Self::Context) -> Self::Result {
        let pause = tokio::time::sleep(Duration::from_millis(100 - message.0 as u64));
        Box::pin(pause.into_actor(self).map(move |(), _, _| message.0))
    }
}

async fn worker() -> (Tree, Handle<Worker>, Log) {
    let log = Log::default();
    let actor_log = log.clone();
    let (spec, handle) = child("worker", move || {
        let actor = Worker(actor_log.clone());
        async move { Ok::<_, StartError>(actor) }
    });
    let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
    (tree, handle, log)
}

/// The cost of a wake does not depend on how many futures there are.
#[test]
fn a_wake_polls_only_what_was_woken() {
    run(async {
        let (tree, handle, log) = worker().await;
        let switches: Vec<Arc<Switch>> = (0..10_000).map(|_| Arc::default()).collect();
        for (number, switch) in switches.iter().enumerate() {
            handle.ask(Spawn(number, Arc::clone(switch))).await.unwrap();
        }
        idle().await;
        let polls = || switches.iter().map(|s| s.polls.load(SeqCst)).sum::<usize>();
        assert_eq!(polls(), 10_000, "each once");
        for _ in 0..50 {
            handle.ask(Later(1)).await.unwrap();
        }
        assert_eq!(
            polls(),
            10_000,
            "messages and other futures wake none of them"
        );
        switches[7_777].wake();
        switches[7_777].wake();
        idle().await;
        assert_eq!(polls(), 10_001);
        assert_eq!(switches[7_777].polls.load(SeqCst), 2);
        for number in [9_999, 0, 5_000] {
            switches[number].finish();
        }
        idle().await;
        assert_eq!(polls(), 10_004);
        assert_eq!(log.take(), ["9999", "0", "5000"], "in the order of waking");
        tree.shutdown().await;
    });
}

#[test]
fn wakes_from_other_threads_arrive() {
    actix::System::new().block_on(async {
        let (tree, handle, log) = worker().await;
        let switches: Vec<Arc<Switch>> = (0..1_000).map(|_| Arc::default()).collect();
        for (number, switch) in switches.iter().enumerate() {
            handle.ask(Spawn(number, Arc::clone(switch))).await.unwrap();
        }
        handle.ask(Later(1)).await.unwrap();
        let finishing: Vec<_> = switches
            .chunks(250)
            .map(|part| {
                let part = part.to_vec();
                std::thread::spawn(move || part.iter().for_each(|switch| switch.finish()))
            })
            .collect();
        let mut done = Vec::new();
        while done.len() < 1_000 {
            handle.ask(Later(99)).await.unwrap();
            done.extend(log.take());
        }
        finishing
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        done.sort_by_key(|number| number.parse::<usize>().unwrap());
        let expected: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
        assert_eq!(done, expected, "each once");
        tree.shutdown().await;
    });
}

#[test]
fn a_cancelled_future_is_dropped() {
    run(async {
        let (tree, handle, log) = worker().await;
        let (one, other) = (Arc::<Switch>::default(), Arc::<Switch>::default());
        let cancelled = handle.ask(Spawn(1, Arc::clone(&one))).await.unwrap();
        handle.ask(Spawn(2, Arc::clone(&other))).await.unwrap();
        handle.ask(Cancel(cancelled)).await.unwrap();
        idle().await;
        assert_eq!((Arc::strong_count(&one), Arc::strong_count(&other)), (1, 2));
        one.finish();
        other.finish();
        idle().await;
        assert_eq!(log.take(), ["2"]);
        tree.shutdown().await;
    });
}

/// Nothing is polled while the context waits; what was woken meanwhile is polled then.
#[test]
fn waiting_holds_back_what_was_woken() {
    run(async {
        let (tree, handle, log) = worker().await;
        let switch = Arc::<Switch>::default();
        handle.ask(Spawn(1, Arc::clone(&switch))).await.unwrap();
        idle().await;
        handle.tell(WaitFor(Duration::from_secs(1))).unwrap();
        idle().await;
        switch.finish();
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert!(log.take().is_empty());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(log.take(), ["1"]);
        tree.shutdown().await;
    });
}

/// Streams return without leaving a waker when they see that the context waits.
#[test]
fn a_stream_whose_handler_waits_goes_on() {
    run(async {
        let (tree, handle, log) = worker().await;
        handle.tell(Follow(3)).unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(log.take(), ["item 0", "item 1", "item 2", "end"]);
        tree.shutdown().await;
    });
}

#[test]
fn answers_come_as_they_are_ready() {
    run(async {
        let (tree, handle, _) = worker().await;
        let asked: Vec<_> = (0..100).map(|number| handle.ask(Later(number))).collect();
        for (number, answer) in asked.into_iter().enumerate().rev() {
            assert_eq!(answer.await, Ok(number));
        }
        tree.shutdown().await;
    });
}

#[test]
fn a_panic_in_a_response_names_the_message() {
    run(async {
        let (tree, handle, _) = worker().await;
        assert_eq!(handle.ask(CrashInResponse).await, Err(AskError::Crashed));
        assert_eq!(handle.ask(Later(1)).await, Ok(1));
        let exit = tree.status_of("root/worker").unwrap().last_exit.unwrap();
        let message_type = exit.reason.message_type().unwrap();
        assert!(
            message_type.ends_with("::CrashInResponse"),
            "{message_type}"
        );
        tree.shutdown().await;
    });
}

#[derive(Message)]
#[rtype(result = "usize")]
struct CrashBeside;

impl Handler<CrashBeside> for Worker {
    type Result = actix::ResponseFuture<usize>;
    fn handle(&mut self, _: CrashBeside, _: &mut Self::Context) -> Self::Result {
        Box::pin(async { panic!("in a task of its own") })
    }
}

/// As the documentation of `Context` says.
#[test]
fn a_response_future_is_a_task_of_its_own() {
    run(async {
        let (tree, handle, _) = worker().await;
        assert_eq!(handle.ask(CrashBeside).await, Err(AskError::Crashed));
        assert_eq!(handle.ask(Later(1)).await, Ok(1));
        let status = tree.status_of("root/worker").unwrap();
        assert_eq!((status.incarnation, status.exits.len()), (1, 0));
        tree.shutdown().await;
    });
}
