//! Suspending by feature and by how much things matter, and what children say of themselves.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use actix::prelude::{Handler, Message};
use deia_supervision::{
    AskError, ChildError, ChildState, Context, Criticality, EventKind, ExitReason, Handle, Health,
    Intensity, Strategy, SupervisorSpec, Tree, testing::wait_for,
};

use crate::common::{Crash, Log, Ping, Probe, Stop, idle, patient, probe, run, start, state};

const SECOND: Duration = Duration::from_secs(1);

fn paths(changes: &[deia_supervision::Change]) -> Vec<&str> {
    for (path, change) in changes {
        assert!(change.is_ok(), "{path}: {change:?}");
    }
    changes.iter().map(|(path, _)| &**path).collect()
}

/// root: a, edge (one_for_one, tagged: b), workers (dynamic), c (tagged).
async fn tree(log: &Log) -> (Tree, Vec<Handle<Probe>>) {
    let mut handles = Vec::new();
    let mut child = |name: &str| {
        let (spec, handle, _) = probe(name, log);
        handles.push(handle);
        spec
    };
    let edge = patient("edge", Strategy::OneForOne)
        .feature("hooks")
        .child(child("b"));
    let root = patient("root", Strategy::RestForOne)
        .child(child("a"))
        .child(edge)
        .child(SupervisorSpec::dynamic("workers").intensity(Intensity::unlimited()))
        .child(child("c").feature("hooks").feature("other"));
    let tree = start(root).await;
    log.take();
    (tree, handles)
}

#[test]
fn a_feature_is_suspended_backwards_and_resumed_in_order() {
    run(async {
        let log = Log::default();
        let (tree, handles) = tree(&log).await;
        let mut events = tree.subscribe();
        let changes = tree
            .suspend_feature("hooks", "controller", "disk is full")
            .await;
        assert_eq!(paths(&changes), ["root/c", "root/edge"]);
        assert_eq!(log.take(), ["-c", "-b"]);
        let suspended = tree.status_of("root/edge").unwrap().suspended.unwrap();
        assert_eq!(suspended.by.as_deref(), Some("controller"));
        assert_eq!(suspended.why.as_deref(), Some("disk is full"));
        let json = serde_json::to_value(tree.status_of("root/c").unwrap()).unwrap();
        assert_eq!(json["suspended"]["why"], "disk is full");
        assert!(json["suspended"]["since"].is_string());
        let features = tree.suspended_features();
        assert_eq!((features.len(), &*features[0].0), (1, "hooks"));
        let (mut seen, mut causes) = (Vec::new(), 0);
        while let Some(Ok(event)) = events.try_recv() {
            let json = serde_json::to_value(&event).unwrap();
            if let EventKind::Suspended { cause } = event.kind {
                seen.push(event.path.to_string());
                causes += usize::from(cause.why.as_deref() == Some("disk is full"));
                assert_eq!(
                    (&json["event"], &json["by"]),
                    (&"suspended".into(), &"controller".into())
                );
            }
        }
        assert_eq!(
            (seen, causes),
            (vec!["root/c".to_owned(), "root/edge".to_owned()], 2)
        );
        // Nothing but the feature brings it back.
        assert!(matches!(
            tree.resume_path("root/c").await,
            Err(ChildError::Suspended)
        ));
        assert!(matches!(
            tree.restart_path("root/c").await,
            Err(ChildError::Suspended)
        ));
        // Not even the restart of what is before it.
        let a = handles.iter().find(|handle| handle.name() == "a").unwrap();
        a.tell(Crash).unwrap();
        idle().await;
        assert_eq!(log.take(), ["+a"]);
        let changes = tree.resume_feature("hooks").await;
        assert_eq!(paths(&changes), ["root/edge", "root/c"]);
        assert_eq!(log.take(), ["+b", "+c"]);
        assert!(tree.status_of("root/c").unwrap().suspended.is_none());
        assert!(tree.suspended_features().is_empty());
        tree.shutdown().await;
    });
}

