//! The address of the server: its socket, and the words that tell it.

use std::{
    io::{self, IsTerminal, Write},
    net::{SocketAddr, TcpListener},
};

use anyhow::Context;
use deia_hive::config::Config;

use super::handover::Handover;

/// Binds the address once: a restart of the server keeps the socket, and refuses no
/// connection.
pub(super) fn listen(
    address: SocketAddr,
    backlog: u32,
    handover: &Handover,
) -> anyhow::Result<TcpListener> {
    if let Some(listener) = handover.socket_for(address) {
        return Ok(listener);
    }
    let bind = || -> io::Result<TcpListener> {
        let socket = match address {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(backlog)?.into_std()
    };
    bind().with_context(|| unavailable(address))
}

/// Returns the remedy for an address that cannot be bound; the cause follows it.
pub(super) fn unavailable(address: SocketAddr) -> String {
    format!(
        "server.bind: cannot listen on {address}; stop what listens there, or choose another \
         address such as --bind 127.0.0.1:0 (a free port)"
    )
}

/// Prints the URL of the hive, and on a terminal the next steps. Does not wait for the
/// reader of standard output: a stalled or closed one has no other effect.
pub(super) fn announce(address: SocketAddr, config: &Config) {
    let scheme = match config.server.tls.is_on() {
        true => "https",
        false => "http",
    };
    let mut text = format!("listening on {scheme}://{address}\n");
    if io::stdout().is_terminal() {
        let key = config.admin_key_path();
        text += &format!(
            "admin key: {key}\nnext:      DEIA_KEY_FILE={key} {program} --url {scheme}://{address} task submit 'hello' --wait\n",
            key = key.display(),
            program = program(std::env::args_os().next()),
        );
    }
    let telling = move || {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    };
    let thread = std::thread::Builder::new().name("deia-announce".into());
    if let Err(error) = thread.spawn(telling) {
        tracing::warn!(%error, "the address was not printed to standard output: no thread");
    }
}

/// Returns the name by which this program was called: under `cargo run` there is no
/// `deia` on the `PATH`.
fn program(called: Option<std::ffi::OsString>) -> String {
    let called = called.and_then(|name| name.into_string().ok());
    called.unwrap_or_else(|| "deia".to_owned())
}
