//! Storages in clouds, against servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod azure;
mod proxy;
mod servers;

use std::{
    io::ErrorKind,
    net::TcpListener,
    process::Command,
    sync::{Arc, mpsc},
    time::Duration,
};

use deia_archive::{
    Storage,
    testing::{conforms, long_listings_are_whole},
};
use deia_object_storage::{Needs, open};

use self::{
    proxy::{Fault, Proxy},
    servers::{BUCKET, S3, s3_environment},
};

/// Marks the process of a test that has the environment of a cloud's tool.
const INNER: &str = "DEIA_TEST_INNER";

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
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

fn storage(url: &str) -> Arc<dyn Storage> {
    let needs = Needs {
        request_timeout: Duration::from_secs(60),
        tls,
    };
    open(url, needs).unwrap()
}

/// Runs the tests of a storage below a URL.
fn conforms_at(url: &str) {
    conforms(&|name| storage(&format!("{url}/{name}")));
    long_listings_are_whole(&*storage(&format!("{url}/many")));
}

#[test]
fn s3_conforms() {
    if is_inner() {
        return conforms_at(&format!("s3://{BUCKET}/all"));
    }
    let Some(server) = S3::start() else {
        return;
    };
    again("s3_conforms", s3_environment(&server.url()));
}

#[test]
fn bucket_that_does_not_exist_is_named() {
    if is_inner() {
        let storage = storage("s3://no-such-bucket/x");
        let errors = [
            storage.prepare().unwrap_err(),
            storage.list("").unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains("NoSuchBucket"), "{error}");
        }
        return;
    }
    let Some(server) = S3::start() else {
        return;
    };
    let environment = s3_environment(&server.url());
    again("bucket_that_does_not_exist_is_named", environment);
}

#[test]
fn store_without_conditional_writes_is_refused() {
    if is_inner() {
        let storage = storage(&format!("s3://{BUCKET}/x"));
        let refused = storage.prepare().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(refused.to_string().contains("If-None-Match"), "{refused}");
        // The mark is there, and nothing else gets there.
        for refused in [storage.create("h/a", b"1"), storage.put("h/a", b"1")] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
        }
        assert_eq!(storage.list("").unwrap(), []);
        return;
    }
    let Some(server) = S3::start() else {
        return;
    };
    let proxy = Proxy::start(server.address());
    proxy.set(Fault::Unconditional);
    let environment = s3_environment(&proxy.url);
    again("store_without_conditional_writes_is_refused", environment);
}

#[test]
fn storage_ends_its_calls_when_it_is_interrupted() {
    if is_inner() {
        let storage = storage(&format!("s3://{BUCKET}/x"));
        let waiting = storage.clone();
        let (began, begins) = mpsc::channel();
        let waiting = std::thread::spawn(move || {
            began.send(()).unwrap();
            waiting.get("h/a")
        });
        begins.recv().unwrap();
        storage.interrupt();
        let ended = waiting.join().unwrap().unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::Interrupted);
        let later = storage.put("h/a", b"1").unwrap_err();
        assert_eq!(later.kind(), ErrorKind::Interrupted);
        return;
    }
    // Listens, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let environment = s3_environment(&endpoint);
    again("storage_ends_its_calls_when_it_is_interrupted", environment);
}
