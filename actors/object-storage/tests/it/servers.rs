//! Servers from the package registries, on this machine only: `moto` for S3, `azurite` for Azure.
//! Shared with the journeys of the whole program.
//!
//! Without a server its test says so and is skipped; with `DEIA_TEST_S3=must` and
//! `DEIA_TEST_AZURE=must` it fails instead.

#![allow(dead_code, reason = "each program of tests uses a part")]

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

/// Time for a server to begin; machines are shared.
const PATIENCE: Duration = Duration::from_secs(120);
/// Name of the bucket that a server begins with.
pub(crate) const BUCKET: &str = "archive";

/// A program that serves objects. Ended when this is dropped.
pub(crate) struct Server {
    child: Child,
    /// Address and port.
    pub(crate) address: String,
}

impl Server {
    /// Starts a program that says where it listens, behind `marker`, on the output that `takes`
    /// returns. Returns `None`, and says so, if there is no such program.
    pub(crate) fn start(mut command: Command, marker: &'static str, must: &str) -> Option<Self> {
        let command = command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let name = command.get_program().to_string_lossy().into_owned();
                let is_a_must = std::env::var_os(must).is_some();
                assert!(!is_a_must, "{name} cannot be run: {error}");
                // Past the test harness, which would keep it to itself.
                let said =
                    format!("\nSKIPPED: {name} is not installed; it was NOT tested against\n");
                std::io::stderr().write_all(said.as_bytes()).unwrap();
                return None;
            }
        };
        let (said, heard) = mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for output in outputs {
            let said = said.clone();
            // To its end: a program whose output nobody reads waits.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Some((_, address)) = line.split_once(marker) {
                        let _ = said.send(address.trim().to_owned());
                    }
                }
            });
        }
        let address = heard.recv_timeout(PATIENCE);
        let address = address.expect("the server does not say where it listens");
        Some(Self { child, address })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that speaks the protocol of S3, with an empty bucket.
pub(crate) struct S3(Server);

impl S3 {
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Refuses all keys, since it knows none.
    pub(crate) fn start_refusing() -> Option<Self> {
        // The bucket is made before.
        Self::start_with(&[("INITIAL_NO_AUTH_ACTION_COUNT", "1")])
    }

    fn start_with(environment: &[(&str, &str)]) -> Option<Self> {
        let mut command = Command::new("moto_server");
        command
            .args(["-H", "127.0.0.1", "-p", "0"])
            .envs(environment.iter().copied());
        let server = Self(Server::start(
            command,
            "Running on http://",
            "DEIA_TEST_S3",
        )?);
        let answer = exchange(server.address(), &format!("PUT /{BUCKET} HTTP/1.1\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// Returns host and port.
    pub(crate) fn address(&self) -> &str {
        &self.0.address
    }
}

/// Returns the environment of a client of S3.
pub(crate) fn s3_environment(endpoint: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIATEST".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "hunter2".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ]
}

/// Sends a request without a body, and returns the answer.
pub(crate) fn exchange(address: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let rest = format!("Host: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream
        .write_all(format!("{head}{rest}").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
