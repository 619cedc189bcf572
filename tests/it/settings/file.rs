//! A settings file that is watched.

use serde_json::json;

use super::{Site, limit};

#[actix_rt::test]
async fn changed_file_is_applied_however_it_is_written() {
    let site = Site::start(&limit(5)).await;
    site.app
        .until("the file is watched", async |_| {
            site.status().await["file"]["watched"] == "events"
        })
        .await;
    site.write(&limit(6));
    site.until_value("secrets.max", json!(6)).await;
    // As editors do: a new file takes the place of the old one.
    let new = site.file.with_extension("new");
    std::fs::write(&new, limit(7)).unwrap();
    std::fs::rename(&new, &site.file).unwrap();
    site.until_value("secrets.max", json!(7)).await;
    // As mounts of configuration do: a link to a directory is replaced.
    let base = site.dir.path();
    for (name, max) in [("one", 8), ("two", 9)] {
        std::fs::create_dir(base.join(name)).unwrap();
        std::fs::write(base.join(name).join("deia.yaml"), limit(max)).unwrap();
    }
    let link = |target: &str, name: &str| {
        let new = base.join("link.new");
        std::os::unix::fs::symlink(target, &new).unwrap();
        std::fs::rename(&new, base.join(name)).unwrap();
    };
    link("one", "current");
    link("current/deia.yaml", "deia.yaml");
    site.until_value("secrets.max", json!(8)).await;
    link("two", "current");
    site.until_value("secrets.max", json!(9)).await;
    let status = site.status().await;
    assert_eq!(status["in_force"]["origin"], "file");
    assert_eq!(status["file"]["in_force"], true);
}

#[actix_rt::test]
async fn file_with_mistakes_is_not_applied_and_the_status_says_why() {
    let site = Site::start(&limit(5)).await;
    for (text, told) in [
        ("secrets: {max: 0}\n", "secrets.max: 0 is not allowed"),
        (
            "secrets: {max: 6}\nserver: {workers: 3}\n",
            "server.workers takes effect",
        ),
        ("secrets: {max\n", "deia.yaml"),
    ] {
        site.write(text);
        site.app
            .until("the problem is told", async |_| {
                let problem = site.status().await["file"]["problem"].clone();
                problem.as_str().is_some_and(|it| it.contains(told))
            })
            .await;
        assert_eq!(site.value("secrets.max").await["value"], 5, "{text}");
    }
    std::fs::remove_file(&site.file).unwrap();
    site.app
        .until("the file is missed", async |_| {
            site.status().await["file"]["problem"].is_string()
        })
        .await;
    assert_eq!(site.value("secrets.max").await["value"], 5);
    site.write(&limit(6));
    site.until_value("secrets.max", json!(6)).await;
}

#[actix_rt::test]
async fn content_that_was_taken_back_is_not_applied_until_it_changes() {
    let site = Site::start(&limit(5)).await;
    site.write(&limit(6));
    site.until_value("secrets.max", json!(6)).await;
    site.app.post("/api/config/undo", &json!({})).await.is(200);
    assert_eq!(site.value("secrets.max").await["value"], 5);
    // The same content, written again, changes nothing; another one is noticed after it.
    site.write(&limit(6));
    site.app
        .until("it is known as rejected", async |_| {
            site.status().await["file"]["rejected"] == true
        })
        .await;
    assert_eq!(site.value("secrets.max").await["value"], 5);
    // A change over the API does not read the file.
    let body = json!({"value": 7});
    site.patch("tasks.max_batch", body, None).await.is(200);
    assert_eq!(site.status().await["file"]["rejected"], true);
    site.write(&limit(7));
    site.until_value("secrets.max", json!(7)).await;
    let seen = site.app.get("/api/config/history").await.is(200).body;
    let seen = seen["items"].as_array().unwrap().len();
    assert_eq!(seen, 5, "start, file, undo, change, file");
    assert_eq!(site.status().await["file"]["rejected"], false);
}
