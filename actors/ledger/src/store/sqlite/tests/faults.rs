//! Commands that cannot be applied, and the fate of the others.

use super::*;
use crate::{Apply, ClaimedTask, Demand, MarkRunning, Slot, Submission, Submit};

/// Makes SQLite refuse tasks of the type `broken`, as a full index or a bug would.
fn break_type(dir: &std::path::Path) {
    let db = rusqlite::Connection::open(dir.join("deia.db")).unwrap();
    db.execute_batch(
        "CREATE TRIGGER broken BEFORE INSERT ON tasks WHEN new.type = 'broken'
         BEGIN SELECT RAISE(ABORT, 'this is broken'); END",
    )
    .unwrap();
}

fn submission(task_type: &str) -> Submit {
    Submit {
        tasks: vec![deia_model::NewTask::new(task_type.parse().unwrap(), "x")],
        submitter: "ada".into(),
        idempotency: None,
        role: deia_model::Role::Operator,
    }
}

/// Blocks the writer at the end of a commit until the gate is opened.
struct Gate {
    open: mpsc::Sender<()>,
    at: mpsc::Receiver<()>,
}

impl Gate {
    fn of(store: &SqliteStore) -> Self {
        let (open, opened) = mpsc::channel::<()>();
        let (arrive, at) = mpsc::channel();
        let opened = Mutex::new(opened);
        store.subscribe(Arc::new(move |_| {
            let _ = arrive.send(());
            let _ = opened.lock().unwrap().recv();
        }));
        Self { open, at }
    }

    /// Lets all of these wait for the writer, so that they are one group.
    async fn together(
        self,
        store: &SqliteStore,
        commands: Vec<Submit>,
    ) -> Vec<Result<Submission, StoreError>> {
        let first = store.apply(submission("first"));
        self.at.recv().unwrap();
        let waiting: Vec<_> = commands.into_iter().map(|c| store.apply(c)).collect();
        drop(self.open);
        first.await.unwrap();
        futures_util::future::join_all(waiting).await
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_applied_is_set_aside_from_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let metrics = options.metrics.clone();
    let store = SqliteStore::open(options).unwrap();
    let _serving = store.serve().unwrap();
    submit(&store, 1).await.unwrap();
    break_type(dir.path());
    let commands = (0..30)
        .map(|n| submission(if n % 10 == 7 { "broken" } else { "general" }))
        .collect();
    let gate = Gate::of(&store);
    let outcomes = gate.together(&store, commands).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Err(StoreError::Failed(why)) if n % 10 == 7 => {
                assert!(why.contains("this is broken"), "{why}");
            }
            other => assert!(other.is_ok() && n % 10 != 7, "{n}: {other:?}"),
        }
    }
    // The previous one, the first, and all others in one.
    assert_eq!(metrics.commits(), 3);
    assert_eq!(store.counts().await.unwrap().queued, 1 + 1 + 27);
}

/// A dispatch that panics for one type, as a bug in the handling of a command would.
struct Panics;

impl DirectDispatch for Panics {
    fn take(&self, demand: &Demand) -> Option<Slot> {
        assert_ne!(demand.task_type.as_str(), "panics");
        None
    }

    fn claimed(&self, _: Vec<ClaimedTask>) {}

    fn release(&self, _: Vec<Slot>) {}
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_command_and_the_writer_lives() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(options(dir.path())).unwrap();
    store.dispatch_to(Arc::new(Panics));
    let serving = store.serve().unwrap();
    for round in 0..10 {
        let gate = Gate::of(&store);
        let commands = ["general", "panics", "general"].map(submission).into();
        let outcomes = gate.together(&store, commands).await;
        assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
        assert!(
            matches!(&outcomes[1], Err(StoreError::Failed(why)) if why.contains("panicked")),
            "{outcomes:?}"
        );
        assert_eq!(store.counts().await.unwrap().queued, 3 * (round + 1));
    }
    // Types of a lost transaction do not count (tasks.max_types).
    for n in 0..17 {
        store.apply(submission(&format!("t{n}"))).await.unwrap();
    }
    store.close().await;
    assert_eq!(serving.await, "closed");
}

