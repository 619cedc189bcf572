//! The way from an accepted connection to the routes: the framed stream, actix' parser
//! and dispatcher of HTTP/1.1, the application.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use actix_http::{Extensions, HttpService, error::DispatchError};
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::{App, dev::AppConfig};
use deia_framer::Timeouts;
use deia_hive::config::ServerSettings;
use deia_model::AddressRange;
use tokio::sync::watch;

use crate::http::{
    guard::quotas::{HashedQuotas, NETWORKS},
    route::register,
    server::{
        connection::{Peer, Stream, Transport},
        state::ServerState,
        tls::Tls,
    },
    table::table,
};

/// Time to send the remaining bytes when a connection is closed. Fixed: a connection that
/// is being closed has no time of its own to wait for.
const LAST_BYTES: Duration = Duration::from_secs(1);
/// The interval of warnings about addresses with too many connections. Fixed: keeps a log
/// from being flooded.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Serves the routes on that listener.
pub(crate) fn serve(
    state: &Arc<ServerState>,
    settings: &ServerSettings,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
) -> io::Result<Server> {
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        some => usize::from(some),
    };
    let connections = usize::try_from(settings.max_connections).unwrap_or(usize::MAX);
    let address = listener.local_addr()?;
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(connections.div_ceil(workers))
        .disable_signals();
    let (state, keep_alive) = (Arc::clone(state), settings.keep_alive);
    let networks = HashedQuotas::new(NETWORKS, settings.max_connections_per_address as usize);
    let timeouts = Timeouts {
        head: settings.request_head_timeout,
        write: settings.write_timeout,
        min_bytes_per_second: settings.min_bytes_per_second,
    };
    let connect = move || {
        let state = Arc::clone(&state);
        let (connections, stopping) = (Arc::clone(&state.connections), state.stopping.clone());
        // This runs once on each worker.
        actix_rt::spawn(Arc::clone(&connections).worker());
        let app = App::new()
            .app_data(Arc::clone(&state))
            .configure(|config| register(table(), config));
        let http = HttpService::build()
            .keep_alive(keep_alive)
            // The framer has the better clock.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(LAST_BYTES)
            .local_addr(address)
            .on_connect_ext(|stream: &Stream, data: &mut Extensions| {
                data.insert(stream.connection());
            })
            .h1(map_config(app, |()| AppConfig::default()));
        let (tls, networks) = (tls.clone(), Arc::clone(&networks));
        let accept = fn_service(move |tcp: TcpStream| {
            let peer = tcp.peer_addr().ok();
            let other = Peer {
                certificate: None,
                secure: false,
                share: networks.of(&peer.map(|peer| AddressRange::of_caller(peer.ip()))),
                open: connections.open(),
            };
            let accepted = accept(tcp, other, tls.clone(), timeouts, stopping.clone());
            async move { Ok((accepted.await?, peer)) }
        });
        accept.and_then(http)
    };
    Ok(server.listen("api", listener, connect)?.run())
}

async fn accept(
    tcp: TcpStream,
    mut peer: Peer,
    tls: Option<Arc<Tls>>,
    timeouts: Timeouts,
    stopping: watch::Receiver<bool>,
) -> Result<Stream, DispatchError> {
    // This comes before all other work, even the handshake.
    if !peer.share.try_grow_to(1) {
        too_many(tcp.peer_addr().ok());
        let error = io::Error::new(io::ErrorKind::QuotaExceeded, "too many of one address");
        return Err(DispatchError::Io(error));
    }
    // An answer in several pieces would wait for the other side to acknowledge the first.
    tcp.set_nodelay(true).map_err(DispatchError::Io)?;
    let Some(tls) = tls else {
        let transport = Transport::Plain(tcp);
        return Ok(Stream::new(transport, peer, timeouts, stopping));
    };
    let shaken = tokio::time::timeout(timeouts.head, tls.accept(tcp));
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
    match shaken.await.map_err(late).flatten() {
        Ok((stream, certificate)) => {
            peer.secure = true;
            peer.certificate = certificate;
            let transport = Transport::Tls(Box::new(stream));
            Ok(Stream::new(transport, peer, timeouts, stopping))
        }
        Err(error) => {
            tracing::debug!(%error, "a TLS handshake failed");
            Err(DispatchError::Io(error))
        }
    }
}

/// Warns of it, at most once a minute: a proxy may need more.
#[cold]
fn too_many(peer: Option<SocketAddr>) {
    static WARNED: Mutex<Option<Instant>> = Mutex::new(None);
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
        *warned = Some(Instant::now());
        tracing::warn!(
            ?peer,
            "an address has as many connections as it may have; more are closed at once (server.max_connections_per_address)"
        );
    }
}
