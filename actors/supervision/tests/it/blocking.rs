//! Children that block their thread, and waiting for what follows. Threads and the watchdog's clock
//! are real.

use std::{
    sync::{Mutex, mpsc},
    thread::ThreadId,
    time::{Duration, Instant},
};

use actix::prelude::{Actor, Handler, Message};
use deia_supervision::{
    ChildSpec, Context, Event, EventKind, EventStream, ExitReason, Handle, Placement, StartError,
    Strategy, SupervisorSpec, Tree, child, testing::wait_for,
};

use crate::common::{Log, Say, patient};

/// Short, because tests wait for it; nothing else here takes that long.
pub(crate) const LIMIT: Duration = Duration::from_millis(300);

/// Longest that a test waits for anything. Machines are shared.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(600);

/// Blocks its thread until it is released.
pub(crate) struct Blocker(pub(crate) Log);

impl Actor for Blocker {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Block(Mutex<mpsc::Receiver<()>>, mpsc::Sender<()>);

impl Handler<Block> for Blocker {
    type Result = ();
    fn handle(&mut self, message: Block, _: &mut Self::Context) {
        message.1.send(()).unwrap();
        let _ = message.0.lock().unwrap().recv();
        self.0.add("returned");
    }
}

#[derive(Message)]
#[rtype(result = "ThreadId")]
pub(crate) struct Where;

impl Handler<Where> for Blocker {
    type Result = actix::MessageResult<Where>;
    fn handle(&mut self, _: Where, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(std::thread::current().id())
    }
}

impl Handler<Say> for Blocker {
    type Result = ();
    fn handle(&mut self, message: Say, _: &mut Self::Context) {
        self.0.add(message.0.to_string());
    }
}

pub(crate) fn blocker(name: &str, log: &Log) -> (ChildSpec, Handle<Blocker>) {
    let log = log.clone();
    child(name, move || {
        let actor = Blocker(log.clone());
        async move { Ok::<_, StartError>(actor) }
    })
}

/// Blocks the child's thread; what releases it again.
pub(crate) fn block(handle: &Handle<Blocker>) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel();
    let (blocked, is_blocked) = mpsc::channel();
    handle.tell(Block(Mutex::new(released), blocked)).unwrap();
    is_blocked.recv().unwrap();
    release
}

pub(crate) async fn start(root: SupervisorSpec) -> Tree {
    Tree::start(root.arbiters(1).watchdog(LIMIT)).await.unwrap()
}

/// The next event of the child at `path`.
pub(crate) async fn next(events: &mut EventStream, path: &str) -> EventKind {
    let of_it = |event: &Event| *event.path == *path;
    wait_for(events, FOR_EVER, of_it).await.unwrap().kind
}

/// Waits until the child at `path` is reported; on a busy machine, others may be, too.
pub(crate) async fn stuck(events: &mut EventStream, path: &str) -> Option<&'static str> {
    let is_stuck = |event: &Event| {
        let is_it = matches!(event.kind, EventKind::Stuck { .. });
        is_it && *event.path == *path
    };
    let event = wait_for(events, FOR_EVER, is_stuck).await.unwrap();
    match event.kind {
        EventKind::Stuck { message_type } => message_type,
        _ => None,
    }
}

pub(crate) fn on_pool(spec: ChildSpec) -> ChildSpec {
    spec.placement(Placement::Pool)
}

/// Waits until it holds, by the real clock.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + FOR_EVER;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until there is one, by the real clock, and returns it.
pub(crate) async fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    until(what, async || {
        found = look();
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Waits until the watchdog of another tree has found a child that blocks its thread from now
/// on: the control of a test in which no watchdog may find anything.
pub(crate) async fn another_is_found_stuck() {
    let (spec, handle) = blocker("control", &Log::default());
    let tree = start(patient("root", Strategy::OneForOne).child(on_pool(spec))).await;
    let mut events = tree.subscribe();
    let release = block(&handle);
    stuck(&mut events, "root/control").await;
    drop(release);
    assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
}
