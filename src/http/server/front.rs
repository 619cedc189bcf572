//! The HTTP server as the last child of the tree.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Running, fut::wrap_future};
use actix_web::{dev::ServerHandle, rt::task::JoinHandle};
use deia_hive::Hive;
use deia_supervision::{ChildSpec, Context, Criticality, Shutdown, StartError, child};
use tokio::sync::watch;

use crate::http::{
    guard::rate::FORGET_EVERY,
    openapi,
    server::{
        listen::serve,
        state::{Api, ServerState},
        tls::Tls,
    },
    table::table,
};

/// Time that the acceptor has to notice that it is paused. Fixed: the acceptor takes less
/// than a millisecond.
const PAUSED: Duration = Duration::from_millis(100);

/// Declares the server. It listens on `listener`, even after a restart, and speaks TLS if
/// `tls` is there.
pub fn front(hive: &Hive, listener: TcpListener, tls: Option<Arc<Tls>>) -> ChildSpec {
    let stops_within = hive.config().stop_limits().front;
    let (hive, listener) = (hive.clone(), Arc::new(listener));
    let factory = move || {
        let started = Front::start(hive.clone(), &listener, tls.clone());
        async move { started.map_err(|error| StartError::failed(error.to_string())) }
    };
    let (spec, _) = child("front", factory);
    spec.criticality(Criticality::Critical)
        .shutdown(Shutdown::Within(stops_within))
}

/// Returns the API of the route table.
fn api() -> Api {
    let routes = table().into_iter().map(|route| (route.method, route.path));
    Api {
        routes: routes.collect(),
        description: openapi::text,
    }
}

/// Makes parts of the server anew whenever their settings change.
async fn follow_settings(state: Arc<ServerState>) {
    let mut changes = state.hive.settings().changes();
    loop {
        let now = changes.borrow_and_update().config.clone();
        state.adopt(now);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Owns the running server.
struct Front {
    state: Arc<ServerState>,
    stopping: watch::Sender<bool>,
    server: ServerHandle,
    close_notice: Duration,
    close_timeout: Duration,
    tls: Option<Arc<Tls>>,
    running: Option<JoinHandle<io::Result<()>>>,
    stopped: bool,
}

impl Front {
    fn start(hive: Hive, listener: &TcpListener, tls: Option<Arc<Tls>>) -> io::Result<Self> {
        let settings = hive.config().server.clone();
        let (stopping, observed) = watch::channel(false);
        let state = Arc::new(ServerState::new(hive, api(), observed));
        let server = serve(&state, &settings, listener.try_clone()?, tls.clone())?;
        Ok(Self {
            state,
            stopping,
            server: server.handle(),
            close_notice: settings.close_notice,
            close_timeout: settings.close_timeout,
            tls,
            running: Some(actix_web::rt::spawn(server)),
            stopped: false,
        })
    }
}

impl Actor for Front {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(FORGET_EVERY, |front, _| front.state.limits.load().forget());
        context.spawn(wrap_future(follow_settings(Arc::clone(&self.state))));
        if let Some(tls) = self.tls.clone() {
            context.run_interval(tls.look_every(), move |_, _| tls.look());
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

    /// Closes connections so that no request on them fails: see [`drain`](super::drain).
    fn stopping(&mut self, context: &mut Self::Context) -> Running {
        if self.stopped {
            return Running::Stop;
        }
        self.stopped = true;
        let (server, stopping) = (self.server.clone(), self.stopping.clone());
        let connections = Arc::clone(&self.state.connections);
        let (close_notice, close_timeout) = (self.close_notice, self.close_timeout);
        let stopped = wrap_future::<_, Self>(async move {
            connections.last_call();
            connections.closed(close_notice).await;
            // New connections wait for the next start, should there be one.
            server.pause().await;
            tokio::time::sleep(PAUSED).await;
            connections.all_begun().await;
            // Long polls, streams and idle connections end.
            stopping.send_replace(true);
            connections.closed(close_timeout).await;
            server.stop(false).await;
        });
        context.spawn(stopped.map(|(), _, context: &mut Context<Self>| context.stop()));
        Running::Continue
    }
}

impl Drop for Front {
    /// Stops the server, however this ends.
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}
