//! Sending: waiting for room, limits, poison, and the treatment of mail when things end.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use actix::prelude::{Actor, Handler, Message};
use deia_supervision::{
    AskError, Backoff, Context, EventKind, Handle, Intensity, MailOnEscalation, MailWhileSuspended,
    Placement, StartError, Strategy, SupervisorSpec, TellError, child,
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    blocking::until,
    common::{Crash, Log, Ping, Probe, Say, Script, idle, patient, probe, run, start},
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn send_waits_for_room() {
    run(async {
        let log = Log::default();
        let (a, handle, _) = probe("a", &log);
        let a = a.mailbox(2);
        for number in 0..2 {
            handle.send(Say(number)).await.unwrap();
        }
        let waiting: Vec<_> = (2..20)
            .map(|number| {
                let handle = handle.clone();
                actix::spawn(async move { handle.send(Say(number)).await })
            })
            .collect();
        idle().await;
        assert!(waiting.iter().all(|sending| !sending.is_finished()));
        // A sender that gives up takes its message along, and does not block others.
        waiting[3].abort();
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        for (index, sending) in waiting.into_iter().enumerate() {
            let sent = timeout(SECOND, sending).await.expect("it hangs");
            assert_eq!(sent.is_ok(), index != 3);
        }
        idle().await;
        let mut said: Vec<usize> = log.take().iter().filter_map(|s| s.parse().ok()).collect();
        said.sort_unstable();
        let expected: Vec<usize> = (0..20).filter(|number| *number != 5).collect();
        assert_eq!(said, expected);
        tree.shutdown().await;
        idle().await;
        assert!(matches!(
            handle.send(Say(1)).await,
            Err(TellError::Gone(Say(1)))
        ));
    });
}

/// Senders that wait for room get an error when there will be none.
#[test]
fn send_ends_with_the_child() {
    run(async {
        let (a, handle, _) = probe("a", &Log::default());
        let a = a.mailbox(1);
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        let root = tree.supervisor("root").unwrap();
        root.terminate_child("a").await.unwrap();
        handle.tell(Say(0)).unwrap();
        let recipient = handle.recipient::<Say>();
        assert_eq!((recipient.path(), recipient.depth()), ("root/a", 1));
        let sending = actix::spawn(async move { recipient.send(Say(1)).await });
        idle().await;
        root.delete_child("a").await.unwrap();
        let sent = timeout(SECOND, sending).await.expect("it hangs").unwrap();
        assert!(matches!(sent, Err(TellError::Gone(Say(1)))));
        tree.shutdown().await;
    });
}

#[test]
fn senders_on_many_threads_all_get_through_a_small_mailbox() {
    actix::System::new().block_on(async {
        let log = Log::default();
        let (a, handle, _) = probe("a", &log);
        let a = a.mailbox(3).placement(Placement::Pool);
        let tree = start(patient("root", Strategy::OneForOne).arbiters(1).child(a)).await;
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let handle = handle.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build();
                    runtime.unwrap().block_on(async move {
                        for number in 0..5_000 {
                            handle.send(Say(thread * 5_000 + number)).await.unwrap();
                        }
                    });
                })
            })
            .collect();
        for thread in threads {
            tokio::task::spawn_blocking(|| thread.join().unwrap())
                .await
                .unwrap();
        }
        until("there is room", async || handle.ask(Ping).await.is_ok()).await;
        assert_eq!(log.take().len(), 20_001);
        tree.shutdown().await;
    });
}

#[test]
fn ask_within_gives_up_and_withdraws() {
    run(async {
        let (a, handle, script) = probe("a", &Log::default());
        let a = a.backoff(Backoff::new(10 * SECOND, 10 * SECOND));
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        handle.tell(Crash).unwrap();
        idle().await;
        let begin = Instant::now();
        let answer = handle.ask_within(Crash, SECOND).await;
        assert_eq!(answer, Err(AskError::TimedOut));
        assert!(begin.elapsed() >= SECOND);
        tree.restart_path("root/a").await.unwrap();
        assert_eq!(handle.ask_within(Ping, SECOND).await, Ok(2));
        assert_eq!(script.built(), 2, "the question was withdrawn");
        tree.shutdown().await;
    });
}