/// A dispatch with unlimited slots, which counts them.
#[derive(Default)]
struct Places {
    taken: std::sync::atomic::AtomicUsize,
    given_back: std::sync::atomic::AtomicUsize,
    claimed: Mutex<Vec<TaskId>>,
}

impl DirectDispatch for Places {
    fn take(&self, demand: &Demand) -> Option<Slot> {
        let wanted = demand.task_type.as_str() == "general";
        wanted.then(|| {
            self.taken.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Slot {
                bot: "b".parse().unwrap(),
                incarnation: 1,
                lease: deia_model::LeaseToken::new(),
                expires_after: None,
                stands_in_for: None,
            }
        })
    }

    fn claimed(&self, tasks: Vec<ClaimedTask>) {
        let ids = tasks.iter().map(|claimed| claimed.task.id);
        self.claimed.lock().unwrap().extend(ids);
    }

    fn release(&self, slots: Vec<Slot>) {
        let order = std::sync::atomic::Ordering::SeqCst;
        self.given_back.fetch_add(slots.len(), order);
    }
}

#[tokio::test]
async fn a_group_that_is_applied_again_takes_each_slot_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(options(dir.path())).unwrap();
    let places = Arc::new(Places::default());
    store.dispatch_to(places.clone());
    let _serving = store.serve().unwrap();
    submit(&store, 1).await.unwrap();
    break_type(dir.path());
    let gate = Gate::of(&store);
    let commands = ["general", "general", "broken", "general"];
    let outcomes = gate.together(&store, commands.map(submission).into()).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
    let order = std::sync::atomic::Ordering::SeqCst;
    let held = places.taken.load(order) - places.given_back.load(order);
    let claimed = places.claimed.lock().unwrap().len();
    assert_eq!((held, claimed), (4, 4));
    assert_eq!(store.counts().await.unwrap().running, 4);
}

#[tokio::test]
async fn a_store_that_is_locked_refuses_a_group_once() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let metrics = options.metrics.clone();
    let store = SqliteStore::open(options).unwrap();
    let _serving = store.serve().unwrap();
    submit(&store, 1).await.unwrap();
    let shell = rusqlite::Connection::open(dir.path().join("deia.db")).unwrap();
    shell
        .busy_timeout(std::time::Duration::from_secs(60))
        .unwrap();
    let gate = Gate::of(&store);
    let first = store.apply(submission("first"));
    gate.at.recv().unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = std::time::Instant::now();
    let waiting: Vec<_> = (0..20)
        .map(|_| store.apply(submission("general")))
        .collect();
    // A reported end is kept, not refused.
    let end = store.apply_deferred(MarkRunning(true));
    drop(gate.open);
    first.await.unwrap();
    for refused in futures_util::future::join_all(waiting).await {
        assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
    }
    // Once for all of them, not 21 times.
    assert!(begun.elapsed() < connection::BUSY_TIMEOUT * 8);
    assert_eq!(metrics.commits(), 2);
    shell.execute_batch("COMMIT").unwrap();
    end.await.unwrap();
    submit(&store, 1).await.unwrap();
}

#[tokio::test]
async fn outcome_is_unknown_for_the_running_command_of_a_dead_writer_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(options(dir.path())).unwrap();
    let serving = store.serve().unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    store.subscribe(Arc::new(move |_| {
        let _ = released.lock().unwrap().recv();
        panic!("a subscriber is broken");
    }));
    let committed = store.apply(submission("first"));
    let gate_reached = crate::testing::until("the commit of the first", async || {
        store.counts().await.unwrap().queued == 1
    });
    gate_reached.await;
    let waiting = store.apply(submission("second"));
    release.send(()).unwrap();
    let committed = committed.await;
    assert!(
        matches!(committed, Err(StoreError::Unknown)),
        "{committed:?}"
    );
    let waiting = waiting.await;
    assert!(matches!(waiting, Err(StoreError::Closed)), "{waiting:?}");
    assert_eq!(serving.await, "the writer thread panicked");
    assert_eq!(store.counts().await.unwrap().queued, 1);
}
