//! An archive whose disk is not mounted.

use std::fs;

use super::Archived;

#[tokio::test]
async fn archive_that_is_not_mounted_at_a_start_is_not_begun_anew() {
    let mut archived = Archived::start(&[]).await;
    let generation = archived.status().await["generation"].clone();
    archived.app.stop();
    let aside = archived.dir.path().join("aside");
    fs::rename(archived.archive(), &aside).unwrap();
    fs::create_dir(archived.archive()).unwrap();
    archived.app = Archived::start_in(archived.dir.path(), &[]).await;
    archived
        .app
        .until("the failure is shown", async |_| {
            archived.status().await["state"] == "failing"
        })
        .await;
    let status = archived.status().await;
    let reason = status["failing"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("not mounted") && reason.contains("archive.json"),
        "{reason}"
    );
    assert_eq!(fs::read_dir(archived.archive()).unwrap().count(), 0);
    fs::remove_dir(archived.archive()).unwrap();
    fs::rename(&aside, archived.archive()).unwrap();
    archived.until_shipping().await;
    assert_eq!(archived.status().await["generation"], generation);
}
