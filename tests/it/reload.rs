//! Settings that are read again while the server runs.

use nix::sys::signal::{Signal, kill};
use reqwest::Method;
use serde_json::json;

use crate::support::{TestApp, command};

struct Site {
    app: TestApp,
    file: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Site {
    async fn start(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (file, data_dir) = (dir.path().join("deia.yaml"), dir.path().join("data"));
        std::fs::write(&file, settings).unwrap();
        let mut command = command(&data_dir, &["bots.seed=[]", "settings.watch=false"]);
        command.arg("--config").arg(&file);
        let app = TestApp::try_start(command, &data_dir).await.unwrap();
        Self {
            app,
            file,
            _dir: dir,
        }
    }

    async fn reload(&self, settings: &str, told: &str) {
        std::fs::write(&self.file, settings).unwrap();
        kill(self.app.pid(), Signal::SIGHUP).unwrap();
        self.app.until_logged(told).await;
    }

    async fn put_secret(&self, name: &str) -> u16 {
        let path = format!("/api/v1/secrets/{name}");
        let put = self.app.request_as(&self.app.admin, Method::PUT, &path);
        let sent = self.app.send(put.json(&json!({"value": "x"}))).await;
        sent.status
    }
}

#[actix_rt::test]
async fn live_keys_take_effect_at_sighup_and_others_hold_it_back() {
    let mut site = Site::start("secrets: {max: 1}\n").await;
    assert_eq!(site.put_secret("a").await, 204);
    assert_eq!(site.put_secret("b").await, 409);
    let more = "secrets: {max: 2}\nserver: {keep_alive: 7s}\n";
    site.reload(more, "server.keep_alive takes effect at the next start")
        .await;
    assert_eq!(site.put_secret("b").await, 409);
    site.reload("secrets: {max: 2}\n", "1 keys changed at once")
        .await;
    assert_eq!(site.put_secret("b").await, 204);
    let events = site
        .app
        .get("/api/v1/events?action=config")
        .await
        .is(200)
        .body;
    let [event] = &events["items"].as_array().unwrap()[..] else {
        panic!("{events:#}");
    };
    assert_eq!(
        (&event["action"], &event["actor"]),
        (&json!("config.changed"), &json!("deia"))
    );
    let details = json!({"version": 2, "origin": "signal", "keys": ["secrets.max"], "changed": 1});
    assert_eq!(event["details"], details);
    assert!(site.app.stop().success());
}

#[actix_rt::test]
async fn settings_with_a_mistake_change_nothing() {
    let site = Site::start("secrets: {max: 1}\n").await;
    assert_eq!(site.put_secret("a").await, 204);
    for (settings, told) in [
        ("secrets: {max: 2, most: 3}\n", "secrets.most"),
        (
            "secrets: {max: 2}\ntasks: {max_batch: 0}\n",
            "tasks.max_batch: 0",
        ),
        (
            "secrets: {max: 2}\n  x: :\n",
            "the settings stay as they are",
        ),
    ] {
        site.reload(settings, told).await;
        assert_eq!(site.put_secret("b").await, 409, "{settings}");
    }
}

#[actix_rt::test]
async fn recording_of_requests_begins_and_ends_at_sighup() {
    let site = Site::start("audit: {api_calls: off}\n").await;
    let ask = async |id: &str| {
        let request = site
            .app
            .request_as(&site.app.admin, Method::GET, "/api/v1/auth/whoami");
        site.app
            .send(request.header("x-request-id", id))
            .await
            .is(200);
    };
    let recorded = async || {
        let path = "/api/v1/events?limit=1000&action=api.call&target=/api/v1/auth/whoami";
        let page = site.app.get(path).await.is(200).body;
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|event| event["details"]["request_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    ask("off").await;
    site.reload("audit: {api_calls: full}\n", "1 keys changed at once")
        .await;
    ask("full").await;
    let none = "audit: {api_calls: sampled, api_sample: 0}\n";
    site.reload(none, "2 keys changed at once").await;
    ask("none").await;
    let all = "audit: {api_calls: sampled, api_sample: 1}\n";
    std::fs::write(&site.file, all).unwrap();
    kill(site.app.pid(), Signal::SIGHUP).unwrap();
    site.app
        .until("the sample has all requests", async |_| {
            ask("all").await;
            recorded().await.contains(&"all".to_owned())
        })
        .await;
    // They are recorded in the order of their answers.
    let mut ids = recorded().await;
    ids.reverse();
    ids.dedup();
    assert_eq!(ids, ["full", "all"]);
}
