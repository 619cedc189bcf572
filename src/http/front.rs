//! The HTTP server as the last child of the tree.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Running, fut::wrap_future};
use actix_web::{dev::ServerHandle, rt::task::JoinHandle};
use deia_hive::Hive;
use deia_supervision::{ChildSpec, Context, Criticality, Shutdown, StartError, child};
use tokio::sync::watch;

use super::{
    limit::FORGET_EVERY,
    listen::serve,
    route::Shared,
    tls::{self, Tls},
};

/// How long open requests have to end once the server stops.
pub(super) const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// How long workers have to begin what was accepted before the server stops.
const ACCEPTED: Duration = Duration::from_millis(50);

/// Declares the server. It listens where `listener` is bound, also after a restart,
/// under TLS if there is one.
pub fn front(hive: &Hive, listener: TcpListener, tls: Option<Arc<Tls>>) -> ChildSpec {
    let (hive, listener) = (hive.clone(), Arc::new(listener));
    let factory = move || {
        let started = Front::start(hive.clone(), &listener, tls.clone());
        async move { started.map_err(|error| StartError::failed(error.to_string())) }
    };
    let (spec, _) = child("front", factory);
    spec.criticality(Criticality::Critical)
        .shutdown(Shutdown::Within(LAST_REQUESTS + Duration::from_secs(2)))
}

/// Owns the running server.
struct Front {
    shared: Arc<Shared>,
    stopping: watch::Sender<bool>,
    server: ServerHandle,
    tls: Option<Arc<Tls>>,
    running: Option<JoinHandle<io::Result<()>>>,
    stopped: bool,
}

impl Front {
    fn start(hive: Hive, listener: &TcpListener, tls: Option<Arc<Tls>>) -> io::Result<Self> {
        let settings = hive.config().server.clone();
        let (stopping, observed) = watch::channel(false);
        let shared = Arc::new(Shared::new(hive, observed));
        let server = serve(&shared, &settings, listener.try_clone()?, tls.clone())?;
        Ok(Self {
            shared,
            stopping,
            server: server.handle(),
            tls,
            running: Some(actix_web::rt::spawn(server)),
            stopped: false,
        })
    }
}

impl Actor for Front {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(FORGET_EVERY, |front, _| front.shared.limits.forget());
        if let Some(tls) = self.tls.clone() {
            context.run_interval(tls::LOOK_EVERY, move |_, _| tls.look());
        }
        let Some(running) = self.running.take() else {
            return;
        };
        let ended = wrap_future::<_, Self>(running);
        context.spawn(
            ended.map(|ended, front: &mut Self, context: &mut Context<Self>| {
                if !front.stopped {
                    context.fail(format!("the HTTP server ended: {ended:?}"));
                }
            }),
        );
    }

    /// Ends long polls at once, gives open requests a moment, and only then stops.
    fn stopping(&mut self, context: &mut Self::Context) -> Running {
        if self.stopped {
            return Running::Stop;
        }
        self.stopped = true;
        self.stopping.send_replace(true);
        let server = self.server.clone();
        let stopped = wrap_future::<_, Self>(async move {
            // What comes from now on waits for the next start, should there be one.
            // A worker that stops drops what was accepted for it and not begun.
            server.pause().await;
            tokio::time::sleep(ACCEPTED).await;
            server.stop(true).await;
        });
        context.spawn(stopped.map(|(), _, context: &mut Context<Self>| context.stop()));
        Running::Continue
    }
}

impl Drop for Front {
    /// However it ends, the server ends with it.
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}
