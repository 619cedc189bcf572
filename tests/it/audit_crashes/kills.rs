//! `kill -9` under load, at random moments and at each point of a seal.

use std::{os::unix::process::ExitStatusExt as _, path::Path, time::Duration};

use futures_util::future::join;
use nix::sys::signal::{Signal, kill};

use super::load::{Load, put_bot, server};
use crate::{
    audit_trail::{Watch, is_sound_and_complete, trail_in, were_kept},
    support::{PATIENCE, TestApp},
};

/// Points of a seal, in its order.
const POINTS: [&str; 5] = [
    "audit_before_sync",
    "audit_before_sign",
    "audit_before_publish",
    "audit_after_publish",
    "audit_before_advance",
];

/// Passes on which the server ends. A start seals too: the first ones may be its own.
const PASSES: [u32; 2] = [3, 7];

/// Times that a point is armed for a later pass, when a start has passed it.
const LATER: u32 = 4;

/// Rounds that end at a random moment.
const RANDOM_ROUNDS: u32 = 5;

/// End of a server.
#[derive(Debug, PartialEq)]
enum End {
    /// Before it was ready.
    AtStart,
    /// Under load.
    UnderLoad,
}

/// Runs a server that is to end at that point until it does.
async fn until_point(data_dir: &Path, point: &str, load: &Load) -> End {
    let mut server = server(data_dir);
    server.env("DEIA_FAILPOINT", point);
    let Ok(mut app) = TestApp::try_start(server, data_dir).await else {
        return End::AtStart;
    };
    load.begin();
    let ended = tokio::time::timeout(PATIENCE, load.on(&app)).await;
    assert!(ended.is_ok(), "{point} was never passed");
    let status = app.wait();
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{point}");
    End::UnderLoad
}

/// Runs a server under load, and kills it after that time.
async fn until_killed(data_dir: &Path, time: Duration, load: &Load) {
    let server = server(data_dir);
    let mut app = TestApp::try_start(server, data_dir).await.unwrap();
    load.begin();
    let killing = async {
        // Sleeps: a random moment, whatever the server does then.
        tokio::time::sleep(time).await;
        kill(app.pid(), Signal::SIGKILL).unwrap();
        load.end();
    };
    join(load.on(&app), killing).await;
    app.kill_9();
}

#[actix_rt::test]
async fn every_event_is_entered_once_whenever_the_server_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let load = Load::default();
    let watch = Watch::start(&data_dir);
    let mut draw = u64::from(std::process::id());
    eprintln!("seed {draw}");
    let first = server(&data_dir);
    let mut first = TestApp::try_start(first, &data_dir).await.unwrap();
    put_bot(&first).await;
    first.kill_9();

    for point in POINTS {
        for pass in PASSES {
            let mut later = (0..LATER).map(|n| format!("{point}:{}", pass << n));
            let mut ended = End::AtStart;
            while ended == End::AtStart {
                let armed = later.next();
                let armed = armed.unwrap_or_else(|| panic!("{point} is not passed under load"));
                ended = until_point(&data_dir, &armed, &load).await;
            }
        }
    }
    for _ in 0..RANDOM_ROUNDS {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let time = Duration::from_millis(20 + (draw >> 33) % 500);
        until_killed(&data_dir, time, &load).await;
    }

    let last = server(&data_dir);
    let mut last = TestApp::try_start(last, &data_dir).await.unwrap();
    assert!(last.stop().success(), "{}", last.log());
    let seen = watch.end();
    let entries = is_sound_and_complete(&data_dir).await;
    load.is_entered(&entries);
    let seen = were_kept(&data_dir, &seen);
    assert!(seen > 10, "{seen} checkpoints were seen");
}

/// A first start has no checkpoint yet that it could go on from.
#[actix_rt::test]
async fn first_start_that_is_killed_is_followed_by_a_sound_trail() {
    for point in POINTS {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let watch = Watch::start(&data_dir);
        let mut first = server(&data_dir);
        first.env("DEIA_FAILPOINT", point);
        if let Ok(mut app) = TestApp::try_start(first, &data_dir).await {
            // The point may be passed just after the server is ready.
            let status = app.wait();
            assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{point}");
        }
        let second = server(&data_dir);
        let mut second = TestApp::try_start(second, &data_dir).await.unwrap();
        put_bot(&second).await;
        assert!(second.stop().success(), "{}", second.log());
        let seen = watch.end();
        let entries = is_sound_and_complete(&data_dir).await;
        assert!(entries.len() > 3, "{entries:#?}");
        were_kept(&data_dir, &seen);
        let keys = trail_in(&data_dir).keys().unwrap();
        assert_eq!(keys.len(), 1, "{point}: the key was made anew");
    }
}
