//! Messages survive a server that is killed.

use super::{QUIET, message, put_bots, read, sent, status, taken};
use crate::support::TestApp;

#[actix_rt::test]
async fn killed_server_loses_no_message_and_gives_none_again_that_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let settings = [
        QUIET,
        &[
            "messaging.redeliver_after=1s",
            "messaging.max_deliveries=1000",
            "messaging.look_every=100ms",
        ],
    ]
    .concat();
    let mut app = TestApp::start_in(&data_dir, &settings).await;
    put_bots(&app, &["b", "c"]).await;
    let was_read = sent(&app, "b", "read").await;
    let delivered = sent(&app, "b", "delivered").await;
    assert_eq!(taken(&app, &app.admin, "b").await.len(), 2);
    read(&app, &app.admin, &was_read).await.is(200);
    let queued = sent(&app, "c", "queued").await;
    app.kill_9();
    for round in 0..3 {
        app = TestApp::start_in(&data_dir, &settings).await;
        assert_eq!(status(&app, &was_read).await, "read");
        assert_eq!(status(&app, &queued).await, "queued");
        app.until("the unread message is given again", async |app| {
            let given = taken(app, &app.admin, "b").await;
            assert!(given.iter().all(|it| it["id"] != *was_read), "{given:#?}");
            given.iter().any(|it| it["id"] == *delivered)
        })
        .await;
        let retries = message(&app, &delivered).await["retry_count"].clone();
        assert!(retries.as_u64() > Some(round), "{retries}");
        app.kill_9();
    }
    app = TestApp::start_in(&data_dir, &settings).await;
    let given = taken(&app, &app.admin, "c").await;
    assert_eq!(given[0]["id"], *queued);
    read(&app, &app.admin, &queued).await.is(200);
    app.kill_9();
    app = TestApp::start_in(&data_dir, &settings).await;
    assert_eq!(status(&app, &queued).await, "read");
    assert!(taken(&app, &app.admin, "c").await.is_empty());
}
