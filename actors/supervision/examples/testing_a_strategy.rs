//! A test of the behaviour of a tree when something fails: on a paused clock, with actors that
//! crash on demand, without a single real pause.
//!
//! ```text
//! cargo run --example testing_a_strategy --features testing
//! ```
//!
//! In your crate, this goes into a test; `deia-supervision` with the feature `testing` goes into
//! `[dev-dependencies]`.

#![allow(clippy::expect_used, reason = "it stands for a test")]

use std::time::Duration;

use deia_supervision::{
    prelude::*,
    testing::{self, Crash, Incarnation, crasher, idle, wait_for},
};

/// Returns the tree under test, with stand-ins for its workers.
fn root() -> (SupervisorSpec, [Handle<testing::Crasher>; 3]) {
    let (source, source_handle) = crasher("source");
    let (filter, filter_handle) = crasher("filter");
    let (sink, sink_handle) = crasher("sink");
    let pause = Backoff::new(Duration::from_secs(60), Duration::from_secs(60)).jitter(0.0);
    let root = SupervisorSpec::rest_for_one("pipeline")
        .intensity(Intensity::new(1, Duration::from_secs(600)))
        .child(source)
        .child(filter.backoff(pause))
        .child(sink);
    (root, [source_handle, filter_handle, sink_handle])
}

/// Children before the one that failed go on; those after it wait with it for its backoff.
async fn only_what_depends_on_the_filter_is_rebuilt() {
    let (root, [source, filter, sink]) = root();
    let tree = Tree::start(root).await.expect("it starts");
    let mut events = tree.subscribe();
    filter.tell(Crash).expect("there is room");
    idle().await;
    let state = |path: &str| tree.status_of(path).map(|status| status.state);
    assert_eq!(state("pipeline/source"), Some(ChildState::Running));
    assert_eq!(state("pipeline/sink"), Some(ChildState::Restarting));
    // An hour of this clock takes no time.
    let sink_is_back = |event: &Event| {
        matches!(event.kind, EventKind::Restarted { .. }) && &*event.path == "pipeline/sink"
    };
    let hour = Duration::from_secs(3_600);
    wait_for(&mut events, hour, sink_is_back)
        .await
        .expect("it comes back");
    let runs = [
        source.ask(Incarnation).await,
        filter.ask(Incarnation).await,
        sink.ask(Incarnation).await,
    ];
    assert_eq!(runs, [Ok(1), Ok(2), Ok(2)]);
    tree.shutdown().await;
}

/// The second crash within ten minutes is too much.
async fn it_gives_up_and_says_why() {
    let (root, [_, filter, _]) = root();
    let tree = Tree::start(root).await.expect("it starts");
    for _ in 0..2 {
        filter.tell(Crash).expect("there is room");
    }
    let ExitReason::GaveUp(gave_up) = tree.exited().await else {
        panic!("it should have given up");
    };
    assert_eq!(&*gave_up.child, "pipeline/filter");
}

fn main() {
    testing::run(only_what_depends_on_the_filter_is_rebuilt());
    testing::run(it_gives_up_and_says_why());
    println!("both hold");
}
