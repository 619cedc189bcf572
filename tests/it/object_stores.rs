//! Storages in clouds, against servers from the package registries: `moto` for S3, `azurite` for
//! Azure. Both run on this machine only.
//!
//! Where a server is not installed the test says so and is skipped; with `DEIA_TEST_S3=must` and
//! `DEIA_TEST_AZURE=must` it fails instead.

mod azure;
mod proxy;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use deia_archive::{
    Storage,
    testing::{conforms, long_listings_are_whole},
};
use deia_object_storage::{Needs, open};

pub(crate) use self::proxy::{Fault, Proxy};
use crate::support::{PATIENCE, client};

/// Name of the bucket that a server begins with.
pub(crate) const BUCKET: &str = "archive";
/// Marks the process of a test that has the environment of a cloud's tool.
const INNER: &str = "DEIA_TEST_INNER";

/// A program that serves objects. Ended when this is dropped.
struct Server {
    child: Child,
    /// Address and port.
    address: String,
}

impl Server {
    /// Starts a program that says where it listens, behind `marker`, on the output that `takes`
    /// returns. Returns `None`, and says so, if there is no such program.
    fn start(mut command: Command, marker: &'static str, must: &str) -> Option<Self> {
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
        let outputs: [Box<dyn std::io::Read + Send>; 2] = [
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
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// Refuses all keys, since it knows none.
    pub(crate) async fn start_refusing() -> Option<Self> {
        // The bucket is made before.
        Self::start_with(&[("INITIAL_NO_AUTH_ACTION_COUNT", "1")]).await
    }

    async fn start_with(environment: &[(&str, &str)]) -> Option<Self> {
        let mut command = Command::new("moto_server");
        command
            .args(["-H", "127.0.0.1", "-p", "0"])
            .envs(environment.iter().copied());
        let server = Self(Server::start(
            command,
            "Running on http://",
            "DEIA_TEST_S3",
        )?);
        let bucket = format!("{}/{BUCKET}", server.url());
        let made = client().build().unwrap().put(bucket).send().await.unwrap();
        assert!(made.status().is_success(), "{made:?}");
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

/// Runs one test of this program again, with an environment that only it has.
fn again(test: &str, environment: Vec<(&'static str, String)>) {
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INNER, "1")
        .envs(environment)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let why = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{said}\n{why}");
    assert!(said.contains("1 passed"), "{said}\n{why}");
}

fn is_inner() -> bool {
    std::env::var_os(INNER).is_some()
}

fn tls() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

fn storage(url: &str) -> std::sync::Arc<dyn Storage> {
    let needs = Needs {
        request_timeout: PATIENCE,
        tls,
    };
    open(url, needs).unwrap()
}

/// Runs the tests of a storage below a URL.
fn conforms_at(url: &str) {
    conforms(&|name| storage(&format!("{url}/{name}")));
    long_listings_are_whole(&*storage(&format!("{url}/many")));
}

#[tokio::test]
async fn s3_conforms() {
    if is_inner() {
        let testing = || conforms_at(&format!("s3://{BUCKET}/all"));
        return tokio::task::spawn_blocking(testing).await.unwrap();
    }
    let Some(server) = S3::start().await else {
        return;
    };
    again("object_stores::s3_conforms", s3_environment(&server.url()));
}

#[tokio::test]
async fn bucket_that_does_not_exist_is_named() {
    if is_inner() {
        let testing = || {
            let storage = storage("s3://no-such-bucket/x");
            let errors = [
                storage.prepare().unwrap_err(),
                storage.list("").unwrap_err(),
            ];
            for error in errors {
                assert!(error.to_string().contains("NoSuchBucket"), "{error}");
            }
        };
        return tokio::task::spawn_blocking(testing).await.unwrap();
    }
    let Some(server) = S3::start().await else {
        return;
    };
    let environment = s3_environment(&server.url());
    again(
        "object_stores::bucket_that_does_not_exist_is_named",
        environment,
    );
}

#[tokio::test]
async fn store_without_conditional_writes_is_refused() {
    if is_inner() {
        let testing = || {
            let storage = storage(&format!("s3://{BUCKET}/x"));
            let refused = storage.prepare().unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
            assert!(refused.to_string().contains("If-None-Match"), "{refused}");
            // The mark is there, and nothing else gets there.
            for refused in [storage.create("h/a", b"1"), storage.put("h/a", b"1")] {
                assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::Unsupported);
            }
            assert_eq!(storage.list("").unwrap(), []);
        };
        return tokio::task::spawn_blocking(testing).await.unwrap();
    }
    let Some(server) = S3::start().await else {
        return;
    };
    let proxy = Proxy::start(server.address());
    proxy.set(Fault::Unconditional);
    let environment = s3_environment(&proxy.url);
    again(
        "object_stores::store_without_conditional_writes_is_refused",
        environment,
    );
}

#[tokio::test]
async fn storage_ends_its_calls_when_it_is_interrupted() {
    if is_inner() {
        let testing = || {
            let storage = storage(&format!("s3://{BUCKET}/x"));
            let waiting = storage.clone();
            let (began, begins) = mpsc::channel();
            let waiting = std::thread::spawn(move || {
                began.send(()).unwrap();
                waiting.get("h/a")
            });
            begins.recv_timeout(PATIENCE).unwrap();
            storage.interrupt();
            let ended = waiting.join().unwrap().unwrap_err();
            assert_eq!(ended.kind(), std::io::ErrorKind::Interrupted);
            let later = storage.put("h/a", b"1").unwrap_err();
            assert_eq!(later.kind(), std::io::ErrorKind::Interrupted);
        };
        return tokio::task::spawn_blocking(testing).await.unwrap();
    }
    // Listens, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let environment = s3_environment(&endpoint);
    again(
        "object_stores::storage_ends_its_calls_when_it_is_interrupted",
        environment,
    );
}
