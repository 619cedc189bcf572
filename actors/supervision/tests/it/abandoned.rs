//! Runs that were abandoned, and whose thread comes back: nothing of them reaches their successor.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use actix::prelude::{Actor, ActorContext, AsyncContext, Handler, Message, WrapFuture};
use deia_supervision::{
    ChildSpec, ChildState, Context, EventKind, ExitReason, Handle, Health, Placement, StartError,
    Strategy, child,
};

use crate::{
    blocking::{Blocker, Where, block, blocker, next, on_pool, start, stuck, until, until_some},
    common::{Log, patient},
};

/// Says when it is dropped.
struct Sick(Log);

impl Actor for Sick {
    type Context = Context<Self>;
}

impl Drop for Sick {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

/// Blocks until it is told to go on, then says that it is sick, and crashes.
#[derive(Message)]
#[rtype(result = "()")]
struct Poison(Option<Mutex<mpsc::Receiver<()>>>);

impl Handler<Poison> for Sick {
    type Result = ();
    fn handle(&mut self, message: Poison, ctx: &mut Self::Context) {
        if let Some(released) = message.0 {
            let _ = released.lock().unwrap().recv();
            ctx.set_health(Health::unhealthy("of the abandoned run"));
            panic!("of the abandoned run");
        }
        self.0.add("handled");
    }
}

/// Handles no more mail for a while.
#[derive(Message)]
#[rtype(result = "()")]
struct Pause(Duration);

impl Handler<Pause> for Sick {
    type Result = ();
    fn handle(&mut self, message: Pause, ctx: &mut Self::Context) {
        ctx.wait(tokio::time::sleep(message.0).into_actor(self));
    }
}

fn sick(log: &Log) -> (ChildSpec, Handle<Sick>) {
    let log = log.clone();
    child("a", move || {
        let actor = Sick(log.clone());
        async move { Ok::<_, StartError>(actor) }
    })
}

#[test]
fn an_abandoned_run_neither_drops_mail_nor_says_how_its_successor_is() {
    actix::System::new().block_on(async {
        let log = Log::default();
        let (a, handle) = sick(&log);
        let a = a.placement(Placement::Pool).poison_after(1);
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        let mut events = tree.subscribe();
        let (release, released) = mpsc::channel();
        handle.tell(Poison(Some(Mutex::new(released)))).unwrap();
        // The successor finds this, and then what looks like poison to the abandoned run.
        let hour = Duration::from_secs(3_600);
        handle.tell(Pause(hour)).unwrap();
        handle.tell(Poison(None)).unwrap();
        stuck(&mut events, "root/a").await;
        until("the message waits", async || handle.depth() == 1).await;

        drop(release);
        let dropped = until_some("there is something in the log", || {
            Some(log.take()).filter(|lines| !lines.is_empty())
        })
        .await;
        assert_eq!(dropped, ["dropped"], "the abandoned run has ended");
        assert_eq!(handle.depth(), 1, "mail of the successor");
        assert_eq!(tree.status_of("root/a").unwrap().health, None);
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

/// Blocks until it is told to go on, and ends the run.
#[derive(Message)]
#[rtype(result = "()")]
struct Leave(Mutex<mpsc::Receiver<()>>);

impl Handler<Leave> for Blocker {
    type Result = ();
    fn handle(&mut self, message: Leave, ctx: &mut Self::Context) {
        let _ = message.0.lock().unwrap().recv();
        self.0.add("left");
        ctx.stop();
    }
}

#[test]
fn the_message_in_hand_is_that_of_the_successor() {
    actix::System::new().block_on(async {
        let log = Log::default();
        let (a, handle) = blocker("a", &log);
        let tree = start(patient("root", Strategy::OneForOne).child(on_pool(a))).await;
        let mut events = tree.subscribe();
        let (first, released) = mpsc::channel::<()>();
        handle.tell(Leave(Mutex::new(released))).unwrap();
        stuck(&mut events, "root/a").await;
        handle.ask(Where).await.unwrap();
        let second = block(&handle);
        drop(first);
        until_some("there is something in the log", || {
            Some(log.take()).filter(|lines| !lines.is_empty())
        })
        .await;
        let kind = loop {
            let kind = next(&mut events, "root/a").await;
            if matches!(kind, EventKind::Stuck { .. }) {
                break kind;
            }
        };
        let EventKind::Stuck { message_type } = kind else {
            unreachable!();
        };
        assert!(message_type.is_some_and(|it| it.ends_with("::Block")));
        drop(second);
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

/// Says when it is started and dropped.
struct Late(Log);

impl Actor for Late {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.0.add("started");
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

/// The thread comes back while another run is up elsewhere: the abandoned one does nothing any
/// more, and its successor still hears its supervisor.
#[test]
fn a_factory_that_comes_back_does_not_disturb_its_successor() {
    actix::System::new().block_on(async {
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(Some(released));
        let builds = AtomicUsize::new(0);
        let log = Log::default();
        let given = log.clone();
        let (spec, handle) = child("a", move || {
            if builds.fetch_add(1, SeqCst) == 1 {
                let _ = released.lock().unwrap().take().unwrap().recv();
            }
            let late = Late(given.clone());
            async { Ok::<_, StartError>(late) }
        });
        let tree = start(patient("root", Strategy::OneForOne).child(on_pool(spec))).await;
        assert!(tree.restart_path("root/a").await.is_err(), "it is stuck");
        until("it is back", async || {
            tree.status_of("root/a").unwrap().state == ChildState::Running
        })
        .await;
        assert_eq!(log.take(), ["started", "dropped", "started"]);

        drop(release);
        let mut seen = Vec::new();
        until_some("the abandoned run ends", || {
            seen.extend(log.take());
            (!seen.is_empty()).then_some(())
        })
        .await;
        assert_eq!(seen, ["dropped"], "the abandoned run");
        let exit = handle.monitor();
        let stopped = tokio::time::timeout(Duration::from_secs(60), tree.shutdown());
        assert_eq!(stopped.await.unwrap(), ExitReason::Shutdown);
        assert_eq!(exit.await.unwrap().code(), "shutdown");
    });
}
