//! Probes that do as they are told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use actix::prelude::{Actor, ActorContext, AsyncContext, Handler, Message, Running};
pub(crate) use deia_supervision::testing::{idle, run, run_with_threads as unlimited};
use deia_supervision::{
    ChildSpec, ChildState, Context, EventStream, Handle, Intensity, StartError, Strategy,
    SupervisorSpec, Tree, child,
};

/// Log of the events of the probes of a test, in order.
pub(crate) type Log = deia_supervision::testing::Recording<String>;

/// Behaviour of a probe, shared by all its incarnations.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) built: AtomicUsize,
    pub(crate) alive: AtomicUsize,
    /// The next so many builds fail.
    pub(crate) fail_builds: AtomicUsize,
    /// The factories of the next so many builds never resolve.
    pub(crate) hang_builds: AtomicUsize,
    pub(crate) panic_in_started: AtomicUsize,
    pub(crate) panic_in_factory: AtomicUsize,
    pub(crate) ignore_builds: AtomicUsize,
    pub(crate) refuse_stop: AtomicUsize,
    pub(crate) panic_in_stopping: AtomicUsize,
    pub(crate) panic_in_stopped: AtomicUsize,
    pub(crate) panic_in_drop: AtomicUsize,
    pub(crate) stop_in_started: AtomicUsize,
    /// Time that each factory takes.
    pub(crate) slow_build_ms: AtomicU64,
    /// Time for which the probe refuses to stop once it was asked to.
    pub(crate) slow_stop_ms: AtomicU64,
}

impl Script {
    pub(crate) fn built(&self) -> usize {
        self.built.load(SeqCst)
    }
}

fn used(counter: &AtomicUsize) -> bool {
    counter
        .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
        .is_ok()
}

/// An actor that does as it is told.
pub(crate) struct Probe {
    pub(crate) name: String,
    pub(crate) log: Log,
    pub(crate) script: Arc<Script>,
    took_its_time: bool,
}

impl Actor for Probe {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if used(&self.script.stop_in_started) {
            ctx.stop();
        }
        if used(&self.script.panic_in_started) {
            panic!("{} in started", self.name);
        }
        self.log.add(format!("+{}", self.name));
    }

    fn stopping(&mut self, ctx: &mut Self::Context) -> Running {
        if used(&self.script.panic_in_stopping) {
            panic!("{} in stopping", self.name);
        }
        let slow_stop_ms = self.script.slow_stop_ms.load(SeqCst);
        if slow_stop_ms > 0 && !self.took_its_time {
            self.took_its_time = true;
            let pause = Duration::from_millis(slow_stop_ms);
            ctx.run_later(pause, |_, ctx| ctx.stop());
            return Running::Continue;
        }
        if used(&self.script.refuse_stop) {
            Running::Continue
        } else {
            Running::Stop
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.log.add(format!("-{}", self.name));
        if used(&self.script.panic_in_stopped) {
            panic!("{} in stopped", self.name);
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.script.alive.fetch_sub(1, SeqCst);
        if used(&self.script.panic_in_drop) {
            panic!("{} in drop", self.name);
        }
    }
}

#[derive(Message)]
#[rtype(result = "usize")]
pub(crate) struct Ping;

#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Crash;

#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Fail;

#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CrashLater;

impl Handler<CrashLater> for Probe {
    type Result = ();
    fn handle(&mut self, _: CrashLater, ctx: &mut Self::Context) {
        ctx.run_later(Duration::from_millis(1), |_, _| {
            panic!("in a spawned future")
        });
    }
}

/// Appends a line to the log when it is handled.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Say(pub(crate) usize);

impl Handler<Say> for Probe {
    type Result = ();
    fn handle(&mut self, message: Say, _: &mut Self::Context) {
        self.log.add(message.0.to_string());
    }
}

impl Handler<Ping> for Probe {
    type Result = usize;
    fn handle(&mut self, _: Ping, _: &mut Self::Context) -> usize {
        self.script.built()
    }
}

impl Handler<Crash> for Probe {
    type Result = ();
    fn handle(&mut self, _: Crash, _: &mut Self::Context) {
        panic!("{} was told to crash", self.name);
    }
}

impl Handler<Stop> for Probe {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Fail> for Probe {
    type Result = ();
    fn handle(&mut self, _: Fail, ctx: &mut Self::Context) {
        ctx.fail("told to fail");
    }
}

pub(crate) fn probe(name: &str, log: &Log) -> (ChildSpec, Handle<Probe>, Arc<Script>) {
    let script = Arc::new(Script::default());
    let (spec, handle) = scripted(name, log, &script);
    (spec, handle, script)
}

pub(crate) fn scripted(name: &str, log: &Log, script: &Arc<Script>) -> (ChildSpec, Handle<Probe>) {
    labelled(name, name, log, script)
}

/// Returns a probe that calls itself `label` in the log.
pub(crate) fn labelled(
    name: &str,
    label: &str,
    log: &Log,
    script: &Arc<Script>,
) -> (ChildSpec, Handle<Probe>) {
    let (name_, log, script) = (label.to_owned(), log.clone(), Arc::clone(script));
    child(name, move || {
        let (name, log, script) = (name_.clone(), log.clone(), Arc::clone(&script));
        async move {
            let slow_build_ms = script.slow_build_ms.load(SeqCst);
            if slow_build_ms > 0 {
                tokio::time::sleep(Duration::from_millis(slow_build_ms)).await;
            }
            if used(&script.hang_builds) {
                std::future::pending::<()>().await;
            }
            if used(&script.ignore_builds) {
                return Err(StartError::Ignore);
            }
            if used(&script.panic_in_factory) {
                panic!("{name} in its factory");
            }
            if used(&script.fail_builds) {
                return Err(StartError::failed("told not to start"));
            }
            script.built.fetch_add(1, SeqCst);
            script.alive.fetch_add(1, SeqCst);
            Ok(Probe {
                name,
                log,
                script,
                took_its_time: false,
            })
        }
    })
}

pub(crate) async fn start(spec: SupervisorSpec) -> Tree {
    Tree::start(spec).await.unwrap()
}

/// A supervisor that never gives up.
pub(crate) fn patient(name: &str, strategy: Strategy) -> SupervisorSpec {
    SupervisorSpec::new(name, strategy).intensity(Intensity::unlimited())
}

/// A supervisor that tolerates so many restarts in 10 s.
pub(crate) fn tolerant(name: &str, strategy: Strategy, restarts: u32) -> SupervisorSpec {
    SupervisorSpec::new(name, strategy).intensity(Intensity::new(restarts, Duration::from_secs(10)))
}

pub(crate) fn state(tree: &Tree, path: &str) -> Option<ChildState> {
    tree.status_of(path).map(|status| status.state)
}

/// The names of events and the last parts of their paths, as far as they have come.
pub(crate) fn events(stream: &mut EventStream) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(Ok(event)) = stream.try_recv() {
        let json = serde_json::to_value(&event).unwrap();
        let child = event.path.rsplit('/').next().unwrap();
        names.push(format!("{} {child}", json["event"].as_str().unwrap()));
    }
    names
}
