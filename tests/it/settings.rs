//! Settings over HTTP and the command line: changes that survive crashes, a file that is watched,
//! confirmations that do not come.

mod file;
mod live;
mod sick;

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Answer, TestApp, command};

/// A server with a settings file.
struct Site {
    app: TestApp,
    file: PathBuf,
    dir: TempDir,
}

impl Site {
    async fn start(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deia.yaml");
        std::fs::write(&file, text).unwrap();
        let app = Self::app(dir.path(), &file).await;
        Self { app, file, dir }
    }

    async fn app(dir: &Path, file: &Path) -> TestApp {
        let data_dir = dir.join("data");
        let settings = [
            "bots.seed=[]",
            "settings.watch_debounce=50ms",
            "settings.poll_every=1s",
            "server.drain_timeout=0s",
        ];
        let mut command = command(&data_dir, &settings);
        command.arg("--config").arg(file);
        TestApp::try_start(command, &data_dir).await.unwrap()
    }

    /// Kills the server, and starts it again.
    async fn crash(&mut self) {
        self.app.kill_9();
        self.app = Self::app(self.dir.path(), &self.file).await;
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    async fn patch(&self, key: &str, body: Value, if_match: Option<&str>) -> Answer {
        let path = format!("/api/config/value/{key}");
        let request = self.app.request_as(&self.app.admin, Method::PATCH, &path);
        let request = match if_match {
            Some(tag) => request.header("if-match", tag),
            None => request,
        };
        self.app.send(request.json(&body)).await
    }

    async fn value(&self, key: &str) -> Value {
        let path = format!("/api/config/value/{key}");
        self.app.get(&path).await.is(200).body
    }

    async fn status(&self) -> Value {
        self.app.get("/api/config/status").await.is(200).body
    }

    async fn until_value(&self, key: &str, value: Value) {
        let what = format!("{key} is {value}");
        self.app
            .until(&what, async |_| self.value(key).await["value"] == value)
            .await;
    }
}

fn limit(max: u32) -> String {
    format!("secrets:\n  max: {max}\n")
}

#[actix_rt::test]
async fn change_over_http_survives_a_crash_and_is_undone() {
    let mut site = Site::start(&limit(5)).await;
    let value = site.value("secrets.max").await;
    let place = format!("{}:2", site.file.display());
    assert_eq!(value["source"], json!({"layer": "file", "place": place}));
    assert_eq!(
        (&value["value"], &value["takes_effect"]),
        (&json!(5), &json!("live"))
    );
    let first = site.app.get("/api/config/current").await.is(200);
    let tag = first.header("etag").to_owned();
    let changed = site
        .patch("secrets.max", json!({"value": 7}), Some(&tag))
        .await
        .is(200);
    assert_ne!(changed.header("etag"), tag);
    let stale = site
        .patch("secrets.max", json!({"value": 8}), Some(&tag))
        .await;
    stale.refuses(412, "version_mismatch");
    site.crash().await;
    let value = site.value("secrets.max").await;
    assert_eq!(
        (&value["value"], &value["without_api"]),
        (&json!(7), &json!(5))
    );
    assert_eq!(value["source"]["by"], "admin");
    let history = site.app.get("/api/config/history").await.is(200).body;
    assert_eq!(history["items"][0]["changes"][0]["key"], "secrets.max");
    site.app.post("/api/config/undo", &json!({})).await.is(200);
    assert_eq!(site.value("secrets.max").await["value"], 5);
    let events = site
        .app
        .get("/api/v1/events?action=config")
        .await
        .is(200)
        .body;
    let actions: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["action"])
        .collect();
    assert_eq!(actions, ["config.reverted", "config.changed"]);
}

