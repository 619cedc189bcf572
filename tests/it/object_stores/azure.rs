//! Azure, against azurite.

use std::process::Command;

use data_encoding::BASE64;
use ring::hmac;

use super::{BUCKET, Server, again, conforms_at, is_inner};
use crate::support::client;

/// The account of every azurite, and its key. Fact: both are public.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Makes the container. Fact: the protocol signs a request with a key of the account.
async fn make_container(address: &str) {
    let date = httpdate_now();
    let version = "2021-12-02";
    let signed = format!(
        "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(KEY.as_bytes()).unwrap());
    let signature = BASE64.encode(hmac::sign(&key, signed.as_bytes()).as_ref());
    let made = client()
        .build()
        .unwrap()
        .put(format!(
            "http://{address}/{ACCOUNT}/{BUCKET}?restype=container"
        ))
        .header("x-ms-date", date)
        .header("x-ms-version", version)
        .header("content-length", "0")
        .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
        .send()
        .await
        .unwrap();
    let status = made.status();
    assert!(
        status.is_success(),
        "{status}: {}",
        made.text().await.unwrap()
    );
}

fn httpdate_now() -> String {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test]
async fn azure_conforms() {
    if is_inner() {
        let testing = || conforms_at(&format!("az://{BUCKET}/all"));
        return tokio::task::spawn_blocking(testing).await.unwrap();
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
    make_container(&server.address).await;
    let endpoint = format!("http://{}/{ACCOUNT}", server.address);
    let environment = vec![
        ("AZURE_STORAGE_ENDPOINT", endpoint),
        ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
        ("AZURE_STORAGE_ACCOUNT_KEY", KEY.to_owned()),
    ];
    again("object_stores::azure::azure_conforms", environment);
}
