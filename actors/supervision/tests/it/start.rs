//! Starting, and what a faulty start leaves behind: nothing.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use deia_supervision::{
    AutoShutdown, Backoff, ChildError, ChildState, Criticality, ExitReason, Intensity, OnExhausted,
    Placement, Restart, Shutdown, SpecError, StartChildError, StartError, Strategy, SupervisorSpec,
    Tree,
};

use crate::common::{Log, Ping, patient, probe, run, start, state};

#[test]
fn start_normal() {
    run(async {
        let tree = start(SupervisorSpec::new("root", Strategy::OneForOne)).await;
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        assert_eq!(tree.exited().await, ExitReason::Shutdown);
    });
}

#[test]
fn start_in_order_each_ready_before_the_next() {
    run(async {
        let log = Log::default();
        let (a, ..) = probe("a", &log);
        let (b, ..) = probe("b", &log);
        let (c, ..) = probe("c", &log);
        let core = patient("core", Strategy::OneForOne).child(b);
        let root = patient("root", Strategy::OneForOne);
        let tree = start(root.child(a).child(core).child(c)).await;
        assert_eq!(log.take(), ["+a", "+b", "+c"]);
        tree.shutdown().await;
        assert_eq!(log.take(), ["-c", "-b", "-a"]);
    });
}

#[test]
fn messages_sent_before_the_start_wait() {
    run(async {
        let (spec, handle, _) = probe("a", &Log::default());
        let asked = handle.ask(Ping);
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        assert_eq!(asked.await, Ok(1));
        tree.shutdown().await;
    });
}

/// A failed start names the child and why, and everything that ran is stopped again.
async fn fails_to_start(set_up: impl Fn(&crate::common::Script), code: &str) {
    let log = Log::default();
    let (a, a_handle, a_script) = probe("a", &log);
    let (b, b_handle, b_script) = probe("b", &log);
    let (c, _, c_script) = probe("c", &log);
    set_up(&b_script);
    let core = patient("core", Strategy::OneForOne).child(b);
    let root = patient("root", Strategy::OneForOne);
    let failed = Tree::start(root.child(a).child(core).child(c)).await;
    let Err(StartError::Child { path, reason }) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(&*path, "root/core/b");
    assert_eq!(reason.code(), code);
    assert_eq!(log.take(), ["+a", "-a"]);
    crate::common::idle().await;
    assert!(a_handle.is_gone() && b_handle.is_gone());
    for script in [a_script, b_script, c_script] {
        assert_eq!(script.alive.load(SeqCst), 0);
    }
}

#[test]
fn start_error_return() {
    run(fails_to_start(
        |script| script.fail_builds.store(1, SeqCst),
        "start_failed",
    ));
}

#[test]
fn start_fail() {
    run(fails_to_start(
        |script| script.panic_in_started.store(1, SeqCst),
        "panicked",
    ));
    run(fails_to_start(
        |script| script.panic_in_factory.store(1, SeqCst),
        "panicked",
    ));
}

#[test]
fn start_child_returns_error() {
    run(async {
        let log = Log::default();
        let tree = start(patient("root", Strategy::OneForOne)).await;
        let root = tree.supervisor("root").unwrap();
        let (a, handle, script) = probe("a", &log);
        script.fail_builds.store(1, SeqCst);
        match root.start_child(a).await {
            Err(StartChildError::StartFailed { child, .. }) => assert_eq!(&*child, "root/a"),
            other => panic!("{other:?}"),
        }
        crate::common::idle().await;
        assert!(root.which_children().await.is_empty());
        assert!(handle.is_gone());
        let (again, ..) = probe("a", &log);
        root.start_child(again).await.unwrap();
        tree.shutdown().await;
    });
}

#[test]
fn restart_child_returns_error() {
    run(async {
        let (a, _, script) = probe("a", &Log::default());
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        let root = tree.supervisor("root").unwrap();
        root.terminate_child("a").await.unwrap();
        script.fail_builds.store(1, SeqCst);
        let failed = root.restart_child("a").await;
        assert!(matches!(failed, Err(ChildError::StartFailed { .. })));
        assert_eq!(state(&tree, "root/a"), Some(ChildState::Terminated));
        root.restart_child("a").await.unwrap();
        tree.shutdown().await;
    });
}

#[test]
fn start_defaults() {
    let (spec, ..) = probe("a", &Log::default());
    assert_eq!(spec.name(), "a");
    assert_eq!(spec.get_restart(), Restart::Permanent);
    assert_eq!(
        spec.get_shutdown(),
        Shutdown::Within(Duration::from_secs(5))
    );
    assert_eq!(spec.get_backoff(), &Backoff::none());
    assert_eq!(spec.get_budget(), None);
    assert_eq!(spec.get_on_exhausted(), OnExhausted::Escalate);
    assert_eq!(spec.get_criticality(), Criticality::Important);
    assert_eq!(spec.get_mailbox(), 10_000);
    assert_eq!(spec.get_placement(), None);
    assert!(!spec.is_significant());
    let budget = Intensity::new(2, Duration::from_secs(1));
    let spec = spec
        .restart(Restart::Transient)
        .shutdown(Shutdown::Brutal)
        .budget(budget.clone())
        .on_exhausted(OnExhausted::Quarantine)
        .criticality(Criticality::Critical)
        .mailbox(3)
        .placement(Placement::Own)
        .significant(true);
    assert_eq!(spec.get_restart(), Restart::Transient);
    assert_eq!(spec.get_shutdown(), Shutdown::Brutal);
    assert_eq!(spec.get_budget(), Some(&budget));
    assert_eq!(spec.get_on_exhausted(), OnExhausted::Quarantine);
    assert_eq!(spec.get_criticality(), Criticality::Critical);
    assert_eq!(spec.get_mailbox(), 3);
    assert_eq!(spec.get_placement(), Some(&Placement::Own));
    assert!(spec.is_significant());
}