/// Questions that were given up take up no room that others need.
#[test]
fn withdrawn_questions_make_room() {
    run(async {
        let log = Log::default();
        let (a, handle, _) = probe("a", &log);
        let a = a.mailbox(100).backoff(Backoff::new(SECOND, SECOND));
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        handle.tell(Crash).unwrap();
        idle().await;
        log.take();
        handle.tell(Say(0)).unwrap();
        for _ in 0..10 {
            let asked: Vec<_> = (0..99).map(|_| handle.ask(Ping)).collect();
            assert_eq!(handle.depth(), 100);
            drop(asked);
        }
        for number in 1..100 {
            handle.tell(Say(number)).unwrap();
        }
        assert!(matches!(handle.tell(Say(100)), Err(TellError::Full(_))));
        tree.restart_path("root/a").await.unwrap();
        idle().await;
        let lines = log.take();
        let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(lines[1..], expected);
        tree.shutdown().await;
    });
}

/// A child in whose mailbox messages of one type wait that crash it again and again.
async fn poisoned(limit: Option<u32>) -> (Handle<Probe>, usize, Vec<EventKind>, Vec<String>) {
    let log = Log::default();
    let (a, handle, script) = probe("a", &log);
    let a = match limit {
        Some(limit) => a.poison_after(limit),
        None => a,
    };
    for number in 0..10 {
        handle.tell(Crash).unwrap();
        if number == 4 {
            handle.tell(Say(7)).unwrap();
        }
    }
    let asked = handle.ask(Crash);
    let tree = start(patient("root", Strategy::OneForOne)).await;
    let mut events = tree.subscribe();
    tree.supervisor("root")
        .unwrap()
        .start_child(a)
        .await
        .unwrap();
    assert!(asked.await.is_err());
    idle().await;
    let mut poison = Vec::new();
    while let Some(Ok(event)) = events.try_recv() {
        if matches!(event.kind, EventKind::PoisonMail { .. }) {
            poison.push(event.kind);
        }
    }
    let built = script.built();
    tree.shutdown().await;
    (handle, built, poison, log.take())
}

#[test]
fn poison_mail_is_dropped_with_an_event() {
    run(async {
        let (_, built, poison, lines) = poisoned(Some(3)).await;
        assert_eq!(built, 4, "three crashes, and then none");
        let [
            EventKind::PoisonMail {
                message_type,
                dropped,
            },
        ] = poison[..]
        else {
            panic!("{poison:?}");
        };
        assert!(message_type.ends_with("::Crash"));
        assert_eq!(dropped, 8);
        assert!(lines.contains(&"7".to_owned()), "other mail is kept");
        let (_, built, poison, _) = poisoned(None).await;
        assert_eq!((built, poison.len()), (12, 0));
    });
}

#[test]
fn withdrawn_questions_are_not_handled_and_hide_no_poison() {
    run(async {
        let log = Log::default();
        let (a, handle, script) = probe("a", &log);
        for _ in 0..6 {
            drop(handle.ask(Ping));
            handle.tell(Crash).unwrap();
        }
        handle.tell(Say(1)).unwrap();
        let root = patient("root", Strategy::OneForOne).child(a.poison_after(2));
        let tree = start(root).await;
        idle().await;
        assert_eq!(script.built(), 3, "two crashes, and then none");
        let handled = tree.status_of("root/a").unwrap().handled;
        assert_eq!(handled, 3, "two that crashed, and the last");
        tree.shutdown().await;
    });
}

/// A single bad message among many good ones of its type is no poison.
#[test]
fn mail_that_is_handled_now_and_then_is_no_poison() {
    run(async {
        struct Picky(Log);
        #[derive(Message)]
        #[rtype(result = "()")]
        struct Item(usize);
        impl Actor for Picky {
            type Context = Context<Self>;
        }
        impl Handler<Item> for Picky {
            type Result = ();
            fn handle(&mut self, item: Item, _: &mut Context<Self>) {
                assert!(item.0 % 3 != 2, "every third is bad");
                self.0.add(item.0.to_string());
            }
        }
        let log = Log::default();
        let given = log.clone();
        let (spec, handle) = child("a", move || {
            let actor = Picky(given.clone());
            async move { Ok::<_, StartError>(actor) }
        });
        let tree = start(patient("root", Strategy::OneForOne).child(spec.poison_after(2))).await;
        for number in 0..30 {
            handle.tell(Item(number)).unwrap();
        }
        idle().await;
        assert_eq!(log.take().len(), 20);
        tree.shutdown().await;
    });
}