/// Children that are added later, or come back with their supervisor, come up suspended.
#[test]
fn a_suspended_feature_outlives_restarts_and_applies_to_what_is_added() {
    run(async {
        let log = Log::default();
        let (c, _, c_script) = probe("c", &log);
        let (a, a_handle, _) = probe("a", &log);
        let workers = SupervisorSpec::dynamic("workers");
        let adding = workers.handle();
        let core = SupervisorSpec::one_for_all("core")
            .intensity(Intensity::new(0, SECOND))
            .child(a)
            .child(c.feature("hooks"))
            .child(workers);
        let tree = start(patient("root", Strategy::OneForOne).child(core)).await;
        let _ = tree.suspend_feature("hooks", "me", "test").await;
        let (d, d_handle, d_script) = probe("d", &log);
        adding.start_child(d.feature("hooks")).await.unwrap();
        let path = "root/core/workers/d";
        assert_eq!(state(&tree, path), Some(ChildState::Suspended));
        assert_eq!(d_script.built(), 0);
        // An escalation forgets what was added, but not the rule.
        a_handle.tell(Crash).unwrap();
        idle().await;
        assert_eq!(tree.status_of("root/core").unwrap().incarnation, 2);
        assert_eq!(state(&tree, "root/core/c"), Some(ChildState::Suspended));
        assert!(d_handle.is_gone());
        let (d, d_handle, d_script) = probe("d", &log);
        adding.start_child(d.feature("hooks")).await.unwrap();
        assert_eq!(state(&tree, path), Some(ChildState::Suspended));
        assert_eq!(d_handle.ask(Ping).await, Err(AskError::Suspended));
        let _ = tree.resume_feature("hooks").await;
        assert_eq!(d_handle.ask(Ping).await, Ok(1));
        assert_eq!((d_script.built(), c_script.built()), (1, 2));
        tree.shutdown().await;
    });
}

/// A child that was suspended by itself has to be resumed by itself; two reasons are counted
/// separately.
#[test]
fn reasons_to_be_suspended_add_up() {
    run(async {
        let log = Log::default();
        let (tree, _) = tree(&log).await;
        tree.suspend_path_as("root/c", "operator", "looks odd")
            .await
            .unwrap();
        let _ = tree.suspend_feature("hooks", "controller", "load").await;
        let _ = tree.suspend_feature("other", "controller", "load").await;
        let _ = tree.resume_feature("hooks").await;
        let _ = tree.resume_feature("other").await;
        assert_eq!(state(&tree, "root/edge"), Some(ChildState::Running));
        let suspended = tree.status_of("root/c").unwrap().suspended.unwrap();
        assert_eq!(suspended.by.as_deref(), Some("operator"));
        let _ = tree.suspend_feature("other", "controller", "load").await;
        let refused = tree.resume_path("root/c").await;
        assert!(matches!(refused, Err(ChildError::Suspended)), "{refused:?}");
        let suspended = tree.status_of("root/c").unwrap().suspended.unwrap();
        assert_eq!(suspended.by.as_deref(), Some("controller"));
        let _ = tree.resume_feature("other").await;
        assert_eq!(state(&tree, "root/c"), Some(ChildState::Running));
        tree.shutdown().await;
    });
}