#[test]
fn faulty_specs() {
    run(async {
        let log = Log::default();
        let child = |name: &str| probe(name, &log).0;
        let root = || SupervisorSpec::new("root", Strategy::OneForOne);
        let second = Duration::from_secs(1);
        let path = || "root/a".to_owned();
        let spec = SupervisorSpec::dynamic("d").max_children(0);
        let cases = [
            (
                root().child(child("")),
                SpecError::EmptyName {
                    parent: "root".into(),
                },
            ),
            (
                root().child(child("a/b")),
                SpecError::SlashInName {
                    path: "root/a/b".into(),
                },
            ),
            (
                root().child(child("a")).child(child("a")),
                SpecError::DuplicateName { path: path() },
            ),
            (
                root().child(child("a").significant(true)),
                SpecError::SignificantPermanent { path: path() },
            ),
            (
                root().child(child("a").significant(true).restart(Restart::Transient)),
                SpecError::SignificantWithoutAutoShutdown { path: path() },
            ),
            (
                root().child(child("a").backoff(Backoff::new(2 * second, second))),
                SpecError::Backoff {
                    path: path(),
                    fault: "min exceeds max",
                },
            ),
            (
                root().child(child("a").budget(Intensity::new(1, Duration::ZERO))),
                SpecError::ZeroPeriod { path: path() },
            ),
            (
                root().child(child("a").mailbox(0)),
                SpecError::ZeroMailbox { path: path() },
            ),
            (
                root().child(child("a").shutdown(Shutdown::Within(Duration::ZERO))),
                SpecError::ZeroShutdown { path: path() },
            ),
            (
                root().intensity(Intensity::new(1, Duration::ZERO)),
                SpecError::ZeroPeriod {
                    path: "root".into(),
                },
            ),
            (
                root().child(spec),
                SpecError::ZeroMaxChildren {
                    path: "root/d".into(),
                },
            ),
            (
                root().watchdog(Duration::ZERO),
                SpecError::ZeroWatchdog {
                    path: "root".into(),
                },
            ),
            (
                root().child(child("a").stalled_after(Duration::ZERO)),
                SpecError::ZeroStall { path: path() },
            ),
            (
                root().arbiters(0),
                SpecError::EmptyGroup {
                    group: "pool".into(),
                },
            ),
            (
                root()
                    .group("bots", 1)
                    .child(child("a").placement(Placement::group("b"))),
                SpecError::UnknownGroup {
                    path: path(),
                    group: "b".into(),
                },
            ),
            (
                root().max_children(3),
                SpecError::MaxChildrenNotDynamic {
                    path: "root".into(),
                },
            ),
            (
                SupervisorSpec::new("root", Strategy::Dynamic).child(child("a")),
                SpecError::DynamicWithChildren {
                    path: "root".into(),
                },
            ),
        ];
        for (spec, expected) in cases {
            match Tree::start(spec).await {
                Err(StartError::Spec(error)) => assert_eq!(error, expected),
                other => panic!("expected {expected}, got {other:?}"),
            }
        }
        let (first, ..) = probe("first", &log);
        let significant = child("a").significant(true);
        let spec = root().auto_shutdown(AutoShutdown::AnySignificant);
        assert!(
            Tree::start(spec.child(first).child(significant))
                .await
                .is_err()
        );
        assert!(log.take().is_empty(), "something was started");
    });
}

/// A child that is added later is checked as one that was declared, before anything of it starts.
#[test]
fn faulty_specs_are_refused_by_start_child() {
    run(async {
        let log = Log::default();
        let tree = start(patient("root", Strategy::OneForOne)).await;
        let root = tree.supervisor("root").unwrap();
        let child = |name: &str| probe(name, &log).0;
        let inner = || SupervisorSpec::new("inner", Strategy::OneForOne);
        let cases: [(deia_supervision::ChildSpec, &str); 5] = [
            (child(""), "empty name"),
            (child("a").mailbox(0), "mailbox"),
            (
                child("a").shutdown(Shutdown::Within(Duration::ZERO)),
                "shutdown",
            ),
            (
                inner().child(child("b")).child(child("b")).into(),
                "`root/inner/b` is declared twice",
            ),
            (
                inner()
                    .child(child("first"))
                    .intensity(Intensity::new(1, Duration::from_secs(1)).slow(2, Duration::ZERO))
                    .into(),
                "period of `root/inner` is zero",
            ),
        ];
        for (spec, expected) in cases {
            match root.start_child(spec).await {
                Err(StartChildError::Spec(error)) => {
                    assert!(error.to_string().contains(expected), "{error}");
                }
                other => panic!("{expected}: {other:?}"),
            }
        }
        assert!(log.take().is_empty(), "something was started");
        assert!(root.which_children().await.is_empty());
        tree.shutdown().await;
    });
}
