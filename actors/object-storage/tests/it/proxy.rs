//! A proxy in front of a server, which fails as told. Shared with the journeys of the whole
//! program.

#![allow(dead_code, reason = "each program of tests uses a part")]

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
};

/// A way in which the server behind the proxy seems to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It works.
    None,
    /// Connections are closed.
    Down,
    /// Each request is answered with 500.
    Broken,
    /// Requests are taken and not answered.
    Silent,
    /// It works, without the conditions of requests.
    Unconditional,
}

#[derive(Clone)]
struct Mode(Arc<(Mutex<Fault>, Condvar)>);

impl Mode {
    fn get(&self) -> Fault {
        *self.0.0.lock().unwrap()
    }

    /// Waits for the server to speak again, and returns the fault by then.
    fn after_silence(&self) -> Fault {
        let (fault, changed) = &*self.0;
        let fault = fault.lock().unwrap();
        *changed
            .wait_while(fault, |it| *it == Fault::Silent)
            .unwrap()
    }
}

pub(crate) struct Proxy {
    pub(crate) url: String,
    mode: Mode,
}

impl Proxy {
    /// Starts a proxy in front of an address.
    pub(crate) fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mode = Mode(Arc::new((Mutex::new(Fault::None), Condvar::new())));
        let (server, seen) = (server.to_owned(), mode.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (server, mode) = (server.clone(), seen.clone());
                std::thread::spawn(move || drop(carry(stream, &server, &mode)));
            }
        });
        Self { url, mode }
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.mode.0.0.lock().unwrap() = fault;
        self.mode.0.1.notify_all();
    }
}

/// Carries one connection, until it ends or has to fail.
fn carry(mut near: TcpStream, server: &str, mode: &Mode) -> std::io::Result<()> {
    if mode.get() == Fault::Down {
        return near.shutdown(Shutdown::Both);
    }
    let mut far = TcpStream::connect(server)?;
    let (mut answers, mut back) = (far.try_clone()?, near.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut bytes = vec![0; 64 << 10];
    loop {
        let count = near.read(&mut bytes)?;
        if count == 0 {
            return far.shutdown(Shutdown::Both);
        }
        let fault = match mode.get() {
            Fault::Silent => mode.after_silence(),
            fault => fault,
        };
        match fault {
            Fault::Broken => {
                near.write_all(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
                near.shutdown(Shutdown::Write)?;
                // The rest of the request is read: a reset would overtake the answer.
                std::io::copy(&mut near, &mut std::io::sink())?;
                return far.shutdown(Shutdown::Both);
            }
            Fault::Down => {
                far.shutdown(Shutdown::Both)?;
                return near.shutdown(Shutdown::Both);
            }
            Fault::Unconditional => far.write_all(&without_condition(&bytes[..count]))?,
            Fault::None | Fault::Silent => far.write_all(&bytes[..count])?,
        }
    }
}

/// Returns bytes of a request whose condition has another name, which no server knows.
fn without_condition(bytes: &[u8]) -> Vec<u8> {
    let name = b"if-none-match";
    let mut bytes = bytes.to_vec();
    let is_it = |part: &[u8]| part.eq_ignore_ascii_case(name);
    if let Some(at) = bytes.windows(name.len()).position(is_it) {
        bytes[at] = b'x';
    }
    bytes
}
