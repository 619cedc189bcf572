//! Azure, against azurite.

use std::{process::Command, time::SystemTime};

use data_encoding::BASE64;
use ring::hmac;

use crate::{
    again, conforms_at, is_inner,
    servers::{BUCKET, Server, exchange},
};

/// The account of every azurite, and its key. Fact: both are public.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Makes the container. Fact: the protocol signs a request with a key of the account.
fn make_container(address: &str) {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let version = "2021-12-02";
    let signed = format!(
        "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(KEY.as_bytes()).unwrap());
    let signature = BASE64.encode(hmac::sign(&key, signed.as_bytes()).as_ref());
    let head = format!(
        "PUT /{ACCOUNT}/{BUCKET}?restype=container HTTP/1.1\r\nx-ms-date: {date}\r\nx-ms-version: {version}\r\nAuthorization: SharedKey {ACCOUNT}:{signature}\r\n"
    );
    let answer = exchange(address, &head);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[test]
fn azure_conforms() {
    if is_inner() {
        return conforms_at(&format!("az://{BUCKET}/all"));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("azurite-blob");
    command
        .args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--silent"])
        .args([
            "--inMemoryPersistence",
            "--skipApiVersionCheck",
            "--disableTelemetry",
        ])
        .current_dir(dir.path());
    let marker = "successfully listens on http://";
    let Some(server) = Server::start(command, marker, "DEIA_TEST_AZURE") else {
        return;
    };
    make_container(&server.address);
    let endpoint = format!("http://{}/{ACCOUNT}", server.address);
    let environment = vec![
        ("AZURE_STORAGE_ENDPOINT", endpoint),
        ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
        ("AZURE_STORAGE_ACCOUNT_KEY", KEY.to_owned()),
    ];
    again("azure::azure_conforms", environment);
}