#[actix_rt::test]
async fn change_that_is_not_allowed_is_explained_and_changes_nothing() {
    let site = Site::start("").await;
    let before = site.status().await["in_force"]["version"].clone();
    let many = site.patch("secrets.max", json!({"value": 0}), None).await;
    let many = many.refuses(422, "invalid_input");
    assert_eq!(many.body["errors"][0]["pointer"], "/value");
    assert!(
        many.body["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("1 to 1000000")
    );
    for (key, body, status, code) in [
        (
            "server.workers",
            json!({"value": 3}),
            409,
            "restart_required",
        ),
        ("no.such", json!({"value": 3}), 404, "not_found"),
        ("secrets.max", json!({}), 422, "invalid_input"),
        (
            "secrets.max",
            json!({"value": 3, "more": 1}),
            422,
            "invalid_input",
        ),
        (
            "bots.first_port",
            json!({"value": 9500}),
            422,
            "invalid_input",
        ),
        (
            "secrets.max",
            json!({"value": 3, "confirm_within_seconds": 2_000_000}),
            422,
            "invalid_input",
        ),
    ] {
        site.patch(key, body, None).await.refuses(status, code);
    }
    site.app
        .post("/api/config/confirm", &json!({}))
        .await
        .refuses(409, "nothing_to_confirm");
    site.app
        .post("/api/config/undo", &json!({}))
        .await
        .refuses(409, "nothing_to_undo");
    for version in [7, u64::MAX] {
        let body = json!({"version": version});
        let answer = site.app.post("/api/config/undo", &body).await;
        answer.refuses(409, "nothing_to_undo");
        let answer = site.app.post("/api/config/confirm", &body).await;
        answer.refuses(412, "version_mismatch");
    }
    let viewer = site.app.key("eve", "viewer").await;
    let seen = site
        .app
        .get_as(&viewer, "/api/config/current")
        .await
        .is(200);
    assert!(seen.body["items"].as_array().unwrap().len() > 100);
    site.app
        .post_as(&viewer, "/api/config/reload", &json!({}))
        .await
        .refuses(403, "permission_denied");
    assert_eq!(site.status().await["in_force"]["version"], before);
}

#[actix_rt::test]
async fn reload_that_nobody_confirms_is_taken_back_even_across_a_crash() {
    let mut site = Site::start("settings: {watch: false}\n").await;
    let file = "settings: {watch: false}\nsecrets: {max: 9}\n";
    site.write(file);
    let dry = site
        .app
        .post("/api/config/reload", &json!({"dry_run": true}))
        .await
        .is(200)
        .body;
    assert_eq!(
        (&dry["applied"], &dry["changes"][0]["to"]),
        (&json!(false), &json!(9))
    );
    let reload = json!({"confirm_within_seconds": 1});
    site.app.post("/api/config/reload", &reload).await.is(200);
    assert_eq!(site.value("secrets.max").await["value"], 9);
    site.crash().await;
    site.until_value("secrets.max", json!(1000)).await;
    let status = site.status().await;
    assert_eq!(status["in_force"]["origin"], "taken_back");
    assert_eq!(status["file"]["rejected"], true);
    site.crash().await;
    assert_eq!(site.value("secrets.max").await["value"], 1000);
    let alert = "settings_taken_back";
    site.app
        .until("there is an alert", async |app| {
            let open = app.get("/api/v1/alerts?open=true").await.is(200).body;
            let open = open["items"].as_array().unwrap();
            open.iter().any(|it| it["name"] == alert)
        })
        .await;
    // Somebody asks for it once more, and confirms it.
    let reload = json!({"confirm_within_seconds": 600});
    site.app.post("/api/config/reload", &reload).await.is(200);
    site.app
        .post("/api/config/confirm", &json!({}))
        .await
        .is(200);
    assert_eq!(site.value("secrets.max").await["value"], 9);
}

#[actix_rt::test]
async fn change_within_whose_probation_the_process_is_killed_twice_is_taken_back() {
    let mut site = Site::start("settings: {probation: 10m}\n").await;
    let body = json!({"value": 7});
    site.patch("secrets.max", body, None).await.is(200);
    site.crash().await;
    assert_eq!(site.value("secrets.max").await["value"], 7);
    site.crash().await;
    assert_eq!(site.value("secrets.max").await["value"], 1000);
    let status = site.status().await;
    let reason = status["taken_back"].as_str().unwrap();
    assert!(reason.contains("ended twice"), "{status}");
    site.crash().await;
    assert_eq!(site.status().await["in_force"]["origin"], "taken_back");
}

#[actix_rt::test]
async fn report_of_a_hive_that_gave_up_is_kept_until_a_start_has_acted_on_it() {
    let mut site = Site::start("settings: {probation: 10m}\n").await;
    let body = json!({"value": 7});
    site.patch("secrets.max", body, None).await.is(200);
    site.app.kill_9();
    let data_dir = site.dir.path().join("data");
    let report = data_dir.join("crash-report.txt");
    std::fs::write(&report, "deia gave up\n").unwrap();
    // A start that fails has not acted on it.
    let none = [
        "bots.seed=[]",
        "server.tls.cert_file=/none",
        "server.tls.key_file=/none",
    ];
    let mut failing = command(&data_dir, &none);
    failing.arg("--config").arg(&site.file);
    let failed = TestApp::try_start(failing, &data_dir).await;
    let failed = failed.err().unwrap();
    assert!(failed.contains("/none"), "{failed}");
    assert!(report.exists());
    site.app = Site::app(site.dir.path(), &site.file).await;
    assert_eq!(site.value("secrets.max").await["value"], 1000);
    assert!(!report.exists());
}

#[actix_rt::test]
async fn settings_are_operated_from_the_command_line() {
    let site = Site::start(&limit(5)).await;
    let (url, data_dir) = (site.app.url.clone(), site.app.data_dir().to_owned());
    let dir = site.dir.path().to_owned();
    let admin = move |args: &[&str]| {
        let mut command = crate::cli_support::admin_command(args);
        command
            .env("DEIA_URL", &url)
            .env("DEIA_DATA_DIR", &data_dir)
            .current_dir(&dir);
        crate::cli_support::run(command, "")
    };
    let said = tokio::task::spawn_blocking(move || {
        let shown = admin(&["config", "show", "--changed"]).ok();
        assert!(shown.out.contains("deia.yaml:2"), "{shown:?}");
        let set = admin(&["config", "set", "secrets.max", "7"]).ok();
        assert!(set.out.contains("is in force"), "{set:?}");
        let got = admin(&["config", "get", "secrets.max", "--output", "json"]).ok();
        assert_eq!(got.parsed()["value"], 7);
        admin(&["system", "config", "set", "secrets.max", "8"]).ok();
        let all = admin(&["system", "config"]).ok();
        assert!(all.out.contains("api: admin"), "{all:?}");
        admin(&["config", "set", "secrets.max", "many"]).exits(2);
        admin(&["config", "set", "server.workers", "3"]).exits(6);
        admin(&["config", "get", "no.such"]).exits(4);
        admin(&["config", "undo", "--yes"]).ok();
        let history = admin(&["config", "history"]).ok();
        assert!(history.out.contains("secrets.max 5 -> 7"), "{history:?}");
        admin(&["config", "status"]).ok();
        admin(&["config", "diff"]).ok();
        admin(&["config", "check"]).ok();
        admin(&["config", "reload", "--dry-run"]).ok();
        admin(&["config", "reload"]).ok();
        admin(&["config", "confirm"]).exits(6);
        admin(&["config", "set", "secrets.max", "--reset"]).ok();
        admin(&["config", "get", "secrets.max", "--output", "json"])
    });
    assert_eq!(said.await.unwrap().ok().parsed()["value"], 5);
}