/// A feature that is switched off and on below a supervisor that is down meanwhile.
#[test]
fn rules_that_change_while_a_supervisor_is_down_hold_when_it_starts() {
    run(async {
        let log = Log::default();
        let (b, ..) = probe("b", &log);
        let (c, ..) = probe("c", &log);
        let inner = patient("inner", Strategy::OneForOne);
        let inner = inner.child(b.feature("one")).child(c.feature("two"));
        let tree = start(patient("root", Strategy::OneForOne).child(inner)).await;
        let _ = tree.suspend_feature("one", "me", "test").await;
        tree.suspend_path("root/inner").await.unwrap();
        log.take();
        let changes = tree.resume_feature("one").await;
        assert_eq!(paths(&changes), ["root/inner/b"]);
        let changes = tree.suspend_feature("two", "me", "test").await;
        assert_eq!(paths(&changes), ["root/inner/c"]);
        assert!(log.take().is_empty());
        tree.resume_path("root/inner").await.unwrap();
        assert_eq!(log.take(), ["+b"]);
        assert_eq!(state(&tree, "root/inner/c"), Some(ChildState::Suspended));
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

/// A suspension is not a failure, and does not hold up a group that is just being restarted.
#[test]
fn a_feature_suspended_during_a_group_restart_is_left_out() {
    run(async {
        let log = Log::default();
        let (a, handle, script) = probe("a", &log);
        let (b, ..) = probe("b", &log);
        let (c, ..) = probe("c", &log);
        let root = SupervisorSpec::one_for_all("root").intensity(Intensity::new(1, 60 * SECOND));
        let tree = start(root.child(a).child(b.feature("f")).child(c)).await;
        script.slow_build_ms.store(100, SeqCst);
        handle.tell(Crash).unwrap();
        idle().await;
        log.take();
        let _ = tree.suspend_feature("f", "me", "test").await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(log.take(), ["+a", "+c"]);
        let _ = tree.resume_feature("f").await;
        assert_eq!(log.take(), ["+b"]);
        tree.shutdown().await;
    });
}

#[test]
fn the_least_critical_is_shed_first() {
    run(async {
        let log = Log::default();
        let mut root = patient("root", Strategy::OneForOne);
        for (name, criticality) in [
            ("a", Criticality::Critical),
            ("b", Criticality::Optional),
            ("c", Criticality::Important),
            ("d", Criticality::Optional),
        ] {
            let (spec, ..) = probe(name, &log);
            root = root.child(spec.criticality(criticality));
        }
        let inner = patient("inner", Strategy::OneForOne).criticality(Criticality::Optional);
        let (e, ..) = probe("e", &log);
        let inner = inner.child(e.criticality(Criticality::Critical));
        let tree = start(root.child(inner)).await;
        log.take();
        let changes = tree.shed(Criticality::Optional, "me", "load").await;
        assert_eq!(paths(&changes), ["root/d", "root/b"]);
        assert_eq!(log.take(), ["-d", "-b"]);
        let changes = tree.shed(Criticality::Critical, "me", "more load").await;
        assert_eq!(paths(&changes), ["root/d", "root/c", "root/b"]);
        assert_eq!(log.take(), ["-c"]);
        assert_eq!(state(&tree, "root/inner/e"), Some(ChildState::Running));
        let _ = tree.unshed().await;
        let mut lines = log.take();
        lines.sort();
        assert_eq!(lines, ["+b", "+c", "+d"]);
        tree.shutdown().await;
    });
}

#[derive(Message)]
#[rtype(result = "()")]
struct Feel(Health);

impl Handler<Feel> for Probe {
    type Result = ();
    fn handle(&mut self, message: Feel, ctx: &mut Context<Self>) {
        ctx.set_health(message.0);
    }
}

#[test]
fn a_child_reports_its_health() {
    run(async {
        let (a, handle, _) = probe("a", &Log::default());
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        let health = || tree.status_of("root/a").unwrap().health;
        assert_eq!(health(), None);
        let mut events = tree.subscribe();
        let slow = Health::degraded("answers in 429 ms");
        for _ in 0..3 {
            handle.ask(Feel(slow.clone())).await.unwrap();
        }
        assert_eq!(health(), Some(slow.clone()));
        handle.ask(Feel(Health::Healthy)).await.unwrap();
        handle
            .ask(Feel(Health::unhealthy("no disk")))
            .await
            .unwrap();
        idle().await;
        let mut seen = Vec::new();
        while let Some(Ok(event)) = events.try_recv() {
            if let EventKind::HealthChanged { health } = event.kind {
                seen.push(health);
            }
        }
        assert_eq!(seen, [slow, Health::Healthy, Health::unhealthy("no disk")]);
        let json = serde_json::to_value(tree.status_of("root/a").unwrap()).unwrap();
        assert_eq!(json["health"]["state"], "unhealthy");
        assert_eq!(json["health"]["why"], "no disk");
        // The next run says for itself how it is.
        handle.tell(Crash).unwrap();
        idle().await;
        assert_eq!(health(), None);
        tree.shutdown().await;
    });
}

#[test]
fn children_are_found_by_their_path() {
    run(async {
        let (a, handle, _) = probe("a", &Log::default());
        let inner = SupervisorSpec::one_for_one("inner").child(a);
        let tree = start(patient("root", Strategy::OneForOne).child(inner)).await;
        let found = tree.handle::<Probe>("root/inner/a").unwrap();
        assert_eq!((&found, found.name()), (&handle, "a"));
        assert_eq!(found.ask(Ping).await, Ok(1));
        let other = tree.handle::<deia_supervision::testing::Crasher>("root/inner/a");
        assert!(other.is_none());
        assert!(tree.handle::<Probe>("root/inner").is_none());
        assert!(tree.handle::<Probe>("root/x").is_none());
        // Workers and supervisors alike are monitored by their path.
        let worker = tree.monitor("root/inner/a").unwrap();
        let supervisor = tree.monitor("root/inner").unwrap();
        let root = tree.monitor("root").unwrap();
        assert!(tree.monitor("root/x").is_none());
        found.tell(Crash).unwrap();
        assert_eq!(worker.await.unwrap().code(), "panicked");
        idle().await;
        found.tell(Stop).unwrap();
        assert_eq!(supervisor.await.unwrap().code(), "gave_up");
        tree.shutdown().await;
        assert_eq!(root.await, Some(ExitReason::Shutdown));
    });
}

#[test]
fn a_summary_counts_what_a_status_shows() {
    run(async {
        let log = Log::default();
        let workers = SupervisorSpec::dynamic("workers").intensity(Intensity::unlimited());
        let adding = workers.handle();
        let tree = start(patient("root", Strategy::OneForOne).child(workers)).await;
        let mut handles = Vec::new();
        for index in 0..100 {
            let (spec, handle, _) = probe(&index.to_string(), &log);
            adding.start_child(spec).await.unwrap();
            handles.push(handle);
        }
        for index in 0..10 {
            adding.terminate_child(&index.to_string()).await.unwrap();
            let path = format!("root/workers/{}", index + 10);
            tree.suspend_path(&path).await.unwrap();
            handles[index + 20].tell(Crash).unwrap();
        }
        for index in 0..5 {
            adding.delete_child(&index.to_string()).await.unwrap();
        }
        idle().await;
        let summary = tree.status_summary();
        let expected = (97, 82, 10, 5, 10);
        let seen = (
            summary.children,
            summary.running,
            summary.suspended,
            summary.down,
            summary.restarts,
        );
        assert_eq!(seen, expected, "{summary:?}");
        tree.shutdown().await;
        idle().await;
        let summary = tree.status_summary();
        assert_eq!((summary.children, summary.running), (1, 0), "{summary:?}");
    });
}

/// A limit over all of it, whatever the children are allowed.
#[test]
fn a_shutdown_can_be_limited() {
    run(async {
        let (a, _, script) = probe("a", &Log::default());
        script.refuse_stop.store(usize::MAX, SeqCst);
        let a = a.shutdown(deia_supervision::Shutdown::Infinity);
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        let mut events = tree.subscribe();
        let begin = tokio::time::Instant::now();
        assert_eq!(tree.shutdown_within(3 * SECOND).await, ExitReason::Shutdown);
        assert!(begin.elapsed() >= 3 * SECOND && begin.elapsed() < 4 * SECOND);
        let killed = |event: &deia_supervision::Event| match &event.kind {
            EventKind::Stopped { exit } => &*event.path == "root/a" && exit.code() == "killed",
            _ => false,
        };
        wait_for(&mut events, SECOND, killed).await.unwrap();
        assert_eq!(script.alive.load(SeqCst), 0);
    });
}

/// Found by the model: it used to stay down for no reason that anybody could lift.
#[test]
fn a_feature_resumed_while_its_child_still_stops_runs_again() {
    run(async {
        let log = Log::default();
        let (a, handle, script) = probe("a", &log);
        let tree = start(patient("root", Strategy::OneForOne).child(a.feature("f"))).await;
        script.slow_stop_ms.store(1_000, SeqCst);
        let other = tree.clone();
        let suspending =
            actix::spawn(async move { other.suspend_feature("f", "me", "test").await });
        idle().await;
        assert_eq!(state(&tree, "root/a"), Some(ChildState::Stopping));
        let _ = tree.resume_feature("f").await;
        suspending.await.unwrap();
        assert_eq!(handle.ask(Ping).await, Ok(2));
        let status = tree.status_of("root/a").unwrap();
        assert_eq!((status.restarts, status.suspended), (0, None));
        tree.shutdown().await;
    });
}

/// A child that does not come up when its feature is resumed has failed, as at any other restart.
#[test]
fn a_child_that_fails_when_its_feature_is_resumed_is_restarted() {
    run(async {
        let (a, handle, script) = probe("a", &Log::default());
        let tree = start(patient("root", Strategy::OneForOne).child(a.feature("f"))).await;
        let _ = tree.suspend_feature("f", "me", "test").await;
        script.fail_builds.store(1, SeqCst);
        let changes = tree.resume_feature("f").await;
        assert!(matches!(changes[0].1, Err(ChildError::StartFailed { .. })));
        assert_eq!(handle.ask(Ping).await, Ok(2));
        // For itself, it stays suspended, with its reason.
        tree.suspend_path_as("root/a", "me", "test").await.unwrap();
        script.fail_builds.store(1, SeqCst);
        assert!(tree.resume_path("root/a").await.is_err());
        let status = tree.status_of("root/a").unwrap();
        assert_eq!(status.state, ChildState::Suspended);
        assert_eq!(status.suspended.unwrap().by.as_deref(), Some("me"));
        tree.shutdown().await;
    });
}