/// By default, mail outlives an escalation, too; on request it does not, nor does it further down.
#[test]
fn mail_is_kept_or_dropped_on_escalation() {
    for mail in [MailOnEscalation::Keep, MailOnEscalation::Drop] {
        run(async {
            let log = Log::default();
            let (a, a_handle, _) = probe("a", &log);
            let (b, b_handle, b_script) = probe("b", &log);
            let deep = patient("deep", Strategy::OneForOne).child(b.mail_on_escalation(mail));
            let inner = SupervisorSpec::one_for_one("inner")
                .intensity(Intensity::new(0, SECOND))
                .child(a.mail_on_escalation(mail))
                .child(deep);
            let tree = start(patient("root", Strategy::OneForOne).child(inner)).await;
            b_script.slow_stop_ms.store(100, SeqCst);
            tree.suspend_path("root/inner/deep/b").await.unwrap();
            log.take();
            for number in 0..3 {
                b_handle.tell(Say(number)).unwrap();
            }
            a_handle.tell(Crash).unwrap();
            a_handle.tell(Say(9)).unwrap();
            let asked = a_handle.ask(Ping);
            sleep(SECOND).await;
            tree.resume_path("root/inner/deep/b").await.unwrap();
            idle().await;
            let said = log
                .take()
                .into_iter()
                .filter(|line| line.parse::<u32>().is_ok());
            match mail {
                MailOnEscalation::Drop => {
                    assert_eq!(said.count(), 0);
                    assert_eq!(asked.await, Err(AskError::Dropped));
                }
                _ => {
                    assert_eq!(said.collect::<Vec<_>>(), ["9", "0", "1", "2"]);
                    assert_eq!(asked.await, Ok(2));
                }
            }
            tree.shutdown().await;
        });
    }
}

/// A suspended child refuses mail if it is to, however far above it the suspension is.
#[test]
fn a_suspended_child_may_refuse_mail() {
    for path in ["root/outer/inner/a", "root/outer/inner", "root/outer"] {
        run(async {
            let log = Log::default();
            let (a, handle, _) = probe("a", &log);
            let a = a
                .mailbox(2)
                .mail_while_suspended(MailWhileSuspended::Refuse);
            let inner = patient("inner", Strategy::OneForOne).child(a);
            let outer = patient("outer", Strategy::OneForOne).child(inner);
            let tree = start(patient("root", Strategy::OneForOne).child(outer)).await;
            tree.suspend_path(path).await.unwrap();
            idle().await;
            assert!(matches!(
                handle.tell(Say(1)),
                Err(TellError::Suspended(Say(1)))
            ));
            assert_eq!(handle.ask(Ping).await, Err(AskError::Suspended));
            let sent = timeout(SECOND, handle.send(Say(1)))
                .await
                .expect("it hangs");
            assert!(matches!(sent, Err(TellError::Suspended(_))));
            assert_eq!(
                tree.status_of("root/outer/inner/a").unwrap().mailbox_bound,
                2
            );
            tree.resume_path(path).await.unwrap();
            assert_eq!(handle.ask(Ping).await, Ok(2));
            tree.shutdown().await;
        });
    }
}

/// Scripts are shared, handles are told apart.
#[expect(clippy::mutable_key_type, reason = "compared by identity")]
#[test]
fn handles_are_equal_if_they_stand_for_the_same_child() {
    let script = std::sync::Arc::<Script>::default();
    let (_, one) = crate::common::scripted("a", &Log::default(), &script);
    let (_, other) = crate::common::scripted("a", &Log::default(), &script);
    assert_eq!(one, one.clone());
    assert_ne!(one, other);
    let set = std::collections::HashSet::from([one.clone(), one, other]);
    assert_eq!(set.len(), 2);
}

/// A child that is suspended by itself refuses mail, whatever happens to its supervisor.
#[test]
fn a_suspended_child_refuses_mail_while_its_supervisor_is_down_too() {
    run(async {
        let (a, handle, _) = probe("a", &Log::default());
        let a = a.mail_while_suspended(MailWhileSuspended::Refuse);
        let inner = patient("inner", Strategy::OneForOne).child(a);
        let tree = start(patient("root", Strategy::OneForOne).child(inner)).await;
        let root = tree.supervisor("root").unwrap();
        tree.suspend_path("root/inner/a").await.unwrap();
        let refused =
            |handle: &Handle<Probe>| matches!(handle.tell(Say(1)), Err(TellError::Suspended(_)));
        assert!(refused(&handle));
        root.terminate_child("inner").await.unwrap();
        idle().await;
        assert!(refused(&handle));
        root.restart_child("inner").await.unwrap();
        assert!(refused(&handle));
        tree.resume_path("root/inner/a").await.unwrap();
        assert!(!refused(&handle));
        // A child that is down for another reason takes it.
        root.terminate_child("inner").await.unwrap();
        idle().await;
        assert!(!refused(&handle));
        tree.shutdown().await;
    });
}
