//! Probes, and a system with a paused clock.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use actix::prelude::{Actor, ActorContext, Handler, Message, Running};
use deia_supervision::{ChildSpec, Context, Handle, StartError, child};

/// Runs `test` on an actix system whose clock is paused: time passes only when nothing else can
/// happen.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    deia_supervision::install_panic_hook();
    let system = actix::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    });
    system.block_on(async {
        tokio::time::timeout(Duration::from_secs(1_000_000), test)
            .await
            .expect("the test hangs")
    })
}

/// What happened to the probes of a test, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// How a probe behaves; shared by all its incarnations.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) built: AtomicUsize,
    pub(crate) alive: AtomicUsize,
    /// The next so many builds fail.
    pub(crate) fail_builds: AtomicUsize,
    pub(crate) panic_in_started: AtomicUsize,
    pub(crate) ignore_builds: AtomicUsize,
    pub(crate) refuse_stop: AtomicUsize,
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
}

impl Actor for Probe {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        if used(&self.script.panic_in_started) {
            panic!("{} in started", self.name);
        }
        self.log.add(format!("+{}", self.name));
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        if used(&self.script.refuse_stop) {
            Running::Continue
        } else {
            Running::Stop
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.log.add(format!("-{}", self.name));
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.script.alive.fetch_sub(1, SeqCst);
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
    let (name_, log, script) = (name.to_owned(), log.clone(), Arc::clone(script));
    child(name, move || {
        let (name, log, script) = (name_.clone(), log.clone(), Arc::clone(&script));
        async move {
            if used(&script.ignore_builds) {
                return Err(StartError::Ignore);
            }
            if used(&script.fail_builds) {
                return Err(StartError::failed("told not to start"));
            }
            script.built.fetch_add(1, SeqCst);
            script.alive.fetch_add(1, SeqCst);
            Ok(Probe { name, log, script })
        }
    })
}
